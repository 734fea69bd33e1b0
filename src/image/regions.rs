// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The regions that an image is of.

use crate::error::{Error, Result};
use crate::host::file;
use crate::host::handle::Ref;
use crate::memory::region::MemoryRegion;
use std::os::fd::RawFd;

/// The regions of a memory, in order.
pub type Regions<'a> = &'a [Ref<MemoryRegion>];

/// Bytes of all regions together.
pub fn memory_size(regions: Regions) -> u64 {
    regions.iter().map(|region| region.range().size()).sum()
}

/// `fstat(2)`.
pub fn stat(fd: RawFd) -> Result<libc::stat> {
    file::stat(fd).map_err(Error::io)
}
