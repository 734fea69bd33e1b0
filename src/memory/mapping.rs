// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One mapping with its guard pages: creation, advice, locking, removal of pages.

mod guard;
mod replace;
mod replaced;
mod room;

use crate::address::{align_down, fits, next_congruent};
use crate::error::{Error, Result, errno};
use crate::host::process;
use crate::host::system::page_size;
use crate::host::threads;
pub use replaced::Replaced;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

pub use process::Here;

/// Where a mapping is to lie: at a host address that agrees with `residue` modulo `align`.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// A power of two, at least the page size.
    pub align: u64,
    /// What the host address is to be, modulo `align`.
    pub residue: u64,
}

/// What is mapped.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// A file, stores reach it.
    Shared {
        /// The file.
        fd: RawFd,
        /// Where in it the mapping starts.
        offset: u64,
    },
    /// A file, stores stay private.
    CopyOnWrite {
        /// The file.
        fd: RawFd,
        /// Where in it the mapping starts.
        offset: u64,
        /// It is made of pages of hugetlbfs.
        huge: bool,
    },
    /// Zeros, private.
    Anonymous,
}

/// Advice that stays with a mapping and can be taken back while it is being applied to several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Use transparent huge pages.
    HugePages,
    /// Keep pages in memory once they are there.
    Lock,
    /// Leave the mapping out of forked children.
    DontFork,
    /// Let equal pages be merged.
    Mergeable,
}

impl Advice {
    /// Every advice there is.
    pub const ALL: [Advice; 4] =
        [Advice::HugePages, Advice::Lock, Advice::DontFork, Advice::Mergeable];
}

/// A range of host memory: the library's own between guard pages, or the caller's.
#[derive(Debug)]
pub struct Mapping {
    host: *mut u8,
    size: usize,
    /// What `drop` unmaps, guard pages included; nothing for the caller's memory.
    reserved: Option<(*mut u8, usize)>,
    /// No userfaultfd can be registered over the guard pages.
    is_guarded: bool,
    protection: i32,
    /// The process whose children do not get it; 0 while they do.
    kept_by: AtomicU64,
}

