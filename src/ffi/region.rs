// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 3 Creating: regions
//!
//! A region is reference-counted on its own and may belong to several memories at once.

use crate::address::fits;
use crate::error::{About, Error, Result};
use crate::ffi::{
    Plain, call_about, known_flags, print_no_panics, required, set, share_out, struct_in, take_back,
};
use crate::host::system;
use crate::memory::options::{CallerMemory, RegionOptions, Source};
use crate::memory::region::MemoryRegion;
use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;

/// Guest RAM.
pub const GUESTMEM_PURPOSE_RAM: u32 = 0;
/// Reserved: the guest is told to leave it alone.
pub const GUESTMEM_PURPOSE_RESERVED: u32 = 1;
/// Firmware.
pub const GUESTMEM_PURPOSE_BIOS: u32 = 2;
/// Firmware that protects the guest from the host.
pub const GUESTMEM_PURPOSE_PROTECTED_FIRMWARE: u32 = 3;
/// Bounce buffers of a protected guest.
pub const GUESTMEM_PURPOSE_STATIC_SWIOTLB: u32 = 4;

/// Back the region with a regular file, memfd or POSIX shared memory: fd at fd_offset, mapped
/// shared.
pub const GUESTMEM_REGION_FD: u64 = 0x01;
/// Use memory that the caller mapped at host_addr. The caller unmaps it after the region's last
/// reference is gone. With GUESTMEM_REGION_FD, fd and fd_offset name the file mapped there. With
/// GUESTMEM_REGION_PRIVATE, the mapping is copy-on-write.
pub const GUESTMEM_REGION_HOST: u64 = 0x02;
/// Writes through this library fail with GUESTMEM_E_READ_ONLY. The library maps the region for
/// reading only.
pub const GUESTMEM_REGION_READ_ONLY: u64 = 0x04;
/// With GUESTMEM_REGION_FD: map the file copy-on-write. If the file has huge pages, as many more
/// are reserved as the region has, unless the region is read-only. Alone: private memory without a
/// file.
pub const GUESTMEM_REGION_PRIVATE: u64 = 0x08;
/// Use huge pages of hugetlbfs, reserved at creation, so that no access can fail for lack of one.
/// Where a cgroup may limit the number of huge pages, they are allocated at creation, as with
/// GUESTMEM_REGION_POPULATE. Huge pages of a file passed with GUESTMEM_REGION_FD belong to the
/// file: mapping it reserves pages but allocates none.
pub const GUESTMEM_REGION_HUGETLB: u64 = 0x10;
/// Fault in all pages at creation, on several threads. If that fails, creation fails.
pub const GUESTMEM_REGION_POPULATE: u64 = 0x20;

const ALL_FLAGS: u64 = 0x3f;

/// How to create a region. With only guest_addr and size set, it is RAM in shared memory of the
/// library.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_region_options {
    /// First guest address, a multiple of the region's page size.
    pub guest_addr: u64,
    /// Size in bytes, a multiple of the region's page size, not 0.
    pub size: u64,
    /// Alignment of the host address, a power of two. 0: in regions of at least 2 MiB, host and
    /// guest addresses agree modulo 2 MiB (with huge pages: modulo their size), so that hypervisor
    /// and kernel can use huge mappings.
    pub align: u64,
    /// GUESTMEM_REGION_* flags.
    pub flags: u64,
    /// With GUESTMEM_REGION_FD: offset of the region in the file, a multiple of the region's page
    /// size.
    pub fd_offset: u64,
    /// With GUESTMEM_REGION_HOST: the memory to use, page-aligned.
    pub host_addr: *mut c_void,
    /// With GUESTMEM_REGION_FD: the file. The library duplicates it; the caller keeps its own.
    pub fd: i32,
    /// GUESTMEM_PURPOSE_*: what the guest is told about the region. The library only passes it on.
    pub purpose: u32,
    /// With GUESTMEM_REGION_HUGETLB: log2 of the page size, 21 or 30 (aarch64: also 16, 25, 29 or
    /// 34); 0: the system's default.
    pub hugetlb_log2: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: integers and a pointer alone.
