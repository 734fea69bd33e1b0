// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Making holes again: what live memory holds where a snapshot has nothing.

use crate::access::bounce;
use crate::access::bounce::Bounce;
use crate::address::{align_down, next_congruent};
use crate::error::{Error, Result};
use crate::host::alloc::{push, vec_of};
use crate::host::maps::Maps;
use crate::host::system::page_size;
use crate::image::copies::{Copies, is_zero, steps};
use crate::image::format::metadata::{DataRange, Metadata};
use crate::image::read::put::Present;
use crate::image::regions::Regions;
use crate::memory::backing::Backing;
use crate::memory::caller::Part;
use crate::memory::region::MemoryRegion;

/// For each region the parts that may hold data, as `present` tells, although `metadata`, which was
/// found to be of these regions, tells of none there.
pub fn stale(
    regions: Regions,
    metadata: &Metadata,
    present: &Present,
) -> Result<Vec<Vec<DataRange>>> {
    let mut stale = vec_of(regions.len())?;
    for ((region, record), present) in regions.iter().zip(&metadata.regions).zip(present) {
        let covered = metadata.ranges_of(record);
        let whole = [DataRange { start: 0, end: region.range().size() }];
        stale.push(match present {
            Ok(present) => subtract(present, covered)?,
            // Nobody knows, so all of it may.
            Err(Error::Unsupported(_)) => subtract(&whole, covered)?,
            Err(error) => return Err(*error),
        });
    }
    Ok(stale)
}

/// What there is to clear of a region: its stale ranges and, where the caller mapped it, what of them
/// lies in which mapping, as far as that can be told.
pub struct Clearing<'a> {
    stale: &'a [DataRange],
    mapped: Vec<Part>,
}

impl<'a> Clearing<'a> {
    /// Finds out what a clearing needs to know, before anything changes.
    pub fn new(region: &MemoryRegion, stale: &'a [DataRange], maps: &Maps) -> Result<Self> {
        let mut mapped = Vec::new();
        for range in stale {
            let parts = match region.parts_of_caller(range.start, range.end - range.start, maps) {
                Err(Error::Unsupported(_)) => return Ok(Clearing { stale, mapped: Vec::new() }),
                parts => parts?,
            };
            for part in parts {
                push(&mut mapped, part)?;
            }
        }
        Ok(Clearing { stale, mapped })
    }

    /// Makes the stale parts of `region` read as zeros, and frees their host memory as far as the
    /// backing allows it.
    pub fn run(&self, region: &MemoryRegion, maps: &Maps) -> Result<()> {
        if self.stale.is_empty() {
            return Ok(());
        }
        if let Backing::CopyOnWrite { .. } = region.backing() {
            // One mapping instead of one for each part: a process may have only so many. Whatever
            // the snapshot holds is written anew.
            return region.remove(0, region.range().size(), maps);
        }
        if self.mapped.is_empty() {
            return self.stale.iter().try_for_each(|part| clear_part(region, *part, maps));
        }
        self.mapped.iter().try_for_each(|part| clear_mapped(region, part, maps))
    }
}

fn clear_part(region: &MemoryRegion, part: DataRange, maps: &Maps) -> Result<()> {
    let page = region.page_size();
    // Larger pages that the part covers only partly hold other data too.
    let first = next_congruent(part.start, 0, page).unwrap_or(part.end).min(part.end);
    let last = align_down(part.end, page).max(first);
    if first < last && region.remove(first, last - first, maps).is_err() {
        // Whatever kept the kernel from it, zeros can be written.
        zero(region, first, last)?;
    }
    zero(region, part.start, first)?;
    zero(region, last, part.end)
}

/// As [`clear_part`], of one of the caller's mappings.
fn clear_mapped(region: &MemoryRegion, part: &Part, maps: &Maps) -> Result<()> {
    let host = region.host() as u64;
    let (start, end) = (part.start - host, part.end - host);
    let (first, last) = part.whole_pages();
    let (first, last) = (first - host, last - host);
    let left = match region.remove_part_of_caller(part, maps) {
        Ok(()) => [(start, first), (last, end)],
        Err(error) if !part.is_writable() => return Err(error),
        Err(_) => [(start, end), (end, end)],
    };
    for (start, end) in left.into_iter().filter(|(start, end)| start < end) {
        if part.is_huge() {
            // One that cannot be had is an error here, and SIGBUS below.
            region.prefault(start, end - start)?;
        }
        zero(region, start, end)?;
    }
    Ok(())
}

/// Writes zeros to the pages that hold anything else.
fn zero(region: &MemoryRegion, start: u64, end: u64) -> Result<()> {
    if start == end {
        return Ok(());
    }
    let (mut copies, zeros, page) = (Copies::new()?, Bounce::new()?, page_size() as usize);
    for step in steps(DataRange { start, end }) {
        let copy = copies.of_range(region, step)?;
        for (index, held) in copy.chunks(page).enumerate().filter(|(_, held)| !is_zero(held)) {
            let host = region.host().wrapping_add(step.start as usize + index * page);
            // SAFETY: within the region, whose mapping lives as long as it.
            unsafe { bounce::Part::new(&zeros, 0, held.len()).give(host)? };
        }
    }
    Ok(())
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
