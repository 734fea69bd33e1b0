// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 9 Changing the map while it is in use
//!
//! Regions come and go while other threads work: no access waits. The table that addresses are
//! looked up in never changes; a new one takes its place by one pointer store, and the old ones live
//! as long as the memory. So each call sees the regions as they were before a change or after it.
//!
//! A region that was taken out stays mapped until you give the reference back that
//! guestmem_remove_region() gives: do so when the hypervisor no longer maps it and the calls that
//! began before have returned. Until then nothing else can come to lie in its address range.
//! docs/hotplug.md tells the order, and what goes wrong in another.
//!
//! All changes of a memory together may take 1 GiB for old tables, which is more than a million of a
//! usual map. Each takes time and room for all regions that there are, so make memory of thousands
//! by guestmem_from_regions().

use crate::error::About;
use crate::ffi::memory::guestmem;
use crate::ffi::region::guestmem_region;
use crate::ffi::{call, call_about, memory, required, set, share, value_or};
use crate::memory::region::MemoryRegion;
use std::ffi::c_int;
use std::ptr::null_mut;

/// Adds a region. The policies in force apply to it too. Any thread.
///
/// @param mem     a memory.
/// @param region  a region of guestmem_region_new(), which may be in other memories too. The
///   memory takes a reference of its own; the caller keeps its own.
/// @retval GUESTMEM_OK              the region is part of the memory.
/// @retval GUESTMEM_E_BAD_HANDLE    mem is no live memory, or region no live region.
/// @retval GUESTMEM_E_OVERLAP       it shares addresses with a region that is there.
/// @retval GUESTMEM_E_POLICY        a policy in force was refused for the region; the error message
///   names it. The region has none of them that it did not have before.
/// @retval GUESTMEM_E_TOO_LARGE     the tables of earlier changes take 1 GiB; the memory is as it was.
/// @retval GUESTMEM_E_NO_MEMORY     no host memory.
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

/// Takes a region out. It stays mapped until the caller gives its reference back. Any thread.
///
/// @param mem         a memory.
/// @param guest_addr  the region's first guest address.
/// @param removed     the region, with the memory's reference, which goes to
///   guestmem_region_unref() when the hypervisor and the calls begun before are done with it.
/// @retval GUESTMEM_OK                  *removed is the region.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  removed is NULL.
/// @retval GUESTMEM_E_NOT_FOUND         no region starts there.
/// @retval GUESTMEM_E_TOO_LARGE         the tables of earlier changes take 1 GiB; the region is still
///   there.
/// @retval GUESTMEM_E_NO_MEMORY         no host memory; the region is still there.
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

/// Tells how often the memory's regions have changed. Any thread.
///
/// @param mem  a memory.
/// @return One more after each change; 0 for a bad handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_generation(mem: *const guestmem) -> u64 {
    // SAFETY: the caller keeps to the manual for its handle.
    value_or(0, || Ok(unsafe { memory(mem)? }.generation()))
}
