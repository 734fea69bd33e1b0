// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The accesses that everything here is made of, for each architecture.
//!
//! They are in assembly, because the compiler may split, merge or repeat its own accesses, and may
//! turn a loop of them into a call of `memcpy`, which tears words and reads bytes twice. What is in
//! assembly runs as it is written. On other architectures, and for Miri and AddressSanitizer, which
//! do not see into assembly, relaxed atomics do the work.

#[cfg(all(target_arch = "x86_64", not(miri), not(guestmem_asan)))]
#[path = "copy/x86_64.rs"]
mod arch;

#[cfg(all(target_arch = "aarch64", not(miri), not(guestmem_asan)))]
#[path = "copy/aarch64.rs"]
mod arch;

#[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), miri, guestmem_asan))]
#[path = "copy/portable.rs"]
mod arch;

/// One access to a word of guest memory or of a private buffer, at any alignment. It is not torn
/// when the word is aligned.
pub trait Plain: Copy + Into<u64> {
    /// # Safety
    /// The bytes at `src` must be mapped and readable.
    unsafe fn read(src: *const Self) -> Self;

    /// # Safety
    /// The bytes at `dst` must be mapped and writable.
    unsafe fn write(dst: *mut Self, value: Self);
}

/// Bytes in a block: what one turn of a bulk loop moves.
pub(super) const BLOCK: usize = 64;

/// Several words at once, each of them read or written once and never torn where it is aligned.
///
/// All bytes that are named must be mapped. What copies reads everything before it writes anything,
/// block by block.
pub(super) trait Bulk {
    /// Whether an access that is aligned less than it is wide leaves whole the aligned values of 2,
    /// 4 or 8 bytes in it.
    const KEEPS_ELEMENTS: bool;

    /// Whether `detect` was called. `copy_blocks` works without, but slower.
    #[inline(always)]
    fn is_detected() -> bool {
        true
    }

    /// Finds out what the processor can do.
    fn detect() {}

    /// Copies two words.
    unsafe fn copy_pair(dst: *mut u8, src: *const u8);

    /// Copies a block.
    unsafe fn copy_block(dst: *mut u8, src: *const u8);

    /// Copies `count` > 0 blocks, upwards from the pointers or downwards to them. Gives where that
    /// leads.
    #[inline(always)]
    unsafe fn copy_blocks<const UP: bool>(
        dst: *mut u8,
        src: *const u8,
        count: usize,
    ) -> (*mut u8, *const u8) {
        // SAFETY: as for this function.
        unsafe { copy_each_block::<UP>(dst, src, count) }
    }

    /// Fills a block with copies of `word`.
    unsafe fn fill_block(dst: *mut u8, word: u64);

    /// Fills `count` > 0 blocks with copies of `word`.
    #[inline(always)]
    unsafe fn fill_blocks(dst: *mut u8, word: u64, count: usize) {
        // SAFETY: as for this function.
        unsafe { fill_each_block(dst, word, count) }
    }

    /// The bits that are set in any word of a block.
    #[inline(always)]
    unsafe fn gather_block(src: *const u8) -> u64 {
        // SAFETY: the caller vouches for the block.
        (0..BLOCK / 8).fold(0, |seen, i| seen | unsafe { u64::read(src.cast::<u64>().add(i)) })
    }

    /// 0, best behind the compiler's back: it turns a call of what is known to return 0 from the
    /// end of a function, where it costs a jump, into one in the middle, which needs a stack frame.
    #[inline(always)]
    fn zero() -> i32 {
        0
    }
}

/// The processor that this is compiled for.
pub(super) struct Machine;

/// `Bulk::copy_blocks`, block by block.
#[inline(always)]
pub(super) unsafe fn copy_each_block<const UP: bool>(
    dst: *mut u8,
    src: *const u8,
    count: usize,
) -> (*mut u8, *const u8) {
    let (mut dst, mut src) = (dst, src);
    for _ in 0..count {
        if !UP {
            (dst, src) = (dst.wrapping_sub(BLOCK), src.wrapping_sub(BLOCK));
        }
        // SAFETY: the caller vouches for the block.
        unsafe { Machine::copy_block(dst, src) };
        if UP {
            (dst, src) = (dst.wrapping_add(BLOCK), src.wrapping_add(BLOCK));
        }
    }
    (dst, src)
}

/// `Bulk::fill_blocks`, block by block.
#[inline(always)]
unsafe fn fill_each_block(dst: *mut u8, word: u64, count: usize) {
    for i in 0..count {
        // SAFETY: the caller vouches for the blocks.
        unsafe { Machine::fill_block(dst.add(i * BLOCK), word) };
    }
}
