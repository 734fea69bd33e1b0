// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! aarch64.

use crate::access::volatile::copy::{Bulk, Machine, Plain};
use core::arch::asm;

macro_rules! access {
    ($($word:ty, $load:literal, $store:literal;)*) => {$(
        impl Plain for $word {
            #[inline(always)]
            unsafe fn read(src: *const Self) -> Self {
                let value: u64;
                // SAFETY: one load; the caller vouches for the bytes.
                unsafe {
                    asm!(
                        $load, src = in(reg) src, value = out(reg) value,
                        options(nostack, preserves_flags),
                    );
                }
                value as Self
            }
            #[inline(always)]
            unsafe fn write(dst: *mut Self, value: Self) {
                let value = u64::from(value);
                // SAFETY: one store; the caller vouches for the bytes.
                unsafe {
                    asm!(
                        $store, dst = in(reg) dst, value = in(reg) value,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
    )*};
}
access! {
    u8, "ldrb {value:w}, [{src}]", "strb {value:w}, [{dst}]";
    u16, "ldrh {value:w}, [{src}]", "strh {value:w}, [{dst}]";
    u32, "ldr {value:w}, [{src}]", "str {value:w}, [{dst}]";
    u64, "ldr {value}, [{src}]", "str {value}, [{dst}]";
}

impl Bulk for Machine {
    // The architecture may take unaligned accesses apart byte by byte. Of a pair it keeps each
    // aligned half whole.
    const KEEPS_ELEMENTS: bool = false;

    #[inline(always)]
    unsafe fn copy_pair(dst: *mut u8, src: *const u8) {
        // SAFETY: one load and one store of 16 bytes each, for which the caller vouches.
        unsafe {
            asm!(
                "ldp {low}, {high}, [{src}]",
                "stp {low}, {high}, [{dst}]",
                src = in(reg) src, dst = in(reg) dst, low = out(reg) _, high = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn copy_block(dst: *mut u8, src: *const u8) {
        // SAFETY: loads and stores of 64 bytes each, for which the caller vouches.
        unsafe {
            asm!(
                "ldp {a}, {b}, [{src}]",
                "ldp {c}, {d}, [{src}, #16]",
                "ldp {e}, {f}, [{src}, #32]",
                "ldp {g}, {h}, [{src}, #48]",
                "stp {a}, {b}, [{dst}]",
                "stp {c}, {d}, [{dst}, #16]",
                "stp {e}, {f}, [{dst}, #32]",
                "stp {g}, {h}, [{dst}, #48]",
                src = in(reg) src, dst = in(reg) dst,
                a = out(reg) _, b = out(reg) _, c = out(reg) _, d = out(reg) _,
                e = out(reg) _, f = out(reg) _, g = out(reg) _, h = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn fill_block(dst: *mut u8, word: u64) {
        // SAFETY: stores of 64 bytes in all, for which the caller vouches.
        unsafe {
            asm!(
                "stp {word}, {word}, [{dst}]",
                "stp {word}, {word}, [{dst}, #16]",
                "stp {word}, {word}, [{dst}, #32]",
                "stp {word}, {word}, [{dst}, #48]",
                dst = in(reg) dst, word = in(reg) word,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn zero() -> i32 {
        let zero;
        // SAFETY: no instruction.
        unsafe {
            asm!(
                "/* {zero:w} */", zero = inlateout(reg) 0 => zero,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        zero
    }
}
