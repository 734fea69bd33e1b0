// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 7: views, which show the regions as they were when they were fetched, through the
//! header's inline functions and through their exported twins.

use super::input::Record;
use super::model::{Codes, Map, Region};
use super::translating::host_of;
use super::values::{bytes_of, is_load_order, is_store_order, order_of, value_at};
use super::widths::{Width, inline};
use super::world::World;
use ::guestmem::ffi::memory::guestmem;
use ::guestmem::ffi::status::*;
use ::guestmem::ffi::view::*;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::rc::{Rc, Weak};

const VIEW: usize = size_of::<guestmem_view>();
const MAX_VIEWS: usize = 4;

/// A view that was fetched.
pub struct View {
    raw: guestmem_view,
    pub mem: *mut guestmem,
    generation: u64,
    regions: Vec<Weak<Region>>,
}

impl View {
    /// Its regions; None once one of them is gone for good.
    fn map(&self) -> Option<Map> {
        self.regions.iter().map(Weak::upgrade).collect::<Option<_>>().map(Map)
    }
}

impl World<'_> {
    /// guestmem_get_view, into a struct of some size.
    pub fn get_view(&mut self, record: &Record) {
        const SIZES: [usize; 8] = [VIEW, VIEW, VIEW, VIEW, VIEW + 8, VIEW + 24, VIEW - 8, 0];
        const BLANK: u64 = 0xa5a5_a5a5_a5a5_a5a5;
        let target = self.target(record);
        let size = SIZES[record.choice() as usize % 8];
        let mut words = [BLANK; (VIEW + 24) / 8];
        let at = if record.is_null(0) { null_mut() } else { words.as_mut_ptr().cast() };
        let right = target.right(record.is_null(0) || size < VIEW, |_| Codes::OK);
        // SAFETY: a view of the size that is said.
        let is_ok = self
            .asker
            .ask("get_view", None, right, || unsafe { guestmem_get_view(target.handle, at, size) });
        let written = if at.is_null() {
            0
        } else if is_ok {
            size
        } else {
            size.min(VIEW)
        } / 8;
        assert!(words[written..].iter().all(|&word| word == BLANK), "written past the view");
        if !is_ok {
            assert!(words[..written].iter().all(|&word| word == 0));
            return;
        }
        assert!(words[VIEW / 8..written].iter().all(|&word| word == 0));
        let index = target.index.expect("a memory");
        let regions = self.memories[index].map.0.iter().map(Rc::downgrade).collect();
        let generation = self.memories[index].generation;
        // SAFETY: a whole view.
        let raw = unsafe { words.as_ptr().cast::<guestmem_view>().read() };
        self.views.push(View { raw, mem: target.handle, generation, regions });
        if self.views.len() > MAX_VIEWS {
            self.views.remove(0);
        }
    }

    /// One of the views with its regions, or one of all zeros, that has none.
    fn view(&mut self, record: &Record) -> (guestmem_view, Map) {
        if self.views.is_empty() {
            self.get_view(&Record::default());
        }
        let usable: Vec<_> =
            self.views.iter().filter_map(|view| Some((view.raw, view.map()?))).collect();
        match usable.len() {
            // SAFETY: all-zero bytes are a valid view.
            0 => (unsafe { zeroed() }, Map::default()),
            count => usable[record.handle() as usize % count].clone(),
        }
    }

    pub fn view_is_current(&mut self, record: &Record) {
        let Some(view) = self.views.get(record.handle() as usize % self.views.len().max(1)) else {
            return;
        };
        let memory = self.memories.iter().find(|memory| memory.handle == view.mem);
        let right = memory.is_some_and(|memory| memory.generation == view.generation);
        let raw = &raw const view.raw;
        // SAFETY: a view of a live memory.
        unsafe {
            let asker = &mut self.asker;
            asker.ask_inline("view_is_current", right, || {
                inline::guestmem_view_is_current(raw, view.mem)
            });
            asker.ask_inline("view_is_current_fn", right, || {
                guestmem_view_is_current_fn(raw, view.mem)
            });
        }
    }

    pub fn view_ptr(&mut self, record: &Record) {
        let (view, map) = self.view(record);
        let (addr, len) = record.range(Some(&map));
        let is_known = len != 0 && len <= map.room(addr);
        self.view_ptr_to_write(&view, &map, addr, len);
        let right = if is_known { host_of(&map, addr) } else { null_mut() };
        let mut found = [null_mut(); 2];
        // SAFETY: a view of a live memory.
        unsafe {
            self.asker.ask_inline("view_ptr", is_known, || {
                found[0] = inline::guestmem_view_ptr(&view, addr, len);
                !found[0].is_null()
            });
            self.asker.ask_inline("view_ptr_fn", is_known, || {
                found[1] = guestmem_view_ptr_fn(&view, addr, len);
                !found[1].is_null()
            });
        }
        assert_eq!(found, [right.cast(); 2]);
    }

    fn view_ptr_to_write(&mut self, view: &guestmem_view, map: &Map, addr: u64, len: u64) {
        let is_right = map.pointer_code(addr, len, map.room(addr), true).is_ok();
        let right = if is_right { host_of(map, addr) } else { null_mut() };
        let mut found = [null_mut(); 2];
        // SAFETY: a view of a live memory.
        unsafe {
            self.asker.ask_inline("view_ptr_writable", is_right, || {
                found[0] = inline::guestmem_view_ptr_writable(view, addr, len);
                !found[0].is_null()
            });
            self.asker.ask_inline("view_ptr_writable_fn", is_right, || {
                found[1] = guestmem_view_ptr_writable_fn(view, addr, len);
                !found[1].is_null()
            });
        }
        assert_eq!(found, [right.cast(); 2]);
    }

    pub fn view_value(&mut self, record: &Record) {
        match record.choice() % 4 {
            0 => self.view_value_of::<u8>(record),
            1 => self.view_value_of::<u16>(record),
            2 => self.view_value_of::<u32>(record),
            _ => self.view_value_of::<u64>(record),
        }
    }

    fn view_value_of<T: Width>(&mut self, record: &Record) {
        let (view, map) = self.view(record);
        let (addr, order) = (record.address(Some(&map)), order_of(record));
        let (calls, is_ordered) =
            (if record.choice() & 4 == 0 { T::INLINE } else { T::TWINS }, record.choice() & 8 != 0);
        let code = |writes| match is_ordered {
            true => map.aligned_code(addr, T::SIZE, T::SIZE, writes),
            false => map.region_code(addr, T::SIZE, writes, GUESTMEM_E_INVALID_RANGE),
        };
        let asker = &mut self.asker;
        if record.choice() & 16 == 0 {
            let right = code(false).is_ok() && (!is_ordered || is_load_order(order));
            let mut value = T::cut(77);
            // SAFETY: a view of a live memory, and an output.
            let is_ok = unsafe {
                match is_ordered {
                    true => asker.ask_inline("view_load_uW", right, || {
                        (calls.load)(&view, addr, order, &mut value)
                    }),
                    false => asker.ask_inline("view_read_uW", right, || {
                        (calls.read)(&view, addr, &mut value)
                    }),
                }
            };
            assert!(value == if is_ok { value_at(&map, addr) } else { T::cut(0) }, "another value");
            return;
        }
        let right = code(true).is_ok() && (!is_ordered || is_store_order(order));
        let value = T::cut(record.value());
        // SAFETY: a view of a live memory.
        let is_ok = unsafe {
            match is_ordered {
                true => asker.ask_inline("view_store_uW", right, || {
                    (calls.store)(&view, addr, value, order)
                }),
                false => {
                    asker.ask_inline("view_write_uW", right, || (calls.write)(&view, addr, value))
                }
            }
        };
        self.wrote(Some(&map), addr, T::SIZE, is_ok.then_some(&bytes_of(value)));
    }
}
