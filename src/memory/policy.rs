// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory policy: what the kernel is asked to do with all regions of a memory.

use crate::error::{Error, Result};
use crate::host::alloc::push;
use crate::host::areas::MemoryKind;
use crate::host::handle::Ref;
use crate::host::huge_pages;
use crate::host::huge_pages::Asked;
use crate::host::maps::Maps;
use crate::host::proc;
use crate::host::smaps;
use crate::host::smaps::Flagged;
use crate::host::system::page_size;
use crate::memory::backing::Backing;
use crate::memory::caller;
use crate::memory::mapping::Advice;
use crate::memory::region::MemoryRegion;
use std::cell::OnceCell;
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
        let mut given = Vec::new();
        match give(regions, advice, policy, &mut given) {
            Ok(()) => took_effect |= bit,
            Err(error) => {
                given.iter().for_each(Given::take_back);
                result = result.and(Err(error));
            }
        }
    }
    (took_effect, result)
}

/// Applies all wanted policies to a region, or none.
pub fn extend_to(region: &Ref<MemoryRegion>, wanted: u64) -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut given = Vec::new();
    for (bit, advice, policy) in ADVICE {
        if wanted & bit == 0 {
            continue;
        }
        if let Err(error) = give(std::slice::from_ref(region), advice, policy, &mut given) {
            given.iter().for_each(Given::take_back);
            return Err(error);
        }
    }
    Ok(())
}

/// Advice that this call has given to a region.
struct Given<'a> {
    region: &'a MemoryRegion,
    advice: Advice,
    stretches: Vec<Stretch>,
}

/// A part of a region that had not been given an advice before.
struct Stretch {
    offset: u64,
    len: u64,
    /// It had the opposite one.
    opposite: bool,
}

impl Given<'_> {
    fn take_back(&self) {
        // There is only the opposite advice, which is too much where huge pages come unasked.
        let unasked = self.advice == Advice::HugePages && comes_unasked(self.region) != Ok(false);
        let is_taken_back = |part: &&Stretch| !unasked || part.opposite;
        let parts = self.stretches.iter().filter(is_taken_back).map(|part| (part.offset, part.len));
        self.region.take_back(self.advice, parts);
    }
}

/// Gives an advice to all regions that do not have it. What was given is added to `given`, also when
/// that was not all.
fn give<'a>(
    regions: &'a [Ref<MemoryRegion>],
    advice: Advice,
    policy: &'static str,
    given: &mut Vec<Given<'a>>,
) -> Result<()> {
    let refused = |errno| Error::Policy { policy, errno };
    // What cannot be asked for want of memory is no refusal.
    let unknown = |error: Error| match error {
        Error::NoMemory(_) => error,
        error => refused(error.os_errno()),
    };
    // The kernel says yes to some advice that it then ignores: ask before anything changes.
    let system = System::default();
    for region in regions {
        if is_ignored(region, advice, &system).map_err(unknown)? {
            return Err(refused(0));
        }
    }
    let before = flags_before(regions, advice).map_err(unknown)?;
    given.try_reserve(regions.len()).map_err(|_| Error::NoMemory("a list"))?;
    for region in regions {
        // Regions are shared between memories: what another has put in force stays in force.
        if region.has(advice) || is_given(region, advice) {
            continue;
        }
        let stretches = stretches(region, before.as_deref())?;
        if stretches.is_empty() && is_of_caller(region) {
            continue;
        }
        let new = Given { region, advice, stretches };
        let parts = new.stretches.iter().map(|part| (part.offset, part.len));
        let applied = region.apply(advice, parts);
        given.push(new);
        applied.map_err(|error| refused(error.os_errno()))?;
    }
    Ok(())
}

/// Which mappings have the advice, or the opposite one, before it is given: None where nobody but the
/// library can have given it. It is not to be rolled back there.
fn flags_before(regions: &[Ref<MemoryRegion>], advice: Advice) -> Result<Option<Vec<Flagged>>> {
    let (flag, opposite) = match advice {
        Advice::HugePages => ("hg", "nh"),
        Advice::Lock => ("lo", ""),
        Advice::DontFork => ("dc", ""),
        Advice::Mergeable => ("mg", ""),
    };
    // All memory of a program may be locked (mlockall(2)).
    let is_locked = |region: &MemoryRegion| {
        advice == Advice::Lock
            && !region.has(advice)
            && smaps::is_locked(region.host() as u64, region.range().size())
    };
    if regions.iter().any(|region| is_of_caller(region) || is_locked(region)) {
        return smaps::flags_of_areas(flag, opposite).map(Some);
    }
    Ok(None)
}

