// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 5: from guest addresses to host addresses and files, and back.

use super::input::Record;
use super::model::{Codes, Map, Region};
use super::world::World;
use guestmem::ffi::memory::guestmem_range;
use guestmem::ffi::slice::guestmem_slice;
use guestmem::ffi::status::*;
use guestmem::ffi::translate::*;
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
        let right = target.right(is_null, |map| match map.at(addr) {
            _ if is_range => map.pointer_code(addr, len, map.room(addr)),
            Some(_) => Codes::OK,
            None => Codes::of(GUESTMEM_E_INVALID_ADDRESS),
        });
        // SAFETY: an output that is NULL or can be written.
        let is_ok = unsafe {
            let (mem, asker) = (target.handle, &mut self.asker);
            match is_range {
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
        let right = target.right(out.is_null(), |map| map.pointer_code(addr, len, map.room(addr)));
        // SAFETY: an output that is NULL or can be written.
        let is_ok = self.asker.ask("get_slice", Some((addr, len)), right, || unsafe {
            guestmem_get_slice(target.handle, addr, len as usize, out)
        });
        let right = match () {
            _ if out.is_null() => (BLANK as *mut u8, BLANK),
            _ if is_ok => (host_of(&target.map.expect("a memory"), addr), len as usize),
            _ => (null_mut(), 0),
        };
        assert_eq!((slice.addr.cast(), slice.len), right);
    }

    /// guestmem_get_slices, and guestmem_translate with some ranges.
    pub fn slices(&mut self, record: &Record) {
        let target = self.target(record);
        let is_chain = record.choice() >= 64;
        let count = if is_chain { record.choice() as usize % 4 } else { 1 };
        let mut ranges = vec![record.range(target.map())];
        for turn in 1..4u8 {
            let mut next = *record;
            next.0[2..6]
                .iter_mut()
                .zip(&record.0[8..])
                .for_each(|(byte, other)| *byte = other.wrapping_mul(turn));
            ranges.push(next.range(target.map()));
        }
        ranges.truncate(count);
        let empty = Map::default();
        let map = target.map().unwrap_or(&empty);
        let mut faults = Codes::NONE;
        for &(addr, len) in &ranges {
            let code = map.pointer_code(addr, len, map.run(addr));
            faults = if code.is_ok() { faults } else { faults.with(code) };
        }
        let mut right = Vec::new();
        if faults == Codes::NONE {
            for &(addr, len) in &ranges {
                right.extend(map.pieces(addr, len).iter().map(|piece| (piece.host(), piece.len)));
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
        let list: Vec<_> =
            ranges.iter().map(|&(guest_addr, size)| guestmem_range { guest_addr, size }).collect();
        let start = if no_ranges { null() } else { list.as_ptr() };
        // Its detail has the range only once that is looked at.
        let about = ranges.first().copied().filter(|_| target.index.is_some() && !is_bad);
        // SAFETY: as many ranges and slices as said.
        let is_ok = unsafe {
            let (mem, asker) = (target.handle, &mut self.asker);
            match is_chain {
                true => asker.ask("translate", None, code, || {
                    guestmem_translate(mem, start, count, out, cap, count_at)
                }),
                false => asker.ask("get_slices", about, code, || {
                    guestmem_get_slices(mem, ranges[0].0, ranges[0].1, out, cap, count_at)
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

/// The host address of an address that is in a region.
pub fn host_of(map: &Map, addr: u64) -> *mut u8 {
    map.pieces(addr, 1)[0].host()
}
