// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How a snapshot is to be taken.

use crate::image::format::metadata::Layout;

/// How a snapshot is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// How the data is laid out.
    pub layout: Layout,
    /// With a checksum for each chunk.
    pub checksums: bool,
    /// Leave out pages that are there but hold only zeros.
    pub skip_zero_pages: bool,
    /// Have the data on its disk at the end.
    pub sync: bool,
    /// Write past the page cache.
    pub direct: bool,
    /// The most threads to use; 0: as many as help.
    pub threads: u32,
}
