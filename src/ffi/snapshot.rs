// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 10 Snapshot and restore
//!
//! A snapshot is data and metadata. The data are the bytes of memory that may be anything but
//! zeros, so it costs what was touched, not what was configured: one range after the other (packed
//! layout, for files, pipes, sockets and callbacks), or each at its place in a raw image of all
//! regions with holes between (sparse layout, for files). The metadata is one JSON object: the
//! regions, the ranges, and a CRC-32C for each MiB of them:
//!   {"format":"guestmem","version":1,"layout":"packed","compressed":false,"page_size":4096,
//!   "data_size":N,"checksum":"crc32c","chunk_size":1048576,"regions":[{"guest_base":0,"size":65536,
//!   "file_offset":0,"data_ranges":[{"start":61440,"end":65536,"crc":[3735928559]}]}]}
//! Ranges are offsets in their region; file_offset is where the region's first data byte (packed)
//! or first byte (sparse) lies; what no range covers is zeros. Keys may be added to it: unknown ones
//! are ignored. docs/image-format.md has it in full.
//!
//! Stop vCPUs and devices for the length of these calls: what changes under a snapshot is damaged
//! in it, and found so by its checksums. They block as read(2) and write(2) do, raise no signal,
//! and call back on the calling thread. They need /proc. Their threads end before they return.
//!
//! Several snapshots of a region may be under way side by side, but a restore into it only alone: what
//! comes second gets GUESTMEM_E_BUSY, also from a callback of the first, and in whatever memory the
//! region is. A forked child knows of its own alone.

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
/// @param user  as given to the call.
/// @param buf   the bytes; valid until the function returns.
/// @param len   how many, not 0.
/// @return How many were taken, at least one; or a negative errno, which fails the call with
///   GUESTMEM_E_IO.
pub type guestmem_write_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, buf: *const c_void, len: usize) -> i64>;

/// Gives up to len bytes of data.
///
/// @param user  as given to the call.
/// @param buf   where they go; valid until the function returns.
/// @param len   room in it, not 0.
/// @return How many were given, 0 at the end; or a negative errno, which fails the call with
///   GUESTMEM_E_IO.
pub type guestmem_read_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, buf: *mut c_void, len: usize) -> i64>;

/// Is told how far a call has come: at least every 64 MiB, done never falling, and once with done
/// equal to total.
///
/// @param user   as given in the options.
/// @param done   bytes of data that are done.
/// @param total  bytes of data in all.
/// @return 0 to go on; anything else fails the call with GUESTMEM_E_CANCELLED.
pub type guestmem_progress_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, done: u64, total: u64) -> c_int>;

/// Without checksums: damage of the data goes unnoticed.
pub const GUESTMEM_SNAPSHOT_NO_CHECKSUM: u64 = 1;
/// Leave out pages too that are allocated but hold only zeros. Takes reading all data once more.
pub const GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES: u64 = 2;
/// Have the data on its disk when the call returns (fdatasync).
pub const GUESTMEM_SNAPSHOT_SYNC: u64 = 4;
/// Write past the page cache (O_DIRECT), to a file that can do it and from a position that is a
/// multiple of the page size; GUESTMEM_E_UNSUPPORTED elsewhere. Short pieces of a sparse file or an
/// image go through it, are waited for, and leave it again: each by itself would take longer.
pub const GUESTMEM_SNAPSHOT_DIRECT: u64 = 8;

/// Data ranges one after the other: for files, pipes, sockets and callbacks.
pub const GUESTMEM_LAYOUT_PACKED: u32 = 0;
/// A raw image of all regions, one after the other, with holes: for files.
pub const GUESTMEM_LAYOUT_SPARSE: u32 = 1;

/// The stream goes on behind the data (with device state, say): stop there and look for no more.
pub const GUESTMEM_RESTORE_MORE_FOLLOWS: u64 = 1;

/// How a snapshot is to be taken. All zero: packed, with checksums.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_snapshot_options {
    /// GUESTMEM_SNAPSHOT_*.
    pub flags: u64,
    /// GUESTMEM_LAYOUT_*.
    pub layout: u32,
    /// The most threads to use, the calling one among them; 0: as many as help.
    pub threads: u32,
    /// May be NULL.
    pub progress: guestmem_progress_fn,
    /// Passed to progress.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, a pointer and an optional function pointer.
