// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which parts of regions hold data.
//!
//! Nothing here reads a hole through a shared mapping, which would allocate its page, or moves the
//! file offset of a descriptor that others share: files are opened a second time through /proc.
//! What is found may be more than was written, never less; where that cannot be had the answer is
//! an error.
//!
//! - Private pages are in the page tables of this process alone.
//! - Pages of shared memory belong to its file, whoever put them there. The page tables show those
//!   that were used here, sooner than the file could be asked. `seek` asks it about the others.
//! - A copy-on-write mapping shows its own pages where it has some and the file elsewhere: both.
//! - Files of huge pages say that all is data: `huge` reads what the page tables do not show,
//!   which allocates nothing.
//!
//! `unfetched` refuses memory whose missing pages are somebody's to supply: they look like holes.
//! `pieces` tells what kind of memory lies where, `files` what there is to know of a file.

use crate::address::align_down;
use crate::error::Result;
use crate::host::alloc::{push, vec_of};
use crate::host::handle::Ref;
use crate::host::pagemap::{PageMap, Wanted};
use crate::host::threads;
use crate::image::find::files::{File, files};
use crate::image::find::pieces::{FilePart, Piece, Pieces};
pub use crate::image::find::ranges::{Found, within};
use crate::image::find::way::{Extent, TABLE, Way};
use crate::image::find::{seek, unfetched};
use crate::image::format::metadata::DataRange;
use crate::image::regions::memory_size;
use crate::memory::region::MemoryRegion;
use std::os::fd::{AsRawFd, OwnedFd};

/// Finds the parts of each region that may hold anything but zeros: page-aligned, ascending,
/// disjoint, joined. Refuses memory of which parts may be missing here.
pub fn find(regions: &[Ref<MemoryRegion>], threads: usize) -> Result<Vec<Vec<DataRange>>> {
    let each = find_all(regions, Extent::Data, threads)?;
    let mut all = vec_of(each.len())?;
    for ranges in each {
        all.push(ranges?);
    }
    Ok(all)
}

/// What of the parts `covers` of a file may hold data, as the file tells. All are page-aligned,
/// ascending and disjoint. The position of `file` moves.
pub fn find_in_file(file: &OwnedFd, covers: Vec<DataRange>) -> Result<Vec<DataRange>> {
    let (_, keeping) = Way::Held(file.as_raw_fd()).ask()?;
    if !keeping.can_seek() {
        return Ok(covers);
    }
    let data = seek::data(file, &covers, &[])?;
    let mut found = Found::default();
    for cover in &covers {
        let mut parts = within(&data, cover.start, cover.end);
        parts.try_for_each(|part| found.add(part.start, part.end))?;
    }
    Ok(found.into_ranges())
}

/// Finds the parts of each region that may have pages, also where these hold nothing. It may be
/// impossible to tell for some regions. Refuses the same as [`find`].
pub fn find_pages(
    regions: &[Ref<MemoryRegion>],
    threads: usize,
) -> Result<Vec<Result<Vec<DataRange>>>> {
    find_all(regions, Extent::Pages, threads)
}

fn find_all(
    regions: &[Ref<MemoryRegion>],
    extent: Extent,
    threads: usize,
) -> Result<Vec<Result<Vec<DataRange>>>> {
    let map = PageMap::open();
    if unfetched::none_is(regions) {
        return look(&map, regions, extent, threads);
    }
    if threads < 2 {
        unfetched::refuse(regions)?;
        return look(&map, regions, extent, 1);
    }
    // The one takes about as long as the other.
    let mut found = Vec::new();
    threads::run_beside(1, &|_| unfetched::refuse(regions), &mut || {
        found = look(&map, regions, extent, threads - 1)?;
        Ok(())
    })?;
    Ok(found)
}

/// The data or pages of each region.
fn look(
    map: &PageMap,
    regions: &[Ref<MemoryRegion>],
    extent: Extent,
    threads: usize,
) -> Result<Vec<Result<Vec<DataRange>>>> {
    let mut found = vec_of(regions.len())?;
    let mut pieces = Pieces::default();
    for (index, region) in regions.iter().enumerate() {
        found.push(pieces.add(index, region).map(|()| Found::default()));
    }
    pieces.sort();
    let mut files = files(&pieces)?;
    let step = part_size(regions, threads);
    let private = match extent {
        Extent::Data => Wanted::Private,
        Extent::Pages => Wanted::AnyPrivate,
    };
    let scans = scans((&pieces.private, private), &files, map.can_scan(), step)?;
    look_at(map, &scans, &mut found, &mut files, threads)?;
    hand_out(&files, extent, &mut found, threads)?;
    let mut all = vec_of(found.len())?;
    all.extend(found.into_iter().map(|found| found.map(Found::into_ranges)));
    Ok(all)
}

