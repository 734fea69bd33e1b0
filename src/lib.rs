// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! libguestmem: a guest's memory for C and C++ programs.
//!
//! The product is the C API in [`ffi`]; the Rust items below it are internal and may change. The
//! map of the house. Each floor knows only those below it, which `tests/imports.rs` checks:
//!
//! - [`ffi`]: the C functions, one file per section of the header. The only C types.
//! - [`image`]: memory images, on floors of their own: [`image::format`], [`image::find`],
//!   [`image::write`], [`image::read`].
//! - [`access`]: everything that touches guest bytes.
//! - [`memory`]: regions, mappings, backings, the lookup table and how it is published, policies.
//! - [`host`]: what the system is asked: files, /proc, signals, threads, allocation that may fail.
//! - [`address`], [`error`], [`per_thread`]: all arithmetic that could wrap; what can go wrong; what is
//!   kept for each thread.
//!
//! `include/guestmem_inline.h` does in C what [`memory::table`] and [`access::volatile`] do for single
//! values, on the same lookup table.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("libguestmem is for 64-bit Linux");

#[macro_use]
pub mod per_thread;

pub mod access;
pub mod address;
pub mod error;
pub mod ffi;
pub mod host;
pub mod image;
pub mod memory;
