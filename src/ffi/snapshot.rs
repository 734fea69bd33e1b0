// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 10 Snapshot and restore
//!
//! A snapshot is data and metadata. The data are the pages of memory that may hold anything but
//! zeros, so a snapshot costs what was touched, not what was configured. In the packed layout (for
//! files, pipes, sockets and callbacks) the data ranges follow one another. The sparse layout (for
//! files) is a raw image of all regions, with holes between the data.
//!
//! The metadata is one JSON object with the regions, the data ranges, and a CRC-32C for each MiB of
//! data:
//!   {"format":"guestmem","version":1,"layout":"packed","compressed":false,"page_size":4096,
//!   "data_size":N,"checksum":"crc32c","chunk_size":1048576,"regions":[{"guest_base":0,"size":65536,
//!   "file_offset":0,"data_ranges":[{"start":61440,"end":65536,"crc":[3735928559]}]}]}
//! Ranges are offsets in their region. file_offset is the offset in the data of the region's first
//! data byte (packed) or first byte (sparse). Bytes in no range are zeros. Later versions may add
//! keys; unknown keys are ignored. docs/image-format.md describes the format in full.
//!
//! For all calls of this section and of section 12 that take a memory:
//!
//! - Stop vCPUs and devices during the call. Memory that changes during a snapshot is damaged in
//!   it, which its checksums reveal.
//! - The calls block as read(2) and write(2) do, raise no signal, and need /proc. Their threads end
//!   before they return.
//! - Several snapshots of a region may run at the same time, but a restore into a region must run
//!   alone. The later call fails with GUESTMEM_E_BUSY, also when a callback of the first makes it,
//!   and also through another memory with the same region. A forked child knows only its own calls.
//! - GUESTMEM_E_NO_MEMORY: a host allocation failed. GUESTMEM_E_TOO_LARGE: a limit of the process
//!   was reached. GUESTMEM_E_OS: a system call failed.
//! - After GUESTMEM_E_IO, os_errno is EFAULT at a page of memory that cannot be read or written.

use crate::access::volatile::copy_from_guest;
use crate::error::{Error, Result};
use crate::ffi::memory::guestmem;
use crate::ffi::{Plain, call, known_flags, memory, required, set, struct_in, text_out};
use crate::host::alloc::vec_of;
use crate::image::format::metadata::{Layout, MAX_TEXT};
use crate::image::read::restore::{RestoreOptions, restore_from, restore_from_fd};
use crate::image::write::options::SnapshotOptions;
use crate::image::write::snapshot::{snapshot_to, snapshot_to_fd};
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

/// Takes len bytes of data.
///
/// @param user  passed on from the call.
/// @param buf   the bytes; valid until the function returns.
/// @param len   number of bytes, not 0.
/// @return Number of bytes taken, at least 1; or a negative errno, which fails the call with
///   GUESTMEM_E_IO.
pub type guestmem_write_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, buf: *const c_void, len: usize) -> i64>;

/// Supplies up to len bytes of data.
///
/// @param user  passed on from the call.
/// @param buf   receives the bytes; valid until the function returns.
/// @param len   size of buf in bytes, not 0.
/// @return Number of bytes supplied, 0 at the end; or a negative errno, which fails the call with
///   GUESTMEM_E_IO.
pub type guestmem_read_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, buf: *mut c_void, len: usize) -> i64>;

/// Reports the progress of a call: at least every 64 MiB, and once with done equal to total. done
/// never decreases.
///
/// @param user   progress_user of the options.
/// @param done   bytes of data processed.
/// @param total  bytes of data in all.
/// @return 0 to continue; anything else fails the call with GUESTMEM_E_CANCELLED.
pub type guestmem_progress_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, done: u64, total: u64) -> c_int>;

/// Write no checksums. Damage of the data then goes unnoticed.
pub const GUESTMEM_SNAPSHOT_NO_CHECKSUM: u64 = 1;
/// Also leave out pages that are allocated but hold only zeros. Reads all data once more.
pub const GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES: u64 = 2;
/// Call fdatasync(2), so that the data is on disk when the call returns.
pub const GUESTMEM_SNAPSHOT_SYNC: u64 = 4;
/// Bypass the page cache (O_DIRECT). The file must support it, and the start position must be a
/// multiple of the page size; otherwise GUESTMEM_E_UNSUPPORTED. Short pieces of a sparse file or an
/// image pass through the page cache all the same, because each would take longer by itself; the
/// call waits for them and drops them from the cache.
pub const GUESTMEM_SNAPSHOT_DIRECT: u64 = 8;

/// Data ranges one after the other: for files, pipes, sockets and callbacks.
pub const GUESTMEM_LAYOUT_PACKED: u32 = 0;
/// A raw image of all regions, one after the other, with holes: for files.
pub const GUESTMEM_LAYOUT_SPARSE: u32 = 1;

