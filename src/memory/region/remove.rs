// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Giving pages of a region back, and the private zeros that take the place of a file's.

use crate::address::align_down;
use crate::error::{Error, Result};
use crate::host::maps::Maps;
use crate::memory::backing::Backing;
use crate::memory::caller;
use crate::memory::mapping::{Advice, Content, Replaced};
use crate::memory::region::{MemoryRegion, bit};
use std::ops::Range;
use std::sync::{MutexGuard, PoisonError};

impl MemoryRegion {
    /// Frees the pages at `offset..offset + len`, page-aligned and within the region; they read
    /// as zeros afterwards. `maps` is for whoever removes from many regions.
    pub fn remove(&self, offset: u64, len: u64, maps: &Maps) -> Result<()> {
        match &self.backing {
            Backing::Shared { file, offset: start } => file.punch_hole(start + offset, len),
            // Before Linux 5.18 locked pages cannot be discarded, but replaced.
            Backing::Anonymous => {
                self.mapping.discard(offset, len).or_else(|_| self.replace_with_zeros(offset, len))
            }
            Backing::CopyOnWrite { .. } => self.remove_from_private(offset..offset + len),
            Backing::Caller { .. } => {
                caller::remove(&self.mapping, self.given(), offset, len, maps)
            }
        }
    }

    /// Takes room for private zeros in place of as many parts of the file as there may be, at most
    /// `count`, and tells for how many.
    pub fn room_for_zeros(&self, count: u64) -> u64 {
        self.replaced().room_for(count)
    }

    /// Puts private zeros in place of parts of a new region that nobody else knows of yet. They are
    /// ascending and apart, and room was taken for them.
    pub fn begin_with_zeros(&self, parts: Vec<Range<u64>>) -> Result<()> {
        for part in &parts {
            self.mapping.map_over(part.start, part.end - part.start, Content::Anonymous)?;
        }
        self.replaced().begin_with(parts);
        self.mapping.dont_dump(0, self.mapping.size())
    }

    fn replaced(&self) -> MutexGuard<'_, Replaced> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Dropped pages of a private mapping of a file would read as the file again. So zeros are mapped
    /// in their place, or written, where that takes mappings that the process cannot spare.
    fn remove_from_private(&self, range: Range<u64>) -> Result<()> {
        // As large as a part has to be for its halves to be tried.
        const LARGE: u64 = 2 << 20;
        let len = range.end - range.start;
        match self.map_zeros(&range) {
            Ok(true) => return Ok(()),
            // Others have what mappings or addresses there may be.
            Err(Error::NoMemory(_) | Error::Os { errno: libc::ENOMEM, .. }) if len >= LARGE => {
                let middle = range.start + align_down(len / 2, self.page_size);
                if middle > range.start {
                    self.remove_from_private(range.start..middle)?;
                    return self.remove_from_private(middle..range.end);
                }
            }
            Ok(false) | Err(Error::NoMemory(_) | Error::Os { errno: libc::ENOMEM, .. }) => {}
            Err(error) => return Err(error),
        }
        self.prefault(range.start, len)?;
        self.mapping.write_zeros(range.start, len)
    }

    /// False where there is no room for the mappings that it takes.
    fn map_zeros(&self, range: &Range<u64>) -> Result<bool> {
        let (len, size) = (range.end - range.start, self.mapping.size());
        let mut replaced = self.replaced();
        if replaced.holds(range) && self.mapping.discard(range.start, len).is_ok() {
            return Ok(true);
        }
        let host = self.host() as u64..self.host() as u64 + size;
        let is_all = len == size;
        if !is_all && !replaced.may_add(range, host.clone()) {
            return Ok(false);
        }
        self.replace_with_zeros(range.start, len).inspect_err(|_| {
            replaced.recount(host);
        })?;
        if is_all {
            replaced.add_all(size)
        } else {
            replaced.add(range.clone());
        }
        Ok(true)
    }

    fn replace_with_zeros(&self, offset: u64, len: u64) -> Result<()> {
        loop {
            let given = self.in_force();
            let in_force = Advice::ALL.into_iter().filter(|&advice| given & bit(advice) != 0);
            self.mapping.replace_with_zeros(offset, len, in_force)?;
            // What another thread has given or taken back meanwhile may have missed the new pages.
            if self.in_force() == given {
                return Ok(());
            }
        }
    }
}