unsafe impl Plain for guestmem_region_options {}

/// Without these fields the options mean nothing.
pub(super) const NEEDED: usize = offset_of!(guestmem_region_options, align);

/// Sizes of huge pages that the architecture has, as powers of two.
#[cfg(not(target_arch = "aarch64"))]
const HUGE_SIZES: &[u32] = &[21, 30];
#[cfg(target_arch = "aarch64")]
const HUGE_SIZES: &[u32] = &[16, 21, 25, 29, 30, 34];

/// Copies in one caller's options and checks flags and enums.
///
/// # Safety
/// `options` can be read for `size` bytes.
pub(super) unsafe fn options_in(
    options: *const guestmem_region_options,
    size: usize,
) -> Result<RegionOptions> {
    // SAFETY: passed on.
    let options = unsafe { struct_in(options, size, NEEDED)? };
    known_flags(options.flags, ALL_FLAGS)?;
    if options.purpose > GUESTMEM_PURPOSE_STATIC_SWIOTLB {
        return Err(Error::InvalidArgument("purpose is none of GUESTMEM_PURPOSE_*"));
    }
    if options.reserved != 0 {
        return Err(Error::InvalidArgument("the reserved field is not 0"));
    }
    Ok(RegionOptions {
        guest_addr: options.guest_addr,
        size: options.size,
        align: options.align,
        source: source(&options)?,
        read_only: options.flags & GUESTMEM_REGION_READ_ONLY != 0,
        populate: options.flags & GUESTMEM_REGION_POPULATE != 0,
        purpose: options.purpose,
    })
}

fn source(options: &guestmem_region_options) -> Result<Source> {
    let has = |flag| options.flags & flag != 0;
    let (fd, offset) = (options.fd, options.fd_offset);
    let private = has(GUESTMEM_REGION_PRIVATE);
    if has(GUESTMEM_REGION_HUGETLB) {
        if has(GUESTMEM_REGION_FD) || has(GUESTMEM_REGION_HOST) || private {
            let why = "GUESTMEM_REGION_HUGETLB does not go with _FD, _HOST or _PRIVATE";
            return Err(Error::InvalidArgument(why));
        }
        return huge_source(options.hugetlb_log2);
    }
    if options.hugetlb_log2 != 0 {
        return Err(Error::InvalidArgument("hugetlb_log2 without GUESTMEM_REGION_HUGETLB"));
    }
    if has(GUESTMEM_REGION_FD) && offset > i64::MAX as u64 {
        return Err(Error::InvalidArgument("fd_offset is beyond 2^63-1"));
    }
    if has(GUESTMEM_REGION_HOST) {
        let host = options.host_addr.cast::<u8>();
        if host.is_null() || !fits(host as u64, options.size, u64::MAX) {
            return Err(Error::InvalidArgument("host_addr is NULL, or its end would wrap"));
        }
        let file = has(GUESTMEM_REGION_FD).then_some((fd, offset));
        // SAFETY: the manual asks the caller for just that.
        let memory = unsafe { CallerMemory::new(host) };
        return Ok(Source::Caller { memory, file, private });
    }
    Ok(match (has(GUESTMEM_REGION_FD), private) {
        (true, private) => Source::File { fd, offset, private },
        (false, true) => Source::Private,
        (false, false) => Source::Memfd,
    })
}

fn huge_source(log2: u32) -> Result<Source> {
    match log2 {
        0 => Ok(Source::Huge { log2: system::default_huge_log2()? }),
        log2 if HUGE_SIZES.contains(&log2) => Ok(Source::Huge { log2 }),
        _ => Err(Error::InvalidArgument("no huge page has that size")),
    }
}

