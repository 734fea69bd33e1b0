// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Where regions without a backing of their own lie: one memfd for all, one more for each size of huge pages.

use crate::error::{Error, Result};
use crate::host::handle::Ref;
use crate::memory::backing::{Backing, BackingFile};
use crate::memory::options::{RegionOptions, Source};

/// The library's memfds for one memory: one for plain pages and one for each huge page size, each
/// with the offset that the next of its regions gets.
pub struct MemfdLayout {
    files: Vec<(Option<u32>, Ref<BackingFile>, u64)>,
}

impl MemfdLayout {
    /// Makes the memfds that `options` need.
    pub fn new(options: &[RegionOptions]) -> Result<Self> {
        let mut files: Vec<(Option<u32>, Ref<BackingFile>, u64)> = Vec::new();
        for kind in options.iter().filter_map(|option| memfd_kind(option.source)) {
            if files.iter().any(|(known, ..)| *known == kind) {
                continue;
            }
            let of_kind = options.iter().filter(|option| memfd_kind(option.source) == Some(kind));
            let total = of_kind.map(|option| option.size).sum();
            files.try_reserve(1).map_err(|_| Error::NoMemory("a list of files"))?;
            files.push((kind, BackingFile::memfd(total, kind)?, 0));
        }
        Ok(MemfdLayout { files })
    }

    /// The place of a region in its memfd; None for one with a backing of its own.
    pub fn backing(&mut self, option: &RegionOptions) -> Result<Option<Backing>> {
        let Some(kind) = memfd_kind(option.source) else { return Ok(None) };
        let known = self.files.iter_mut().find(|(known, ..)| *known == kind);
        let (_, file, next) = known.ok_or(Error::Internal("a memfd was not laid out"))?;
        let offset = *next;
        *next += option.size;
        Ok(Some(Backing::Shared { file: file.clone(), offset }))
    }
}

/// The kind of memfd that a region lives in, if it does: its huge page size.
fn memfd_kind(source: Source) -> Option<Option<u32>> {
    match source {
        Source::Memfd => Some(None),
        Source::Huge { log2 } => Some(Some(log2)),
        _ => None,
    }
}
