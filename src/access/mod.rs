// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Everything that touches guest bytes: volatile copies, values, transfers to and from descriptors.
//!
//! - [`bounce`]: private copies of guest bytes, made by the kernel: a page that cannot be read or
//!   written (a memory error of the host, a file that was cut, memory that is protected) is an
//!   error there and the end of the program anywhere else.
//! - [`bytes`]: typed, bulk and DMA-level access, on table and volatile.
//! - [`transfer`]: file descriptors <-> guest memory, straight between the kernel and the mapping.
//! - [`volatile`]: guest bytes, and the only code that touches them.

pub mod bounce;
pub mod bytes;
pub mod transfer;
pub mod volatile;
