// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the functions of `view_value.rs` do, for any width.

use crate::access::volatile::Word;
use crate::ffi::any_width::{load_order, store_order};
use crate::ffi::set;
use crate::ffi::slice::guestmem_slice;
use crate::ffi::view::{guestmem_view, host_of};

/// Any alignment.
///
/// # Safety
/// `view` is a view of a memory that lives, or zeroed or NULL; `out` is NULL or can be written.
pub(super) unsafe fn read<W: Word + Default>(
    view: *const guestmem_view,
    addr: u64,
    out: *mut W,
) -> bool {
    // SAFETY: the bytes are in one region's mapping, if there is a host address.
    unsafe {
        let host = word_to_read(view, addr);
        give(out, host.map(|host| W::load(host)))
    }
}

/// # Safety
/// As [`read`].
pub(super) unsafe fn write<W: Word>(view: *const guestmem_view, addr: u64, value: W) -> bool {
    // SAFETY: as in `read`.
    unsafe {
        let host = word_to_write(view, addr);
        host.map(|host| W::store(host, value)).is_some()
    }
}

/// # Safety
/// As [`read`].
pub(super) unsafe fn load<W: Word + Default>(
    view: *const guestmem_view,
    addr: u64,
    order: u32,
    out: *mut W,
) -> bool {
    // SAFETY: as in `read`.
    unsafe { load_at(word_to_read(view, addr), order, out) }
}

/// # Safety
/// As [`read`].
pub(super) unsafe fn store<W: Word>(
    view: *const guestmem_view,
    addr: u64,
    value: W,
    order: u32,
) -> bool {
    // SAFETY: as in `read`.
    unsafe { store_at(word_to_write(view, addr), value, order) }
}

/// # Safety
/// `s` is live; `out` is NULL or can be written.
pub(super) unsafe fn slice_load<W: Word + Default>(
    s: guestmem_slice,
    offset: usize,
    order: u32,
    out: *mut W,
) -> bool {
    // SAFETY: passed on.
    unsafe { load_at(within(s, offset), order, out) }
}

/// # Safety
/// `s` is live and can be written.
pub(super) unsafe fn slice_store<W: Word>(
    s: guestmem_slice,
    offset: usize,
    value: W,
    order: u32,
) -> bool {
    // SAFETY: passed on.
    unsafe { store_at(within(s, offset), value, order) }
}

/// # Safety
/// As [`read`].
#[inline(always)]
unsafe fn word_to_read<W: Word>(view: *const guestmem_view, addr: u64) -> Option<*mut W> {
    // SAFETY: passed on.
    unsafe { host_of(view, addr, size_of::<W>() as u64, false) }.map(|host| host.cast())
}

/// # Safety
/// As [`read`].
#[inline(always)]
unsafe fn word_to_write<W: Word>(view: *const guestmem_view, addr: u64) -> Option<*mut W> {
    // SAFETY: passed on.
    unsafe { host_of(view, addr, size_of::<W>() as u64, true) }.map(|host| host.cast())
}

/// # Safety
/// `s` is live.
unsafe fn within<W: Word>(s: guestmem_slice, offset: usize) -> Option<*mut W> {
    // SAFETY: passed on.
    Some(unsafe { s.bytes() }.sub(offset, size_of::<W>()).ok()?.addr().cast())
}

/// # Safety
/// The bytes at `host` are mapped; `out` is NULL or can be written.
unsafe fn load_at<W: Word + Default>(host: Option<*mut W>, order: u32, out: *mut W) -> bool {
    let access = host.filter(|host| host.is_aligned()).zip(load_order(order));
    // SAFETY: mapped by contract, and aligned.
    unsafe { give(out, access.map(|(host, order)| W::load_ordered(host, order))) }
}

/// # Safety
/// The bytes at `host` are mapped and can be written.
unsafe fn store_at<W: Word>(host: Option<*mut W>, value: W, order: u32) -> bool {
    let access = host.filter(|host| host.is_aligned()).zip(store_order(order));
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
