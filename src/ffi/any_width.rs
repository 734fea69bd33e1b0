// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the functions of `value.rs` and `view_value.rs` do, for any width and any access: they check
//! pointers. A missing access is one with an order that it cannot have.

use crate::access::lookup::{Access, Lookup};
use crate::access::value::CompareExchange;
use crate::access::volatile::Word;
use crate::error::Error;
use crate::ffi::memory::guestmem;
use crate::ffi::slice::guestmem_slice;
use crate::ffi::status::GUESTMEM_OK;
use crate::ffi::view::{guestmem_view, table_of, whole_way};
use crate::ffi::{call_in_memory, memory, required, set};
use std::ffi::c_int;
use std::sync::atomic::Ordering;

const BAD_ORDER: Error = Error::InvalidArgument("the access cannot have that memory order");

/// Makes an access that gives a value. A good one takes the short way, on which nothing can fail or
/// panic.
///
/// # Safety
/// `out` is NULL or can be written; for `mem` see `lend`.
#[inline(always)]
pub(super) unsafe fn get<W: Word + Default, A: Access<W, Output = W>>(
    mem: *const guestmem,
    addr: u64,
    out: *mut W,
    access: impl Fn() -> Option<A>,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        if !out.is_null() {
            let at_once = || memory(mem).ok()?.table().try_access(addr, &access);
            if let Some(value) = at_once() {
                out.write(value);
                return GUESTMEM_OK;
            }
        }
        set(out, W::default());
        call_in_memory(about::<W>(addr), move || {
            let mem = memory(mem)?;
            required(out)?;
            out.write(mem.table().access(addr, access().ok_or(BAD_ORDER)?)?);
            Ok(())
        })
    }
}

/// Makes an access that gives nothing, as [`get`].
///
/// # Safety
/// For `mem` see `lend`.
#[inline(always)]
pub(super) unsafe fn put<W: Word, A: Access<W, Output = ()>>(
    mem: *const guestmem,
    addr: u64,
    access: impl Fn() -> Option<A>,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        let at_once = || memory(mem).ok()?.table().try_access(addr, &access);
        match at_once() {
            Some(()) => GUESTMEM_OK,
            None => call_in_memory(about::<W>(addr), move || {
                memory(mem)?.table().access(addr, access().ok_or(BAD_ORDER)?)
            }),
        }
    }
}

/// Compares and exchanges, as [`get`].
///
/// # Safety
/// `expected` and `exchanged` are NULL or can be read and written; for `mem` see `lend`.
#[inline(always)]
pub(super) unsafe fn compare_exchange<W: Word>(
    mem: *const guestmem,
    addr: u64,
    expected: *mut W,
    desired: W,
    order: impl Fn() -> Option<Ordering>,
    exchanged: *mut bool,
) -> c_int {
    // SAFETY: by contract; `expected` is looked at only where it is not NULL.
    unsafe {
        let access =
            move || Some(CompareExchange { expected: expected.read(), desired, order: order()? });
        let tell = move |outcome: Result<W, W>| {
            set(exchanged, outcome.is_ok());
            if let Err(actual) = outcome {
                expected.write(actual);
            }
        };
        if !expected.is_null() {
            let at_once = || memory(mem).ok()?.table().try_access(addr, &access);
            if let Some(outcome) = at_once() {
                tell(outcome);
                return GUESTMEM_OK;
            }
        }
        set(exchanged, false);
        call_in_memory(about::<W>(addr), move || {
            let mem = memory(mem)?;
            required(expected)?;
            tell(mem.table().access(addr, access().ok_or(BAD_ORDER)?)?);
            Ok(())
        })
    }
}

fn about<W>(addr: u64) -> Option<(u64, u64)> {
    Some((addr, size_of::<W>() as u64))
}

/// Makes an access by a view; `None` where there is none.
///
/// # Safety
/// `view` is a view of a memory that lives, or zeroed or NULL.
#[inline(always)]
pub(super) unsafe fn by_view<W: Word, A: Access<W>>(
    view: *const guestmem_view,
    addr: u64,
    access: impl Fn() -> Option<A>,
) -> Option<A::Output> {
    // SAFETY: by contract.
    let table = unsafe { table_of(view)? };
    table
        .try_access(addr, &access)
        .or_else(|| whole_way(|| table.access(addr, access().ok_or(BAD_ORDER)?)))
}

/// Makes an access to a slice; `None` where there is none.
///
/// # Safety
/// `s` is live, and can be written for an access that writes.
#[inline(always)]
pub(super) unsafe fn in_slice<W: Word, A: Access<W>>(
    s: guestmem_slice,
    offset: usize,
    access: impl Fn() -> Option<A>,
) -> Option<A::Output> {
    // SAFETY: by contract.
    unsafe { s.present()? }.try_access(offset as u64, access)
}

/// Gives the value where there is one, and 0 where there is none.
///
/// # Safety
/// `out` is NULL or can be written.
pub(super) unsafe fn give<W: Default>(out: *mut W, value: Option<W>) -> bool {
    let found = value.is_some() && !out.is_null();
    // SAFETY: by contract.
    unsafe { set(out, value.unwrap_or_default()) };
    found
}
