// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 3: memories and regions, as they should be asked for and as they should not.

use super::asked::{Asked, OPTIONS, faults_of, options_in, or_ok};
use super::input::{Record, Records};
use super::layouts::{LAYOUTS, SPARE};
use super::model::{Codes, Map};
use super::world::World;
use ::guestmem::ffi::memory::{
    guestmem, guestmem_from_regions, guestmem_new, guestmem_new_with_options, guestmem_range,
};
use ::guestmem::ffi::region::{guestmem_region, guestmem_region_new, guestmem_region_options};
use ::guestmem::ffi::status::*;
use std::ptr::{null, null_mut};

const MAX_MEMORIES: usize = 4;
const MAX_HELD: usize = 8;

impl World<'_> {
    /// The next records are the regions.
    fn asked(&self, record: &Record, records: &mut Records) -> Vec<Asked> {
        let count = record.choice() as usize % 5;
        records.take(count).map(|record| Asked::new(&record, self.files)).collect()
    }

    /// The memory and the regions that a run begins with.
    pub fn begin(&mut self, record: &Record) {
        self.slow_calls = if record.choice() < 64 { 2 } else { 0 };
        let all: Vec<_> =
            LAYOUTS[record.call() as usize % LAYOUTS.len()].iter().map(Asked::plain).collect();
        let options: Vec<_> = all.iter().map(|asked| asked.options).collect();
        let mut out = null_mut();
        // SAFETY: as many options as said, of the size that is said.
        let is_ok = self.asker.ask("new_with_options", None, Codes::OK, || unsafe {
            guestmem_new_with_options(options.as_ptr(), options.len(), OPTIONS, &mut out)
        });
        self.made(is_ok, false, out, all);
        for asked in SPARE.iter().take(record.handle() as usize % 4).map(Asked::plain) {
            let mut out = null_mut();
            // SAFETY: options of the size that is said.
            self.asker.ask("region_new", None, Codes::OK, || unsafe {
                guestmem_region_new(&asked.options, OPTIONS, &mut out)
            });
            self.hold(asked, out);
        }
    }

    /// A new region is the caller's.
    fn hold(&mut self, asked: Asked, handle: *mut guestmem_region) {
        let region = asked.region(self, &mut 0);
        region.handle.set(handle);
        self.held.push(region);
    }

    /// guestmem_new: addresses and sizes alone.
    pub fn new_plain(&mut self, record: &Record, records: &mut Records) {
        if self.memories.len() >= MAX_MEMORIES {
            return;
        }
        let mut all = self.asked(record, records);
        for asked in &mut all {
            let guestmem_region_options { guest_addr, size, .. } = asked.options;
            *asked = Asked::plain(&(guest_addr, 0, 0));
            asked.options.size = size;
            asked.find_faults(0, self.files);
        }
        let ranges: Vec<_> = all
            .iter()
            .map(|asked| guestmem_range {
                guest_addr: asked.options.guest_addr,
                size: asked.options.size,
            })
            .collect();
        let is_null = record.is_null(0);
        let mut right = or_ok(faults_of(&all));
        if (is_null && !ranges.is_empty()) || record.is_null(1) {
            right = Codes::of(GUESTMEM_E_INVALID_ARGUMENT);
        }
        let start = if is_null { null() } else { ranges.as_ptr() };
        let mut out = null_mut::<u8>().wrapping_add(1).cast();
        let out_at = if record.is_null(1) { null_mut() } else { &raw mut out };
        // SAFETY: as many ranges as said.
        let is_ok = self
            .asker
            .ask("new", None, right, || unsafe { guestmem_new(start, ranges.len(), out_at) });
        self.made(is_ok, out_at.is_null(), out, all);
    }

    /// guestmem_new_with_options.
    pub fn new_with_options(&mut self, record: &Record, records: &mut Records) {
        if self.memories.len() >= MAX_MEMORIES {
            return;
        }
        let mut all = self.asked(record, records);
        let (bytes, stride, mut right) = options_in(&mut all, record, self.files);
        let is_null = record.is_null(0);
        if (is_null && !all.is_empty()) || record.is_null(1) {
            right = Codes::of(GUESTMEM_E_INVALID_ARGUMENT);
        }
        let start = if is_null { null() } else { bytes.as_ptr().cast() };
        let mut out = null_mut::<u8>().wrapping_add(1).cast();
        let out_at = if record.is_null(1) { null_mut() } else { &raw mut out };
        // SAFETY: as many options as said, of the size that is said.
        let is_ok = self.asker.ask("new_with_options", None, right, || unsafe {
            guestmem_new_with_options(start, all.len(), stride, out_at)
        });
        self.made(is_ok, out_at.is_null(), out, all);
    }

    fn made(&mut self, is_ok: bool, is_null: bool, out: *mut guestmem, all: Vec<Asked>) {
        assert!(is_null || out.is_null() != is_ok);
        if is_ok {
            let mut offset = 0;
            let regions = all.into_iter().map(|asked| asked.region(self, &mut offset)).collect();
            self.adopt(out, Map(regions));
        }
    }

    /// guestmem_region_new; the next record is the region.
    pub fn region_new(&mut self, record: &Record, records: &mut Records) {
        let Some(asked) = records.next().filter(|_| self.held.len() < MAX_HELD) else { return };
        let mut all = [Asked::new(&asked, self.files)];
        let (bytes, size, mut right) = options_in(&mut all, record, self.files);
        if record.is_null(0) || record.is_null(1) {
            right = Codes::of(GUESTMEM_E_INVALID_ARGUMENT);
        }
        let start = if record.is_null(0) { null() } else { bytes.as_ptr().cast() };
        let mut out = null_mut::<u8>().wrapping_add(1).cast();
        let out_at = if record.is_null(1) { null_mut() } else { &raw mut out };
        // SAFETY: options of the size that is said.
        let is_ok = self
            .asker
            .ask("region_new", None, right, || unsafe { guestmem_region_new(start, size, out_at) });
        assert!(out_at.is_null() || out.is_null() != is_ok);
        if is_ok {
            let [asked] = all;
            self.hold(asked, out);
        }
    }

    /// guestmem_from_regions, of those that the caller has.
    pub fn new_from_regions(&mut self, record: &Record) {
        if self.memories.len() >= MAX_MEMORIES {
            return;
        }
        let (mut map, mut handles, mut is_bad) = (Map::default(), Vec::new(), false);
        for index in 0..record.choice() as usize % 5 {
            match self.held(record.part(index)) {
                Ok(held) => {
                    handles.push(self.held[held].handle.get());
                    map.0.push(self.held[held].clone());
                }
                Err(handle) => {
                    handles.push(handle);
                    is_bad = true;
                }
            }
        }
        let is_null = record.is_null(0) && !handles.is_empty() || record.is_null(1);
        let right = match () {
            _ if is_null && is_bad => {
                Codes::of(GUESTMEM_E_INVALID_ARGUMENT).or(GUESTMEM_E_BAD_HANDLE)
            }
            _ if is_null => Codes::of(GUESTMEM_E_INVALID_ARGUMENT),
            _ if is_bad => Codes::of(GUESTMEM_E_BAD_HANDLE),
            _ if map.has_overlap() => Codes::of(GUESTMEM_E_OVERLAP),
            _ => Codes::OK,
        };
        let start = if record.is_null(0) { null() } else { handles.as_ptr() };
        let mut out = null_mut::<u8>().wrapping_add(1).cast();
        let out_at = if record.is_null(1) { null_mut() } else { &raw mut out };
        // SAFETY: as many handles as said; those that are none the library can tell.
        let is_ok = self.asker.ask("from_regions", None, right, || unsafe {
            guestmem_from_regions(start, handles.len(), out_at)
        });
        assert!(out_at.is_null() || out.is_null() != is_ok);
        if is_ok {
            self.adopt(out, map);
        }
    }
}
