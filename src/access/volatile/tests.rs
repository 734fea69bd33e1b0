// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

use super::*;
use crate::access::volatile::copy::{BLOCK, copy_each_block};
use crate::access::volatile::sweep::{Pass, VERY_LONG, sweep_any};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

const CANARY: u8 = 0xEE;
/// Lengths around every threshold within.
const LONG: [usize; 14] =
    [319, 320, 511, 513, 1023, 2047, 2048, 2049, 2111, 4096, 4099, 65_535, 65_600, 1_048_589];

/// `len` bytes with a period that no word or block has.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 + 1).collect()
}

/// A buffer whose first byte is aligned to 64.
#[repr(align(64))]
struct Aligned<const N: usize>([u8; N]);

/// What a copy does, checked with canaries on both sides of the destination.
fn check_copy(copy: Copy, lens: impl Iterator<Item = usize>) {
    for len in lens {
        let source = pattern(len + 80);
        let (src_base, mut target) = (source.as_ptr().align_offset(32), vec![CANARY; len + 112]);
        let dst_base = target.as_ptr().align_offset(32) + 16;
        let mut expected = vec![CANARY; len + 112];
        for src in src_base..src_base + 32 {
            for dst in dst_base..dst_base + 32 {
                // SAFETY: both lie within their buffers.
                unsafe { copy(target.as_mut_ptr().add(dst), source.as_ptr().add(src), len) };
                expected[dst..dst + len].copy_from_slice(&source[src..src + len]);
                assert!(
                    target == expected,
                    "{len} bytes from {} to {}",
                    src - src_base,
                    dst - dst_base
                );
                target[dst..dst + len].fill(CANARY);
                expected[dst..dst + len].fill(CANARY);
            }
        }
    }
}

type Copy = unsafe fn(*mut u8, *const u8, usize);

unsafe fn from_guest(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: as for this function.
    assert_eq!(unsafe { copy_from_guest(dst, src, len) }, 0);
}

unsafe fn to_guest(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: as for this function.
    assert_eq!(unsafe { copy_to_guest(dst, src, len) }, 0);
}

unsafe fn within_guest(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: as for this function.
    unsafe { copy_within_guest(dst, src, len) }
}

const COPIES: [Copy; 3] = [from_guest, to_guest, within_guest];

#[test]
fn copies_of_every_length_and_alignment() {
    for copy in COPIES {
        check_copy(copy, 0..=300);
    }
}

#[test]
fn long_copies_at_every_alignment() {
    for copy in COPIES {
        check_copy(copy, LONG.into_iter().filter(|len| *len < 10_000));
    }
}

#[test]
fn very_long_copies() {
    for len in LONG {
        let source = pattern(len + 16);
        for (dst, src) in [(0, 0), (3, 3), (5, 8), (8, 5), (1, 4)] {
            let mut target = vec![CANARY; len + 16];
            let mut expected = target.clone();
            expected[dst..dst + len].copy_from_slice(&source[src..src + len]);
            // SAFETY: both lie within their buffers.
            unsafe {
                copy_within_guest(target.as_mut_ptr().add(dst), source.as_ptr().add(src), len)
            };
            assert!(target == expected, "{len} bytes from {src} to {dst}");
        }
    }
}

fn check_block_loop<const UP: bool>() {
    for count in 1..=5 {
        let len = count * BLOCK;
        let source = pattern(len + 3);
        let mut target = vec![CANARY; len + 6];
        let skip = if UP { 0 } else { len };
        // SAFETY: the blocks lie within either buffer.
        let (dst, src) = unsafe {
            let (dst, src) = (target.as_mut_ptr().add(3 + skip), source.as_ptr().add(2 + skip));
            copy_each_block::<UP>(dst, src, count)
        };
        assert_eq!(target[3..len + 3], source[2..len + 2]);
        assert!(target[..3].iter().chain(&target[len + 3..]).all(|byte| *byte == CANARY));
        let end = len - skip;
        assert_eq!(dst.cast_const(), target[3 + end..].as_ptr());
        assert_eq!(src, source[2 + end..].as_ptr());
    }
}

#[test]
fn block_loop_without_wide_vectors() {
    check_block_loop::<true>();
    check_block_loop::<false>();
}

