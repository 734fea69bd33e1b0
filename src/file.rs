// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Open files: what they are, and private bytes from and to them. Failures are errnos, which each
//! caller makes an error of its own kind.

use crate::error::errno;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

/// What a system call gave, or its errno.
pub type Outcome<T> = std::result::Result<T, i32>;

/// `fstat(2)`.
pub fn stat(fd: RawFd) -> Outcome<libc::stat> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: `stat` is ours to write; it is read only after success.
    unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) != 0 { Err(errno()) } else { Ok(stat.assume_init()) }
    }
}

/// `fstatfs(2)`.
pub fn statfs(fd: RawFd) -> Outcome<libc::statfs> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: `stat` is ours to write; it is read only after success.
    unsafe {
        if libc::fstatfs(fd, stat.as_mut_ptr()) != 0 {
            Err(errno())
        } else {
            Ok(stat.assume_init())
        }
    }
}

/// Reads into private memory, continuing after EINTR. 0 at the end.
///
/// # Safety
/// `buf` can be written for `len` bytes.
pub unsafe fn read_some(fd: RawFd, buf: *mut u8, len: usize) -> Outcome<usize> {
    // SAFETY: passed on.
    unsafe { move_some(libc::SYS_read, fd, buf, len, 0) }
}

/// Writes from private memory, continuing after EINTR.
///
/// # Safety
/// `buf` can be read for `len` bytes.
pub unsafe fn write_some(fd: RawFd, buf: *const u8, len: usize) -> Outcome<usize> {
    // SAFETY: passed on.
    unsafe { move_some(libc::SYS_write, fd, buf.cast_mut(), len, 0) }
}

/// As [`read_some`], at an offset; the position stays.
///
/// # Safety
/// `buf` can be written for `len` bytes.
pub unsafe fn pread_some(fd: RawFd, buf: *mut u8, len: usize, offset: u64) -> Outcome<usize> {
    // SAFETY: passed on.
    unsafe { move_some(libc::SYS_pread64, fd, buf, len, offset) }
}

unsafe fn move_some(
    number: i64,
    fd: RawFd,
    buf: *mut u8,
    len: usize,
    offset: u64,
) -> Outcome<usize> {
    loop {
        // SAFETY: the caller's buffer holds `len` bytes; the kernel checks the descriptor. Calls
        // without an offset ignore it.
        let moved = unsafe { libc::syscall(number, i64::from(fd), buf, len, offset) };
        match moved {
            0.. => return Ok(moved as usize),
            _ if errno() == libc::EINTR => {}
            _ => return Err(errno()),
        }
    }
}