/// The flags that describe a region.
pub(super) fn flags_of(options: &RegionOptions) -> u64 {
    let source = match options.source {
        Source::Memfd => 0,
        Source::Huge { .. } => GUESTMEM_REGION_HUGETLB,
        Source::Private => GUESTMEM_REGION_PRIVATE,
        Source::File { private, .. } => GUESTMEM_REGION_FD | private_flag(private),
        Source::Caller { file, private, .. } => {
            let file = if file.is_some() { GUESTMEM_REGION_FD } else { 0 };
            GUESTMEM_REGION_HOST | file | private_flag(private)
        }
    };
    let read_only = if options.read_only { GUESTMEM_REGION_READ_ONLY } else { 0 };
    let populate = if options.populate { GUESTMEM_REGION_POPULATE } else { 0 };
    source | read_only | populate
}

fn private_flag(private: bool) -> u64 {
    if private { GUESTMEM_REGION_PRIVATE } else { 0 }
}

/// A region of guest memory, reference-counted.
pub struct guestmem_region {
    _opaque: [u8; 0],
}

/// Creates a region on its own, for guestmem_from_regions() or guestmem_add_region(). A region
/// without a backing of its own gets a memfd named "guestmem", sealed against shrinking, growing
/// and further sealing. The mapping lies between inaccessible guard pages and is left out of core
/// dumps (MADV_DONTDUMP); caller's memory is used as it is. Memory reads as zeros until written,
/// unless it is a file's or the caller's.
///
/// @param options       how to create it.
/// @param options_size  sizeof *options.
/// @param out           the region, with one reference to release with guestmem_region_unref().
/// @retval GUESTMEM_E_INVALID_ARGUMENT  also: purpose is unknown, flags contradict each other,
///   host_addr is NULL or its end wraps, fd_offset is beyond 2^63-1, no huge page has the size
///   hugetlb_log2.
/// @retval GUESTMEM_E_INVALID_SIZE      size is 0.
/// @retval GUESTMEM_E_TOO_LARGE         the region would end at or past 2^64, is larger than a file
///   can or may be, or needs one more descriptor than the process may have.
/// @retval GUESTMEM_E_NOT_ALIGNED       address, size or fd_offset is not a multiple of the
///   region's page size, align is not a power of two, or host_addr is not a multiple of align.
/// @retval GUESTMEM_E_BACKING           fd is closed, not a regular file or memfd, write-only, too
///   short, or cannot be mapped this way.
/// @retval GUESTMEM_E_READ_ONLY         fd is open read-only and the region is writable.
/// @retval GUESTMEM_E_NO_MEMORY         also: not enough host addresses or free huge pages.
/// @retval GUESTMEM_E_UNSUPPORTED       the system has no such huge pages, or cannot populate the
///   mapping.
/// @retval GUESTMEM_E_OS                a system call failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_region_new(
    options: *const guestmem_region_options,
    options_size: usize,
    out: *mut *mut guestmem_region,
) -> c_int {
    print_no_panics();
    // SAFETY: the caller keeps to the manual for its pointers.
    unsafe {
        set(out, null_mut());
        let about = About::default();
        call_about(&about, || {
            required(options)?;
            required(out)?;
            let options = options_in(options, options_size)?;
            about.set(options.about());
            out.write(MemoryRegion::new(&options)?.into_raw().cast());
            Ok(())
        })
    }
}

/// Takes another reference to a region.
///
/// @param region  the region.
/// @return The same region; NULL if it is not a valid region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_region_ref(region: *mut guestmem_region) -> *mut guestmem_region {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { share_out::<_, MemoryRegion>(region) }
}

/// Releases a reference to a region. The last reference, including those of memories, unmaps it.
///
/// @param region  the region; NULL has no effect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_region_unref(region: *mut guestmem_region) {
    // SAFETY: the caller keeps to the manual for its handle.
    unsafe { take_back::<_, MemoryRegion>(region) }
}
