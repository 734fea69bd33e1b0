// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 5 Translating: slices
//!
//! A slice is a part of guest memory that is contiguous in host memory. Calls without "writable" in
//! their name return slices for reading only. Use guestmem_translate_for() for a descriptor chain
//! that has both kinds of buffers.
//!
//! Example
//!   struct guestmem_access chain[MAX_DESC];
//!   struct guestmem_slice slices[2 * MAX_DESC];
//!   size_t count;
//!   for (size_t i = 0; i < n; i++) {
//!       struct descriptor desc = load_descriptor(head, i);    // each field loaded once
//!       bool writes = desc.flags & DESC_WRITE;
//!       chain[i].guest_addr = desc.addr;
//!       chain[i].size = desc.len;
//!       chain[i].access = writes ? GUESTMEM_ACCESS_WRITE : GUESTMEM_ACCESS_READ;
//!       chain[i].reserved = 0;
//!   }
//!   if (guestmem_translate_for(mem, chain, n, slices, 2 * MAX_DESC, &count) != GUESTMEM_OK)
//!       return refuse(head);    // a hole, or ROM as a buffer to be filled

use crate::error::{About, Error, Result};
use crate::ffi::chain::{Entry, any_chain, chain, single};
use crate::ffi::memory::{guestmem, guestmem_range};
use crate::ffi::slice_struct::guestmem_slice;
use crate::ffi::status::GUESTMEM_OK;
use crate::ffi::translate::in_one_region;
use std::ffi::c_int;

/// The memory will only be read.
pub const GUESTMEM_ACCESS_READ: u32 = 1;
/// The memory will be written. It may also be read, with or without GUESTMEM_ACCESS_READ.
pub const GUESTMEM_ACCESS_WRITE: u32 = 2;

/// A range of guest addresses and how it will be accessed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_access {
    /// First guest address.
    pub guest_addr: u64,
    /// Size in bytes.
    pub size: u64,
    /// GUESTMEM_ACCESS_READ, GUESTMEM_ACCESS_WRITE or both.
    pub access: u32,
    /// Must be 0.
    pub reserved: u32,
}

impl Entry for guestmem_access {
    #[inline(always)]
    fn range(self) -> (u64, u64) {
        (self.guest_addr, self.size)
    }

    #[inline(always)]
    fn writes(self) -> Result<bool> {
        const ALL: u64 = (GUESTMEM_ACCESS_READ | GUESTMEM_ACCESS_WRITE) as u64;
        // One load and one comparison: what is reserved makes it more, and none wraps to more.
        let both = u64::from(self.access) | u64::from(self.reserved) << 32;
        if both.wrapping_sub(1) >= ALL {
            return Err(Error::InvalidArgument("no access that there is"));
        }
        Ok(self.access & GUESTMEM_ACCESS_WRITE != 0)
    }
}

/// Translates a range within one region to a slice for reading.
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param size  size in bytes.
/// @param out   the slice, of exactly size bytes.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the range does not end in the region it starts in, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE     size is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_slice(
    mem: *const guestmem,
    addr: u64,
    size: usize,
    out: *mut guestmem_slice,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slice_of(mem, addr, size, false, out) }
}

/// Like guestmem_get_slice(), for writing and reading. Refuses read-only regions.
///
/// @copydetails guestmem_get_slice
/// @retval GUESTMEM_E_READ_ONLY  the region is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_slice_writable(
    mem: *const guestmem,
    addr: u64,
    size: usize,
    out: *mut guestmem_slice,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slice_of(mem, addr, size, true, out) }
}

/// # Safety
/// `out` is NULL or can be written; for `mem` see `lend`.
#[inline(always)]
unsafe fn slice_of(
    mem: *const guestmem,
    addr: u64,
    size: usize,
    writes: bool,
    out: *mut guestmem_slice,
) -> c_int {
    let made = move |host: *mut u8| guestmem_slice { addr: host.cast(), len: size };
    // SAFETY: passed on.
    unsafe { in_one_region(mem, addr, size as u64, writes, out, guestmem_slice::NONE, made) }
}

/// Translates a range to slices for reading. DMA-level: the range may continue through adjacent
/// regions.
///
/// @param mem    the memory.
/// @param addr   first guest address.
/// @param size   size in bytes.
/// @param out    receives the slices, in order. May be NULL when cap is 0.
/// @param cap    number of slices that fit in out.
/// @param count  number of slices; on GUESTMEM_E_TOO_LARGE, the number needed.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE     size is 0.
/// @retval GUESTMEM_E_TOO_LARGE        cap is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_slices(
    mem: *const guestmem,
    addr: u64,
    size: u64,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slices_of(mem, addr, size, out, cap, count, to_read) }
}

