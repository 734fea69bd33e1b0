// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 5: from guest addresses to host addresses and files, and back.

use super::input::Record;
use super::model::{Codes, Map, Region};
use super::world::World;
use guestmem::ffi::memory::guestmem_range;
use guestmem::ffi::slice::guestmem_slice;
use guestmem::ffi::status::*;
use guestmem::ffi::translate::*;
use guestmem::ffi::translate_slices::*;
use std::ptr::{null, null_mut};

/// What outputs hold before a call.
const BLANK: usize = 77;

impl World<'_> {
    pub fn host_address(&mut self, record: &Record) {
        let target = self.target(record);
        let (addr, len) = record.range(target.map());
        let is_null = record.is_null(0);
        let mut host = BLANK as *mut _;
        let out = if is_null { null_mut() } else { &raw mut host };
        let is_range = record.choice().is_multiple_of(2);
        let writes = record.choice() & 2 != 0;
        let right = target.right(is_null, |map| match map.at(addr) {
            _ if is_range => map.pointer_code(addr, len, map.room(addr), writes),
            Some(_) => Codes::OK,
            None => Codes::of(GUESTMEM_E_INVALID_ADDRESS),
        });
        // SAFETY: an output that is NULL or can be written.
        let is_ok = unsafe {
            let (mem, asker) = (target.handle, &mut self.asker);
            match is_range {
                true if writes => {
                    asker.ask("get_host_address_range_writable", Some((addr, len)), right, || {
                        guestmem_get_host_address_range_writable(mem, addr, len, out)
                    })
                }
                true => asker.ask("get_host_address_range", Some((addr, len)), right, || {
                    guestmem_get_host_address_range(mem, addr, len, out)
                }),
                false => asker.ask("get_host_address", None, right, || {
                    guestmem_get_host_address(mem, addr, out)
                }),
            }
        };
        let right = if is_ok { host_of(&target.map.expect("a memory"), addr) } else { null_mut() };
        assert_eq!(host, if is_null { BLANK as *mut _ } else { right.cast() });
    }

    pub fn guest_address(&mut self, record: &Record) {
        let target = self.target(record);
        let addr = record.address(target.map());
        // Also just outside of regions, and nowhere.
        let regions = target.map.clone().unwrap_or_default().0;
        let region = regions.get(record.choice() as usize % regions.len().max(1));
        let host = match region {
            Some(region) if !record.is_null(0) => {
                region.host.get().wrapping_add(addr.wrapping_sub(region.start) as usize)
            }
            _ => null_mut(),
        };
        let mut found = BLANK as u64;
        let out = if record.is_null(1) { null_mut() } else { &raw mut found };
        let is_in = |region: &&std::rc::Rc<Region>| {
            (region.host.get() as usize..region.host.get() as usize + region.size as usize)
                .contains(&(host as usize))
        };
        let holder = regions.iter().find(is_in);
        let right = target.right(host.is_null() || out.is_null(), |_| match holder {
            Some(_) => Codes::OK,
            None => Codes::of(GUESTMEM_E_INVALID_ADDRESS),
        });
        // SAFETY: an output that is NULL or can be written.
        let is_ok = self.asker.ask("get_guest_address", None, right, || unsafe {
            guestmem_get_guest_address(target.handle, host.cast(), out)
        });
        let right = holder
            .filter(|_| is_ok)
            .map_or(0, |region| region.start + (host as u64 - region.host.get() as u64));
        assert_eq!(found, if out.is_null() { BLANK as u64 } else { right });
    }

    /// The files behind addresses.
    pub fn files_behind(&mut self, record: &Record) {
        let target = self.target(record);
        let addr = record.address(target.map());
        let (is_null, without_fd) = (record.is_null(0), record.is_null(1));
        let file_code = |map: &Map, addr| match map.at(addr) {
            None => Codes::of(GUESTMEM_E_INVALID_ADDRESS),
            Some(region) if !region.has_fd() => Codes::of(GUESTMEM_E_UNSUPPORTED),
            Some(_) => Codes::OK,
        };
        let right = target.right(is_null, |map| file_code(map, addr));
        let (mut fd, mut same, mut offset) = (BLANK as i32, BLANK as i32, BLANK as u64);
        let fd_at = if is_null { null_mut() } else { &raw mut fd };
        let offset_at = if is_null { null_mut() } else { &raw mut offset };
        let same_at = if without_fd { null_mut() } else { &raw mut same };
        // SAFETY: outputs that are NULL or can be written.
        let is_ok = unsafe {
            self.asker
                .ask("shm_region", None, right, || guestmem_shm_region(target.handle, addr, fd_at));
            self.asker.ask("offset_from_base", None, right, || {
                guestmem_offset_from_base(target.handle, addr, same_at, offset_at)
            })
        };
        let region = target.map().and_then(|map| map.at(addr)).filter(|_| is_ok);
        let right = region.map_or(0, |region| region.fd_offset + (addr - region.start));
        assert_eq!(offset, if is_null { BLANK as u64 } else { right });
        assert_eq!(
            same,
            if without_fd {
                BLANK as i32
            } else if is_null {
                -1
            } else {
                fd
            }
        );
        assert!(is_null || (fd >= 0) == is_ok);
        if let Some(region) = region.filter(|region| !region.is_private()) {
            let (mut byte, right) = (0u8, region.bytes()[(addr - region.start) as usize]);
            // SAFETY: room for a byte.
            assert_eq!(unsafe { libc::pread(fd, (&raw mut byte).cast(), 1, offset as i64) }, 1);
            assert_eq!(byte, right, "another byte in the file");
        }
        // The same by the distance from the lowest region.
        let lowest = target.map().and_then(|map| map.0.first()).map_or(0, |region| region.start);
        let distance = if record.choice() >= 240 { u64::MAX } else { addr.wrapping_sub(lowest) };
        let right = target.right(is_null, |map| match lowest.checked_add(distance) {
            _ if map.0.is_empty() => Codes::of(GUESTMEM_E_INVALID_ADDRESS),
            None => Codes::of(GUESTMEM_E_INVALID_RANGE),
            Some(addr) => file_code(map, addr),
        });
        let shm = fd;
        // SAFETY: as before.
        let is_ok = self.asker.ask("offset_region", None, right, || unsafe {
            guestmem_offset_region(target.handle, distance, fd_at)
        });
        assert!(is_null || if is_ok { fd == shm } else { fd == -1 });
    }

    pub fn slice(&mut self, record: &Record) {
        let target = self.target(record);
        let (addr, len) = record.range(target.map());
        let mut slice = guestmem_slice { addr: BLANK as *mut _, len: BLANK };
        let out = if record.is_null(0) { null_mut() } else { &raw mut slice };
        let writes = record.choice() & 1 != 0;
        let right =
            target.right(out.is_null(), |map| map.pointer_code(addr, len, map.room(addr), writes));
        let (mem, size) = (target.handle, len as usize);
        // SAFETY: an output that is NULL or can be written.
        let is_ok = unsafe {
            match writes {
                true => self.asker.ask("get_slice_writable", Some((addr, len)), right, || {
                    guestmem_get_slice_writable(mem, addr, size, out)
                }),
                false => self.asker.ask("get_slice", Some((addr, len)), right, || {
                    guestmem_get_slice(mem, addr, size, out)
                }),
            }
        };
        let right = match () {
            _ if out.is_null() => (BLANK as *mut u8, BLANK),
            _ if is_ok => (host_of(&target.map.expect("a memory"), addr), len as usize),
            _ => (null_mut(), 0),
        };
        assert_eq!((slice.addr.cast(), slice.len), right);
    }

    /// guestmem_get_slices and guestmem_translate with some ranges, and what there is of them for
    /// memory that will be written.
    pub fn slices(&mut self, record: &Record) {
        let target = self.target(record);
        let is_chain = record.choice() >= 64;
        // Whose call says what is done with each range, or that it is written.
        let is_for = record.choice() & 4 != 0;
        let count = if is_chain { record.choice() as usize % 4 } else { 1 };
        let ranges = wanted(record, target.map(), count, is_chain, is_for);
        let empty = Map::default();
        let map = target.map().unwrap_or(&empty);
        let code_of = |range: &guestmem_access| match (range.access, range.reserved) {
            (1..=3, 0) => {
                let (addr, writes) = (range.guest_addr, range.access & GUESTMEM_ACCESS_WRITE != 0);
                map.pointer_code(addr, range.size, map.run(addr), writes)
            }
            _ => Codes::of(GUESTMEM_E_INVALID_ARGUMENT),
        };
        let wrong = ranges.iter().map(code_of).filter(|code| !code.is_ok());
        let faults = wrong.fold(Codes::NONE, Codes::with).first();
        let mut right = Vec::new();
        if faults == Codes::NONE {
            for range in &ranges {
                let pieces = map.pieces(range.guest_addr, range.size);
                right.extend(pieces.iter().map(|piece| (piece.host(), piece.len)));
            }
        }
        let cap = [0, 1, 2, 3, 16, right.len(), right.len().saturating_sub(1)]
            [record.part(7) as usize % 7];
        let (no_out, no_count) = (record.is_null(0), record.is_null(1));
        let no_ranges = record.is_null(2) && is_chain;
        let is_bad = (no_out && cap != 0) || no_count || (no_ranges && count != 0);
        let code = target.right(is_bad, |_| match () {
            _ if faults != Codes::NONE => faults,
            _ if cap < right.len() => Codes::of(GUESTMEM_E_TOO_LARGE),
            _ => Codes::OK,
        });
        let mut slices: Vec<_> =
            (0..cap).map(|_| guestmem_slice { addr: BLANK as *mut _, len: BLANK }).collect();
        let mut needed = BLANK;
        let out = if no_out { null_mut() } else { slices.as_mut_ptr() };
        let count_at = if no_count { null_mut() } else { &raw mut needed };
        let plain = |range: &guestmem_access| guestmem_range {
            guest_addr: range.guest_addr,
            size: range.size,
        };
        let list: Vec<_> = ranges.iter().map(plain).collect();
        let start = if no_ranges { null() } else { list.as_ptr() };
        let for_start = if no_ranges { null() } else { ranges.as_ptr() };
        let (addr, len) = ranges.first().map_or((0, 0), |range| (range.guest_addr, range.size));
        // Its detail has the range only once that is looked at.
        let about = Some((addr, len)).filter(|_| target.index.is_some() && !is_bad);
        let (mem, asker) = (target.handle, &mut self.asker);
        // SAFETY: as many ranges and slices as said.
        let is_ok = unsafe {
            match (is_chain, is_for) {
                (true, true) => asker.ask("translate_for", None, code, || {
                    guestmem_translate_for(mem, for_start, count, out, cap, count_at)
                }),
                (true, false) => asker.ask("translate", None, code, || {
                    guestmem_translate(mem, start, count, out, cap, count_at)
                }),
                (false, true) => asker.ask("get_slices_writable", about, code, || {
                    guestmem_get_slices_writable(mem, addr, len, out, cap, count_at)
                }),
                (false, false) => asker.ask("get_slices", about, code, || {
                    guestmem_get_slices(mem, addr, len, out, cap, count_at)
                }),
            }
        };
        let is_counted = is_ok || code == Codes::of(GUESTMEM_E_TOO_LARGE);
        assert_eq!(
            needed,
            if no_count {
                BLANK
            } else if is_counted {
                right.len()
            } else {
                0
            }
        );
        right.truncate(if is_ok { cap } else { 0 });
        right.resize(cap, (BLANK as *mut u8, BLANK));
        assert!(slices.iter().map(|slice| (slice.addr.cast(), slice.len)).eq(right), "the slices");
    }
}

