// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory images: finding what holds data, writing it, bringing it back.
//!
//! - [`extents`]: which parts of a region hold data.
//! - [`metadata`], [`parse`], [`json`]: what a snapshot says about itself, written and read.
//! - [`fold`]: keeping the metadata within its limit.
//! - [`checksum`]: the data's checksums, and reading data against them.
//! - [`packed`]: writing the data as a stream.
//! - [`restore`], [`clear`]: putting data back, and holes where there is none.

pub mod checksum;
pub mod clear;
pub mod extents;
pub mod fold;
pub mod json;
pub mod metadata;
pub mod packed;
pub mod parse;
pub mod restore;

use crate::alloc::vec_of;
use crate::backing::Backing;
use crate::error::{Error, Result, errno};
use crate::file::{self, write_some};
use crate::handle::Ref;
use crate::memory::GuestMemory;
use crate::proc;
use crate::proc::page_size;
use crate::region::MemoryRegion;
use crate::signals::QuietSignals;
use checksum::Write;
use metadata::{CHUNK_SIZE, MAX_TEXT, Metadata, RegionRecord};
use std::os::fd::RawFd;

/// Told how many bytes of how many are done; its failure stops the work.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> Result<()>;

/// How a snapshot is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// With a checksum for each chunk.
    pub checksums: bool,
    /// Leave out pages that are there but hold only zeros.
    pub skip_zero_pages: bool,
    /// Have the data on its disk at the end.
    pub sync: bool,
}

/// Writes the data of `mem` to `fd`, from its position on, which moves. Gives the metadata.
pub fn snapshot_to_fd(
    mem: &GuestMemory,
    fd: RawFd,
    options: SnapshotOptions,
    progress: Progress,
) -> Result<Vec<u8>> {
    let regions = whole_regions(mem)?;
    refuse_backing(&regions, fd)?;
    if options.sync {
        // What cannot be synced is refused before it is written.
        sync(fd, 0)?;
    }
    let mut quiet = QuietSignals::new();
    let mut write = |bytes: &[u8]| {
        // SAFETY: the bytes are in private memory.
        let written = unsafe { write_some(fd, bytes.as_ptr(), bytes.len()) };
        written.inspect_err(|&errno| quiet.note(errno))
    };
    let (metadata, text) = take(&regions, options, &mut write, progress)?;
    if options.sync {
        sync(fd, metadata.data_size())?;
    }
    Ok(text)
}

/// Gives the data of `mem` to `write`. Gives the metadata.
pub fn snapshot_to(
    mem: &GuestMemory,
    write: Write,
    options: SnapshotOptions,
    progress: Progress,
) -> Result<Vec<u8>> {
    if options.sync {
        return Err(Error::Unsupported("only a file can be synced"));
    }
    let regions = whole_regions(mem)?;
    Ok(take(&regions, options, write, progress)?.1)
}

/// The regions of `mem`, unless what they hold is half of something.
fn whole_regions(mem: &GuestMemory) -> Result<Vec<Ref<MemoryRegion>>> {
    if mem.is_tainted() {
        return Err(Error::Tainted);
    }
    mem.regions()
}

fn take(
    regions: &[Ref<MemoryRegion>],
    options: SnapshotOptions,
    write: Write,
    progress: Progress,
) -> Result<(Metadata, Vec<u8>)> {
    refuse_unfetched(regions)?;
    let mut metadata = survey(regions, options)?;
    let holes = fold::fold(&mut metadata, MAX_TEXT)?;
    packed::write(&mut metadata, &holes, regions, write, progress)?;
    let text = metadata.to_text()?;
    Ok((metadata, text))
}

/// Everything about a snapshot of `regions` but the checksums.
fn survey(regions: &[Ref<MemoryRegion>], options: SnapshotOptions) -> Result<Metadata> {
    let mut records = vec_of(regions.len())?;
    let mut ranges = Vec::new();
    for region in regions {
        let mut found = extents::find(region)?;
        if options.skip_zero_pages {
            found = extents::drop_zero_pages(region, &found)?;
        }
        let first = ranges.len();
        ranges.try_reserve(found.len()).map_err(|_| Error::NoMemory("the ranges of a snapshot"))?;
        ranges.extend_from_slice(&found);
        let (guest_base, size) = (region.range().start(), region.range().size());
        records.push(RegionRecord { guest_base, size, ranges: first..ranges.len() });
    }
    Ok(Metadata {
        page_size: page_size(),
        chunk_size: CHUNK_SIZE,
        checksums: options.checksums.then(Vec::new),
        regions: records,
        ranges,
    })
}

/// Refuses memory of which parts are supplied on their first use: what is missing looks like a
/// hole.
fn refuse_unfetched(regions: &[Ref<MemoryRegion>]) -> Result<()> {
    for (start, end) in proc::flagged_areas("um")? {
        let overlaps = |region: &Ref<MemoryRegion>| {
            let host = region.host() as u64;
            host < end && start < host + region.range().size()
        };
        if regions.iter().any(overlaps) {
            return Err(Error::Unsupported("a userfaultfd may have pages that are missing here"));
        }
    }
    Ok(())
}

/// Refuses to write a snapshot over the file that holds the memory.
fn refuse_backing(regions: &[Ref<MemoryRegion>], fd: RawFd) -> Result<()> {
    let stat = stat(fd)?;
    for region in regions {
        let backs = match (region.backing(), region.backing().file()) {
            (Backing::Caller { .. }, _) if maps_file(region, &stat)? => true,
            (_, Some((file, _))) => is_same(&self::stat(file.fd())?, &stat),
            (_, None) => false,
        };
        if backs {
            return Err(Error::Busy("the file backs the memory that is to be written to it"));
        }
    }
    Ok(())
}

fn is_same(one: &libc::stat, other: &libc::stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// True when the caller's memory maps the file that `stat` is of, whatever the caller said.
fn maps_file(region: &MemoryRegion, stat: &libc::stat) -> Result<bool> {
    let areas = proc::areas(region.host() as u64, region.range().size())?;
    Ok(areas.iter().any(|area| (area.device, area.inode) == (stat.st_dev, stat.st_ino)))
}

fn stat(fd: RawFd) -> Result<libc::stat> {
    file::stat(fd).map_err(|errno| Error::Io { errno, completed: 0 })
}

/// Waits until what was written is on its disk.
fn sync(fd: RawFd, completed: u64) -> Result<()> {
    loop {
        // SAFETY: a plain system call, which checks the descriptor.
        if unsafe { libc::syscall(libc::SYS_fdatasync, i64::from(fd)) } == 0 {
            return Ok(());
        }
        match errno() {
            libc::EINTR => {}
            libc::EINVAL | libc::EROFS => {
                return Err(Error::Unsupported("what is written here cannot be synced"));
            }
            errno => return Err(Error::Io { errno, completed }),
        }
    }
}

#[cfg(test)]
mod tests;
