// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Leaving out pages that are there but hold only zeros.

use crate::address::align_down;
use crate::error::Result;
use crate::host::alloc::{push, vec_of};
use crate::host::handle::Ref;
use crate::host::system::page_size;
use crate::host::threads;
use crate::image::copies::{Copies, is_zero, steps};
use crate::image::find::extents::Found;
use crate::image::format::metadata::DataRange;
use crate::memory::region::MemoryRegion;
use std::ops::Range;

/// Bytes at the beginning of a page that are looked at first.
const BEGIN: usize = 64;

/// A range, and the index of its region.
type Part = (usize, DataRange);

/// The data of regions without the pages that hold only zeros. `ranges` is the data of each.
pub fn drop_zero_pages(
    regions: &[Ref<MemoryRegion>],
    ranges: &[Vec<DataRange>],
    threads: usize,
) -> Result<Vec<Vec<DataRange>>> {
    let (parts, shares) = share_out(ranges, threads)?;
    let kept = threads::map(threads, &shares, &|share| keep(regions, &parts[share.clone()]))?;
    let mut found = vec_of(regions.len())?;
    found.resize_with(regions.len(), Found::default);
    for kept in kept {
        for (index, range) in kept? {
            let found: &mut Found = &mut found[index];
            found.add(range.start, range.end)?;
        }
    }
    let mut all = vec_of(found.len())?;
    all.extend(found.into_iter().map(Found::into_ranges));
    Ok(all)
}

/// All ranges, cut so that they fall into shares of equal size; and the shares of them.
fn share_out(ranges: &[Vec<DataRange>], threads: usize) -> Result<(Vec<Part>, Vec<Range<usize>>)> {
    let total: u64 = ranges.iter().flatten().map(|range| range.size()).sum();
    let share = share_size(total, threads);
    let (mut parts, mut shares) = (Vec::new(), Vec::new());
    let (mut first, mut room) = (0, share);
    for (index, range) in ranges
        .iter()
        .enumerate()
        .flat_map(|(index, list)| list.iter().map(move |range| (index, range)))
    {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + room);
            push(&mut parts, (index, DataRange { start, end }))?;
            room -= end - start;
            start = end;
            if room == 0 {
                push(&mut shares, first..parts.len())?;
                (first, room) = (parts.len(), share);
            }
        }
    }
    push(&mut shares, first..parts.len())?;
    Ok((parts, shares))
}

/// Bytes of a share: several for each thread, as pages with data are passed sooner.
fn share_size(total: u64, threads: usize) -> u64 {
    const SMALLEST: u64 = 1 << 20;
    align_down((total / (8 * threads.max(1) as u64)).max(SMALLEST), page_size())
}

/// The pages of `parts` that hold anything but zeros.
fn keep(regions: &[Ref<MemoryRegion>], parts: &[Part]) -> Result<Vec<Part>> {
    let page = page_size();
    let mut copies = Copies::new()?;
    let mut kept: Vec<Part> = Vec::new();
    for &(index, range) in parts {
        for step in steps(range) {
            let starts = || (step.start..step.end).step_by(page as usize);
            // Hardly any page of data begins with zeros: the rest need not be looked at.
            copies.begin();
            for start in starts() {
                copies.add(&regions[index], DataRange { start, end: start + BEGIN as u64 })?;
            }
            let mut unclear = vec_of(step.size().div_ceil(page) as usize)?;
            unclear.extend(copies.finish()?.chunks(BEGIN).map(is_zero));
            copies.begin();
            for (start, _) in starts().zip(&unclear).filter(|(_, unclear)| **unclear) {
                copies.add(&regions[index], DataRange { start, end: start + page })?;
            }
            let mut wholes = copies.finish()?.chunks(page as usize);
            for (start, unclear) in starts().zip(unclear) {
                if unclear && wholes.next().is_some_and(is_zero) {
                    continue;
                }
                let end = start + page;
                match kept.last_mut() {
                    Some((last, range)) if *last == index && range.end == start => range.end = end,
                    _ => push(&mut kept, (index, DataRange { start, end }))?,
                }
            }
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::volatile;
    use crate::host::maps::Maps;
    use crate::image::find::extents::find;
    use crate::memory::options::RegionOptions;

    /// A region of `pages`, each with the byte that `byte` gives for it.
    fn region(pages: u64, byte: impl Fn(u64) -> u8) -> Ref<MemoryRegion> {
        let page = page_size();
        let region = MemoryRegion::new(&RegionOptions::plain(0, pages * page)).unwrap();
        for index in 0..pages {
            // The last byte of the page, for all of it to be looked at.
            let last = (index * page + page - 1) as usize;
            // SAFETY: within the region.
            unsafe { volatile::fill(region.host().add(last), byte(index), 1) };
        }
        region
    }

    #[test]
    fn exactly_the_pages_of_zeros_go() {
        for pattern in 0..1u32 << 9 {
            // Three regions; the middle one has pages that were never written.
            let bit = |index: u64| (pattern >> index & 1) as u8;
            let middle = region(2, |_| 0);
            middle.remove(0, 2 * page_size(), &Maps::default()).unwrap();
            let regions = [region(5, bit), middle, region(4, |index| bit(index + 5))];
            let all = find(&regions, 1).unwrap();
            for threads in [1, 3] {
                let kept = drop_zero_pages(&regions, &all, threads).unwrap();
                let page = page_size();
                let bits =
                    |range: &DataRange| (1 << (range.end / page)) - (1 << (range.start / page));
                let set = |index: usize| kept[index].iter().map(bits).sum::<u32>();
                assert_eq!([set(0), set(1), set(2)], [pattern & 31, 0, pattern >> 5]);
                assert!(
                    kept.iter().all(|list| list.is_sorted_by(|one, next| one.end < next.start))
                );
            }
        }
    }

    #[test]
    fn ranges_go_on_where_shares_meet() {
        let page = page_size();
        let pages = (5 << 20) / page;
        let regions = [region(3, |_| 1), region(pages, |index| u8::from(index % 300 != 7))];
        let all = find(&regions, 1).unwrap();
        let (_, shares) = share_out(&all, 2).unwrap();
        assert!(shares.len() > 3);
        let whole = [DataRange { start: 0, end: 3 * page }].to_vec();
        let mut rest = vec![DataRange { start: 0, end: 7 * page }];
        rest.extend((0..pages.div_ceil(300)).map(|index| {
            let start = (300 * index + 8) * page;
            DataRange { start, end: (300 * index + 307).min(pages) * page }
        }));
        for threads in [1, 2, 4] {
            let kept = drop_zero_pages(&regions, &all, threads).unwrap();
            assert_eq!(kept, [whole.clone(), rest.clone()], "{threads}");
        }
        assert_eq!(drop_zero_pages(&[], &[], 2), Ok(vec![]));
    }
}
