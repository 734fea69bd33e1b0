// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 5 Translating
//!
//! Host pointers and descriptors are valid while their region lives: as long as the memory, or until
//! the last reference to a region that was removed is gone. A pointer is handed out only together
//! with a length that was checked; guestmem_get_host_address() checks a single byte. What will be
//! written comes from guestmem_get_host_address_range_writable(), or as slices from its like below.

use crate::ffi::memory::guestmem;
use crate::ffi::status::GUESTMEM_OK;
use crate::ffi::{call, call_in_memory, host_of, memory, required, set};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// Translates a guest address to read from it. For memory that will be written use
/// guestmem_get_host_address_range_writable(): this one gives pointers into read-only regions too.
/// One byte is checked, so the pointer is to be used for nothing longer. Any thread.
///
/// @param mem   a memory.
/// @param addr  guest address.
/// @param out   the host address.
/// @retval GUESTMEM_OK                  *out is the host address.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_get_host_address(
    mem: *const guestmem,
    addr: u64,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { in_one_region(mem, addr, 1, false, out, null_mut(), |host| host.cast()) }
}

/// Translates a range within one region to read from it. For memory that will be written use
/// guestmem_get_host_address_range_writable(): this one gives pointers into read-only regions too.
/// Any thread.
///
/// @param mem   a memory.
/// @param addr  first guest address.
/// @param size  bytes.
/// @param out   the host address of the first byte.
/// @retval GUESTMEM_OK                  *out is the host address.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the range does not end in the region it starts in, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE      size is 0.
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

/// Translates a range within one region to write there, and to read: as
/// guestmem_get_host_address_range(), but read-only regions are refused. Any thread.
///
/// @param mem   a memory.
/// @param addr  first guest address.
/// @param size  bytes.
/// @param out   the host address of the first byte.
/// @retval GUESTMEM_OK                  *out is the host address.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  out is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the range does not end in the region it starts in, or wraps.
/// @retval GUESTMEM_E_INVALID_SIZE      size is 0.
/// @retval GUESTMEM_E_READ_ONLY         the region is read-only.
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
        if let Some(host) = host_of(mem, addr, size, writes) {
            if !out.is_null() {
                out.write(made(host));
                return GUESTMEM_OK;
            }
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

/// Translates a host address back. Takes longer the more regions there are. Where regions share
/// host memory the lowest guest address is given. Any thread.
///
/// @param mem   a memory.
/// @param host  host address.
/// @param out   the guest address.
/// @retval GUESTMEM_OK                  *out is the guest address.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  host or out is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   no region of the memory is mapped there.
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

/// Gives the file that backs an address. Any thread.
///
/// @param mem   a memory.
/// @param addr  guest address.
/// @param fd    the file, borrowed: valid while the region lives.
/// @retval GUESTMEM_OK                  *fd is the file.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  fd is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_UNSUPPORTED       the region has no file behind it.
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

/// Gives the file that backs the address at a distance from the lowest region's start. Any thread.
///
/// @param mem     a memory.
/// @param offset  bytes from the start of the lowest region.
/// @param fd      the file, borrowed: valid while the region lives.
/// @retval GUESTMEM_OK                  *fd is the file.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  fd is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   the address is in no region.
/// @retval GUESTMEM_E_INVALID_RANGE     the address wraps at 2^64.
/// @retval GUESTMEM_E_UNSUPPORTED       the region has no file behind it.
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

/// Gives the file that backs an address and where in it the address lies: what another process
/// needs to map the same bytes. Regions of one memory share a file without gaps, so this is not
/// the distance in guest addresses. Any thread.
///
/// @param mem     a memory.
/// @param addr    guest address.
/// @param fd      the file, borrowed: valid while the region lives. May be NULL.
/// @param offset  bytes from the start of that file.
/// @retval GUESTMEM_OK                  the outputs are set.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  offset is NULL.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region.
/// @retval GUESTMEM_E_UNSUPPORTED       the region has no file behind it.
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