/// The parts of a region that do not have the advice.
fn stretches(region: &MemoryRegion, before: Option<&[Flagged]>) -> Result<Vec<Stretch>> {
    let (start, size) = (region.host() as u64, region.range().size());
    let mut found = Vec::new();
    let Some(areas) = before else {
        push(&mut found, Stretch { offset: 0, len: size, opposite: false })?;
        return Ok(found);
    };
    // What is not mapped is left to the kernel to refuse.
    let mut reached = start;
    let from = areas.partition_point(|area| area.end <= start);
    for area in areas[from..].iter().take_while(|area| area.start < start + size) {
        let (first, end) = (area.start.max(start), area.end.min(start + size));
        if first > reached {
            push(
                &mut found,
                Stretch { offset: reached - start, len: first - reached, opposite: false },
            )?;
        }
        if !area.has_flag {
            let (offset, len, opposite) = (first - start, end - first, area.has_other);
            push(&mut found, Stretch { offset, len, opposite })?;
        }
        reached = end;
    }
    if reached < start + size {
        let (offset, len) = (reached - start, start + size - reached);
        push(&mut found, Stretch { offset, len, opposite: false })?;
    }
    Ok(found)
}

/// True when a region is by its nature what the advice asks for.
fn is_given(region: &MemoryRegion, advice: Advice) -> bool {
    advice == Advice::HugePages && region.page_size() > page_size()
}

fn is_of_caller(region: &MemoryRegion) -> bool {
    matches!(region.backing(), Backing::Caller { .. })
}

/// What is asked once for all regions.
#[derive(Default)]
struct System {
    maps: Maps,
    shared_huge_pages: OnceCell<bool>,
    private_huge_pages: OnceCell<bool>,
}

fn once(known: &OnceCell<bool>, ask: impl FnOnce(Asked) -> Result<bool>) -> Result<bool> {
    match known.get() {
        Some(known) => Ok(*known),
        None => ask(Asked::ByAdvice).map(|answer| *known.get_or_init(|| answer)),
    }
}

/// True when the kernel would accept the advice for this region and do nothing (madvise(2)).
fn is_ignored(region: &MemoryRegion, advice: Advice, system: &System) -> Result<bool> {
    match advice {
        Advice::HugePages => Ok(!is_given(region, advice) && !gets_huge_pages(region, system)?),
        Advice::Mergeable => {
            let kind = kind_of(region, &system.maps)?;
            Ok(matches!(kind, MemoryKind::Shared | MemoryKind::PrivateHuge))
        }
        Advice::Lock | Advice::DontFork => Ok(false),
    }
}

fn gets_huge_pages(region: &MemoryRegion, system: &System) -> Result<bool> {
    match huge_pages_of(region, &system.maps)? {
        HugePagesOf::File => Ok(true),
        HugePagesOf::SharedMemory => once(&system.shared_huge_pages, huge_pages::shared),
        HugePagesOf::PrivateMemory => once(&system.private_huge_pages, huge_pages::private),
    }
}

/// True when a region gets huge pages without advice, if it is not against it.
fn comes_unasked(region: &MemoryRegion) -> Result<bool> {
    match huge_pages_of(region, &Maps::default())? {
        HugePagesOf::SharedMemory => huge_pages::shared(Asked::ByNobody),
        _ => huge_pages::private(Asked::ByNobody),
    }
}

/// Which of the system's settings decides on a region's huge pages.
enum HugePagesOf {
    /// Other files than memfds have rules of their own.
    File,
    SharedMemory,
    PrivateMemory,
}

fn huge_pages_of(region: &MemoryRegion, maps: &Maps) -> Result<HugePagesOf> {
    Ok(match region.backing() {
        Backing::Shared { file, .. } | Backing::Caller { file: Some(file), .. } => {
            match proc::is_memfd(file.fd())? {
                true => HugePagesOf::SharedMemory,
                false => HugePagesOf::File,
            }
        }
        Backing::Caller { file: None, .. } if kind_of(region, maps)? == MemoryKind::Shared => {
            HugePagesOf::SharedMemory
        }
        _ => HugePagesOf::PrivateMemory,
    })
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
    use crate::host::file;
    use crate::memory::options::{RegionOptions, Source};
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
                region.apply(Advice::DontFork, [(0, 2 * page)].into_iter()).unwrap();
            });
            let kept = smaps::flagged_areas("dc").unwrap();
            let is_kept = |at: u64| kept.iter().any(|&(first, end)| first <= at && at < end);
            assert!(is_kept(start) && is_kept(start + page));
            region.take_back(Advice::DontFork, [(0, 2 * page)].into_iter());
        }
    }
}