// SAFETY: a mapping is a range of addresses. Its bytes are only touched by volatile and atomic
// accesses, which expect that others touch them too.
unsafe impl Send for Mapping {}
// SAFETY: as above; the one field that methods change is atomic.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `content` at a fitting place between inaccessible guard pages.
    pub fn new(content: Content, size: u64, read_only: bool, place: Placement) -> Result<Self> {
        let (base, reserved, host, is_guarded) = reserve(size, place)?;
        // From here on `drop` gives the reservation back, whatever happens.
        let mapping = Mapping {
            host: host as *mut u8,
            size: size as usize,
            reserved: Some((base as *mut u8, reserved)),
            is_guarded,
            protection: protection(read_only),
            kept_by: AtomicU64::new(0),
        };
        mapping.map_over(0, size, content)?;
        mapping.dont_dump(0, size)?;
        Ok(mapping)
    }

    /// The caller's memory, which stays the caller's to unmap.
    pub fn of_caller(host: *mut u8, size: u64, read_only: bool) -> Self {
        let (size, protection, kept_by) = (size as usize, protection(read_only), AtomicU64::new(0));
        Mapping { host, size, reserved: None, is_guarded: false, protection, kept_by }
    }

    /// The first byte.
    pub fn host(&self) -> *mut u8 {
        self.host
    }

    /// The end of the guard page behind it, over which no userfaultfd can be registered; None where
    /// there is no such page.
    pub fn guarded_end(&self) -> Option<u64> {
        self.is_guarded.then_some(self.host as u64 + self.size() + page_size())
    }

    /// Bytes, guard pages not counted.
    pub fn size(&self) -> u64 {
        self.size as u64
    }

    /// Drops the pages of a range of private anonymous memory, locked or not; it reads as zeros.
    pub fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.advise(offset, len, libc::MADV_DONTNEED, "madvise(MADV_DONTNEED)").or_else(|_| {
            // Plain discarding refuses locked pages.
            let call = "madvise(MADV_DONTNEED_LOCKED)";
            self.advise(offset, len, libc::MADV_DONTNEED_LOCKED, call)
        })
    }

    /// Frees the pages of a range of a shared mapping together with those of the file behind it.
    pub fn remove(&self, offset: u64, len: u64) -> Result<()> {
        self.advise(offset, len, libc::MADV_REMOVE, "madvise(MADV_REMOVE)")
    }

    /// Gives an advice for a range.
    pub fn apply(&self, advice: Advice, offset: u64, len: u64) -> Result<()> {
        match advice {
            Advice::HugePages => self.advise(offset, len, libc::MADV_HUGEPAGE, "MADV_HUGEPAGE"),
            Advice::DontFork => {
                self.kept_by.store(process::identity()?, Ordering::Relaxed);
                self.advise(offset, len, libc::MADV_DONTFORK, "MADV_DONTFORK")
            }
            Advice::Mergeable => self.advise(offset, len, libc::MADV_MERGEABLE, "MADV_MERGEABLE"),
            Advice::Lock => self.lock(offset, len),
        }
    }

    /// Takes an advice back from a part. What the kernel refuses here changes nothing for the caller.
    pub fn take_back(&self, advice: Advice, offset: u64, len: u64) {
        let result = match advice {
            Advice::HugePages => self.advise(offset, len, libc::MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE"),
            Advice::DontFork => self.advise(offset, len, libc::MADV_DOFORK, "MADV_DOFORK"),
            Advice::Mergeable => {
                self.advise(offset, len, libc::MADV_UNMERGEABLE, "MADV_UNMERGEABLE")
            }
            Advice::Lock => self.unlock(offset, len),
        };
        if advice == Advice::DontFork && result.is_ok() {
            self.kept_by.store(0, Ordering::Relaxed);
        }
    }

    /// Faults every page in, on several threads where that helps. `unit` is the size of a page.
    pub fn populate(&self, unit: u64) -> Result<()> {
        let shares = Shares::new(self.size(), unit, threads::cpus() as u64);
        threads::run(shares.count as usize, &|index| {
            let (offset, len) = shares.get(index as u64);
            self.populate_range(offset, len)
        })
    }

    /// Bytes of the mapping that are in memory now, whoever brought them there.
    #[cfg(test)]
    pub fn resident(&self) -> Result<u64> {
        const PAGES_AT_ONCE: usize = 4096;
        let page = page_size() as usize;
        let mut present = [0u8; PAGES_AT_ONCE];
        let mut resident = 0;
        for start in (0..self.size).step_by(PAGES_AT_ONCE * page) {
            let len = (self.size - start).min(PAGES_AT_ONCE * page);
            // SAFETY: within the mapping; `present` holds a byte for each of its pages.
            let result =
                unsafe { libc::mincore(self.host.add(start).cast(), len, present.as_mut_ptr()) };
            if result != 0 {
                return Err(Error::last_os("mincore"));
            }
            let pages = len.div_ceil(page);
            resident += present[..pages].iter().filter(|&&byte| byte & 1 != 0).count() * page;
        }
        Ok(resident as u64)
    }

    /// Faults the pages of a range in.
    pub fn populate_range(&self, offset: u64, len: u64) -> Result<()> {
        // Each begins anew, and is soon past what the last has brought in. What keeps the kernel
        // from it so often may do so for ever.
        const ATTEMPTS: u32 = 100;
        let mut result = self.populate_once(offset, len);
        for _ in 1..ATTEMPTS {
            match result {
                Err(Error::Os { errno: libc::EINTR | libc::EAGAIN, .. }) => {}
                other => return other,
            }
            result = self.populate_once(offset, len);
        }
        result
    }

    fn populate_once(&self, offset: u64, len: u64) -> Result<()> {
        let advice =
            if self.is_writable() { libc::MADV_POPULATE_WRITE } else { libc::MADV_POPULATE_READ };
        self.advise(offset, len, advice, "madvise(MADV_POPULATE)").map_err(|error| match error {
            Error::Os { errno: libc::EINVAL, .. } => {
                Error::Unsupported("the kernel cannot populate this mapping")
            }
            // An access would get SIGBUS: the pool of huge pages or the file system is full.
            Error::Os { errno: libc::EFAULT, .. } => Error::NoMemory("madvise(MADV_POPULATE)"),
            other => other,
        })
    }

    /// The host address of a part of the mapping.
    fn part(&self, offset: u64, len: u64) -> Result<*mut libc::c_void> {
        if !fits(offset, len, self.size()) {
            return Err(Error::Internal("a part that is not of the mapping"));
        }
        Ok(self.host.wrapping_add(offset as usize).cast())
    }

    fn lock(&self, offset: u64, len: u64) -> Result<()> {
        let start = self.part(offset, len)?;
        // On fault: locking must not cost memory that the guest never touches.
        // SAFETY: only changes how the kernel treats a mapping that lives as long as `self`.
        let result = unsafe { libc::mlock2(start, len as usize, libc::MLOCK_ONFAULT as _) };
        if result != 0 { Err(Error::Os { call: "mlock2", errno: errno() }) } else { Ok(()) }
    }

    fn unlock(&self, offset: u64, len: u64) -> Result<()> {
        let start = self.part(offset, len)?;
        // SAFETY: as in `lock`.
        let result = unsafe { libc::munlock(start, len as usize) };
        if result != 0 { Err(Error::last_os("munlock")) } else { Ok(()) }
    }

    /// Leaves a range out of core dumps.
    pub fn dont_dump(&self, offset: u64, len: u64) -> Result<()> {
        self.advise(offset, len, libc::MADV_DONTDUMP, "madvise(MADV_DONTDUMP)")
    }

    fn advise(&self, offset: u64, len: u64, advice: i32, call: &'static str) -> Result<()> {
        let start = self.part(offset, len)?;
        // SAFETY: a part of the mapping, which lives as long as `self`. The advices used in this
        // file keep it mapped; those that drop its bytes are what their callers ask for.
        let result = unsafe { libc::madvise(start, len as usize, advice) };
        if result != 0 { Err(Error::last_os(call)) } else { Ok(()) }
    }

    /// Maps content over a part that nobody else has been told of yet. [`Mapping::dont_dump`] is to
    /// follow.
    pub fn map_over(&self, offset: u64, len: u64, content: Content) -> Result<()> {
        let start = self.part(offset, len)?;
        let (kind, fd, from) = match content {
            Content::Shared { fd, offset } => (libc::MAP_SHARED, fd, offset),
            Content::CopyOnWrite { fd, offset, .. } => (libc::MAP_PRIVATE, fd, offset),
            Content::Anonymous => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
        };
        // Private memory is charged when it is touched. Pages of hugetlbfs that a store may need are
        // reserved now, so that a later touch cannot fail.
        let reserve = match content {
            Content::CopyOnWrite { huge: true, .. } if self.is_writable() => 0,
            Content::CopyOnWrite { .. } | Content::Anonymous => libc::MAP_NORESERVE,
            Content::Shared { .. } => 0,
        };
        let flags = kind | libc::MAP_FIXED | reserve;
        // SAFETY: replaces a part of our own reservation, which nobody else has been told of yet.
        let result =
            unsafe { libc::mmap(start, len as usize, self.protection, flags, fd, from as i64) };
        if result != libc::MAP_FAILED {
            return Ok(());
        }
        Err(match errno() {
            errno @ (libc::EPERM | libc::EACCES | libc::ENODEV) if fd >= 0 => {
                Error::Backing { why: "the file cannot be mapped like this", errno }
            }
            errno => Error::from_os("mmap", errno),
        })
    }

    fn is_writable(&self) -> bool {
        self.protection & libc::PROT_WRITE != 0
    }
}

