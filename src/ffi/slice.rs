// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 6 Access: slices
//!
//! These calls work on a slice without a memory handle. The caller guarantees that the slice is
//! live: that the memory it came from exists, and that slices of read-only regions are only read.
//! Slices from guestmem_get_slice_writable(), guestmem_get_slices_writable() and, for
//! GUESTMEM_ACCESS_WRITE, guestmem_translate_for() are never read-only.

use crate::access::lookup::Lookup;
use crate::access::volatile::VolatileSlice;
use crate::error::Result;
pub use crate::ffi::slice_struct::guestmem_slice;
use crate::ffi::{call_in_memory, required, required_buffer, set};
use std::ffi::{c_int, c_void};

impl guestmem_slice {
    /// As [`Self::bytes`]; only an empty slice may lack an address.
    ///
    /// # Safety
    /// The slice is live.
    unsafe fn checked(self) -> Result<VolatileSlice> {
        required_buffer(self.addr, self.len)?;
        // SAFETY: live by contract.
        Ok(unsafe { self.bytes() })
    }
}

/// Reading and writing where nothing is to be copied or something is wrong. It takes what the C
/// function got, in the same registers, so that the good path has nothing to put by for it.
///
/// # Safety
/// As the functions that use it.
#[cold]
#[inline(never)]
unsafe extern "C" fn whole_way(
    s: guestmem_slice,
    offset: usize,
    buf: *mut c_void,
    len: usize,
    access: impl FnOnce(VolatileSlice, usize, *mut u8, usize) -> Result<()>,
) -> c_int {
    call_in_memory(None, move || {
        required_buffer(buf, len)?;
        // SAFETY: the caller keeps to the manual for its slice.
        access(unsafe { s.checked()? }, offset, buf.cast(), len)
    })
}

/// Returns a part of a slice.
///
/// @param s       a live slice.
/// @param offset  start of the part, in bytes from the slice's start.
/// @param len     length of the part in bytes, may be 0.
/// @param out     the part.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: s has a length but no address.
/// @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_sub(
    s: guestmem_slice,
    offset: usize,
    len: usize,
    out: *mut guestmem_slice,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(out, guestmem_slice::NONE);
        call_in_memory(None, move || {
            required(out)?;
            let part = s.checked()?.sub(offset, len)?;
            out.write(guestmem_slice { addr: part.addr().cast(), len: part.len() });
            Ok(())
        })
    }
}

/// Reads all len bytes from a slice, or nothing.
///
/// @param s       a live slice.
/// @param offset  start, in bytes from the slice's start.
/// @param buf     receives the bytes. May be NULL when len is 0.
/// @param len     bytes to read.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: s has a length but no address.
/// @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_read(
    s: guestmem_slice,
    offset: usize,
    buf: *mut c_void,
    len: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its slice and its buffer.
    unsafe {
        if !buf.is_null() {
            let at_once = || s.present()?.try_read(offset as u64, buf.cast(), len);
            if let Some(ok) = at_once() {
                return ok;
            }
        }
        whole_way(s, offset, buf, len, |slice, offset, buf, len| slice.read(offset, buf, len))
    }
}

/// Writes all len bytes to a slice, or nothing.
///
/// @param s       a live, writable slice.
/// @param offset  start, in bytes from the slice's start.
/// @param buf     the bytes. May be NULL when len is 0.
/// @param len     bytes to write.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: s has a length but no address.
/// @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_write(
    s: guestmem_slice,
    offset: usize,
    buf: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its slice and its buffer.
    unsafe {
        if !buf.is_null() {
            let at_once = || s.present()?.try_write(offset as u64, buf.cast(), len);
            if let Some(ok) = at_once() {
                return ok;
            }
        }
        whole_way(s, offset, buf.cast_mut(), len, |slice, offset, buf, len| {
            slice.write(offset, buf, len)
        })
    }
}

/// Sets every byte of a slice to one value.
///
/// @param s     a live, writable slice.
/// @param byte  the value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_fill(s: guestmem_slice, byte: u8) {
    // SAFETY: the caller keeps to the manual for its slice.
    unsafe { s.bytes() }.fill(byte);
}

/// Copies from one slice to another, up to the length of the shorter one. They may overlap, as in
/// memmove(3).
///
/// @param dst  a live, writable slice.
/// @param src  a live slice.
/// @return Bytes copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_copy(dst: guestmem_slice, src: guestmem_slice) -> usize {
    // SAFETY: the caller keeps to the manual for its slices.
    unsafe { src.bytes().copy_to(dst.bytes()) }
}

/// Tells whether a slice holds only zeros.
///
/// @param s  a live slice.
/// @return True if so, also if the slice is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_is_zero(s: guestmem_slice) -> bool {
    // SAFETY: the caller keeps to the manual for its slice.
    unsafe { s.bytes() }.is_zero()
}
