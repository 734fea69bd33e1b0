// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory policy: what the kernel is asked to do with all regions of a memory.

use crate::alloc::vec_of;
use crate::backing::Backing;
use crate::caller;
use crate::error::{Error, Result};
use crate::handle::Ref;
use crate::mapping::Advice;
use crate::proc::{self, Maps, MemoryKind, page_size};
use crate::region::MemoryRegion;
use std::sync::{Mutex, PoisonError};

/// Back regions with transparent huge pages.
pub const USE_HUGEPAGES: u64 = 1;
/// Keep pages in memory once the guest has touched them.
pub const LOCK_GUEST_MEMORY: u64 = 2;
/// Let ranges of locked memory be removed. They always can be; nothing is to be asked for.
pub const USE_PUNCHHOLE_LOCKED: u64 = 4;
/// Leave the memory out of forked children.
pub const DONTFORK: u64 = 8;
/// Let equal pages be merged.
pub const MERGEABLE: u64 = 16;
/// Every policy there is.
pub const ALL: u64 =
    USE_HUGEPAGES | LOCK_GUEST_MEMORY | USE_PUNCHHOLE_LOCKED | DONTFORK | MERGEABLE;

/// The policies that are an advice to the kernel, with the name that an error shows.
const ADVICE: [(u64, Advice, &str); 4] = [
    (USE_HUGEPAGES, Advice::HugePages, "GUESTMEM_POLICY_USE_HUGEPAGES"),
    (LOCK_GUEST_MEMORY, Advice::Lock, "GUESTMEM_POLICY_LOCK_GUEST_MEMORY"),
    (DONTFORK, Advice::DontFork, "GUESTMEM_POLICY_DONTFORK"),
    (MERGEABLE, Advice::Mergeable, "GUESTMEM_POLICY_MERGEABLE"),
];

/// Regions are shared between memories: nobody is to count on what another rolls back.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Applies each wanted policy to all regions or to none. Gives those that took effect, and the
/// first failure.
pub fn apply(regions: &[Ref<MemoryRegion>], wanted: u64) -> (u64, Result<()>) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut took_effect = wanted & USE_PUNCHHOLE_LOCKED;
    let mut result = Ok(());
    for (bit, advice, policy) in ADVICE {
        if wanted & bit == 0 {
            continue;
        }
        match apply_to_all(regions, advice, policy) {
            Ok(()) => took_effect |= bit,
            Err(error) => result = result.and(Err(error)),
        }
    }
    (took_effect, result)
}

