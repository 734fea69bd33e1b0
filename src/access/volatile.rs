// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Guest bytes, and the only code that touches them.
//!
//! The guest writes its memory while we read it. So guest bytes are never behind a Rust reference
//! to plain data, each byte is read once and written once, and an aligned value of 1, 2, 4 or 8
//! bytes moves in one access, in bulk too.

mod bulk;
mod copy;
mod sweep;
#[cfg(test)]
mod tests;

use crate::error::Error;
pub use bulk::{copy_from_guest, copy_to_guest, copy_within_guest, fill, is_zero, prefetch};
use copy::Plain;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Guest bytes: where they are mapped and how many there are.
///
/// A copyable value without a lifetime: whoever makes one vouches that the bytes are mapped while
/// it is used.
#[derive(Clone, Copy, Debug)]
pub struct VolatileSlice {
    addr: *mut u8,
    len: usize,
}

impl VolatileSlice {
    /// A slice of the `len` bytes at `addr`.
    ///
    /// # Safety
    /// The bytes must stay mapped, readable and for the writing calls writable, for as long as the
    /// slice or one made from it is used. No Rust reference to them may live.
    pub const unsafe fn new(addr: *mut u8, len: usize) -> Self {
        Self { addr, len }
    }

    /// The host address of the first byte.
    pub const fn addr(self) -> *mut u8 {
        self.addr
    }

    /// The number of bytes.
    pub const fn len(self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The `count` bytes from `offset` on.
    #[inline]
    pub fn sub(self, offset: usize, count: usize) -> Result<Self, Error> {
        match offset.checked_add(count) {
            // SAFETY: the part lies in the slice, for which its maker vouched.
            Some(end) if end <= self.len => Ok(unsafe { Self::new(self.addr.add(offset), count) }),
            _ => Err(Error::InvalidRange),
        }
    }

    /// Copies `len` bytes from `offset` on into the private buffer `buf`, or none.
    ///
    /// # Safety
    /// `buf` must be writable for `len` bytes and lie outside guest memory.
    #[inline]
    pub unsafe fn read(self, offset: usize, buf: *mut u8, len: usize) -> Result<(), Error> {
        let from = self.sub(offset, len)?;
        // SAFETY: `from` is `len` guest bytes; the caller vouches for `buf`.
        unsafe { copy_from_guest(buf, from.addr, len) };
        Ok(())
    }

    /// Copies `len` bytes from the private buffer `buf` to `offset` on, or none.
    ///
    /// # Safety
    /// `buf` must be readable for `len` bytes and lie outside guest memory.
    #[inline]
    pub unsafe fn write(self, offset: usize, buf: *const u8, len: usize) -> Result<(), Error> {
        let to = self.sub(offset, len)?;
        // SAFETY: `to` is `len` guest bytes; the caller vouches for `buf`.
        unsafe { copy_to_guest(to.addr, buf, len) };
        Ok(())
    }

    /// Sets every byte to `byte`.
    pub fn fill(self, byte: u8) {
        // SAFETY: the maker of the slice vouched for its bytes.
        unsafe { fill(self.addr, byte, self.len) }
    }

    /// Copies as many bytes as both slices hold to `dst`, which may overlap, and returns how many.
    pub fn copy_to(self, dst: VolatileSlice) -> usize {
        let len = self.len.min(dst.len);
        // SAFETY: the makers of the slices vouched for their bytes.
        unsafe { copy_within_guest(dst.addr, self.addr, len) };
        len
    }

    /// Whether every byte is zero.
    pub fn is_zero(self) -> bool {
        // SAFETY: the maker of the slice vouched for its bytes.
        unsafe { is_zero(self.addr, self.len) }
    }
}

/// The order of an atomic load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadOrder {
    /// No order but that of the word itself.
    Relaxed,
    /// Sees what came before the store that it reads from.
    Acquire,
    /// Acquire, and part of the single total order.
    SeqCst,
}

/// The order of an atomic store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOrder {
    /// No order but that of the word itself.
    Relaxed,
    /// Shows what came before it to those who acquire it.
    Release,
    /// Release, and part of the single total order.
    SeqCst,
}

/// `u8`, `u16`, `u32` or `u64` in guest memory.
pub trait Word: Plain {
    /// The low bytes of `word`.
    fn cut(word: u64) -> Self;

