// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 6: bytes and objects.

use super::host::Buffer;
use super::input::Record;
use super::model::{Codes, Map, is_ambiguous};
use super::world::World;
use ::guestmem::ffi::access::*;
use ::guestmem::ffi::memory::guestmem;
use ::guestmem::ffi::status::*;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

type Reader = unsafe extern "C" fn(*const guestmem, u64, *mut c_void, usize) -> c_int;
type Writer = unsafe extern "C" fn(*const guestmem, u64, *const c_void, usize) -> c_int;

/// What is right for a range.
type Rule = fn(&Map, u64, u64) -> Codes;

/// Of a buffer for a call that must fail, whatever length it is told.
const SOME: usize = 24;

/// The widest access that divides the size.
fn width_of(size: u64) -> u64 {
    [8, 4, 2].into_iter().find(|&width| size != 0 && size.is_multiple_of(width)).unwrap_or(1)
}

impl World<'_> {
    pub fn read(&mut self, record: &Record) {
        let target = self.target(record);
        let (addr, len) = record.range(target.map());
        let (no_buffer, no_done) = (record.is_null(0), record.is_null(1));
        let right = target
            .right((no_buffer && len != 0) || no_done, |map| part_code(map, addr, len, false));
        let part = target.map().filter(|_| right.is_ok()).map_or(0, |map| map.room(addr).min(len));
        let mut buffer =
            Buffer::new(if right.is_ok() { part as usize } else { SOME }, record.value());
        let start = if no_buffer { null_mut() } else { buffer.start() };
        let mut done = 77;
        let done_at = if no_done { null_mut() } else { &raw mut done };
        // SAFETY: a buffer of what the region has at the most.
        let is_ok = self.asker.ask("read", Some((addr, len)), right, || unsafe {
            guestmem_read(target.handle, addr, start, len as usize, done_at)
        });
        assert_eq!(done, if no_done { 77 } else { part as usize });
        check_read(&buffer, is_ok.then(|| target.map.expect("a memory").read(addr, part)));
    }

    pub fn write(&mut self, record: &Record) {
        let target = self.target(record);
        let (addr, len) = record.range(target.map());
        let (no_buffer, no_done) = (record.is_null(0), record.is_null(1));
        let right =
            target.right((no_buffer && len != 0) || no_done, |map| part_code(map, addr, len, true));
        let part = target.map().filter(|_| right.is_ok()).map_or(0, |map| map.room(addr).min(len));
        let bytes = record.bytes(if right.is_ok() { part } else { SOME as u64 });
        let mut buffer = Buffer::of(&bytes, record.value());
        let start = if no_buffer { null_mut() } else { buffer.start() };
        let mut done = 77;
        let done_at = if no_done { null_mut() } else { &raw mut done };
        // SAFETY: a buffer of what the region takes at the most.
        let is_ok = self.asker.ask("write", Some((addr, len)), right, || unsafe {
            guestmem_write(target.handle, addr, start, len as usize, done_at)
        });
        assert_eq!(done, if no_done { 77 } else { part as usize });
        self.wrote(target.map(), addr, len, is_ok.then_some(&bytes[..part as usize]));
    }

    pub fn read_all(&mut self, record: &Record) {
        let (call, reader, code): (_, Reader, Rule) = match record.choice() % 3 {
            0 => ("read_exact", guestmem_read_exact, |map, addr, len| {
                map.region_code(addr, len, false, GUESTMEM_E_SHORT_READ)
            }),
            1 => ("dma_read", guestmem_dma_read, |map, addr, len| map.dma_code(addr, len, false)),
            _ => ("read_obj_volatile", guestmem_read_obj_volatile, |map, addr, len| {
                map.aligned_code(addr, len, width_of(len), false)
            }),
        };
        let target = self.target(record);
        let (addr, len) = record.range(target.map());
        let right = target.right(record.is_null(0) && len != 0, |map| code(map, addr, len));
        let mut buffer =
            Buffer::new(if right.is_ok() { len as usize } else { SOME }, record.value());
        let start = if record.is_null(0) { null_mut() } else { buffer.start() };
        // SAFETY: a buffer of that length, unless the call must fail.
        let is_ok = self.asker.ask(call, Some((addr, len)), right, || unsafe {
            reader(target.handle, addr, start, len as usize)
        });
        check_read(&buffer, is_ok.then(|| target.map.expect("a memory").read(addr, len)));
    }

    pub fn write_all(&mut self, record: &Record) {
        let (call, writer, code): (_, Writer, Rule) = match record.choice() % 3 {
            0 => ("write_all", guestmem_write_all, |map, addr, len| {
                map.region_code(addr, len, true, GUESTMEM_E_SHORT_WRITE)
            }),
            1 => ("dma_write", guestmem_dma_write, |map, addr, len| map.dma_code(addr, len, true)),
            _ => ("write_obj_volatile", guestmem_write_obj_volatile, |map, addr, len| {
                map.aligned_code(addr, len, width_of(len), true)
            }),
        };
        let target = self.target(record);
        let (addr, len) = record.range(target.map());
        let right = target.right(record.is_null(0) && len != 0, |map| code(map, addr, len));
        if right.is_ok() && is_ambiguous(&target.map.as_ref().expect("a memory").pieces(addr, len))
        {
            return;
        }
        let bytes = record.bytes(if right.is_ok() { len } else { SOME as u64 });
        let mut buffer = Buffer::of(&bytes, record.value());
        let start = if record.is_null(0) { null_mut() } else { buffer.start() };
        // SAFETY: a buffer of that length, unless the call must fail.
        let is_ok = self.asker.ask(call, Some((addr, len)), right, || unsafe {
            writer(target.handle, addr, start, len as usize)
        });
        self.wrote(target.map(), addr, len, is_ok.then_some(&bytes));
    }

    pub fn fill(&mut self, record: &Record) {
        let target = self.target(record);
        let (addr, len) = record.range(target.map());
        let right = target.right(false, |map| map.dma_code(addr, len, true));
        let byte = record.part(0);
        // SAFETY: a memory, or what the library can tell is none.
        let is_ok = self.asker.ask("dma_fill", Some((addr, len)), right, || unsafe {
            guestmem_dma_fill(target.handle, addr, byte, len)
        });
        let bytes = vec![byte; if is_ok { len as usize } else { 0 }];
        self.wrote(target.map(), addr, len, is_ok.then_some(&bytes));
    }

    pub fn copy(&mut self, record: &Record) {
        let target = self.target(record);
        let (to, len) = record.range(target.map());
        let from = record.other_address(target.map());
        let right = target.right(false, |map| {
            let (from, to) = (map.dma_code(from, len, false), map.dma_code(to, len, true));
            let nowhere = Codes::of(GUESTMEM_E_INVALID_ADDRESS);
            match () {
                _ if from == nowhere || to == nowhere => nowhere,
                _ if !from.is_ok() => from,
                _ => to,
            }
        });
        let mut bytes = Vec::new();
        if let Some(map) = target.map().filter(|_| right.is_ok()) {
            let mut pieces = map.pieces(from, len);
            pieces.extend(map.pieces(to, len));
            if is_ambiguous(&pieces) {
                return;
            }
            bytes = map.read(from, len);
        }
        // SAFETY: a memory, or what the library can tell is none.
        let is_ok = self.asker.ask("dma_copy", None, right, || unsafe {
            guestmem_dma_copy(target.handle, to, from, len)
        });
        self.wrote(target.map(), to, len, is_ok.then_some(&bytes));
        self.check_range(target.map(), from, len);
    }

    /// Memory now holds these bytes there, or was left as it was.
    pub fn wrote(&self, map: Option<&Map>, addr: u64, len: u64, bytes: Option<&[u8]>) {
        if let Some(map) = map {
            map.write(addr, bytes.unwrap_or_default());
        }
        self.check_range(map, addr, len);
    }
}

/// Of what stops at the region's end.
fn part_code(map: &Map, addr: u64, len: u64, writes: bool) -> Codes {
    let part = if len == 0 { 0 } else { map.room(addr).clamp(1, len) };
    map.region_code(addr, part, writes, GUESTMEM_E_INVALID_RANGE)
}

fn check_read(buffer: &Buffer, right: Option<Vec<u8>>) {
    match right {
        Some(right) => assert!(buffer.bytes() == right, "other bytes were read"),
        None => assert!(buffer.is_blank(), "the buffer was changed"),
    }
}
