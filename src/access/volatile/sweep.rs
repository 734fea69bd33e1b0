// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The way over a range of guest bytes, and what is done to them on the way.

use crate::access::volatile::Word;
use crate::access::volatile::copy::{BLOCK, Bulk, Machine};

/// Marks the branch that calls it as one that is hardly ever taken. The call itself goes away.
#[cold]
#[inline(never)]
fn cold_path() {}

/// Bytes from which on blocks are gone over all at once. What is shorter takes hardly longer than
/// its branches do; those that are marked as cold are not taken for ranges that are aligned and
/// have no whole block and no odd bytes.
pub(super) const LONG: usize = 2 * BLOCK;

/// Bytes from which on it pays to align the side that aligned accesses help most.
pub(super) const VERY_LONG: usize = 8 * BLOCK;

/// What is done to a range of guest bytes, piece by piece. It keeps where it stands and goes on
/// from there, upwards or downwards.
pub(super) trait Pass {
    const UP: bool;
    unsafe fn word<W: Word>(&mut self);
    /// Two words.
    #[inline(always)]
    unsafe fn pair(&mut self) {
        // SAFETY: as for this function.
        unsafe {
            self.word::<u64>();
            self.word::<u64>();
        }
    }
    unsafe fn block(&mut self);
    /// `count` > 0 blocks.
    unsafe fn blocks(&mut self, count: usize);
    /// How many bytes, modulo the size of the widest access, lie before the best place to begin
    /// many blocks.
    fn unaligned(&self) -> usize;
}

/// Takes `pass` over `len` bytes, [`LONG`] or more of them if `IS_LONG`.
///
/// A head of growing words leads to where `lead`, the address of the first byte, is aligned to a
/// `W`; then come as many `W` as there are; then a tail of shrinking words. So on the side of
/// `lead` every access is naturally aligned, or made of words that are, and no byte is touched
/// twice.
///
/// # Safety
/// Every access of `pass` within `len` bytes must be sound.
#[inline(always)]
pub(super) unsafe fn sweep<const IS_LONG: bool, W: Word, P: Pass>(
    pass: P,
    lead: *const u8,
    len: usize,
) -> P {
    let mut sweep = Sweep { pass, left: len };
    let from = (lead as usize).wrapping_add(if P::UP { 0 } else { len });
    // SAFETY: no step is longer than what is left.
    unsafe {
        if from % size_of::<W>() != 0 {
            cold_path();
            let head = if P::UP { from.wrapping_neg() } else { from };
            sweep.head::<IS_LONG>(head % size_of::<W>());
        }
        if size_of::<W>() < 8 {
            while sweep.left >= size_of::<W>() {
                sweep.word::<W>();
            }
        } else if IS_LONG {
            sweep.blocks();
        } else if sweep.left >= BLOCK {
            cold_path();
            sweep.pass.block();
        }
        sweep.tail();
    }
    sweep.pass
}

/// As [`sweep`], whatever `len`.
#[inline(always)]
pub(super) unsafe fn sweep_any<W: Word, P: Pass>(pass: P, lead: *const u8, len: usize) -> P {
    // SAFETY: as for this function.
    unsafe {
        if len < LONG {
            sweep::<false, W, P>(pass, lead, len)
        } else {
            sweep::<true, W, P>(pass, lead, len)
        }
    }
}

/// A pass and the number of bytes before it.
struct Sweep<P> {
    pass: P,
    left: usize,
}

impl<P: Pass> Sweep<P> {
    /// `size` < 8 bytes, if so many are left. A word that no longer fits leaves less than its size,
    /// which the tail finds aligned.
    #[inline(always)]
    unsafe fn head<const ALL_LEFT: bool>(&mut self, size: usize) {
        // SAFETY: the words are left.
        unsafe {
            if size & 1 != 0 && (ALL_LEFT || self.left >= 1) {
                self.word::<u8>();
            }
            if size & 2 != 0 && (ALL_LEFT || self.left >= 2) {
                self.word::<u16>();
            }
            if size & 4 != 0 && (ALL_LEFT || self.left >= 4) {
                self.word::<u32>();
            }
        }
    }

    /// All whole blocks, of which there are several.
    #[inline(always)]
    unsafe fn blocks(&mut self) {
        // SAFETY: words, pair and blocks are left.
        unsafe {
            if self.left >= VERY_LONG {
                let size = self.pass.unaligned();
                if size & 8 != 0 {
                    self.word::<u64>();
                }
                if size & 16 != 0 {
                    self.pass.pair();
                    self.left -= 16;
                }
            }
            self.pass.blocks(self.left / BLOCK);
        }
    }

    /// What is left beyond whole blocks.
    #[inline(always)]
    unsafe fn tail(&mut self) {
        let size = self.left;
        // SAFETY: the words are left.
        unsafe {
            if size & 32 != 0 {
                self.pass.pair();
                self.pass.pair();
            }
            if size & 16 != 0 {
                self.pass.pair();
            }
            if size & 15 == 0 {
                return;
            }
            cold_path();
            if size & 8 != 0 {
                self.pass.word::<u64>();
            }
            if size & 4 != 0 {
                self.pass.word::<u32>();
            }
            if size & 2 != 0 {
                self.pass.word::<u16>();
            }
            if size & 1 != 0 {
                self.pass.word::<u8>();
            }
        }
    }

