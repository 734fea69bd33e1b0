// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Sections 6 and 7: slices, cut out of live regions.

use super::host::Buffer;
use super::input::Record;
use super::model::{Codes, Map, is_ambiguous};
use super::translating::host_of;
use super::values::{bytes_of, is_load_order, is_store_order, order_of, value_at};
use super::widths::Width;
use super::world::World;
use guestmem::ffi::slice::*;
use guestmem::ffi::status::*;
use std::ffi::c_void;
use std::ptr::null_mut;

/// A live slice and where it lies; or an empty one.
struct Part {
    map: Map,
    addr: u64,
    len: u64,
}

impl Part {
    fn raw(&self) -> guestmem_slice {
        let addr = if self.len == 0 { null_mut() } else { host_of(&self.map, self.addr) };
        guestmem_slice { addr: addr.cast(), len: self.len as usize }
    }

    fn is_writable(&self) -> bool {
        self.len == 0 || !self.map.at(self.addr).expect("a region").is_read_only()
    }

    fn bytes(&self) -> Vec<u8> {
        self.map.read(self.addr, self.len)
    }

    /// Bytes from an offset on, while it is in the slice.
    fn has(&self, offset: usize, len: usize) -> bool {
        offset.checked_add(len).is_some_and(|end| end as u64 <= self.len)
    }
}

