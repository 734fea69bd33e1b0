// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `src/memory/published.rs` of the library by itself, with loom's atomics in place of the standard ones:
//! its test runs in every interleaving. `make check-loom`.
#![cfg(loom)]

#[path = "../../src/memory/published.rs"]
pub mod published;
