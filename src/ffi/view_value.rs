// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 7 The inline path: exported twins for values
//!
//! Each does the same as the inline function without `_fn` in its name.
// The functions are written out for each width, because the header generator does not expand macros.
// rustfmt skips this file, so that each takes few lines. The first of a family documents them all.

// SAFETY, for every function here: it passes its pointers on unchanged, and the caller keeps to the
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
/// @param out   the value; 0 on failure.
/// @return False if the value is not within one region.
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
/// @return False if the value is not within one region, or that region is read-only.
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
/// @param order  GUESTMEM_RELAXED, GUESTMEM_ACQUIRE or GUESTMEM_SEQ_CST.
/// @param out    the value; 0 on failure.
/// @return False if the value is not within one region or not aligned, or order is another.
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
/// @param order  GUESTMEM_RELAXED, GUESTMEM_RELEASE or GUESTMEM_SEQ_CST.
/// @return False if the value is not within one region or not aligned, the region is read-only, or
///   order is another.
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
/// @param offset  start, in bytes from the slice's start.
/// @param order   GUESTMEM_RELAXED, GUESTMEM_ACQUIRE or GUESTMEM_SEQ_CST.
/// @param out     the value; 0 on failure.
/// @return False if the value is not within the slice or not aligned, or order is another.
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
/// @param s       a live slice that may be written, as from guestmem_get_slice_writable().
/// @param offset  start, in bytes from the slice's start.
/// @param value   the value.
/// @param order   GUESTMEM_RELAXED, GUESTMEM_RELEASE or GUESTMEM_SEQ_CST.
/// @return False if the value is not within the slice or not aligned, or order is another.
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
