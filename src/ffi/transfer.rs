// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 6 Access: file descriptors
//!
//! Straight between the kernel and guest memory, without a buffer between. DMA-level. Short
//! transfers and EINTR are continued where they stopped, also past 2 GiB; the error info's
//! `completed` tells how many bytes were moved before a failure. No signal is raised.

use crate::access::transfer::Direction;
use crate::ffi::memory::guestmem;
use crate::ffi::{call, memory};
use std::ffi::c_int;

/// Reads exactly count bytes from a descriptor's position into guest memory. Any thread; may
/// block as read(2) does.
///
/// @param mem    a memory.
/// @param addr   first guest address.
/// @param fd     what to read: a file, pipe, socket or device. Its position moves.
/// @param count  bytes.
/// @retval GUESTMEM_OK                 the bytes are in guest memory.
/// @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region (nor, for 0 bytes, one past its end).
/// @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was read.
/// @retval GUESTMEM_E_READ_ONLY        a region in the range is read-only; nothing was read.
/// @retval GUESTMEM_E_SHORT_READ       the file ended first; `completed` bytes are in guest memory.
/// @retval GUESTMEM_E_IO               reading failed after `completed` bytes, with os_errno: EAGAIN
///   when a non-blocking descriptor has no more, EBADF when fd cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_to_memory(
    mem: *const guestmem,
    addr: u64,
    fd: c_int,
    count: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { transfer(mem, Direction::IntoMemory, addr, fd, None, count) }
}

/// Writes exactly count bytes of guest memory to a descriptor, at its position. Any thread; may
/// block as write(2) does.
///
/// @param mem    a memory.
/// @param addr   first guest address.
/// @param fd     what to write: a file, pipe, socket or device. Its position moves.
/// @param count  bytes.
/// @retval GUESTMEM_OK                 the bytes are written.
/// @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region (nor, for 0 bytes, one past its end).
/// @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was written.
/// @retval GUESTMEM_E_IO               writing failed after `completed` bytes, with os_errno: EAGAIN
///   when a non-blocking descriptor takes no more, EPIPE when a pipe or socket is closed, EFBIG at
///   a file size limit, EBADF when fd cannot be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_from_memory(
    mem: *const guestmem,
    addr: u64,
    fd: c_int,
    count: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { transfer(mem, Direction::FromMemory, addr, fd, None, count) }
}

/// Reads exactly count bytes at an offset of a file into guest memory. Any thread.
///
/// @param mem        a memory.
/// @param addr       first guest address.
/// @param fd         the file. Its position stays.
/// @param fd_offset  where in the file to begin.
/// @param count      bytes.
/// @retval GUESTMEM_OK                  the bytes are in guest memory.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  fd_offset is beyond 2^63-1.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
/// @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was read.
/// @retval GUESTMEM_E_READ_ONLY         a region in the range is read-only; nothing was read.
/// @retval GUESTMEM_E_SHORT_READ        the file ended first; `completed` bytes are in guest memory.
/// @retval GUESTMEM_E_IO                reading failed after `completed` bytes, with os_errno:
///   ESPIPE when fd cannot seek.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_to_memory_at(
    mem: *const guestmem,
    addr: u64,
    fd: c_int,
    fd_offset: u64,
    count: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { transfer(mem, Direction::IntoMemory, addr, fd, Some(fd_offset), count) }
}

/// Writes exactly count bytes of guest memory at an offset of a file, also when it is open to
/// append, where the kernel can (Linux 6.9). Any thread.
///
/// @param mem        a memory.
/// @param addr       first guest address.
/// @param fd         the file. Its position stays.
/// @param fd_offset  where in the file to begin.
/// @param count      bytes.
/// @retval GUESTMEM_OK                  the bytes are written.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  fd_offset is beyond 2^63-1.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region (nor, for 0 bytes, one past its end).
/// @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was written.
/// @retval GUESTMEM_E_UNSUPPORTED       fd is open to append and the kernel cannot write elsewhere.
/// @retval GUESTMEM_E_IO                writing failed after `completed` bytes, with os_errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_from_memory_at(
    mem: *const guestmem,
    addr: u64,
    fd: c_int,
    fd_offset: u64,
    count: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { transfer(mem, Direction::FromMemory, addr, fd, Some(fd_offset), count) }
}

/// # Safety
/// See `lend`.
unsafe fn transfer(
    mem: *const guestmem,
    direction: Direction,
    addr: u64,
    fd: c_int,
    fd_offset: Option<u64>,
    count: u64,
) -> c_int {
    call(Some((addr, count)), move || {
        // SAFETY: passed on.
        unsafe { memory(mem)? }.transfer(direction, addr, fd, fd_offset, count)
    })
}
