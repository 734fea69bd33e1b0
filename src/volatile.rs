// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! Guest bytes, and the only code that touches them.
//!
//! The guest writes its memory while we read it. So guest bytes are never behind a Rust reference
//! to plain data, each byte is read once and written once, and an aligned value of 1, 2, 4 or 8
//! bytes moves in one access, in bulk too.

mod copy;
mod sweep;
#[cfg(test)]
mod tests;

use crate::error::Error;
use copy::{Access, Bulk, Machine};
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use sweep::{Fill, LONG, Scan, Transfer, sweep, sweep_any};

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
pub trait Word: Access {
    /// Loads a word in one access, which is not torn when `src` is aligned.
    ///
    /// # Safety
    /// The bytes at `src` must be mapped and readable.
    #[inline(always)]
    unsafe fn load(src: *const Self) -> Self {
        // SAFETY: as for this function.
        unsafe { Self::get(src) }
    }

    /// Stores a word in one access, which is not torn when `dst` is aligned.
    ///
    /// # Safety
    /// The bytes at `dst` must be mapped and writable.
    #[inline(always)]
    unsafe fn store(dst: *mut Self, value: Self) {
        // SAFETY: as for this function.
        unsafe { Self::put(dst, value) }
    }

    /// Loads a word atomically.
    ///
    /// # Safety
    /// The bytes at `src` must be mapped and readable, `src` aligned.
    unsafe fn load_ordered(src: *const Self, order: LoadOrder) -> Self;

    /// Stores a word atomically.
    ///
    /// # Safety
    /// The bytes at `dst` must be mapped and writable, `dst` aligned.
    unsafe fn store_ordered(dst: *mut Self, value: Self, order: StoreOrder);

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
            unsafe fn load_ordered(src: *const Self, order: LoadOrder) -> Self {
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
            unsafe fn store_ordered(dst: *mut Self, value: Self, order: StoreOrder) {
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
        if Machine::KEEPS_ELEMENTS || apart.is_multiple_of(8) {
            sweep::<IS_LONG, u64, _>(copy, src, len);
        } else if apart.is_multiple_of(4) {
            sweep::<IS_LONG, u32, _>(copy, src, len);
        } else if apart.is_multiple_of(2) {
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

/// The widest word, of 8, 4, 2 or 1 bytes, that divides `size`; 1 for 0.
pub const fn object_width(size: usize) -> usize {
    if size == 0 { 1 } else { 1 << (size | 8).trailing_zeros() }
}

/// Copies an object of `size` guest bytes at `src` to `dst`, word by word of `object_width(size)`,
/// each once, upwards.
///
/// # Safety
/// The bytes must be mapped, `src` aligned to the word's width; the two must not overlap.
#[inline]
pub unsafe fn read_object(dst: *mut u8, src: *const u8, size: usize) {
    // SAFETY: as for this function.
    unsafe { copy_object(dst, src, size) }
}

/// Copies `size` bytes at `src` to a guest object at `dst`, word by word of `object_width(size)`,
/// each once, upwards.
///
/// # Safety
/// The bytes must be mapped, `dst` aligned to the word's width; the two must not overlap.
#[inline]
pub unsafe fn write_object(dst: *mut u8, src: *const u8, size: usize) {
    // SAFETY: as for this function.
    unsafe { copy_object(dst, src, size) }
}

#[inline]
unsafe fn copy_object(dst: *mut u8, src: *const u8, size: usize) {
    // SAFETY: as for the callers.
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
            unsafe { W::store(dst, W::load(src)) };
            (dst, src) = (dst.wrapping_add(1), src.wrapping_add(1));
        }
    };
    let count = size / size_of::<W>();
    for _ in 0..count / 4 {
        copy(4);
    }
    copy(count % 4);
}
