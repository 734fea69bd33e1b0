// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Making holes again: what live memory holds where a snapshot has nothing.

use super::Regions;
use super::metadata::{DataRange, Metadata};
use crate::address::{align_down, next_congruent};
use crate::alloc::vec_of;
use crate::backing::Backing;
use crate::error::{Error, Result};
use crate::proc::{Maps, page_size};
use crate::region::MemoryRegion;
use crate::volatile;

/// For each region the parts that may hold data, as `present` tells, although `metadata`, which was
/// found to be of these regions, tells of none there.
pub fn stale(
    regions: Regions,
    metadata: &Metadata,
    present: Vec<Result<Vec<DataRange>>>,
) -> Result<Vec<Vec<DataRange>>> {
    let mut stale = vec_of(regions.len())?;
    for ((region, record), present) in regions.iter().zip(&metadata.regions).zip(present) {
        let covered = metadata.ranges_of(record);
        let whole = [DataRange { start: 0, end: region.range().size() }];
        stale.push(match present {
            Ok(present) => subtract(&present, covered)?,
            // Nobody knows, so all of it may.
            Err(Error::Unsupported(_)) => subtract(&whole, covered)?,
            Err(error) => return Err(error),
        });
    }
    Ok(stale)
}

/// Makes the `stale` parts of `region` read as zeros, and frees their host memory as far as the
/// backing allows it.
pub fn clear(region: &MemoryRegion, stale: &[DataRange], maps: &Maps) -> Result<()> {
    if stale.is_empty() {
        return Ok(());
    }
    if let Backing::CopyOnWrite { .. } = region.backing() {
        // One mapping instead of one for each part: a process may have only so many. Whatever
        // the snapshot holds is written anew.
        return region.remove_in_pieces(0, region.range().size(), maps);
    }
    stale.iter().try_for_each(|part| clear_part(region, *part, maps))
}

fn clear_part(region: &MemoryRegion, part: DataRange, maps: &Maps) -> Result<()> {
    let page = region.page_size();
    // Larger pages that the part covers only partly hold other data too.
    let first = next_congruent(part.start, 0, page).unwrap_or(part.end).min(part.end);
    let last = align_down(part.end, page).max(first);
    if first < last {
        match region.remove(first, last - first, maps) {
            Ok(()) => {}
            Err(Error::Unsupported(_)) => zero(region, first, last),
            Err(error) => return Err(error),
        }
    }
    zero(region, part.start, first);
    zero(region, last, part.end);
    Ok(())
}

/// Writes zeros to the pages that hold anything else.
fn zero(region: &MemoryRegion, start: u64, end: u64) {
    let page = page_size();
    for offset in (start..end).step_by(page as usize) {
        // SAFETY: within the region, whose mapping lives as long as it and is not read-only.
        unsafe {
            let host = region.host().add(offset as usize);
            let len = page.min(end - offset) as usize;
            if !volatile::is_zero(host, len) {
                volatile::fill(host, 0, len);
            }
        }
    }
}

/// What is left of `present` without `covered`; both are ascending and disjoint.
fn subtract(present: &[DataRange], covered: &[DataRange]) -> Result<Vec<DataRange>> {
    let mut left = Vec::new();
    let mut push = |start, end| {
        left.try_reserve(1).map_err(|_| Error::NoMemory("the ranges to clear"))?;
        left.push(DataRange { start, end });
        Ok(())
    };
    let mut covers = covered.iter().peekable();
    // What lies before this is dealt with; a cover may reach into several parts.
    let mut at = 0;
    for part in present {
        at = at.max(part.start);
        while let Some(cover) = covers.next_if(|cover| cover.start < part.end) {
            if cover.start > at {
                push(at, cover.start)?;
            }
            at = at.max(cover.end);
        }
        if at < part.end {
            push(at, part.end)?;
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtraction_agrees_with_sets_of_pages() {
        let ranges = |bits: u32| {
            let is_set = |at: u64| bits >> at & 1 != 0;
            let mut ranges: Vec<DataRange> = Vec::new();
            for at in (0..8).filter(|&at| is_set(at)) {
                match ranges.last_mut().filter(|last| last.end == at) {
                    Some(last) => last.end = at + 1,
                    None => ranges.push(DataRange { start: at, end: at + 1 }),
                }
            }
            ranges
        };
        for present in 0..256 {
            for covered in 0..256 {
                let left = subtract(&ranges(present), &ranges(covered)).unwrap();
                assert_eq!(left, ranges(present & !covered), "{present:b} {covered:b}");
            }
        }
    }
}
