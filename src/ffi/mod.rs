// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! libguestmem: guest memory for C and C++ programs.
//!
//! For virtual machine monitors, vhost-user back ends, emulators, device plug-ins and sandbox
//! runtimes. The library maps the regions of a guest's memory, translates guest addresses to host
//! pointers with every bound checked, copies bytes and values without tearing them, and saves and
//! restores the content of memory.
//!
//! Contents
//!
//! Section numbers do not change; 11 is not in use yet.
//!
//! Terms
//!   guest address  an address as the guest sees it, a uint64_t.
//!   region         a range of guest addresses with host memory behind it; page-aligned, not empty.
//!   memory         the regions of one guest, struct guestmem. They do not overlap. Between them are
//!                  holes.
//!   host address   a pointer in this process. Each region is one contiguous mapping.
//!   slice          host address and length of bytes within one region, laid out as struct iovec.
//!   backing        what holds a region's bytes: a memfd of the library, a file, or caller's memory.
//!   adjacent       regions are adjacent when one ends where the next begins.
//!   len, size      in parameter names, len is a number of bytes of host memory, size one of guest
//!                  memory. NAME_size is sizeof *NAME.
//!
//! The ten calls of a usual monitor
//!   guestmem_new()                 map RAM; guestmem_new_with_options() for files, huge pages, ROM.
//!   guestmem_region_info()         give each region to the hypervisor.
//!   guestmem_write_all()           load the kernel.
//!   guestmem_load_u16()            read a ring index that the guest publishes.
//!   guestmem_translate_for()       turn a descriptor chain into iovecs that are safe to access.
//!   guestmem_dma_read()            copy bytes out of guest memory, as a device does.
//!   guestmem_dma_write()           copy bytes into guest memory, as a device does.
//!   guestmem_store_u16()           publish a ring index to the guest.
//!   guestmem_last_error_message()  say why a call failed.
//!   guestmem_unref()               release the memory.
//!   Then, as needed: guestmem_save() and guestmem_load() for images and clones,
//!   guestmem_remove_range() for a balloon, guestmem_add_region() for hot-plug, and
//!   guestmem_get_view() where even a function call is too slow.
//!
//! Example
//!   struct guestmem_range ram[] = {{0, 0xa0000}, {0x100000, 0x7f00000}};
//!   struct guestmem *mem;
//!   if (guestmem_new(ram, 2, &mem) != GUESTMEM_OK) {
//!       char why[200];
//!       guestmem_last_error_message(why, sizeof why);
//!       fprintf(stderr, "no guest memory: %s\n", why);
//!       return 1;
//!   }
//!   for (size_t i = 0; i < guestmem_num_regions(mem); i++) {
//!       struct guestmem_region_info r;
//!       guestmem_region_info(mem, i, &r, sizeof r);
//!       add_kvm_slot(vm, i, r.guest_addr, r.size, r.host_addr);
//!   }
//!   uint16_t head;                      // of a ring whose address the guest gave
//!   int code = guestmem_load_u16(mem, ring + 2, GUESTMEM_ACQUIRE, &head);
//!   if (code == GUESTMEM_OK)
//!       code = guestmem_dma_read(mem, desc_addr, packet, desc_len);
//!   if (code != GUESTMEM_OK)            // the guest gave an address that it does not have
//!       fprintf(stderr, "%s\n", guestmem_strerror(code));
//!   guestmem_unref(mem);
//!
//! The rest of this comment holds for every call.
//!
//! Results
//!   A call that can fail returns int: GUESTMEM_OK (0) or a negative GUESTMEM_E_*. It returns
//!   results through out pointers, which are required unless their description says "may be NULL".
//!   On failure, it sets each pointer, number, bool and single-slice output to NULL or 0, and a
//!   descriptor output to -1. It leaves data buffers, slice arrays and info structs unchanged.
//!   A call that returns a value instead of a code returns 0, false or NULL on failure.
//!   guestmem_last_error_message() describes a failure of either kind in words. The inline
//!   functions of section 7 and their twins do not set it.
//!   errno does not change, nothing is printed, no signal is raised, and no signal handler is
//!   installed.
//!
//! Errors of every call
//!   These are listed at a call only where there is more to say:
//!   GUESTMEM_E_BAD_HANDLE        a handle is NULL or invalid; see "Invalid handles".
//!   GUESTMEM_E_INVALID_ARGUMENT  a required pointer is NULL, a flag bit or enum value is unknown,
//!                                a struct size is 0 or impossible, or a reserved field is not 0. A
//!                                NULL array or buffer is valid when its length is 0.
//!   GUESTMEM_E_NO_MEMORY         a host allocation failed. Sections 5 to 7 do not allocate.
//!   GUESTMEM_E_INTERNAL          a bug in the library.
//!   If several errors apply, the call reports the first of this order: handle, pointers, flags and
//!   enums, address, range, alignment, read-only.
//!
//! Structs
//!   A struct is passed as pointer and size: pass sizeof. The library treats the missing fields of
//!   a shorter (older) struct as zeros. Fields of a longer (newer) struct that the library does not
//!   know must be zero; it zeroes them in structs that it fills. All-zero options are always valid
//!   and sensible, except where a field such as size must be set.
//!
//! Ownership
//!   Release references from guestmem_new(), guestmem_new_with_options(), guestmem_from_regions(),
//!   guestmem_load() and guestmem_ref() with guestmem_unref(); those from guestmem_region_new(),
//!   guestmem_region_ref() and guestmem_remove_region() with guestmem_region_unref(). Free text
//!   that a call allocated with guestmem_free().
//!   Descriptors that you pass in stay yours. Descriptors that you receive are borrowed: they are
//!   valid while their region lives; do not close them. All descriptors are close-on-exec.
//!
//! Invalid handles
//!   A NULL or released handle, a handle of the other kind, or a pointer to any other readable
//!   memory gives GUESTMEM_E_BAD_HANDLE. Releasing an invalid handle, or more references than the
//!   program owns, has no effect, even while memories still hold the region.
//!   The library cannot detect: a reference released by someone other than its owner; a released
//!   handle after 64 more of its kind were created; a handle that another thread releases during
//!   the call; a copy of a handle's bytes. A pointer to unreadable memory faults.
//!
//! Threads
//!   Every function may be called from any thread at any time on the same handle, except the last
//!   guestmem_unref(). No access waits for another. No thread of the library outlives a call. No
//!   call is a cancellation point. Callbacks run on the calling thread and must return: no
//!   exception and no longjmp may leave them.
//!
//! Fork
//!   A child process may use its copies of the handles. Parent and child share shared memory
//!   (memfds, shared files). The child has its own copy of private and copy-on-write memory, as of
//!   the fork. Releases in a child do not affect the parent.
//!   If another thread was inside the library during the fork, the child may only access,
//!   translate, transfer, ask (except guestmem_describe()), take references, and release references
//!   that are not the last. Otherwise the child may make every call.
//!   A child must not access memory under GUESTMEM_POLICY_DONTFORK, because other mappings may take
//!   its addresses. It may only ask about it and release it.
//!   Locks are not inherited: GUESTMEM_POLICY_LOCK_GUEST_MEMORY is in force in the process that
//!   asked for it. Elsewhere, removing a range of a private file in such memory still needs the
//!   right to lock pages.
//!
//! Size 0
//!   Moving 0 bytes succeeds and does nothing if the address is in a region or at the end of one.
//!   Calls that return a host address or slice, and guestmem_remove_range(), refuse 0 with
//!   GUESTMEM_E_INVALID_SIZE.
//!
//! Region-level and DMA-level
//!   Region-level calls stay inside the one region that contains the address.
//!   DMA-level calls see memory as the guest's devices do: a range may continue through adjacent
//!   regions. A hole anywhere in it, or for writes a read-only region, fails the whole call before
//!   anything moves. These are guestmem_dma_*(), guestmem_get_slices(), guestmem_translate() and
//!   their variants, and the transfers between guest memory and file descriptors.
//!
//! Read-only regions
//!   A guest may name its ROM as the buffer that a device is to fill. A write there through a host
//!   pointer ends the process with SIGSEGV. Calls with "writable" in their name, and
//!   guestmem_translate_for() with GUESTMEM_ACCESS_WRITE, refuse read-only regions with
//!   GUESTMEM_E_READ_ONLY. Other calls that return pointers do not.
//!
//! Concurrent changes by the guest
//!   The guest may change its memory at any time. The library reads each value once. An aligned
//!   access of 1, 2, 4 or 8 bytes is never torn, in bulk copies either. Use host pointers with the
//!   same care.
//!
//! Changing the mappings of a region yourself
//!   mprotect(2)  Later accesses obey it. An access that it forbids raises SIGSEGV, as your own
//!                would. Where the kernel makes the access (transfers, snapshots, restores), the
//!                call fails with GUESTMEM_E_IO and EFAULT.
//!   madvise(2)   MADV_DONTNEED keeps the bytes of a shared region. It turns those of a private
//!                region into zeros, and those of a copy-on-write region into what the file holds.
//!                Use guestmem_remove_range() to discard, and GUESTMEM_POLICY_DONTFORK instead of
//!                MADV_DONTFORK, of which the library would not know. Advice that only changes how
//!                pages are kept is fine.
//!   mbind(2)     Applies to pages that are touched later.
//!   In a copy-on-write region, guestmem_remove_range() and restores replace pages: what
//!   mprotect(2) and mbind(2) set there is lost, policies of guestmem_set_memory_policy() are kept.
//!   Never unmap, move or map over a region while it lives.
//!
//! Descriptors and mappings that a memory takes
//!   Descriptors:
//!     1 for all regions of guestmem_new() and guestmem_new_with_options() without a backing of their
//!       own; with huge pages, 1 for each size of page
//!     1 for each region of guestmem_region_new() without a backing of its own
//!     1 for each region with GUESTMEM_REGION_FD
//!     1 for an image loaded with GUESTMEM_LOAD_MAP
//!     0 for GUESTMEM_REGION_PRIVATE and GUESTMEM_REGION_HOST, each without GUESTMEM_REGION_FD
//!   and for the process 1 after its first snapshot, restore or save, up to 4 after
//!   guestmem_prepare(). Some calls open more while they run.
//!   Mappings, of which a process may have vm.max_map_count:
//!     3 for each region: its memory and two guard pages
//!     0 for GUESTMEM_REGION_HOST
//!     1 for the process
//!   and more for mapped images and removed ranges of copy-on-write regions; see GUESTMEM_LOAD_MAP
//!   and guestmem_remove_range().
// The text above is the first comment of guestmem.h, with the list of sections after "Contents". The
// module comment of each file below is the head of its section there.

