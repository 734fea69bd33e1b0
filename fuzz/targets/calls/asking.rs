// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 4: questions about a memory.

use super::input::Record;
use super::model::{Codes, Map, Region};
use super::world::World;
use ::guestmem::ffi::hotplug::guestmem_generation;
use ::guestmem::ffi::memory::guestmem;
use ::guestmem::ffi::query::*;
use ::guestmem::ffi::status::*;
use guestmem_fuzz::json::Json;
use std::ffi::CStr;
use std::mem::zeroed;
use std::ptr::null_mut;

const INFO: usize = size_of::<guestmem_region_info>();

/// Asks for a region's description, and learns its host address when that is new.
pub fn describe_region(handle: *mut guestmem, index: usize, region: &Region) {
    // SAFETY: all-zero bytes are a valid info; a live memory, and an info of that size.
    let info = unsafe {
        let mut info: guestmem_region_info = zeroed();
        assert_eq!(guestmem_region_info(handle, index, &mut info, INFO), GUESTMEM_OK);
        info
    };
    check_info(&info, region);
}

fn check_info(info: &guestmem_region_info, region: &Region) {
    if region.host.get().is_null() {
        region.host.set(info.host_addr.cast());
    }
    assert_eq!((info.guest_addr, info.size), (region.start, region.size));
    assert_eq!(info.host_addr, region.host.get().cast(), "the mapping moved");
    assert!((info.host_addr as u64).is_multiple_of(region.align.max(4096)));
    if let Some(mapping) = &region.callers {
        assert_eq!(info.host_addr, mapping.start());
    }
    assert_eq!((info.flags, info.purpose, info.page_size), (region.flags, region.purpose, 4096));
    assert_eq!(info.fd >= 0, region.has_fd());
    assert!(info.fd >= -1);
    if region.has_fd() {
        assert_eq!(info.fd_offset, region.fd_offset);
    }
}

