// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What guest bytes are looked up in, and the accesses that follow from a lookup.
//!
//! There are two ways. The short one either succeeds or does nothing and says nothing: it is made to
//! be inlined into a C function, which it costs a few instructions. The full one tells what is wrong.

use crate::access::volatile;
use crate::access::volatile::{VolatileSlice, Word, object_width};
use crate::error::{Error, Result};
use crate::memory::table::Table;

/// An access to one value of type `W`.
pub trait Access<W>: Copy {
    /// What it gives.
    type Output;
    /// Whether it changes the value.
    const WRITES: bool;
    /// Whether the value must be naturally aligned.
    const ALIGNED: bool;

    /// Makes the access.
    ///
    /// # Safety
    /// The value at `host` is mapped, writable for an access that writes, and aligned for one that
    /// needs it.
    unsafe fn at(self, host: *mut W) -> Self::Output;
}

/// What guest bytes can be looked up in: a memory's table by guest address, whether it comes from
/// the memory itself or from a view, and a slice by offset.
///
/// # Safety
/// The bytes at the addresses that it gives are mapped while it is used, and writable if asked for.
pub unsafe trait Lookup: Copy {
    /// The host address of `len` bytes, which may be written, if that `writes`. The short way: it
    /// gives `None` also where only [`Lookup::host`] can tell.
    fn known(self, at: u64, len: u64, writes: bool) -> Option<*mut u8>;

    /// The host address of `len` bytes, at least one, which may be written, if that `writes`.
    fn host(self, at: u64, len: u64, writes: bool) -> Result<*mut u8>;

    /// Accesses a value, the short way: `access` says how, once the value is found.
    #[inline(always)]
    fn try_access<W: Word, A: Access<W>>(
        self,
        at: u64,
        access: impl FnOnce() -> Option<A>,
    ) -> Option<A::Output> {
        let host = self.known(at, size_of::<W>() as u64, A::WRITES)?.cast::<W>();
        if A::ALIGNED && !host.is_aligned() {
            return None;
        }
        let access = access()?;
        // SAFETY: the lookup tells that the bytes are there; the rest is checked.
        Some(unsafe { access.at(host) })
    }

    /// Accesses a value.
    fn access<W: Word, A: Access<W>>(self, at: u64, access: A) -> Result<A::Output> {
        let size = size_of::<W>() as u64;
        let host = self.host(at, size, false)?.cast::<W>();
        if A::ALIGNED && !host.is_aligned() {
            return Err(Error::Misaligned);
        }
        // Of several things wrong read-only memory comes last.
        if A::WRITES {
            self.host(at, size, true)?;
        }
        // SAFETY: the lookup tells that the bytes are there; the rest is checked.
        Ok(unsafe { access.at(host) })
    }

    /// Copies `len` bytes into the private buffer `buf`, the short way. Gives what
    /// [`volatile::copy_from_guest`] returns.
    ///
    /// # Safety
    /// `buf` can be written for `len` bytes.
    #[inline(always)]
    unsafe fn try_read(self, at: u64, buf: *mut u8, len: usize) -> Option<i32> {
        let host = self.known(at, len as u64, false)?;
        // SAFETY: the lookup tells that the bytes are there; the caller vouches for `buf`.
        Some(unsafe { volatile::copy_from_guest(buf, host, len) })
    }

    /// Copies `len` bytes from the private buffer `buf`, the short way. Gives what
    /// [`volatile::copy_to_guest`] returns.
    ///
    /// # Safety
    /// `buf` can be read for `len` bytes.
    #[inline(always)]
    unsafe fn try_write(self, at: u64, buf: *const u8, len: usize) -> Option<i32> {
        let host = self.known(at, len as u64, true)?;
        // SAFETY: the lookup tells that the bytes are there; the caller vouches for `buf`.
        Some(unsafe { volatile::copy_to_guest(host, buf, len) })
    }

    /// Reads an object of `size` bytes word by word, the short way.
    ///
    /// # Safety
    /// `obj` can be written for `size` bytes.
    #[inline(always)]
    unsafe fn try_read_object(self, at: u64, obj: *mut u8, size: usize) -> Option<()> {
        let host = self.known(at, size as u64, false)?;
        let is_aligned = at % object_width(size) as u64 == 0;
        // SAFETY: the lookup tells that the bytes are there; the caller vouches for `obj`.
        is_aligned.then(|| unsafe { volatile::copy_object(obj, host, size) })
    }

    /// Writes an object of `size` bytes word by word, the short way.
    ///
    /// # Safety
    /// `obj` can be read for `size` bytes.
    #[inline(always)]
    unsafe fn try_write_object(self, at: u64, obj: *const u8, size: usize) -> Option<()> {
        let host = self.known(at, size as u64, true)?;
        let is_aligned = at % object_width(size) as u64 == 0;
        // SAFETY: the lookup tells that the bytes are there; the caller vouches for `obj`.
        is_aligned.then(|| unsafe { volatile::copy_object(host, obj, size) })
    }
}

// SAFETY: whoever made the table's entries vouches for their mappings.
unsafe impl Lookup for &Table {
    #[inline(always)]
    fn known(self, at: u64, len: u64, writes: bool) -> Option<*mut u8> {
        self.flat().host(at, len, writes)
    }

    fn host(self, at: u64, len: u64, writes: bool) -> Result<*mut u8> {
        Table::host(self, at, len, writes)
    }
}

// SAFETY: whoever made the slice vouches for its bytes, also that they can be written if they are.
unsafe impl Lookup for VolatileSlice {
    #[inline(always)]
    fn known(self, at: u64, len: u64, _writes: bool) -> Option<*mut u8> {
        let room = (self.len() as u64).checked_sub(at)?;
        if room < len {
            return None;
        }
        Some(self.addr().wrapping_add(at as usize))
    }

    fn host(self, at: u64, len: u64, writes: bool) -> Result<*mut u8> {
        self.known(at, len, writes).ok_or(Error::InvalidRange)
    }
}
