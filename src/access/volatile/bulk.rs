// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Many bytes at once: copies in each direction, fills, and the search for what is not zero.

use crate::access::volatile::copy::{Bulk, Machine};
use crate::access::volatile::sweep::{Fill, LONG, Scan, Transfer, sweep, sweep_any};

/// Begins to fetch the byte at `src`, which may be anywhere. Only a hint.
#[inline]
pub fn prefetch(src: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is in all such processors and has no effect but on caches.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(src.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = src;
}

/// Copies `len` guest bytes at `src` into the private buffer `dst`. Returns 0, so that a C function
/// which is to return that can end in a jump to here, without a stack frame.
///
/// # Safety
/// The bytes must be mapped; the two must not overlap.
#[inline(never)]
pub unsafe fn copy_from_guest(dst: *mut u8, src: *const u8, len: usize) -> i32 {
    // SAFETY: as for this function.
    unsafe { copy::<true>(dst, src, len) }
}

/// Copies `len` bytes of the private buffer `src` to guest bytes at `dst`. Returns 0 as
/// [`copy_from_guest`] does.
///
/// # Safety
/// The bytes must be mapped; the two must not overlap.
#[inline(never)]
pub unsafe fn copy_to_guest(dst: *mut u8, src: *const u8, len: usize) -> i32 {
    // SAFETY: as for this function.
    unsafe { copy::<false>(dst, src, len) }
}

// From here on nothing may need a stack frame, or short copies would pay for it. So each function
// either copies all by itself or ends in a jump to the next.
#[inline(always)]
unsafe fn copy<const FROM_GUEST: bool>(dst: *mut u8, src: *const u8, len: usize) -> i32 {
    // SAFETY: as for the callers.
    unsafe {
        if len < LONG {
            copy_of_length::<FROM_GUEST, false>(dst, src, len)
        } else {
            long_copy::<FROM_GUEST>(dst, src, len)
        }
    }
}

#[inline(never)]
unsafe fn long_copy<const FROM_GUEST: bool>(dst: *mut u8, src: *const u8, len: usize) -> i32 {
    // SAFETY: as for the callers.
    unsafe {
        if Machine::is_detected() {
            copy_of_length::<FROM_GUEST, true>(dst, src, len)
        } else {
            first_long_copy::<FROM_GUEST>(dst, src, len)
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn first_long_copy<const FROM_GUEST: bool>(dst: *mut u8, src: *const u8, len: usize) -> i32 {
    Machine::detect();
    // SAFETY: as for the caller.
    unsafe { long_copy::<FROM_GUEST>(dst, src, len) }
}

#[inline(always)]
unsafe fn copy_of_length<const FROM_GUEST: bool, const IS_LONG: bool>(
    dst: *mut u8,
    src: *const u8,
    len: usize,
) -> i32 {
    let guest = if FROM_GUEST { src } else { dst };
    // SAFETY: as for the callers.
    unsafe { sweep::<IS_LONG, u64, _>(Transfer::<true>::new(dst, src, len), guest, len) };
    Machine::zero()
}

/// Copies `len` guest bytes from `src` to `dst`; the two may overlap.
///
/// # Safety
/// The bytes must be mapped.
#[inline(always)]
pub unsafe fn copy_within_guest(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: as for this function.
    unsafe {
        if len < LONG {
            move_of_length::<false>(dst, src, len);
        } else {
            long_move(dst, src, len);
        }
    }
}

#[inline(never)]
unsafe fn long_move(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: as for the caller.
    unsafe {
        if Machine::is_detected() {
            move_of_length::<true>(dst, src, len);
        } else {
            first_long_move(dst, src, len);
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn first_long_move(dst: *mut u8, src: *const u8, len: usize) {
    Machine::detect();
    // SAFETY: as for the caller.
    unsafe { long_move(dst, src, len) };
}

#[inline(always)]
unsafe fn move_of_length<const IS_LONG: bool>(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: as for the callers. Going up is sound unless `dst` begins inside the source, as each
    // access reads before it writes.
    unsafe {
        if (dst as usize).wrapping_sub(src as usize) >= len {
            move_towards::<true, IS_LONG>(dst, src, len);
        } else {
            move_towards::<false, IS_LONG>(dst, src, len);
        }
    }
}

/// Copies in the widest words that tear no value which is aligned on both sides.
///
/// # Safety
/// The bytes must be mapped and not be overwritten before they are read.
#[inline(always)]
unsafe fn move_towards<const UP: bool, const IS_LONG: bool>(
    dst: *mut u8,
    src: *const u8,
    len: usize,
) {
    let copy = Transfer::<UP>::new(dst, src, len);
    let apart = dst as usize ^ src as usize;
    // SAFETY: as for this function.
    unsafe {
        if Machine::KEEPS_ELEMENTS || apart % 8 == 0 {
            sweep::<IS_LONG, u64, _>(copy, src, len);
        } else if apart % 4 == 0 {
            sweep::<IS_LONG, u32, _>(copy, src, len);
        } else if apart % 2 == 0 {
            sweep::<IS_LONG, u16, _>(copy, src, len);
        } else {
            sweep::<IS_LONG, u8, _>(copy, src, len);
        }
    }
}

/// Sets `len` guest bytes at `dst` to `byte`.
///
/// # Safety
/// The bytes must be mapped.
pub unsafe fn fill(dst: *mut u8, byte: u8, len: usize) {
    let word = u64::from_ne_bytes([byte; 8]);
    // SAFETY: as for this function.
    unsafe {
        sweep_any::<u64, _>(Fill { dst, word }, dst, len);
    }
}

/// Whether the `len` guest bytes at `src` are all zero. Stops early where they are not.
///
/// # Safety
/// The bytes must be mapped.
pub unsafe fn is_zero(src: *const u8, len: usize) -> bool {
    // SAFETY: as for this function.
    unsafe { sweep_any::<u64, _>(Scan { src, seen: 0 }, src, len).seen == 0 }
}
