// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 5 Translating: slices
//!
//! What a device is given to read and what it is given to write come from different calls, and a
//! descriptor chain with both kinds from guestmem_translate_for().
//!
//! Example
//!   struct guestmem_access chain[MAX_DESC];       // the guest's descriptors, each loaded once
//!   struct guestmem_slice slices[2 * MAX_DESC];
//!   size_t count;
//!   chain[i].guest_addr = desc.addr;
//!   chain[i].size = desc.len;
//!   chain[i].access = desc.flags & DESC_WRITE ? GUESTMEM_ACCESS_WRITE : GUESTMEM_ACCESS_READ;
//!   chain[i].reserved = 0;
//!   ...
//!   if (guestmem_translate_for(mem, chain, n, slices, 2 * MAX_DESC, &count) != GUESTMEM_OK)
//!       return refuse(head);                      // a hole, or the ROM as a buffer to be filled

use crate::error::{About, Error, Result};
use crate::ffi::chain::{Entry, any_chain, chain, single};
use crate::ffi::memory::{guestmem, guestmem_range};
use crate::ffi::slice::guestmem_slice;
use crate::ffi::status::GUESTMEM_OK;
use crate::ffi::translate::in_one_region;
use std::ffi::c_int;
use std::ptr::null_mut;

/// Memory that will be read only.
pub const GUESTMEM_ACCESS_READ: u32 = 1;
/// Memory that will be written, and may be read too, with or without GUESTMEM_ACCESS_READ.
pub const GUESTMEM_ACCESS_WRITE: u32 = 2;

/// Guest addresses, a length, and what will be done there.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_access {
    /// First guest address.
    pub guest_addr: u64,
    /// Bytes.
    pub size: u64,
    /// GUESTMEM_ACCESS_READ, GUESTMEM_ACCESS_WRITE or both.
    pub access: u32,
    /// 0.
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

/// Translates a range within one region to a slice to read. For memory that will be written use
/// guestmem_get_slice_writable(): this one gives slices of read-only regions too. Any thread.
///
/// @param mem   a memory.
/// @param addr  first guest address.
/// @param len   bytes.
/// @param out   the slice, of exactly len bytes.
/// @retval GUESTMEM_OK                  *out is the slice.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the range does not end in the region it starts in, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE      len is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_slice(
    mem: *const guestmem,
    addr: u64,
    len: usize,
    out: *mut guestmem_slice,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slice_of(mem, addr, len, false, out) }
}

/// Translates a range within one region to a slice to write, and to read: as guestmem_get_slice(),
/// but read-only regions are refused. Any thread.
///
/// @param mem   a memory.
/// @param addr  first guest address.
/// @param len   bytes.
/// @param out   the slice, of exactly len bytes.
/// @retval GUESTMEM_OK                  *out is the slice.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the range does not end in the region it starts in, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE      len is 0.
/// @retval GUESTMEM_E_READ_ONLY         the region is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_slice_writable(
    mem: *const guestmem,
    addr: u64,
    len: usize,
    out: *mut guestmem_slice,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slice_of(mem, addr, len, true, out) }
}

/// # Safety
/// `out` is NULL or can be written; for `mem` see `lend`.
#[inline(always)]
unsafe fn slice_of(
    mem: *const guestmem,
    addr: u64,
    len: usize,
    writes: bool,
    out: *mut guestmem_slice,
) -> c_int {
    let nothing = guestmem_slice { addr: null_mut(), len: 0 };
    let made = move |host: *mut u8| guestmem_slice { addr: host.cast(), len };
    // SAFETY: passed on.
    unsafe { in_one_region(mem, addr, len as u64, writes, out, nothing, made) }
}

