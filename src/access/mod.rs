// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Everything that touches guest bytes: volatile copies, values, transfers to and from descriptors.
//!
//! - [`bounce`]: private copies of guest bytes, made by the kernel: a page that cannot be read or
//!   written (a memory error of the host, a file that was cut, memory that is protected) is an
//!   error there and the end of the program anywhere else.
//! - [`bytes`]: bytes and objects, within one region or as devices see it.
//! - [`lookup`]: what guest bytes are looked up in, and the accesses that follow from a lookup.
//! - [`transfer`]: file descriptors <-> guest memory, straight between the kernel and the mapping.
//! - [`value`]: the accesses to one value.
//! - [`volatile`]: guest bytes, and the only code that reads or writes them.

pub mod bounce;
pub mod bytes;
pub mod lookup;
pub mod transfer;
pub mod value;
pub mod volatile;
