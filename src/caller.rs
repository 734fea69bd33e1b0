// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory that the caller mapped, as whatever it pleased: what it is, and giving its pages back.

use crate::address::is_aligned;
use crate::backing::BackingFile;
use crate::error::{Error, Result};
use crate::file;
use crate::mapping::Mapping;
use crate::proc::{self, Area, Maps, MemoryKind};
use crate::same_file::{id_of, is_plain, shown};
use std::os::fd::RawFd;

/// Frees the pages at `offset..offset + len`, which read as zeros afterwards. `file` is what the
/// caller said lies behind the memory, and where that starts in it. What the kernel offers no way
/// for is found out before anything changes.
pub fn remove(
    mapping: &Mapping,
    file: Option<(&BackingFile, u64)>,
    offset: u64,
    len: u64,
    maps: &Maps,
) -> Result<()> {
    let start = mapping.host() as u64 + offset;
    let areas = proc::needed(maps.at(start, len))?;
    for area in areas {
        check(area, start, len)?;
        if let Some((file, begin)) = file {
            check_file(area, file.fd(), begin, mapping.host() as u64)?;
        }
    }
    if file.is_none() && areas.len() > 1 && areas.iter().any(is_shared) {
        refuse_locked(areas)?;
    }
    for area in areas {
        let (first, end) = part_of(area, start, len);
        let (offset, len) = (first - mapping.host() as u64, end - first);
        match (area.kind, file) {
            (MemoryKind::Shared, Some((file, begin))) => file.punch_hole(begin + offset, len)?,
            // One call for one area: it is refused as a whole, when it is locked.
            (MemoryKind::Shared, None) => mapping.remove(offset, len).map_err(|_| LOCKED)?,
            _ => mapping.discard(offset, len).map_err(|_| {
                Error::Unsupported("the kernel cannot discard pages of the caller's memory")
            })?,
        }
    }
    Ok(())
}

const LOCKED: Error = Error::Unsupported("the file behind the caller's memory is needed");

fn is_shared(area: &Area) -> bool {
    area.kind == MemoryKind::Shared
}

/// First address and end of what `start..start + len` and the area share.
fn part_of(area: &Area, start: u64, len: u64) -> (u64, u64) {
    (area.start.max(start), area.end.min(start + len))
}

fn check(area: &Area, start: u64, len: u64) -> Result<()> {
    match area.kind {
        MemoryKind::Shared | MemoryKind::PrivateAnonymous => Ok(()),
        MemoryKind::PrivateFile => {
            Err(Error::Unsupported("a private mapping of the caller's file keeps its contents"))
        }
        // The kernel rounds, and then does less than it was asked for.
        MemoryKind::PrivateHuge => {
            let sizes = proc::needed(proc::page_sizes())?;
            let known = sizes.iter().find(|(first, _)| *first == area.start);
            let page = known.map_or(0, |(_, size)| *size);
            let (first, end) = part_of(area, start, len);
            if page.is_power_of_two() && is_aligned(first, page) && is_aligned(end, page) {
                return Ok(());
            }
            Err(Error::NotAligned("the range is not made of the caller's huge pages"))
        }
    }
}

/// Checks that the file which the caller named, from `begin` on, is what `area` maps, if it maps a
/// file. `host` is where the memory starts.
pub fn check_file(area: &Area, fd: RawFd, begin: u64, host: u64) -> Result<()> {
    if matches!(area.kind, MemoryKind::PrivateAnonymous | MemoryKind::PrivateHuge) {
        return Ok(());
    }
    let stat = file::stat(fd).map_err(|errno| Error::from_os("fstat", errno))?;
    let mapped = (area.device, area.inode);
    let other_file = mapped != id_of(&stat) && (is_plain(fd)? || mapped != shown(fd)?);
    // Both as if the file were mapped from its beginning; either difference may be negative.
    let mapped_from = area.start.wrapping_sub(area.offset);
    if other_file || mapped_from != host.wrapping_sub(begin) {
        return Err(Error::Unsupported("the caller's memory maps another file, or another part"));
    }
    Ok(())
}

fn refuse_locked(areas: &[Area]) -> Result<()> {
    let locked = proc::needed(proc::flagged_areas("lo"))?;
    let is_locked = |area: &Area| locked.iter().any(|(start, _)| *start == area.start);
    let refuses = areas.iter().any(|area| is_shared(area) && is_locked(area));
    if refuses { Err(LOCKED) } else { Ok(()) }
}

/// True when `areas`, which are in order, cover the whole of `start..start + len`.
pub fn covered(areas: &[(u64, u64)], start: u64, len: u64) -> bool {
    let (mut reached, end) = (start, start + len);
    let from = areas.partition_point(|(_, last)| *last <= start);
    for (first, last) in &areas[from..] {
        if *first > reached || reached >= end {
            break;
        }
        reached = *last;
    }
    reached >= end
}

/// What kind of memory it is, where it is all mapped and of one kind.
pub fn kind(start: u64, len: u64, maps: &Maps) -> Result<Option<MemoryKind>> {
    let areas = match maps.at(start, len) {
        Err(Error::Unsupported(_)) => return Ok(None),
        areas => areas?,
    };
    let kind = areas.first().map(|area| area.kind);
    Ok(kind.filter(|&kind| areas.iter().all(|area| area.kind == kind)))
}
