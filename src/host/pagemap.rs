// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Looking into this process's page tables: `/proc/thread-self/pagemap`.

use crate::error::{Error, Result, errno};
use crate::host::alloc::vec_of;
use crate::host::file;
use crate::host::file::pread_some;
use crate::host::kept;
use crate::host::system::page_size;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Which pages to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of private memory without a file, but for the page of zeros, which all processes share.
    Private,
    /// Those of private memory without a file, also where there is the page of zeros.
    AnyPrivate,
    /// The copies that a copy-on-write mapping made.
    Copies,
    /// Those that are in memory, but for the page of zeros.
    Resident,
    /// Those of the file in a shared mapping. Swapped ones do not count: in such a mapping they
    /// may be marks of a userfaultfd without a page in the file.
    Shared,
}

/// Bits of an entry (proc_pid_pagemap(5)).
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;

/// `PAGE_IS_*` of linux/fs.h.
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
/// The page of zeros.
const IS_PFNZERO: u64 = 1 << 5;

impl Wanted {
    /// Whether an entry tells of such a page.
    fn is_told_by(self, entry: u64) -> bool {
        match self {
            Wanted::Private | Wanted::AnyPrivate => entry & (PRESENT | SWAPPED) != 0,
            Wanted::Copies => entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0,
            Wanted::Shared | Wanted::Resident => entry & PRESENT != 0,
        }
    }

    /// What a page must not be, and what it must be one of. Asking for the file takes long.
    fn categories(self) -> (u64, u64) {
        match self {
            Wanted::Private => (IS_PFNZERO, IS_PRESENT | IS_SWAPPED),
            Wanted::AnyPrivate => (0, IS_PRESENT | IS_SWAPPED),
            Wanted::Copies => (IS_PFNZERO | IS_FILE, IS_PRESENT | IS_SWAPPED),
            Wanted::Shared => (0, IS_PRESENT),
            Wanted::Resident => (IS_PFNZERO, IS_PRESENT),
        }
    }
}

/// `struct pm_scan_arg` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` of linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

const PAGEMAP_SCAN: libc::Ioctl = libc::_IOWR::<ScanArg>(b'f' as u32, 16);

/// The page tables of this process.
pub struct PageMap {
    file: Result<OwnedFd>,
    can_scan: bool,
}

impl PageMap {
    /// Opens them. Where that fails, looking will.
    pub fn open() -> Self {
        let none = Error::Unsupported("/proc/thread-self/pagemap is needed");
        let file = kept::page_map().map_err(|errno| unavailable(errno, none));
        // Linux 6.7 and later answer to no addresses with no pages.
        let nothing = &mut ScanArg { size: size_of::<ScanArg>() as u64, ..Default::default() };
        let can_scan = file.as_ref().is_ok_and(|file| scan(file.as_raw_fd(), nothing) == Ok(0));
        PageMap { file, can_scan }
    }

    /// As on a kernel that can only be read.
    #[cfg(test)]
    pub fn without_scan() -> Self {
        PageMap { can_scan: false, ..Self::open() }
    }

    /// Whether the kernel looks for pages itself, which is much sooner done.
    pub fn can_scan(&self) -> bool {
        self.can_scan
    }

    /// Gives the first address and the end of each run of pages wanted among the `size` bytes at
    /// `host`.
    pub fn each(&self, host: u64, size: u64, wanted: Wanted, give: Give) -> Result<()> {
        let map = self.file.as_ref().map_err(|error| *error)?.as_raw_fd();
        match self.can_scan {
            true => scan_all(map, host, host + size, wanted, give),
            false => read_all(map, host, host + size, wanted, give),
        }
    }
}

/// What to say when a file of /proc cannot be opened.
pub fn unavailable(errno: i32, error: Error) -> Error {
    match errno {
        libc::EMFILE | libc::ENFILE | libc::ENOMEM => Error::from_os("open", errno),
        _ => error,
    }
}

/// Gives the number of ranges found, or errno.
fn scan(map: RawFd, arg: &mut ScanArg) -> file::Outcome<usize> {
    // SAFETY: the argument is of the size and kind that the request bears in its number, and what
    // it points to is `vec_len` ranges to be written, or nothing.
    let count = unsafe { libc::ioctl(map, PAGEMAP_SCAN, &raw mut *arg) };
    if count < 0 { Err(errno()) } else { Ok(count as usize) }
}

/// Takes a run of pages.
pub type Give<'a> = &'a mut dyn FnMut(u64, u64) -> Result<()>;

fn scan_all(map: RawFd, start: u64, end: u64, wanted: Wanted, give: Give) -> Result<()> {
    const AT_ONCE: u64 = 4096;
    let room = ((end - start) / page_size()).min(AT_ONCE) as usize;
    let mut ranges = vec_of(room)?;
    ranges.resize(room, PageRegion::default());
    let (unwanted, wanted) = wanted.categories();
    let mut at = start;
    while at < end {
        let mut arg = ScanArg {
            size: size_of::<ScanArg>() as u64,
            start: at,
            end,
            vec: ranges.as_mut_ptr() as u64,
            vec_len: room as u64,
            category_inverted: unwanted,
            category_mask: unwanted,
            category_anyof_mask: wanted,
            ..Default::default()
        };
        let count = scan(map, &mut arg)
            .map_err(|errno| Error::from_os("ioctl(PAGEMAP_SCAN)", errno))?
            .min(room);
        ranges[..count].iter().try_for_each(|range| give(range.start, range.end))?;
        // Where it stopped is not to be told from `walk_end`, which some kernels leave stale: only
        // a list that was filled may have more behind it.
        at = if count == room { ranges[count - 1].end } else { end };
    }
    Ok(())
}

fn read_all(map: RawFd, start: u64, end: u64, wanted: Wanted, give: Give) -> Result<()> {
    const AT_ONCE: u64 = 8192;
    const ENTRY: usize = size_of::<u64>();
    let page = page_size();
    let room = ((end - start) / page).min(AT_ONCE) as usize;
    let mut entries = vec_of(room)?;
    entries.resize(room, 0u64);
    let mut at = start;
    while at < end {
        let count = ((end - at) / page).min(room as u64) as usize;
        let (buffer, offset) = (entries.as_mut_ptr().cast(), at / page * ENTRY as u64);
        // SAFETY: `entries` holds that many, of which any bytes are valid.
        let read = unsafe { pread_some(map, buffer, count * ENTRY, offset) };
        let read = read.map_err(|errno| Error::from_os("read(pagemap)", errno))? / ENTRY;
        if read == 0 {
            return Err(Error::Unsupported("/proc/thread-self/pagemap ends too early"));
        }
        for &entry in &entries[..read] {
            if wanted.is_told_by(entry) {
                give(at, at + page)?;
            }
            at += page;
        }
    }
    Ok(())
}
