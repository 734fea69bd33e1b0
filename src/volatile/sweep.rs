// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! The way over a range of guest bytes, and what is done to them on the way.

use super::Word;
use super::copy::{BLOCK, Bulk, Machine};

/// Ranges below this are gone over in straight code, without a loop, a call or a stack frame.
const SHORT: usize = 4 * BLOCK;

/// What is done to a range of guest bytes. `at` is an offset in the range.
pub(super) trait Pass {
    unsafe fn word<W: Word>(&mut self, at: usize);
    /// The two words at `at`.
    unsafe fn pair(&mut self, at: usize);
    unsafe fn block(&mut self, at: usize);
    /// The `count` > 0 blocks that begin at `at`.
    unsafe fn blocks(&mut self, at: usize, count: usize);
}

/// Takes `pass` over `len` bytes, from the front (`UP`) or from the back.
///
/// A head of growing words leads to where `lead`, the address of the first byte, is aligned to a
/// `W`; then come as many `W` as there are; then a tail of shrinking words. So on the side of
/// `lead` every access is naturally aligned, or made of words that are, and no byte is touched
/// twice.
///
/// # Safety
/// Every access of `pass` within `len` bytes must be sound.
#[inline(always)]
pub(super) unsafe fn sweep<const UP: bool, W: Word, P: Pass>(
    pass: P,
    lead: *const u8,
    len: usize,
) -> P {
    // SAFETY: as for this function.
    unsafe {
        if len < SHORT {
            Sweep::<UP, P>::run::<W, false>(pass, lead, len)
        } else {
            long_sweep::<UP, W, P>(pass, lead, len)
        }
    }
}

