// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 5 Translating: addresses
//!
//! Host addresses and descriptors are valid while their region lives: as long as the memory or,
//! once the region was removed, until its last reference is released.
//!
//! Pointers from calls without "writable" in their name are for reading only: they may point into
//! read-only regions, where a write raises SIGSEGV. Use guestmem_get_host_address_range_writable(),
//! or its counterparts for slices, for memory that will be written.

use crate::access::lookup::Lookup;
use crate::ffi::memory::guestmem;
use crate::ffi::status::GUESTMEM_OK;
use crate::ffi::{call, call_in_memory, memory, required, set};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// Translates one guest address, for reading. Checks one byte only; use
/// guestmem_get_host_address_range() for longer accesses.
///
/// @param mem   the memory.
/// @param addr  guest address.
/// @param out   the host address.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_host_address(
    mem: *const guestmem,
    addr: u64,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { in_one_region(mem, addr, 1, false, out, null_mut(), |host| host.cast()) }
}

/// Translates a range within one region, for reading.
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param size  size in bytes.
/// @param out   the host address of the first byte.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the range does not end in the region it starts in, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE     size is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_host_address_range(
    mem: *const guestmem,
    addr: u64,
    size: u64,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { in_one_region(mem, addr, size, false, out, null_mut(), |host| host.cast()) }
}

/// Like guestmem_get_host_address_range(), for writing and reading. Refuses read-only regions.
///
/// @copydetails guestmem_get_host_address_range
/// @retval GUESTMEM_E_READ_ONLY  the region is read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_host_address_range_writable(
    mem: *const guestmem,
    addr: u64,
    size: u64,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { in_one_region(mem, addr, size, true, out, null_mut(), |host| host.cast()) }
}

/// What is `made` of the host address of `size` bytes, which may be written, if that `writes`;
/// `nothing` on failure. The flat map's answer, or the whole way.
///
/// # Safety
/// `out` is NULL or can be written; for `mem` see `lend`.
#[inline(always)]
pub(super) unsafe fn in_one_region<T>(
    mem: *const guestmem,
    addr: u64,
    size: u64,
    writes: bool,
    out: *mut T,
    nothing: T,
    made: impl Fn(*mut u8) -> T,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        let known = || memory(mem).ok()?.table().known(addr, size, writes);
        match known() {
            Some(host) if !out.is_null() => {
                out.write(made(host));
                return GUESTMEM_OK;
            }
            _ => {}
        }
        set(out, nothing);
        call_in_memory(Some((addr, size)), move || {
            let mem = memory(mem)?;
            required(out)?;
            out.write(made(mem.table().host(addr, size, writes)?));
            Ok(())
        })
    }
}

/// Translates a host address to a guest address. The time it takes grows with the number of
/// regions. If regions share host memory, returns the lowest guest address.
///
/// @param mem   the memory.
/// @param host  host address.
/// @param out   the guest address.
/// @retval GUESTMEM_E_INVALID_ADDRESS  no region of the memory is mapped there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_guest_address(
    mem: *const guestmem,
    host: *const c_void,
    out: *mut u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(out, 0);
        call_in_memory(None, move || {
            let mem = memory(mem)?;
            required(host)?;
            required(out)?;
            out.write(mem.table().guest_address(host as u64)?);
            Ok(())
        })
    }
}

/// Returns the file that backs an address.
///
/// @param mem   the memory.
/// @param addr  guest address.
/// @param fd    the file. Borrowed: valid while the region lives.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_UNSUPPORTED      the region has no file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_shm_region(
    mem: *const guestmem,
    addr: u64,
    fd: *mut c_int,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(fd, -1);
        call(Some((addr, 0)), move || {
            let mem = memory(mem)?;
            required(fd)?;
            fd.write(mem.file_at(addr)?.0);
            Ok(())
        })
    }
}

/// Returns the file that backs the address at a distance from the lowest region's start.
///
/// @param mem     the memory.
/// @param offset  distance in bytes from the start of the lowest region.
/// @param fd      the file. Borrowed: valid while the region lives.
/// @retval GUESTMEM_E_INVALID_ADDRESS  the address is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE    the address wraps at 2^64.
/// @retval GUESTMEM_E_UNSUPPORTED      the region has no file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_offset_region(
    mem: *const guestmem,
    offset: u64,
    fd: *mut c_int,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(fd, -1);
        call(None, move || {
            let mem = memory(mem)?;
            required(fd)?;
            fd.write(mem.file_at_offset(offset)?);
            Ok(())
        })
    }
}

/// Returns the file that backs an address, and the address's offset in that file: what another
/// process needs to map the same bytes. Regions of one memory lie in their shared file without
/// gaps, so this offset is not a distance in guest addresses.
///
/// @param mem     the memory.
/// @param addr    guest address.
/// @param fd      the file. Borrowed: valid while the region lives. May be NULL.
/// @param offset  offset in bytes from the start of the file.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_UNSUPPORTED      the region has no file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_offset_from_base(
    mem: *const guestmem,
    addr: u64,
    fd: *mut c_int,
    offset: *mut u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(fd, -1);
        set(offset, 0);
        call(Some((addr, 0)), move || {
            let mem = memory(mem)?;
            required(offset)?;
            let (file, distance) = mem.file_at(addr)?;
            set(fd, file);
            offset.write(distance);
            Ok(())
        })
    }
}
