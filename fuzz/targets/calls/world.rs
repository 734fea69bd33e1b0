// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! All that lives during a run: memories, the caller's references to regions, views, snapshots.

use super::ask::Asker;
use super::asking::describe_region;
use super::host::{Files, residency};
use super::input::Record;
use super::model::{Codes, Map, Memory, Piece, Region, Store};
use super::snapshots::Taken;
use super::views::View;
use ::guestmem::ffi::memory::{guestmem, guestmem_ref, guestmem_unref};
use ::guestmem::ffi::region::{guestmem_region, guestmem_region_unref};
use ::guestmem::ffi::status::*;
use guestmem_fuzz::memory::PAGE;
use std::cell::RefCell;
use std::ptr::null_mut;
use std::rc::Rc;

/// What lives during a run.
pub struct World<'a> {
    pub asker: Asker,
    pub files: &'a Files,
    /// What the shared file holds.
    pub shared: Store,
    pub memories: Vec<Memory>,
    /// An entry for each reference that the caller has.
    pub held: Vec<Rc<Region>>,
    /// Handles that were released; the library may have made new ones of them.
    stale_memories: Vec<*mut guestmem>,
    stale_regions: Vec<*mut guestmem_region>,
    pub views: Vec<View>,
    pub taken: Vec<Taken>,
    /// Calls that may still be made of those that read what the kernel tells about all memory of the
    /// process, which takes as long as a hundred others.
    pub slow_calls: usize,
}

/// A memory that a call is for, or what is none.
pub struct Target {
    pub handle: *mut guestmem,
    pub index: Option<usize>,
    pub map: Option<Map>,
}

impl Target {
    pub fn map(&self) -> Option<&Map> {
        self.map.as_ref()
    }

    /// What is right for a call with these arguments: a bad handle comes first, then arguments.
    pub fn right(&self, is_bad_argument: bool, code: impl FnOnce(&Map) -> Codes) -> Codes {
        match &self.map {
            None => Codes::of(GUESTMEM_E_BAD_HANDLE),
            Some(_) if is_bad_argument => Codes::of(GUESTMEM_E_INVALID_ARGUMENT),
            Some(map) => code(map),
        }
    }
}

/// What is no handle of the kind wanted; `other` is one of the other kind.
fn bad_handle<T>(choice: usize, stale: Option<*mut T>, other: Option<*mut T>) -> *mut T {
    // Readable, and no object of the library.
    static FOREIGN: [u64; 64] = [0; 64];
    let handle = match choice % 4 {
        0 => other,
        1 => Some((&raw const FOREIGN).cast_mut().cast()),
        2 => stale,
        _ => None,
    };
    handle.unwrap_or(null_mut())
}

impl<'a> World<'a> {
    pub fn new(files: &'a Files) -> Self {
        files.clear();
        World {
            asker: Asker::new(),
            files,
            shared: Rc::new(RefCell::new(vec![0; super::host::FILE_PAGES * PAGE])),
            memories: Vec::new(),
            held: Vec::new(),
            stale_memories: Vec::new(),
            stale_regions: Vec::new(),
            views: Vec::new(),
            taken: Vec::new(),
            slow_calls: 0,
        }
    }

    /// True when a slow call may be made.
    pub fn may_be_slow(&mut self) -> bool {
        let left = self.slow_calls.checked_sub(1);
        self.slow_calls = left.unwrap_or(0);
        left.is_some()
    }

    /// The memory that a record means; seldom what is none.
    pub fn target(&self, record: &Record) -> Target {
        let choice = record.handle() as usize;
        if choice < 244 && !self.memories.is_empty() {
            let index = choice % self.memories.len();
            let memory = &self.memories[index];
            return Target {
                handle: memory.handle,
                index: Some(index),
                map: Some(memory.map.clone()),
            };
        }
        let is_live = |stale| self.memories.iter().any(|memory| memory.handle == stale);
        let stale = self.stale_memories.iter().copied().rfind(|&stale| !is_live(stale));
        let region = self.held.first().map(|region| region.handle.get().cast());
        Target { handle: bad_handle(choice, stale, region), index: None, map: None }
    }

    /// The region that a record means, an index into `held`; or a bad handle.
    pub fn held(&self, choice: u8) -> Result<usize, *mut guestmem_region> {
        let choice = choice as usize;
        if choice < 244 && !self.held.is_empty() {
            return Ok(choice % self.held.len());
        }
        // Of regions whose handle nobody asked for it may be the one.
        let all = || self.memories.iter().flat_map(|memory| &memory.map.0).chain(&self.held);
        let is_live =
            |stale| all().any(|region| [stale, null_mut()].contains(&region.handle.get()));
        let stale = self.stale_regions.iter().copied().rfind(|&stale| !is_live(stale));
        let memory = self.memories.first().map(|memory| memory.handle.cast());
        Err(bad_handle(choice, stale, memory))
    }

