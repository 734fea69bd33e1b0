// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which parts of a region hold data.
//!
//! Nothing here reads a hole through a shared mapping, which would allocate its page, or moves the
//! file offset of a descriptor that others share: files are opened a second time through /proc.
//! What is found may be more than was written, never less; where that cannot be had the answer is
//! an error.
//!
//! - Pages of shared memory belong to its file, whoever put them there: `lseek(SEEK_DATA)`.
//! - Private pages are in the page tables of this process alone: `/proc/self/pagemap`.
//! - A copy-on-write mapping shows its own pages where it has some and the file elsewhere: both.
//! - Files of huge pages say that all is data. Their pages are looked for in the page tables and,
//!   where the file has more than those, by reading the file, which allocates nothing.

use super::metadata::DataRange;
use crate::address::{align_down, next_congruent};
use crate::alloc::vec_of;
use crate::backing::Backing;
use crate::caller;
use crate::error::{Error, Result, errno};
use crate::file::{self, pread_some};
use crate::proc::page_size;
use crate::proc::{self, Area, MemoryKind};
use crate::region::MemoryRegion;
use crate::volatile;
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Bits of an entry of the page map (proc_pid_pagemap(5)).
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;

/// fuse.h
const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;

/// Finds the parts of `region` that may hold anything but zeros: page-aligned, ascending,
/// disjoint.
pub fn find(region: &MemoryRegion) -> Result<Vec<DataRange>> {
    let size = region.range().size();
    let whole = Part { host: region.host() as u64, offset: 0, size };
    let mut found = Found::default();
    match region.backing() {
        Backing::Anonymous => found.private_pages(whole)?,
        Backing::Shared { file, offset } => {
            found.shared_file(whole, &open_again(file.fd())?, *offset)?;
        }
        Backing::CopyOnWrite { file, offset } => {
            found.private_file(whole, &open_again(file.fd())?, *offset)?;
        }
        Backing::Caller { file, offset } => {
            let given = file.as_ref().map(|file| (file.fd(), *offset));
            for area in proc::areas(whole.host, size)? {
                found.area_of_caller(whole, &area, given)?;
            }
        }
    }
    Ok(found.into_ranges(size))
}

/// Takes the pages that hold only zeros out of `ranges`, the data of `region`.
pub fn drop_zero_pages(region: &MemoryRegion, ranges: &[DataRange]) -> Result<Vec<DataRange>> {
    let page = page_size();
    let mut found = Found::default();
    for range in ranges {
        for start in (range.start..range.end).step_by(page as usize) {
            // SAFETY: within the region, whose mapping lives as long as it.
            let is_zero =
                unsafe { volatile::is_zero(region.host().add(start as usize), page as usize) };
            if !is_zero {
                found.add(start, start + page)?;
            }
        }
    }
    Ok(found.0)
}

/// A part of a region.
#[derive(Clone, Copy)]
struct Part {
    host: u64,
    offset: u64,
    size: u64,
}

/// What was found so far, as offsets in the region.
#[derive(Default)]
struct Found(Vec<DataRange>);