/// Adds what page tables show to what was found in regions and seen of files.
fn look_at(
    map: &PageMap,
    scans: &[Scan],
    found: &mut [Result<Found>],
    files: &mut [File],
    threads: usize,
) -> Result<()> {
    let pages = threads::map(threads, scans, &|scan| {
        pages(map, scan.host, scan.size, scan.wanted, scan.base)
    })?;
    for (scan, pages) in scans.iter().zip(pages) {
        let to = match scan.to {
            To::Region(index) => &mut found[index],
            To::File(index) => &mut files[index].seen,
        };
        gather(to, pages, Found::append);
    }
    for file in files {
        if let Ok(seen) = &mut file.seen {
            seen.tidy();
        }
    }
    Ok(())
}

/// The pages wanted among the `size` bytes at `host`, where `host` itself counts as `base`.
fn pages(map: &PageMap, host: u64, size: u64, wanted: Wanted, base: u64) -> Result<Found> {
    let mut found = Found::default();
    map.each(host, size, wanted, &mut |start, end| {
        found.add(base + (start - host), base + (end - host))
    })?;
    Ok(found)
}

/// Adds the data of files to what was found in the regions that map them.
fn hand_out(
    files: &[File],
    extent: Extent,
    found: &mut [Result<Found>],
    threads: usize,
) -> Result<()> {
    let data = threads::map(threads, files, &|file: &File| file.data(extent))?;
    for (file, data) in files.iter().zip(data) {
        for part in file.parts {
            let data = data.as_deref().map_err(|error| *error);
            gather(&mut found[part.piece.region], data, |found, data| part.take(data, found));
        }
    }
    Ok(())
}

/// Adds what was found, or the reason why nothing is known, unless there is one already.
fn gather<T>(
    to: &mut Result<Found>,
    more: Result<T>,
    add: impl FnOnce(&mut Found, T) -> Result<()>,
) {
    if let Ok(found) = to {
        if let Err(error) = more.and_then(|more| add(found, more)) {
            *to = Err(error);
        }
    }
}

/// A look at the page tables, which one thread takes.
struct Scan {
    host: u64,
    size: u64,
    wanted: Wanted,
    to: To,
    /// What the first address is as an offset in that.
    base: u64,
}

/// What the pages that are found are pages of.
#[derive(Clone, Copy)]
enum To {
    Region(usize),
    File(usize),
}

/// Where to look in the page tables: for the pages of `private` memory, for copies, and for pages
/// of files that can be told by them, in parts of `step` bytes.
fn scans(
    private: (&[Piece], Wanted),
    files: &[File],
    can_scan: bool,
    step: u64,
) -> Result<Vec<Scan>> {
    let mut scans = Vec::new();
    let mut add = |piece: &Piece, wanted, to, base| {
        cut(piece.host, piece.size, step).try_for_each(|(host, size)| {
            push(&mut scans, Scan { host, size, wanted, to, base: base + (host - piece.host) })
        })
    };
    let (pieces, wanted) = private;
    for piece in pieces {
        add(piece, wanted, To::Region(piece.region), piece.offset)?;
    }
    for (index, file) in files.iter().enumerate() {
        for FilePart { piece, keeping, start, shared, .. } in file.parts {
            if !shared {
                add(piece, Wanted::Copies, To::Region(piece.region), piece.offset)?;
            } else if keeping.is_told_by_pages(can_scan) {
                add(piece, Wanted::Shared, To::File(index), *start)?;
            }
        }
    }
    Ok(scans)
}

/// Bytes for one look. There are not too many even where memory is large and empty.
fn part_size(regions: &[Ref<MemoryRegion>], threads: usize) -> u64 {
    const SMALLEST: u64 = 256 << 20;
    const MOST: u64 = 256;
    if threads < 2 {
        return u64::MAX;
    }
    align_down((memory_size(regions) / MOST).max(SMALLEST), TABLE)
}

/// The memory at `host` in parts of at most `step` bytes, cut between page tables.
fn cut(host: u64, size: u64, step: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = host + size;
    let mut at = host;
    std::iter::from_fn(move || {
        let start = at;
        let next = align_down(start.saturating_add(step), TABLE);
        at = if next > start { next.min(end) } else { end };
        (start < end).then_some((start, at - start))
    })
}

#[cfg(test)]
mod tests;
