// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Builds the C programs in `c_tests/` against each form of the library and runs them, so that
//! `cargo test` is the whole suite.

use std::process::Command;
use std::sync::Mutex;

/// Each run uses all of the machine, and their builds share files.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn make(target: &str) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let status = Command::new("make")
        .args(["--no-print-directory", target])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO", env!("CARGO"))
        // The library is built as it ships, whatever this test was built with.
        .env_remove("RUSTFLAGS")
        .status()
        .expect("make runs");
    assert!(status.success(), "make {target}: {status}");
}

#[test]
fn c_programs_pass_with_the_shared_library() {
    make("check-shared");
}

#[test]
fn c_programs_pass_with_the_static_library() {
    make("check-static");
}

#[test]
fn c_programs_pass_with_a_library_that_cannot_unwind() {
    make("check-abort");
}
