// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! libguestmem: a guest's memory for C and C++ programs.
//!
//! For virtual machine monitors, vhost-user back ends, emulators, device plugins and sandbox
//! runtimes: it maps the regions of a guest's memory, turns guest addresses into host pointers with
//! every bound checked, moves bytes and values without tearing them, and saves and brings back
//! what memory holds.
//!
//! Terms
//!   guest address  an address as the guest sees it, a uint64_t.
//!   region         a range of guest addresses with host memory behind it; page-aligned, not empty.
//!   guest memory   a set of regions that do not overlap. Between them are holes.
//!   host address   a pointer in this process; each region is one mapping between guard pages.
//!   slice          host address and length of bytes in one region, laid out as struct iovec.
//!   backing        what a region's bytes live in: a memfd of the library, a file, memory of yours.
//!
//! Calling convention
//!   A call that can fail returns int: GUESTMEM_OK (0) or a negative GUESTMEM_E_*. Results come
//!   through out pointers, which are required unless their description says "may be NULL". After a
//!   failure every pointer, number, bool and single slice output is NULL or 0, a file descriptor
//!   output is -1; data buffers, slice arrays and info structs are left as they were. Of several
//!   things wrong the first in this order is reported: handle, pointers, flags and enums, address,
//!   range, alignment, read-only. guestmem_last_error_message() says it in words. errno is left as
//!   it was, nothing is printed, no signal is raised and no handler installed.
//!   A struct travels as pointer and size: pass sizeof. A shorter (older) struct is padded with
//!   zeros; what a longer (newer) one has beyond the library's must be zero, and is zeroed where
//!   the library fills it. All-zero options are always a sensible default. Unknown flag bits and
//!   enum values are refused.
//!
//! Ownership
//!   guestmem_new(), guestmem_new_with_options(), guestmem_from_regions() and guestmem_ref() give
//!   a reference that guestmem_unref() takes; guestmem_region_new() and guestmem_region_ref() one
//!   that guestmem_region_unref() takes. Text that a call allocates goes to guestmem_free().
//!   File descriptors that you pass in stay yours, those that you get are borrowed: valid while
//!   their region lives, not to be closed. All descriptors are close-on-exec. Those that
//!   guestmem_prepare() or the first look at page tables opens stay open as long as the process.
//!
//! Misuse
//!   A handle whose last reference is gone, one of the other kind, NULL, or a pointer to other
//!   readable memory gives GUESTMEM_E_BAD_HANDLE where a call gives a code. Giving back what such a
//!   pointer does not have does nothing, nor does one reference more than the program was given,
//!   also while memories hold the region. The library cannot tell whose reference is given back,
//!   nor a released handle when 64 more of its kind have been made since, nor one that another
//!   thread releases meanwhile, nor a copy of a handle's bytes. A pointer that cannot be read faults.
//!
//! Threads
//!   Every function may be called from any thread at any time on the same handle, except the last
//!   guestmem_unref(). No access waits for another. No thread outlives a call. No call is a
//!   cancellation point. The functions that you pass in run on the calling thread and must return:
//!   no exception and no longjmp may leave them.
//!
//! Children
//!   A forked child has the handles. Shared memory (memfds, shared files) it has in common with its
//!   parent, private and copy-on-write memory to itself, as it was at the fork. What it releases
//!   stays its parent's. If no other thread was in the library at the fork it may call everything;
//!   otherwise it may only access, translate, transfer, ask (not guestmem_describe()) and take or
//!   give back references that are not the last. Of memory under GUESTMEM_POLICY_DONTFORK it may ask,
//!   and release it, no more: other things may come to lie at its addresses. Locks are not inherited:
//!   memory under GUESTMEM_POLICY_LOCK_GUEST_MEMORY is locked in the process that asked for it, and
//!   removing a range of a private file takes the right to lock in the others too.
//!
//! Zero length
//!   Moving 0 bytes succeeds and does nothing when the address is in a region or one past its end.
//!   What hands out a pointer, and guestmem_remove_range(), refuses 0: GUESTMEM_E_INVALID_SIZE.
//!
//! Two levels of access, never mixed
//!   Region-level calls stay inside the one region that holds the address. DMA-level calls
//!   (guestmem_dma_*, guestmem_get_slices(), guestmem_translate() and their like, and the fd
//!   transfers) see memory as the guest's devices do: a range may run on through regions that
//!   touch. A hole, or for writes a read-only region, anywhere in it fails the whole call before
//!   anything moves.
//!
//! Pointers to write through
//!   A guest may name its ROM as the buffer that a device is to fill; writing there through a host
//!   pointer ends the process. Calls that hand out pointers to be read know nothing of that; those
//!   with "writable" in their name, and guestmem_translate_for() with GUESTMEM_ACCESS_WRITE, refuse
//!   read-only regions with GUESTMEM_E_READ_ONLY.
//!
//! Guest memory changes under the reader: each value is fetched once, and an aligned access of 1, 2,
//! 4 or 8 bytes is never torn, in bulk copies either. Host pointers that you keep are yours to
//! use with the same care.
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
//!   uint16_t head;                      // a ring in guest memory, its address from the guest
//!   int code = guestmem_load_u16(mem, ring + 2, GUESTMEM_ACQUIRE, &head);
//!   if (code == GUESTMEM_OK)
//!       code = guestmem_dma_read(mem, desc_addr, packet, desc_len);
//!   if (code != GUESTMEM_OK)            // the guest gave an address that it does not have
//!       fprintf(stderr, "%s\n", guestmem_strerror(code));
//!   guestmem_unref(mem);
// The text above is the manual at the head of guestmem.h, the module comment of each file below
// the head of its section there.

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
pub mod snapshot;
pub mod status;
pub mod transfer;
pub mod translate;
pub mod translate_slices;
pub mod value;
pub mod version;
pub mod view;
mod view_any_width;
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

/// The host address of `len` bytes, where the flat map knows that one region of a live memory holds
/// them and that they may be written, if that `writes`. `None` also for no bytes.
///
/// # Safety
/// See [`lend`].
#[inline(always)]
unsafe fn host_of(mem: *const guestmem, addr: u64, len: u64, writes: bool) -> Option<*mut u8> {
    // SAFETY: passed on.
    unsafe { memory(mem) }.ok()?.table().flat().host(addr, len, writes)
}

/// As [`host_of`], to read.
///
/// # Safety
/// See [`lend`].
#[inline(always)]
unsafe fn host_to_read(mem: *const guestmem, addr: u64, len: u64) -> Option<*mut u8> {
    // SAFETY: passed on.
    unsafe { host_of(mem, addr, len, false) }
}

/// As [`host_of`], to write.
///
/// # Safety
/// See [`lend`].
#[inline(always)]
unsafe fn host_to_write(mem: *const guestmem, addr: u64, len: u64) -> Option<*mut u8> {
    // SAFETY: passed on.
    unsafe { host_of(mem, addr, len, true) }
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
