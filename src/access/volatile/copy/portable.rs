// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Any machine, by relaxed atomics.

use crate::access::volatile::copy::{BLOCK, Bulk, Machine, Plain};
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

macro_rules! access {
    ($($word:ty, $atomic:ty;)*) => {$(
        impl Plain for $word {
            #[inline]
            unsafe fn read(src: *const Self) -> Self {
                if src.is_aligned() {
                    // SAFETY: aligned; the caller vouches for the bytes.
                    return unsafe { <$atomic>::from_ptr(src.cast_mut()).load(Relaxed) };
                }
                // SAFETY: bytes are always aligned; the caller vouches for them.
                Self::from_ne_bytes(core::array::from_fn(|i| unsafe {
                    AtomicU8::from_ptr(src.cast_mut().cast::<u8>().add(i)).load(Relaxed)
                }))
            }
            #[inline]
            unsafe fn write(dst: *mut Self, value: Self) {
                if dst.is_aligned() {
                    // SAFETY: aligned; the caller vouches for the bytes.
                    return unsafe { <$atomic>::from_ptr(dst).store(value, Relaxed) };
                }
                for (i, byte) in value.to_ne_bytes().into_iter().enumerate() {
                    // SAFETY: bytes are always aligned; the caller vouches for them.
                    unsafe { AtomicU8::from_ptr(dst.cast::<u8>().add(i)).store(byte, Relaxed) };
                }
            }
        }
    )*};
}
access! { u8, AtomicU8; u16, AtomicU16; u32, AtomicU32; u64, AtomicU64; }

impl Bulk for Machine {
    // An unaligned word is moved byte by byte.
    const KEEPS_ELEMENTS: bool = false;

    unsafe fn copy_pair(dst: *mut u8, src: *const u8) {
        let (dst, src) = (dst.cast::<u64>(), src.cast::<u64>());
        // SAFETY: the caller vouches for the 16 bytes.
        unsafe {
            let (low, high) = (u64::read(src), u64::read(src.add(1)));
            u64::write(dst, low);
            u64::write(dst.add(1), high);
        }
    }

    unsafe fn copy_block(dst: *mut u8, src: *const u8) {
        let (dst, src) = (dst.cast::<u64>(), src.cast::<u64>());
        // SAFETY: the caller vouches for the block.
        unsafe {
            let words: [u64; BLOCK / 8] = core::array::from_fn(|i| u64::read(src.add(i)));
            for (i, word) in words.into_iter().enumerate() {
                u64::write(dst.add(i), word);
            }
        }
    }

    unsafe fn fill_block(dst: *mut u8, word: u64) {
        for i in 0..BLOCK / 8 {
            // SAFETY: the caller vouches for the block.
            unsafe { u64::write(dst.cast::<u64>().add(i), word) };
        }
    }
}
