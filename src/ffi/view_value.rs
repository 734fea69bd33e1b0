// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 7 The inline path: exported twins for values
//!
//! Each the same as the inline function without `_fn`.
// Written out for each width, because the header generator does not look into macros.

use crate::ffi::slice::guestmem_slice;
use crate::ffi::view::guestmem_view;
use crate::ffi::view_any_width::{load, read, slice_load, slice_store, store, write};

/// The exported twin of guestmem_view_read_u8().
///
/// @param view  a view.
/// @param addr  guest address.
/// @param out   the value; 0 where false is returned.
/// @return False when the value is not within one region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_read_u8_fn(
    view: *const guestmem_view,
    addr: u64,
    out: *mut u8,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read(view, addr, out) }
}

/// @copydoc guestmem_view_read_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_read_u16_fn(
    view: *const guestmem_view,
    addr: u64,
    out: *mut u16,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read(view, addr, out) }
}

/// @copydoc guestmem_view_read_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_read_u32_fn(
    view: *const guestmem_view,
    addr: u64,
    out: *mut u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read(view, addr, out) }
}

/// @copydoc guestmem_view_read_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_read_u64_fn(
    view: *const guestmem_view,
    addr: u64,
    out: *mut u64,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { read(view, addr, out) }
}

/// The exported twin of guestmem_view_write_u8().
///
/// @param view   a view.
/// @param addr   guest address.
/// @param value  the value.
/// @return False when the value is not within one region, or that is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_write_u8_fn(
    view: *const guestmem_view,
    addr: u64,
    value: u8,
) -> bool {
    // SAFETY: the caller keeps to the manual for its view.
    unsafe { write(view, addr, value) }
}

/// @copydoc guestmem_view_write_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_write_u16_fn(
    view: *const guestmem_view,
    addr: u64,
    value: u16,
) -> bool {
    // SAFETY: the caller keeps to the manual for its view.
    unsafe { write(view, addr, value) }
}

/// @copydoc guestmem_view_write_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_write_u32_fn(
    view: *const guestmem_view,
    addr: u64,
    value: u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its view.
    unsafe { write(view, addr, value) }
}

/// @copydoc guestmem_view_write_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_write_u64_fn(
    view: *const guestmem_view,
    addr: u64,
    value: u64,
) -> bool {
    // SAFETY: the caller keeps to the manual for its view.
    unsafe { write(view, addr, value) }
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
    view: *const guestmem_view,
    addr: u64,
    order: u32,
    out: *mut u8,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { load(view, addr, order, out) }
}

/// @copydoc guestmem_view_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_load_u16_fn(
    view: *const guestmem_view,
    addr: u64,
    order: u32,
    out: *mut u16,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { load(view, addr, order, out) }
}

/// @copydoc guestmem_view_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_load_u32_fn(
    view: *const guestmem_view,
    addr: u64,
    order: u32,
    out: *mut u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { load(view, addr, order, out) }
}

/// @copydoc guestmem_view_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_load_u64_fn(
    view: *const guestmem_view,
    addr: u64,
    order: u32,
    out: *mut u64,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { load(view, addr, order, out) }
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
    view: *const guestmem_view,
    addr: u64,
    value: u8,
    order: u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its view.
    unsafe { store(view, addr, value, order) }
}

/// @copydoc guestmem_view_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_store_u16_fn(
    view: *const guestmem_view,
    addr: u64,
    value: u16,
    order: u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its view.
    unsafe { store(view, addr, value, order) }
}

/// @copydoc guestmem_view_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_store_u32_fn(
    view: *const guestmem_view,
    addr: u64,
    value: u32,
    order: u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its view.
    unsafe { store(view, addr, value, order) }
}

/// @copydoc guestmem_view_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_store_u64_fn(
    view: *const guestmem_view,
    addr: u64,
    value: u64,
    order: u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its view.
    unsafe { store(view, addr, value, order) }
}

/// The exported twin of guestmem_slice_load_u8().
///
/// @param s       a live slice.
/// @param offset  bytes from its start.
/// @param order   GUESTMEM_RELAXED, _ACQUIRE or _SEQ_CST.
/// @param out     the value; 0 where false is returned.
/// @return False when the value is not within the slice or not aligned, or for another order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_load_u8_fn(
    s: guestmem_slice,
    offset: usize,
    order: u32,
    out: *mut u8,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slice_load(s, offset, order, out) }
}

/// @copydoc guestmem_slice_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_load_u16_fn(
    s: guestmem_slice,
    offset: usize,
    order: u32,
    out: *mut u16,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slice_load(s, offset, order, out) }
}

/// @copydoc guestmem_slice_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_load_u32_fn(
    s: guestmem_slice,
    offset: usize,
    order: u32,
    out: *mut u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slice_load(s, offset, order, out) }
}

/// @copydoc guestmem_slice_load_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_load_u64_fn(
    s: guestmem_slice,
    offset: usize,
    order: u32,
    out: *mut u64,
) -> bool {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slice_load(s, offset, order, out) }
}

/// The exported twin of guestmem_slice_store_u8().
///
/// @param s       a live slice to write, as guestmem_get_slice_writable() gives it.
/// @param offset  bytes from its start.
/// @param value   the value.
/// @param order   GUESTMEM_RELAXED, _RELEASE or _SEQ_CST.
/// @return False when the value is not within the slice or not aligned, or for another order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_store_u8_fn(
    s: guestmem_slice,
    offset: usize,
    value: u8,
    order: u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its slice.
    unsafe { slice_store(s, offset, value, order) }
}

/// @copydoc guestmem_slice_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_store_u16_fn(
    s: guestmem_slice,
    offset: usize,
    value: u16,
    order: u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its slice.
    unsafe { slice_store(s, offset, value, order) }
}

/// @copydoc guestmem_slice_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_store_u32_fn(
    s: guestmem_slice,
    offset: usize,
    value: u32,
    order: u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its slice.
    unsafe { slice_store(s, offset, value, order) }
}

/// @copydoc guestmem_slice_store_u8_fn
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_store_u64_fn(
    s: guestmem_slice,
    offset: usize,
    value: u64,
    order: u32,
) -> bool {
    // SAFETY: the caller keeps to the manual for its slice.
    unsafe { slice_store(s, offset, value, order) }
}
