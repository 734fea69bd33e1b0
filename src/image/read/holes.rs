// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Checking that an image holds nothing where it says that there is nothing.

use crate::error::{Error, Result};
use crate::host::file;
use crate::host::file::pread_some;
use crate::image::format::checksum::chunk_buffer;
use crate::image::progress::Progress;
use crate::image::read::data::DataFile;

/// Refuses data outside of all ranges of a sparse layout: mapped, it would be seen. Where it has to
/// read what could be holes `progress` is called too, with nothing done.
pub fn check(data: &DataFile, progress: Progress) -> Result<()> {
    let mut tell = || progress(0, data.metadata.data_size());
    let mut buffer = chunk_buffer()?;
    let mut region_start = data.start;
    for region in &data.metadata.regions {
        for hole in data.metadata.holes_of(region) {
            check_hole(
                data,
                region_start + hole.start,
                region_start + hole.end,
                &mut buffer,
                &mut tell,
            )?;
        }
        region_start += region.size;
    }
    Ok(())
}

/// Looks at what the file system does not know to be a hole between two offsets.
fn check_hole(
    data: &DataFile,
    start: u64,
    end: u64,
    buffer: &mut [u8],
    tell: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let mut at = start;
    while at < end {
        at = match file::seek(data.fd, at as i64, libc::SEEK_DATA) {
            Ok(next) => next.max(at),
            Err(libc::ENXIO) => return Ok(()),
            // A file system that knows no holes.
            Err(_) => at,
        };
        if at >= end {
            return Ok(());
        }
        tell()?;
        let room = buffer.len().min((end - at) as usize);
        // SAFETY: the buffer is ours to write.
        match unsafe { pread_some(data.fd, buffer.as_mut_ptr(), room, at) } {
            Ok(0) => return Err(Error::SnapshotShort { completed: 0 }),
            Ok(count) if buffer[..count].iter().any(|&byte| byte != 0) => {
                return Err(Error::Corrupt { completed: 0 });
            }
            Ok(count) => at += count as u64,
            Err(errno) => return Err(Error::io(errno)),
        }
    }
    Ok(())
}