/// Translates a range that may run on through regions that touch, to slices to read: DMA-level. For
/// memory that will be written use guestmem_get_slices_writable(): this one gives slices of
/// read-only regions too. Any thread.
///
/// @param mem    a memory.
/// @param addr   first guest address.
/// @param len    bytes.
/// @param out    the slices, in order; left as they were on failure. May be NULL when cap is 0.
/// @param cap    slices that out has room for.
/// @param count  number of slices; on GUESTMEM_E_TOO_LARGE, how many are needed.
/// @retval GUESTMEM_OK                  *count slices are in out.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE      len is 0.
/// @retval GUESTMEM_E_TOO_LARGE         cap is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_slices(
    mem: *const guestmem,
    addr: u64,
    len: u64,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slices_of(mem, addr, len, out, cap, count, to_read) }
}

/// Translates a range that may run on through regions that touch, to slices to write, and to read:
/// as guestmem_get_slices(), but a read-only region anywhere in it is refused. DMA-level. Any
/// thread.
///
/// @param mem    a memory.
/// @param addr   first guest address.
/// @param len    bytes.
/// @param out    the slices, in order; left as they were on failure. May be NULL when cap is 0.
/// @param cap    slices that out has room for.
/// @param count  number of slices; on GUESTMEM_E_TOO_LARGE, how many are needed.
/// @retval GUESTMEM_OK                  *count slices are in out.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE      len is 0.
/// @retval GUESTMEM_E_READ_ONLY         the range meets a read-only region.
/// @retval GUESTMEM_E_TOO_LARGE         cap is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_slices_writable(
    mem: *const guestmem,
    addr: u64,
    len: u64,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { slices_of(mem, addr, len, out, cap, count, to_write) }
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
    len: u64,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
    entry: impl Fn(u64, u64) -> E,
) -> c_int {
    // SAFETY: passed on.
    unsafe {
        match single(mem, entry(addr, len), out, cap, count) {
            Some(()) => GUESTMEM_OK,
            None => any_slices_of(mem, addr, len, out, cap, count, entry),
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
    len: u64,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
    entry: impl Fn(u64, u64) -> E,
) -> c_int {
    let (entry, about) = (entry(addr, len), About::new(Some((addr, len))));
    // SAFETY: passed on.
    unsafe { any_chain(mem, &raw const entry, 1, out, cap, count, about) }
}

/// Translates a descriptor chain in one call, to slices to read: several ranges, each of which may
/// run on through regions that touch. DMA-level. For memory that will be written use
/// guestmem_translate_for(): this one gives slices of read-only regions too. The error detail names
/// the range that was refused. Any thread.
///
/// @param mem     a memory.
/// @param ranges  the ranges; each is fetched anew for the answer, so the array must not change
///   meanwhile. May be NULL when n is 0.
/// @param n       number of ranges; 0 is fine.
/// @param out     the slices of all ranges, in order; left as they were on failure. May be NULL
///   when cap is 0.
/// @param cap     slices that out has room for.
/// @param count   number of slices; on GUESTMEM_E_TOO_LARGE, how many are needed.
/// @retval GUESTMEM_OK                  *count slices are in out.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
/// @retval GUESTMEM_E_INVALID_ADDRESS   a range starts in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     a range meets a hole, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE      a range is empty.
/// @retval GUESTMEM_E_TOO_LARGE         cap is too small.
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

/// Translates a descriptor chain in one call, in which each range says what will be done there: as
/// guestmem_translate(), but a range that will be written is refused where it meets a read-only
/// region, and with it the whole chain. DMA-level. Any thread.
///
/// Of several ranges that are wrong the one is reported whose error comes first in the order that
/// holds for all calls (flags, address, range, read-only); the error detail names it.
///
/// @param mem     a memory.
/// @param ranges  the ranges; each is fetched anew for the answer, so the array must not change
///   meanwhile. May be NULL when n is 0.
/// @param n       number of ranges; 0 is fine.
/// @param out     the slices of all ranges, in order; left as they were on failure. May be NULL
///   when cap is 0.
/// @param cap     slices that out has room for.
/// @param count   number of slices; on GUESTMEM_E_TOO_LARGE, how many are needed.
/// @retval GUESTMEM_OK                  *count slices are in out.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer, an access of 0 or with an unknown bit, or
///   reserved is not 0.
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
