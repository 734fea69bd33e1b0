// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 6 Access: values
//!
//! Values of 8, 16, 32 and 64 bits in host byte order. Each call makes one access. The calls are
//! region-level: a value that lies in two regions is an error.
// The functions are written out for each width, because the header generator does not expand macros.
// rustfmt skips this file, so that each takes few lines. The first of a family documents them all.

// SAFETY, for every function here: it passes its pointers on unchanged, and the caller keeps to the
// manual for them.
#![allow(unsafe_op_in_unsafe_fn)]

use crate::access::value::{Load, Read, Store, Write};
use crate::access::volatile::{LoadOrder, StoreOrder};
use crate::ffi::any_width::{compare_exchange, get, put};
use crate::ffi::memory::guestmem;
use std::ffi::c_int;
use std::sync::atomic::Ordering;

/// As memory_order_relaxed: not torn, no ordering.
pub const GUESTMEM_RELAXED: u32 = 0;
/// As memory_order_acquire: later accesses stay behind the load.
pub const GUESTMEM_ACQUIRE: u32 = 2;
/// As memory_order_release: earlier accesses stay before the store.
pub const GUESTMEM_RELEASE: u32 = 3;
/// As memory_order_acq_rel: acquire and release. For guestmem_compare_exchange_*() only.
pub const GUESTMEM_ACQ_REL: u32 = 4;
/// As memory_order_seq_cst: acquire and release, and all threads see these accesses in one order.
pub const GUESTMEM_SEQ_CST: u32 = 5;

/// Reads a value at any alignment.
///
/// @param mem   the memory.
/// @param addr  guest address.
/// @param out   the value.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region in which it starts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_u8(mem: *const guestmem, addr: u64, out: *mut u8) -> c_int {
    get(mem, addr, out, || READ)
}

/// @copydoc guestmem_read_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_u16(mem: *const guestmem, addr: u64, out: *mut u16) -> c_int {
    get(mem, addr, out, || READ)
}

/// @copydoc guestmem_read_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_u32(mem: *const guestmem, addr: u64, out: *mut u32) -> c_int {
    get(mem, addr, out, || READ)
}

/// @copydoc guestmem_read_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_u64(mem: *const guestmem, addr: u64, out: *mut u64) -> c_int {
    get(mem, addr, out, || READ)
}

/// Writes a value at any alignment.
///
/// @param mem    the memory.
/// @param addr   guest address.
/// @param value  the value.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region in which it starts.
/// @retval GUESTMEM_E_READ_ONLY        the region is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_u8(mem: *const guestmem, addr: u64, value: u8) -> c_int {
    put(mem, addr, move || write(value))
}

/// @copydoc guestmem_write_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_u16(mem: *const guestmem, addr: u64, value: u16) -> c_int {
    put(mem, addr, move || write(value))
}

/// @copydoc guestmem_write_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_u32(mem: *const guestmem, addr: u64, value: u32) -> c_int {
    put(mem, addr, move || write(value))
}

/// @copydoc guestmem_write_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_u64(mem: *const guestmem, addr: u64, value: u64) -> c_int {
    put(mem, addr, move || write(value))
}

/// Reads a naturally aligned value, which is not torn.
///
/// @param mem   the memory.
/// @param addr  guest address, a multiple of the value's size.
/// @param out   the value.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region in which it starts.
/// @retval GUESTMEM_E_MISALIGNED       addr is not a multiple of the value's size.
// Alone not inlined, or it would become one function with guestmem_read_u8(), which does the same.
#[inline(never)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_volatile_u8(mem: *const guestmem, addr: u64, out: *mut u8) -> c_int {
    get(mem, addr, out, || READ_ALIGNED)
}

/// @copydoc guestmem_read_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_volatile_u16(mem: *const guestmem, addr: u64, out: *mut u16) -> c_int {
    get(mem, addr, out, || READ_ALIGNED)
}

/// @copydoc guestmem_read_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_volatile_u32(mem: *const guestmem, addr: u64, out: *mut u32) -> c_int {
    get(mem, addr, out, || READ_ALIGNED)
}

/// @copydoc guestmem_read_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_volatile_u64(mem: *const guestmem, addr: u64, out: *mut u64) -> c_int {
    get(mem, addr, out, || READ_ALIGNED)
}

/// Writes a naturally aligned value, which is not torn.
///
/// @param mem    the memory.
/// @param addr   guest address, a multiple of the value's size.
/// @param value  the value.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region in which it starts.
/// @retval GUESTMEM_E_MISALIGNED       addr is not a multiple of the value's size.
/// @retval GUESTMEM_E_READ_ONLY        the region is read-only.
// Alone not inlined, or it would become one function with guestmem_write_u8(), which does the same.
#[inline(never)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_volatile_u8(mem: *const guestmem, addr: u64, value: u8) -> c_int {
    put(mem, addr, move || write_aligned(value))
}

/// @copydoc guestmem_write_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_volatile_u16(mem: *const guestmem, addr: u64, value: u16) -> c_int {
    put(mem, addr, move || write_aligned(value))
}

/// @copydoc guestmem_write_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_volatile_u32(mem: *const guestmem, addr: u64, value: u32) -> c_int {
    put(mem, addr, move || write_aligned(value))
}

/// @copydoc guestmem_write_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_volatile_u64(mem: *const guestmem, addr: u64, value: u64) -> c_int {
    put(mem, addr, move || write_aligned(value))
}

/// Loads a naturally aligned value atomically, such as a ring index that the guest publishes.
///
/// @param mem    the memory.
/// @param addr   guest address, a multiple of the value's size.
/// @param order  GUESTMEM_RELAXED, GUESTMEM_ACQUIRE or GUESTMEM_SEQ_CST.
/// @param out    the value.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: order is not valid for a load.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region in which it starts.
/// @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the value's size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_load_u8(mem: *const guestmem, addr: u64, order: u32, out: *mut u8) -> c_int {
    get(mem, addr, out, move || load(order))
}