/// The stream continues after the data, for example with device state: stop at the end of the data
/// and do not check what follows.
pub const GUESTMEM_RESTORE_MORE_FOLLOWS: u64 = 1;

/// How to take a snapshot. All zero: packed, with checksums.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_snapshot_options {
    /// GUESTMEM_SNAPSHOT_* flags.
    pub flags: u64,
    /// GUESTMEM_LAYOUT_*.
    pub layout: u32,
    /// Most threads to use, including the calling one; 0: as many as help.
    pub threads: u32,
    /// May be NULL.
    pub progress: guestmem_progress_fn,
    /// Passed to progress.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, a pointer and an optional function pointer.
unsafe impl Plain for guestmem_snapshot_options {}

/// How to restore a snapshot. All zero: nothing may follow the data.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_restore_options {
    /// GUESTMEM_RESTORE_* flags.
    pub flags: u64,
    /// Most threads to use, including the calling one; 0: as many as help.
    pub threads: u32,
    /// Must be 0.
    pub reserved: u32,
    /// May be NULL. First called when guest memory begins to be written.
    pub progress: guestmem_progress_fn,
    /// Passed to progress.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, a pointer and an optional function pointer.
unsafe impl Plain for guestmem_restore_options {}

/// Writes the data of a memory to a descriptor. The packed layout is written at the file position
/// and advances it. The sparse layout is written at absolute offsets, does not change the position,
/// and sets the file's size to guestmem_memory_size(). Allocates no guest page. After a failure,
/// part of the data may have been written.
///
/// @param mem           the memory.
/// @param fd            a file, pipe or socket; for the sparse layout, a file not opened with
///   O_APPEND.
/// @param options       may be NULL: packed, with checksums.
/// @param options_size  sizeof *options, or 0 if options is NULL.
/// @param metadata      the JSON text, to be freed with guestmem_free().
/// @retval GUESTMEM_E_UNSUPPORTED  fd cannot be synced (_SYNC) or written directly (_DIRECT); or,
///   with the sparse layout, is not a file or was opened with O_APPEND. Or the library cannot tell
///   which pages hold data: /proc is missing or belongs to another user (see guestmem_prepare()),
///   caller's memory has neither an fd nor the privilege to look, or a userfaultfd supplies missing
///   pages.
/// @retval GUESTMEM_E_TAINTED      an earlier restore into this memory failed half way.
/// @retval GUESTMEM_E_BUSY         a restore into one of its regions is running; or fd is, or may
///   be, a file that backs the memory. On file systems whose parts number their files separately,
///   only CAP_CHECKPOINT_RESTORE lets the library tell them apart.
/// @retval GUESTMEM_E_IO           writing failed after `completed` bytes. os_errno is, for
///   example, EAGAIN when a non-blocking descriptor accepts no more data, EPIPE when a pipe or
///   socket is closed, EFBIG at a file size limit, or EBADF when fd is not open for writing.
/// @retval GUESTMEM_E_CANCELLED    the progress function asked to stop.
/// @retval GUESTMEM_E_TOO_LARGE    also: the metadata would exceed 64 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_snapshot(
    mem: *const guestmem,
    fd: c_int,
    options: *const guestmem_snapshot_options,
    options_size: usize,
    metadata: *mut *mut c_char,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(metadata, null_mut());
        call(None, || {
            let mem = memory(mem)?;
            required(metadata)?;
            let (options, mut progress) = snapshot_options(options, options_size)?;
            metadata.write(text_out(&snapshot_to_fd(mem, fd, options, &mut progress)?)?);
            Ok(())
        })
    }
}

/// Passes the data of a memory to a function, piece by piece, in order. Allocates no guest page.
///
/// @param mem           the memory.
/// @param write         takes the data. Runs on the calling thread.
/// @param user          passed to write.
/// @param options       may be NULL: packed, with checksums.
/// @param options_size  sizeof *options, or 0 if options is NULL.
/// @param metadata      the JSON text, to be freed with guestmem_free().
/// @retval GUESTMEM_E_UNSUPPORTED  _SYNC, _DIRECT or the sparse layout was asked for; or the
///   library cannot tell which pages hold data, as in guestmem_snapshot().
/// @retval GUESTMEM_E_TAINTED      an earlier restore into this memory failed half way.
/// @retval GUESTMEM_E_BUSY         a restore into one of its regions is running.
/// @retval GUESTMEM_E_IO           write failed after `completed` bytes. os_errno is the errno it
///   returned, or EIO if it returned 0 or more than len.
/// @retval GUESTMEM_E_CANCELLED    the progress function asked to stop.
/// @retval GUESTMEM_E_TOO_LARGE    also: the metadata would exceed 64 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_snapshot_write(
    mem: *const guestmem,
    write: guestmem_write_fn,
    user: *mut c_void,
    options: *const guestmem_snapshot_options,
    options_size: usize,
    metadata: *mut *mut c_char,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(metadata, null_mut());
        call(None, || {
            let mem = memory(mem)?;
            let write = write.ok_or(NO_FUNCTION)?;
            required(metadata)?;
            let (options, mut progress) = snapshot_options(options, options_size)?;
            let mut take = |bytes: &[u8]| moved(write(user, bytes.as_ptr().cast(), bytes.len()));
            metadata.write(text_out(&snapshot_to(mem, &mut take, options, &mut progress)?)?);
            Ok(())
        })
    }
}

