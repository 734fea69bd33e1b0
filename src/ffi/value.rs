// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 6 Access: values
//!
//! Values of 8, 16, 32 and 64 bits in host byte order, each moved by one access. Region-level: a
//! value that straddles two regions is an error. These are written out for each width because the
//! header generator does not look into macros.

use super::memory::guestmem;
use super::status::GUESTMEM_OK;
use super::{call, memory, required, set};
use crate::error::{Error, Result};
use crate::memory::GuestMemory;
use crate::volatile::{LoadOrder, StoreOrder, Word};
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

// What the functions above share, for any width. A good access takes the first way, on which
// nothing can fail or panic; everything else is sorted out by `call`.

#[inline(always)]
unsafe fn read<W: Word + Default>(mem: *const guestmem, addr: u64, out: *mut W) -> c_int {
    // SAFETY: the map tells that the bytes are there; `out` can be written unless NULL.
    unsafe {
        if let Some(host) = flat_readable::<W>(mem, addr)
            && !out.is_null()
        {
            out.write(W::load(host));
            return GUESTMEM_OK;
        }
        output(mem, addr, out, move |mem| mem.load(addr))
    }
}

#[inline(always)]
unsafe fn write<W: Word>(mem: *const guestmem, addr: u64, value: W) -> c_int {
    // SAFETY: the map tells that the bytes are there.
    unsafe {
        if let Some(host) = flat_writable::<W>(mem, addr) {
            W::store(host, value);
            return GUESTMEM_OK;
        }
    }
    // SAFETY: the caller keeps to the manual for its handle.
    call(about::<W>(addr), move || unsafe { memory(mem)? }.store(addr, value))
}

#[inline(always)]
unsafe fn read_volatile<W: Word + Default>(mem: *const guestmem, addr: u64, out: *mut W) -> c_int {
    // SAFETY: as in `read`.
    unsafe {
        if let Some(host) = flat_readable::<W>(mem, addr)
            && host.is_aligned()
            && !out.is_null()
        {
            out.write(W::load(host));
            return GUESTMEM_OK;
        }
        output(mem, addr, out, move |mem| mem.load_volatile(addr))
    }
}

#[inline(always)]
unsafe fn write_volatile<W: Word>(mem: *const guestmem, addr: u64, value: W) -> c_int {
    // SAFETY: as in `write`.
    unsafe {
        if let Some(host) = flat_writable::<W>(mem, addr)
            && host.is_aligned()
        {
            W::store(host, value);
            return GUESTMEM_OK;
        }
    }
    // SAFETY: the caller keeps to the manual for its handle.
    call(about::<W>(addr), move || unsafe { memory(mem)? }.store_volatile(addr, value))
}

#[inline(always)]
unsafe fn load<W: Word + Default>(
    mem: *const guestmem,
    addr: u64,
    order: u32,
    out: *mut W,
) -> c_int {
    // SAFETY: as in `read`.
    unsafe {
        if let Some(host) = flat_readable::<W>(mem, addr)
            && let Some(order) = load_order(order)
            && host.is_aligned()
            && !out.is_null()
        {
            out.write(W::load_ordered(host, order));
            return GUESTMEM_OK;
        }
        output(mem, addr, out, move |mem| {
            mem.load_ordered(addr, load_order(order).ok_or(BAD_ORDER)?)
        })
    }
}

#[inline(always)]
unsafe fn store<W: Word>(mem: *const guestmem, addr: u64, value: W, order: u32) -> c_int {
    // SAFETY: as in `write`.
    unsafe {
        if let Some(host) = flat_writable::<W>(mem, addr)
            && let Some(order) = store_order(order)
            && host.is_aligned()
        {
            W::store_ordered(host, value, order);
            return GUESTMEM_OK;
        }
    }
    call(about::<W>(addr), move || {
        // SAFETY: the caller keeps to the manual for its handle.
        let mem = unsafe { memory(mem)? };
        mem.store_ordered(addr, value, store_order(order).ok_or(BAD_ORDER)?)
    })
}

#[inline(always)]
unsafe fn compare_exchange<W: Word>(
    mem: *const guestmem,
    addr: u64,
    expected: *mut W,
    desired: W,
    order: u32,
    exchanged: *mut bool,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(exchanged, false);
        call(about::<W>(addr), move || {
            let mem = memory(mem)?;
            required(expected)?;
            let order = any_order(order).ok_or(BAD_ORDER)?;
            match mem.compare_exchange(addr, expected.read(), desired, order)? {
                Ok(_) => set(exchanged, true),
                Err(actual) => expected.write(actual),
            }
            Ok(())
        })
    }
}

/// The whole way of an access that gives a value.
unsafe fn output<W: Word + Default>(
    mem: *const guestmem,
    addr: u64,
    out: *mut W,
    access: impl FnOnce(&GuestMemory) -> Result<W>,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(out, W::default());
        call(about::<W>(addr), move || {
            let mem = memory(mem)?;
            required(out)?;
            out.write(access(mem)?);
            Ok(())
        })
    }
}

#[inline(always)]
unsafe fn flat_readable<W: Word>(mem: *const guestmem, addr: u64) -> Option<*mut W> {
    // SAFETY: the caller keeps to the manual for its handle.
    let mem = unsafe { memory(mem).ok()? };
    Some(mem.table().flat_readable(addr, size_of::<W>() as u64)?.cast())
}

#[inline(always)]
unsafe fn flat_writable<W: Word>(mem: *const guestmem, addr: u64) -> Option<*mut W> {
    // SAFETY: the caller keeps to the manual for its handle.
    let mem = unsafe { memory(mem).ok()? };
    Some(mem.table().flat_writable(addr, size_of::<W>() as u64)?.cast())
}

fn about<W>(addr: u64) -> Option<(u64, u64)> {
    Some((addr, size_of::<W>() as u64))
}

const BAD_ORDER: Error = Error::InvalidArgument("the access cannot have that memory order");

fn load_order(order: u32) -> Option<LoadOrder> {
    match order {
        GUESTMEM_RELAXED => Some(LoadOrder::Relaxed),
        GUESTMEM_ACQUIRE => Some(LoadOrder::Acquire),
        GUESTMEM_SEQ_CST => Some(LoadOrder::SeqCst),
        _ => None,
    }
}

fn store_order(order: u32) -> Option<StoreOrder> {
    match order {
        GUESTMEM_RELAXED => Some(StoreOrder::Relaxed),
        GUESTMEM_RELEASE => Some(StoreOrder::Release),
        GUESTMEM_SEQ_CST => Some(StoreOrder::SeqCst),
        _ => None,
    }
}

fn any_order(order: u32) -> Option<Ordering> {
    match order {
        GUESTMEM_RELAXED => Some(Ordering::Relaxed),
        GUESTMEM_ACQUIRE => Some(Ordering::Acquire),
        GUESTMEM_RELEASE => Some(Ordering::Release),
        GUESTMEM_ACQ_REL => Some(Ordering::AcqRel),
        GUESTMEM_SEQ_CST => Some(Ordering::SeqCst),
        _ => None,
    }
}
