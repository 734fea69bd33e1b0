// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How slices are made of the entries of a chain: of a single one, of a short chain in which each
//! lies in one region, and, where something is different or wrong, of any.

use crate::error::{About, Error, Result};
use crate::ffi::memory::{guestmem, guestmem_range};
use crate::ffi::slice_struct::guestmem_slice;
use crate::ffi::status::GUESTMEM_OK;
use crate::ffi::{call_about, memory, required, required_buffer, set};
use crate::memory::table::{FlatMap, HostRange, Table};
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// The most entries in a short chain: 4 KiB on the stack for what is overwritten.
const SHORT: usize = 256;

/// An entry of a chain, as callers give it.
pub(super) trait Entry: Copy {
    /// Guest address and length.
    fn range(self) -> (u64, u64);

    /// True for what will be written.
    fn writes(self) -> Result<bool>;
}

impl Entry for guestmem_range {
    #[inline(always)]
    fn range(self) -> (u64, u64) {
        (self.guest_addr, self.size)
    }

    #[inline(always)]
    fn writes(self) -> Result<bool> {
        Ok(false)
    }
}

/// The host address of an entry's bytes, where the flat map knows that one region holds them.
#[inline(always)]
fn known(flat: FlatMap<'_>, entry: impl Entry) -> Option<*mut u8> {
    let (addr, len) = entry.range();
    flat.host(addr, len, entry.writes().ok()?)
}

/// Answers where the one entry lies in one region, or does nothing.
///
/// # Safety
/// `out` is NULL or written for `cap` and `count` NULL or for one; for `mem` see `lend`.
#[inline(always)]
pub(super) unsafe fn single(
    mem: *const guestmem,
    entry: impl Entry,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> Option<()> {
    if out.is_null() || cap == 0 || count.is_null() {
        return None;
    }
    // SAFETY: by contract.
    unsafe {
        let addr = known(memory(mem).ok()?.table().flat(), entry)?.cast();
        out.write(guestmem_slice { addr, len: entry.range().1 as usize });
        count.write(1);
    }
    Some(())
}

/// A chain of any length, by the way that it needs. It takes what the C function got, in the same
/// registers, so that [`single`] has nothing to put by for it.
///
/// # Safety
/// `entries` is NULL or can be read for `n`; the rest as for [`single`].
#[inline(never)]
pub(super) unsafe extern "C" fn chain(
    mem: *const guestmem,
    entries: *const impl Entry,
    n: usize,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: passed on.
    unsafe {
        match short_chain(mem, entries, n, out, cap, count) {
            Some(()) => GUESTMEM_OK,
            None => any_chain(mem, entries, n, out, cap, count, About::default()),
        }
    }
}

/// Answers where the flat map knows each entry to lie in one region, or leaves everything as it
/// was. Each entry is looked at once.
#[inline(always)]
unsafe fn short_chain(
    mem: *const guestmem,
    entries: *const impl Entry,
    n: usize,
    out: *mut guestmem_slice,
    cap: usize,
    count: *mut usize,
) -> Option<()> {
    // SAFETY: passed on.
    let flat = unsafe { memory(mem) }.ok()?.table().flat();
    if n > cap.min(SHORT) || entries.is_null() || out.is_null() || count.is_null() {
        return None;
    }
    let out = out.cast::<MaybeUninit<guestmem_slice>>();
    let mut before = [const { MaybeUninit::uninit() }; SHORT];
    for index in 0..n {
        // SAFETY: within the caller's arrays, and `n` is no more than SHORT.
        unsafe {
            let entry = entries.add(index).read_unaligned();
            let Some(host) = known(flat, entry) else {
                before.as_ptr().copy_to_nonoverlapping(out, index);
                return None;
            };
            *before.get_unchecked_mut(index) = out.add(index).read();
            let slice = guestmem_slice { addr: host.cast(), len: entry.range().1 as usize };
            out.add(index).write(MaybeUninit::new(slice));
        }
    }
    // SAFETY: by contract.
    unsafe { count.write(n) };
    Some(())
}

/// Checks all entries, then gives their slices. `about` is what the call is about, as long as it is
/// not one of several entries.
///
/// # Safety
/// As [`chain`].
#[cold]
#[inline(never)]
pub(super) unsafe fn any_chain(
    mem: *const guestmem,
    entries: *const impl Entry,
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
            required_buffer(entries, n)?;
            required_buffer(out, cap)?;
            required(count)?;
            // The same for both passes, or a change in between would leave some of the slices.
            let table = mem.table();
            let needed = count_slices(table, entries, n, &about)?;
            if needed > cap {
                count.write(needed);
                return Err(Error::too_large("the array has no room for all slices"));
            }
            let mut given = 0;
            for index in 0..n {
                each_part(table, entries.add(index).read_unaligned(), |part| {
                    if given == needed {
                        return Err(Error::InvalidArgument("the ranges changed during the call"));
                    }
                    out.add(given).write(guestmem_slice::of(part));
                    given += 1;
                    Ok(())
                })?;
            }
            count.write(given);
            Ok(())
        }
    })
}

/// The number of slices that all entries come to. Of several things wrong it gives the first in the
/// manual's order, wherever in the chain it is, and leaves `about` with the range of that entry.
///
/// # Safety
/// `entries` can be read for `n`.
unsafe fn count_slices(
    table: &Table,
    entries: *const impl Entry,
    n: usize,
    about: &About,
) -> Result<usize> {
    let mut count = 0;
    let mut wrong: Option<Error> = None;
    for index in 0..n {
        // SAFETY: within the caller's array.
        let entry = unsafe { entries.add(index).read_unaligned() };
        let counted = each_part(table, entry, |_| {
            count += 1;
            Ok(())
        });
        let Err(error) = counted else { continue };
        if wrong.is_none_or(|before| place(error) < place(before)) {
            wrong = Some(error);
            about.set(Some(entry.range()));
        }
    }
    wrong.map_or(Ok(count), Err)
}

/// Where an entry's error stands in the manual's order: flags, address, range, read-only.
fn place(error: Error) -> u8 {
    match error {
        Error::InvalidArgument(_) => 0,
        Error::InvalidAddress => 1,
        Error::ReadOnly => 3,
        _ => 2,
    }
}

/// Gives where the parts of an entry are mapped to `found`.
#[inline(always)]
fn each_part(
    table: &Table,
    entry: impl Entry,
    mut found: impl FnMut(HostRange) -> Result<()>,
) -> Result<()> {
    let (addr, len) = entry.range();
    let writes = entry.writes()?;
    if let Some(addr) = table.flat().host(addr, len, writes) {
        return found(HostRange { addr, len: len as usize });
    }
    if len == 0 {
        table.find(addr)?;
        return Err(Error::InvalidSize);
    }
    table.span(addr, len, writes)?.parts().try_for_each(found)
}
