// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 6 Access: values
//!
//! Values of 8, 16, 32 and 64 bits in host byte order, each moved by one access. Region-level: a
//! value that straddles two regions is an error.
// Written out for each width, because the header generator does not look into macros, and as short
// as can be: rustfmt leaves this file alone. What each family does stands at its first function.

// SAFETY, for every function here: the pointers go on as they came, and the caller keeps to the
// manual for them.
#![allow(unsafe_op_in_unsafe_fn)]

use crate::access::value::{Load, Read, Store, Write};
use crate::access::volatile::{LoadOrder, StoreOrder};
use crate::ffi::any_width::{compare_exchange, get, put};
use crate::ffi::memory::guestmem;
use std::ffi::c_int;
use std::sync::atomic::Ordering;

/// As memory_order_relaxed: no ordering, not torn.
pub const GUESTMEM_RELAXED: u32 = 0;
/// As memory_order_acquire: what follows is not moved before the load.
pub const GUESTMEM_ACQUIRE: u32 = 2;
/// As memory_order_release: what precedes is not moved behind the store.
pub const GUESTMEM_RELEASE: u32 = 3;
/// As memory_order_acq_rel: both, for guestmem_compare_exchange_u8() and its like.
pub const GUESTMEM_ACQ_REL: u32 = 4;
/// As memory_order_seq_cst: both, and one order of all such accesses for all threads.
pub const GUESTMEM_SEQ_CST: u32 = 5;

/// Reads a value at any alignment. Any thread.
///
/// @param mem   a memory.
/// @param addr  guest address.
/// @param out   the value.
/// @retval GUESTMEM_OK                  *out is the value.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
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

/// Writes a value at any alignment. Any thread.
///
/// @param mem    a memory.
/// @param addr   guest address.
/// @param value  the value.
/// @retval GUESTMEM_OK                 the value is in guest memory.
/// @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region it starts in.
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

/// Reads a naturally aligned value by one access that is not torn. Any thread.
///
/// @param mem   a memory.
/// @param addr  guest address, a multiple of the value's size.
/// @param out   the value.
/// @retval GUESTMEM_OK                  *out is the value.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
/// @retval GUESTMEM_E_MISALIGNED        addr is not a multiple of the value's size.
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

/// Writes a naturally aligned value by one access that is not torn. Any thread.
///
/// @param mem    a memory.
/// @param addr   guest address, a multiple of the value's size.
/// @param value  the value.
/// @retval GUESTMEM_OK                 the value is in guest memory.
/// @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the value does not end in the region it starts in.
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

/// Reads a naturally aligned value atomically: a ring index that the guest publishes. Any thread.
///
/// @param mem    a memory.
/// @param addr   guest address, a multiple of the value's size.
/// @param order  GUESTMEM_RELAXED, GUESTMEM_ACQUIRE or GUESTMEM_SEQ_CST.
/// @param out    the value.
/// @retval GUESTMEM_OK                  *out is the value.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL, or the order is none that a load has.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
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

/// Writes a naturally aligned value atomically: a ring index that the guest waits for. Any thread.
///
/// @param mem    a memory.
/// @param addr   guest address, a multiple of the value's size.
/// @param value  the value.
/// @param order  GUESTMEM_RELAXED, GUESTMEM_RELEASE or GUESTMEM_SEQ_CST.
/// @retval GUESTMEM_OK                  the value is in guest memory.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  the order is none that a store has.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
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

/// Replaces a naturally aligned value atomically, if it is what is expected. Any thread.
///
/// @param mem        a memory.
/// @param addr       guest address, a multiple of the value's size.
/// @param expected   what the value is to be; when it is something else, set to that. Left as it is
///   on failure.
/// @param desired    the new value.
/// @param order      one of the GUESTMEM_* orders, for the exchange. When the value is not what is
///   expected its load is ordered as far as a load can be.
/// @param exchanged  true if the value was replaced. May be NULL.
/// @retval GUESTMEM_OK                  compared; *exchanged tells whether it was replaced.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  expected is NULL, or order is none of the orders.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the value does not end in the region it starts in.
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
