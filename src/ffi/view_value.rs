// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 7 The inline path: exported twins for values
//!
//! Each the same as the inline function without `_fn`.
// Written out for each width, because the header generator does not look into macros.

use super::any_width::{load_order, store_order};
use super::set;
use super::slice::guestmem_slice;
use super::view::{guestmem_view, readable, writable};
use crate::volatile::Word;

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
/// @param s       a live slice, not of a read-only region.
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

/// Any alignment.
///
/// # Safety
/// `view` is a view of a memory that lives, or zeroed or NULL; `out` is NULL or can be written.
unsafe fn read<W: Word + Default>(view: *const guestmem_view, addr: u64, out: *mut W) -> bool {
    // SAFETY: the bytes are in one region's mapping, if there is a host address.
    unsafe {
        let host = readable(view, addr, size_of::<W>() as u64);
        give(out, host.map(|host| W::load(host.cast())))
    }
}

/// # Safety
/// As [`read`].
unsafe fn write<W: Word>(view: *const guestmem_view, addr: u64, value: W) -> bool {
    // SAFETY: as in `read`.
    unsafe {
        let host = writable(view, addr, size_of::<W>() as u64);
        host.map(|host| W::store(host.cast(), value)).is_some()
    }
}

/// # Safety
/// As [`read`].
unsafe fn load<W: Word + Default>(
    view: *const guestmem_view,
    addr: u64,
    order: u32,
    out: *mut W,
) -> bool {
    // SAFETY: as in `read`.
    unsafe { load_at(readable(view, addr, size_of::<W>() as u64), order, out) }
}

/// # Safety
/// As [`read`].
unsafe fn store<W: Word>(view: *const guestmem_view, addr: u64, value: W, order: u32) -> bool {
    // SAFETY: as in `read`.
    unsafe { store_at(writable(view, addr, size_of::<W>() as u64), value, order) }
}

/// # Safety
/// `s` is live; `out` is NULL or can be written.
unsafe fn slice_load<W: Word + Default>(
    s: guestmem_slice,
    offset: usize,
    order: u32,
    out: *mut W,
) -> bool {
    // SAFETY: passed on.
    unsafe { load_at(within(s, offset, size_of::<W>()), order, out) }
}

/// # Safety
/// `s` is live and can be written.
unsafe fn slice_store<W: Word>(s: guestmem_slice, offset: usize, value: W, order: u32) -> bool {
    // SAFETY: passed on.
    unsafe { store_at(within(s, offset, size_of::<W>()), value, order) }
}

/// The host address of `size` bytes at `offset`.
///
/// # Safety
/// `s` is live.
unsafe fn within(s: guestmem_slice, offset: usize, size: usize) -> Option<*mut u8> {
    // SAFETY: passed on.
    Some(unsafe { s.bytes() }.sub(offset, size).ok()?.addr())
}

/// # Safety
/// The bytes at `host` are mapped; `out` is NULL or can be written.
unsafe fn load_at<W: Word + Default>(host: Option<*mut u8>, order: u32, out: *mut W) -> bool {
    let host = host.map(|host| host.cast::<W>()).filter(|host| host.is_aligned());
    let access = host.zip(load_order(order));
    // SAFETY: mapped by contract, and aligned.
    unsafe { give(out, access.map(|(host, order)| W::load_ordered(host, order))) }
}

/// # Safety
/// The bytes at `host` are mapped and can be written.
unsafe fn store_at<W: Word>(host: Option<*mut u8>, value: W, order: u32) -> bool {
    let host = host.map(|host| host.cast::<W>()).filter(|host| host.is_aligned());
    let access = host.zip(store_order(order));
    // SAFETY: mapped by contract, and aligned.
    access.map(|(host, order)| unsafe { W::store_ordered(host, value, order) }).is_some()
}

/// # Safety
/// `out` is NULL or can be written.
unsafe fn give<W: Default>(out: *mut W, value: Option<W>) -> bool {
    let found = value.is_some() && !out.is_null();
    // SAFETY: by contract.
    unsafe { set(out, value.unwrap_or_default()) };
    found
}
