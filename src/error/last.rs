// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Each thread's record of what failed last, kept where nothing ever has to be allocated for it.
//!
//! In a library that was loaded by `dlopen`, glibc allocates a thread's copy of ordinary
//! thread-locals when the thread first touches them, and ends the process when it cannot. What is
//! reached by the initial-exec model lies in a place that every thread has from its beginning; one
//! such variable takes all the others of its library there. Stable Rust cannot ask for the model, so
//! this variable and the way to it are assembly. musl allocates all of them when it loads the
//! library, and has no such places left then: there, and elsewhere, it is an ordinary thread-local.

use crate::error::Failure;
use std::cell::Cell;
use std::mem::MaybeUninit;

/// All zeros in a thread that begins.
struct Record {
    is_set: Cell<bool>,
    failure: Cell<MaybeUninit<Failure>>,
}

/// Records `failure` as the thread's last.
pub fn set_last(failure: Failure) {
    with(|record| {
        record.failure.set(MaybeUninit::new(failure));
        record.is_set.set(true);
    });
}

/// The thread's last failure.
pub fn last() -> Option<Failure> {
    // SAFETY: whoever set `is_set` had written a failure before.
    with(|record| record.is_set.get().then(|| unsafe { record.failure.get().assume_init() }))
}

#[cfg(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod storage {
    use crate::error::last::Record;
    use std::arch::{asm, global_asm};

    // Global for other parts of this crate only, wherever the compiler puts this one.
    global_asm!(
        ".pushsection .tbss.libguestmem_last, \"awT\", %nobits",
        ".globl libguestmem_last",
        ".hidden libguestmem_last",
        ".type libguestmem_last, %object",
        ".size libguestmem_last, {size}",
        ".balign {align}",
        "libguestmem_last: .zero {size}",
        ".popsection",
        size = const size_of::<Record>(),
        align = const align_of::<Record>(),
    );

    #[cfg(target_arch = "x86_64")]
    fn address() -> *const Record {
        let address;
        // SAFETY: reads the offset that the dynamic linker wrote for the variable, and adds where
        // the thread's variables are.
        unsafe {
            asm!(
                "movq libguestmem_last@GOTTPOFF(%rip), {0}",
                "addq %fs:0, {0}",
                out(reg) address,
                options(att_syntax, pure, nomem, nostack),
            );
        }
        address
    }

    #[cfg(target_arch = "aarch64")]
    fn address() -> *const Record {
        let address;
        // SAFETY: as above.
        unsafe {
            asm!(
                "adrp {0}, :gottprel:libguestmem_last",
                "ldr {0}, [{0}, :gottprel_lo12:libguestmem_last]",
                "mrs {1}, tpidr_el0",
                "add {0}, {0}, {1}",
                out(reg) address,
                out(reg) _,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        address
    }

    pub fn with<T>(body: impl FnOnce(&Record) -> T) -> T {
        // SAFETY: the variable is the thread's own, of that size and alignment, and lives as long
        // as the thread; zeros, as which it begins, are a record that is not set. Nothing here
        // keeps the reference, and cells may be written through several.
        body(unsafe { &*address() })
    }
}

#[cfg(not(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod storage {
    use crate::error::last::{Cell, MaybeUninit, Record};

    thread_local! {
        // Const and without a destructor: it may be touched when the thread's others are gone.
        static LAST: Record = const {
            Record { is_set: Cell::new(false), failure: Cell::new(MaybeUninit::uninit()) }
        };
    }

    pub fn with<T>(body: impl FnOnce(&Record) -> T) -> T {
        LAST.with(body)
    }
}

use storage::with;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn the_last_failure_is_the_threads_own() {
        set_last(Failure { error: Error::Overlap, range: Some((1, 2)) });
        std::thread::spawn(|| assert!(last().is_none())).join().unwrap();
        assert_eq!(last().unwrap().error, Error::Overlap);
    }
}
