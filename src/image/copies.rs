// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Reading guest memory for a snapshot: each byte is copied once, by the kernel or once the kernel has
//! found that it can be read, and what is looked at is the copy.

use crate::access::bounce::Bounce;
use crate::access::volatile;
use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::image::format::metadata::{Chunk, DataRange};
use crate::image::pieces::{Hole, pieces};
use crate::image::regions::Regions;
use crate::memory::region::MemoryRegion;

/// The most parts of one copy: what one system call takes (IOV_MAX).
const MAX_PARTS: usize = 1024;

/// A private copy of guest memory.
pub struct Copies {
    bounce: Bounce,
    parts: Vec<libc::iovec>,
    /// The parts are of regions that stay readable.
    are_lasting: bool,
    /// Room for what is asked of them.
    asked: Vec<libc::iovec>,
    /// Bytes before the parts.
    at: usize,
    /// Bytes with the parts.
    used: usize,
}

impl Copies {
    /// Nothing yet.
    pub fn new() -> Result<Self> {
        let (parts, asked) = (vec_of(MAX_PARTS)?, vec_of(MAX_PARTS)?);
        let bounce = Bounce::new()?;
        Ok(Copies { bounce, parts, are_lasting: false, asked, at: 0, used: 0 })
    }

    /// Copies `chunks`, no more than a bounce holds, zeros where holes were folded.
    pub fn of_chunks(
        &mut self,
        regions: Regions,
        holes: &[Hole],
        chunks: impl Iterator<Item = Chunk>,
    ) -> Result<&[u8]> {
        self.begin();
        for chunk in chunks {
            for piece in pieces(holes, chunk) {
                match piece.is_hole {
                    true => self.add_zeros(piece.range.size() as usize)?,
                    false => self.add(&regions[chunk.region], piece.range)?,
                }
            }
        }
        self.finish()
    }

    /// Drops what there is.
    pub fn begin(&mut self) {
        (self.at, self.used) = (0, 0);
        self.parts.clear();
        self.asked.clear();
    }

    /// Adds a part of a region, which is copied by the end.
    pub fn add(&mut self, region: &MemoryRegion, range: DataRange) -> Result<()> {
        let is_lasting = region.stays_readable();
        if self.parts.len() == MAX_PARTS || is_lasting != self.are_lasting {
            self.flush()?;
            self.are_lasting = is_lasting;
        }
        if range.end > region.range().size() || range.size() > (Bounce::SIZE - self.used) as u64 {
            return Err(Error::Internal("more than can be copied"));
        }
        let host = region.host().wrapping_add(range.start as usize);
        let len = range.size() as usize;
        self.used += len;
        match self.parts.last_mut() {
            Some(last) if last.iov_base.wrapping_byte_add(last.iov_len) == host.cast() => {
                last.iov_len += len;
            }
            _ => self.parts.push(libc::iovec { iov_base: host.cast(), iov_len: len }),
        }
        Ok(())
    }

    fn add_zeros(&mut self, len: usize) -> Result<()> {
        self.flush()?;
        self.bounce.have(self.at + len)?;
        self.bounce.bytes_mut()[self.at..self.at + len].fill(0);
        self.at += len;
        self.used = self.at;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        // SAFETY: parts of regions, which whoever added them still holds.
        unsafe {
            match self.are_lasting {
                true => self.bounce.take_lasting(self.at, &mut self.parts, &mut self.asked)?,
                false => self.bounce.take(self.at, &mut self.parts)?,
            }
        }
        self.at = self.used;
        Ok(())
    }

    /// The bytes of all that was added.
    pub fn finish(&mut self) -> Result<&[u8]> {
        self.flush()?;
        Ok(&self.bounce.bytes()[..self.used])
    }

    /// A copy of one range, no larger than a bounce.
    pub fn of_range(&mut self, region: &MemoryRegion, range: DataRange) -> Result<&[u8]> {
        self.begin();
        self.add(region, range)?;
        self.finish()
    }
}

/// The next of `chunks` that are to be copied at once, at least one while there are any: so few that
/// they stay in a near cache, and that little of a new bounce is touched where there is not much data.
pub fn few<I: Iterator<Item = Chunk> + Clone>(chunks: &mut I) -> Option<std::iter::Take<I>> {
    const AT_ONCE: usize = 64 << 10;
    let begin = chunks.clone();
    let (mut count, mut size) = (0, 0);
    let mut rest = chunks.clone();
    while let Some(chunk) = rest.next() {
        if count > 0 && size + chunk.len > AT_ONCE {
            break;
        }
        (count, size) = (count + 1, size + chunk.len);
        *chunks = rest.clone();
    }
    (count > 0).then(|| begin.take(count))
}

/// Cuts a range into such as can be copied.
pub fn steps(range: DataRange) -> impl Iterator<Item = DataRange> {
    let starts = (range.start..range.end).step_by(Bounce::SIZE);
    starts.map(move |start| DataRange { start, end: range.end.min(start + Bounce::SIZE as u64) })
}

/// Whether all of a private copy is zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // SAFETY: so many bytes are there.
    unsafe { volatile::is_zero(bytes.as_ptr(), bytes.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::system::page_size;
    use crate::memory::options::RegionOptions;

    /// Every cut of a range into chunks, around holes in which the memory holds something too.
    #[test]
    fn holes_become_zeros_wherever_chunks_begin() {
        let page = page_size();
        let region = MemoryRegion::new(&RegionOptions::plain(0, 8 * page)).unwrap();
        // SAFETY: the whole region.
        unsafe { volatile::fill(region.host(), 7, 8 * page as usize) };
        let regions = [region.clone(), region];
        let hole = |region, start, end| Hole {
            region,
            range: DataRange { start: start * page, end: end * page },
        };
        // The first and the last are of other regions.
        let holes = [hole(0, 0, 8), hole(1, 1, 2), hole(1, 3, 6), hole(2, 0, 8)];
        let mut copies = Copies::new().unwrap();
        for cuts in 0..1 << 7 {
            let mut chunks = Vec::new();
            let mut start = 0;
            for end in (1..=8).filter(|end| *end == 8 || cuts >> (end - 1) & 1 != 0) {
                let len = ((end - start) * page) as usize;
                chunks.push(Chunk { region: 1, offset: start * page, len, position: 0 });
                start = end;
            }
            let copy = copies.of_chunks(&regions, &holes, chunks.into_iter()).unwrap();
            assert_eq!(copy.len() as u64, 8 * page);
            for (at, &byte) in copy.iter().enumerate() {
                let is_hole = matches!(at as u64 / page, 1 | 3..6);
                assert_eq!(byte, if is_hole { 0 } else { 7 });
            }
        }
    }

    #[test]
    fn more_parts_than_one_call_takes_are_copied() {
        let region = MemoryRegion::new(&RegionOptions::plain(0, 1 << 20)).unwrap();
        let count = MAX_PARTS as u64 + 300;
        let mut copies = Copies::new().unwrap();
        copies.begin();
        for index in 0..count {
            let start = index * 16;
            // SAFETY: within the region.
            unsafe { volatile::fill(region.host().add(start as usize), index as u8, 1) };
            copies.add(&region, DataRange { start, end: start + 1 }).unwrap();
        }
        let copy = copies.finish().unwrap();
        assert!(copy.iter().copied().eq((0..count).map(|index| index as u8)));
    }
}