fn check_overlap(lens: impl Iterator<Item = usize>, distances: &[usize]) {
    for len in lens {
        for distance in distances {
            for at in [0, 1, 4, 8] {
                for (dst, src) in [(at, at + distance), (at + distance, at)] {
                    let mut bytes = pattern(len + distance + 24);
                    let mut expected = bytes.clone();
                    expected.copy_within(src..src + len, dst);
                    let base = bytes.as_mut_ptr();
                    // SAFETY: both lie within `bytes`.
                    unsafe { copy_within_guest(base.add(dst), base.add(src), len) };
                    assert!(bytes == expected, "{len} bytes from {src} to {dst}");
                }
            }
        }
    }
}

#[test]
fn overlapping_copies_move() {
    let distances: Vec<usize> = (0..=80).collect();
    check_overlap((0..=300).step_by(3), &distances);
    check_overlap(
        LONG.into_iter().filter(|len| *len < 5_000),
        &[1, 2, 4, 7, 8, 16, 24, 32, 40, 63, 64, 65, 250],
    );
}

#[test]
fn fills_of_every_length_and_alignment() {
    for len in (0..=300).chain(LONG) {
        let mut bytes = vec![CANARY; len + 48];
        let base = bytes.as_ptr().align_offset(16) + 8;
        for at in base..base + 16 {
            let mut expected = vec![CANARY; len + 48];
            expected[at..at + len].fill(0x5A);
            // SAFETY: within `bytes`.
            unsafe { fill(bytes.as_mut_ptr().add(at), 0x5A, len) };
            assert!(bytes == expected, "{len} bytes at {at}");
            bytes[at..at + len].fill(CANARY);
        }
    }
}

#[test]
fn is_zero_sees_every_byte_and_no_other() {
    for len in (0..=300).chain([511, 1000]) {
        let mut bytes = vec![0; len + 40];
        let base = bytes.as_ptr().align_offset(8) + 1;
        for start in base..base + 8 {
            let check = |bytes: &mut [u8], at: usize, zero: bool| {
                bytes[at] = 0x80;
                // SAFETY: within `bytes`.
                let found = unsafe { is_zero(bytes.as_ptr().add(start), len) };
                assert_eq!(found, zero, "{len} bytes, {at} set");
                bytes[at] = 0;
            };
            check(&mut bytes, start - 1, true);
            check(&mut bytes, start + len, true);
            (start..start + len).for_each(|at| check(&mut bytes, at, false));
        }
    }
}

/// Writes down the accesses of a sweep.
struct Record<'a, const UP: bool> {
    seen: &'a mut Vec<(usize, usize)>,
    at: usize,
    unaligned: usize,
}

impl<const UP: bool> Record<'_, UP> {
    fn words(&mut self, size: usize) {
        if !UP {
            self.at -= size;
        }
        self.seen.extend((self.at..self.at + size).step_by(8).map(|word| (word, 8)));
        if UP {
            self.at += size;
        }
    }
}

impl<const UP: bool> Pass for Record<'_, UP> {
    const UP: bool = UP;

    unsafe fn word<W: Word>(&mut self) {
        let size = size_of::<W>();
        self.at = self.at.wrapping_sub(if UP { 0 } else { size });
        self.seen.push((self.at, size));
        self.at += if UP { size } else { 0 };
    }
    unsafe fn pair(&mut self) {
        self.words(16);
    }
    unsafe fn block(&mut self) {
        self.words(BLOCK);
    }
    unsafe fn blocks(&mut self, count: usize) {
        assert!(count > 0);
        self.words(count * BLOCK);
    }
    fn unaligned(&self) -> usize {
        self.unaligned
    }
}

fn check_sweep<const UP: bool, W: Word>(lead: usize, len: usize) {
    // Any bits may be set that lead to the best place.
    for unaligned in if len < VERY_LONG { 0..1 } else { 0..32 } {
        check_way::<UP, W>(lead, len, unaligned);
    }
}

