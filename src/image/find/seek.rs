// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a file holds, by asking it: `lseek(SEEK_DATA)`.

use crate::address::{align_down, next_congruent};
use crate::error::{Error, Result};
use crate::host::file;
use crate::host::system::page_size;
use crate::image::find::ranges::{Found, within};
use crate::image::format::metadata::DataRange;
use std::os::fd::{AsRawFd, OwnedFd};

/// The data in the parts of `file` that `covers` tells of: what was `seen`, and what lies between. All
/// lists are ascending and disjoint. It takes one pass: where data or a hole goes on past a part, the
/// next ones do not ask again. What is found is widened to pages.
pub fn data(file: &OwnedFd, covers: &[DataRange], seen: &[DataRange]) -> Result<Vec<DataRange>> {
    let mut found = Found::default();
    // What lies before this is known.
    let mut known = 0;
    for cover in covers {
        let mut at = cover.start;
        for seen in within(seen, cover.start, cover.end) {
            known = between(file, at.max(known), seen.start, &mut found)?;
            found.add(seen.start, seen.end)?;
            at = seen.end;
        }
        known = between(file, at.max(known), cover.end, &mut found)?;
    }
    Ok(found.into_ranges())
}

/// Adds the data from an offset to `end` at least. Gives the offset to which all is known.
///
/// A page that lies alone takes one question, and so does a hole: where the next data is tells of both.
/// Only what goes on behind a page, or follows something that did, is asked for its end.
fn between(file: &OwnedFd, mut at: u64, end: u64, found: &mut Found) -> Result<u64> {
    let page = page_size();
    let (mut end_of_page, mut is_long) = (None, false);
    while at < end {
        let Some(data) = seek(file, at, libc::SEEK_DATA)? else {
            return Ok(u64::MAX);
        };
        // There is a hole at the end of every file at the latest.
        if data < at {
            return Err(Error::Unsupported("the file behind the memory cannot seek"));
        }
        if data >= end {
            return Ok(data);
        }
        let start = align_down(data, page);
        at = start + page;
        if is_long || end_of_page == Some(data) {
            let hole = seek(file, data, libc::SEEK_HOLE)?.unwrap_or(end);
            is_long = hole > at;
            if hole <= data {
                // Somebody removed that page just now.
                continue;
            }
            at = hole;
        }
        found.add(start, next_congruent(at, 0, page).unwrap_or(at))?;
        end_of_page = Some(at);
    }
    Ok(at)
}

/// `lseek(2)`; None past the last data.
fn seek(file: &OwnedFd, offset: u64, whence: i32) -> Result<Option<u64>> {
    match file::seek(file.as_raw_fd(), offset as i64, whence) {
        Ok(position) => Ok(Some(position)),
        Err(libc::ENXIO) => Ok(None),
        // A file system that knows no holes.
        Err(libc::EINVAL) if whence == libc::SEEK_DATA => Ok(Some(offset)),
        Err(libc::EINVAL) => Ok(None),
        Err(errno) => Err(Error::from_os("lseek(SEEK_DATA)", errno)),
    }
}