impl Found {
    /// Adds a range. One that follows the last directly becomes one with it.
    fn add(&mut self, start: u64, end: u64) -> Result<()> {
        match self.0.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => {
                self.0.try_reserve(1).map_err(|_| Error::NoMemory("the ranges of a snapshot"))?;
                self.0.push(DataRange { start, end });
            }
        }
        Ok(())
    }

    /// What was found of a region of `size` bytes: in order, joined, widened to pages.
    fn into_ranges(self, size: u64) -> Vec<DataRange> {
        let page = page_size();
        let mut ranges = self.0;
        ranges.sort_unstable();
        for range in &mut ranges {
            range.start = align_down(range.start, page);
            range.end = next_congruent(range.end, 0, page).unwrap_or(size).min(size);
        }
        ranges.dedup_by(|next, last| {
            let joins = next.start <= last.end;
            if joins {
                last.end = last.end.max(next.end);
            }
            joins
        });
        ranges
    }

    /// A mapping in the caller's region. Its file is opened through the mapping when the caller
    /// did not give it, which takes a privilege.
    fn area_of_caller(
        &mut self,
        whole: Part,
        area: &Area,
        given: Option<(RawFd, u64)>,
    ) -> Result<()> {
        let start = area.start.max(whole.host);
        let end = area.end.min(whole.host + whole.size);
        let part = Part { host: start, offset: start - whole.host, size: end - start };
        let (file, offset) = match (area.kind, given) {
            (MemoryKind::PrivateAnonymous | MemoryKind::PrivateHuge, _) => {
                return self.private_pages(part);
            }
            (_, Some((fd, offset))) => {
                caller::check_file(area, fd, offset, whole.host)?;
                (open_again(fd)?, offset + part.offset)
            }
            (_, None) => (open_mapped(area)?, area.offset + (start - area.start)),
        };
        match area.kind {
            MemoryKind::Shared => self.shared_file(part, &file, offset),
            _ => self.private_file(part, &file, offset),
        }
    }

    fn private_pages(&mut self, part: Part) -> Result<()> {
        each_page(part, |offset, entry| match entry & (PRESENT | SWAPPED) {
            0 => Ok(()),
            _ => self.add(offset, offset + page_size()),
        })
    }

    /// `file` lies behind the shared mapping of `part` from `start` on.
    fn shared_file(&mut self, part: Part, file: &OwnedFd, start: u64) -> Result<()> {
        match file_system(file)? {
            Keeping::HugePages(size) => self.huge_pages(part, file, start, size),
            Keeping::Dense => self.add(part.offset, part.offset + part.size),
            Keeping::Sparse => self.seek(part, file, start),
        }
    }

    /// `file` lies behind the copy-on-write mapping of `part` from `start` on.
    fn private_file(&mut self, part: Part, file: &OwnedFd, start: u64) -> Result<()> {
        each_page(part, |offset, entry| {
            let is_copy = entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0;
            if is_copy { self.add(offset, offset + page_size()) } else { Ok(()) }
        })?;
        self.shared_file(part, file, start)
    }

    fn seek(&mut self, part: Part, file: &OwnedFd, start: u64) -> Result<()> {
        let end = start + part.size;
        let mut at = start;
        while at < end {
            let data = match seek(file, at, libc::SEEK_DATA)? {
                Some(data) if data < end => data,
                _ => break,
            };
            // There is a hole at the end of every file at the latest.
            if data < at {
                return Err(Error::Unsupported("the file behind the memory cannot seek"));
            }
            at = seek(file, data, libc::SEEK_HOLE)?.unwrap_or(end).min(end);
            if at > data {
                self.add(part.offset + (data - start), part.offset + (at - start))?;
            } else {
                // Somebody removed that page just now.
                at = data + page_size();
            }
        }
        Ok(())
    }

    /// The pages of `size` bytes that are in the page tables and, unless the file has no others,
    /// those in which the file has anything but zeros.
    fn huge_pages(&mut self, part: Part, file: &OwnedFd, start: u64, size: u64) -> Result<()> {
        let mut seen = 0;
        let mut mapped = Found::default();
        each_page(part, |offset, entry| {
            if entry & (PRESENT | SWAPPED) == 0 {
                return Ok(());
            }
            seen += if entry & OF_FILE != 0 { page_size() } else { 0 };
            mapped.add(offset, offset + page_size())
        })?;
        let holds_more = allocated(file)? > seen;
        let mut known = mapped.0.iter().peekable();
        for offset in (part.offset..part.offset + part.size).step_by(size as usize) {
            while known.next_if(|range| range.end <= offset).is_some() {}
            let is_mapped = known.peek().is_some_and(|range| range.start <= offset);
            let in_file = start + (offset - part.offset);
            if is_mapped || holds_more && !reads_as_zeros(file, in_file, size)? {
                self.add(offset, offset + size)?;
            }
        }
        Ok(())
    }
}

/// Calls `visit` with the page map's entry for each page of `part` and the page's offset.
fn each_page(part: Part, mut visit: impl FnMut(u64, u64) -> Result<()>) -> Result<()> {
    const AT_ONCE: usize = 8192;
    const ENTRY: usize = size_of::<u64>();
    let no_map = Error::Unsupported("/proc/self/pagemap is needed");
    let map = proc::open(c"/proc/self/pagemap").map_err(|errno| unavailable(errno, no_map))?;
    let mut entries = vec_of(AT_ONCE)?;
    entries.resize(AT_ONCE, 0u64);
    let page = page_size();
    let mut offset = part.offset;
    let end = part.offset + part.size;
    while offset < end {
        let wanted = ((end - offset) / page).min(AT_ONCE as u64) as usize;
        let at = (part.host + (offset - part.offset)) / page * ENTRY as u64;
        // SAFETY: `entries` holds that many, of which any bytes are valid.
        let read =
            unsafe { pread_some(map.as_raw_fd(), entries.as_mut_ptr().cast(), wanted * ENTRY, at) };
        let count = match read {
            Ok(bytes) if bytes >= ENTRY => bytes / ENTRY,
            Ok(_) => return Err(no_map),
            Err(errno) => return Err(Error::from_os("read(pagemap)", errno)),
        };
        for &entry in &entries[..count] {
            visit(offset, entry)?;
            offset += page;
        }
    }
    Ok(())
}

