// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory images: finding data, writing it, bringing it back.
//!
//! - [`batch`]: sharing the chunks of a snapshot out among threads.
//! - [`claimed`]: regions that snapshots and restores keep from each other.
//! - [`copies`]: reading guest memory for a snapshot: each byte is copied once, by the kernel, and
//!   what is looked at is the copy.
//! - [`find`]: which parts of a region hold data.
//! - [`fold`]: keeping the metadata within its limit: where data is so scattered that the text of
//!   its ranges would outgrow it, the smallest holes become data, as few as will do.
//! - [`mod@format`]: what a snapshot says about itself, read and written.
//! - [`progress`]: how far work has come.
//! - [`read`]: loading images and restoring memory.
//! - [`regions`]: the regions that an image is of.
//! - [`mod@write`]: taking snapshots and saving image files.

pub mod batch;
pub mod claimed;
pub mod copies;
pub mod find;
pub mod fold;
pub mod format;
pub mod progress;
pub mod read;
pub mod regions;
pub mod write;