/// @copydoc guestmem_load_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_load_u16(mem: *const guestmem, addr: u64, order: u32, out: *mut u16) -> c_int {
    get(mem, addr, out, move || load(order))
}

/// @copydoc guestmem_load_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_load_u32(mem: *const guestmem, addr: u64, order: u32, out: *mut u32) -> c_int {
    get(mem, addr, out, move || load(order))
}

/// @copydoc guestmem_load_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_load_u64(mem: *const guestmem, addr: u64, order: u32, out: *mut u64) -> c_int {
    get(mem, addr, out, move || load(order))
}

/// Stores a naturally aligned value atomically, such as a ring index that the guest waits for.
///
/// @param mem    the memory.
/// @param addr   guest address, a multiple of the value's size.
/// @param value  the value.
/// @param order  GUESTMEM_RELAXED, GUESTMEM_RELEASE or GUESTMEM_SEQ_CST.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: order is not valid for a store.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region in which it starts.
/// @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the value's size.
/// @retval GUESTMEM_E_READ_ONLY         the region is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_store_u8(mem: *const guestmem, addr: u64, value: u8, order: u32) -> c_int {
    put(mem, addr, move || store(value, order))
}

/// @copydoc guestmem_store_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_store_u16(mem: *const guestmem, addr: u64, value: u16, order: u32) -> c_int {
    put(mem, addr, move || store(value, order))
}

/// @copydoc guestmem_store_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_store_u32(mem: *const guestmem, addr: u64, value: u32, order: u32) -> c_int {
    put(mem, addr, move || store(value, order))
}

/// @copydoc guestmem_store_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_store_u64(mem: *const guestmem, addr: u64, value: u64, order: u32) -> c_int {
    put(mem, addr, move || store(value, order))
}

/// Replaces a naturally aligned value atomically if it has the expected value.
///
/// @param mem        the memory.
/// @param addr       guest address, a multiple of the value's size.
/// @param expected   In: the expected value. Out: the actual value if they differ. Unchanged on
///   failure.
/// @param desired    the new value.
/// @param order      any of the orders above. If the values differ, the load has it as far as
///   a load can.
/// @param exchanged  true if the value was replaced. May be NULL.
/// @retval GUESTMEM_OK                  the values were compared; *exchanged tells the result.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region in which it starts.
/// @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the value's size.
/// @retval GUESTMEM_E_READ_ONLY         the region is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_compare_exchange_u8(
    mem: *const guestmem, addr: u64,
    expected: *mut u8, desired: u8, order: u32, exchanged: *mut bool,
) -> c_int {
    compare_exchange(mem, addr, expected, desired, move || any(order), exchanged)
}

/// @copydoc guestmem_compare_exchange_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_compare_exchange_u16(
    mem: *const guestmem, addr: u64,
    expected: *mut u16, desired: u16, order: u32, exchanged: *mut bool,
) -> c_int {
    compare_exchange(mem, addr, expected, desired, move || any(order), exchanged)
}

/// @copydoc guestmem_compare_exchange_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_compare_exchange_u32(
    mem: *const guestmem, addr: u64,
    expected: *mut u32, desired: u32, order: u32, exchanged: *mut bool,
) -> c_int {
    compare_exchange(mem, addr, expected, desired, move || any(order), exchanged)
}

/// @copydoc guestmem_compare_exchange_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_compare_exchange_u64(
    mem: *const guestmem, addr: u64,
    expected: *mut u64, desired: u64, order: u32, exchanged: *mut bool,
) -> c_int {
    compare_exchange(mem, addr, expected, desired, move || any(order), exchanged)
}

/// At any alignment.
pub(super) const READ: Option<Read<false>> = Some(Read);
const READ_ALIGNED: Option<Read<true>> = Some(Read);

/// At any alignment.
#[inline(always)]
pub(super) fn write<W>(value: W) -> Option<Write<W, false>> {
    Some(Write(value))
}

#[inline(always)]
fn write_aligned<W>(value: W) -> Option<Write<W, true>> {
    Some(Write(value))
}

/// None for an order that a load cannot have.
#[inline(always)]
pub(super) fn load(order: u32) -> Option<Load> {
    match order {
        GUESTMEM_RELAXED => Some(Load(LoadOrder::Relaxed)),
        GUESTMEM_ACQUIRE => Some(Load(LoadOrder::Acquire)),
        GUESTMEM_SEQ_CST => Some(Load(LoadOrder::SeqCst)),
        _ => None,
    }
}

/// None for an order that a store cannot have.
#[inline(always)]
pub(super) fn store<W>(value: W, order: u32) -> Option<Store<W>> {
    match order {
        GUESTMEM_RELAXED => Some(Store(value, StoreOrder::Relaxed)),
        GUESTMEM_RELEASE => Some(Store(value, StoreOrder::Release)),
        GUESTMEM_SEQ_CST => Some(Store(value, StoreOrder::SeqCst)),
        _ => None,
    }
}

/// None for what is no order.
#[inline(always)]
fn any(order: u32) -> Option<Ordering> {
    match order {
        GUESTMEM_RELAXED => Some(Ordering::Relaxed),
        GUESTMEM_ACQUIRE => Some(Ordering::Acquire),
        GUESTMEM_RELEASE => Some(Ordering::Release),
        GUESTMEM_ACQ_REL => Some(Ordering::AcqRel),
        GUESTMEM_SEQ_CST => Some(Ordering::SeqCst),
        _ => None,
    }
}
