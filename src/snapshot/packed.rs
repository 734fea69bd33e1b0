// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Writing a packed snapshot: the data ranges one after the other, each byte copied out of guest
//! memory once, so that what is written is what the checksum is of.

use super::Progress;
use super::checksum::{Write, checksum, chunk_buffer};
use super::fold::Hole;
use super::metadata::{Chunk, DataRange, Metadata};
use crate::alloc::vec_of;
use crate::error::{Error, Result};
use crate::handle::Ref;
use crate::region::MemoryRegion;
use crate::volatile;

/// Writes the data that `metadata` tells of and fills in its checksums, if it is to have them.
/// The `holes` in its ranges become zeros without being read.
pub fn write(
    metadata: &mut Metadata,
    holes: &[Hole],
    regions: &[Ref<MemoryRegion>],
    write: Write,
    progress: Progress,
) -> Result<()> {
    let mut checksums = match metadata.checksums {
        Some(_) => Some(vec_of(metadata.chunk_count() as usize)?),
        None => None,
    };
    let mut out = Out { buffer: chunk_buffer()?, used: 0, written: 0, write };
    let total = metadata.data_size();
    let mut holes = holes;
    for chunk in metadata.chunks() {
        if out.room() < chunk.len {
            out.flush()?;
            progress(out.written, total)?;
        }
        let copy = out.append(chunk.len);
        holes = copy_chunk(&regions[chunk.region], chunk, holes, copy);
        if let Some(checksums) = &mut checksums {
            checksums.push(checksum(copy));
        }
    }
    out.flush()?;
    progress(total, total)?;
    metadata.checksums = checksums;
    Ok(())
}

/// Copies a chunk, zeros where holes were folded. Gives the holes that reach past it, and those
/// behind.
fn copy_chunk<'a>(
    region: &MemoryRegion,
    chunk: Chunk,
    mut holes: &'a [Hole],
    to: &mut [u8],
) -> &'a [Hole] {
    let end = chunk.offset + chunk.len as u64;
    let mut at = chunk.offset;
    while at < end {
        let next = holes.first().filter(|hole| hole.region == chunk.region);
        let hole = next.map_or(DataRange { start: end, end }, |hole| hole.range);
        let data_end = hole.start.clamp(at, end);
        let hole_end = hole.end.clamp(data_end, end);
        let (data, zeros) =
            to[(at - chunk.offset) as usize..].split_at_mut((data_end - at) as usize);
        // SAFETY: the chunk lies within the region, whose mapping lives as long as it.
        unsafe {
            let from = region.host().add(at as usize);
            volatile::copy_from_guest(data.as_mut_ptr(), from, data.len());
        }
        zeros[..(hole_end - data_end) as usize].fill(0);
        if next.is_some() && hole.end <= end {
            holes = &holes[1..];
        }
        at = hole_end;
    }
    holes
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
    use super::*;
    use crate::proc::page_size;
    use crate::region::RegionOptions;

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
        // The last is of another region.
        let holes = [hole(1, 1, 2), hole(1, 3, 6), hole(2, 0, 8)];
        for cuts in 0..1 << 7 {
            let mut copy = vec![0xff; 8 * page as usize];
            let (mut left, mut start) = (&holes[..], 0);
            for end in (1..=8).filter(|end| *end == 8 || cuts >> (end - 1) & 1 != 0) {
                let len = ((end - start) * page) as usize;
                let chunk = Chunk { region: 1, offset: start * page, len };
                let to = &mut copy[(start * page) as usize..(end * page) as usize];
                left = copy_chunk(&region, chunk, left, to);
                start = end;
            }
            assert_eq!(left, &holes[2..]);
            for (at, byte) in copy.into_iter().enumerate() {
                let is_hole = matches!(at as u64 / page, 1 | 3..6);
                assert_eq!(byte, if is_hole { 0 } else { 7 });
            }
        }
    }
}
