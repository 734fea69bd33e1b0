// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 6 Slices
//!
//! What guestmem_get_slice() and its like gave, to work on without the memory's handle. The caller
//! vouches that the slice is live: that the memory it came from still lives, and that slices of
//! read-only regions are only read. What is written comes from guestmem_get_slice_writable() and
//! its like, which give none of those.

use crate::access::volatile;
use crate::access::volatile::VolatileSlice;
use crate::error::Result;
use crate::ffi::{call_in_memory, required, required_buffer, set};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// Host address and length of guest bytes, laid out as struct iovec: arrays of it go to readv(2)
/// and writev(2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_slice {
    /// The first byte.
    pub addr: *mut c_void,
    /// Bytes.
    pub len: usize,
}

impl guestmem_slice {
    pub(super) fn of(slice: VolatileSlice) -> Self {
        guestmem_slice { addr: slice.addr().cast(), len: slice.len() }
    }

    /// Its bytes; none where there is no address, as after a failure.
    ///
    /// # Safety
    /// The slice is live.
    pub(super) unsafe fn bytes(self) -> VolatileSlice {
        let len = if self.addr.is_null() { 0 } else { self.len };
        // SAFETY: live by contract.
        unsafe { VolatileSlice::new(self.addr.cast(), len) }
    }

    /// As [`Self::bytes`]; an empty slice may have any address.
    ///
    /// # Safety
    /// The slice is live.
    unsafe fn checked(self) -> Result<VolatileSlice> {
        required_buffer(self.addr, self.len)?;
        // SAFETY: live by contract.
        Ok(unsafe { self.bytes() })
    }

    /// The host address of `len` bytes from `offset` on, where the slice has them.
    #[inline(always)]
    fn at(self, offset: usize, len: usize) -> Option<*mut u8> {
        let inside = !self.addr.is_null() && self.len.checked_sub(offset)? >= len;
        inside.then(|| self.addr.cast::<u8>().wrapping_add(offset))
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

/// Gives a part of a slice. Any thread.
///
/// @param s       a live slice.
/// @param offset  bytes from its start.
/// @param count   bytes of the part; 0 is fine.
/// @param out     the part.
/// @retval GUESTMEM_OK                  *out is the part.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL, or s has a length but no address.
/// @retval GUESTMEM_E_INVALID_RANGE     offset + count is past the slice's end, or wraps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_sub(
    s: guestmem_slice,
    offset: usize,
    count: usize,
    out: *mut guestmem_slice,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(out, guestmem_slice { addr: null_mut(), len: 0 });
        call_in_memory(None, move || {
            required(out)?;
            out.write(guestmem_slice::of(s.checked()?.sub(offset, count)?));
            Ok(())
        })
    }
}

/// Reads from a slice: all or nothing. Any thread.
///
/// @param s       a live slice.
/// @param offset  bytes from its start.
/// @param buf     where to put the bytes. May be NULL when len is 0.
/// @param len     bytes to read.
/// @retval GUESTMEM_OK                  the bytes are in buf.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  buf is NULL, or s has a length but no address.
/// @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_read(
    s: guestmem_slice,
    offset: usize,
    buf: *mut c_void,
    len: usize,
) -> c_int {
    // SAFETY: `len` bytes are in the live slice and in the caller's buffer.
    unsafe {
        if !buf.is_null() {
            if let Some(host) = s.at(offset, len) {
                return volatile::copy_from_guest(buf.cast(), host, len);
            }
        }
        whole_way(s, offset, buf, len, |slice, offset, buf, len| slice.read(offset, buf, len))
    }
}

/// Writes to a slice: all or nothing. Any thread.
///
/// @param s       a live slice to write, as guestmem_get_slice_writable() gives it.
/// @param offset  bytes from its start.
/// @param buf     the bytes. May be NULL when len is 0.
/// @param len     bytes to write.
/// @retval GUESTMEM_OK                  the bytes are in the slice.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  buf is NULL, or s has a length but no address.
/// @retval GUESTMEM_E_INVALID_RANGE     offset + len is past the slice's end, or wraps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_write(
    s: guestmem_slice,
    offset: usize,
    buf: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: `len` bytes are in the live slice and in the caller's buffer.
    unsafe {
        if !buf.is_null() {
            if let Some(host) = s.at(offset, len) {
                return volatile::copy_to_guest(host, buf.cast(), len);
            }
        }
        whole_way(s, offset, buf.cast_mut(), len, |slice, offset, buf, len| {
            slice.write(offset, buf, len)
        })
    }
}

/// Fills a slice. Any thread.
///
/// @param s     a live slice to write, as guestmem_get_slice_writable() gives it.
/// @param byte  what each of its bytes is to be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_fill(s: guestmem_slice, byte: u8) {
    // SAFETY: the caller keeps to the manual for its slice.
    unsafe { s.bytes() }.fill(byte);
}

/// Copies from one slice to another, as many bytes as the shorter has. Overlap as memmove(3). Any
/// thread.
///
/// @param dst  a live slice to write, as guestmem_get_slice_writable() gives it.
/// @param src  a live slice to read.
/// @return Bytes copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_copy(dst: guestmem_slice, src: guestmem_slice) -> usize {
    // SAFETY: the caller keeps to the manual for its slices.
    unsafe { src.bytes().copy_to(dst.bytes()) }
}

/// Tells whether a slice holds only zeros. Any thread.
///
/// @param s  a live slice.
/// @return True if so, also for an empty one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_slice_is_zero(s: guestmem_slice) -> bool {
    // SAFETY: the caller keeps to the manual for its slice.
    unsafe { s.bytes() }.is_zero()
}
