// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a file holds, by reading it: where it is one of huge pages, which seeking cannot tell, or where
//! seeking would move a position that others have too.

use crate::error::{Error, Result};
use crate::host::alloc::zeros;
use crate::host::file::pread_some;
use crate::image::find::ranges::Found;
use crate::image::format::metadata::DataRange;
use std::os::fd::{AsRawFd, OwnedFd};

/// Bytes to read at once.
const AT_ONCE: usize = 256 << 10;

/// The data in the parts of `file` that `covers` tells of: its pages of `size` bytes that were
/// `seen` and those in which it has anything but zeros. All lists are ascending and disjoint.
pub fn data(
    file: &OwnedFd,
    covers: &[DataRange],
    seen: &[DataRange],
    size: u64,
) -> Result<Vec<DataRange>> {
    let mut buffer = zeros(AT_ONCE.min(size as usize))?;
    let mut found = Found::default();
    let mut seen = seen.iter().peekable();
    for cover in covers {
        for start in (cover.start..cover.end).step_by(size as usize) {
            while seen.next_if(|range| range.end <= start).is_some() {}
            let was_seen = seen.peek().is_some_and(|range| range.start <= start);
            if was_seen || !reads_as_zeros(file, start, start + size, &mut buffer)? {
                found.add(start, start + size)?;
            }
        }
    }
    Ok(found.into_ranges())
}

/// Reads a hole without filling it, which reading it through a mapping would do.
fn reads_as_zeros(file: &OwnedFd, start: u64, end: u64, buffer: &mut [u8]) -> Result<bool> {
    let mut at = start;
    while at < end {
        let wanted = (end - at).min(buffer.len() as u64) as usize;
        // SAFETY: the buffer holds that many.
        let read = unsafe { pread_some(file.as_raw_fd(), buffer.as_mut_ptr(), wanted, at) };
        match read {
            Ok(0) => return Ok(true),
            Ok(count) if buffer[..count].iter().any(|&byte| byte != 0) => return Ok(false),
            Ok(count) => at += count as u64,
            // A page that cannot be read is a page.
            Err(libc::EIO) => return Ok(false),
            Err(errno) => return Err(Error::from_os("pread", errno)),
        }
    }
    Ok(true)
}