/// Restores a snapshot into a memory with the same regions. Packed data is read at the file
/// position and advances it. Sparse data is read at absolute offsets. Bytes that the snapshot does
/// not cover read as zeros afterwards; their host memory is freed if the backing allows it.
/// Read-only regions are not written: they must already hold what the snapshot holds for them.
///
/// Before the first write, the call checks metadata and regions and, if fd is a file, its length,
/// checksums and read-only regions. If memory holds nothing yet, the call may write first and
/// empties it again when a check fails. A failure of these checks leaves memory unchanged. In a
/// stream, each MiB is checked before it is copied or compared.
///
/// A failure after the first write leaves memory tainted: snapshots of it fail until a restore
/// succeeds. The taint belongs to the regions, in whatever memory they are.
///
/// @param mem           the memory.
/// @param metadata      the JSON text of the snapshot. It need not be trusted.
/// @param metadata_len  length of metadata in bytes, without a final NUL.
/// @param fd            a file, pipe or socket to read; for the sparse layout, a file.
/// @param options       may be NULL: nothing may follow the data.
/// @param options_size  sizeof *options, or 0 if options is NULL.
/// @retval GUESTMEM_E_METADATA        the metadata is empty, malformed, inconsistent or longer than
///   64 MiB.
/// @retval GUESTMEM_E_UNSUPPORTED     the format, version, layout or kind of checksum is unknown;
///   sparse data is not read from a file; or a userfaultfd supplies missing pages of the memory.
/// @retval GUESTMEM_E_MISMATCH        the snapshot has other regions, or a read-only region has
///   other content. Memory is unchanged, unless data for other regions came earlier in a stream.
/// @retval GUESTMEM_E_SNAPSHOT_SHORT  the data ends too early.
/// @retval GUESTMEM_E_SNAPSHOT_LONG   the data continues past its end.
/// @retval GUESTMEM_E_CORRUPT         a checksum does not match.
/// @retval GUESTMEM_E_IO              reading failed after `completed` bytes; os_errno tells why.
/// @retval GUESTMEM_E_CANCELLED       the progress function asked to stop; memory is tainted.
/// @retval GUESTMEM_E_BUSY            another restore into one of its regions, or a snapshot of
///   one, is running.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_restore(
    mem: *const guestmem,
    metadata: *const c_char,
    metadata_len: usize,
    fd: c_int,
    options: *const guestmem_restore_options,
    options_size: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        call(None, || {
            let mem = memory(mem)?;
            required(metadata)?;
            let (options, mut progress) = restore_options(options, options_size)?;
            let metadata = metadata_in(metadata, metadata_len)?;
            restore_from_fd(mem, &metadata, fd, options, &mut progress)
        })
    }
}

/// Restores a snapshot as guestmem_restore() does, from a function that supplies the data as a
/// stream.
///
/// @param mem           the memory.
/// @param metadata      the JSON text of the snapshot. It need not be trusted.
/// @param metadata_len  length of metadata in bytes, without a final NUL.
/// @param read          supplies the data. Runs on the calling thread.
/// @param user          passed to read.
/// @param options       may be NULL: nothing may follow the data.
/// @param options_size  sizeof *options, or 0 if options is NULL.
/// @retval GUESTMEM_E_METADATA        this and the next two: as guestmem_restore().
/// @retval GUESTMEM_E_UNSUPPORTED     the snapshot or the memory is not supported.
/// @retval GUESTMEM_E_MISMATCH        the snapshot has other regions, or a read-only region has
///   other content.
/// @retval GUESTMEM_E_SNAPSHOT_SHORT  the data ends too early.
/// @retval GUESTMEM_E_SNAPSHOT_LONG   the data continues past its end; memory is tainted unless
///   there was no data.
/// @retval GUESTMEM_E_CORRUPT         a checksum does not match.
/// @retval GUESTMEM_E_IO              read failed after `completed` bytes. os_errno is the errno it
///   returned, or EIO if it returned more than len.
/// @retval GUESTMEM_E_CANCELLED       the progress function asked to stop; memory is tainted.
/// @retval GUESTMEM_E_BUSY            another restore into one of its regions, or a snapshot of
///   one, is running.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_restore_read(
    mem: *const guestmem,
    metadata: *const c_char,
    metadata_len: usize,
    read: guestmem_read_fn,
    user: *mut c_void,
    options: *const guestmem_restore_options,
    options_size: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        call(None, || {
            let mem = memory(mem)?;
            required(metadata)?;
            let read = read.ok_or(NO_FUNCTION)?;
            let (options, mut progress) = restore_options(options, options_size)?;
            let metadata = metadata_in(metadata, metadata_len)?;
            let mut give =
                |buffer: &mut [u8]| moved(read(user, buffer.as_mut_ptr().cast(), buffer.len()));
            restore_from(mem, &metadata, &mut give, options, &mut progress)
        })
    }
}

