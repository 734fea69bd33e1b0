// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! An image mapped copy-on-write, and private zeros in place of its holes: through the file, each of
//! their pages would take one of the page cache to be read, and one more to be written. Some file
//! systems have no other place for that page than the file itself, which grows, and SIGBUS comes where
//! it cannot. No hole of an image on such a one is mapped.

use crate::address::{align_down, next_congruent};
use crate::error::{Error, Result};
use crate::host::alloc::{push, vec_of};
use crate::host::file;
use crate::host::file::pread_some;
use crate::host::handle::Ref;
use crate::host::system::page_size;
use crate::image::find::extents;
use crate::image::find::extents::Found;
use crate::image::format::metadata::{DataRange, Metadata, RegionRecord};
use crate::memory::backing::{Backing, BackingFile, FileUse};
use crate::memory::guest::GuestMemory;
use crate::memory::options::{RegionOptions, Source};
use crate::memory::region::MemoryRegion;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

/// Maps an image, whose metadata was checked.
pub fn map(fd: &OwnedFd, metadata: &Metadata) -> Result<Ref<GuestMemory>> {
    let size = metadata.memory_size();
    let file = BackingFile::from_caller(fd.as_raw_fd(), 0, size, FileUse::ReadOnly)?;
    let are_holes_cheap = are_holes_cheap(&file)?;
    let mut regions = vec_of(metadata.regions.len())?;
    let mut offset = 0;
    for record in &metadata.regions {
        let source = Source::File { fd: file.fd(), offset, private: true };
        let plain = RegionOptions::plain(record.guest_base, record.size);
        let backing = Backing::CopyOnWrite { file: file.clone(), offset };
        let options = RegionOptions { source, ..plain };
        let region = MemoryRegion::with_backing(&options, backing)?;
        if are_holes_cheap {
            replace_large_holes(&region, metadata, record)?;
        } else {
            map_data_only(&region, fd, offset, data_of(fd, offset, metadata, record)?)?;
        }
        regions.push(region);
        offset += record.size;
    }
    GuestMemory::from_regions(regions)
}

/// Whether a hole that is read through a mapping takes no more than memory that the kernel takes back
/// when it wants to. Those who lie on top of another file system, and those not known, may not.
fn are_holes_cheap(file: &BackingFile) -> Result<bool> {
    const BCACHEFS: u32 = 0xca45_1a4e;
    const BTRFS: u32 = 0x9123_683e;
    const EROFS: u32 = 0xe0f5_e1e2;
    const EXT: u32 = 0xef53;
    const F2FS: u32 = 0xf2f5_2010;
    const NFS: u32 = 0x6969;
    const SQUASHFS: u32 = 0x7371_7368;
    const XFS: u32 = 0x5846_5342;
    const ZFS: u32 = 0x2fc1_2fc1;
    // A private mapping of huge pages takes them of the pool, which they were reserved of.
    if file.page_size() > page_size() {
        return Ok(true);
    }
    let system = file::file_system(file.fd()).map_err(|errno| Error::from_os("fstatfs", errno))?;
    // Sign-extended or not.
    let kind = system.magic as u32;
    Ok([BCACHEFS, BTRFS, EROFS, EXT, F2FS, NFS, SQUASHFS, XFS, ZFS].contains(&kind))
}

/// Puts zeros in place of those holes that are worth a mapping.
fn replace_large_holes(
    region: &MemoryRegion,
    metadata: &Metadata,
    record: &RegionRecord,
) -> Result<()> {
    // Each takes its time.
    const SMALLEST: u64 = 2 << 20;
    const MOST: u64 = 512;
    let large = (metadata.memory_size() / MOST).max(SMALLEST);
    let page = region.page_size();
    let mut holes = Vec::new();
    for hole in metadata.holes_of(record) {
        let start = next_congruent(hole.start, 0, page).unwrap_or(hole.end);
        let end = align_down(hole.end, page).max(start);
        if end - start >= large {
            push(&mut holes, DataRange { start, end })?;
        }
    }
    let room = region.room_for_zeros(holes.len() as u64);
    let (holes, _) = longest(holes, room)?;
    region.begin_with_zeros(parts(holes.iter().map(|hole| hole.start..hole.end), holes.len())?)
}

