// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The mappings of this process, looked up by address.

use crate::error::{Error, Result};
use crate::host::alloc::{push, vec_of};
use crate::host::areas::parse_area;
use crate::host::areas::{Area, parse_maps};
use crate::host::kept;
use crate::host::kept::Kept;
use crate::host::proc::read_file;
use crate::host::proc::read_own;
use crate::host::procmap::area_at;
use crate::host::smaps::page_sizes;
use crate::host::system::page_size;
use std::cell::OnceCell;
use std::os::fd::{AsRawFd, OwnedFd};

const UNMAPPED: Error = Error::Unsupported("the caller's memory is not mapped all the way");

/// The mappings of this process. The kernel is asked for those that are of interest; where it cannot
/// be, all of them are read once. One is for many regions, or many parts of one, in a single call.
#[derive(Default)]
pub struct Maps {
    file: OnceCell<OwnedFd>,
    /// All of them, in order, as they were when that was found out.
    all: OnceCell<Vec<Area>>,
    /// First addresses, and sizes of pages.
    sizes: OnceCell<Vec<(u64, u64)>>,
}

impl Maps {
    /// Those at `start..start + len`, whole. There must be no gap between them.
    pub fn at(&self, start: u64, len: u64) -> Result<Vec<Area>> {
        let end = start.checked_add(len).ok_or(UNMAPPED)?;
        if let Some(all) = self.all.get() {
            return among(all, start, end);
        }
        match self.ask(start, end)? {
            Some(areas) => Ok(areas),
            None => {
                let all = parse_maps(&read_own(Kept::Maps)?)?;
                among(self.all.get_or_init(|| all), start, end)
            }
        }
    }

    /// The size in bytes of an area's pages.
    pub fn page_size(&self, area: &Area) -> Result<u64> {
        if let Some(page) = area.page {
            return Ok(page);
        }
        let sizes = match self.sizes.get() {
            Some(sizes) => sizes,
            None => {
                let sizes = page_sizes()?;
                self.sizes.get_or_init(|| sizes)
            }
        };
        let found = sizes.binary_search_by_key(&area.start, |(start, _)| *start);
        Ok(found.map_or(0, |at| sizes[at].1).max(page_size()))
    }

    /// None where the kernel cannot be asked for one mapping.
    fn ask(&self, start: u64, end: u64) -> Result<Option<Vec<Area>>> {
        let fd = self.file()?;
        let mut areas = Vec::new();
        let mut reached = start;
        while reached < end {
            match area_at(fd, reached) {
                Ok(area) if area.start <= reached && reached < area.end => {
                    reached = area.end;
                    push(&mut areas, area)?;
                }
                Err(libc::ENOENT) => return Err(UNMAPPED),
                _ => return Ok(None),
            }
        }
        Ok(Some(areas))
    }

    fn file(&self) -> Result<i32> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let file = kept::open(Kept::Maps);
                let file = file.map_err(|errno| Error::from_os("open", errno))?;
                self.file.get_or_init(|| file.into_fd())
            }
        };
        Ok(file.as_raw_fd())
    }
}

fn among(all: &[Area], start: u64, end: u64) -> Result<Vec<Area>> {
    let from = &all[all.partition_point(|area| area.end <= start)..];
    let mut reached = start;
    let mut count = 0;
    while reached < end {
        let area = from.get(count).filter(|area| area.start <= reached).ok_or(UNMAPPED)?;
        reached = area.end;
        count += 1;
    }
    let mut areas = vec_of(count)?;
    areas.extend_from_slice(&from[..count]);
    Ok(areas)
}

/// How many mappings this process has, and how many of them lie between two addresses.
pub fn count_mappings(start: u64, end: u64) -> Result<(u64, u64)> {
    let maps = read_own(Kept::Maps)?;
    let (mut all, mut within) = (0, 0);
    for area in maps.split(|&byte| byte == b'\n').filter_map(parse_area) {
        all += 1;
        within += u64::from(area.start >= start && area.end <= end);
    }
    Ok((all, within))
}

/// How many mappings a process may have.
pub fn most_mappings() -> u64 {
    const USUAL: u64 = 65530;
    let text = read_file(c"/proc/sys/vm/max_map_count").unwrap_or_default();
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    number.unwrap_or(USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::areas::MemoryKind;

    #[test]
    fn own_memory_is_found_asked_for_or_read() {
        let local = 0u8;
        let start = &raw const local as u64;
        let asked = Maps::default();
        let read = Maps::default();
        read.all.set(parse_maps(&read_own(Kept::Maps).unwrap()).unwrap()).unwrap();
        for maps in [&asked, &read] {
            let kinds = |start, len| maps.at(start, len).map(|all| all[0].kind);
            assert_eq!(kinds(start, 1), Ok(MemoryKind::PrivateAnonymous));
            assert!(kinds(0, 4096).is_err());
            assert!(kinds(u64::MAX, 1).is_err());
            assert!(kinds(start, 1 << 46).is_err());
            assert_eq!(maps.at(start, 0).unwrap().len(), 0);
            let area = maps.at(start, 1).unwrap()[0];
            assert!(area.readable && area.writable && !area.unnamed && area.inode == 0);
            assert_eq!(maps.page_size(&area), Ok(page_size()));
        }
        let code = own_memory_is_found_asked_for_or_read as fn() as usize as u64;
        let (one, other) = (asked.at(code, 1).unwrap()[0], read.at(code, 1).unwrap()[0]);
        let told = |area: Area| (area.kind, area.device, area.inode, area.readable, area.writable);
        assert_eq!((one.start, one.end, one.offset), (other.start, other.end, other.offset));
        assert_eq!(told(one), told(other));
    }
}
