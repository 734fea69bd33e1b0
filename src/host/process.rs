// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which process this is. A number of the kernel's does not tell: a child in a namespace of its own
//! may have its parent's, and numbers come again.

use crate::error::{Error, Result};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// One page that the kernel empties in a forked child (MADV_WIPEONFORK in madvise(2)). It holds the
/// identity, and lives as long as the library.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());

/// What is used of it. The kernel rounds up to a page.
const SIZE: usize = size_of::<AtomicU64>();

/// Identities that were given: a child goes on counting where its parent was.
static GIVEN: AtomicU64 = AtomicU64::new(0);

/// A number that is not 0 and that no process has from which this one was forked. Those that share
/// their memory (vfork(2)) share it.
pub fn identity() -> Result<u64> {
    let page = page()?;
    let known = page.load(Ordering::Relaxed);
    if known != 0 {
        return Ok(known);
    }
    let new = GIVEN.fetch_add(1, Ordering::Relaxed) + 1;
    let first = page.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
    Ok(first.err().unwrap_or(new))
}

/// Something that is so in the process that said it, and not in its children.
#[derive(Debug)]
pub struct Here(AtomicU64);

impl Here {
    /// It is so in no process.
    pub const fn nowhere() -> Self {
        Here(AtomicU64::new(0))
    }

    /// From now on it is so in this process.
    pub fn say(&self) -> Result<()> {
        self.0.store(identity()?, Ordering::Relaxed);
        Ok(())
    }

    /// True when it is so in this process.
    pub fn holds(&self) -> bool {
        let said_by = self.0.load(Ordering::Relaxed);
        said_by != 0 && identity() == Ok(said_by)
    }
}

fn page() -> Result<&'static AtomicU64> {
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let new = map_page()?;
        page = new;
        if let Err(first) =
            PAGE.compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Acquire)
        {
            unmap_page(new);
            page = first;
        }
    }
    // SAFETY: a page of zeros, at least, that is never unmapped once it is known.
    Ok(unsafe { &*page })
}

fn map_page() -> Result<*mut AtomicU64> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: new addresses of the kernel's choice.
    let page = unsafe { libc::mmap(null_mut(), SIZE, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(Error::last_os("mmap"));
    }
    let page: *mut AtomicU64 = page.cast();
    // SAFETY: the mapping just made.
    if unsafe { libc::madvise(page.cast(), SIZE, libc::MADV_WIPEONFORK) } != 0 {
        let error = Error::last_os("madvise(MADV_WIPEONFORK)");
        unmap_page(page);
        return Err(error);
    }
    Ok(page)
}

fn unmap_page(page: *mut AtomicU64) {
    // SAFETY: a page of `map_page` that nobody else knows of.
    unsafe { libc::munmap(page.cast(), SIZE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_has_another_identity_than_its_parent() {
        let own = identity().unwrap();
        assert_eq!(identity(), Ok(own));
        // SAFETY: the child only calls what allocates nothing.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let (first, again) = (identity(), identity());
            let differs = first == again && first.is_ok_and(|first| first > own);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!differs)) };
        }
        let mut status = 0;
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(identity(), Ok(own));
    }
}