const NO_FUNCTION: Error = Error::InvalidArgument("a required function is NULL");

/// # Safety
/// See [`struct_in`].
pub(super) unsafe fn snapshot_options(
    options: *const guestmem_snapshot_options,
    size: usize,
) -> Result<(SnapshotOptions, impl FnMut(u64, u64) -> Result<()>)> {
    const KNOWN: u64 = GUESTMEM_SNAPSHOT_NO_CHECKSUM
        | GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES
        | GUESTMEM_SNAPSHOT_SYNC
        | GUESTMEM_SNAPSHOT_DIRECT;
    // SAFETY: passed on.
    let options = unsafe { struct_in(options, size, 0)? };
    known_flags(options.flags, KNOWN)?;
    let layout = match options.layout {
        GUESTMEM_LAYOUT_PACKED => Layout::Packed,
        GUESTMEM_LAYOUT_SPARSE => Layout::Sparse,
        _ => return Err(Error::InvalidArgument("an unknown layout")),
    };
    let has = |flag| options.flags & flag != 0;
    let how = SnapshotOptions {
        layout,
        checksums: !has(GUESTMEM_SNAPSHOT_NO_CHECKSUM),
        skip_zero_pages: has(GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES),
        sync: has(GUESTMEM_SNAPSHOT_SYNC),
        direct: has(GUESTMEM_SNAPSHOT_DIRECT),
        threads: options.threads,
    };
    Ok((how, progress(options.progress, options.progress_user)))
}

/// # Safety
/// See [`struct_in`].
pub(super) unsafe fn restore_options(
    options: *const guestmem_restore_options,
    size: usize,
) -> Result<(RestoreOptions, impl FnMut(u64, u64) -> Result<()>)> {
    // SAFETY: passed on.
    let options = unsafe { struct_in(options, size, 0)? };
    known_flags(options.flags, GUESTMEM_RESTORE_MORE_FOLLOWS)?;
    if options.reserved != 0 {
        return Err(Error::InvalidArgument("reserved is not 0"));
    }
    let more_follows = options.flags & GUESTMEM_RESTORE_MORE_FOLLOWS != 0;
    let how = RestoreOptions { more_follows, threads: options.threads };
    Ok((how, progress(options.progress, options.progress_user)))
}

pub(super) fn progress(
    function: guestmem_progress_fn,
    user: *mut c_void,
) -> impl FnMut(u64, u64) -> Result<()> {
    move |done, total| match function {
        // SAFETY: the caller's function, called as its manual says.
        Some(function) if unsafe { function(user, done, total) } != 0 => Err(Error::Cancelled),
        _ => Ok(()),
    }
}

/// What a caller's function answered: a number of bytes, or an errno.
fn moved(answer: i64) -> std::result::Result<usize, i32> {
    const MAX_ERRNO: i32 = 4095;
    match answer {
        0.. => Ok(answer as usize),
        _ => Err(i32::try_from(-i128::from(answer))
            .ok()
            .filter(|&errno| errno <= MAX_ERRNO)
            .unwrap_or(libc::EIO)),
    }
}

/// Copies the metadata in, so that what is checked is what is used.
///
/// # Safety
/// `text` can be read for `len` bytes.
unsafe fn metadata_in(text: *const c_char, len: usize) -> Result<Vec<u8>> {
    if len as u64 > MAX_TEXT {
        return Err(Error::Metadata("the metadata is longer than 64 MiB"));
    }
    let mut copy: Vec<u8> = vec_of(len)?;
    // SAFETY: both can hold `len` bytes, all of which are then initialised.
    unsafe {
        copy_from_guest(copy.as_mut_ptr(), text.cast(), len);
        copy.set_len(len);
    }
    Ok(copy)
}