// The manual pages say under which rules a C program may call, and their brackets are C's.
#![allow(clippy::missing_safety_doc, non_camel_case_types, rustdoc::broken_intra_doc_links)]

pub mod access;
mod any_width;
mod chain;
pub mod hotplug;
pub mod image;
pub mod memory;
pub mod policy;
pub mod query;
pub mod region;
pub mod slice;
pub mod slice_struct;
pub mod snapshot;
pub mod status;
pub mod transfer;
pub mod translate;
pub mod translate_slices;
#[rustfmt::skip]
pub mod value;
pub mod version;
pub mod view;
#[rustfmt::skip]
pub mod view_value;

use crate::error;
use crate::error::{About, Error, Failure, Result};
use crate::host::alloc::vec_of;
use crate::host::handle::{Pooled, Ref, lend};
use crate::memory::guest::GuestMemory;
use memory::guestmem;
use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::Once;

/// Runs what a C function does. No panic leaves it, `errno` stays as it was, and a failure becomes
/// the thread's last error, with the guest range that the call was about.
///
/// Functions whose good path must cost nothing try that first and come here for all else.
#[cold]
#[inline(never)]
fn call(range: Option<(u64, u64)>, body: impl FnOnce() -> Result<()>) -> c_int {
    call_about(&About::new(range), body)
}

