// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 8 Managing: discarding pages, policies

use crate::ffi::memory::guestmem;
use crate::ffi::{call, known_flags, memory, value_or};
use crate::memory::policy;
use std::ffi::c_int;

/// Use transparent huge pages (MADV_HUGEPAGE), if the system's settings honor that advice.
pub const GUESTMEM_POLICY_USE_HUGEPAGES: u64 = 1;
/// Keep pages in memory once they are touched (mlock2(2) with MLOCK_ONFAULT). A forked child does
/// not inherit the lock: it is not in force there until the child asks for it.
pub const GUESTMEM_POLICY_LOCK_GUEST_MEMORY: u64 = 2;
/// Let guestmem_remove_range() free locked pages. It always does, with or without this policy.
pub const GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED: u64 = 4;
/// Leave the memory out of forked children (MADV_DONTFORK). A child must not access it, but may
/// release it.
pub const GUESTMEM_POLICY_DONTFORK: u64 = 8;
/// Let the kernel merge equal pages (MADV_MERGEABLE). Only for private memory.
pub const GUESTMEM_POLICY_MERGEABLE: u64 = 16;

const _: () = assert!(
    GUESTMEM_POLICY_USE_HUGEPAGES == policy::USE_HUGEPAGES
        && GUESTMEM_POLICY_LOCK_GUEST_MEMORY == policy::LOCK_GUEST_MEMORY
        && GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED == policy::USE_PUNCHHOLE_LOCKED
        && GUESTMEM_POLICY_DONTFORK == policy::DONTFORK
        && GUESTMEM_POLICY_MERGEABLE == policy::MERGEABLE
);

/// Discards pages of guest memory, as a balloon does. To take a whole region out of the map use
/// guestmem_remove_region().
///
/// Afterwards the range reads as zeros and its host memory is free, whatever the backing, locked or
/// not. In a file, this punches a hole. Pages of hugetlbfs lose their reservation: touching the
/// range again needs a free huge page.
///
/// In a copy-on-write region (GUESTMEM_LOAD_MAP, or GUESTMEM_REGION_FD with
/// GUESTMEM_REGION_PRIVATE) each separate part takes one more mapping, of which a process has only
/// vm.max_map_count. All regions together take at most half of those that the rest of the process
/// leaves, for small parts a quarter. Beyond that, the call writes zeros and does not free the
/// memory. Adjacent parts count as one, and removing the whole region always frees all of it.
///
/// @param mem   the memory.
/// @param addr  first guest address, a multiple of the region's page size.
/// @param size  size in bytes, a multiple of the region's page size, not 0.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_SIZE     size is 0.
/// @retval GUESTMEM_E_INVALID_RANGE    the range does not end in the region it starts in.
/// @retval GUESTMEM_E_NOT_ALIGNED      addr or size is not a multiple of the page size.
/// @retval GUESTMEM_E_READ_ONLY        the region is read-only.
/// @retval GUESTMEM_E_UNSUPPORTED      the kernel offers no way, and nothing has changed. This
///   concerns files that cannot have holes or are sealed against writing (F_SEAL_WRITE,
///   F_SEAL_FUTURE_WRITE), and caller's memory that is a private mapping of a file, is shared and
///   locked but came without its fd, does not map the fd that came with it, or maps several files
///   of which the kernel does not tell beforehand whether they can have holes.
/// @retval GUESTMEM_E_NO_MEMORY        the kernel lacked memory.
/// @retval GUESTMEM_E_TOO_LARGE        caller's memory: no descriptor was free to inspect it.
/// @retval GUESTMEM_E_OS               a system call failed. In caller's memory of several
///   mappings, some may have been discarded. Pages under GUESTMEM_POLICY_LOCK_GUEST_MEMORY are no
///   longer locked if RLIMIT_MEMLOCK was lowered in the meantime.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_remove_range(
    mem: *const guestmem,
    addr: u64,
    size: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    call(Some((addr, size)), move || unsafe { memory(mem)? }.remove_range(addr, size))
}

/// Adds policies to those in force; they cannot be removed. Each policy is applied to all regions
/// or to none. A policy that the kernel refuses, or would silently ignore, is rolled back, except
/// in regions where it was in force before, set by anyone; the other policies stay in force.
/// Regions added later get the policies too.
///
/// @param mem     the memory.
/// @param policy  GUESTMEM_POLICY_* bits; 0 changes nothing.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  an unknown bit is set; nothing has changed.
/// @retval GUESTMEM_E_POLICY            a policy was refused. The error message names it, and
///   guestmem_memory_policy() tells which policies are in force. os_errno is 0 if the kernel would
///   have ignored it.
/// @retval GUESTMEM_E_NO_MEMORY         not enough host memory to check a policy; otherwise as
///   above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_set_memory_policy(mem: *mut guestmem, policy: u64) -> c_int {
    call(None, move || {
        // SAFETY: the caller keeps to the manual for its handle.
        let mem = unsafe { memory(mem)? };
        known_flags(policy, policy::ALL)?;
        mem.add_policy(policy)
    })
}

/// Returns the policies in force in this process.
///
/// @param mem  the memory.
/// @return GUESTMEM_POLICY_* bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_memory_policy(mem: *const guestmem) -> u64 {
    // SAFETY: the caller keeps to the manual for its handle.
    value_or(0, || Ok(unsafe { memory(mem)? }.policy()))
}
