// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How a region is asked for: its place, its source, its host mapping.

use crate::address::{GuestRange, is_aligned};
use crate::error::{Error, Result};
use crate::host::system::page_size;
use std::os::fd::RawFd;

/// Where a region's bytes are to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The library's own shared memory.
    Memfd,
    /// The library's own shared memory of huge pages.
    Huge {
        /// Size of a page as a power of two.
        log2: u32,
    },
    /// Private memory without a file.
    Private,
    /// A file of the caller's.
    File {
        /// Its descriptor.
        fd: RawFd,
        /// Where in it the region starts.
        offset: u64,
        /// Copy-on-write instead of shared.
        private: bool,
    },
    /// Memory that the caller mapped.
    Caller {
        /// Where it lies.
        memory: CallerMemory,
        /// The file behind it and the offset in that.
        file: Option<(RawFd, u64)>,
        /// The caller mapped it private.
        private: bool,
    },
}

/// The first byte of memory that the caller mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerMemory(*mut u8);

impl CallerMemory {
    /// Its first address.
    pub fn host(self) -> *mut u8 {
        self.0
    }

    /// Takes the caller at its word.
    ///
    /// # Safety
    /// As much memory as the region is to have is mapped there, and stays so while it lives.
    pub unsafe fn new(host: *mut u8) -> Self {
        CallerMemory(host)
    }
}

/// A region as it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct RegionOptions {
    /// First guest address.
    pub guest_addr: u64,
    /// Bytes.
    pub size: u64,
    /// Alignment of the host address; 0 leaves it to the library.
    pub align: u64,
    /// Where its bytes come from.
    pub source: Source,
    /// Never written through this library.
    pub read_only: bool,
    /// Fault everything in at creation.
    pub populate: bool,
    /// What the guest uses it for; the library only passes it on.
    pub purpose: u32,
}

impl RegionOptions {
    /// A plain region in the library's own shared memory.
    pub fn plain(guest_addr: u64, size: u64) -> Self {
        let (align, purpose) = (0, 0);
        let (read_only, populate) = (false, false);
        let source = Source::Memfd;
        RegionOptions { guest_addr, size, align, source, read_only, populate, purpose }
    }

    /// What to tell of a failure that this region is at fault for.
    pub fn about(&self) -> Option<(u64, u64)> {
        Some((self.guest_addr, self.size))
    }

    /// The guest addresses asked for.
    pub fn range(&self) -> Result<GuestRange> {
        GuestRange::new(self.guest_addr, self.size)
    }

    /// Checks what must be a multiple of a page or a power of two.
    pub fn check_alignment(&self) -> Result<()> {
        let page = match self.source {
            Source::Huge { log2 } => 1 << log2,
            _ => page_size(),
        };
        check_page_aligned(self, page)?;
        if self.align != 0 && !self.align.is_power_of_two() {
            return Err(Error::NotAligned("align is not a power of two"));
        }
        match self.source {
            Source::Caller { memory, .. }
                if !is_aligned(memory.0 as u64, self.align.max(page_size())) =>
            {
                Err(Error::NotAligned("host_addr is not a multiple of align or of a page"))
            }
            _ => Ok(()),
        }
    }
}

/// Checks that address and size are multiples of `page`.
pub fn check_page_aligned(options: &RegionOptions, page: u64) -> Result<()> {
    if !is_aligned(options.guest_addr, page) {
        return Err(Error::NotAligned("the guest address is not a multiple of the page size"));
    }
    if !is_aligned(options.size, page) {
        return Err(Error::NotAligned("the size is not a multiple of the page size"));
    }
    let offset = match options.source {
        Source::File { offset, .. } | Source::Caller { file: Some((_, offset)), .. } => offset,
        _ => 0,
    };
    if !is_aligned(offset, page) {
        return Err(Error::NotAligned("fd_offset is not a multiple of the page size"));
    }
    Ok(())
}