/// As [`call`], where only the work tells which range it is about.
fn call_about(range: &About, body: impl FnOnce() -> Result<()>) -> c_int {
    match guarded(range, body) {
        Ok(()) => status::GUESTMEM_OK,
        Err(error) => status::code(error),
    }
}

/// As [`call`], for what makes no system call and allocates nothing: `errno` cannot change, and
/// cancelling this thread waits for a later call anyway.
#[cold]
#[inline(never)]
fn call_in_memory(range: Option<(u64, u64)>, body: impl FnOnce() -> Result<()>) -> c_int {
    match caught(body) {
        Ok(()) => status::GUESTMEM_OK,
        Err(error) => {
            error::set_last(Failure { error, range });
            status::code(error)
        }
    }
}

/// As [`call`], for functions that return something else than a code: `otherwise` on failure.
fn value_or<T>(otherwise: T, body: impl FnOnce() -> Result<T>) -> T {
    guarded(&About::default(), body).unwrap_or(otherwise)
}

fn guarded<T>(range: &About, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let saved = error::errno();
    let _uncancelled = Uncancelled::new();
    let result = caught(body);
    if let Err(error) = result {
        error::set_last(Failure { error, range: range.get() });
    }
    error::set_errno(saved);
    result
}

/// A panic becomes an error.
fn caught<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // Dropping it could panic again.
        std::mem::forget(payload);
        Err(Error::Internal("the library panicked"))
    })
}

