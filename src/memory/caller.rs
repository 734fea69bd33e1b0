// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory that the caller mapped, as whatever it pleased: what it is, and giving its pages back.

mod probe;

use crate::address::{align_down, next_congruent};
use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::host::areas::{Area, MemoryKind};
use crate::host::file;
use crate::host::file::id_of;
use crate::host::maps::Maps;
use crate::host::proc;
use crate::host::same_file::{is_plain, shown};
use crate::host::system::page_size;
use crate::memory::backing::BackingFile;
use crate::memory::mapping::Mapping;
use probe::{KEPT, LOCKED, Outlook};
use std::os::fd::RawFd;

/// The file that the caller said is behind its memory, and where the memory starts in it.
pub type Given<'a> = Option<(&'a BackingFile, u64)>;

/// What of one mapping of the caller's lies in a range. Addresses are those of the host.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The first byte.
    pub start: u64,
    /// Past the last byte.
    pub end: u64,
    area: Area,
}

impl Part {
    /// Start and end of the whole pages in it; the rest is of pages that lie in it only partly.
    pub fn whole_pages(&self) -> (u64, u64) {
        let page = self.area.page.unwrap_or_else(page_size);
        let start = next_congruent(self.start, 0, page).unwrap_or(self.end).min(self.end);
        (start, align_down(self.end, page).max(start))
    }

    /// True for pages of which there may be none left.
    pub fn is_huge(&self) -> bool {
        self.area.page.is_some_and(|page| page > page_size())
    }

    /// True where it may be written.
    pub fn is_writable(&self) -> bool {
        self.area.writable
    }

    /// Finds the size of its pages out, where that was not told and may be another than the system's.
    pub fn with_page_size(mut self, maps: &Maps) -> Result<Self> {
        if matches!(self.area.kind, MemoryKind::PrivateHuge | MemoryKind::Shared) {
            self.area.page = Some(proc::needed(maps.page_size(&self.area))?);
        }
        Ok(self)
    }
}

/// The parts of `offset..offset + len`, in order.
pub fn parts(mapping: &Mapping, offset: u64, len: u64, maps: &Maps) -> Result<Vec<Part>> {
    let (start, end) = (mapping.host() as u64 + offset, mapping.host() as u64 + offset + len);
    let areas = proc::needed(maps.at(start, len))?;
    let mut parts = vec_of(areas.len())?;
    parts.extend(areas.into_iter().map(|area| Part {
        start: area.start.max(start),
        end: area.end.min(end),
        area,
    }));
    Ok(parts)
}

/// Frees the pages at `offset..offset + len`, which read as zeros afterwards. What the kernel offers no
/// way for is found out before anything changes.
pub fn remove(mapping: &Mapping, file: Given, offset: u64, len: u64, maps: &Maps) -> Result<()> {
    let parts = parts(mapping, offset, len, maps)?;
    parts.iter().try_for_each(|part| check(mapping, file, part, maps))?;
    if let [part] = &parts[..] {
        // One call for one mapping: it is refused as a whole.
        return give_back(mapping, file, part);
    }
    let order = in_order(&parts, file)?;
    let mut rest = order.iter().map(|(_, part)| part);
    rest.next().map_or(Ok(()), |first| give_back(mapping, file, first))?;
    rest.try_for_each(|part| try_give_back(mapping, file, part).map_err(late))
}

/// Frees the whole pages of a part by itself.
pub fn remove_part(mapping: &Mapping, file: Given, part: &Part, maps: &Maps) -> Result<()> {
    let (start, end) = part.whole_pages();
    let part = Part { start, end, area: part.area };
    if start == end {
        return Ok(());
    }
    check(mapping, file, &part, maps)?;
    give_back(mapping, file, &part)
}

/// In which order to free parts, so that what may be refused comes when nothing has changed yet.
/// An error where one would be refused, or may be after another that may.
fn in_order(parts: &[Part], file: Given) -> Result<Vec<(Outlook, Part)>> {
    let mut order = vec_of(parts.len())?;
    let mut open: Option<Part> = None;
    for part in parts {
        let outlook = match (part.area.kind, file) {
            (MemoryKind::Shared, Some(_)) => Outlook::Open,
            (MemoryKind::Shared, None) => probe::shared(&part.area, part.start)?,
            _ => probe::private(&part.area, part.start)?,
        };
        if outlook == Outlook::Open {
            if open.is_some_and(|other| file.is_none() && !is_like(&other, part)) {
                return Err(Error::Unsupported("whether two files can have holes is not known"));
            }
            open = Some(*part);
        }
        order.push((outlook, *part));
    }
    order.sort_unstable_by_key(|(outlook, part)| (*outlook, part.start));
    Ok(order)
}

/// True for mappings of one file that holes can be punched through alike.
fn is_like(one: &Part, other: &Part) -> bool {
    let file = |part: &Part| (part.area.device, part.area.inode);
    file(one) == file(other) && one.area.writable && other.area.writable
}

/// A failure when something has changed already.
fn late(error: Error) -> Error {
    match error {
        Error::Unsupported(_) => Error::Os { call: "fallocate", errno: libc::EOPNOTSUPP },
        other => other,
    }
}

/// As [`try_give_back`], when nothing has changed yet.
fn give_back(mapping: &Mapping, file: Given, part: &Part) -> Result<()> {
    try_give_back(mapping, file, part).map_err(|error| match (part.area.kind, file) {
        (MemoryKind::Shared, Some(_)) => error,
        (MemoryKind::Shared, None) => LOCKED,
        _ => KEPT,
    })
}

fn try_give_back(mapping: &Mapping, file: Given, part: &Part) -> Result<()> {
    let (offset, len) = (part.start - mapping.host() as u64, part.end - part.start);
    match (part.area.kind, file) {
        (MemoryKind::Shared, Some((file, begin))) => file.punch_hole(begin + offset, len),
        (MemoryKind::Shared, None) => mapping.remove(offset, len),
        _ => mapping.discard(offset, len),
    }
}

fn check(mapping: &Mapping, file: Given, part: &Part, maps: &Maps) -> Result<()> {
    if let Some((file, begin)) = file {
        check_file(&part.area, file.fd(), begin, mapping.host() as u64)?;
    }
    match part.area.kind {
        MemoryKind::Shared | MemoryKind::PrivateAnonymous => Ok(()),
        MemoryKind::PrivateFile => {
            Err(Error::Unsupported("a private mapping of the caller's file keeps its contents"))
        }
        // The kernel rounds, and then does less than it was asked for.
        MemoryKind::PrivateHuge => {
            if part.with_page_size(maps)?.whole_pages() == (part.start, part.end) {
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

/// What kind of memory it is, where it is all mapped and of one kind.
pub fn kind(start: u64, len: u64, maps: &Maps) -> Result<Option<MemoryKind>> {
    let areas = match maps.at(start, len) {
        Err(Error::Unsupported(_)) => return Ok(None),
        areas => areas?,
    };
    let kind = areas.first().map(|area| area.kind);
    Ok(kind.filter(|&kind| areas.iter().all(|area| area.kind == kind)))
}
