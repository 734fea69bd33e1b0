// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 7 The inline path
//!
//! A view is what a memory looks up addresses in, laid open: plain data, from which the inline
//! functions of guestmem_inline.h answer without a call. What they do not find there (a hole, or a
//! small or oddly placed region among large ones) they ask of the function of the same name with
//! `_fn` appended. These exported twins give the same answers; they serve other languages and programs
//! that come by dlsym(3). Ranges, alignment and read-only regions are checked as in the calls of
//! section 6; a refusal is no error that guestmem_last_error() would tell of.
//!
//! A view can be copied, kept in a device's own struct and used by any number of threads. It takes
//! the place of the handle: it must not be used when its memory is gone, which
//! guestmem_view_is_current() alone can tell. When a region has come or gone a view still tells what
//! was before: fetch it anew, at the latest before a removed region's last reference goes.
//!
//! Example
//!   struct guestmem_view view;                   // once for each device
//!   guestmem_get_view(mem, &view, sizeof view);
//!
//!   uint16_t flags;                              // for each request
//!   if (!guestmem_view_read_u16(&view, desc + 12, &flags))
//!       return bad_address(desc);

use crate::error::{Error, Result};
use crate::ffi::memory::guestmem;
use crate::ffi::{Plain, call, caught, memory, required, struct_out};
use crate::memory::guest::GuestMemory;
use crate::memory::table::{Chunk, READ_ONLY, Table};
use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

/// An entry of the flat map: what is known of a chunk of guest addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_chunk {
    /// First guest address past the region that holds the chunk's first byte, the chunk's own start
    /// if none does. One less where the region is read-only, which bit 0 so tells: the region's last
    /// byte is not found here then.
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

/// How a memory's addresses are looked up, as guestmem_get_view() gave it. Of all zeros it refuses
/// every address. To be read by the inline functions alone.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_view {
    /// The flat map: an entry for each chunk of guest addresses from 0 on.
    pub chunks: *const guestmem_chunk,
    /// Entries in the flat map.
    pub count: u64,
    /// A chunk is 2^shift bytes of guest address space.
    pub shift: u64,
    /// Which of all maps that there were this is.
    pub generation: u64,
    /// Which of them the memory has now; 0 when it is gone.
    pub live_generation: *const u64,
    /// The memory.
    pub mem: *const guestmem,
    /// What the exported twins look into.
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

/// Gives a view of a memory's regions as they are now. Any thread.
///
/// @param mem        a memory, which must outlive all use of the view.
/// @param view       the view; on failure it is zeroed, and so refuses every address.
/// @param view_size  sizeof *view. What it has beyond this version's is zeroed.
/// @retval GUESTMEM_OK                  *view is the view.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  view is NULL, or too small for what the inline functions
///   need.
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
/// @param mem   the memory that it is of.
/// @return True when no region came or went since the view was fetched.
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

/// The exported twin of guestmem_view_ptr(): a pointer to read through. For memory that will be
/// written use guestmem_view_ptr_writable_fn().
///
/// @param view  a view.
/// @param addr  first guest address.
/// @param len   bytes.
/// @return The host address of the first byte; NULL when len is 0 or the range is not within one
///   region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_ptr_fn(
    view: *const guestmem_view,
    addr: u64,
    len: u64,
) -> *mut c_void {
    // SAFETY: the caller keeps to the manual for its view.
    let host = unsafe { host_of(view, addr, len, false) };
    host.map_or(null_mut(), |host| host.cast())
}

/// The exported twin of guestmem_view_ptr_writable().
///
/// @param view  a view.
/// @param addr  first guest address.
/// @param len   bytes.
/// @return The host address of the first byte; NULL when len is 0, the range is not within one
///   region, or that is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_view_ptr_writable_fn(
    view: *const guestmem_view,
    addr: u64,
    len: u64,
) -> *mut c_void {
    // SAFETY: the caller keeps to the manual for its view.
    let host = unsafe { host_of(view, addr, len, true) };
    host.map_or(null_mut(), |host| host.cast())
}

/// The host address of `len` bytes within one region, which may be written, if that `writes`.
///
/// # Safety
/// `view` is NULL, zeroed or a view of a memory that lives.
#[inline(always)]
pub(super) unsafe fn host_of(
    view: *const guestmem_view,
    addr: u64,
    len: u64,
    writes: bool,
) -> Option<*mut u8> {
    // SAFETY: passed on.
    let table = unsafe { table_of(view)? };
    table.flat().host(addr, len, writes).or_else(|| whole_way(|| table.host(addr, len, writes)))
}

#[inline(always)]
unsafe fn table_of<'a>(view: *const guestmem_view) -> Option<&'a Table> {
    // SAFETY: tables live as long as their memory.
    unsafe { view.as_ref()?.table.cast::<Table>().as_ref() }
}

/// What the flat map does not know. A refusal is no error to be remembered.
#[cold]
#[inline(never)]
fn whole_way(look: impl FnOnce() -> Result<*mut u8>) -> Option<*mut u8> {
    caught(look).ok()
}
