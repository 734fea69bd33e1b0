// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Another static Rust library in one program with libguestmem.a: it has a runtime of its own, which
//! must go on catching panics and keeping thread-locals.

#![crate_type = "staticlib"]

use std::cell::Cell;
use std::panic::{catch_unwind, set_hook};

thread_local!(static COUNT: Cell<i32> = const { Cell::new(0) });

struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        COUNT.set(COUNT.get() + 1);
    }
}

/// How often the thread has unwound a panic.
#[unsafe(no_mangle)]
pub extern "C" fn other_panics() -> i32 {
    set_hook(Box::new(|_| ()));
    let caught = catch_unwind(|| {
        let _dropped = Dropped;
        assert!(COUNT.get() < 0, "on purpose");
    });
    if caught.is_err() { COUNT.get() } else { -1 }
}