unsafe extern "C" {
    // pthread_setcancelstate(3); the libc crate lacks it.
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// While it lives, cancelling this thread waits: to unwind it through Rust would end the process.
struct Uncancelled(c_int);

impl Uncancelled {
    fn new() -> Self {
        let mut old = 0;
        // SAFETY: the old state is ours to write.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut old) };
        Uncancelled(old)
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        // SAFETY: puts back the state that was there.
        unsafe { pthread_setcancelstate(self.0, &mut 0) };
    }
}

/// A panic is a bug that comes back as a code: nothing is printed about it. This concerns only the
/// library's own copy of the Rust runtime.
fn print_no_panics() {
    static QUIET: Once = Once::new();
    if cfg!(not(test)) {
        QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    }
}

/// The memory behind a handle.
///
/// # Safety
/// See [`lend`].
#[inline(always)]
unsafe fn memory<'a>(mem: *const guestmem) -> Result<&'a GuestMemory> {
    // SAFETY: passed on.
    unsafe { lend(mem.cast()) }.ok_or(Error::BadHandle)
}

/// A further reference to the object behind a handle.
///
/// # Safety
/// See [`lend`].
unsafe fn share<H, T: Pooled>(handle: *mut H) -> Result<Ref<T>> {
    // SAFETY: passed on.
    unsafe { Ref::share_raw(handle.cast()) }.ok_or(Error::BadHandle)
}

/// As [`share`], for the caller to keep. The same handle, or NULL.
///
/// # Safety
/// See [`lend`].
unsafe fn share_out<H, T: Pooled>(handle: *mut H) -> *mut H {
    // SAFETY: passed on.
    value_or(null_mut(), || Ok(unsafe { share::<H, T>(handle)? }.into_raw().cast()))
}

/// Takes a reference of the caller's back; NULL is none.
///
/// # Safety
/// See [`lend`].
unsafe fn take_back<H, T: Pooled>(handle: *mut H) {
    if !handle.is_null() {
        // SAFETY: passed on.
        let back = || unsafe { Ref::<T>::from_raw(handle.cast()) }.map(drop);
        call(None, || back().ok_or(Error::BadHandle));
    }
}

/// Sets an output that may be NULL.
///
/// # Safety
/// `out` is NULL or can be written.
unsafe fn set<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: writable by contract.
        unsafe { out.write(value) };
    }
}

/// Refuses a NULL pointer.
fn required<T>(pointer: *const T) -> Result<()> {
    if pointer.is_null() {
        Err(Error::InvalidArgument("a required pointer is NULL"))
    } else {
        Ok(())
    }
}

