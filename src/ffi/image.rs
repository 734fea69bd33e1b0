// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 10 Image files
//!
//! A snapshot in one file: the sparse layout, then the metadata, then a trailer that says where it
//! is and guards it. Saving replaces the file as a whole or not at all; loading makes a new memory
//! of it, by reading it or by mapping it copy-on-write, which takes no time whatever its size, and
//! in which all machines from one image share its pages until they write to them.
//!
//! An image may come from anybody: what is damaged or makes no sense is refused. While one is
//! mapped, nobody may shorten or change the file; guestmem_save() never does, it makes a new file.

use crate::error::{Error, Result};
use crate::ffi::memory::{create, guestmem};
use crate::ffi::snapshot::{
    guestmem_progress_fn, guestmem_restore_options, guestmem_snapshot_options, progress,
    restore_options, snapshot_options,
};
use crate::ffi::{Plain, call, known_flags, memory, required, set, struct_in, text_out};
use crate::host::kept;
use crate::image::read::load::{LoadOptions, load};
use crate::image::read::open::Image;
use crate::image::read::restore;
use crate::image::write::save;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

/// Map the image copy-on-write instead of reading it: ready at once, whatever its size. An image
/// that cannot be mapped is an error, it is never read instead. Where reading a hole through a mapping
/// makes the file larger, and is SIGBUS when it cannot grow (tmpfs, memfds; overlayfs may lie on one),
/// only data is mapped. Each run of it is a mapping, so of data in very many runs (as many mappings as
/// guestmem_remove_range() may take) the shortest are copied.
pub const GUESTMEM_LOAD_MAP: u64 = 1;
/// With _MAP: check all checksums first, and that nothing but zeros lies where there is no data.
pub const GUESTMEM_LOAD_VERIFY: u64 = 2;

/// How an image is to be loaded. All zero: it is read, and checked on the way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_load_options {
    /// GUESTMEM_LOAD_*.
    pub flags: u64,
    /// The most threads to use, the calling one among them; 0: as many as help.
    pub threads: u32,
    /// 0.
    pub reserved: u32,
    /// May be NULL. Mapping moves nothing: with _MAP alone it is called once, with done = total.
    pub progress: guestmem_progress_fn,
    /// Passed to progress.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, a pointer and an optional function pointer.
unsafe impl Plain for guestmem_load_options {}

/// Saves a memory to an image file. It is written to a temporary file beside path (mode 0600),
/// synced, and put in the place of path; then the folder is synced. So path holds the old image or
/// the new one, whole, whatever happens. A symbolic link at path is replaced, not followed. After a
/// failure there is no temporary file, and path is what it was; only where a file can have no
/// second name it may be the new image already, when the last sync fails. A process that is killed
/// may leave a file .guestmem-* in the folder, which can be deleted. Any thread.
///
/// @param mem           a memory. Stop vCPUs and devices for the length of the call.
/// @param path          where the image is to be. May be the image that this memory is mapped from.
/// @param options       may be NULL: with checksums. Both layouts mean the image file, and _SYNC is
///   implied.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @retval GUESTMEM_OK                  path holds the image.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  path is NULL; a bad struct size, unknown flag or layout.
/// @retval GUESTMEM_E_UNSUPPORTED       as guestmem_snapshot(); path is a device, pipe or socket.
/// @retval GUESTMEM_E_TAINTED           a restore into this memory failed half way.
/// @retval GUESTMEM_E_BUSY              path is a file whose shared mapping is this memory, or may be, as
///   guestmem_snapshot() says; a restore into a region of it has not ended.
/// @retval GUESTMEM_E_IO                writing or syncing failed, with os_errno; EFAULT at a page of
///   memory that cannot be read.
/// @retval GUESTMEM_E_CANCELLED         the progress function asked to stop.
/// @retval GUESTMEM_E_TOO_LARGE         the metadata would exceed 64 MiB, or a limit of the process
///   was met.
/// @retval GUESTMEM_E_NO_MEMORY         a host allocation failed.
/// @retval GUESTMEM_E_OS                another system call failed: there is no such folder, or path is
///   one, say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_save(
    mem: *const guestmem,
    path: *const c_char,
    options: *const guestmem_snapshot_options,
    options_size: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        call(None, || {
            let mem = memory(mem)?;
            let path = path_in(path)?;
            let (options, mut progress) = snapshot_options(options, options_size)?;
            save::save(mem, path, options, &mut progress)
        })
    }
}

/// Brings an image file back into a memory with the same regions, as guestmem_restore() does. Any
/// thread.
///
/// @param mem           a memory. Stop vCPUs and devices for the length of the call.
/// @param path          the image.
/// @param options       may be NULL.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @retval GUESTMEM_OK                   memory holds what the image holds.
/// @retval GUESTMEM_E_BAD_HANDLE         mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT   path is NULL; a bad struct size, unknown flag, or reserved
///   is not 0.
/// @retval GUESTMEM_E_METADATA           path is no image, or a damaged one.
/// @retval GUESTMEM_E_UNSUPPORTED        as guestmem_restore().
/// @retval GUESTMEM_E_MISMATCH           the image is of other regions, or a read-only region holds
///   something else; memory is as it was.
/// @retval GUESTMEM_E_CORRUPT            a checksum does not match.
/// @retval GUESTMEM_E_SNAPSHOT_SHORT     the file was shortened while it was read.
/// @retval GUESTMEM_E_IO                 reading failed after `completed` bytes, with os_errno; EFAULT
///   at a page of memory that cannot be written.
/// @retval GUESTMEM_E_CANCELLED          the progress function asked to stop; memory is tainted.
/// @retval GUESTMEM_E_BUSY               another restore into a region of it, or a snapshot of one,
///   has not ended.
/// @retval GUESTMEM_E_NO_MEMORY          a host allocation failed.
/// @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
/// @retval GUESTMEM_E_OS                 another system call failed: there is no such file, say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_restore_file(
    mem: *const guestmem,
    path: *const c_char,
    options: *const guestmem_restore_options,
    options_size: usize,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        call(None, || {
            let mem = memory(mem)?;
            let path = path_in(path)?;
            let (options, mut progress) = restore_options(options, options_size)?;
            restore::restore_file(mem, path, options, &mut progress)
        })
    }
}