    #[inline(always)]
    unsafe fn word<W: Word>(&mut self) {
        self.left = self.left.wrapping_sub(size_of::<W>());
        // SAFETY: the word was left.
        unsafe { self.pass.word::<W>() };
    }
}

/// Copies from `src` to `dst`: where to, going up, and where it ends, going down.
pub(super) struct Transfer<const UP: bool> {
    dst: *mut u8,
    src: *const u8,
}

impl<const UP: bool> Transfer<UP> {
    #[inline(always)]
    pub(super) fn new(dst: *mut u8, src: *const u8, len: usize) -> Self {
        let skip = if UP { 0 } else { len };
        Self { dst: dst.wrapping_add(skip), src: src.wrapping_add(skip) }
    }

    /// Steps over `size` bytes, and tells where they are.
    #[inline(always)]
    fn step(&mut self, size: usize) -> (*mut u8, *const u8) {
        let before = (self.dst, self.src);
        if UP {
            (self.dst, self.src) = (self.dst.wrapping_add(size), self.src.wrapping_add(size));
            before
        } else {
            (self.dst, self.src) = (self.dst.wrapping_sub(size), self.src.wrapping_sub(size));
            (self.dst, self.src)
        }
    }
}

impl<const UP: bool> Pass for Transfer<UP> {
    const UP: bool = UP;

    #[inline(always)]
    unsafe fn word<W: Word>(&mut self) {
        let (dst, src) = self.step(size_of::<W>());
        // SAFETY: both words are mapped.
        unsafe { W::write(dst.cast(), W::read(src.cast())) };
    }

    #[inline(always)]
    unsafe fn pair(&mut self) {
        let (dst, src) = self.step(16);
        // SAFETY: both pairs are mapped.
        unsafe { Machine::copy_pair(dst, src) };
    }

    #[inline(always)]
    unsafe fn block(&mut self) {
        let (dst, src) = self.step(BLOCK);
        // SAFETY: both blocks are mapped.
        unsafe { Machine::copy_block(dst, src) };
    }

    #[inline(always)]
    unsafe fn blocks(&mut self, count: usize) {
        // SAFETY: all the blocks are mapped.
        unsafe {
            (self.dst, self.src) = Machine::copy_blocks::<UP>(self.dst, self.src, count);
        }
    }

    /// Aligns what is written, which gains more than to align what is read.
    #[inline(always)]
    fn unaligned(&self) -> usize {
        let (dst, src) = (self.dst as usize, self.src as usize);
        let from = if dst % 8 == 0 { dst } else { src };
        if UP { from.wrapping_neg() } else { from }
    }
}

/// Fills `dst` with copies of `word`, which is the same byte eight times.
pub(super) struct Fill {
    pub dst: *mut u8,
    pub word: u64,
}

impl Fill {
    #[inline(always)]
    fn step(&mut self, size: usize) -> *mut u8 {
        let at = self.dst;
        self.dst = at.wrapping_add(size);
        at
    }
}

impl Pass for Fill {
    const UP: bool = true;

    #[inline(always)]
    unsafe fn word<W: Word>(&mut self) {
        // SAFETY: the word is mapped.
        unsafe { W::write(self.step(size_of::<W>()).cast(), W::cut(self.word)) };
    }

    #[inline(always)]
    unsafe fn block(&mut self) {
        // SAFETY: the block is mapped.
        unsafe { Machine::fill_block(self.step(BLOCK), self.word) };
    }

    #[inline(always)]
    unsafe fn blocks(&mut self, count: usize) {
        // SAFETY: the blocks are mapped.
        unsafe { Machine::fill_blocks(self.step(count * BLOCK), self.word, count) };
    }

    #[inline(always)]
    fn unaligned(&self) -> usize {
        (self.dst as usize).wrapping_neg()
    }
}

/// Gathers in `seen` the bits that are set in the words at `src`; may leave out what follows the
/// first.
pub(super) struct Scan {
    pub src: *const u8,
    pub seen: u64,
}

impl Scan {
    #[inline(always)]
    fn step(&mut self, size: usize) -> *const u8 {
        let at = self.src;
        self.src = at.wrapping_add(size);
        at
    }
}

impl Pass for Scan {
    const UP: bool = true;

    #[inline(always)]
    unsafe fn word<W: Word>(&mut self) {
        // SAFETY: the word is mapped.
        self.seen |= unsafe { W::read(self.step(size_of::<W>()).cast()) }.into();
    }

    #[inline(always)]
    unsafe fn block(&mut self) {
        // SAFETY: the block is mapped.
        self.seen |= unsafe { Machine::gather_block(self.step(BLOCK)) };
    }

    #[inline(always)]
    unsafe fn blocks(&mut self, count: usize) {
        let end = self.src.wrapping_add(count * BLOCK);
        while self.src != end && self.seen == 0 {
            // SAFETY: the blocks are mapped.
            unsafe { self.block() };
        }
        self.src = end;
    }

    #[inline(always)]
    fn unaligned(&self) -> usize {
        (self.src as usize).wrapping_neg()
    }
}
