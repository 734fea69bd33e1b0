// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the functions of `value.rs` do, for any width. A good access takes the first way, on which
//! nothing can fail or panic; everything else is sorted out by `call_in_memory`.

use crate::access::volatile::{LoadOrder, StoreOrder, Word};
use crate::error::{Error, Result};
use crate::ffi::memory::guestmem;
use crate::ffi::status::GUESTMEM_OK;
use crate::ffi::value::{
    GUESTMEM_ACQ_REL, GUESTMEM_ACQUIRE, GUESTMEM_RELAXED, GUESTMEM_RELEASE, GUESTMEM_SEQ_CST,
};
use crate::ffi::{call_in_memory, host_to_read, host_to_write, memory, required, set};
use crate::memory::guest::GuestMemory;
use std::ffi::c_int;
use std::sync::atomic::Ordering;

#[inline(always)]
pub(super) unsafe fn read<W: Word + Default>(
    mem: *const guestmem,
    addr: u64,
    out: *mut W,
) -> c_int {
    // SAFETY: the map tells that the bytes are there; `out` can be written unless NULL.
    unsafe {
        if let Some(host) = word_to_read::<W>(mem, addr) {
            if !out.is_null() {
                out.write(W::load(host));
                return GUESTMEM_OK;
            }
        }
        output(mem, addr, out, move |mem| mem.load(addr))
    }
}

#[inline(always)]
pub(super) unsafe fn write<W: Word>(mem: *const guestmem, addr: u64, value: W) -> c_int {
    // SAFETY: the map tells that the bytes are there.
    unsafe {
        if let Some(host) = word_to_write::<W>(mem, addr) {
            W::store(host, value);
            return GUESTMEM_OK;
        }
    }
    // SAFETY: the caller keeps to the manual for its handle.
    call_in_memory(about::<W>(addr), move || unsafe { memory(mem)? }.store(addr, value))
}

#[inline(always)]
pub(super) unsafe fn read_volatile<W: Word + Default>(
    mem: *const guestmem,
    addr: u64,
    out: *mut W,
) -> c_int {
    // SAFETY: as in `read`.
    unsafe {
        if let Some(host) = word_to_read::<W>(mem, addr) {
            if host.is_aligned() && !out.is_null() {
                out.write(W::load(host));
                return GUESTMEM_OK;
            }
        }
        output(mem, addr, out, move |mem| mem.load_volatile(addr))
    }
}

#[inline(always)]
pub(super) unsafe fn write_volatile<W: Word>(mem: *const guestmem, addr: u64, value: W) -> c_int {
    // SAFETY: as in `write`.
    unsafe {
        if let Some(host) = word_to_write::<W>(mem, addr) {
            if host.is_aligned() {
                W::store(host, value);
                return GUESTMEM_OK;
            }
        }
    }
    // SAFETY: the caller keeps to the manual for its handle.
    call_in_memory(about::<W>(addr), move || unsafe { memory(mem)? }.store_volatile(addr, value))
}

#[inline(always)]
pub(super) unsafe fn load<W: Word + Default>(
    mem: *const guestmem,
    addr: u64,
    order: u32,
    out: *mut W,
) -> c_int {
    // SAFETY: as in `read`.
    unsafe {
        if let Some(host) = word_to_read::<W>(mem, addr) {
            if host.is_aligned() && !out.is_null() {
                if let Some(order) = load_order(order) {
                    out.write(W::load_ordered(host, order));
                    return GUESTMEM_OK;
                }
            }
        }
        output(mem, addr, out, move |mem| {
            mem.load_ordered(addr, load_order(order).ok_or(BAD_ORDER)?)
        })
    }
}

#[inline(always)]
pub(super) unsafe fn store<W: Word>(
    mem: *const guestmem,
    addr: u64,
    value: W,
    order: u32,
) -> c_int {
    // SAFETY: as in `write`.
    unsafe {
        if let Some(host) = word_to_write::<W>(mem, addr) {
            if host.is_aligned() {
                if let Some(order) = store_order(order) {
                    W::store_ordered(host, value, order);
                    return GUESTMEM_OK;
                }
            }
        }
    }
    call_in_memory(about::<W>(addr), move || {
        // SAFETY: the caller keeps to the manual for its handle.
        let mem = unsafe { memory(mem)? };
        mem.store_ordered(addr, value, store_order(order).ok_or(BAD_ORDER)?)
    })
}

#[inline(always)]
pub(super) unsafe fn compare_exchange<W: Word>(
    mem: *const guestmem,
    addr: u64,
    expected: *mut W,
    desired: W,
    order: u32,
    exchanged: *mut bool,
) -> c_int {
    // SAFETY: as in `write`; `expected` can be read and written unless NULL.
    unsafe {
        if let Some(host) = word_to_write::<W>(mem, addr) {
            if host.is_aligned() && !expected.is_null() {
                if let Some(order) = any_order(order) {
                    let outcome = W::compare_exchange(host, expected.read(), desired, order);
                    tell_outcome(outcome, expected, exchanged);
                    return GUESTMEM_OK;
                }
            }
        }
        set(exchanged, false);
        call_in_memory(about::<W>(addr), move || {
            let mem = memory(mem)?;
            required(expected)?;
            let order = any_order(order).ok_or(BAD_ORDER)?;
            let outcome = mem.compare_exchange(addr, expected.read(), desired, order)?;
            tell_outcome(outcome, expected, exchanged);
            Ok(())
        })
    }
}

/// # Safety
/// `expected` can be written, `exchanged` too unless NULL.
#[inline(always)]
unsafe fn tell_outcome<W>(
    outcome: std::result::Result<W, W>,
    expected: *mut W,
    exchanged: *mut bool,
) {
    // SAFETY: by contract.
    unsafe {
        set(exchanged, outcome.is_ok());
        if let Err(actual) = outcome {
            expected.write(actual);
        }
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
        call_in_memory(about::<W>(addr), move || {
            let mem = memory(mem)?;
            required(out)?;
            out.write(access(mem)?);
            Ok(())
        })
    }
}

#[inline(always)]
unsafe fn word_to_read<W: Word>(mem: *const guestmem, addr: u64) -> Option<*mut W> {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { host_to_read(mem, addr, size_of::<W>() as u64) }.map(|host| host.cast())
}

#[inline(always)]
unsafe fn word_to_write<W: Word>(mem: *const guestmem, addr: u64) -> Option<*mut W> {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { host_to_write(mem, addr, size_of::<W>() as u64) }.map(|host| host.cast())
}

fn about<W>(addr: u64) -> Option<(u64, u64)> {
    Some((addr, size_of::<W>() as u64))
}

const BAD_ORDER: Error = Error::InvalidArgument("the access cannot have that memory order");

#[inline(always)]
pub(super) fn load_order(order: u32) -> Option<LoadOrder> {
    match order {
        GUESTMEM_RELAXED => Some(LoadOrder::Relaxed),
        GUESTMEM_ACQUIRE => Some(LoadOrder::Acquire),
        GUESTMEM_SEQ_CST => Some(LoadOrder::SeqCst),
        _ => None,
    }
}

#[inline(always)]
pub(super) fn store_order(order: u32) -> Option<StoreOrder> {
    match order {
        GUESTMEM_RELAXED => Some(StoreOrder::Relaxed),
        GUESTMEM_RELEASE => Some(StoreOrder::Release),
        GUESTMEM_SEQ_CST => Some(StoreOrder::SeqCst),
        _ => None,
    }
}

#[inline(always)]
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
