// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a file holds, by asking it: `lseek(SEEK_DATA)`.

use super::super::metadata::DataRange;
use super::ranges::Found;
use crate::address::{align_down, next_congruent};
use crate::error::{Error, Result};
use crate::file;
use crate::proc::page_size;
use std::os::fd::{AsRawFd, OwnedFd};

/// The data in the parts of `file` that `covers` tells of, ascending and disjoint, in one pass: where
/// data goes on past a part, the next ones do not ask again. It is widened to pages.
pub fn data(file: &OwnedFd, covers: &[DataRange]) -> Result<Vec<DataRange>> {
    let page = page_size();
    let mut found = Found::default();
    // What lies before this is known.
    let mut at = 0;
    for cover in covers {
        at = at.max(cover.start);
        while at < cover.end {
            let Some(data) = seek(file, at, libc::SEEK_DATA)? else {
                return Ok(found.into_ranges());
            };
            // There is a hole at the end of every file at the latest.
            if data < at {
                return Err(Error::Unsupported("the file behind the memory cannot seek"));
            }
            at = data;
            if data >= cover.end {
                break;
            }
            let hole = seek(file, data, libc::SEEK_HOLE)?.unwrap_or(cover.end);
            if hole > data {
                let end = next_congruent(hole, 0, page).unwrap_or(hole);
                found.add(align_down(data, page), end)?;
                at = hole;
            } else {
                // Somebody removed that page just now.
                at = data + page;
            }
        }
    }
    Ok(found.into_ranges())
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
