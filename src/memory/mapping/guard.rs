// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Inaccessible addresses that no userfaultfd can be registered over: a file that nobody can write is
//! mapped there. So whoever asks for a mapping and the page behind it gets an answer about the one,
//! and nothing comes of it; see `userfault`.

use crate::error::{Error, Result};
use crate::host::file;
use crate::host::system::page_size;
use crate::memory::mapping::map_anywhere;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// One such page, of which all others are copies. It lives as long as the library, and holds no
/// descriptor that a program could close or reuse.
static FIRST: AtomicPtr<libc::c_void> = AtomicPtr::new(null_mut());

/// Reserves addresses of the kernel's choice, and tells whether they are such.
pub fn reserve(size: usize) -> Result<(*mut u8, bool)> {
    if let Ok(first) = first() {
        // SAFETY: a copy of a shared mapping, whose old size is 0, leaves that as it is, and lies at
        // new addresses of the kernel's choice.
        let base = unsafe { libc::mremap(first, 0, size, libc::MREMAP_MAYMOVE) };
        if base != libc::MAP_FAILED {
            return Ok((base.cast(), true));
        }
    }
    Ok((map_anywhere(size, libc::PROT_NONE)?, false))
}

fn first() -> Result<*mut libc::c_void> {
    let known = FIRST.load(Ordering::Acquire);
    if !known.is_null() {
        return Ok(known);
    }
    let new = map_first()?;
    match FIRST.compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(new),
        Err(first) => {
            // SAFETY: a mapping of ours that nobody else knows of.
            unsafe { libc::munmap(new, page_size() as usize) };
            Ok(first)
        }
    }
}

fn map_first() -> Result<*mut libc::c_void> {
    let fd = sealed_file()?;
    let (size, flags) = (page_size() as usize, libc::MAP_SHARED | libc::MAP_NORESERVE);
    // SAFETY: new addresses of the kernel's choice. The file is empty, so there is nothing that could
    // be read or written even if the protection were changed.
    let page = unsafe { libc::mmap(null_mut(), size, libc::PROT_NONE, flags, fd.as_raw_fd(), 0) };
    if page == libc::MAP_FAILED {
        return Err(Error::last_os("mmap"));
    }
    // Nor is there anything to dump. Where the advice is refused the dump has a page more.
    // SAFETY: changes a flag of the mapping just made.
    unsafe { libc::madvise(page, size, libc::MADV_DONTDUMP) };
    Ok(page)
}

/// An empty file in memory that can be mapped, but not to be written.
fn sealed_file() -> Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a C string; the result is checked.
    let mut raw = unsafe { libc::memfd_create(c"guestmem-guard".as_ptr(), flags) };
    if raw < 0 {
        // Some systems allow no file in memory that could be executed.
        // SAFETY: as above.
        raw = unsafe {
            libc::memfd_create(c"guestmem-guard".as_ptr(), flags | libc::MFD_NOEXEC_SEAL)
        };
    }
    if raw < 0 {
        return Err(Error::last_os("memfd_create"));
    }
    // SAFETY: a descriptor that was just made and that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    let fd = file::above_standard(fd).map_err(|errno| Error::from_os("fcntl", errno))?;
    let seals = libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: a plain fcntl on our descriptor.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(Error::last_os("fcntl(F_ADD_SEALS)"));
    }
    Ok(fd)
}
