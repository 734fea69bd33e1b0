// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Keeping the metadata within its limit: where data is so scattered that the text of its ranges
//! would outgrow it, the smallest holes become data, as few as will do.

use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::image::format::metadata::{DataRange, Metadata, range_text};
use crate::image::pieces::Hole;

/// Bytes of text that everything outside the regions takes at the most.
const FRAME_TEXT: u64 = 256;
/// Bytes of text that a region without its ranges takes at the most.
const REGION_TEXT: u64 = 128;

/// Size of a hole and index of the range before it. All holes up to one are folded together.
type Threshold = (u64, usize);

/// Folds holes of `metadata`, whose checksums are not known yet, until its text fits `limit`.
/// Gives the folded ones in the order of the data.
pub fn fold(metadata: &mut Metadata, limit: u64) -> Result<Vec<Hole>> {
    if text_size(metadata, None) <= limit {
        return Ok(Vec::new());
    }
    let mut holes = vec_of(metadata.ranges.len())?;
    each_hole(metadata, |index, hole| {
        // A larger hole could cost more in checksums than its bounds take.
        if hole.range.size() <= metadata.chunk_size {
            holes.push((hole.range.size(), index));
        }
    });
    holes.sort_unstable();
    let enough = holes.partition_point(|&threshold| text_size(metadata, Some(threshold)) > limit);
    let threshold = holes.get(enough).ok_or(Error::too_large("metadata of more than 64 MiB"))?;
    let mut folded = vec_of(enough + 1)?;
    each_hole(metadata, |index, hole| {
        if (hole.range.size(), index) <= *threshold {
            folded.push(hole);
        }
    });
    join(metadata, *threshold);
    Ok(folded)
}

/// Calls `visit` with each hole between two ranges of a region, and the index of the range before.
fn each_hole(metadata: &Metadata, mut visit: impl FnMut(usize, Hole)) {
    for (region, record) in metadata.regions.iter().enumerate() {
        for (index, pair) in metadata.ranges_of(record).windows(2).enumerate() {
            let range = DataRange { start: pair[0].end, end: pair[1].start };
            visit(record.ranges.start + index, Hole { region, range });
        }
    }
}

fn is_folded(ranges: &[DataRange], before: usize, threshold: Threshold) -> bool {
    (ranges[before + 1].start - ranges[before].end, before) <= threshold
}

/// Bytes that the text has at the most once the holes up to `threshold` are folded.
fn text_size(metadata: &Metadata, threshold: Option<Threshold>) -> u64 {
    let ranges = &metadata.ranges;
    let chunk_size = metadata.checksums.is_some().then_some(metadata.chunk_size);
    let mut size = FRAME_TEXT + REGION_TEXT * metadata.regions.len() as u64;
    for record in &metadata.regions {
        let mut start = None;
        for index in record.ranges.clone() {
            let first = *start.get_or_insert(ranges[index].start);
            let goes_on = index + 1 < record.ranges.end
                && threshold.is_some_and(|threshold| is_folded(ranges, index, threshold));
            if !goes_on {
                size += range_text(DataRange { start: first, end: ranges[index].end }, chunk_size);
                start = None;
            }
        }
    }
    size
}

/// Joins the ranges around each folded hole.
fn join(metadata: &mut Metadata, threshold: Threshold) {
    let ranges = &mut metadata.ranges;
    let mut kept = 0;
    for record in &mut metadata.regions {
        let first = kept;
        for index in record.ranges.clone() {
            // What is written here lies before `index - 1`, or is that range itself.
            if index > record.ranges.start && is_folded(ranges, index - 1, threshold) {
                ranges[kept - 1].end = ranges[index].end;
            } else {
                ranges[kept] = ranges[index];
                kept += 1;
            }
        }
        record.ranges = first..kept;
    }
    ranges.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::format::metadata::{CHUNK_SIZE, Layout, MAX_TEXT, RegionRecord};

    const PAGE: u64 = 4096;

    /// Two regions of scattered pages; the hole behind range n has `hole(n)` pages.
    fn scattered(count: usize, hole: impl Fn(usize) -> u64) -> Metadata {
        let mut ranges = Vec::new();
        let mut regions = Vec::new();
        for region in 0..2 {
            let mut start = 0;
            for index in 0..count {
                ranges.push(DataRange { start, end: start + PAGE });
                start += PAGE * (1 + hole(index));
            }
            let own = region * count..(region + 1) * count;
            regions.push(RegionRecord { guest_base: own.start as u64, size: start, ranges: own });
        }
        let checksums = Some(Vec::new());
        let layout = Layout::Packed;
        Metadata { layout, page_size: PAGE, chunk_size: CHUNK_SIZE, checksums, regions, ranges }
    }

    fn real_text(metadata: &Metadata) -> u64 {
        let checksums = Some(vec![u32::MAX; metadata.chunk_count() as usize]);
        Metadata { checksums, ..metadata.clone() }.to_text().unwrap().len() as u64
    }

    #[test]
    fn metadata_within_the_limit_stays_as_it_is() {
        let before = scattered(100, |_| 1);
        let mut after = before.clone();
        assert_eq!(fold(&mut after, MAX_TEXT), Ok(vec![]));
        assert_eq!(after, before);
        assert!(text_size(&before, None) >= real_text(&before));
    }

    #[test]
    fn the_smallest_holes_go_first_and_as_few_as_will_do() {
        let before = scattered(100, |index| 1 + (index as u64 * 7) % 10);
        for limit in [10_000, 8_000, 5_000, 1_000] {
            let mut after = before.clone();
            let folded = fold(&mut after, limit).unwrap();
            assert!(real_text(&after) <= limit);
            // One range and its text come back with each hole that is not folded.
            assert!(real_text(&after) + FRAME_TEXT + 2 * REGION_TEXT + 60 > limit);
            let data: u64 = folded.iter().map(|hole| hole.range.size()).sum();
            assert_eq!(after.data_size(), before.data_size() + data);
            assert_eq!(after.ranges.len() + folded.len(), before.ranges.len());
            check_order(&before, &folded);
            check_cover(&before, &after, &folded);
        }
    }

    fn check_order(before: &Metadata, folded: &[Hole]) {
        let largest = folded.iter().map(|hole| hole.range.size()).max().unwrap();
        let mut smaller = 0;
        each_hole(before, |_, hole| smaller += usize::from(hole.range.size() < largest));
        let below = folded.iter().filter(|hole| hole.range.size() < largest).count();
        assert_eq!(below, smaller);
        assert!(folded.is_sorted_by_key(|hole| (hole.region, hole.range.start)));
    }

    /// Data and folded holes together are the new ranges, page by page.
    fn check_cover(before: &Metadata, after: &Metadata, folded: &[Hole]) {
        for (index, record) in after.regions.iter().enumerate() {
            for start in (0..record.size).step_by(PAGE as usize) {
                let covers = |range: &DataRange| (range.start..range.end).contains(&start);
                let was_data = before.ranges_of(&before.regions[index]).iter().any(covers);
                let was_hole =
                    folded.iter().any(|hole| hole.region == index && covers(&hole.range));
                let is_data = after.ranges_of(record).iter().any(covers);
                assert_eq!(is_data, was_data || was_hole);
                assert!(!(was_data && was_hole));
            }
        }
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        let mut wide = scattered(100, |_| 2 * CHUNK_SIZE / PAGE);
        assert!(matches!(fold(&mut wide, 5_000), Err(Error::TooLarge { .. })));
        let mut tiny = scattered(2, |_| 1);
        assert!(matches!(fold(&mut tiny, 100), Err(Error::TooLarge { .. })));
    }
}
