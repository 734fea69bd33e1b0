// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Regions that snapshots and restores keep from each other.

use crate::error::{Error, Result};
use crate::host::handle::Ref;
use crate::memory::claim::{Process, Use};
use crate::memory::guest::GuestMemory;
use crate::memory::region::MemoryRegion;
use std::ops::Deref;

/// What is done with all of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Several may be under way side by side.
    Snapshot,
    /// Beside another, both would bring back neither; beside a snapshot, that would be a mixture whose
    /// checksums are right.
    Restore,
}

/// Regions with a claim on each, until dropped.
pub struct Claimed {
    regions: Vec<Ref<MemoryRegion>>,
    work: Work,
    process: Process,
}

impl Claimed {
    /// Claims `regions`, all or none. Waits for nobody: a callback of the other call may have made
    /// this one.
    pub fn new(regions: Vec<Ref<MemoryRegion>>, work: Work) -> Result<Self> {
        let process = Process::current()?;
        let take = |region: &&Ref<MemoryRegion>| region.claim().take(usage(region, work), process);
        let taken = regions.iter().take_while(take).count();
        if taken == regions.len() {
            return Ok(Claimed { regions, work, process });
        }
        give_back(&regions[..taken], work, process);
        Err(Error::Busy("a snapshot of a region, or a restore into it, has not ended"))
    }
}

/// A restore only reads what may not be written.
fn usage(region: &MemoryRegion, work: Work) -> Use {
    match work {
        Work::Restore if !region.is_read_only() => Use::Alone,
        _ => Use::Shared,
    }
}

fn give_back(regions: &[Ref<MemoryRegion>], work: Work, process: Process) {
    regions.iter().for_each(|region| region.claim().give_back(usage(region, work), process));
}

impl Deref for Claimed {
    type Target = [Ref<MemoryRegion>];
    fn deref(&self) -> &Self::Target {
        &self.regions
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        give_back(&self.regions, self.work, self.process);
    }
}

/// The regions of `mem`, unless what they hold is half of something, or about to be.
pub fn whole_regions(mem: &GuestMemory) -> Result<Claimed> {
    let regions = Claimed::new(mem.regions()?, Work::Snapshot)?;
    if regions.iter().any(|region| region.is_tainted()) {
        return Err(Error::Tainted);
    }
    Ok(regions)
}