/// What a file can tell of its holes.
enum Keeping {
    Sparse,
    /// Nothing that could be relied on.
    Dense,
    /// Nothing; its pages are of that size.
    HugePages(u64),
}

fn file_system(file: &OwnedFd) -> Result<Keeping> {
    let stat = file::statfs(file.as_raw_fd()).map_err(|errno| Error::from_os("fstatfs", errno))?;
    Ok(match stat.f_type {
        libc::HUGETLBFS_MAGIC => Keeping::HugePages(stat.f_bsize as u64),
        // Its server answers, which does not know of pages that were written by memory access.
        FUSE_SUPER_MAGIC => Keeping::Dense,
        _ => Keeping::Sparse,
    })
}

/// `lseek(2)`; None past the last data.
fn seek(file: &OwnedFd, offset: u64, whence: i32) -> Result<Option<u64>> {
    // SAFETY: a plain system call on a description of our own.
    let position = unsafe { libc::lseek(file.as_raw_fd(), offset as i64, whence) };
    if position >= 0 {
        return Ok(Some(position as u64));
    }
    match errno() {
        libc::ENXIO => Ok(None),
        // A file system that knows no holes.
        libc::EINVAL if whence == libc::SEEK_DATA => Ok(Some(offset)),
        libc::EINVAL => Ok(None),
        other => Err(Error::from_os("lseek(SEEK_DATA)", other)),
    }
}

/// Bytes that the file has allocated.
fn allocated(file: &OwnedFd) -> Result<u64> {
    Ok(super::stat(file.as_raw_fd())?.st_blocks as u64 * 512)
}

fn reads_as_zeros(file: &OwnedFd, start: u64, size: u64) -> Result<bool> {
    const AT_ONCE: u64 = 256 << 10;
    let mut buffer = vec_of(AT_ONCE as usize)?;
    buffer.resize(AT_ONCE as usize, 0u8);
    let mut at = start;
    while at < start + size {
        let wanted = AT_ONCE.min(start + size - at) as usize;
        // SAFETY: the buffer holds that many.
        let read = unsafe { pread_some(file.as_raw_fd(), buffer.as_mut_ptr(), wanted, at) };
        match read {
            Ok(0) => return Ok(true),
            Ok(count) if buffer[..count].iter().any(|&byte| byte != 0) => return Ok(false),
            Ok(count) => at += count as u64,
            // A page that cannot be read is a page.
            Err(libc::EIO) => return Ok(false),
            Err(errno) => return Err(Error::from_os("pread", errno)),
        }
    }
    Ok(true)
}

/// Opens the file behind `fd` a second time, so that seeking moves nobody else's offset.
fn open_again(fd: RawFd) -> Result<OwnedFd> {
    open_path(format_args!("/proc/self/fd/{fd}"), "the file behind a region is not open to /proc")
}

/// Opens the file behind one of the caller's mappings.
fn open_mapped(area: &Area) -> Result<OwnedFd> {
    let path = format_args!("/proc/self/map_files/{:x}-{:x}", area.start, area.end);
    open_path(path, "the file behind the caller's memory is needed")
}

fn open_path(path: std::fmt::Arguments, why: &'static str) -> Result<OwnedFd> {
    let mut name = [0u8; 64];
    // What does not fit fails, and the last byte stays 0.
    let written = (&mut name[..63]).write_fmt(path);
    let name = CStr::from_bytes_until_nul(&name).ok().filter(|_| written.is_ok());
    let name = name.ok_or(Error::Internal("a path in /proc is too long"))?;
    proc::open(name).map_err(|errno| unavailable(errno, Error::Unsupported(why)))
}

fn unavailable(errno: i32, error: Error) -> Error {
    match errno {
        libc::EMFILE | libc::ENFILE | libc::ENOMEM => Error::from_os("open", errno),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