/// Applies all wanted policies to a region, or none.
pub fn extend_to(region: &Ref<MemoryRegion>, wanted: u64) -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = ADVICE.map(|(_, advice, _)| region.has(advice));
    for (bit, advice, policy) in ADVICE {
        if wanted & bit == 0 {
            continue;
        }
        if let Err(error) = apply_to_all(std::slice::from_ref(region), advice, policy) {
            for ((_, advice, _), had_it) in ADVICE.into_iter().zip(before) {
                if region.has(advice) && !had_it {
                    region.take_back(advice);
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

fn apply_to_all(regions: &[Ref<MemoryRegion>], advice: Advice, policy: &'static str) -> Result<()> {
    let refused = |errno| Error::Policy { policy, errno };
    // What cannot be asked for want of memory is no refusal.
    let unknown = |error: Error| match error {
        Error::NoMemory(_) => error,
        error => refused(error.os_errno()),
    };
    // The kernel says yes to some advice that it then ignores: ask before anything changes.
    let maps = Maps::default();
    for region in regions {
        if is_ignored(region, advice, &maps).map_err(unknown)? {
            return Err(refused(0));
        }
    }
    let callers_own = callers_own(regions, advice).map_err(unknown)?;
    let mut given = vec_of(regions.len())?;
    for region in regions {
        // Regions are shared between memories: what another has put in force stays in force.
        if region.has(advice) || is_given(region, advice) || is_within(region, &callers_own) {
            continue;
        }
        given.push(region);
        if let Err(error) = region.apply(advice) {
            given.iter().for_each(|region| region.take_back(advice));
            return Err(refused(error.os_errno()));
        }
    }
    Ok(())
}

/// True when a region is by its nature what the advice asks for.
fn is_given(region: &MemoryRegion, advice: Advice) -> bool {
    advice == Advice::HugePages && region.page_size() > page_size()
}

/// Where the caller gave the advice itself, if it has memory of its own here: it is not to be rolled
/// back.
fn callers_own(regions: &[Ref<MemoryRegion>], advice: Advice) -> Result<Vec<(u64, u64)>> {
    if !regions.iter().any(|region| is_of_caller(region)) {
        return Ok(Vec::new());
    }
    proc::flagged_areas(match advice {
        Advice::HugePages => "hg",
        Advice::Lock => "lo",
        Advice::DontFork => "dc",
        Advice::Mergeable => "mg",
    })
}

fn is_of_caller(region: &MemoryRegion) -> bool {
    matches!(region.backing(), Backing::Caller { .. })
}

fn is_within(region: &MemoryRegion, areas: &[(u64, u64)]) -> bool {
    let (start, size) = (region.host() as u64, region.range().size());
    is_of_caller(region) && caller::covered(areas, start, size)
}

/// True when the kernel would accept the advice for this region and do nothing (madvise(2)).
fn is_ignored(region: &MemoryRegion, advice: Advice, maps: &Maps) -> Result<bool> {
    match advice {
        Advice::HugePages => Ok(!is_given(region, advice) && !gets_huge_pages(region, maps)?),
        Advice::Mergeable => {
            Ok(matches!(kind_of(region, maps)?, MemoryKind::Shared | MemoryKind::PrivateHuge))
        }
        Advice::Lock | Advice::DontFork => Ok(false),
    }
}

fn gets_huge_pages(region: &MemoryRegion, maps: &Maps) -> Result<bool> {
    match region.backing() {
        Backing::Shared { file, .. } | Backing::Caller { file: Some(file), .. } => {
            // Other files have rules of their own.
            Ok(!proc::is_memfd(file.fd())? || proc::memfd_huge_pages()?)
        }
        Backing::Caller { file: None, .. } if kind_of(region, maps)? == MemoryKind::Shared => {
            proc::memfd_huge_pages()
        }
        _ => proc::private_huge_pages(),
    }
}

fn kind_of(region: &MemoryRegion, maps: &Maps) -> Result<MemoryKind> {
    Ok(match region.backing() {
        Backing::Shared { .. } => MemoryKind::Shared,
        Backing::CopyOnWrite { .. } => MemoryKind::PrivateFile,
        Backing::Anonymous => MemoryKind::PrivateAnonymous,
        Backing::Caller { .. } => {
            let (start, len) = (region.host() as u64, region.range().size());
            // What is of several kinds is taken for what cannot be merged.
            caller::kind(start, len, maps)?.unwrap_or(MemoryKind::Shared)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use crate::region::{RegionOptions, Source};
    use std::os::fd::AsRawFd;
    use std::sync::Barrier;

    #[test]
    fn pages_that_are_replaced_meanwhile_are_as_their_region() {
        let page = page_size();
        let fd = file::open(c"/proc/self/exe", libc::O_RDONLY).unwrap();
        let source = Source::File { fd: fd.as_raw_fd(), offset: 0, private: true };
        let options = RegionOptions { source, ..RegionOptions::plain(0, 2 * page) };
        let region = MemoryRegion::new(&options).unwrap();
        let start = region.host() as u64;
        for _ in 0..300 {
            let both = Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    both.wait();
                    region.remove(0, page, &Maps::default()).unwrap();
                });
                both.wait();
                region.apply(Advice::DontFork).unwrap();
            });
            let kept = proc::flagged_areas("dc").unwrap();
            assert!(caller::covered(&kept, start, 2 * page));
            region.take_back(Advice::DontFork);
        }
    }
}