fn check_way<const UP: bool, W: Word>(lead: usize, len: usize, unaligned: usize) {
    let mut seen = Vec::new();
    let at = if UP { 0 } else { len };
    let record = Record::<UP> { seen: &mut seen, at, unaligned };
    // SAFETY: the pass touches no memory.
    unsafe { sweep_any::<W, _>(record, core::ptr::without_provenance(lead), len) };
    // Going down, the accesses descend, but those of a pair or block are written down upwards.
    seen.sort_unstable();
    let mut owner = Vec::new();
    for (at, size) in seen {
        assert_eq!(at, owner.len(), "each byte once: {len} bytes at {lead}");
        assert!((lead + at) % size.min(size_of::<W>()) == 0, "aligned: {len} bytes at {lead}");
        owner.extend(core::iter::repeat_n(at, size));
    }
    assert_eq!(owner.len(), len);
    let mut size = 2;
    while size <= size_of::<W>() {
        let first = lead.next_multiple_of(size) - lead;
        for value in (first..len).step_by(size).filter(|at| at + size <= len) {
            assert_eq!(
                owner[value],
                owner[value + size - 1],
                "{size} of {len} bytes at {lead} in one access"
            );
        }
        size *= 2;
    }
}

#[test]
fn every_byte_once_in_the_widest_aligned_words() {
    for lead in 64..72 {
        for len in (0..=330).chain(VERY_LONG - 8..=VERY_LONG + 2 * BLOCK) {
            check_sweep::<true, u64>(lead, len);
            check_sweep::<false, u64>(lead, len);
            check_sweep::<true, u32>(lead, len);
            check_sweep::<false, u32>(lead, len);
            check_sweep::<true, u16>(lead, len);
            check_sweep::<false, u16>(lead, len);
            check_sweep::<true, u8>(lead, len);
            check_sweep::<false, u8>(lead, len);
        }
    }
}

#[test]
fn slices_check_their_bounds() {
    let mut bytes = pattern(100);
    // SAFETY: the slice is used while `bytes` lives and is not borrowed.
    let slice = unsafe { VolatileSlice::new(bytes.as_mut_ptr(), 100) };
    assert_eq!((slice.addr(), slice.len(), slice.is_empty()), (bytes.as_mut_ptr(), 100, false));
    for offset in 0..=102 {
        for count in 0..=102 {
            let fits = offset + count <= 100;
            let sub = slice.sub(offset, count);
            assert_eq!(sub.is_ok(), fits);
            if let Ok(sub) = sub {
                assert_eq!(
                    (sub.addr() as usize - slice.addr() as usize, sub.len()),
                    (offset, count)
                );
                assert_eq!(sub.is_empty(), count == 0);
            }
            let mut buf = [CANARY; 102];
            // SAFETY: `buf` holds `count` bytes.
            let read = unsafe { slice.read(offset, buf.as_mut_ptr(), count) };
            assert_eq!(read.is_ok(), fits);
            let copied = if fits { count } else { 0 };
            assert!(
                (0..102)
                    .all(|i| buf[i] == if i < copied { (offset + i) as u8 + 1 } else { CANARY })
            );
        }
    }
    for (offset, count) in [(usize::MAX, 1), (1, usize::MAX), (usize::MAX, usize::MAX), (101, 0)] {
        assert!(matches!(slice.sub(offset, count), Err(Error::InvalidRange)));
        // SAFETY: refused before anything is touched.
        assert!(unsafe { slice.write(offset, bytes.as_ptr(), count) }.is_err());
    }
    assert_eq!(bytes, pattern(100), "nothing was written");
    // SAFETY: two bytes.
    unsafe { slice.write(98, [7, 8].as_ptr(), 2) }.unwrap();
    // SAFETY: as above; refused.
    assert!(unsafe { slice.write(99, [9, 9].as_ptr(), 2) }.is_err());
    assert_eq!(bytes[97..], [98, 7, 8]);
}

#[test]
fn slices_fill_copy_and_compare() {
    let mut bytes = pattern(64);
    // SAFETY: the slice is used while `bytes` lives and is not borrowed.
    let slice = unsafe { VolatileSlice::new(bytes.as_mut_ptr(), 64) };
    assert_eq!(slice.sub(0, 40).unwrap().copy_to(slice.sub(10, 30).unwrap()), 30);
    assert_eq!(bytes[10..40], pattern(30));
    assert_eq!(slice.sub(10, 3).unwrap().copy_to(slice), 3);
    assert_eq!(bytes[..4], [1, 2, 3, 4]);
    slice.sub(5, 20).unwrap().fill(0);
    assert!(slice.sub(5, 20).unwrap().is_zero() && slice.sub(64, 0).unwrap().is_zero());
    assert!(!slice.sub(4, 20).unwrap().is_zero() && !slice.sub(6, 20).unwrap().is_zero());
}

