// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 6: between descriptors and memory.

use super::input::Record;
use super::model::{Codes, is_ambiguous};
use super::world::{Target, World};
use guestmem::ffi::status::*;
use guestmem::ffi::transfer::*;
use guestmem_fuzz::files::Scratch;

/// What a file holds, and where one begins in it.
const SIZES: [u64; 8] = [0, 1, 100, 4096, 5000, 8192, 16384, 24576];
const POSITIONS: [u64; 8] = [0, 0, 0, 1, 8, 4095, 4096, 20000];

/// A transfer that is asked for.
struct Transfer {
    target: Target,
    addr: u64,
    len: u64,
    /// At a place of its own, not at the file's position.
    is_at: bool,
    position: u64,
    has_file: bool,
}

impl Transfer {
    /// With this much to be had or to be written.
    fn right(&self, writes: bool, available: u64) -> Codes {
        let is_far = self.is_at && self.position > i64::MAX as u64;
        self.target.right(is_far, |map| match map.dma_code(self.addr, self.len, writes) {
            code if !code.is_ok() || self.len == 0 => code,
            _ if !self.has_file => Codes::of(GUESTMEM_E_IO),
            _ if available < self.len => Codes::of(GUESTMEM_E_SHORT_READ),
            code => code,
        })
    }

    fn range(&self) -> Option<(u64, u64)> {
        Some((self.addr, self.len))
    }
}

impl World<'_> {
    pub fn transfer(&mut self, record: &Record) {
        let target = self.target(record);
        let (addr, len) = record.range(target.map());
        let is_at = record.choice() & 1 == 1;
        let position = match record.part(1) {
            255 if is_at => 1 << 63,
            choice => POSITIONS[choice as usize % 8],
        };
        let transfer =
            Transfer { target, addr, len, is_at, position, has_file: record.choice() < 240 };
        let mut file = Scratch::new();
        file.set(&record.bytes(SIZES[record.part(0) as usize % 8]));
        file.seek(if is_at { 3 } else { position });
        match record.choice() & 2 {
            0 => self.read_file(&transfer, &mut file),
            _ => self.write_file(&transfer, &mut file),
        }
    }

    fn read_file(&mut self, transfer: &Transfer, file: &mut Scratch) {
        let Transfer { ref target, addr, len, is_at, position, .. } = *transfer;
        let bytes = file.bytes();
        let rest = bytes.get(position as usize..).unwrap_or_default();
        let right = transfer.right(true, rest.len() as u64);
        let is_short = right == Codes::of(GUESTMEM_E_SHORT_READ);
        let moved = if right.is_ok() {
            len as usize
        } else if is_short {
            rest.len()
        } else {
            0
        };
        if moved > 0 && is_ambiguous(&target.map.as_ref().expect("a memory").pieces(addr, len)) {
            return;
        }
        let fd = if transfer.has_file { file.fd() } else { -1 };
        let completed = Some(if is_short { moved as u64 } else { 0 });
        let (mem, asker) = (target.handle, &mut self.asker);
        // SAFETY: a memory, or what the library can tell is none.
        unsafe {
            match is_at {
                true => asker.ask_moving(
                    "read_to_memory_at",
                    transfer.range(),
                    right,
                    completed,
                    || guestmem_read_to_memory_at(mem, addr, fd, position, len),
                ),
                false => {
                    asker.ask_moving("read_to_memory", transfer.range(), right, completed, || {
                        guestmem_read_to_memory(mem, addr, fd, len)
                    })
                }
            };
        }
        assert_eq!(file.position(), if is_at { 3 } else { position + moved as u64 });
        assert!(file.bytes() == bytes, "the file was written to");
        self.wrote(
            target.map(),
            addr,
            len,
            Some(&rest[..moved]).filter(|_| target.index.is_some()),
        );
    }

    fn write_file(&mut self, transfer: &Transfer, file: &mut Scratch) {
        let Transfer { ref target, addr, len, is_at, position, .. } = *transfer;
        let mut bytes = file.bytes();
        let right = transfer.right(false, u64::MAX);
        let fd = if transfer.has_file { file.fd() } else { -1 };
        let (mem, asker) = (target.handle, &mut self.asker);
        // SAFETY: a memory, or what the library can tell is none.
        let is_ok = unsafe {
            match is_at {
                true => asker.ask("write_from_memory_at", transfer.range(), right, || {
                    guestmem_write_from_memory_at(mem, addr, fd, position, len)
                }),
                false => asker.ask("write_from_memory", transfer.range(), right, || {
                    guestmem_write_from_memory(mem, addr, fd, len)
                }),
            }
        };
        let moved = if is_ok { len as usize } else { 0 };
        if moved > 0 {
            let (start, end) = (position as usize, position as usize + moved);
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(&target.map().expect("a memory").read(addr, len));
        }
        assert_eq!(file.position(), if is_at { 3 } else { position + moved as u64 });
        assert!(file.bytes() == bytes, "other bytes were written");
    }
}