#[inline(never)]
unsafe fn long_sweep<const UP: bool, W: Word, P: Pass>(pass: P, lead: *const u8, len: usize) -> P {
    // SAFETY: as for the caller.
    unsafe {
        if Machine::is_detected() {
            Sweep::<UP, P>::run::<W, true>(pass, lead, len)
        } else {
            first_long_sweep::<UP, W, P>(pass, lead, len)
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn first_long_sweep<const UP: bool, W: Word, P: Pass>(
    pass: P,
    lead: *const u8,
    len: usize,
) -> P {
    Machine::detect();
    // SAFETY: as for the caller.
    unsafe { long_sweep::<UP, W, P>(pass, lead, len) }
}

/// A pass and where it stands: at the front (`UP`) or at the back of the `left` bytes from `low`
/// on.
struct Sweep<const UP: bool, P> {
    pass: P,
    low: usize,
    left: usize,
}

impl<const UP: bool, P: Pass> Sweep<UP, P> {
    #[inline(always)]
    unsafe fn run<W: Word, const LONG: bool>(pass: P, lead: *const u8, len: usize) -> P {
        let mut sweep = Self { pass, low: 0, left: len };
        let addr = lead as usize;
        let head = if UP { addr.wrapping_neg() } else { addr.wrapping_add(len) } % size_of::<W>();
        // SAFETY: no step is longer than what is left.
        unsafe {
            if head != 0 {
                sweep.head(head);
            }
            if size_of::<W>() < 8 {
                while sweep.left >= size_of::<W>() {
                    sweep.word::<W>();
                }
            } else if LONG {
                sweep.blocks();
            } else {
                sweep.few_blocks();
            }
            sweep.tail();
        }
        sweep.pass
    }

    /// `size` < 8 bytes, if so many are left. A word that no longer fits leaves less than its size,
    /// which the tail finds aligned.
    #[inline(always)]
    unsafe fn head(&mut self, size: usize) {
        // SAFETY: the words are left.
        unsafe {
            if size & 1 != 0 && self.left >= 1 {
                self.word::<u8>();
            }
            if size & 2 != 0 && self.left >= 2 {
                self.word::<u16>();
            }
            if size & 4 != 0 && self.left >= 4 {
                self.word::<u32>();
            }
        }
    }

    /// All whole blocks, of which there is at least one.
    #[inline(always)]
    unsafe fn blocks(&mut self) {
        let count = self.left / BLOCK;
        let at = self.step(count * BLOCK);
        // SAFETY: the blocks were left.
        unsafe { self.pass.blocks(at, count) };
    }

    /// All whole blocks, of which there are at most three.
    #[inline(always)]
    unsafe fn few_blocks(&mut self) {
        let size = self.left;
        // SAFETY: the blocks are left.
        unsafe {
            if size & (2 * BLOCK) != 0 {
                self.block();
                self.block();
            }
            if size & BLOCK != 0 {
                self.block();
            }
        }
    }

    /// What is left, less than a block.
    #[inline(always)]
    unsafe fn tail(&mut self) {
        let size = self.left;
        // SAFETY: the words are left.
        unsafe {
            if size & 32 != 0 {
                self.pair();
                self.pair();
            }
            if size & 16 != 0 {
                self.pair();
            }
            if size & 8 != 0 {
                self.word::<u64>();
            }
            if size & 4 != 0 {
                self.word::<u32>();
            }
            if size & 2 != 0 {
                self.word::<u16>();
            }
            if size & 1 != 0 {
                self.word::<u8>();
            }
        }
    }

    #[inline(always)]
    unsafe fn word<W: Word>(&mut self) {
        let at = self.step(size_of::<W>());
        // SAFETY: the word was left.
        unsafe { self.pass.word::<W>(at) };
    }

    #[inline(always)]
    unsafe fn pair(&mut self) {
        let at = self.step(16);
        // SAFETY: the pair was left.
        unsafe { self.pass.pair(at) };
    }

    #[inline(always)]
    unsafe fn block(&mut self) {
        let at = self.step(BLOCK);
        // SAFETY: the block was left.
        unsafe { self.pass.block(at) };
    }

    /// The offset of the next `size` bytes, of which there must be that many.
    #[inline(always)]
    fn step(&mut self, size: usize) -> usize {
        let at = self.low;
        self.left = self.left.wrapping_sub(size);
        if UP {
            self.low = at.wrapping_add(size);
            at
        } else {
            self.left
        }
    }
}

/// Copies from `src` to `dst`.
pub(super) struct Transfer<const UP: bool> {
    pub dst: *mut u8,
    pub src: *const u8,
}

impl<const UP: bool> Transfer<UP> {
    #[inline(always)]
    unsafe fn at(&self, at: usize) -> (*mut u8, *const u8) {
        // SAFETY: the offset lies within both.
        unsafe { (self.dst.add(at), self.src.add(at)) }
    }
}

impl<const UP: bool> Pass for Transfer<UP> {
    #[inline(always)]
    unsafe fn word<W: Word>(&mut self, at: usize) {
        // SAFETY: both words are mapped.
        unsafe {
            let (dst, src) = self.at(at);
            W::store(dst.cast(), W::load(src.cast()));
        }
    }

    #[inline(always)]
    unsafe fn pair(&mut self, at: usize) {
        // SAFETY: both pairs are mapped.
        unsafe {
            let (dst, src) = self.at(at);
            Machine::copy_pair(dst, src);
        }
    }

    #[inline(always)]
    unsafe fn block(&mut self, at: usize) {
        // SAFETY: both blocks are mapped.
        unsafe {
            let (dst, src) = self.at(at);
            Machine::copy_block(dst, src);
        }
    }

    #[inline(always)]
    unsafe fn blocks(&mut self, at: usize, count: usize) {
        let (first, stride) =
            if UP { (at, BLOCK as isize) } else { (at + (count - 1) * BLOCK, -(BLOCK as isize)) };
        // SAFETY: all the blocks are mapped.
        unsafe {
            let (dst, src) = self.at(first);
            Machine::copy_blocks(dst, src, count, stride);
        }
    }
}

/// Fills `dst` with copies of `word`, which is the same byte eight times.
pub(super) struct Fill {
    pub dst: *mut u8,
    pub word: u64,
}

impl Pass for Fill {
    #[inline(always)]
    unsafe fn word<W: Word>(&mut self, at: usize) {
        // SAFETY: the word is mapped.
        unsafe { W::store(self.dst.add(at).cast(), W::cut(self.word)) };
    }

    #[inline(always)]
    unsafe fn pair(&mut self, at: usize) {
        // SAFETY: both words are mapped.
        unsafe {
            self.word::<u64>(at);
            self.word::<u64>(at + 8);
        }
    }

    #[inline(always)]
    unsafe fn block(&mut self, at: usize) {
        // SAFETY: the block is mapped.
        unsafe { Machine::fill_block(self.dst.add(at), self.word) };
    }

    #[inline(always)]
    unsafe fn blocks(&mut self, at: usize, count: usize) {
        // SAFETY: the blocks are mapped.
        unsafe { Machine::fill_blocks(self.dst.add(at), self.word, count) };
    }
}

/// Gathers in `seen` the bits that are set in the words at `src`; may leave out what follows the
/// first.
pub(super) struct Scan {
    pub src: *const u8,
    pub seen: u64,
}

impl Pass for Scan {
    #[inline(always)]
    unsafe fn word<W: Word>(&mut self, at: usize) {
        // SAFETY: the word is mapped.
        self.seen |= unsafe { W::load(self.src.add(at).cast()) }.into();
    }

    #[inline(always)]
    unsafe fn pair(&mut self, at: usize) {
        // SAFETY: both words are mapped.
        unsafe {
            self.word::<u64>(at);
            self.word::<u64>(at + 8);
        }
    }

    #[inline(always)]
    unsafe fn block(&mut self, at: usize) {
        // SAFETY: the block is mapped.
        self.seen |= unsafe { Machine::gather_block(self.src.add(at)) };
    }

    #[inline(always)]
    unsafe fn blocks(&mut self, at: usize, count: usize) {
        for block in 0..count {
            // SAFETY: the blocks are mapped.
            unsafe { self.block(at + block * BLOCK) };
            if self.seen != 0 {
                break;
            }
        }
    }
}
