// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Loading images and restoring memory.
//!
//! - [`clear`]: making holes again: what live memory holds where a snapshot has nothing.
//! - [`data`]: reading the data of a snapshot: from a file in any order and on several threads,
//!   from a stream as it comes.
//! - [`direct`]: reading from a descriptor that goes past the page cache, which takes whole blocks
//!   at their places, to memory that is aligned as they are.
//! - [`holes`]: checking that an image holds nothing where it says that there is nothing.
//! - [`load`]: new memory of an image file: read, or mapped copy-on-write.
//! - [`map`]: an image mapped copy-on-write, and private zeros in place of its holes: through the
//!   file, each of their pages would take one of the page cache to be read, and one more to be
//!   written.
//! - [`open`]: opening an image file: everything but its data is checked.
//! - [`put`]: putting data back into memory, which may not take all of it: a page that cannot be
//!   written is an error, and what may only be read has to hold the same already.
//! - [`restore`]: bringing a snapshot back into live memory.

pub mod clear;
pub mod data;
pub mod direct;
pub mod holes;
pub mod load;
pub mod map;
pub mod open;
pub mod put;
pub mod restore;
