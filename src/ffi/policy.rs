// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 8 Managing

use crate::ffi::memory::guestmem;
use crate::ffi::{call, known_flags, memory, value_or};
use crate::memory::policy;
use std::ffi::c_int;

/// Use transparent huge pages (MADV_HUGEPAGE), where the system's settings obey such advice.
pub const GUESTMEM_POLICY_USE_HUGEPAGES: u64 = 1;
/// Keep pages in memory once they are touched (mlock2 with MLOCK_ONFAULT). The kernel passes no lock on
/// to a forked child: there it is not in force until the child asks for it.
pub const GUESTMEM_POLICY_LOCK_GUEST_MEMORY: u64 = 2;
/// Let guestmem_remove_range() free pages of locked memory. It always does; asking for it is fine.
pub const GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED: u64 = 4;
/// Leave the memory out of forked children (MADV_DONTFORK). A child must not access it; releasing it
/// there is fine.
pub const GUESTMEM_POLICY_DONTFORK: u64 = 8;
/// Let the kernel merge equal pages (MADV_MERGEABLE); only for private memory.
pub const GUESTMEM_POLICY_MERGEABLE: u64 = 16;

const _: () = assert!(
    GUESTMEM_POLICY_USE_HUGEPAGES == policy::USE_HUGEPAGES
        && GUESTMEM_POLICY_LOCK_GUEST_MEMORY == policy::LOCK_GUEST_MEMORY
        && GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED == policy::USE_PUNCHHOLE_LOCKED
        && GUESTMEM_POLICY_DONTFORK == policy::DONTFORK
        && GUESTMEM_POLICY_MERGEABLE == policy::MERGEABLE
);

/// Gives pages back to the system, as a balloon does: afterwards the range reads as zeros and its
/// host memory is free, whatever backs it, locked or not. On files it punches a hole. Pages of
/// hugetlbfs lose their reservation: touching the range again needs a free huge page. Any thread.
///
/// In a copy-on-write region (GUESTMEM_LOAD_MAP, or a file mapped private) each part that is given
/// back by itself is a mapping more, of which a process may have only so many (vm.max_map_count). All
/// regions together take no more than half of what the rest of the process leaves, small parts a
/// quarter. Beyond that zeros are written, and their memory is not free. Parts that touch are one, and
/// giving the whole region back always frees all of it.
///
/// @param mem    a memory.
/// @param addr   first guest address, a multiple of the region's page size.
/// @param count  bytes, a multiple of the region's page size, not 0.
/// @retval GUESTMEM_OK                 the range reads as zeros.
/// @retval GUESTMEM_E_BAD_HANDLE       mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ADDRESS  addr is in no region.
/// @retval GUESTMEM_E_INVALID_SIZE     count is 0.
/// @retval GUESTMEM_E_INVALID_RANGE    the range does not end in the region it starts in.
/// @retval GUESTMEM_E_NOT_ALIGNED      not a multiple of the page size.
/// @retval GUESTMEM_E_READ_ONLY        the region is read-only.
/// @retval GUESTMEM_E_UNSUPPORTED      the kernel offers no way, and nothing has changed: caller's
///   memory that is a private mapping of a file, or shared and locked without its fd; a file that
///   cannot have holes or is sealed against writing (F_SEAL_WRITE, F_SEAL_FUTURE_WRITE); caller's
///   memory that maps several files, where the kernel does not tell of two of them beforehand.
/// @retval GUESTMEM_E_NO_MEMORY        the kernel lacked memory for it.
/// @retval GUESTMEM_E_TOO_LARGE        caller's memory: no descriptor was free to look at it.
/// @retval GUESTMEM_E_OS               a system call failed; of caller's memory of several mappings
///   some may have been given back. Pages under
///   GUESTMEM_POLICY_LOCK_GUEST_MEMORY are not locked any more if RLIMIT_MEMLOCK was lowered since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_remove_range(
    mem: *const guestmem,
    addr: u64,
    count: u64,
) -> c_int {
    // SAFETY: the caller keeps to the manual for its handle.
    call(Some((addr, count)), move || unsafe { memory(mem)? }.remove_range(addr, count))
}

/// Puts policies in force beside those that are; there is no taking back. Each is applied to all
/// regions or to none: one that the kernel refuses, or would silently ignore, is rolled back, where it
/// was not in force before by whoever's doing, while the others stay. Any thread.
///
/// @param mem     a memory.
/// @param policy  GUESTMEM_POLICY_* bits; 0 changes nothing.
/// @retval GUESTMEM_OK                  all of them are in force.
/// @retval GUESTMEM_E_BAD_HANDLE        mem is no live memory.
/// @retval GUESTMEM_E_INVALID_ARGUMENT  an unknown bit is set; nothing has changed.
/// @retval GUESTMEM_E_POLICY            one was refused; the error message names it, and
///   guestmem_memory_policy() tells which are in force. Without an os_errno the kernel would have
///   ignored it.
/// @retval GUESTMEM_E_NO_MEMORY         no host memory to find out about one; the same holds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_set_memory_policy(mem: *mut guestmem, policy: u64) -> c_int {
    call(None, move || {
        // SAFETY: the caller keeps to the manual for its handle.
        let mem = unsafe { memory(mem)? };
        known_flags(policy, policy::ALL)?;
        mem.add_policy(policy)
    })
}

/// Tells which policies are in force in this process. Any thread.
///
/// @param mem  a memory.
/// @return GUESTMEM_POLICY_* bits; 0 for a bad handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_memory_policy(mem: *const guestmem) -> u64 {
    // SAFETY: the caller keeps to the manual for its handle.
    value_or(0, || Ok(unsafe { memory(mem)? }.policy()))
}
