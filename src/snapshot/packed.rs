// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Giving a packed snapshot to a function: the data ranges one after the other, each byte copied out
//! of guest memory once, so that what is given is what the checksum is of.

use super::batch::Steps;
use super::checksum::{Write, checksum, chunk_buffer};
use super::fold::{Hole, pieces};
use super::metadata::{Chunk, Metadata};
use super::{Progress, Regions};
use crate::alloc::vec_of;
use crate::error::{Error, Result};
use crate::region::MemoryRegion;

/// Writes the data that `metadata` tells of and fills in its checksums, if it is to have them.
/// The `holes` in its ranges become zeros without being read.
pub fn write(
    metadata: &mut Metadata,
    holes: &[Hole],
    regions: Regions,
    write: Write,
    progress: Progress,
) -> Result<()> {
    let mut checksums = match metadata.checksums {
        Some(_) => Some(vec_of(metadata.chunk_count() as usize)?),
        None => None,
    };
    let mut out = Out { buffer: chunk_buffer()?, used: 0, written: 0, write };
    let mut steps = Steps::new(metadata.data_size(), progress);
    for chunk in metadata.chunks() {
        if out.room() < chunk.len {
            out.flush()?;
            steps.reach(out.written)?;
        }
        let copy = out.append(chunk.len);
        copy_chunk(&regions[chunk.region], chunk, holes, copy);
        if let Some(checksums) = &mut checksums {
            checksums.push(checksum(copy));
        }
    }
    out.flush()?;
    steps.end()?;
    metadata.checksums = checksums;
    Ok(())
}

/// Copies a chunk, zeros where holes were folded.
fn copy_chunk(region: &MemoryRegion, chunk: Chunk, holes: &[Hole], to: &mut [u8]) {
    for piece in pieces(holes, chunk) {
        let part = piece.range.start - chunk.offset..piece.range.end - chunk.offset;
        let to = &mut to[part.start as usize..part.end as usize];
        piece.copy_out(region, piece.range.start, to);
    }
}

/// Gathers small chunks into larger writes.
struct Out<'a> {
    buffer: Vec<u8>,
    used: usize,
    written: u64,
    write: Write<'a>,
}

impl Out<'_> {
    fn room(&self) -> usize {
        self.buffer.len() - self.used
    }

    /// The next `len` bytes of the buffer, which has room for them.
    fn append(&mut self, len: usize) -> &mut [u8] {
        let start = self.used;
        self.used += len;
        &mut self.buffer[start..self.used]
    }

    fn flush(&mut self) -> Result<()> {
        let mut rest = &self.buffer[..self.used];
        while !rest.is_empty() {
            let failed = |errno| Error::Io { errno, completed: self.written };
            let taken = (self.write)(rest).map_err(failed)?;
            if taken == 0 || taken > rest.len() {
                return Err(failed(libc::EIO));
            }
            rest = &rest[taken..];
            self.written += taken as u64;
        }
        self.used = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::DataRange;
    use super::*;
    use crate::proc::page_size;
    use crate::region::RegionOptions;
    use crate::volatile;

    /// Every cut of a range into chunks, around holes in which the memory holds something too.
    #[test]
    fn holes_become_zeros_wherever_chunks_begin() {
        let page = page_size();
        let region = MemoryRegion::new(&RegionOptions::plain(0, 8 * page)).unwrap();
        // SAFETY: the whole region.
        unsafe { volatile::fill(region.host(), 7, 8 * page as usize) };
        let hole = |region, start, end| Hole {
            region,
            range: DataRange { start: start * page, end: end * page },
        };
        // The first and the last are of other regions.
        let holes = [hole(0, 0, 8), hole(1, 1, 2), hole(1, 3, 6), hole(2, 0, 8)];
        for cuts in 0..1 << 7 {
            let mut copy = vec![0xff; 8 * page as usize];
            let mut start = 0;
            for end in (1..=8).filter(|end| *end == 8 || cuts >> (end - 1) & 1 != 0) {
                let len = ((end - start) * page) as usize;
                let chunk = Chunk { region: 1, offset: start * page, len, position: 0 };
                let to = &mut copy[(start * page) as usize..(end * page) as usize];
                copy_chunk(&region, chunk, &holes, to);
                start = end;
            }
            for (at, byte) in copy.into_iter().enumerate() {
                let is_hole = matches!(at as u64 / page, 1 | 3..6);
                assert_eq!(byte, if is_hole { 0 } else { 7 });
            }
        }
    }
}
