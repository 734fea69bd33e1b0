// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! x86-64: SSE2, which every such processor has, and AVX.

use crate::access::volatile::copy::{
    BLOCK, Bulk, Machine, Plain, copy_each_block, fill_each_block,
};
use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

macro_rules! access {
    ($($word:ty, $load:literal, $store:literal, $in:ident, $out:ident, $wide:ty;)*) => {$(
        impl Plain for $word {
            #[inline(always)]
            unsafe fn read(src: *const Self) -> Self {
                let value: $wide;
                // SAFETY: one load; the caller vouches for the bytes.
                unsafe {
                    asm!(
                        $load, src = in(reg) src, value = out($out) value,
                        options(nostack, preserves_flags),
                    );
                }
                value as Self
            }
            #[inline(always)]
            unsafe fn write(dst: *mut Self, value: Self) {
                // SAFETY: one store; the caller vouches for the bytes.
                unsafe {
                    asm!(
                        $store, dst = in(reg) dst, value = in($in) value,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
    )*};
}
access! {
    u8, "movzx {value:e}, byte ptr [{src}]", "mov byte ptr [{dst}], {value}", reg_byte, reg, u32;
    u16, "movzx {value:e}, word ptr [{src}]", "mov word ptr [{dst}], {value:x}", reg, reg, u32;
    u32, "mov {value:e}, dword ptr [{src}]", "mov dword ptr [{dst}], {value:e}", reg, reg, u32;
    u64, "mov {value}, qword ptr [{src}]", "mov qword ptr [{dst}], {value}", reg, reg, u64;
}

/// The widest vectors that the processor has. Kept here, because the standard library's test may
/// end in a call, and a call in the middle of a copy would give every copy a stack frame.
static VECTORS: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const SSE: u8 = 1;
const AVX: u8 = 2;

/// From how many blocks on a string instruction, which is slow to begin, fills faster.
const STRING_BLOCKS: usize = 32;

impl Bulk for Machine {
    // The manuals promise whole accesses where they are aligned: of up to 8 bytes, and of 16 where
    // there is AVX. Beyond that, hardware splits vectors and unaligned words at cache lines or at
    // multiples of 8 bytes, never within an aligned value. Java virtual machines rely on it too:
    // they copy arrays so, whose elements may not tear.
    const KEEPS_ELEMENTS: bool = true;

    #[inline(always)]
    unsafe fn copy_pair(dst: *mut u8, src: *const u8) {
        // SAFETY: one load and one store of 16 bytes each, for which the caller vouches.
        unsafe {
            asm!(
                "movups {value}, [{src}]",
                "movups [{dst}], {value}",
                src = in(reg) src, dst = in(reg) dst, value = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn copy_block(dst: *mut u8, src: *const u8) {
        // SAFETY: one load and one store of 16 bytes each, for which the caller vouches.
        unsafe {
            asm!(
                "movups {a}, [{src}]",
                "movups {b}, [{src} + 16]",
                "movups {c}, [{src} + 32]",
                "movups {d}, [{src} + 48]",
                "movups [{dst}], {a}",
                "movups [{dst} + 16], {b}",
                "movups [{dst} + 32], {c}",
                "movups [{dst} + 48], {d}",
                src = in(reg) src, dst = in(reg) dst,
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn is_detected() -> bool {
        VECTORS.load(Relaxed) != UNKNOWN
    }

    fn detect() {
        VECTORS.store(if std::arch::is_x86_feature_detected!("avx") { AVX } else { SSE }, Relaxed);
    }

    #[inline(always)]
    unsafe fn copy_blocks<const UP: bool>(
        mut dst: *mut u8,
        mut src: *const u8,
        count: usize,
    ) -> (*mut u8, *const u8) {
        if VECTORS.load(Relaxed) != AVX {
            // SAFETY: as for this function.
            return unsafe { copy_each_block::<UP>(dst, src, count) };
        }
        // SAFETY: copies a block where `count` is odd, then two in each turn, all of which the
        // caller vouches for. `vzeroupper` changes the registers named at the end.
        unsafe {
            asm!(
                "test {count:e}, 1",
                "jz 2f",
                "vmovups ymm0, [{src} + {one}]",
                "vmovups ymm1, [{src} + {one} + 32]",
                "vmovups [{dst} + {one}], ymm0",
                "vmovups [{dst} + {one} + 32], ymm1",
                "add {src}, {step}",
                "add {dst}, {step}",
                "2:",
                "shr {count}",
                "jz 4f",
                ".p2align 5",
                "3:",
                "vmovups ymm0, [{src} + {two}]",
                "vmovups ymm1, [{src} + {two} + 32]",
                "vmovups ymm2, [{src} + {two} + 64]",
                "vmovups ymm3, [{src} + {two} + 96]",
                "vmovups [{dst} + {two}], ymm0",
                "vmovups [{dst} + {two} + 32], ymm1",
                "vmovups [{dst} + {two} + 64], ymm2",
                "vmovups [{dst} + {two} + 96], ymm3",
                "add {src}, 2 * {step}",
                "add {dst}, 2 * {step}",
                "dec {count}",
                "jnz 3b",
                "4:",
                "vzeroupper",
                dst = inout(reg) dst, src = inout(reg) src, count = inout(reg) count => _,
                step = const if UP { BLOCK as isize } else { -(BLOCK as isize) },
                one = const if UP { 0 } else { -(BLOCK as isize) },
                two = const if UP { 0 } else { -2 * BLOCK as isize },
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack),
            );
        }
        (dst, src)
    }

    #[inline(always)]
    unsafe fn fill_block(dst: *mut u8, word: u64) {
        // SAFETY: stores of 64 bytes in all, for which the caller vouches.
        unsafe {
            asm!(
                "movq {pair}, {word}",
                "punpcklqdq {pair}, {pair}",
                "movups [{dst}], {pair}",
                "movups [{dst} + 16], {pair}",
                "movups [{dst} + 32], {pair}",
                "movups [{dst} + 48], {pair}",
                dst = in(reg) dst, word = in(reg) word, pair = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn fill_blocks(dst: *mut u8, word: u64, count: usize) {
        if count < STRING_BLOCKS {
            // SAFETY: as for this function.
            return unsafe { fill_each_block(dst, word, count) };
        }
        // SAFETY: stores a word `count * BLOCK / 8` times, for which the caller vouches. Assembly
        // begins with the direction flag clear.
        unsafe {
            asm!(
                "rep stosq",
                inout("rdi") dst => _, inout("rcx") count * (BLOCK / 8) => _, in("rax") word,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn gather_block(src: *const u8) -> u64 {
        let seen;
        // SAFETY: loads of 64 bytes in all, for which the caller vouches.
        unsafe {
            asm!(
                "movups {a}, [{src}]",
                "movups {b}, [{src} + 16]",
                "movups {c}, [{src} + 32]",
                "movups {d}, [{src} + 48]",
                "por {a}, {b}",
                "por {c}, {d}",
                "por {a}, {c}",
                "movhlps {b}, {a}",
                "por {a}, {b}",
                "movq {seen}, {a}",
                src = in(reg) src, seen = lateout(reg) seen,
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                options(nostack, preserves_flags),
            );
        }
        seen
    }

    #[inline(always)]
    fn zero() -> i32 {
        let zero;
        // SAFETY: no instruction.
        unsafe {
            asm!(
                "/* {zero:e} */", zero = inlateout(reg) 0 => zero,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        zero
    }
}