#[test]
fn objects_move_in_words_that_divide_them() {
    let widths = [1, 1, 2, 1, 4, 1, 2, 1, 8, 1, 2, 1, 4, 1, 2, 1, 8];
    for (size, width) in widths.into_iter().enumerate() {
        assert_eq!(object_width(size), width);
        let source = Aligned::<16>(core::array::from_fn(|i| i as u8 + 1));
        let mut target = Aligned::<32>([CANARY; 32]);
        // Only the guest's side is aligned, and no more than it must be.
        // SAFETY: `size` <= 16 bytes at either place.
        unsafe { copy_object(target.0.as_mut_ptr().add(width), source.0.as_ptr(), size) };
        assert_eq!(target.0[width..width + size], source.0[..size]);
        let mut around = target.0[..width].iter().chain(&target.0[width + size..]);
        assert!(around.all(|byte| *byte == CANARY));
    }
    assert_eq!((object_width(24), object_width(usize::MAX), object_width(1 << 63)), (8, 1, 8));
}

macro_rules! check_word {
    ($word:ty) => {
        let mut bytes = Aligned::<24>([CANARY; 24]);
        let base = bytes.0.as_mut_ptr();
        let value = 0x0123_4567_89AB_CDEF_u64 as $word;
        // SAFETY: all within `bytes`; ordered accesses are aligned.
        unsafe {
            for at in 0..16 {
                <$word>::write(base.add(at).cast(), value);
                assert_eq!(<$word>::read(base.add(at).cast()), value);
                assert_eq!(base.add(at).cast::<$word>().read_unaligned(), value);
                assert_eq!(*base.add(at + size_of::<$word>()), CANARY);
                base.write_bytes(CANARY, 24);
            }
            let word = base.add(8).cast::<$word>();
            for (store, load) in [
                (StoreOrder::Relaxed, LoadOrder::Relaxed),
                (StoreOrder::Release, LoadOrder::Acquire),
                (StoreOrder::SeqCst, LoadOrder::SeqCst),
            ] {
                <$word>::store(word, 5, store);
                assert_eq!(<$word>::load(word, load), 5);
                <$word>::store(word, 0, store);
            }
            for order in [
                Ordering::Relaxed,
                Ordering::Acquire,
                Ordering::Release,
                Ordering::AcqRel,
                Ordering::SeqCst,
            ] {
                assert_eq!(<$word>::compare_exchange(word, 0, value, order), Ok(0));
                assert_eq!(<$word>::compare_exchange(word, 0, 9, order), Err(value));
                assert_eq!(<$word>::compare_exchange(word, value, 0, order), Ok(value));
            }
        }
    };
}

#[test]
fn words() {
    check_word!(u8);
    check_word!(u16);
    check_word!(u32);
    check_word!(u64);
}

/// Two values that share no byte.
fn halves<W: Word>() -> [W; 2] {
    [W::cut(0x1111_1111_1111_1111), W::cut(0xEEEE_EEEE_EEEE_EEEE)]
}

const SHARED: usize = 3 * 4096;
/// One race at a time, so that both of its threads run.
static RACE: Mutex<()> = Mutex::new(());

/// While `flip` writes a value and then another all over `shared`, `step` must meet none that is a
/// mixture.
fn race(flip: impl Fn(*mut u8, usize) + Sync, step: impl FnOnce(*mut u8)) {
    /// Stops the other thread, also when an assertion fails in this one.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let _alone = RACE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut shared = Box::new(Aligned::<SHARED>([0x11; SHARED]));
    let base = shared.0.as_mut_ptr();
    let addr = base.expose_provenance();
    let (started, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let base = core::ptr::with_exposed_provenance_mut(addr);
            let mut turn = 0;
            while !stopped.load(Ordering::Relaxed) {
                turn += 1;
                flip(base, turn);
                started.store(true, Ordering::Relaxed);
            }
        });
        let _stop = Stop(&stopped);
        while !started.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        step(base);
    });
}

/// Sets all words of the first `len` bytes.
fn set_all<W: Word>(base: *mut u8, len: usize, value: W) {
    for at in (0..len).step_by(size_of::<W>()) {
        // SAFETY: within the shared buffer.
        unsafe { W::store(base.add(at).cast(), value, StoreOrder::Relaxed) };
    }
}