/// Refuses a NULL buffer, unless it is empty.
fn required_buffer<T>(pointer: *const T, len: usize) -> Result<()> {
    if len == 0 { Ok(()) } else { required(pointer) }
}

/// Refuses flag bits that are not `known`.
fn known_flags(flags: u64, known: u64) -> Result<()> {
    if flags & !known == 0 { Ok(()) } else { Err(Error::InvalidArgument("an unknown flag is set")) }
}

/// A struct that crosses the boundary: any bytes are a valid value of it.
///
/// # Safety
/// `repr(C)`, of integers, pointers and optional function pointers alone.
unsafe trait Plain: Copy {}

/// Larger structs than this are no structs of a later version.
const MAX_STRUCT: usize = 4096;

/// Copies in a caller's struct of `size` bytes: padded with zeros when shorter, its unknown rest
/// zero when longer, all zero when NULL with size 0. `need` bytes must be there at least.
///
/// # Safety
/// `from` is NULL or can be read for `size` bytes.
unsafe fn struct_in<T: Plain>(from: *const T, size: usize, need: usize) -> Result<T> {
    let wrong_size = Error::InvalidArgument("not a size that the struct can have");
    // SAFETY: all-zero bytes are a valid `Plain`.
    let mut value: T = unsafe { std::mem::zeroed() };
    if from.is_null() && size == 0 && need == 0 {
        return Ok(value);
    }
    required(from)?;
    if size == 0 || size < need || size > MAX_STRUCT {
        return Err(wrong_size);
    }
    let (source, known) = (from.cast::<u8>(), size.min(size_of::<T>()));
    // SAFETY: `known` is within both; any bytes are a valid `Plain`.
    unsafe { source.copy_to_nonoverlapping((&raw mut value).cast(), known) };
    for offset in known..size {
        // SAFETY: within the caller's struct.
        if unsafe { *source.add(offset) } != 0 {
            return Err(Error::InvalidArgument("the struct has fields that this version lacks"));
        }
    }
    Ok(value)
}

/// Copies out a struct, cut to the caller's `size`; what that has beyond ours is zeroed.
///
/// # Safety
/// `to` can be written for `size` bytes.
unsafe fn struct_out<T: Plain>(to: *mut T, size: usize, value: T) {
    let known = size.min(size_of::<T>());
    // SAFETY: `known` is within both; the rest is within the caller's struct.
    unsafe {
        (&raw const value).cast::<u8>().copy_to_nonoverlapping(to.cast(), known);
        to.cast::<u8>().add(known).write_bytes(0, size - known);
    }
}

/// Refuses an output struct without room.
fn check_out_size<T>(to: *const T, size: usize) -> Result<()> {
    required(to)?;
    if size == 0 { Err(Error::InvalidArgument("a struct of size 0")) } else { Ok(()) }
}

/// Text for the caller, in memory that `guestmem_free` takes.
fn text_out(text: &[u8]) -> Result<*mut c_char> {
    // SAFETY: a plain allocation, filled to its last byte.
    unsafe {
        let copy = libc::malloc(text.len() + 1).cast::<u8>();
        if copy.is_null() {
            return Err(Error::NoMemory("text for the caller"));
        }
        text.as_ptr().copy_to_nonoverlapping(copy, text.len());
        copy.add(text.len()).write(0);
        Ok(copy.cast())
    }
}

/// Copies in `count` items of a caller's array.
///
/// # Safety
/// `items` can be read for `count` items.
unsafe fn array_in<T: Copy, U>(
    items: *const T,
    count: usize,
    convert: impl Fn(T) -> Result<U>,
) -> Result<Vec<U>> {
    required_buffer(items, count)?;
    if count > isize::MAX as usize / size_of::<T>().max(size_of::<U>()) {
        return Err(Error::too_large("the array is larger than memory"));
    }
    let mut copies = vec_of(count)?;
    for index in 0..count {
        // SAFETY: within the caller's array.
        copies.push(convert(unsafe { items.add(index).read_unaligned() })?);
    }
    Ok(copies)
}
