// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! vm-memory behind a C ABI, as a C program would have to use it: a handle, a status (0 or -1) and
//! an out pointer. Given every advantage: no null checks, no panic guard, no error detail, and of
//! several calls that would do the one that is fastest.

use std::sync::atomic::Ordering;
use vm_memory::mmap::MmapRegion;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestRegionCollection,
    GuestRegionMmap,
};

type Memory = GuestMemoryMmap<()>;

/// A region on memory that is mapped already, and stays the caller's.
#[repr(C)]
pub struct PeerRegion {
    guest_addr: u64,
    size: u64,
    host: *mut u8,
    read_only: bool,
}

const PROT_READ: i32 = 1;
const PROT_WRITE: i32 = 2;
const MAP_SHARED: i32 = 1;

fn region_of(region: &PeerRegion) -> Option<GuestRegionMmap<()>> {
    let prot = if region.read_only { PROT_READ } else { PROT_READ | PROT_WRITE };
    // SAFETY: the caller mapped these bytes and keeps them mapped.
    let mapping =
        unsafe { MmapRegion::build_raw(region.host, region.size as usize, prot, MAP_SHARED) };
    GuestRegionMmap::new(mapping.ok()?, GuestAddress(region.guest_addr))
}

/// Guest memory of these regions, or NULL.
///
/// # Safety
/// `regions` has `count` regions, whose memory stays mapped as long as the guest memory lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peer_new(regions: *const PeerRegion, count: usize) -> *mut Memory {
    // SAFETY: by contract.
    let regions = unsafe { std::slice::from_raw_parts(regions, count) };
    let regions: Option<Vec<_>> = regions.iter().map(region_of).collect();
    match regions.map(GuestRegionCollection::from_regions) {
        Some(Ok(memory)) => Box::into_raw(Box::new(memory)),
        _ => std::ptr::null_mut(),
    }
}

/// Ends what `peer_new` made.
///
/// # Safety
/// `mem` is of `peer_new`, and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peer_free(mem: *mut Memory) {
    // SAFETY: by contract.
    drop(unsafe { Box::from_raw(mem) });
}

fn status<T, E>(result: Result<T, E>, then: impl FnOnce(T)) -> i32 {
    match result {
        Ok(value) => {
            then(value);
            0
        }
        Err(_) => -1,
    }
}

/// The host address of a range within one region.
///
/// # Safety
/// `out` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peer_translate(
    mem: &Memory,
    addr: u64,
    size: u64,
    out: *mut *mut u8,
) -> i32 {
    status(mem.get_slice(GuestAddress(addr), size as usize), |slice| {
        // SAFETY: by contract.
        unsafe { out.write(slice.ptr_guard_mut().as_ptr()) }
    })
}

/// Copies out of guest memory.
///
/// # Safety
/// `buf` can be written for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peer_read_slice(mem: &Memory, addr: u64, buf: *mut u8, len: usize) -> i32 {
    // SAFETY: by contract.
    let buf = unsafe { std::slice::from_raw_parts_mut(buf, len) };
    status(mem.read_slice(buf, GuestAddress(addr)), |()| ())
}

/// Copies into guest memory.
///
/// # Safety
/// `buf` can be read for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peer_write_slice(
    mem: &Memory,
    addr: u64,
    buf: *const u8,
    len: usize,
) -> i32 {
    // SAFETY: by contract.
    let buf = unsafe { std::slice::from_raw_parts(buf, len) };
    status(mem.write_slice(buf, GuestAddress(addr)), |()| ())
}

macro_rules! accessors {
    ($($word:ty: $read:ident, $write:ident, $load:ident, $store:ident;)*) => {$(
        /// Reads a value (`read_obj`).
        ///
        /// # Safety
        /// `out` can be written.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $read(mem: &Memory, addr: u64, out: *mut $word) -> i32 {
            // SAFETY: by contract.
            status(mem.read_obj(GuestAddress(addr)), |value| unsafe { out.write(value) })
        }

        /// Writes a value (`write_obj`).
        #[unsafe(no_mangle)]
        pub extern "C" fn $write(mem: &Memory, addr: u64, value: $word) -> i32 {
            status(mem.write_obj(value, GuestAddress(addr)), |()| ())
        }

        /// Reads a value atomically, with acquire order.
        ///
        /// # Safety
        /// `out` can be written.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $load(mem: &Memory, addr: u64, out: *mut $word) -> i32 {
            let value = mem.load(GuestAddress(addr), Ordering::Acquire);
            // SAFETY: by contract.
            status(value, |value| unsafe { out.write(value) })
        }

        /// Writes a value atomically, with release order.
        #[unsafe(no_mangle)]
        pub extern "C" fn $store(mem: &Memory, addr: u64, value: $word) -> i32 {
            status(mem.store(value, GuestAddress(addr), Ordering::Release), |()| ())
        }
    )*};
}

accessors! {
    u8: peer_read_u8, peer_write_u8, peer_load_u8, peer_store_u8;
    u16: peer_read_u16, peer_write_u16, peer_load_u16, peer_store_u16;
    u32: peer_read_u32, peer_write_u32, peer_load_u32, peer_store_u32;
    u64: peer_read_u64, peer_write_u64, peer_load_u64, peer_store_u64;
}
