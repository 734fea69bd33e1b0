// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 12 Images
//!
//! An image is a snapshot in one file: the data in the sparse layout, then the metadata, then a
//! trailer that locates and protects the metadata. Saving replaces the file as a whole or not at
//! all. Loading creates a new memory from it, either by reading it or by mapping it copy-on-write.
//! Mapping is immediate, whatever the size, and all machines mapped from one image share its pages
//! until they write to them.
//!
//! An image need not be trusted: damaged or inconsistent images are refused. While an image is
//! mapped, nobody may shorten or change its file. guestmem_save() never does; it creates a new
//! file.

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
/// that cannot be mapped is an error; it is never read instead.
///
/// On file systems where reading a hole through a mapping makes the file larger, and raises SIGBUS
/// when it cannot grow (tmpfs, memfds, and overlayfs, which may lie on one), only data is mapped.
/// Each run of data then takes a mapping. If there are more runs than the mappings that
/// guestmem_remove_range() may take, the shortest are copied.
pub const GUESTMEM_LOAD_MAP: u64 = 1;
/// With GUESTMEM_LOAD_MAP: first check all checksums, and that the parts without data hold only
/// zeros.
pub const GUESTMEM_LOAD_VERIFY: u64 = 2;

/// How to load an image. All zero: it is read, and its checksums are checked.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_load_options {
    /// GUESTMEM_LOAD_* flags.
    pub flags: u64,
    /// Most threads to use, including the calling one; 0: as many as help.
    pub threads: u32,
    /// Must be 0.
    pub reserved: u32,
    /// May be NULL. With GUESTMEM_LOAD_MAP alone it is called once, with done equal to total,
    /// because mapping moves no data.
    pub progress: guestmem_progress_fn,
    /// Passed to progress.
    pub progress_user: *mut c_void,
}

// SAFETY: integers, a pointer and an optional function pointer.
unsafe impl Plain for guestmem_load_options {}

/// Saves a memory to an image file. The call writes a temporary file beside path (mode 0600), syncs
/// it, renames it to path, and syncs the folder. So path holds either the old image or the new one,
/// complete, even after a crash. A symbolic link at path is replaced, not followed.
///
/// After a failure the temporary file is gone and path is what it was. One exception: where a file
/// cannot have a second name, path may already be the new image when the last sync fails. A process
/// that is killed may leave a file .guestmem-* in the folder; delete it.
///
/// @param mem           the memory.
/// @param path          the image to write. May be the image that this memory is mapped from.
/// @param options       may be NULL: with checksums. Both layouts mean an image file, and
///   GUESTMEM_SNAPSHOT_SYNC is implied.
/// @param options_size  sizeof *options, or 0 if options is NULL.
/// @retval GUESTMEM_E_UNSUPPORTED  path is a device, pipe or socket; otherwise as
///   guestmem_snapshot().
/// @retval GUESTMEM_E_TAINTED      an earlier restore into this memory failed half way.
/// @retval GUESTMEM_E_BUSY         path is, or may be, a file that this memory maps shared, as in
///   guestmem_snapshot(); or a restore into one of its regions is running.
/// @retval GUESTMEM_E_IO           writing or syncing failed; os_errno tells why.
/// @retval GUESTMEM_E_CANCELLED    the progress function asked to stop.
/// @retval GUESTMEM_E_TOO_LARGE    also: the metadata would exceed 64 MiB.
/// @retval GUESTMEM_E_OS           another system call failed: the folder does not exist, or path
///   is a folder, for example.
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

/// Restores an image file into a memory with the same regions, as guestmem_restore() does.
///
/// @param mem           the memory.
/// @param path          the image.
/// @param options       may be NULL.
/// @param options_size  sizeof *options, or 0 if options is NULL.
/// @retval GUESTMEM_E_METADATA        path is not an image, or a damaged one.
/// @retval GUESTMEM_E_UNSUPPORTED     as guestmem_restore().
/// @retval GUESTMEM_E_MISMATCH        the image has other regions, or a read-only region has other
///   content; memory is unchanged.
/// @retval GUESTMEM_E_CORRUPT         a checksum does not match.
/// @retval GUESTMEM_E_SNAPSHOT_SHORT  the file was shortened while it was read.
/// @retval GUESTMEM_E_IO              reading failed after `completed` bytes; os_errno tells why.
/// @retval GUESTMEM_E_CANCELLED       the progress function asked to stop; memory is tainted.
/// @retval GUESTMEM_E_BUSY            another restore into one of its regions, or a snapshot of
///   one, is running.
/// @retval GUESTMEM_E_OS              another system call failed: the file does not exist, for
///   example.
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

/// Creates a memory from an image file, with the regions of the memory that was saved: as plain
/// RAM, or with GUESTMEM_LOAD_MAP as copy-on-write mappings of the file.
///
/// @param path          the image. With GUESTMEM_LOAD_MAP nobody may shorten or change the file
///   while the memory lives; other files may take its name.
/// @param options       may be NULL: read, with all checks.
/// @param options_size  sizeof *options, or 0 if options is NULL.
/// @param out           the memory, with one reference to release with guestmem_unref().
/// @retval GUESTMEM_E_METADATA        path is not an image, or a damaged one.
/// @retval GUESTMEM_E_UNSUPPORTED     the version or the kind of checksum is unknown; or
///   GUESTMEM_LOAD_VERIFY was asked for and the image has no checksums.
/// @retval GUESTMEM_E_CORRUPT         a checksum does not match. With _MAP and _VERIFY also: there
///   is data where a hole should be.
/// @retval GUESTMEM_E_SNAPSHOT_SHORT  the file was shortened while it was read.
/// @retval GUESTMEM_E_BACKING         with _MAP: the file system does not support mappings.
/// @retval GUESTMEM_E_IO              reading failed after `completed` bytes; os_errno tells why.
/// @retval GUESTMEM_E_CANCELLED       the progress function asked to stop.
/// @retval GUESTMEM_E_NO_MEMORY       also: the regions do not fit into the address space.
/// @retval GUESTMEM_E_TOO_LARGE       a limit of the process was reached.
/// @retval GUESTMEM_E_OS              another system call failed: the file does not exist, for
///   example.
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

/// Returns the metadata of an image file. Checks its checksum, and everything else that can be
/// checked without reading the data.
///
/// @param path      the image.
/// @param metadata  the JSON text, to be freed with guestmem_free().
/// @retval GUESTMEM_E_METADATA     path is not an image, or a damaged one.
/// @retval GUESTMEM_E_UNSUPPORTED  the version or the kind of checksum is unknown.
/// @retval GUESTMEM_E_IO           reading failed; os_errno tells why.
/// @retval GUESTMEM_E_TOO_LARGE    a limit of the process was reached.
/// @retval GUESTMEM_E_OS           another system call failed: the file does not exist, for
///   example.
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

/// Opens the files of /proc and /dev that later calls need, and keeps them open. For programs that
/// confine themselves (chroot(2), pivot_root(2)) or change their user without exec(3), after which
/// /proc/self/pagemap belongs to root. Snapshots, images, guestmem_remove_range() and
/// guestmem_describe() then continue to work.
///
/// Keeps at most four descriptors open for the life of the process; none is a folder. A second call
/// reopens what is missing, for example after closefrom(3). A forked child must call it for itself.
/// The first snapshot, restore or save keeps the page tables open too.
///
/// @retval GUESTMEM_OK             everything available is open.
/// @retval GUESTMEM_E_UNSUPPORTED  there is no /proc, or it already belongs to another user.
/// @retval GUESTMEM_E_TOO_LARGE    no more descriptors are available to the process or the system.
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