/// Makes a new memory of an image file, with the regions of the memory that was saved: plain RAM,
/// or copy-on-write mappings of the file with _MAP. Any thread.
///
/// @param path          the image. With _MAP nobody may shorten or change the file while the memory
///   lives; other files may take its name.
/// @param options       may be NULL: read, with all checks.
/// @param options_size  sizeof *options, or 0 with NULL.
/// @param out           the memory, with one reference that goes to guestmem_unref().
/// @retval GUESTMEM_OK                   *out is the memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT   path or out is NULL; a bad struct size, unknown flag, or
///   reserved is not 0.
/// @retval GUESTMEM_E_METADATA           path is no image, or a damaged one.
/// @retval GUESTMEM_E_UNSUPPORTED        another version, or kind of checksum; _VERIFY of an image
///   without checksums.
/// @retval GUESTMEM_E_CORRUPT            a checksum does not match; with _MAP and _VERIFY also: there
///   is data in what should be a hole.
/// @retval GUESTMEM_E_SNAPSHOT_SHORT     the file was shortened while it was read.
/// @retval GUESTMEM_E_BACKING            with _MAP: the file system offers no mappings.
/// @retval GUESTMEM_E_IO                 reading failed after `completed` bytes, with os_errno.
/// @retval GUESTMEM_E_CANCELLED          the progress function asked to stop.
/// @retval GUESTMEM_E_NO_MEMORY          a host allocation failed, or the regions do not fit the
///   address space.
/// @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
/// @retval GUESTMEM_E_OS                 another system call failed: there is no such file, say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_load(
    path: *const c_char,
    options: *const guestmem_load_options,
    options_size: usize,
    out: *mut *mut guestmem,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        create(out, |_| {
            let path = path_in(path)?;
            required(out)?;
            let (options, mut progress) = load_options(options, options_size)?;
            load(path, options, &mut progress)
        })
    }
}

/// The metadata of an image file. Its checksum is checked and all that can be checked without
/// looking at the data. Any thread.
///
/// @param path      the image.
/// @param metadata  the JSON text, which goes to guestmem_free().
/// @retval GUESTMEM_OK                   *metadata is the text.
/// @retval GUESTMEM_E_INVALID_ARGUMENT   path or metadata is NULL.
/// @retval GUESTMEM_E_METADATA           path is no image, or a damaged one.
/// @retval GUESTMEM_E_UNSUPPORTED        another version, or kind of checksum.
/// @retval GUESTMEM_E_IO                 reading failed, with os_errno.
/// @retval GUESTMEM_E_NO_MEMORY          a host allocation failed.
/// @retval GUESTMEM_E_TOO_LARGE          a limit of the process was met.
/// @retval GUESTMEM_E_OS                 another system call failed: there is no such file, say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_image_metadata(
    path: *const c_char,
    metadata: *mut *mut c_char,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(metadata, null_mut());
        call(None, || {
            let path = path_in(path)?;
            required(metadata)?;
            metadata.write(text_out(Image::open(path)?.text())?);
            Ok(())
        })
    }
}

/// Opens what later calls need of /proc and /dev, and keeps it open: for programs that shut themselves
/// in a folder (chroot(2), pivot_root(2)) or change their user without exec(3), after which
/// /proc/self/pagemap belongs to root. Snapshots, images, removing ranges and descriptions go on to
/// work then. Four descriptors at the most stay open as long as the process; no folder is among them. A
/// second call opens what is missing, as after closefrom(3). A forked child has to call it for itself.
/// The page tables are kept by the first snapshot, restore or save too. Any thread.
///
/// @retval GUESTMEM_OK             all that there is is open.
/// @retval GUESTMEM_E_UNSUPPORTED  there is no /proc, or it belongs to another user already.
/// @retval GUESTMEM_E_TOO_LARGE    a limit of the process or the system was met: descriptors.
/// @retval GUESTMEM_E_NO_MEMORY    a host allocation failed.
/// @retval GUESTMEM_E_OS           another system call failed.
#[unsafe(no_mangle)]
pub extern "C" fn guestmem_prepare() -> c_int {
    call(None, kept::prepare)
}

/// # Safety
/// `path` is NULL or a C string that lives as long as the result is used.
unsafe fn path_in<'a>(path: *const c_char) -> Result<&'a CStr> {
    required(path)?;
    // SAFETY: passed on.
    Ok(unsafe { CStr::from_ptr(path) })
}

/// # Safety
/// See [`struct_in`].
unsafe fn load_options(
    options: *const guestmem_load_options,
    size: usize,
) -> Result<(LoadOptions, impl FnMut(u64, u64) -> Result<()>)> {
    // SAFETY: passed on.
    let options = unsafe { struct_in(options, size, 0)? };
    known_flags(options.flags, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY)?;
    if options.reserved != 0 {
        return Err(Error::InvalidArgument("reserved is not 0"));
    }
    let how = LoadOptions {
        map: options.flags & GUESTMEM_LOAD_MAP != 0,
        verify: options.flags & GUESTMEM_LOAD_VERIFY != 0,
        threads: options.threads,
    };
    Ok((how, progress(options.progress, options.progress_user)))
}