/// The whole pages of a region that the file at `offset` and the metadata agree to hold data.
fn data_of(
    fd: &OwnedFd,
    offset: u64,
    metadata: &Metadata,
    record: &RegionRecord,
) -> Result<Vec<DataRange>> {
    let mut covers = Found::default();
    for range in metadata.ranges_of(record) {
        let end = next_congruent(range.end, 0, page_size()).unwrap_or(record.size);
        covers.add(offset + align_down(range.start, page_size()), offset + end)?;
    }
    let mut data = extents::find_in_file(fd, covers.into_ranges())?;
    for range in &mut data {
        *range = DataRange { start: range.start - offset, end: range.end - offset };
    }
    Ok(data)
}

/// Leaves the file mapped where it has `data`, and puts zeros everywhere else. What there are no
/// mappings for is copied, the shortest ranges first.
fn map_data_only(
    region: &MemoryRegion,
    fd: &OwnedFd,
    offset: u64,
    data: Vec<DataRange>,
) -> Result<()> {
    let size = region.range().size();
    // Of the two that each costs one belongs to the hole that follows it.
    let room = region.room_for_zeros(data.len() as u64);
    let (mapped, copied) = longest(data, room)?;
    let starts = std::iter::once(0).chain(mapped.iter().map(|range| range.end));
    let ends = mapped.iter().map(|range| range.start).chain(std::iter::once(size));
    let between = starts.zip(ends).filter(|(start, end)| start < end);
    let between = between.map(|(start, end)| start..end);
    region.begin_with_zeros(parts(between, mapped.len() + 1)?)?;
    copied.iter().try_for_each(|range| copy(region, fd, offset, range))
}

fn parts(from: impl Iterator<Item = Range<u64>>, most: usize) -> Result<Vec<Range<u64>>> {
    let mut parts = vec_of(most)?;
    parts.extend(from);
    Ok(parts)
}

/// Reads a range of a new region, which nobody else knows of, from the file at `offset`.
fn copy(region: &MemoryRegion, fd: &OwnedFd, offset: u64, range: &DataRange) -> Result<()> {
    region.prefault(range.start, range.size())?;
    let mut at = range.start;
    while at < range.end {
        let room = (range.end - at) as usize;
        // SAFETY: within the region, which is not read-only.
        let read = unsafe {
            let to = region.host().add(at as usize);
            pread_some(fd.as_raw_fd(), to, room, offset + at)
        };
        match read {
            Ok(0) => return Err(Error::SnapshotShort { completed: 0 }),
            Ok(count) => at += count as u64,
            Err(errno) => return Err(Error::io(errno)),
        }
    }
    Ok(())
}

/// Parts ranges into at most `count` of the longest and the others; both stay in order.
fn longest(ranges: Vec<DataRange>, count: u64) -> Result<(Vec<DataRange>, Vec<DataRange>)> {
    let count = count as usize;
    if ranges.len() <= count {
        return Ok((ranges, Vec::new()));
    }
    let mut sizes = vec_of(ranges.len())?;
    sizes.extend(ranges.iter().map(|range| range.size()));
    let (longer, &mut shortest, _) =
        sizes.select_nth_unstable_by(count, |one, other| other.cmp(one));
    // Of those that are as long as the first that is left out, some belong to the longest too.
    let mut ties = longer.iter().filter(|&&size| size == shortest).count();
    let (mut chosen, mut others) = (vec_of(count)?, vec_of(ranges.len() - count)?);
    for range in ranges {
        let is_tie = range.size() == shortest && ties > 0;
        ties -= usize::from(is_tie);
        if range.size() > shortest || is_tie { chosen.push(range) } else { others.push(range) }
    }
    Ok((chosen, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_are_chosen_in_order() {
        let sizes = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5];
        let ranges: Vec<DataRange> = (0u64..)
            .zip(sizes)
            .map(|(index, size)| DataRange { start: 100 * index, end: 100 * index + size })
            .collect();
        for count in 0..=sizes.len() + 1 {
            let (chosen, others) = longest(ranges.clone(), count as u64).unwrap();
            assert_eq!(chosen.len(), count.min(sizes.len()));
            let least = chosen.iter().map(|range| range.size()).min().unwrap_or(u64::MAX);
            assert!(others.iter().all(|range| range.size() <= least));
            assert!(chosen.is_sorted() && others.is_sorted());
            let mut all = [chosen, others].concat();
            all.sort_unstable();
            assert_eq!(all, ranges);
        }
    }
}
