// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How slices are made of ranges: of a single one, of a short chain in which each range lies in
//! one region, and, where something is different or wrong, of any.

use super::memory::{guestmem, guestmem_range};
use super::slice::guestmem_slice;
use super::status::GUESTMEM_OK;
use super::{call_about, host_to_read, memory, required, required_buffer, set};
use crate::error::{About, Error, Result};
use crate::table::Table;
use crate::volatile::VolatileSlice;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// The most ranges in a short chain: 4 KiB on the stack for what is overwritten.
const SHORT: usize = 256;

/// Answers where the one range lies in one region, or does nothing.
///
/// # Safety
/// `range` is NULL or can be read, `out` NULL or written for `cap` and `count` NULL or for one; for
/// `mem` see `lend`.
#[inline(always)]
pub(super) unsafe fn single(
    mem: *const guestmem,
    range: *const guestmem_range,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> Option<()> {
    if range.is_null() || out.is_null() || cap == 0 || count.is_null() {
        return None;
    }
    // SAFETY: by contract.
    unsafe {
        let range = range.read_unaligned();
        let addr = host_to_read(mem, range.guest_addr, range.size)?.cast();
        out.write(guestmem_slice { addr, len: range.size as usize });
        count.write(1);
    }
    Some(())
}

/// A chain of any length, by the way that it needs.
///
/// # Safety
/// `ranges` is NULL or can be read for `n`; the rest as for [`single`].
#[inline(never)]
pub(super) unsafe fn chain(
    mem: *const guestmem,
    ranges: *const guestmem_range,
    n: usize,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: passed on.
    unsafe {
        match short_chain(mem, ranges, n, out, cap, count) {
            Some(()) => GUESTMEM_OK,
            None => any_chain(mem, ranges, n, out, cap, count, About::default()),
        }
    }
}

/// Answers where the flat map knows each range to lie in one region, or leaves everything as it
/// was. Each range is looked at once.
#[inline(always)]
unsafe fn short_chain(
    mem: *const guestmem,
    ranges: *const guestmem_range,
    n: usize,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> Option<()> {
    // SAFETY: passed on.
    let flat = unsafe { memory(mem) }.ok()?.table().flat();
    if n > cap.min(SHORT) || ranges.is_null() || out.is_null() || count.is_null() {
        return None;
    }
    let out = out.cast::<MaybeUninit<guestmem_slice>>();
    let mut before = [const { MaybeUninit::uninit() }; SHORT];
    for index in 0..n {
        // SAFETY: within the caller's arrays, and `n` is no more than SHORT.
        unsafe {
            let range = ranges.add(index).read_unaligned();
            let Some(host) = flat.readable(range.guest_addr, range.size) else {
                before.as_ptr().copy_to_nonoverlapping(out, index);
                return None;
            };
            *before.get_unchecked_mut(index) = out.add(index).read();
            let slice = guestmem_slice { addr: host.cast(), len: range.size as usize };
            out.add(index).write(MaybeUninit::new(slice));
        }
    }
    // SAFETY: by contract.
    unsafe { count.write(n) };
    Some(())
}

/// Checks all ranges, then gives their slices. `about` is what the call is about, as long as it is
/// not one of several ranges.
///
/// # Safety
/// As [`chain`].
#[cold]
#[inline(never)]
pub(super) unsafe fn any_chain(
    mem: *const guestmem,
    ranges: *const guestmem_range,
    n: usize,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
    about: About,
) -> c_int {
    // SAFETY: by contract.
    unsafe { set(count, 0) };
    call_about(&about, || {
        // SAFETY: by contract; the pointers are checked first.
        unsafe {
            let mem = memory(mem)?;
            required_buffer(ranges, n)?;
            required_buffer(out, cap)?;
            required(count)?;
            // The same for both passes, or a change in between would leave some of the slices.
            let table = mem.table();
            let mut needed = 0;
            each_slice(table, ranges, n, &about, |_| {
                needed += 1;
                Ok(())
            })?;
            if needed > cap {
                count.write(needed);
                return Err(Error::too_large("the array has no room for all slices"));
            }
            let mut given = 0;
            each_slice(table, ranges, n, &about, |slice| {
                if given == needed {
                    return Err(Error::InvalidArgument("the ranges changed during the call"));
                }
                out.add(given).write(guestmem_slice::of(slice));
                given += 1;
                Ok(())
            })?;
            count.write(given);
            Ok(())
        }
    })
}

/// Gives all slices of all ranges to `found`. `about` is left with the range that was refused.
///
/// # Safety
/// `ranges` can be read for `n`.
#[inline(always)]
unsafe fn each_slice(
    table: &Table,
    ranges: *const guestmem_range,
    n: usize,
    about: &About,
    mut found: impl FnMut(VolatileSlice) -> Result<()>,
) -> Result<()> {
    for index in 0..n {
        // SAFETY: within the caller's array.
        let range = unsafe { ranges.add(index).read_unaligned() };
        about.set(Some((range.guest_addr, range.size)));
        slices_of(table, range, &mut found)?;
    }
    Ok(())
}

#[inline(always)]
fn slices_of(
    table: &Table,
    range: guestmem_range,
    found: &mut impl FnMut(VolatileSlice) -> Result<()>,
) -> Result<()> {
    if let Some(host) = table.flat().readable(range.guest_addr, range.size) {
        // SAFETY: one region's mapping holds these bytes.
        return found(unsafe { VolatileSlice::new(host, range.size as usize) });
    }
    if range.size == 0 {
        table.find(range.guest_addr)?;
        return Err(Error::InvalidSize);
    }
    table.span(range.guest_addr, range.size, false)?.slices().try_for_each(found)
}
