// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 6 Access: bytes and objects
//!
//! Each call checks the whole range before it moves the first byte. If source and destination are
//! 8-byte aligned, a copy moves each 8-byte word in one access. Aligned words of 2 and 4 bytes are
//! not torn either.

use crate::access::lookup::Lookup;
use crate::error::Result;
use crate::ffi::memory::guestmem;
use crate::ffi::status::GUESTMEM_OK;
use crate::ffi::{call_in_memory, memory, required, required_buffer, set};
use crate::memory::guest::GuestMemory;
use crate::memory::table::Table;
use std::ffi::{c_int, c_void};

/// Reads from one region, fewer bytes than len at its end. Region-level.
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param buf   receives the bytes. May be NULL when len is 0.
/// @param len   bytes to read.
/// @param done  bytes read, at most len.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read(
    mem: *const guestmem,
    addr: u64,
    buf: *mut c_void,
    len: usize,
    done: *mut usize,
) -> c_int {
    // SAFETY: as for `reading`; `done` can be written where it is not NULL.
    unsafe {
        if !done.is_null() {
            done.write(len);
            if let Some(ok) = at_once(mem, buf, |table| table.try_read(addr, buf.cast(), len)) {
                return ok;
            }
        }
        whole_way_counting(mem, addr, buf, len, done, |mem, addr, buf, len| {
            mem.read(addr, buf, len)
        })
    }
}

/// Writes to one region, fewer bytes than len at its end. Region-level.
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param buf   the bytes. May be NULL when len is 0.
/// @param len   bytes to write.
/// @param done  bytes written, at most len.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_READ_ONLY        the region is read-only and len is not 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write(
    mem: *const guestmem,
    addr: u64,
    buf: *const c_void,
    len: usize,
    done: *mut usize,
) -> c_int {
    // SAFETY: as for `writing`; `done` can be written where it is not NULL.
    unsafe {
        if !done.is_null() {
            done.write(len);
            if let Some(ok) = at_once(mem, buf, |table| table.try_write(addr, buf.cast(), len)) {
                return ok;
            }
        }
        whole_way_counting(mem, addr, buf.cast_mut(), len, done, |mem, addr, buf, len| {
            mem.write(addr, buf, len)
        })
    }
}

/// Reads all len bytes from one region, or nothing. Region-level.
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param buf   receives the bytes. May be NULL when len is 0.
/// @param len   bytes to read.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_SHORT_READ       the region ends before the range does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_exact(
    mem: *const guestmem,
    addr: u64,
    buf: *mut c_void,
    len: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { reading(mem, addr, buf, len, |mem, addr, buf, len| mem.read_exact(addr, buf, len)) }
}

/// Writes all len bytes to one region, or nothing. Region-level.
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param buf   the bytes. May be NULL when len is 0.
/// @param len   bytes to write.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_SHORT_WRITE      the region ends before the range does; nothing was written.
/// @retval GUESTMEM_E_READ_ONLY        the region is read-only and len is not 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_all(
    mem: *const guestmem,
    addr: u64,
    buf: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { writing(mem, addr, buf, len, |mem, addr, buf, len| mem.write_all(addr, buf, len)) }
}

/// Reads all len bytes as a device does, through adjacent regions, or nothing. DMA-level.
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param buf   receives the bytes. May be NULL when len is 0.
/// @param len   bytes to read.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_dma_read(
    mem: *const guestmem,
    addr: u64,
    buf: *mut c_void,
    len: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { reading(mem, addr, buf, len, |mem, addr, buf, len| mem.dma_read(addr, buf, len)) }
}

/// Writes all len bytes as a device does, through adjacent regions, or nothing. DMA-level.
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param buf   the bytes. May be NULL when len is 0.
/// @param len   bytes to write.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was written.
/// @retval GUESTMEM_E_READ_ONLY        a region in the range is read-only; nothing was written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_dma_write(
    mem: *const guestmem,
    addr: u64,
    buf: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe { writing(mem, addr, buf, len, |mem, addr, buf, len| mem.dma_write(addr, buf, len)) }
}

/// Copies within guest memory, through adjacent regions. Guest addresses may overlap, as in
/// memmove(3). The call does not detect an overlap of regions that share host memory. DMA-level.
///
/// @param mem   the memory.
/// @param dst   first guest address to write.
/// @param src   first guest address to read.
/// @param size  bytes to copy.
/// @retval GUESTMEM_E_INVALID_ADDRESS  dst or src is in no region; for 0 bytes, also not at the end
///   of one.
/// @retval GUESTMEM_E_INVALID_RANGE    a range meets a hole, or wraps; nothing was written.
/// @retval GUESTMEM_E_READ_ONLY        a region to write is read-only; nothing was written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_dma_copy(
    mem: *const guestmem,
    dst: u64,
    src: u64,
    size: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    call_in_memory(Some((dst, size)), move || unsafe { memory(mem)? }.dma_copy(dst, src, size))
}

/// Fills guest memory, through adjacent regions. DMA-level.
///
/// @param mem   the memory.
/// @param addr  first guest address.
/// @param byte  the value of each byte.
/// @param size  bytes to fill.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_INVALID_RANGE    the range meets a hole, or wraps; nothing was written.
/// @retval GUESTMEM_E_READ_ONLY        a region in the range is read-only; nothing was written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_dma_fill(
    mem: *const guestmem,
    addr: u64,
    byte: u8,
    size: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    call_in_memory(Some((addr, size)), move || unsafe { memory(mem)? }.dma_fill(addr, byte, size))
}

