// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 3 Creating guest memory
//!
//! All regions without a backing of their own share ONE memfd, named "guestmem", laid out in order,
//! without gaps, sealed against shrinking, growing and further sealing; huge pages have one memfd
//! for each page size. Mappings sit between inaccessible guard pages, are left out of core dumps
//! and read as zeros until written.

use crate::error::{About, Error, Result};
use crate::ffi::region::{NEEDED, guestmem_region, guestmem_region_options, options_in};
use crate::ffi::{
    array_in, call_about, print_no_panics, required, required_buffer, set, share, share_out,
    take_back,
};
use crate::host::alloc::vec_of;
use crate::host::handle::Ref;
use crate::memory::guest::GuestMemory;
use crate::memory::region::RegionOptions;
use std::ffi::c_int;
use std::ptr::null_mut;

/// A guest's memory, reference-counted.
pub struct guestmem {
    _opaque: [u8; 0],
}

/// Guest addresses and a length.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_range {
    /// First guest address.
    pub guest_addr: u64,
    /// Bytes.
    pub size: u64,
}

/// Creates guest memory of plain RAM. Any thread.
///
/// @param ranges  its regions in ascending order, page-aligned, not empty, not overlapping; they
///   may touch. May be NULL when count is 0.
/// @param count   number of ranges; 0 makes an empty memory.
/// @param out     the memory, with one reference that goes to guestmem_unref().
/// @retval GUESTMEM_OK                  *out is the memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
/// @retval GUESTMEM_E_INVALID_SIZE      a size is 0.
/// @retval GUESTMEM_E_TOO_LARGE         a region would end at or past 2^64, or a limit of the host
///   or process was met.
/// @retval GUESTMEM_E_UNSORTED          a range starts below the one before.
/// @retval GUESTMEM_E_OVERLAP           two ranges share addresses.
/// @retval GUESTMEM_E_NOT_ALIGNED       an address or size is not a multiple of the page size.
/// @retval GUESTMEM_E_NO_MEMORY         no host memory or addresses.
/// @retval GUESTMEM_E_OS                a system call failed.
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

/// Creates guest memory with options for each region. Any thread.
///
/// @param options      one for each region, in ascending order of guest_addr, not overlapping. May
///   be NULL when count is 0.
/// @param count        number of options; 0 makes an empty memory.
/// @param option_size  sizeof options[0], in bytes: the distance between them.
/// @param out          the memory, with one reference that goes to guestmem_unref().
/// @retval GUESTMEM_OK                  *out is the memory.
/// @retval GUESTMEM_E_UNSORTED          a region starts below the one before.
/// @retval GUESTMEM_E_OVERLAP           two regions share addresses.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  as guestmem_region_new(), and so are all below.
/// @retval GUESTMEM_E_INVALID_SIZE      size is 0.
/// @retval GUESTMEM_E_TOO_LARGE         past 2^64 or a limit.
/// @retval GUESTMEM_E_NOT_ALIGNED       not page-aligned, or align not a power of two.
/// @retval GUESTMEM_E_BACKING           the fd cannot back the region.
/// @retval GUESTMEM_E_READ_ONLY         the fd is open to read only and the region is not.
/// @retval GUESTMEM_E_NO_MEMORY         no host memory, or not enough free huge pages.
/// @retval GUESTMEM_E_UNSUPPORTED       the system has no such huge pages, or cannot populate.
/// @retval GUESTMEM_E_OS                a system call failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_new_with_options(
    options: *const guestmem_region_options,
    count: usize,
    option_size: usize,
    out: *mut *mut guestmem,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        create(out, |about| {
            required_buffer(options, count)?;
            required(out)?;
            GuestMemory::new_about(&all_options_in(options, count, option_size)?, about)
        })
    }
}

unsafe fn all_options_in(
    options: *const guestmem_region_options,
    count: usize,
    option_size: usize,
) -> Result<Vec<RegionOptions>> {
    if !options.is_null() && option_size < NEEDED {
        return Err(Error::InvalidArgument("not a size that the struct can have"));
    }
    let fits = option_size.checked_mul(count).is_some_and(|bytes| bytes <= isize::MAX as usize);
    if !fits || count > isize::MAX as usize / size_of::<RegionOptions>() {
        return Err(Error::too_large("the array is larger than memory"));
    }
    let mut all = vec_of(count)?;
    for index in 0..count {
        // SAFETY: within the caller's array; each element may be shorter or longer than ours.
        let option = unsafe { options.byte_add(index * option_size) };
        // SAFETY: as above.
        all.push(unsafe { options_in(option, option_size)? });
    }
    Ok(all)
}

/// Creates guest memory of regions made by guestmem_region_new(), which may be in other memories
/// too. Any thread.
///
/// @param regions  the regions in any order, not overlapping. The memory takes references of its
///   own; the caller keeps its own. May be NULL when count is 0.
/// @param count    number of regions; 0 makes an empty memory.
/// @param out      the memory, with one reference that goes to guestmem_unref().
/// @retval GUESTMEM_OK                  *out is the memory.
/// @retval GUESTMEM_E_BAD_HANDLE        one of the regions is NULL or no live region.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  a NULL pointer.
/// @retval GUESTMEM_E_OVERLAP           two regions share addresses.
/// @retval GUESTMEM_E_NO_MEMORY         no host memory.
/// @retval GUESTMEM_E_TOO_LARGE         count is larger than memory.
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

/// Takes a further reference to a memory. Any thread.
///
/// @param mem  a memory.
/// @return The same memory; NULL, with the thread's last error set to GUESTMEM_E_BAD_HANDLE, when
///   it is NULL or no live memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_ref(mem: *mut guestmem) -> *mut guestmem {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { share_out::<_, GuestMemory>(mem) }
}

/// Gives a reference to a memory back. The last one unmaps every region that nothing else refers
/// to; no other call may be using the memory then. Any thread.
///
/// @param mem  a memory; NULL does nothing.
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