impl World<'_> {
    pub fn generation(&self, handle: *mut guestmem) -> u64 {
        // SAFETY: a live memory.
        unsafe { guestmem_generation(handle) }
    }

    /// All that needs no address.
    pub fn count_regions(&mut self, record: &Record) {
        let target = self.target(record);
        let (handle, is_bad) = (target.handle, target.index.is_none());
        let regions = target.map.unwrap_or_default().0;
        let size: u64 = regions.iter().map(|region| region.size).sum();
        let end = regions.last().map_or(0, |region| region.end());
        let generation = target.index.map_or(0, |index| self.memories[index].generation);
        // SAFETY: a memory, or what the library can tell is none.
        unsafe {
            let asker = &mut self.asker;
            assert_eq!(asker.ask_value("end_addr", is_bad, || guestmem_end_addr(handle)), end);
            assert_eq!(
                asker.ask_value("memory_size", is_bad, || guestmem_memory_size(handle)),
                size
            );
            assert_eq!(
                asker.ask_value("num_regions", is_bad, || guestmem_num_regions(handle)),
                regions.len()
            );
            assert_eq!(
                asker.ask_value("generation", is_bad, || guestmem_generation(handle)),
                generation
            );
        }
    }

    /// guestmem_region_info, in a struct of some size.
    pub fn region_info(&mut self, record: &Record) {
        let target = self.target(record);
        let index = match record.part(0) {
            index if index < 240 => index as usize % 8,
            _ => usize::MAX,
        };
        let mut info = InfoBytes::new(record);
        let map = target.map.clone().unwrap_or_default();
        let right =
            target.right(record.is_null(0) || info.size == 0, |map| match map.0.get(index) {
                Some(_) => Codes::OK,
                None => Codes::of(GUESTMEM_E_NOT_FOUND),
            });
        let at = if record.is_null(0) { null_mut() } else { info.start() };
        // SAFETY: an info of the size that is said.
        let is_ok = self.asker.ask("region_info", None, right, || unsafe {
            guestmem_region_info(target.handle, index, at, info.size)
        });
        info.check(is_ok.then(|| &*map.0[index]));
    }

    pub fn find_region(&mut self, record: &Record) {
        let target = self.target(record);
        let addr = record.address(target.map());
        let mut info = InfoBytes::new(record);
        let (without_info, without_offset) = (record.is_null(0), record.is_null(1));
        let right = target.right(!without_info && info.size == 0, |map| match map.at(addr) {
            Some(_) => Codes::OK,
            None => Codes::of(GUESTMEM_E_INVALID_ADDRESS),
        });
        let at = if without_info { null_mut() } else { info.start() };
        let mut offset = 77;
        let offset_at = if without_offset { null_mut() } else { &raw mut offset };
        // SAFETY: outputs that are NULL or have the size that is said.
        let is_ok = self.asker.ask("find_region", None, right, || unsafe {
            guestmem_find_region(target.handle, addr, at, info.size, offset_at)
        });
        let region = target.map().and_then(|map| map.at(addr)).filter(|_| is_ok);
        info.check(region.filter(|_| !without_info).map(|region| &**region));
        let right = region.map_or(0, |region| addr - region.start);
        assert_eq!(offset, if without_offset { 77 } else { right });
    }

    /// Whether addresses and ranges are in regions, and sums of addresses.
    pub fn questions(&mut self, record: &Record) {
        let target = self.target(record);
        let (handle, is_bad) = (target.handle, target.index.is_none());
        let (addr, len) = record.range(target.map());
        let empty = Map::default();
        let map = target.map().unwrap_or(&empty);
        let end = record.other_address(target.map());
        let is_in = map.at(addr).is_some();
        let overlaps =
            addr < end && map.0.iter().any(|region| addr < region.end() && region.start < end);
        let is_valid = len != 0 && len <= map.room(addr);
        // SAFETY: a memory, or what the library can tell is none.
        unsafe {
            let asker = &mut self.asker;
            assert_eq!(
                asker.ask_value("address_in_range", is_bad, || guestmem_address_in_range(
                    handle, addr
                )),
                is_in
            );
            assert_eq!(
                asker.ask_value("range_overlap", is_bad, || guestmem_range_overlap(
                    handle, addr, end
                )),
                overlaps
            );
            assert_eq!(
                asker.ask_value("is_valid_range", is_bad, || guestmem_is_valid_range(
                    handle, addr, len
                )),
                is_valid
            );
        }
        let right = target.right(record.is_null(0), |map| match addr.checked_add(len) {
            None => Codes::of(GUESTMEM_E_INVALID_RANGE),
            Some(sum) if map.at(sum).is_none() => Codes::of(GUESTMEM_E_INVALID_ADDRESS),
            Some(_) => Codes::OK,
        });
        let mut sum = 77;
        let out = if record.is_null(0) { null_mut() } else { &raw mut sum };
        // SAFETY: an output that is NULL or can be written.
        let is_ok = self.asker.ask("checked_offset", None, right, || unsafe {
            guestmem_checked_offset(handle, addr, len, out)
        });
        assert_eq!(
            sum,
            if out.is_null() {
                77
            } else if is_ok {
                addr + len
            } else {
                0
            }
        );
    }

    pub fn describe(&mut self, record: &Record) {
        if record.choice() < 192 || !self.may_be_slow() {
            return;
        }
        let target = self.target(record);
        let right = target.right(record.is_null(0), |_| Codes::OK);
        let mut text = null_mut();
        let out = if record.is_null(0) { null_mut() } else { &raw mut text };
        // SAFETY: an output that is NULL or can be written; the text is ours to free.
        unsafe {
            let is_ok =
                self.asker.ask("describe", None, right, || guestmem_describe(target.handle, out));
            assert_eq!(text.is_null(), !is_ok);
            assert!(!is_ok || Json::read(CStr::from_ptr(text).to_bytes()).is_some());
            guestmem_free(text.cast());
        }
    }
}

/// An info of a size that may not be the library's.
struct InfoBytes {
    words: [u64; 10],
    size: usize,
}

impl InfoBytes {
    const SIZES: [usize; 8] = [INFO, INFO, INFO, 16, 20, INFO + 8, INFO + 24, 0];
    const BLANK: u64 = 0xa5a5_a5a5_a5a5_a5a5;

    fn new(record: &Record) -> Self {
        const { assert!(INFO + 24 <= 80) };
        InfoBytes { words: [Self::BLANK; 10], size: Self::SIZES[record.choice() as usize % 8] }
    }

    fn start(&mut self) -> *mut guestmem_region_info {
        self.words.as_mut_ptr().cast()
    }

    /// Blank, or the region's and not a byte more.
    fn check(&self, region: Option<&Region>) {
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let (written, rest) = bytes.split_at(if region.is_some() { self.size } else { 0 });
        assert!(rest.iter().all(|&byte| byte == 0xa5), "written past the caller's struct");
        let Some(region) = region else { return };
        if self.size >= INFO {
            // SAFETY: as many bytes; any are a valid info.
            check_info(unsafe { &*self.words.as_ptr().cast() }, region);
            assert!(written[INFO..].iter().all(|&byte| byte == 0));
        } else {
            assert_eq!((self.words[0], self.words[1]), (region.start, region.size));
        }
    }
}
