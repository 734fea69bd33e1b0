// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a snapshot says about itself, read and written.
//!
//! - [`checksum`]: CRC-32C over the chunks of a snapshot.
//! - [`metadata`]: what a snapshot says about itself: which regions there are, which ranges of
//!   them it holds, and a checksum for each chunk of these.
//! - [`parse`]: reading metadata that may come from an enemy: every number is checked before
//!   anything uses it, in time and memory proportional to the text.
//! - [`trailer`]: the trailer of an image file: where the metadata lies, and a guard against
//!   damage.

pub mod checksum;
pub mod metadata;
pub mod parse;
pub mod trailer;