/// Checks the words that are aligned and wholly inside `len` bytes which came from offset `from`,
/// now at `at`.
fn check_words<W: Word + PartialEq + core::fmt::Debug>(
    at: *const u8,
    from: usize,
    len: usize,
) -> usize {
    let first = from.next_multiple_of(size_of::<W>()) - from;
    let words = (first..len).step_by(size_of::<W>()).filter(|word| word + size_of::<W>() <= len);
    words
        .map(|word| {
            // SAFETY: within the `len` bytes at `at`.
            let value = unsafe { W::read(at.add(word).cast()) };
            assert!(
                halves::<W>().contains(&value),
                "{value:x?} at {word} of {len} bytes from {from}"
            );
        })
        .count()
}

const READS: usize = 2_000_000;
/// Where ranges begin and how long they are: with and without heads and tails, short and long.
const RANGES: [(usize, usize); 8] =
    [(0, 8), (0, 64), (8, 200), (0, 320), (6, 202), (4, 1020), (1, 700), (56, 2500)];

/// Flips the words of each range in turn while `read` copies the range and counts the words that it
/// has seen whole.
fn flip_and_read<W: Word>(read: impl Fn(*mut u8, usize, usize, usize) -> usize) {
    for (from, len) in RANGES {
        let flip = |base, turn: usize| set_all(base, from + len, halves::<W>()[turn % 2]);
        race(flip, |base| {
            let (mut seen, mut turn) = (0, 0);
            while seen < READS / RANGES.len() {
                seen += read(base, from, len, turn % 7);
                turn += 1;
            }
        });
    }
}

fn reads_are_whole<W: Word + PartialEq + core::fmt::Debug>() {
    flip_and_read::<W>(|base, from, len, turn| {
        let mut buf = [0; 4096];
        // SAFETY: within `buf` and the shared buffer. `turn` puts the private side out of line.
        unsafe { copy_from_guest(buf.as_mut_ptr().add(turn), base.add(from), len) };
        check_words::<W>(buf[turn..].as_ptr(), from, len)
    });
}

/// Moves between places that are aligned alike, but perhaps only for the word.
fn moves_are_whole<W: Word + PartialEq + core::fmt::Debug>() {
    flip_and_read::<W>(|base, from, len, turn| {
        let to = 4096 + from + turn * size_of::<W>();
        // SAFETY: within the shared buffer.
        unsafe {
            copy_within_guest(base.add(to), base.add(from), len);
            check_words::<W>(base.add(to), from, len)
        }
    });
}

/// The other way round: what is copied or filled into guest memory arrives in whole words.
fn writes_are_whole<W: Word + PartialEq + core::fmt::Debug>() {
    let private = [Aligned::<4096>([0x11; 4096]), Aligned::<4096>([0xEE; 4096])];
    for (at, len) in RANGES {
        let write = |base: *mut u8, turn: usize| {
            let (src, shift) = (private[turn % 2].0.as_ptr(), turn % 3);
            // SAFETY: within the buffers. The source of the last is aligned like its target, but
            // perhaps only for the word.
            unsafe {
                copy_to_guest(base.add(at), src.add(shift), len);
                fill(base.add(4096 + at), src.read(), len);
                copy_within_guest(base.add(8192 + at), src.add(at + shift * size_of::<W>()), len);
            }
        };
        race(write, |base| {
            let mut seen = 0;
            while seen < READS / RANGES.len() {
                for at in [at, 4096 + at, 8192 + at] {
                    // SAFETY: within the shared buffer.
                    seen += check_words::<W>(unsafe { base.add(at) }, at, len);
                }
            }
        });
    }
}

#[test]
fn aligned_words_are_never_torn_by_reads() {
    reads_are_whole::<u64>();
    reads_are_whole::<u32>();
    reads_are_whole::<u16>();
}

#[test]
fn aligned_words_are_never_torn_by_moves() {
    moves_are_whole::<u64>();
    moves_are_whole::<u32>();
    moves_are_whole::<u16>();
}

#[test]
fn aligned_words_are_never_torn_by_writes() {
    writes_are_whole::<u64>();
    writes_are_whole::<u32>();
    writes_are_whole::<u16>();
}
