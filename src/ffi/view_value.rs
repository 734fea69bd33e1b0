// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 7 The inline path: exported twins for values
//!
//! Each the same as the inline function without `_fn`.
// Written out for each width, because the header generator does not look into macros, and as short
// as can be: rustfmt leaves this file alone. What each family does stands at its first function.

// SAFETY, for every function here: the pointers go on as they came, and the caller keeps to the
// manual for them.
#![allow(unsafe_op_in_unsafe_fn)]

use crate::ffi::any_width::{by_view, give, in_slice};
use crate::ffi::slice::guestmem_slice;
use crate::ffi::value::{READ, load, store, write};
use crate::ffi::view::guestmem_view;

/// The exported twin of guestmem_view_read_u8().
///
/// @param view  a view.
/// @param addr  guest address.
/// @param out   the value; 0 where false is returned.
/// @return False when the value is not within one region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_read_u8_fn(view: *const guestmem_view, addr: u64, out: *mut u8) -> bool {
    give(out, by_view(view, addr, || READ))
}

/// @copydoc guestmem_view_read_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_read_u16_fn(view: *const guestmem_view, addr: u64, out: *mut u16) -> bool {
    give(out, by_view(view, addr, || READ))
}

/// @copydoc guestmem_view_read_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_read_u32_fn(view: *const guestmem_view, addr: u64, out: *mut u32) -> bool {
    give(out, by_view(view, addr, || READ))
}

/// @copydoc guestmem_view_read_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_read_u64_fn(view: *const guestmem_view, addr: u64, out: *mut u64) -> bool {
    give(out, by_view(view, addr, || READ))
}

/// The exported twin of guestmem_view_write_u8().
///
/// @param view   a view.
/// @param addr   guest address.
/// @param value  the value.
/// @return False when the value is not within one region, or that is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_write_u8_fn(view: *const guestmem_view, addr: u64, value: u8) -> bool {
    by_view(view, addr, move || write(value)).is_some()
}

/// @copydoc guestmem_view_write_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_write_u16_fn(view: *const guestmem_view, addr: u64, value: u16) -> bool {
    by_view(view, addr, move || write(value)).is_some()
}

/// @copydoc guestmem_view_write_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_write_u32_fn(view: *const guestmem_view, addr: u64, value: u32) -> bool {
    by_view(view, addr, move || write(value)).is_some()
}

/// @copydoc guestmem_view_write_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_write_u64_fn(view: *const guestmem_view, addr: u64, value: u64) -> bool {
    by_view(view, addr, move || write(value)).is_some()
}

/// The exported twin of guestmem_view_load_u8().
///
/// @param view   a view.
/// @param addr   guest address, a multiple of the value's size.
/// @param order  GUESTMEM_RELAXED, _ACQUIRE or _SEQ_CST.
/// @param out    the value; 0 where false is returned.
/// @return False when the value is not within one region or not aligned, or for another order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_load_u8_fn(
    view: *const guestmem_view, addr: u64, order: u32, out: *mut u8,
) -> bool {
    give(out, by_view(view, addr, move || load(order)))
}

/// @copydoc guestmem_view_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_load_u16_fn(
    view: *const guestmem_view, addr: u64, order: u32, out: *mut u16,
) -> bool {
    give(out, by_view(view, addr, move || load(order)))
}

/// @copydoc guestmem_view_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_load_u32_fn(
    view: *const guestmem_view, addr: u64, order: u32, out: *mut u32,
) -> bool {
    give(out, by_view(view, addr, move || load(order)))
}

/// @copydoc guestmem_view_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_load_u64_fn(
    view: *const guestmem_view, addr: u64, order: u32, out: *mut u64,
) -> bool {
    give(out, by_view(view, addr, move || load(order)))
}

/// The exported twin of guestmem_view_store_u8().
///
/// @param view   a view.
/// @param addr   guest address, a multiple of the value's size.
/// @param value  the value.
/// @param order  GUESTMEM_RELAXED, _RELEASE or _SEQ_CST.
/// @return False when the value is not within one region or not aligned, when the region is
///   read-only, or for another order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_store_u8_fn(
    view: *const guestmem_view, addr: u64, value: u8, order: u32,
) -> bool {
    by_view(view, addr, move || store(value, order)).is_some()
}

/// @copydoc guestmem_view_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_store_u16_fn(
    view: *const guestmem_view, addr: u64, value: u16, order: u32,
) -> bool {
    by_view(view, addr, move || store(value, order)).is_some()
}

/// @copydoc guestmem_view_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_store_u32_fn(
    view: *const guestmem_view, addr: u64, value: u32, order: u32,
) -> bool {
    by_view(view, addr, move || store(value, order)).is_some()
}

/// @copydoc guestmem_view_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_store_u64_fn(
    view: *const guestmem_view, addr: u64, value: u64, order: u32,
) -> bool {
    by_view(view, addr, move || store(value, order)).is_some()
}

/// The exported twin of guestmem_slice_load_u8().
///
/// @param s       a live slice.
/// @param offset  bytes from its start.
/// @param order   GUESTMEM_RELAXED, _ACQUIRE or _SEQ_CST.
/// @param out     the value; 0 where false is returned.
/// @return False when the value is not within the slice or not aligned, or for another order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_load_u8_fn(s: guestmem_slice, offset: usize, order: u32, out: *mut u8) -> bool {
    give(out, in_slice(s, offset, move || load(order)))
}

/// @copydoc guestmem_slice_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_load_u16_fn(
    s: guestmem_slice, offset: usize, order: u32, out: *mut u16,
) -> bool {
    give(out, in_slice(s, offset, move || load(order)))
}

/// @copydoc guestmem_slice_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_load_u32_fn(
    s: guestmem_slice, offset: usize, order: u32, out: *mut u32,
) -> bool {
    give(out, in_slice(s, offset, move || load(order)))
}

/// @copydoc guestmem_slice_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_load_u64_fn(
    s: guestmem_slice, offset: usize, order: u32, out: *mut u64,
) -> bool {
    give(out, in_slice(s, offset, move || load(order)))
}

/// The exported twin of guestmem_slice_store_u8().
///
/// @param s       a live slice to write, as guestmem_get_slice_writable() gives it.
/// @param offset  bytes from its start.
/// @param value   the value.
/// @param order   GUESTMEM_RELAXED, _RELEASE or _SEQ_CST.
/// @return False when the value is not within the slice or not aligned, or for another order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_store_u8_fn(s: guestmem_slice, offset: usize, value: u8, order: u32) -> bool {
    in_slice(s, offset, move || store(value, order)).is_some()
}

/// @copydoc guestmem_slice_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_store_u16_fn(s: guestmem_slice, offset: usize, value: u16, order: u32) -> bool {
    in_slice(s, offset, move || store(value, order)).is_some()
}

/// @copydoc guestmem_slice_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_store_u32_fn(s: guestmem_slice, offset: usize, value: u32, order: u32) -> bool {
    in_slice(s, offset, move || store(value, order)).is_some()
}

/// @copydoc guestmem_slice_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_store_u64_fn(s: guestmem_slice, offset: usize, value: u64, order: u32) -> bool {
    in_slice(s, offset, move || store(value, order)).is_some()
}
