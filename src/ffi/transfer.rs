// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 6 Access: file descriptors
//!
//! These calls transfer bytes between a file descriptor and guest memory without an intermediate
//! buffer. They are DMA-level. They continue after short transfers and EINTR, and past 2 GiB. After
//! a failure, guestmem_error_info.completed tells how many bytes were moved. They raise no signal.

use crate::access::transfer::Direction;
use crate::ffi::memory::guestmem;
use crate::ffi::{call, memory};
use std::ffi::c_int;

/// Reads exactly size bytes from a descriptor into guest memory, at the descriptor's position. May
/// block, as read(2).
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param fd    a file, pipe, socket or device to read. Its position advances.
/// @param size  bytes to read.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was read.
/// @retval GUESTMEM_E_READ_ONLY        a region in the range is read-only; nothing was read.
/// @retval GUESTMEM_E_SHORT_READ       the file ended first; `completed` bytes were read.
/// @retval GUESTMEM_E_IO               reading failed after `completed` bytes. os_errno is, for
///   example, EAGAIN when a non-blocking descriptor has no more data, or EBADF when fd is not open
///   for reading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_to_memory(
    mem: *const guestmem,
    addr: u64,
    fd: c_int,
    size: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { transfer(mem, Direction::IntoMemory, addr, fd, None, size) }
}

/// Writes exactly size bytes of guest memory to a descriptor, at the descriptor's position. May
/// block, as write(2).
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param fd    a file, pipe, socket or device to write. Its position advances.
/// @param size  bytes to write.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was written.
/// @retval GUESTMEM_E_IO               writing failed after `completed` bytes. os_errno is, for
///   example, EAGAIN when a non-blocking descriptor accepts no more data, EPIPE when a pipe or
///   socket is closed, EFBIG at a file size limit, or EBADF when fd is not open for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_from_memory(
    mem: *const guestmem,
    addr: u64,
    fd: c_int,
    size: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { transfer(mem, Direction::FromMemory, addr, fd, None, size) }
}

/// Reads exactly size bytes at an offset of a file into guest memory.
///
/// @param mem        the memory.
/// @param addr       first guest address.
/// @param fd         the file. Its position does not change.
/// @param fd_offset  offset in the file.
/// @param size       bytes to read.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: fd_offset is beyond 2^63-1.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was read.
/// @retval GUESTMEM_E_READ_ONLY         a region in the range is read-only; nothing was read.
/// @retval GUESTMEM_E_SHORT_READ        the file ended first; `completed` bytes were read.
/// @retval GUESTMEM_E_IO                reading failed after `completed` bytes. os_errno is ESPIPE
///   when fd cannot seek.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_to_memory_at(
    mem: *const guestmem,
    addr: u64,
    fd: c_int,
    fd_offset: u64,
    size: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { transfer(mem, Direction::IntoMemory, addr, fd, Some(fd_offset), size) }
}

/// Writes exactly size bytes of guest memory at an offset of a file. On a file opened with O_APPEND
/// this needs Linux 6.9.
///
/// @param mem        the memory.
/// @param addr       first guest address.
/// @param fd         the file. Its position does not change.
/// @param fd_offset  offset in the file.
/// @param size       bytes to write.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: fd_offset is beyond 2^63-1.
/// @retval GUESTMEM_E_INVALID_ADDRESS   addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_INVALID_RANGE     the range meets a hole, or wraps; nothing was written.
/// @retval GUESTMEM_E_UNSUPPORTED       fd was opened with O_APPEND, and the kernel can only append
///   to it.
/// @retval GUESTMEM_E_IO                writing failed after `completed` bytes; os_errno tells why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_from_memory_at(
    mem: *const guestmem,
    addr: u64,
    fd: c_int,
    fd_offset: u64,
    size: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { transfer(mem, Direction::FromMemory, addr, fd, Some(fd_offset), size) }
}

/// # Safety
/// See `lend`.
unsafe fn transfer(
    mem: *const guestmem,
    direction: Direction,
    addr: u64,
    fd: c_int,
    fd_offset: Option<u64>,
    size: u64,
) -> c_int {
    call(Some((addr, size)), move || {
        // SAFETY: passed on.
        unsafe { memory(mem)? }.transfer(direction, addr, fd, fd_offset, size)
    })
}
