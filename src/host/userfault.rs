// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Whether a userfaultfd may have pages of some memory that are missing in it.
//!
//! The kernel refuses to register a userfaultfd over what another one has, and over what can never
//! be written. It looks at all mappings of a range, in order, before it changes any. So the answer
//! for memory together with a page behind it that can never be written tells of the memory,
//! whatever it is, and nothing is registered. That takes a microsecond or two, where smaps takes as
//! long as all pages of the process are many.

use crate::error::errno;
use crate::host::file;
use crate::host::file::Outcome;
use crate::host::kept;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// linux/userfaultfd.h
const API: u64 = 0xaa;
const KIND: u32 = 0xaa;
const UFFD_USER_MODE_ONLY: i32 = 1;
const MODE_MISSING: u64 = 1;
const USERFAULTFD_IOC_NEW: libc::Ioctl = libc::_IO(KIND, 0);
const UFFDIO_REGISTER: libc::Ioctl = libc::_IOWR::<Register>(KIND, 0);
const UFFDIO_API: libc::Ioctl = libc::_IOWR::<Handshake>(KIND, 0x3f);

/// `struct uffdio_api`.
#[repr(C)]
#[derive(Default)]
struct Handshake {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
#[derive(Default)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// What is known of some memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No userfaultfd has any of it.
    Free,
    /// None has what comes before its first mapping that no userfaultfd could have pages of: that of
    /// a file on disk, say.
    FreeAtFirst,
    /// One has some of it, for missing pages or something else, or the kernel does not tell.
    Perhaps,
}

/// A userfaultfd that never gets any memory. It belongs to the process that opened it, and asks about
/// that one's memory even in a forked child, so it is opened for each call.
pub struct Userfault(OwnedFd);

impl Userfault {
    /// None where the system does not allow it.
    pub fn open() -> Option<Self> {
        let fd = create().or_else(|_| create_by_device()).ok()?;
        let mut handshake = Handshake { api: API, ..Default::default() };
        // SAFETY: the argument is of the size and kind that the request bears in its number.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_API, &raw mut handshake) };
        (result == 0).then_some(Userfault(fd))
    }

    /// Asks about the memory from `start` to `end`, of which the last page can never be written.
    ///
    /// # Safety
    /// That page is as it is said to be until this returns: else the memory is registered for a
    /// moment, in which nothing is there to fill in what is missing.
    pub unsafe fn ask(&self, start: u64, end: u64) -> Answer {
        let (len, mode) = (end - start, MODE_MISSING);
        let mut register = Register { start, len, mode, ioctls: 0 };
        // SAFETY: as in `open`. What it would do to the memory the caller keeps it from.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_REGISTER, &raw mut register) };
        match (result, errno()) {
            (-1, libc::EPERM) => Answer::Free,
            (-1, libc::EINVAL) => Answer::FreeAtFirst,
            _ => Answer::Perhaps,
        }
    }
}

/// `userfaultfd(2)`. It will see no fault, so it needs no right to those of the kernel.
fn create() -> Outcome<OwnedFd> {
    // SAFETY: a plain system call.
    let raw =
        unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | UFFD_USER_MODE_ONLY) };
    owned(raw as RawFd)
}

/// By /dev/userfaultfd, which has rights of its own.
fn create_by_device() -> Outcome<OwnedFd> {
    let device = kept::userfaultfd_device()?;
    // SAFETY: the request takes flags.
    owned(unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW, libc::O_CLOEXEC) })
}

fn owned(raw: RawFd) -> Outcome<OwnedFd> {
    if raw < 0 {
        return Err(errno());
    }
    // SAFETY: a descriptor that was just made and that nobody else owns.
    file::above_standard(unsafe { OwnedFd::from_raw_fd(raw) })
}
