// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory images: finding data, writing it, bringing it back.
//!
//! - [`batch`]: sharing the chunks of a snapshot out among threads.
//! - [`claimed`]: regions that snapshots and restores keep from each other.
//! - [`copies`]: reading guest memory for a snapshot: each byte is copied once, by the kernel, and
//!   what is looked at is the copy.
//! - [`find`]: which parts of a region hold data.
//! - [`mod@format`]: what a snapshot says about itself, read and written.
//! - [`pieces`]: what a chunk is made of: data of a region, and holes that were folded into its
//!   range.
//! - [`progress`]: how far work has come.
//! - [`read`]: loading images and restoring memory.
//! - [`regions`]: the regions that an image is of.
//! - [`mod@write`]: taking snapshots and saving image files.

pub mod batch;
pub mod claimed;
pub mod copies;
pub mod find;
pub mod format;
pub mod pieces;
pub mod progress;
pub mod read;
pub mod regions;
pub mod write;