fn protection(read_only: bool) -> i32 {
    if read_only { libc::PROT_READ } else { libc::PROT_READ | libc::PROT_WRITE }
}

/// A mapping's bytes cut into parts of whole pages, one for each thread.
struct Shares {
    size: u64,
    each: u64,
    count: u64,
}

impl Shares {
    fn new(size: u64, unit: u64, cpus: u64) -> Self {
        const WORTH_A_THREAD: u64 = 64 << 20;
        let count = (size / WORTH_A_THREAD.max(unit)).clamp(1, cpus);
        Shares { size, each: align_down(size / count, unit), count }
    }

    /// Offset and length of a part; the last takes what is left over.
    fn get(&self, index: u64) -> (u64, u64) {
        let offset = self.each * index;
        let is_last = index == self.count - 1;
        (offset, if is_last { self.size - offset } else { self.each })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let kept_by = *self.kept_by.get_mut();
        if kept_by != 0 && process::identity() != Ok(kept_by) {
            // In a child, where it never was: what lies at its addresses is somebody else's.
            return;
        }
        if let Some((base, len)) = self.reserved {
            // SAFETY: our own reservation, unmapped once; the region's last reference is gone, so
            // nobody is to use its addresses any more.
            unsafe { libc::munmap(base.cast(), len) };
        }
    }
}

/// Private memory without a file, not charged before it is touched.
fn map_anywhere(size: usize, protection: i32) -> Result<*mut u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new addresses of the kernel's choice.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED { Err(Error::last_os("mmap")) } else { Ok(base.cast()) }
}

/// Reserves inaccessible addresses for `size` bytes at a fitting place, with a guard page before
/// and behind. Gives the reservation's start and length, the place, and whether a userfaultfd is kept
/// from the guard pages.
fn reserve(size: u64, place: Placement) -> Result<(u64, usize, u64, bool)> {
    let page = page_size();
    let too_large = Error::too_large("the region is larger than the host's address space");
    let slack = place.align.max(page) - page;
    let length = size.checked_add(slack).and_then(|sum| sum.checked_add(2 * page));
    let length = length.filter(|&length| length <= isize::MAX as u64).ok_or(too_large)?;
    let (base, is_guarded) = guard::reserve(length as usize)?;
    let base = base as u64;
    let host =
        next_congruent(base + page, place.residue, place.align.max(page)).ok_or(too_large)?;
    Ok((base, length as usize, host, is_guarded))
}

#[cfg(test)]
mod tests;
