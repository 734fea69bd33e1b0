// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 6 Access: values
//!
//! Values of 8, 16, 32 and 64 bits in host byte order, each moved by one access. Region-level: a
//! value that straddles two regions is an error.
// Written out for each width, because the header generator does not look into macros.

use crate::ffi::any_width::{
    compare_exchange, load, read, read_volatile, store, write, write_volatile,
};
use crate::ffi::memory::guestmem;
use std::ffi::c_int;

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
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read(mem, addr, out) }
}

/// @copydoc guestmem_read_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_u16(
    mem: *const guestmem,
    addr: u64,
    out: *mut u16,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read(mem, addr, out) }
}

/// @copydoc guestmem_read_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_u32(
    mem: *const guestmem,
    addr: u64,
    out: *mut u32,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read(mem, addr, out) }
}

/// @copydoc guestmem_read_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_u64(
    mem: *const guestmem,
    addr: u64,
    out: *mut u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read(mem, addr, out) }
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
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { write(mem, addr, value) }
}

/// @copydoc guestmem_write_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_u16(mem: *const guestmem, addr: u64, value: u16) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { write(mem, addr, value) }
}

/// @copydoc guestmem_write_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_u32(mem: *const guestmem, addr: u64, value: u32) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { write(mem, addr, value) }
}

/// @copydoc guestmem_write_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_u64(mem: *const guestmem, addr: u64, value: u64) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { write(mem, addr, value) }
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
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_volatile_u8(
    mem: *const guestmem,
    addr: u64,
    out: *mut u8,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read_volatile(mem, addr, out) }
}

/// @copydoc guestmem_read_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_volatile_u16(
    mem: *const guestmem,
    addr: u64,
    out: *mut u16,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read_volatile(mem, addr, out) }
}

/// @copydoc guestmem_read_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_volatile_u32(
    mem: *const guestmem,
    addr: u64,
    out: *mut u32,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read_volatile(mem, addr, out) }
}

/// @copydoc guestmem_read_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_volatile_u64(
    mem: *const guestmem,
    addr: u64,
    out: *mut u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read_volatile(mem, addr, out) }
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
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_volatile_u8(
    mem: *const guestmem,
    addr: u64,
    value: u8,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { write_volatile(mem, addr, value) }
}

/// @copydoc guestmem_write_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_volatile_u16(
    mem: *const guestmem,
    addr: u64,
    value: u16,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { write_volatile(mem, addr, value) }
}

/// @copydoc guestmem_write_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_volatile_u32(
    mem: *const guestmem,
    addr: u64,
    value: u32,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { write_volatile(mem, addr, value) }
}

/// @copydoc guestmem_write_volatile_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_volatile_u64(
    mem: *const guestmem,
    addr: u64,
    value: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { write_volatile(mem, addr, value) }
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
pub unsafe extern "C" fn guestmem_load_u8(
    mem: *const guestmem,
    addr: u64,
    order: u32,
    out: *mut u8,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { load(mem, addr, order, out) }
}

/// @copydoc guestmem_load_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_load_u16(
    mem: *const guestmem,
    addr: u64,
    order: u32,
    out: *mut u16,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { load(mem, addr, order, out) }
}

/// @copydoc guestmem_load_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_load_u32(
    mem: *const guestmem,
    addr: u64,
    order: u32,
    out: *mut u32,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { load(mem, addr, order, out) }
}

/// @copydoc guestmem_load_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_load_u64(
    mem: *const guestmem,
    addr: u64,
    order: u32,
    out: *mut u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { load(mem, addr, order, out) }
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
pub unsafe extern "C" fn guestmem_store_u8(
    mem: *const guestmem,
    addr: u64,
    value: u8,
    order: u32,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { store(mem, addr, value, order) }
}

/// @copydoc guestmem_store_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_store_u16(
    mem: *const guestmem,
    addr: u64,
    value: u16,
    order: u32,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { store(mem, addr, value, order) }
}

/// @copydoc guestmem_store_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_store_u32(
    mem: *const guestmem,
    addr: u64,
    value: u32,
    order: u32,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { store(mem, addr, value, order) }
}

/// @copydoc guestmem_store_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_store_u64(
    mem: *const guestmem,
    addr: u64,
    value: u64,
    order: u32,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { store(mem, addr, value, order) }
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
    mem: *const guestmem,
    addr: u64,
    expected: *mut u8,
    desired: u8,
    order: u32,
    exchanged: *mut bool,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { compare_exchange(mem, addr, expected, desired, order, exchanged) }
}

/// @copydoc guestmem_compare_exchange_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_compare_exchange_u16(
    mem: *const guestmem,
    addr: u64,
    expected: *mut u16,
    desired: u16,
    order: u32,
    exchanged: *mut bool,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { compare_exchange(mem, addr, expected, desired, order, exchanged) }
}

/// @copydoc guestmem_compare_exchange_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_compare_exchange_u32(
    mem: *const guestmem,
    addr: u64,
    expected: *mut u32,
    desired: u32,
    order: u32,
    exchanged: *mut bool,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { compare_exchange(mem, addr, expected, desired, order, exchanged) }
}

/// @copydoc guestmem_compare_exchange_u8
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_compare_exchange_u64(
    mem: *const guestmem,
    addr: u64,
    expected: *mut u64,
    desired: u64,
    order: u32,
    exchanged: *mut bool,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { compare_exchange(mem, addr, expected, desired, order, exchanged) }
}
