// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Taking snapshots and saving image files.
//!
//! - [`busy`]: files that a snapshot must not be written to: those that hold the memory.
//! - [`fold`]: keeping the metadata within its limit: where data is so scattered that the text of
//!   its ranges would outgrow it, the smallest holes become data, as few as will do.
//! - [`gather`]: writing a snapshot to a file, pipe or socket: many ranges with one system call,
//!   straight from the mappings.
//! - [`options`]: how a snapshot is to be taken.
//! - [`output`]: files as a snapshot is written to them: at the position or at absolute offsets,
//!   through the page cache or past it.
//! - [`packed`]: giving a packed snapshot to a function: the data ranges one after the other, each
//!   byte copied out of guest memory once, so that what is given is what the checksum is of.
//! - [`replace`]: A file that takes the place of another as a whole, or not at all: whatever
//!   happens, the path is the old file or the new one.
//! - [`save`]: saving memory as an image file.
//! - [`snapshot`]: taking a snapshot: what it is to hold, and writing it to a descriptor or a
//!   function.

pub mod busy;
pub mod fold;
pub mod gather;
pub mod options;
pub mod output;
pub mod packed;
pub mod replace;
pub mod save;
pub mod snapshot;