/// Like guestmem_get_slices(), for writing and reading. Refuses a range with a read-only region
/// anywhere in it.
///
/// @copydetails guestmem_get_slices
/// @retval GUESTMEM_E_READ_ONLY  the range meets a read-only region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_slices_writable(
    mem: *const guestmem,
    addr: u64,
    size: u64,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slices_of(mem, addr, size, out, cap, count, to_write) }
}

#[inline(always)]
fn to_read(guest_addr: u64, size: u64) -> guestmem_range {
    guestmem_range { guest_addr, size }
}

#[inline(always)]
fn to_write(guest_addr: u64, size: u64) -> guestmem_access {
    guestmem_access { guest_addr, size, access: GUESTMEM_ACCESS_WRITE, reserved: 0 }
}

/// # Safety
/// As [`single`].
#[inline(always)]
unsafe fn slices_of<E: Entry>(
    mem: *const guestmem,
    addr: u64,
    size: u64,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
    entry: impl Fn(u64, u64) -> E,
) -> c_int {
    // SAFETY: passed on.
    unsafe {
        match single(mem, entry(addr, size), out, cap, count) {
            Some(()) => GUESTMEM_OK,
            None => any_slices_of(mem, addr, size, out, cap, count, entry),
        }
    }
}

/// # Safety
/// As [`single`].
#[cold]
#[inline(never)]
unsafe extern "C" fn any_slices_of<E: Entry>(
    mem: *const guestmem,
    addr: u64,
    size: u64,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
    entry: impl Fn(u64, u64) -> E,
) -> c_int {
    let (entry, about) = (entry(addr, size), About::new(Some((addr, size))));
    // SAFETY: passed on.
    unsafe { any_chain(mem, &raw const entry, 1, out, cap, count, about) }
}

/// Translates a descriptor chain in one call, to slices for reading. DMA-level: each range may
/// continue through adjacent regions. guestmem_last_error() reports the range that was refused. Use
/// guestmem_translate_for() for memory that will be written.
///
/// @param mem     the memory.
/// @param ranges  the ranges. Each is read more than once, so the array must not change during the
///   call. May be NULL when n is 0.
/// @param n       number of ranges, may be 0.
/// @param out     receives the slices of all ranges, in order. May be NULL when cap is 0.
/// @param cap     number of slices that fit in out.
/// @param count   number of slices; on GUESTMEM_E_TOO_LARGE, the number needed.
/// @retval GUESTMEM_E_INVALID_ADDRESS  a range starts in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    a range meets a hole, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE     a range is empty.
/// @retval GUESTMEM_E_TOO_LARGE        cap is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_translate(
    mem: *const guestmem,
    ranges: *const guestmem_range,
    n: usize,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slices_of_all(mem, ranges, n, out, cap, count) }
}

/// Translates a descriptor chain in one call, to slices for the access that each range asks for.
/// Like guestmem_translate(), but refuses the whole chain if a range that will be written meets a
/// read-only region.
///
/// If several ranges are invalid, the call reports the error that comes first in the order that
/// holds for all calls: flags, address, range, read-only. guestmem_last_error() reports its range.
///
/// @param mem     the memory.
/// @param ranges  the ranges. Each is read more than once, so the array must not change during the
///   call. May be NULL when n is 0.
/// @param n       number of ranges, may be 0.
/// @param out     receives the slices of all ranges, in order. May be NULL when cap is 0.
/// @param cap     number of slices that fit in out.
/// @param count   number of slices; on GUESTMEM_E_TOO_LARGE, the number needed.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: access is 0 or has an unknown bit, or reserved is not
///   0.
/// @retval GUESTMEM_E_INVALID_ADDRESS   a range starts in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     a range meets a hole, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE      a range is empty.
/// @retval GUESTMEM_E_READ_ONLY         a range that will be written meets a read-only region.
/// @retval GUESTMEM_E_TOO_LARGE         cap is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_translate_for(
    mem: *const guestmem,
    ranges: *const guestmem_access,
    n: usize,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slices_of_all(mem, ranges, n, out, cap, count) }
}

/// # Safety
/// As [`chain`].
#[inline(always)]
unsafe fn slices_of_all(
    mem: *const guestmem,
    ranges: *const impl Entry,
    n: usize,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: passed on.
    unsafe {
        if n == 1
            && !ranges.is_null()
            && single(mem, ranges.read_unaligned(), out, cap, count).is_some()
        {
            return GUESTMEM_OK;
        }
        chain(mem, ranges, n, out, cap, count)
    }
}
