// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 6: values of each width.

use super::input::Record;
use super::model::Map;
use super::widths::Width;
use super::world::World;
use guestmem::ffi::status::*;
use guestmem::ffi::value::*;
use std::ptr::null_mut;

/// The orders, and what are none.
const ORDERS: [u32; 8] = [
    GUESTMEM_RELAXED,
    GUESTMEM_ACQUIRE,
    GUESTMEM_RELEASE,
    GUESTMEM_ACQ_REL,
    GUESTMEM_SEQ_CST,
    1,
    6,
    u32::MAX,
];

pub fn order_of(record: &Record) -> u32 {
    ORDERS[record.0[5] as usize % 8]
}

pub fn is_load_order(order: u32) -> bool {
    [GUESTMEM_RELAXED, GUESTMEM_ACQUIRE, GUESTMEM_SEQ_CST].contains(&order)
}

pub fn is_store_order(order: u32) -> bool {
    [GUESTMEM_RELAXED, GUESTMEM_RELEASE, GUESTMEM_SEQ_CST].contains(&order)
}

pub fn value_at<T: Width>(map: &Map, addr: u64) -> T {
    let mut word = [0; 8];
    word[..T::SIZE as usize].copy_from_slice(&map.read(addr, T::SIZE));
    T::cut(u64::from_le_bytes(word))
}

pub fn bytes_of<T: Width>(value: T) -> Vec<u8> {
    value.into().to_le_bytes()[..T::SIZE as usize].to_vec()
}

impl World<'_> {
    pub fn value(&mut self, record: &Record) {
        match record.choice() % 4 {
            0 => self.value_of::<u8>(record),
            1 => self.value_of::<u16>(record),
            2 => self.value_of::<u32>(record),
            _ => self.value_of::<u64>(record),
        }
    }

    fn value_of<T: Width>(&mut self, record: &Record) {
        match record.choice() / 4 % 8 {
            0 | 1 => self.read_value::<T>(record),
            2..=4 => self.write_value::<T>(record),
            _ => self.exchange::<T>(record),
        }
    }

    fn read_value<T: Width>(&mut self, record: &Record) {
        let target = self.target(record);
        let (mem, addr, order) = (target.handle, record.address(target.map()), order_of(record));
        let kind = record.0[4] % 3;
        let mut value = T::cut(77);
        let out = if record.is_null(0) { null_mut() } else { &raw mut value };
        let is_bad = out.is_null() || (kind == 2 && !is_load_order(order));
        let right = target.right(is_bad, |map| match kind {
            0 => map.region_code(addr, T::SIZE, false, GUESTMEM_E_INVALID_RANGE),
            _ => map.aligned_code(addr, T::SIZE, T::SIZE, false),
        });
        let (asker, range) = (&mut self.asker, Some((addr, T::SIZE)));
        // SAFETY: an output that is NULL or can be written.
        let is_ok = unsafe {
            match kind {
                0 => asker.ask("read_uW", range, right, || T::READ(mem, addr, out)),
                1 => {
                    asker.ask("read_volatile_uW", range, right, || T::READ_VOLATILE(mem, addr, out))
                }
                _ => asker.ask("load_uW", range, right, || T::LOAD(mem, addr, order, out)),
            }
        };
        let right = if is_ok { value_at(target.map().expect("a memory"), addr) } else { T::cut(0) };
        assert!(value == if out.is_null() { T::cut(77) } else { right }, "another value");
    }

    fn write_value<T: Width>(&mut self, record: &Record) {
        let target = self.target(record);
        let (mem, addr, order) = (target.handle, record.address(target.map()), order_of(record));
        let (kind, value) = (record.0[4] % 3, T::cut(record.value()));
        let right = target.right(kind == 2 && !is_store_order(order), |map| match kind {
            0 => map.region_code(addr, T::SIZE, true, GUESTMEM_E_INVALID_RANGE),
            _ => map.aligned_code(addr, T::SIZE, T::SIZE, true),
        });
        let (asker, range) = (&mut self.asker, Some((addr, T::SIZE)));
        // SAFETY: a memory, or what the library can tell is none.
        let is_ok = unsafe {
            match kind {
                0 => asker.ask("write_uW", range, right, || T::WRITE(mem, addr, value)),
                1 => asker
                    .ask("write_volatile_uW", range, right, || T::WRITE_VOLATILE(mem, addr, value)),
                _ => asker.ask("store_uW", range, right, || T::STORE(mem, addr, value, order)),
            }
        };
        self.wrote(target.map(), addr, T::SIZE, is_ok.then_some(&bytes_of(value)));
    }

    fn exchange<T: Width>(&mut self, record: &Record) {
        let target = self.target(record);
        let (addr, order, desired) =
            (record.address(target.map()), order_of(record), T::cut(record.value()));
        let (no_expected, no_exchanged) = (record.is_null(0), record.is_null(1));
        let is_bad =
            no_expected || ORDERS.iter().position(|&known| known == order).is_none_or(|at| at >= 5);
        let right = target.right(is_bad, |map| map.aligned_code(addr, T::SIZE, T::SIZE, true));
        let found = target.map().filter(|_| right.is_ok()).map(|map| value_at::<T>(map, addr));
        // What is there, most of the time.
        let before = match (found, record.0[4]) {
            (Some(found), 0..160) => found,
            (Some(found), 160..200) => T::cut(found.into() ^ 1 << (record.0[4] % 8)),
            _ => T::cut(!record.value()),
        };
        let (mut expected, mut exchanged) = (before, true);
        let expected_at = if no_expected { null_mut() } else { &raw mut expected };
        let exchanged_at = if no_exchanged { null_mut() } else { &raw mut exchanged };
        // SAFETY: pointers that are NULL or can be read and written.
        self.asker.ask("compare_exchange_uW", Some((addr, T::SIZE)), right, || unsafe {
            T::EXCHANGE(target.handle, addr, expected_at, desired, order, exchanged_at)
        });
        let is_same = found.is_some_and(|found| found == before);
        assert_eq!(exchanged, no_exchanged || is_same);
        assert!(expected == found.unwrap_or(before), "another value is expected");
        self.wrote(target.map(), addr, T::SIZE, is_same.then_some(&bytes_of(desired)));
    }
}
