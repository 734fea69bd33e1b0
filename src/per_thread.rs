// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What is kept for each thread, where nothing ever has to be allocated for it.
//!
//! In a library that was loaded by `dlopen`, glibc allocates a thread's copy of ordinary
//! thread-locals when the thread first touches them, and ends the process when it cannot. What is
//! reached by the initial-exec model lies in a place that every thread has from its beginning; one
//! such variable takes all the others of its library there. Stable Rust cannot ask for the model, so
//! a variable and the way to it are assembly. musl allocates all of them when it loads the library,
//! and has no such places left then: there, and elsewhere, it is an ordinary thread-local.

/// A type of which all zeros are a value, with which each thread begins.
///
/// # Safety
/// They have to be, and the type has nothing to drop.
pub unsafe trait Zeroed {}

/// `per_thread!(with, "symbol", Type)` defines the variable, and `with`, which hands out the thread's.
#[cfg(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
macro_rules! per_thread {
    ($with:ident, $symbol:literal, $type:ty) => {
        // Global for other parts of this crate only, wherever the compiler puts this one.
        std::arch::global_asm!(
            concat!(".pushsection .tbss.", $symbol, ", \"awT\", %nobits"),
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            concat!(".type ", $symbol, ", %object"),
            concat!(".size ", $symbol, ", {size}"),
            ".balign {align}",
            concat!($symbol, ": .zero {size}"),
            ".popsection",
            size = const size_of::<$type>(),
            align = const align_of::<$type>(),
        );

        fn $with<T>(body: impl FnOnce(&$type) -> T) -> T {
            const fn begins_with_zeros<Z: $crate::per_thread::Zeroed>() {}
            const { begins_with_zeros::<$type>() };
            let address: *const $type;
            // SAFETY: reads the offset that the dynamic linker wrote for the variable, and adds
            // where the thread's variables are.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                std::arch::asm!(
                    concat!("movq ", $symbol, "@GOTTPOFF(%rip), {0}"),
                    "addq %fs:0, {0}",
                    out(reg) address,
                    options(att_syntax, pure, nomem, nostack),
                );
            }
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            unsafe {
                std::arch::asm!(
                    concat!("adrp {0}, :gottprel:", $symbol),
                    concat!("ldr {0}, [{0}, :gottprel_lo12:", $symbol, "]"),
                    "mrs {1}, tpidr_el0",
                    "add {0}, {0}, {1}",
                    out(reg) address,
                    out(reg) _,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            // SAFETY: the variable is the thread's own, of that size and alignment, and lives as
            // long as the thread; zeros, as which it begins, are a value of the type.
            body(unsafe { &*address })
        }
    };
}

#[cfg(not(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
macro_rules! per_thread {
    ($with:ident, $symbol:literal, $type:ty) => {
        fn $with<T>(body: impl FnOnce(&$type) -> T) -> T {
            const fn zeros<Z: $crate::per_thread::Zeroed>() -> Z {
                // SAFETY: what the trait promises.
                unsafe { std::mem::zeroed() }
            }
            thread_local! {
                // Const and without a destructor: it may be touched when the thread's others are gone.
                static VARIABLE: $type = const { zeros() };
            }
            VARIABLE.with(body)
        }
    };
}
