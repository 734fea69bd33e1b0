// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 9, and references to regions.

use super::input::Record;
use super::managing::policy_code;
use super::model::Codes;
use super::world::World;
use guestmem::ffi::hotplug::*;
use guestmem::ffi::region::{guestmem_region_ref, guestmem_region_unref};
use guestmem::ffi::status::*;
use std::ptr::null_mut;

const MAX_REGIONS: usize = 12;
const MAX_HELD: usize = 12;

impl World<'_> {
    pub fn add_region(&mut self, record: &Record) {
        let target = self.target(record);
        let held = self.held(record.part(0));
        let region = held.ok().map(|index| self.held[index].clone());
        let policy = target.index.map_or(0, |index| self.memories[index].policy);
        let right = target.right(false, |map| match &region {
            None => Codes::of(GUESTMEM_E_BAD_HANDLE),
            Some(new) if map.0.iter().any(|there| there.overlaps(new)) => {
                Codes::of(GUESTMEM_E_OVERLAP)
            }
            Some(new) => policy_code(new, policy),
        });
        if right.is_ok() && target.map().is_some_and(|map| map.0.len() >= MAX_REGIONS) {
            return;
        }
        let handle = region
            .as_ref()
            .map_or_else(|| held.err().unwrap_or(null_mut()), |region| region.handle.get());
        // SAFETY: handles, or what the library can tell are none.
        let is_ok = self.asker.ask("add_region", None, right, || unsafe {
            guestmem_add_region(target.handle, handle)
        });
        if let (true, Some(index), Some(region)) = (is_ok, target.index, region) {
            let memory = &mut self.memories[index];
            memory.map.0.push(region);
            memory.map.sort();
            memory.generation += 1;
        }
        target.index.into_iter().for_each(|index| self.check_changed(index));
    }

    pub fn remove_region(&mut self, record: &Record) {
        let target = self.target(record);
        // Mostly where a region starts.
        let start = match (target.map().map(|map| &map.0), record.choice()) {
            (Some(regions), 0..200) if !regions.is_empty() => {
                regions[record.choice() as usize % regions.len()].start
            }
            _ => record.address(target.map()),
        };
        if self.held.len() >= MAX_HELD {
            return;
        }
        let position =
            target.map().and_then(|map| map.0.iter().position(|region| region.start == start));
        let right = target.right(record.is_null(0), |_| match position {
            Some(_) => Codes::OK,
            None => Codes::of(GUESTMEM_E_NOT_FOUND),
        });
        let mut removed = null_mut::<u8>().wrapping_add(1).cast();
        let out = if record.is_null(0) { null_mut() } else { &raw mut removed };
        // SAFETY: an output that is NULL or can be written.
        let is_ok = self.asker.ask("remove_region", None, right, || unsafe {
            guestmem_remove_region(target.handle, start, out)
        });
        assert!(out.is_null() || removed.is_null() != is_ok);
        if let (true, Some(index), Some(position)) = (is_ok, target.index, position) {
            let memory = &mut self.memories[index];
            let region = memory.map.0.remove(position);
            memory.generation += 1;
            let known = region.handle.replace(removed);
            assert!(known.is_null() || known == removed, "another region");
            self.held.push(region);
        }
        target.index.into_iter().for_each(|index| self.check_changed(index));
    }

    fn check_changed(&mut self, index: usize) {
        assert_eq!(self.generation(self.memories[index].handle), self.memories[index].generation);
        self.check_regions(index);
    }

    pub fn ref_region(&mut self, record: &Record) {
        let held = self.held(record.part(0));
        if self.held.len() >= MAX_HELD {
            return;
        }
        let handle = held.map_or_else(|bad| bad, |index| self.held[index].handle.get());
        // SAFETY: a handle, or what the library can tell is none.
        let same = self
            .asker
            .ask_value("region_ref", held.is_err(), || unsafe { guestmem_region_ref(handle) });
        assert_eq!(same, if held.is_ok() { handle } else { null_mut() });
        self.held.extend(held.ok().map(|index| self.held[index].clone()));
    }

    pub fn unref_region(&mut self, record: &Record) {
        match self.held(record.part(0)) {
            Ok(index) => self.release_held(index),
            // SAFETY: what the library can tell is no region.
            Err(bad) => self.asker.ask_value("region_unref", !bad.is_null(), || unsafe {
                guestmem_region_unref(bad)
            }),
        }
    }
}
