// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 3 Creating: guest memory
//!
//! All regions without a backing of their own share ONE memfd named "guestmem". It holds them in
//! order, without gaps, and is sealed against shrinking, growing and further sealing. Huge pages
//! have one memfd for each page size. Mappings lie between inaccessible guard pages, are left out
//! of core dumps, and read as zeros until written.

use crate::error::{About, Error, Result};
use crate::ffi::region::{NEEDED, guestmem_region, guestmem_region_options, options_in};
use crate::ffi::{
    array_in, call_about, print_no_panics, required, required_buffer, set, share, share_out,
    take_back,
};
use crate::host::alloc::vec_of;
use crate::host::handle::Ref;
use crate::memory::guest::GuestMemory;
use crate::memory::options::RegionOptions;
use std::ffi::c_int;
use std::ptr::null_mut;

/// A guest's memory, reference-counted.
pub struct guestmem {
    _opaque: [u8; 0],
}

/// A range of guest addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_range {
    /// First guest address.
    pub guest_addr: u64,
    /// Size in bytes.
    pub size: u64,
}

/// Creates guest memory of plain RAM.
///
/// @param ranges  its regions: ascending, page-aligned, not empty, not overlapping. They may touch.
///   May be NULL when count is 0.
/// @param count   number of ranges; 0 creates an empty memory.
/// @param out     the memory, with one reference to release with guestmem_unref().
/// @retval GUESTMEM_E_INVALID_SIZE  a size is 0.
/// @retval GUESTMEM_E_TOO_LARGE     a region would end at or past 2^64, or a limit of the host or
///   the process was reached.
/// @retval GUESTMEM_E_UNSORTED      a range starts below the previous one.
/// @retval GUESTMEM_E_OVERLAP       two ranges overlap.
/// @retval GUESTMEM_E_NOT_ALIGNED   an address or size is not a multiple of the page size.
/// @retval GUESTMEM_E_NO_MEMORY     also: not enough host addresses.
/// @retval GUESTMEM_E_OS            a system call failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_new(
    ranges: *const guestmem_range,
    count: usize,
    out: *mut *mut guestmem,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        create(out, |about| {
            let plain =
                |range: guestmem_range| Ok(RegionOptions::plain(range.guest_addr, range.size));
            required_buffer(ranges, count)?;
            required(out)?;
            GuestMemory::new_about(&array_in(ranges, count, plain)?, about)
        })
    }
}

/// Creates guest memory with options for each region.
///
/// @param options       an array with one element for each region, in ascending order of
///   guest_addr, not overlapping. May be NULL when count is 0.
/// @param count         number of elements; 0 creates an empty memory.
/// @param options_size  sizeof options[0], the distance between elements.
/// @param out           the memory, with one reference to release with guestmem_unref().
/// @retval GUESTMEM_E_UNSORTED          a region starts below the previous one.
/// @retval GUESTMEM_E_OVERLAP           two regions overlap.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  this and all below: as guestmem_region_new().
/// @retval GUESTMEM_E_INVALID_SIZE      size is 0.
/// @retval GUESTMEM_E_TOO_LARGE         a region would end at or past 2^64, or a limit was reached.
/// @retval GUESTMEM_E_NOT_ALIGNED       not page-aligned, or align is not a power of two.
/// @retval GUESTMEM_E_BACKING           fd cannot back the region.
/// @retval GUESTMEM_E_READ_ONLY         fd is open read-only and the region is writable.
/// @retval GUESTMEM_E_NO_MEMORY         also: not enough host addresses or free huge pages.
/// @retval GUESTMEM_E_UNSUPPORTED       the system has no such huge pages, or cannot populate the
///   mapping.
/// @retval GUESTMEM_E_OS                a system call failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_new_with_options(
    options: *const guestmem_region_options,
    count: usize,
    options_size: usize,
    out: *mut *mut guestmem,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        create(out, |about| {
            required_buffer(options, count)?;
            required(out)?;
            GuestMemory::new_about(&all_options_in(options, count, options_size)?, about)
        })
    }
}

unsafe fn all_options_in(
    options: *const guestmem_region_options,
    count: usize,
    options_size: usize,
) -> Result<Vec<RegionOptions>> {
    if !options.is_null() && options_size < NEEDED {
        return Err(Error::InvalidArgument("not a size that the struct can have"));
    }
    let fits = options_size.checked_mul(count).is_some_and(|bytes| bytes <= isize::MAX as usize);
    if !fits || count > isize::MAX as usize / size_of::<RegionOptions>() {
        return Err(Error::too_large("the array is larger than memory"));
    }
    let mut all = vec_of(count)?;
    for index in 0..count {
        // SAFETY: within the caller's array; each element may be shorter or longer than ours.
        let option = unsafe { options.byte_add(index * options_size) };
        // SAFETY: as above.
        all.push(unsafe { options_in(option, options_size)? });
    }
    Ok(all)
}

/// Creates guest memory from regions made by guestmem_region_new(), which may belong to other
/// memories too.
///
/// @param regions  the regions in any order, not overlapping. The memory takes references of its
///   own; the caller keeps its own. May be NULL when count is 0.
/// @param count    number of regions; 0 creates an empty memory.
/// @param out      the memory, with one reference to release with guestmem_unref().
/// @retval GUESTMEM_E_BAD_HANDLE  one of the regions is not a valid region.
/// @retval GUESTMEM_E_OVERLAP     two regions overlap.
/// @retval GUESTMEM_E_TOO_LARGE   count is larger than memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_from_regions(
    regions: *const *mut guestmem_region,
    count: usize,
    out: *mut *mut guestmem,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers and handles.
    unsafe {
        create(out, |_| {
            let regions = array_in(regions, count, |region| share(region))?;
            required(out)?;
            GuestMemory::from_regions(regions)
        })
    }
}

/// Takes another reference to a memory.
///
/// @param mem  the memory.
/// @return The same memory; NULL if it is not a valid memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_ref(mem: *mut guestmem) -> *mut guestmem {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { share_out::<_, GuestMemory>(mem) }
}

/// Releases a reference to a memory. The last reference unmaps every region that nothing else
/// refers to; no other call may be using the memory then.
///
/// @param mem  the memory; NULL has no effect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_unref(mem: *mut guestmem) {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { take_back::<_, GuestMemory>(mem) }
}

/// Runs a constructor and hands its memory out.
///
/// # Safety
/// `out` is NULL, which `make` refuses, or can be written.
pub(super) unsafe fn create(
    out: *mut *mut guestmem,
    make: impl FnOnce(&About) -> Result<Ref<GuestMemory>>,
) -> c_int {
    print_no_panics();
    // SAFETY: `out` can be written where it is not NULL.
    unsafe {
        set(out, null_mut());
        let about = About::default();
        call_about(&about, || {
            out.write(make(&about)?.into_raw().cast());
            Ok(())
        })
    }
}
