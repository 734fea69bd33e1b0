// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the caller brings along: files to back regions with, memory of its own, buffers.

use guestmem_fuzz::memory::PAGE;
use libc::{c_int, c_void};
use std::os::fd::RawFd;
use std::ptr::null_mut;

/// Pages of each file.
pub const FILE_PAGES: usize = 6;

/// Files that stay open for the whole run.
pub struct Files {
    /// Several regions may map it.
    pub shared: RawFd,
    pub shared_read_only: RawFd,
    pub write_only: RawFd,
    /// Open for reading alone; nobody writes to it.
    pub constant: RawFd,
    pub pipe: RawFd,
}

impl Files {
    pub fn new() -> Self {
        let (shared, constant, mut ends) = (memfd(), memfd(), [0; 2]);
        let bytes = Self::constant_bytes();
        // SAFETY: plain system calls, with as many bytes and descriptors as there are.
        unsafe {
            assert_eq!(
                libc::pwrite(constant, bytes.as_ptr().cast(), bytes.len(), 0),
                bytes.len() as isize
            );
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        }
        Files {
            shared,
            shared_read_only: reopened(shared, libc::O_RDONLY),
            write_only: reopened(shared, libc::O_WRONLY),
            constant: reopened(constant, libc::O_RDONLY),
            pipe: ends[0],
        }
    }

    /// What the constant file holds.
    pub fn constant_bytes() -> Vec<u8> {
        (0..FILE_PAGES * PAGE).map(|at| (at / PAGE * 16 + at % 251) as u8).collect()
    }

    /// Makes the shared file one hole again.
    pub fn clear(&self) {
        // SAFETY: plain system calls.
        unsafe {
            assert_eq!(libc::ftruncate(self.shared, 0), 0);
            assert_eq!(libc::ftruncate(self.shared, (FILE_PAGES * PAGE) as i64), 0);
        }
    }
}

fn memfd() -> RawFd {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    fd
}

fn reopened(fd: RawFd, mode: c_int) -> RawFd {
    let path = std::ffi::CString::new(format!("/proc/thread-self/fd/{fd}")).expect("no NUL in it");
    // SAFETY: a path.
    let fd = unsafe { libc::open(path.as_ptr(), mode | libc::O_CLOEXEC) };
    assert!(fd >= 0);
    fd
}

/// Memory that the caller mapped.
pub struct Mapping {
    start: *mut c_void,
    len: usize,
}

impl Mapping {
    /// `flags` are mmap's.
    pub fn new(len: usize, flags: c_int, fd: RawFd, offset: i64) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping.
        let start = unsafe { libc::mmap(null_mut(), len, protection, flags, fd, offset) };
        assert!(start != libc::MAP_FAILED);
        Mapping { start, len }
    }

    pub fn start(&self) -> *mut c_void {
        self.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: a mapping of ours, which no region uses any more.
        assert_eq!(unsafe { libc::munmap(self.start, self.len) }, 0, "the library unmapped it");
    }
}

/// For each page whether it is in memory; None where something is not mapped.
pub fn residency(start: *mut u8, len: usize) -> Option<Vec<bool>> {
    let mut pages = vec![0u8; len.div_ceil(PAGE)];
    // SAFETY: a byte for each page.
    let is_mapped = unsafe { libc::mincore(start.cast(), len, pages.as_mut_ptr()) } == 0;
    is_mapped.then(|| pages.iter().map(|page| page & 1 == 1).collect())
}

/// A caller's buffer of an exact length, so that the sanitizer sees what goes past its end, at some
/// distance from an aligned address.
pub struct Buffer {
    bytes: Vec<u8>,
    skew: usize,
}

impl Buffer {
    const BLANK: u8 = 0xa5;

    pub fn new(len: usize, skew: u64) -> Self {
        let skew = skew as usize % 16;
        Buffer { bytes: vec![Self::BLANK; len + skew], skew }
    }

    pub fn of(bytes: &[u8], skew: u64) -> Self {
        let mut buffer = Self::new(bytes.len(), skew);
        buffer.bytes[buffer.skew..].copy_from_slice(bytes);
        buffer
    }

    pub fn start(&mut self) -> *mut c_void {
        self.bytes[self.skew..].as_mut_ptr().cast()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.skew..]
    }

    pub fn is_blank(&self) -> bool {
        self.bytes.iter().all(|&byte| byte == Self::BLANK)
    }
}
