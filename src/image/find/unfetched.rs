// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory of which parts are supplied on their first use, by a userfaultfd: what is missing there
//! looks like a hole.

use crate::error::{Error, Result};
use crate::host::areas::{Area, MemoryKind};
use crate::host::handle::Ref;
use crate::host::maps::Maps;
use crate::host::proc;
use crate::host::smaps;
use crate::host::userfault::{Answer, Userfault};
use crate::memory::backing::Backing;
use crate::memory::region::MemoryRegion;

/// True for regions that are known to have no userfaultfd at all, which is soon told. False says
/// nothing.
pub fn none_is(regions: &[Ref<MemoryRegion>]) -> bool {
    // Memory of the caller's has no guard page, and ends the search before it begins.
    if regions.iter().any(|region| region.guarded_end().is_none()) {
        return false;
    }
    let maps = Maps::default();
    Userfault::open()
        .is_some_and(|userfault| regions.iter().all(|region| is_free(region, &userfault, &maps)))
}

fn is_free(region: &MemoryRegion, userfault: &Userfault, maps: &Maps) -> bool {
    let Some(end) = region.guarded_end() else { return false };
    let start = region.host() as u64;
    // SAFETY: the guard page is there as long as the region.
    let ask = |start| unsafe { userfault.ask(start, end) };
    match (ask(start), region.backing()) {
        (Answer::Free, _) => true,
        (Answer::Perhaps, _) => false,
        // What is true of the first mapping is true of the others of that file.
        (Answer::FreeAtFirst, Backing::Shared { .. }) => true,
        // Behind the file there may be zeros that took the place of its pages: each run of these.
        (Answer::FreeAtFirst, Backing::CopyOnWrite { .. }) => {
            maps.at(start, region.range().size()).is_ok_and(|areas| {
                let is_zeros = |area: &Area| area.kind == MemoryKind::PrivateAnonymous;
                areas.windows(2).all(|pair| {
                    is_zeros(&pair[0])
                        || !is_zeros(&pair[1])
                        || ask(pair[1].start) != Answer::Perhaps
                })
            })
        }
        (Answer::FreeAtFirst, _) => false,
    }
}

/// Refuses regions that have a userfaultfd for missing pages.
pub fn refuse(regions: &[Ref<MemoryRegion>]) -> Result<()> {
    let areas = proc::needed(smaps::flagged_areas("um"))?;
    for region in regions {
        let start = region.host() as u64;
        // They are in order.
        let next = areas.partition_point(|&(_, end)| end <= start);
        if areas.get(next).is_some_and(|&(first, _)| first < start + region.range().size()) {
            return Err(Error::Unsupported("a userfaultfd may have pages that are missing here"));
        }
    }
    Ok(())
}
