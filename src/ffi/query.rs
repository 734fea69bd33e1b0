// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 4 Asking about memory

use crate::error;
use crate::error::Result;
use crate::ffi::memory::guestmem;
use crate::ffi::region::flags_of;
use crate::ffi::{
    Plain, call, check_out_size, memory, required, set, struct_out, text_out, value_or,
};
use crate::memory::describe::describe;
use crate::memory::guest::GuestMemory;
use crate::memory::region::MemoryRegion;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

/// Returns the end of the highest region.
///
/// @param mem  the memory.
/// @return The first guest address past it; 0 if the memory is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_end_addr(mem: *const guestmem) -> u64 {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { ask(mem, 0, |mem| Ok(mem.end_addr())) }
}

/// Returns the total size of all regions.
///
/// @param mem  the memory.
/// @return Size in bytes; 0 if the memory is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_memory_size(mem: *const guestmem) -> u64 {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { ask(mem, 0, |mem| Ok(mem.size())) }
}

/// Returns the number of regions.
///
/// @param mem  the memory.
/// @return The number of regions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_num_regions(mem: *const guestmem) -> usize {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { ask(mem, 0, |mem| Ok(mem.num_regions())) }
}

/// What a region is: enough to give it to a hypervisor or to another process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_region_info {
    /// First guest address.
    pub guest_addr: u64,
    /// Size in bytes.
    pub size: u64,
    /// Host address of the first byte, valid while the region lives. Do not write through it if
    /// flags has GUESTMEM_REGION_READ_ONLY.
    pub host_addr: *mut c_void,
    /// GUESTMEM_REGION_* flags that the region was created with.
    pub flags: u64,
    /// Offset of the region in its file; 0 if there is none.
    pub fd_offset: u64,
    /// The file behind the region, or -1. Borrowed: valid while the region lives.
    pub fd: i32,
    /// GUESTMEM_PURPOSE_*.
    pub purpose: u32,
    /// Size of its pages in bytes. For caller's memory without a file, the system's page size.
    pub page_size: u64,
}

// SAFETY: integers and a pointer alone.
unsafe impl Plain for guestmem_region_info {}

fn info_of(region: &MemoryRegion) -> guestmem_region_info {
    let file = region.backing().file();
    guestmem_region_info {
        guest_addr: region.range().start(),
        size: region.range().size(),
        host_addr: region.host().cast(),
        flags: flags_of(region.options()),
        fd_offset: file.map_or(0, |(_, offset)| offset),
        fd: file.map_or(-1, |(file, _)| file.fd()),
        purpose: region.options().purpose,
        page_size: region.page_size(),
    }
}

/// Describes a region.
///
/// @param mem        the memory.
/// @param index      index of the region, in ascending order of guest addresses, from 0.
/// @param info       receives the description.
/// @param info_size  sizeof *info.
/// @retval GUESTMEM_E_NOT_FOUND  the memory has no region with that index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_region_info(
    mem: *const guestmem,
    index: usize,
    info: *mut guestmem_region_info,
    info_size: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        call(None, move || {
            let mem = memory(mem)?;
            check_out_size(info, info_size)?;
            struct_out(info, info_size, info_of(mem.region(index)?));
            Ok(())
        })
    }
}

/// Finds the region that contains an address.
///
/// @param mem        the memory.
/// @param addr       guest address.
/// @param info       receives the region's description. May be NULL.
/// @param info_size  sizeof *info; ignored if info is NULL.
/// @param offset     receives the distance in bytes of addr from the region's start. May be NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_find_region(
    mem: *const guestmem,
    addr: u64,
    info: *mut guestmem_region_info,
    info_size: usize,
    offset: *mut u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(offset, 0);
        call(Some((addr, 0)), move || {
            let mem = memory(mem)?;
            if !info.is_null() {
                check_out_size(info, info_size)?;
            }
            let (region, distance) = mem.find_region(addr)?;
            if !info.is_null() {
                struct_out(info, info_size, info_of(region));
            }
            set(offset, distance);
            Ok(())
        })
    }
}

/// Tells whether an address is in a region.
///
/// @param mem   the memory.
/// @param addr  guest address.
/// @return True if it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_address_in_range(mem: *const guestmem, addr: u64) -> bool {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { ask(mem, false, |mem| Ok(mem.table().index_of(addr).is_some())) }
}

/// Tells whether any byte of any region lies in the range from start to end - 1.
///
/// @param mem    the memory.
/// @param start  first guest address of the range.
/// @param end    first guest address past the range.
/// @return True if so; false if start >= end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_range_overlap(
    mem: *const guestmem,
    start: u64,
    end: u64,
) -> bool {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { ask(mem, false, |mem| Ok(mem.table().overlaps(start, end))) }
}

/// Adds an offset to an address. The sum must lie in a region; addr and the bytes between need not.
/// Use guestmem_is_valid_range() to check those.
///
/// @param mem     the memory.
/// @param addr    guest address.
/// @param offset  bytes to add.
/// @param out     addr + offset.
/// @retval GUESTMEM_E_INVALID_RANGE    the sum wraps at 2^64.
/// @retval GUESTMEM_E_INVALID_ADDRESS  the sum is in no region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_checked_offset(
    mem: *const guestmem,
    addr: u64,
    offset: u64,
    out: *mut u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(out, 0);
        call(Some((addr, offset)), move || {
            let mem = memory(mem)?;
            required(out)?;
            out.write(mem.checked_offset(addr, offset)?);
            Ok(())
        })
    }
}

/// Tells whether a range lies within ONE region.
///
/// @param mem    the memory.
/// @param start  first guest address.
/// @param size   size in bytes.
/// @return True if so; false if size is 0 or the range wraps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_is_valid_range(
    mem: *const guestmem,
    start: u64,
    size: u64,
) -> bool {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { ask(mem, false, |mem| Ok(mem.table().readable(start, size).is_ok())) }
}

/// Describes a memory as one JSON object: its size and end, the policies in force, and each region
/// with its backing and, where /proc tells, its resident bytes. For people and logs; keys may be
/// added.
///
/// @param mem   the memory.
/// @param json  the text, to be freed with guestmem_free().
/// @retval GUESTMEM_E_NO_MEMORY  a host allocation failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_describe(mem: *const guestmem, json: *mut *mut c_char) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(json, null_mut());
        call(None, move || {
            let mem = memory(mem)?;
            required(json)?;
            json.write(text_out(&describe(mem)?)?);
            Ok(())
        })
    }
}

/// Frees text that the library allocated for the caller.
///
/// @param ptr  the text; NULL has no effect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_free(ptr: *mut c_void) {
    let saved = error::errno();
    // SAFETY: it came from `text_out`, says the manual.
    unsafe { libc::free(ptr) };
    error::set_errno(saved);
}

/// Answers a question that has no code of its own.
///
/// # Safety
/// See `lend`.
unsafe fn ask<T>(
    mem: *const guestmem,
    otherwise: T,
    question: impl FnOnce(&GuestMemory) -> Result<T>,
) -> T {
    // SAFETY: passed on.
    value_or(otherwise, || question(unsafe { memory(mem)? }))
}
