// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 9 Changing the map while it is in use
//!
//! Regions may be added and removed while other threads use the memory; no access waits. Lookup
//! tables never change: each change publishes a new table with one pointer store, and old tables
//! live as long as the memory. So each call sees the regions either before or after a change.
//!
//! A removed region stays mapped until you release the reference that guestmem_remove_region()
//! returns. Release it when the hypervisor no longer maps the region and all calls begun before the
//! removal have returned. Until then nothing else can be mapped in its address range.
//! docs/hotplug.md describes the order of steps, and what goes wrong in another order.
//!
//! The old tables of a memory may take up to 1 GiB, enough for more than a million changes of a
//! usual map. Each change takes time and space in proportion to the number of regions. Create
//! memories of thousands of regions with guestmem_from_regions().

use crate::error::About;
use crate::ffi::memory::guestmem;
use crate::ffi::region::guestmem_region;
use crate::ffi::{call, call_about, memory, required, set, share, value_or};
use crate::memory::region::MemoryRegion;
use std::ffi::c_int;
use std::ptr::null_mut;

/// Adds a region. The policies in force apply to it too.
///
/// @param mem     the memory.
/// @param region  a region from guestmem_region_new(), which may belong to other memories too. The
///   memory takes a reference of its own; the caller keeps its own.
/// @retval GUESTMEM_E_BAD_HANDLE  mem is not a valid memory, or region not a valid region.
/// @retval GUESTMEM_E_OVERLAP     it overlaps a region of the memory.
/// @retval GUESTMEM_E_POLICY      a policy in force was refused for the region; the error message
///   names it. The region keeps only the policies that it had before.
/// @retval GUESTMEM_E_TOO_LARGE   old tables take 1 GiB; the memory is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_add_region(
    mem: *mut guestmem,
    region: *mut guestmem_region,
) -> c_int {
    let about = About::default();
    call_about(&about, || {
        // SAFETY: the caller keeps to the manual for its handles.
        let (mem, region) = unsafe { (memory(mem)?, share::<_, MemoryRegion>(region)?) };
        about.set(region.options().about());
        mem.add_region(region)
    })
}

/// Removes a whole region from the map; it stays mapped until the caller releases it. To discard
/// pages and keep the region use guestmem_remove_range().
///
/// @param mem         the memory.
/// @param guest_addr  the region's first guest address.
/// @param removed     the region, with the memory's reference. Release it with
///   guestmem_region_unref() when the hypervisor and all calls begun before are done with it.
/// @retval GUESTMEM_E_NOT_FOUND  no region starts at guest_addr.
/// @retval GUESTMEM_E_TOO_LARGE  old tables take 1 GiB; the region is still part of the memory.
/// @retval GUESTMEM_E_NO_MEMORY  a host allocation failed; the region is still part of the memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_remove_region(
    mem: *mut guestmem,
    guest_addr: u64,
    removed: *mut *mut guestmem_region,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(removed, null_mut());
        call(Some((guest_addr, 0)), move || {
            let mem = memory(mem)?;
            required(removed)?;
            removed.write(mem.remove_region(guest_addr)?.into_raw().cast());
            Ok(())
        })
    }
}

/// Returns how many times the memory's regions have changed.
///
/// @param mem  the memory.
/// @return A number that grows by one with each change; 0 for an invalid handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_generation(mem: *const guestmem) -> u64 {
    // SAFETY: the caller keeps to the manual for its handle.
    value_or(0, || Ok(unsafe { memory(mem)? }.generation()))
}