unsafe impl Plain for guestmem_snapshot_options {}

/// How a snapshot is to be brought back. All zero: nothing may follow the data.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_restore_options {
    /// GUESTMEM_RESTORE_*.
    pub flags: u64,
    /// The most threads to use, the calling one among them; 0: as many as help.
    pub threads: u32,
    /// 0.
    pub reserved: u32,
    /// May be NULL. Called from the first write to guest memory on.
    pub progress: guestmem_progress_fn,
    /// Passed to progress.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, a pointer and an optional function pointer.
unsafe impl Plain for guestmem_restore_options {}

/// Writes the data of a memory to a descriptor. Packed, it goes to the position on, which moves as
/// with write(2). Sparse, it goes to absolute offsets, and the file is cut or grown to
/// guestmem_memory_size(); its position stays. Allocates no guest page. After a failure some of the
/// data may have been written. Any thread.
///
/// @param mem           a memory. Stop vCPUs and devices for the length of the call.
/// @param fd            what to write: a file, pipe or socket; sparse: a file not opened to append.
/// @param options       may be NULL: packed, with checksums.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @param metadata      the JSON text, which goes to guestmem_free().
/// @retval GUESTMEM_OK                  the data is written, *metadata tells of it.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  metadata is NULL; a bad struct size, unknown flag or layout.
/// @retval GUESTMEM_E_UNSUPPORTED       with _SYNC or _DIRECT, what cannot be synced or written so;
///   sparse, what is no file or opened to append; where data lies cannot be told: no /proc or
///   one of another user (see guestmem_prepare()), caller's memory with neither fd nor the privilege to
///   look, or memory whose missing pages a userfaultfd supplies.
/// @retval GUESTMEM_E_TAINTED           a restore into this memory failed half way.
/// @retval GUESTMEM_E_BUSY              fd is a file that backs the memory, or may be: where a file
///   system numbers the files of its parts apart, it takes CAP_CHECKPOINT_RESTORE to tell; a restore
///   into a region of it has not ended.
/// @retval GUESTMEM_E_IO                writing failed after `completed` bytes, with os_errno: EAGAIN
///   when a non-blocking descriptor takes no more, EPIPE when a pipe or socket is closed, EFBIG at a
///   file size limit, EBADF when fd cannot be written, EFAULT at a page of memory that cannot be read.
/// @retval GUESTMEM_E_CANCELLED         the progress function asked to stop.
/// @retval GUESTMEM_E_TOO_LARGE         the metadata would exceed 64 MiB, or a limit of the process
///   was met.
/// @retval GUESTMEM_E_NO_MEMORY         a host allocation failed.
/// @retval GUESTMEM_E_OS                a system call failed.
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

/// Gives the data of a memory to a function, piece by piece, in order. Allocates no guest page.
/// Any thread.
///
/// @param mem           a memory. Stop vCPUs and devices for the length of the call.
/// @param write         takes the data. Runs on the calling thread.
/// @param user          passed to write.
/// @param options       may be NULL: packed, with checksums.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @param metadata      the JSON text, which goes to guestmem_free().
/// @retval GUESTMEM_OK                  all data was taken, *metadata tells of it.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  write or metadata is NULL; a bad struct size, unknown flag or
///   layout.
/// @retval GUESTMEM_E_UNSUPPORTED       as guestmem_snapshot(); also _SYNC, _DIRECT and the sparse
///   layout.
/// @retval GUESTMEM_E_TAINTED           a restore into this memory failed half way.
/// @retval GUESTMEM_E_BUSY              a restore into a region of it has not ended.
/// @retval GUESTMEM_E_IO                write failed after `completed` bytes: os_errno is its errno,
///   or EIO when it took none or more than there were, or EFAULT at a page of memory that cannot be
///   read.
/// @retval GUESTMEM_E_CANCELLED         the progress function asked to stop.
/// @retval GUESTMEM_E_TOO_LARGE         the metadata would exceed 64 MiB, or a limit of the process
///   was met.
/// @retval GUESTMEM_E_NO_MEMORY         a host allocation failed.
/// @retval GUESTMEM_E_OS                a system call failed.
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

