// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Compiles the header's inline functions for the target `calls`.

fn main() {
    println!("cargo:rerun-if-changed=inline.c");
    println!("cargo:rerun-if-changed=../include");
    cc::Build::new().file("inline.c").include("../include").opt_level(2).compile("inline");
}
