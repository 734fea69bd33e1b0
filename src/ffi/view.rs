// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 7 The inline path: views
//!
//! A view exposes a memory's lookup table as plain data. The inline functions of guestmem_inline.h
//! access guest memory through it without a library call. Where the view's flat map has no answer
//! (a hole, or a small or oddly placed region among large ones), they call the exported function
//! with the same name and `_fn` appended. These twins return the same results; programs in other
//! languages, or that use dlsym(3), can call them directly. Ranges, alignment and read-only regions
//! are checked as in section 6.
//!
//! A view may be copied, stored in a device's own struct, and used by any number of threads. It
//! takes the place of the handle and must not be used after its memory is gone; only
//! guestmem_view_is_current() may be called then. After a region was added or removed, a view still
//! shows the earlier regions. Get a new one before the last reference to a removed region is
//! released.
//!
//! Example
//!   struct guestmem_view view;                   // once for each device
//!   guestmem_get_view(mem, &view, sizeof view);
//!
//!   uint16_t flags;                              // for each request
//!   if (!guestmem_view_read_u16(&view, desc + 12, &flags))
//!       return bad_address(desc);

use crate::access::lookup::Lookup;
use crate::error::{Error, Result};
use crate::ffi::memory::guestmem;
use crate::ffi::{Plain, call, caught, memory, required, struct_out};
use crate::memory::guest::GuestMemory;
use crate::memory::table::{Chunk, READ_ONLY, Table};
use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

/// An entry of the flat map: the region that contains the first byte of a chunk of guest addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_chunk {
    /// First guest address past that region; the chunk's own start if there is none. If the region
    /// is read-only, one less, so bit 0 is set; its last byte is then not found here.
    pub end: u64,
    /// Host address minus guest address in that region, modulo 2^64.
    pub delta: u64,
}

const _: () = assert!(
    size_of::<guestmem_chunk>() == 16
        && size_of::<Chunk>() == 16
        && offset_of!(Chunk, end) == offset_of!(guestmem_chunk, end)
        && offset_of!(Chunk, delta) == offset_of!(guestmem_chunk, delta)
        && READ_ONLY == 1
);

/// A memory's lookup table, as guestmem_get_view() returned it. A view of all zeros refuses every
/// address. Only the inline functions should read its fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_view {
    /// The flat map: one entry for each chunk of guest addresses, from 0.
    pub chunks: *const guestmem_chunk,
    /// Number of entries in the flat map.
    pub count: u64,
    /// A chunk is 2^shift bytes of guest addresses.
    pub shift: u64,
    /// Number of this map among all maps of the library.
    pub generation: u64,
    /// Number of the map that the memory has now; 0 when the memory is gone.
    pub live_generation: *const u64,
    /// The memory.
    pub mem: *const guestmem,
    /// The table that the exported twins search.
    pub table: *const c_void,
}

// guestmem_inline.h has the same, in C.
const _: () = assert!(
    size_of::<guestmem_view>() == 56
        && offset_of!(guestmem_view, chunks) == 0
        && offset_of!(guestmem_view, count) == 8
        && offset_of!(guestmem_view, shift) == 16
        && offset_of!(guestmem_view, generation) == 24
        && offset_of!(guestmem_view, live_generation) == 32
        && offset_of!(guestmem_view, mem) == 40
        && offset_of!(guestmem_view, table) == 48
);

// SAFETY: integers and pointers alone.
unsafe impl Plain for guestmem_view {}

/// Returns a view of a memory's current regions.
///
/// @param mem        the memory. It must outlive all use of the view.
/// @param view       the view; zeroed on failure, so that it refuses every address.
/// @param view_size  sizeof *view. Bytes that this version does not know are zeroed.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: view_size is too small for the inline functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_view(
    mem: *const guestmem,
    view: *mut guestmem_view,
    view_size: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        if !view.is_null() {
            view.cast::<u8>().write_bytes(0, view_size.min(size_of::<guestmem_view>()));
        }
        call(None, move || {
            let memory = memory(mem)?;
            required(view)?;
            if view_size < size_of::<guestmem_view>() {
                return Err(Error::InvalidArgument("a view cannot be cut"));
            }
            struct_out(view, view_size, view_of(mem, memory));
            Ok(())
        })
    }
}

fn view_of(mem: *const guestmem, memory: &GuestMemory) -> guestmem_view {
    let (generation, table) = memory.versioned_table();
    let flat = table.flat();
    guestmem_view {
        chunks: flat.chunks.as_ptr().cast(),
        count: flat.chunks.len() as u64,
        shift: flat.shift.into(),
        generation,
        live_generation: memory.version_address(),
        mem,
        table: (&raw const *table).cast(),
    }
}

/// The exported twin of guestmem_view_is_current().
///
/// @param view  a view.
/// @param mem   the memory that the view is of.
/// @return True if no region was added or removed since guestmem_get_view().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_is_current_fn(
    view: *const guestmem_view,
    mem: *const guestmem,
) -> bool {
    // SAFETY: the caller keeps to the manual for its view; a view of all zeros is one too.
    unsafe {
        let Some(view) = view.as_ref() else { return false };
        let live = view.live_generation.cast::<AtomicU64>().as_ref();
        view.mem == mem && live.is_some_and(|live| live.load(Ordering::Acquire) == view.generation)
    }
}

/// The exported twin of guestmem_view_ptr(). The pointer is for reading only.
///
/// @param view  a view of a live memory.
/// @param addr  first guest address.
/// @param size  size in bytes.
/// @return The host address of the first byte; NULL if size is 0 or the range is not within one
///   region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_ptr_fn(
    view: *const guestmem_view,
    addr: u64,
    size: u64,
) -> *mut c_void {
    // SAFETY: the caller keeps to the manual for its view.
    let host = unsafe { host_of(view, addr, size, false) };
    host.map_or(null_mut(), |host| host.cast())
}

/// The exported twin of guestmem_view_ptr_writable().
///
/// @param view  a view of a live memory.
/// @param addr  first guest address.
/// @param size  size in bytes.
/// @return The host address of the first byte; NULL if size is 0, the range is not within one
///   region, or that region is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_ptr_writable_fn(
    view: *const guestmem_view,
    addr: u64,
    size: u64,
) -> *mut c_void {
    // SAFETY: the caller keeps to the manual for its view.
    let host = unsafe { host_of(view, addr, size, true) };
    host.map_or(null_mut(), |host| host.cast())
}

/// The host address of `len` bytes within one region, which may be written, if that `writes`.
///
/// # Safety
/// `view` is NULL, zeroed or a view of a memory that lives.
#[inline(always)]
unsafe fn host_of(
    view: *const guestmem_view,
    addr: u64,
    len: u64,
    writes: bool,
) -> Option<*mut u8> {
    // SAFETY: passed on.
    let table = unsafe { table_of(view)? };
    table.known(addr, len, writes).or_else(|| whole_way(|| table.host(addr, len, writes)))
}

/// What a view's addresses are looked up in.
///
/// # Safety
/// As [`host_of`].
#[inline(always)]
pub(super) unsafe fn table_of<'a>(view: *const guestmem_view) -> Option<&'a Table> {
    // SAFETY: tables live as long as their memory.
    unsafe { view.as_ref()?.table.cast::<Table>().as_ref() }
}

/// What the flat map does not know. A refusal is no error to be remembered.
#[cold]
#[inline(never)]
pub(super) fn whole_way<T>(look: impl FnOnce() -> Result<T>) -> Option<T> {
    caught(look).ok()
}