impl World<'_> {
    fn part(&self, record: &Record) -> Option<Part> {
        let map = self.target(record).map?;
        let (addr, len) = record.range(Some(&map));
        let len = len.min(map.room(addr));
        Some(Part { map, addr, len })
    }

    pub fn slice_call(&mut self, record: &Record) {
        let Some(part) = self.part(record) else { return };
        match record.choice() % 9 {
            0 => self.slice_sub(record, &part),
            1 => self.slice_read(record, &part),
            2 if part.is_writable() => self.slice_write(record, &part),
            3 if part.is_writable() => self.slice_fill(record, &part),
            4 if part.is_writable() => self.slice_copy(record, &part),
            5 => self.slice_is_zero(&part),
            6 => self.slice_value::<u16>(record, &part),
            7 => self.slice_value::<u32>(record, &part),
            _ if record.choice() >= 128 => self.slice_value::<u64>(record, &part),
            _ => self.slice_value::<u8>(record, &part),
        }
    }

    fn slice_sub(&mut self, record: &Record, part: &Part) {
        let (offset, count) = inner_range(record, part);
        let mut out = guestmem_slice { addr: 77 as *mut c_void, len: 77 };
        let out_at = if record.is_null(0) { null_mut() } else { &raw mut out };
        let right = code_of(record.is_null(0), part.has(offset, count));
        // SAFETY: a live slice, and an output that is NULL or can be written.
        let is_ok = self.asker.ask("slice_sub", None, right, || unsafe {
            guestmem_slice_sub(part.raw(), offset, count, out_at)
        });
        let right = match () {
            _ if out_at.is_null() => (77 as *mut c_void, 77),
            _ if is_ok => (part.raw().addr.wrapping_byte_add(offset), count),
            _ => (null_mut(), 0),
        };
        assert_eq!((out.addr, out.len), right);
    }

    fn slice_read(&mut self, record: &Record, part: &Part) {
        let (offset, len) = inner_range(record, part);
        let right = code_of(record.is_null(0) && len != 0, part.has(offset, len));
        let mut buffer = Buffer::new(if right.is_ok() { len } else { 24 }, record.value());
        let start = if record.is_null(0) { null_mut() } else { buffer.start() };
        // SAFETY: a live slice, and a buffer of that length unless the call must fail.
        let is_ok = self.asker.ask("slice_read", None, right, || unsafe {
            guestmem_slice_read(part.raw(), offset, start, len)
        });
        match is_ok {
            true => assert!(buffer.bytes() == &part.bytes()[offset..][..len]),
            false => assert!(buffer.is_blank()),
        }
    }

    fn slice_write(&mut self, record: &Record, part: &Part) {
        let (offset, len) = inner_range(record, part);
        let right = code_of(record.is_null(0) && len != 0, part.has(offset, len));
        let bytes = record.bytes(if right.is_ok() { len as u64 } else { 24 });
        let mut buffer = Buffer::of(&bytes, record.value());
        let start = if record.is_null(0) { null_mut() } else { buffer.start() };
        // SAFETY: a live slice, and a buffer of that length unless the call must fail.
        let is_ok = self.asker.ask("slice_write", None, right, || unsafe {
            guestmem_slice_write(part.raw(), offset, start, len)
        });
        let at = part.addr.wrapping_add(offset as u64);
        self.wrote(Some(&part.map), at, len as u64, is_ok.then_some(&bytes));
    }

    fn slice_fill(&mut self, record: &Record, part: &Part) {
        let byte = record.part(0);
        // SAFETY: a live slice.
        self.asker
            .ask_value("slice_fill", false, || unsafe { guestmem_slice_fill(part.raw(), byte) });
        self.wrote(Some(&part.map), part.addr, part.len, Some(&vec![byte; part.len as usize]));
    }

    fn slice_copy(&mut self, record: &Record, to: &Part) {
        let mut other = *record;
        other.0[2..6].copy_from_slice(&record.0[8..12]);
        let from = self.part(&other).expect("the same memory");
        let len = from.len.min(to.len);
        let mut pieces = from.map.pieces(from.addr, from.len);
        pieces.extend(to.map.pieces(to.addr, to.len));
        if is_ambiguous(&pieces) {
            return;
        }
        let bytes = from.map.read(from.addr, len);
        // SAFETY: live slices.
        let done = self.asker.ask_value("slice_copy", false, || unsafe {
            guestmem_slice_copy(to.raw(), from.raw())
        });
        assert_eq!(done as u64, len);
        self.wrote(Some(&to.map), to.addr, len, Some(&bytes));
    }

    fn slice_is_zero(&mut self, part: &Part) {
        // SAFETY: a live slice.
        let found = self
            .asker
            .ask_value("slice_is_zero", false, || unsafe { guestmem_slice_is_zero(part.raw()) });
        assert_eq!(found, part.bytes().iter().all(|&byte| byte == 0));
    }

    /// Ordered access, by the inline functions and their twins.
    fn slice_value<T: Width>(&mut self, record: &Record, part: &Part) {
        let (offset, _) = inner_range(record, part);
        let order = order_of(record);
        let calls = if record.choice() & 64 == 0 { T::INLINE } else { T::TWINS };
        let at = part.addr.wrapping_add(offset as u64);
        let is_there = part.has(offset, T::SIZE as usize)
            && (part.raw().addr as u64 + offset as u64).is_multiple_of(T::SIZE);
        if record.0[7] & 1 == 0 || !part.is_writable() {
            let mut value = T::cut(77);
            let right = is_there && is_load_order(order);
            // SAFETY: a live slice.
            let is_ok = self.asker.ask_inline("slice_load_uW", right, || unsafe {
                (calls.slice_load)(part.raw(), offset, order, &mut value)
            });
            assert!(
                value == if is_ok { value_at(&part.map, at) } else { T::cut(0) },
                "another value"
            );
            return;
        }
        let value = T::cut(record.value());
        let right = is_there && is_store_order(order);
        // SAFETY: a live slice.
        let is_ok = self.asker.ask_inline("slice_store_uW", right, || unsafe {
            (calls.slice_store)(part.raw(), offset, value, order)
        });
        self.wrote(Some(&part.map), at, T::SIZE, is_ok.then_some(&bytes_of(value)));
    }
}

fn code_of(is_bad_argument: bool, is_in: bool) -> Codes {
    Codes::of(match () {
        _ if is_bad_argument => GUESTMEM_E_INVALID_ARGUMENT,
        _ if is_in => GUESTMEM_OK,
        _ => GUESTMEM_E_INVALID_RANGE,
    })
}

/// Offset and length within a slice, or nearly so.
fn inner_range(record: &Record, part: &Part) -> (usize, usize) {
    let len = part.len as usize;
    let near = |choice: u8| {
        [0, 0, 0, 1, 2, 4, 7, 8, 9, 16, 4096, len / 2, len, usize::MAX, usize::MAX / 2, 0]
            [choice as usize % 16]
    };
    let offset = match record.part(4) {
        choice if choice < 160 => near(choice),
        choice => len.wrapping_sub(near(choice)),
    };
    let count = match record.part(5) {
        choice if choice < 100 => near(choice),
        choice if choice < 128 => 0usize.wrapping_sub(offset).wrapping_add(near(choice)),
        choice => len.wrapping_sub(offset).wrapping_add(near(choice)),
    };
    (offset, count)
}