    /// A new memory.
    pub fn adopt(&mut self, handle: *mut guestmem, mut map: Map) {
        map.sort();
        let generation = self.generation(handle);
        self.memories.push(Memory { handle, map, references: 1, generation, policy: 0 });
        self.check_regions(self.memories.len() - 1);
    }

    /// Asks for each region's description; new ones' host addresses become known.
    pub fn check_regions(&mut self, index: usize) {
        let memory = &self.memories[index];
        for (index, region) in memory.map.0.iter().enumerate() {
            describe_region(memory.handle, index, region);
        }
    }

    /// The parts of a range that are in regions must be what the model says.
    pub fn check_range(&self, map: Option<&Map>, addr: u64, len: u64) {
        let end = u128::from(addr) + u128::from(len.max(1));
        for region in map.into_iter().flat_map(|map| &map.0) {
            if u128::from(region.start) < end && addr < region.end() {
                check_region(region, false);
            }
        }
    }

    pub fn check_pieces(&self, pieces: &[Piece]) {
        pieces.iter().for_each(|piece| check_region(&piece.region, false));
    }

    /// All of all memories, byte by byte.
    pub fn check_everything(&self) {
        for memory in &self.memories {
            memory.map.0.iter().for_each(|region| check_region(region, true));
        }
        self.held.iter().for_each(|region| check_region(region, true));
    }

    pub fn ref_memory(&mut self, record: &Record) {
        let target = self.target(record);
        // SAFETY: a memory, or what the library can tell is none.
        let same = self
            .asker
            .ask_value("ref", target.index.is_none(), || unsafe { guestmem_ref(target.handle) });
        assert_eq!(same, if target.index.is_some() { target.handle } else { null_mut() });
        if let Some(index) = target.index {
            self.memories[index].references += 1;
        }
    }

    pub fn unref_memory(&mut self, record: &Record) {
        let target = self.target(record);
        match target.index {
            Some(index) => self.release(index),
            // SAFETY: what the library can tell is no memory.
            None => self.asker.ask_value("unref", !target.handle.is_null(), || unsafe {
                guestmem_unref(target.handle)
            }),
        }
    }

    /// Gives back a reference to a memory.
    fn release(&mut self, index: usize) {
        let handle = self.memories[index].handle;
        self.memories[index].references -= 1;
        let is_last = self.memories[index].references == 0;
        let dead = is_last.then(|| {
            self.views.retain(|view| view.mem != handle);
            self.stale_memories.push(handle);
            self.memories.remove(index)
        });
        // SAFETY: a reference of ours.
        self.asker.ask_value("unref", false, || unsafe { guestmem_unref(handle) });
        for region in dead.into_iter().flat_map(|memory| memory.map.0) {
            self.let_go(region);
        }
    }

    /// Gives back the caller's reference to a region.
    pub fn release_held(&mut self, index: usize) {
        let region = self.held.remove(index);
        let handle = region.handle.get();
        // SAFETY: a reference of ours.
        self.asker.ask_value("region_unref", false, || unsafe { guestmem_region_unref(handle) });
        self.let_go(region);
    }

    /// A reference is gone: with the last one the mapping must be too, unless it is the caller's.
    fn let_go(&mut self, region: Rc<Region>) {
        let Ok(region) = Rc::try_unwrap(region) else { return };
        let (host, len) = (region.host.get(), region.size as usize);
        if !host.is_null() {
            let is_mapped = residency(host, len).is_some();
            assert_eq!(is_mapped, region.is_callers(), "the mapping of a released region");
        }
        self.stale_regions.extend(Some(region.handle.get()).filter(|handle| !handle.is_null()));
    }

    /// Gives back everything.
    pub fn end(&mut self) {
        while let Some(index) = self.memories.len().checked_sub(1) {
            self.release(index);
        }
        while let Some(index) = self.held.len().checked_sub(1) {
            self.release_held(index);
        }
    }
}

/// Holes stay holes, unless all is to be looked at: a page that is not in memory and must be zeros
/// is not read, which would allocate it.
fn check_region(region: &Region, fully: bool) {
    let host = region.host.get();
    if host.is_null() {
        return;
    }
    let is_resident = residency(host, region.size as usize).expect("live regions are mapped");
    let right = region.bytes();
    for (index, right) in right.chunks(PAGE).enumerate() {
        if !fully && !is_resident[index] && right.iter().all(|&byte| byte == 0) {
            continue;
        }
        // SAFETY: a page of a live region, which nobody writes to meanwhile.
        let found = unsafe { std::slice::from_raw_parts(host.add(index * PAGE), PAGE) };
        if found != right {
            let at = (0..PAGE).find(|&at| found[at] != right[at]).expect("they differ");
            panic!(
                "the region at {:#x} holds {:#x} at {:#x}, not {:#x}",
                region.start,
                found[at],
                index * PAGE + at,
                right[at]
            );
        }
    }
}
