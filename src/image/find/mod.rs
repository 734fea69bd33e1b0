// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which parts of a region hold data.
//!
//! - [`extents`]: which parts of regions hold data.
//! - [`files`]: files that regions map, and what they hold.
//! - [`huge`]: what a file holds, by reading it: where it is one of huge pages, which seeking
//!   cannot tell, or where seeking would move a position that others have too.
//! - [`pieces`]: what kind of memory lies where in regions.
//! - [`ranges`]: lists of ranges.
//! - [`seek`]: what a file holds, by asking it: `lseek(SEEK_DATA)`.
//! - [`unfetched`]: memory of which parts are supplied on their first use, by a userfaultfd: what
//!   is missing there looks like a hole.
//! - [`way`]: how to come by the file behind a region, and what it can tell of its holes.
//! - [`zeros`]: leaving out pages that are there but hold only zeros.

pub mod extents;
pub mod files;
pub mod huge;
pub mod pieces;
pub mod ranges;
pub mod seek;
pub mod unfetched;
pub mod way;
pub mod zeros;
