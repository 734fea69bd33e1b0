// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the linker is told about the shared library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // cargo-c sets a soname of its own.
    if std::env::var_os("CARGO_FEATURE_CAPI").is_none() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libguestmem.so.0");
    }
    // A plugin host may dlclose the library while a thread still has its thread-locals.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
