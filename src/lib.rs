// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! libguestmem: a guest's memory for C and C++ programs.
//!
//! The product is the C API in [`ffi`]; the Rust items below it are internal and may change. The
//! map of the house, where each file only knows those below it:
//!
//! - [`ffi`]: the C functions, one file per section of the header.
//! - [`snapshot`]: memory images: finding data, metadata, checksums, writing, restoring.
//! - [`access`], [`fd_io`]: bytes and values in guest memory; file descriptors straight to it.
//! - [`memory`]: the set of regions, what can be asked about it; [`describe`], [`policy`].
//! - [`table`], [`region`], [`claim`]: the lookup table; a region of guest memory, and who is at work on
//!   all of it.
//! - [`published`]: how a table is put in force under the eyes of its readers.
//! - [`mapping`], [`backing`], [`caller`]: host mappings; what their bytes live in; memory that the
//!   caller mapped.
//! - [`volatile`]: the only code that touches guest bytes.
//! - [`address`]: the only arithmetic that could wrap.
//! - [`handle`]: counted objects in type-stable memory, which C handles point to.
//! - [`mod@file`], [`proc`], [`same_file`], [`pagemap`], [`userfault`], [`signals`], [`parallel`]: what open
//!   files and the system tell, which file a mapping is of, where there are pages, who supplies missing
//!   ones, signals kept from the embedder, short-lived threads.
//! - [`kept`], [`process`]: what stays open of /proc and /dev, and in which process it was opened.
//! - [`alloc`], [`reserve`], [`error`]: growth that may fail, memory for what must not, what can go wrong.
//!
//! `include/guestmem_inline.h` does in C what [`table`] and [`volatile`] do for single values, on the
//! same lookup table.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("libguestmem is for 64-bit Linux");

pub mod access;
pub mod address;
pub mod alloc;
pub mod backing;
pub mod caller;
pub mod claim;
pub mod describe;
pub mod error;
pub mod fd_io;
pub mod ffi;
pub mod file;
pub mod handle;
pub mod kept;
pub mod mapping;
pub mod memory;
pub mod pagemap;
pub mod parallel;
pub mod policy;
pub mod proc;
pub mod process;
pub mod published;
pub mod region;
pub mod reserve;
pub mod same_file;
pub mod signals;
pub mod snapshot;
pub mod table;
pub mod userfault;
pub mod volatile;