/// Reads an object without tearing its fields: in ascending, naturally aligned accesses, each made
/// once. Their width is the widest of 8, 4, 2 and 1 bytes that divides size. Region-level.
///
/// @param mem   the memory.
/// @param addr  guest address, a multiple of that width.
/// @param obj   receives the object, at any alignment. May be NULL when size is 0.
/// @param size  size of the object in bytes.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_INVALID_RANGE    the object does not end in the region in which it starts.
/// @retval GUESTMEM_E_MISALIGNED       addr is not a multiple of the width.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_read_obj_volatile(
    mem: *const guestmem,
    addr: u64,
    obj: *mut c_void,
    size: usize,
) -> c_int {
    // SAFETY: as for `reading`.
    unsafe {
        match at_once(mem, obj, |table| table.try_read_object(addr, obj.cast(), size)) {
            Some(()) => GUESTMEM_OK,
            _ => whole_way(mem, addr, obj, size, |mem, addr, obj, size| {
                mem.read_object(addr, obj, size)
            }),
        }
    }
}

/// Writes an object without tearing its fields: in ascending, naturally aligned accesses, each made
/// once. Their width is the widest of 8, 4, 2 and 1 bytes that divides size. Region-level.
///
/// @param mem   the memory.
/// @param addr  guest address, a multiple of that width.
/// @param obj   the object, at any alignment. May be NULL when size is 0.
/// @param size  size of the object in bytes.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region; for 0 bytes, also not at the end of
///   one.
/// @retval GUESTMEM_E_INVALID_RANGE    the object does not end in the region in which it starts.
/// @retval GUESTMEM_E_MISALIGNED       addr is not a multiple of the width.
/// @retval GUESTMEM_E_READ_ONLY        the region is read-only and size is not 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_write_obj_volatile(
    mem: *const guestmem,
    addr: u64,
    obj: *const c_void,
    size: usize,
) -> c_int {
    // SAFETY: as for `writing`.
    unsafe {
        match at_once(mem, obj, |table| table.try_write_object(addr, obj.cast(), size)) {
            Some(()) => GUESTMEM_OK,
            _ => whole_way(mem, addr, obj.cast_mut(), size, |mem, addr, obj, size| {
                mem.write_object(addr, obj, size)
            }),
        }
    }
}

/// Reads the short way, or the whole way.
///
/// # Safety
/// As the functions that use it.
#[inline(always)]
unsafe fn reading(
    mem: *const guestmem,
    addr: u64,
    buf: *mut c_void,
    len: usize,
    access: impl FnOnce(&GuestMemory, u64, *mut u8, usize) -> Result<()>,
) -> c_int {
    // SAFETY: `len` bytes are in the caller's buffer.
    unsafe {
        match at_once(mem, buf, |table| table.try_read(addr, buf.cast(), len)) {
            Some(ok) => ok,
            _ => whole_way(mem, addr, buf, len, access),
        }
    }
}

/// Writes the short way, or the whole way.
///
/// # Safety
/// As the functions that use it.
#[inline(always)]
unsafe fn writing(
    mem: *const guestmem,
    addr: u64,
    buf: *const c_void,
    len: usize,
    access: impl FnOnce(&GuestMemory, u64, *mut u8, usize) -> Result<()>,
) -> c_int {
    // SAFETY: `len` bytes are in the caller's buffer.
    unsafe {
        match at_once(mem, buf, |table| table.try_write(addr, buf.cast(), len)) {
            Some(ok) => ok,
            _ => whole_way(mem, addr, buf.cast_mut(), len, access),
        }
    }
}

/// Takes the short way, on which nothing can fail or panic.
///
/// # Safety
/// See `lend`.
#[inline(always)]
unsafe fn at_once<T>(
    mem: *const guestmem,
    buf: *const c_void,
    access: impl FnOnce(&Table) -> Option<T>,
) -> Option<T> {
    // SAFETY: passed on.
    let mem = unsafe { memory(mem).ok()? };
    if buf.is_null() { None } else { access(mem.table()) }
}

// What the copies return is what a C function returns for them.
const _: () = assert!(GUESTMEM_OK == 0);

/// The whole way. It takes what the C function got, in the same registers, so that the good path
/// has nothing to put by for it.
///
/// # Safety
/// As the functions that use it.
#[cold]
#[inline(never)]
unsafe extern "C" fn whole_way(
    mem: *const guestmem,
    addr: u64,
    buf: *mut c_void,
    len: usize,
    access: impl FnOnce(&GuestMemory, u64, *mut u8, usize) -> Result<()>,
) -> c_int {
    call_in_memory(Some((addr, len as u64)), move || {
        // SAFETY: the caller keeps to the manual for its handle.
        let mem = unsafe { memory(mem)? };
        required_buffer(buf, len)?;
        access(mem, addr, buf.cast(), len)
    })
}

/// As [`whole_way`], for the functions that tell how far they came.
///
/// # Safety
/// As the functions that use it.
#[cold]
#[inline(never)]
unsafe extern "C" fn whole_way_counting(
    mem: *const guestmem,
    addr: u64,
    buf: *mut c_void,
    len: usize,
    done: *mut usize,
    access: impl FnOnce(&GuestMemory, u64, *mut u8, usize) -> Result<usize>,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(done, 0);
        call_in_memory(Some((addr, len as u64)), move || {
            let mem = memory(mem)?;
            required_buffer(buf, len)?;
            required(done)?;
            done.write(access(mem, addr, buf.cast(), len)?);
            Ok(())
        })
    }
}