    /// Loads a word atomically.
    ///
    /// # Safety
    /// The bytes at `src` must be mapped and readable, `src` aligned.
    unsafe fn load(src: *const Self, order: LoadOrder) -> Self;

    /// Stores a word atomically.
    ///
    /// # Safety
    /// The bytes at `dst` must be mapped and writable, `dst` aligned.
    unsafe fn store(dst: *mut Self, value: Self, order: StoreOrder);

    /// Stores `desired` if the word is `expected`; gives what it was, as `Err` if it was something
    /// else.
    ///
    /// # Safety
    /// The bytes at `dst` must be mapped and writable, `dst` aligned.
    unsafe fn compare_exchange(
        dst: *mut Self,
        expected: Self,
        desired: Self,
        order: Ordering,
    ) -> Result<Self, Self>;
}

// The atomics' references live for one operation and allow for concurrent change.
macro_rules! word {
    ($($word:ty, $atomic:ty;)*) => {$(
        impl Word for $word {
            #[inline(always)]
            fn cut(word: u64) -> Self {
                word as Self
            }

            #[inline(always)]
            unsafe fn load(src: *const Self, order: LoadOrder) -> Self {
                let order = match order {
                    LoadOrder::Relaxed => Ordering::Relaxed,
                    LoadOrder::Acquire => Ordering::Acquire,
                    LoadOrder::SeqCst => Ordering::SeqCst,
                };
                // SAFETY: the caller vouches for bytes and alignment. They may be read-only, where
                // std promises relaxed loads alone: but on 64-bit processors a load of up to 8
                // bytes is a load in every order, never a write.
                unsafe { <$atomic>::from_ptr(src.cast_mut()) }.load(order)
            }

            #[inline(always)]
            unsafe fn store(dst: *mut Self, value: Self, order: StoreOrder) {
                let order = match order {
                    StoreOrder::Relaxed => Ordering::Relaxed,
                    StoreOrder::Release => Ordering::Release,
                    StoreOrder::SeqCst => Ordering::SeqCst,
                };
                // SAFETY: the caller vouches for bytes and alignment.
                unsafe { <$atomic>::from_ptr(dst) }.store(value, order);
            }

            #[inline(always)]
            unsafe fn compare_exchange(
                dst: *mut Self,
                expected: Self,
                desired: Self,
                order: Ordering,
            ) -> Result<Self, Self> {
                let failure = match order {
                    Ordering::Relaxed | Ordering::Release => Ordering::Relaxed,
                    Ordering::Acquire | Ordering::AcqRel => Ordering::Acquire,
                    _ => Ordering::SeqCst,
                };
                // SAFETY: the caller vouches for bytes and alignment.
                let word = unsafe { <$atomic>::from_ptr(dst) };
                word.compare_exchange(expected, desired, order, failure)
            }
        }
    )*};
}
word! { u8, AtomicU8; u16, AtomicU16; u32, AtomicU32; u64, AtomicU64; }

/// The widest word, of 8, 4, 2 or 1 bytes, that divides `size`; 1 for 0.
pub const fn object_width(size: usize) -> usize {
    if size == 0 { 1 } else { 1 << (size | 8).trailing_zeros() }
}

/// Copies an object of `size` bytes at `src` to `dst`, of which one is in guest memory, word by word
/// of `object_width(size)`, each once, upwards.
///
/// # Safety
/// The bytes must be mapped, those of the guest aligned to the word's width; the two must not
/// overlap.
#[inline]
pub unsafe fn copy_object(dst: *mut u8, src: *const u8, size: usize) {
    // SAFETY: as for this function.
    unsafe {
        match object_width(size) {
            8 => copy_words::<u64>(dst, src, size),
            4 => copy_words::<u32>(dst, src, size),
            2 => copy_words::<u16>(dst, src, size),
            _ => copy_words::<u8>(dst, src, size),
        }
    }
}

#[inline]
unsafe fn copy_words<W: Word>(dst: *mut u8, src: *const u8, size: usize) {
    let (mut dst, mut src) = (dst.cast::<W>(), src.cast::<W>());
    let mut copy = |count| {
        for _ in 0..count {
            // SAFETY: the word lies within `size` bytes of both.
            unsafe { W::write(dst, W::read(src)) };
            (dst, src) = (dst.wrapping_add(1), src.wrapping_add(1));
        }
    };
    let count = size / size_of::<W>();
    for _ in 0..count / 4 {
        copy(4);
    }
    copy(count % 4);
}