/// Brings a snapshot back into a memory with the same regions. Packed data is read from the
/// descriptor's position on, which moves as with read(2); sparse data at absolute offsets. What the
/// snapshot does not cover reads as zeros afterwards, its host memory freed where the backing allows
/// that.
///
/// Read-only regions are not written: they have to hold what the snapshot holds for them.
///
/// Metadata, regions and, on a file, length, checksums and read-only regions are checked before the
/// first write, or,
/// where memory holds nothing yet, it is made empty again: a failure there leaves memory as it was.
/// Each MiB of a stream is checked before it is copied in, or compared. A failure after the first write leaves
/// memory tainted: snapshots of it fail until a restore succeeds. The taint is that of its regions,
/// in whatever memory they are. Any thread.
///
/// @param mem           a memory. Stop vCPUs and devices for the length of the call.
/// @param metadata      the JSON text of the snapshot. May come from anybody.
/// @param metadata_len  its bytes, without a NUL at the end.
/// @param fd            what to read: a file, pipe or socket; sparse: a file.
/// @param options       may be NULL: nothing may follow the data.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @retval GUESTMEM_OK                   memory holds what the snapshot holds.
/// @retval GUESTMEM_E_BAD_HANDLE         mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT   metadata is NULL; a bad struct size, unknown flag, or
///   reserved is not 0.
/// @retval GUESTMEM_E_METADATA           the metadata is empty, malformed, inconsistent or longer than
///   64 MiB.
/// @retval GUESTMEM_E_UNSUPPORTED        another format, version, layout or kind of checksum; sparse
///   data from what is no file; or memory whose missing pages a userfaultfd supplies.
/// @retval GUESTMEM_E_MISMATCH           the snapshot is of other regions, or a read-only region holds
///   something else: memory is as it was, unless data for other regions came before that in a stream.
/// @retval GUESTMEM_E_SNAPSHOT_SHORT     the data ends too early.
/// @retval GUESTMEM_E_SNAPSHOT_LONG      the data goes on after its end.
/// @retval GUESTMEM_E_CORRUPT            a checksum does not match.
/// @retval GUESTMEM_E_IO                 reading failed after `completed` bytes, with os_errno; EFAULT
///   at a page of memory that cannot be written.
/// @retval GUESTMEM_E_CANCELLED          the progress function asked to stop; memory is tainted.
/// @retval GUESTMEM_E_BUSY               another restore into a region of it, or a snapshot of one,
///   has not ended.
/// @retval GUESTMEM_E_NO_MEMORY          a host allocation failed.
/// @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
/// @retval GUESTMEM_E_OS                 a system call failed.
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

/// Brings a snapshot back as guestmem_restore() does, from a function that gives the data. Any
/// thread.
///
/// @param mem           a memory. Stop vCPUs and devices for the length of the call.
/// @param metadata      the JSON text of the snapshot. May come from anybody.
/// @param metadata_len  its bytes, without a NUL at the end.
/// @param read          gives the data. Runs on the calling thread.
/// @param user          passed to read.
/// @param options       may be NULL: nothing may follow the data.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @retval GUESTMEM_OK                   memory holds what the snapshot holds.
/// @retval GUESTMEM_E_BAD_HANDLE         mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT   metadata or read is NULL; a bad struct size, unknown flag,
///   or reserved is not 0.
/// @retval GUESTMEM_E_METADATA           as guestmem_restore().
/// @retval GUESTMEM_E_UNSUPPORTED        as guestmem_restore().
/// @retval GUESTMEM_E_MISMATCH           as guestmem_restore().
/// @retval GUESTMEM_E_SNAPSHOT_SHORT     the data ends too early.
/// @retval GUESTMEM_E_SNAPSHOT_LONG      the data goes on after its end; memory is tainted unless
///   there was no data.
/// @retval GUESTMEM_E_CORRUPT            a checksum does not match.
/// @retval GUESTMEM_E_IO                 read failed after `completed` bytes: os_errno is its errno,
///   or EIO when it gave more than there was room for, or EFAULT at a page of memory that cannot be
///   written.
/// @retval GUESTMEM_E_CANCELLED          the progress function asked to stop; memory is tainted.
/// @retval GUESTMEM_E_BUSY               another restore into a region of it, or a snapshot of one,
///   has not ended.
/// @retval GUESTMEM_E_NO_MEMORY          a host allocation failed.
/// @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
/// @retval GUESTMEM_E_OS                 a system call failed.
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