/// The ranges that a record means, and what is done there: reads, unless the call says for each. Now
/// and then one says something that there is not.
fn wanted(
    record: &Record,
    map: Option<&Map>,
    count: usize,
    is_chain: bool,
    is_for: bool,
) -> Vec<guestmem_access> {
    let mut ranges = Vec::new();
    for turn in 0..count as u8 {
        let mut next = *record;
        if turn != 0 {
            let others = next.0[2..6].iter_mut().zip(&record.0[8..]);
            others.for_each(|(byte, other)| *byte = other.wrapping_mul(turn));
        }
        let (guest_addr, size) = next.range(map);
        let access = match record.part(6) >> (2 * turn) & 3 {
            _ if !is_for => GUESTMEM_ACCESS_READ,
            _ if !is_chain => GUESTMEM_ACCESS_WRITE,
            0 => GUESTMEM_ACCESS_WRITE,
            known => known.into(),
        };
        ranges.push(guestmem_access { guest_addr, size, access, reserved: 0 });
    }
    let (kind, wrong) = (record.part(5), record.part(4) as usize % 4);
    if let Some(range) = ranges.get_mut(wrong).filter(|_| is_chain && is_for && kind >= 0xf0) {
        match kind & 3 {
            0 => range.access = 0,
            1 => range.access |= 4,
            2 => range.access = u32::MAX,
            _ => range.reserved = 1 << (kind >> 2 & 3),
        }
    }
    ranges
}

/// The host address of an address that is in a region.
pub fn host_of(map: &Map, addr: u64) -> *mut u8 {
    map.pieces(addr, 1)[0].host()
}
