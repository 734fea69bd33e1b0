// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Reading the data of a snapshot: from a file in any order and on several threads, from a stream as it
//! comes. What is given away was checked: it is a private copy, which nobody changes any more.

use crate::access::bounce::{Bounce, Part};
use crate::error::{Error, Result};
use crate::host::file::{Read, fill, pread_all};
use crate::image::batch;
use crate::image::batch::Batch;
use crate::image::format::checksum::checksum;
use crate::image::format::metadata::{Chunk, Metadata};
use crate::image::progress::Progress;
use crate::image::read::direct;
use std::os::fd::RawFd;

/// A file that holds the data of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct DataFile<'a> {
    /// The file.
    pub fd: RawFd,
    /// Where in the file the data begins.
    pub start: u64,
    /// What the data is.
    pub metadata: &'a Metadata,
    /// Size of the blocks in which it has to be read.
    block: Option<u64>,
}

impl<'a> DataFile<'a> {
    /// The data that `metadata` tells of, from `start` on.
    pub fn new(fd: RawFd, start: u64, metadata: &'a Metadata) -> Result<Self> {
        Ok(DataFile { fd, start, metadata, block: direct::block(fd)? })
    }

    /// Gives every chunk to `each` once its checksum is found right, on as many threads.
    pub fn read(
        &self,
        threads: usize,
        each: &(dyn Fn(Chunk, Part) -> Result<()> + Sync),
        progress: Progress,
    ) -> Result<()> {
        let work = |batch: Batch, bounce: &mut Bounce| {
            let bytes = &mut bounce.bytes_mut()[..batch.size];
            let (got, failure) = self.fill(batch.chunks.clone(), bytes);
            check(self.metadata, batch, Part::new(bounce, 0, got), failure, each)
        };
        batch::each(self.metadata, threads, &work, progress)
    }

    /// Checks all checksums.
    pub fn verify(&self, threads: usize, progress: Progress) -> Result<()> {
        self.read(threads, &|_, _| Ok(()), progress)
    }

    /// Reads chunks into `buffer`, those that follow each other in the file together. Gives how
    /// many bytes were read, and why they are not all: the end of the file, or an errno.
    fn fill(&self, chunks: impl Iterator<Item = Chunk>, buffer: &mut [u8]) -> (usize, Option<i32>) {
        let mut chunks = chunks.peekable();
        let mut got = 0;
        while let Some(first) = chunks.next() {
            let mut size = first.len;
            let follows = |next: &Chunk, size| next.position == first.position + size as u64;
            while let Some(next) = chunks.next_if(|next| follows(next, size)) {
                size += next.len;
            }
            let at = self.start + first.position;
            let to = &mut buffer[got..got + size];
            let (read, failure) = match self.block {
                None => pread_all(self.fd, to, at),
                Some(block) => direct::pread_all(self.fd, to, at, block),
            };
            got += read;
            if read < size {
                return (got, failure);
            }
        }
        (got, None)
    }
}

/// Reads the data of a snapshot from a stream, no byte more, and gives each chunk to `each` once its
/// checksum is found right. `after` is told how many bytes are done, from time to time and at the
/// end of all.
///
/// Chunks before the one that fails have been given away. Small ones are read together.
pub fn read_chunks(
    metadata: &Metadata,
    read: Read,
    mut each: impl FnMut(Chunk, Part) -> Result<()>,
    mut after: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    let mut bounce = Bounce::new()?;
    let (mut chunks, mut taken) = (metadata.chunks(), 0);
    loop {
        let batch = Batch::take_from(&mut chunks, taken);
        if batch.count == 0 {
            return Ok(());
        }
        taken += batch.count;
        let (got, failure) = fill(read, &mut bounce.bytes_mut()[..batch.size]);
        check(metadata, batch, Part::new(&bounce, 0, got), failure, &mut each)?;
        after(chunks.done())?;
    }
}

/// Gives the chunks in `read` away, which end too early with a `failure` or at the data's end.
fn check(
    metadata: &Metadata,
    batch: Batch,
    read: Part,
    failure: Option<i32>,
    mut each: impl FnMut(Chunk, Part) -> Result<()>,
) -> Result<()> {
    let sums = metadata.checksums.as_deref();
    let mut sums = sums.map(|sums| sums[batch.first..].iter());
    let (bytes, mut rest) = (read.bytes(), read.bytes());
    for chunk in batch.chunks {
        let at = bytes.len() - rest.len();
        let done = batch.before + at as u64;
        let Some((own, behind)) = rest.split_at_checked(chunk.len) else {
            let completed = done + rest.len() as u64;
            return Err(match failure {
                None => Error::SnapshotShort { completed },
                Some(errno) => Error::Io { errno, completed },
            });
        };
        if sums.as_mut().is_some_and(|sums| sums.next() != Some(&checksum(own))) {
            return Err(Error::Corrupt { completed: done });
        }
        each(chunk, read.part(at, chunk.len)).map_err(|error| error.after(done))?;
        rest = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::format::metadata::tests::sample;

    /// Data for the sample and its checksums, which are not those of the sample.
    fn with_data() -> (Metadata, Vec<u8>) {
        let mut metadata = sample(true);
        let data: Vec<u8> = (0..metadata.data_size()).map(|at| ((at * 31) >> 3) as u8).collect();
        let mut at = 0;
        let sums = metadata.chunks().map(|chunk| {
            at += chunk.len;
            checksum(&data[at - chunk.len..at])
        });
        metadata.checksums = Some(sums.collect());
        (metadata, data)
    }

    fn read_all(metadata: &Metadata, data: &[u8], at_once: usize) -> (Result<()>, Vec<u8>, u64) {
        let (mut rest, mut seen, mut last) = (data, Vec::new(), 0);
        let mut read = |buffer: &mut [u8]| {
            let count = buffer.len().min(at_once).min(rest.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok(count)
        };
        let each = |chunk: Chunk, part: Part| {
            assert_eq!(chunk.len, part.bytes().len());
            seen.extend_from_slice(part.bytes());
            Ok(())
        };
        let after = |done| {
            assert!(done > last);
            last = done;
            Ok(())
        };
        (read_chunks(metadata, &mut read, each, after), seen, last)
    }

    #[test]
    fn all_data_comes_however_it_is_cut() {
        let (metadata, data) = with_data();
        for at_once in [usize::MAX, 4096, 4095, 70_001] {
            let (result, seen, last) = read_all(&metadata, &data, at_once);
            assert_eq!((result, last), (Ok(()), data.len() as u64));
            assert!(seen == data);
        }
    }

    #[test]
    fn whole_chunks_before_the_end_are_given() {
        let (metadata, data) = with_data();
        // The bounds of the chunks: 1, 257, 260, 261 and 263 pages.
        for (pages, whole) in [(0, 0), (1, 1), (100, 1), (257, 257), (259, 257), (262, 261)] {
            let (result, seen, _) = read_all(&metadata, &data[..pages * 4096], 1 << 20);
            let completed = whole as u64 * 4096;
            match result {
                Err(Error::SnapshotShort { completed: got }) => {
                    assert_eq!(got, pages as u64 * 4096)
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(seen.len() as u64, completed);
        }
    }

    #[test]
    fn a_flipped_bit_is_found_and_what_comes_before_is_given() {
        let (metadata, mut data) = with_data();
        for (at, before) in [(0, 0), (4096, 1), (100 * 4096, 1), (260 * 4096 + 17, 260)] {
            data[at] ^= 0x10;
            let (result, seen, _) = read_all(&metadata, &data, 1 << 20);
            assert_eq!(result, Err(Error::Corrupt { completed: before * 4096 }));
            assert_eq!(seen.len() as u64, before * 4096);
            data[at] ^= 0x10;
        }
        let unchecked = Metadata { checksums: None, ..metadata };
        data[0] ^= 1;
        assert_eq!(read_all(&unchecked, &data, 1 << 20).0, Ok(()));
    }

    #[test]
    fn a_failing_reader_is_told_from_the_end() {
        let (metadata, data) = with_data();
        for (answer, errno) in [(Err(libc::EAGAIN), libc::EAGAIN), (Ok(usize::MAX), libc::EIO)] {
            let mut calls = 0;
            let mut read = |buffer: &mut [u8]| {
                calls += 1;
                buffer[..4096].copy_from_slice(&data[..4096]);
                if calls == 1 { Ok(4096) } else { answer }
            };
            let result = read_chunks(&metadata, &mut read, |_, _| Ok(()), |_| Ok(()));
            assert_eq!(result, Err(Error::Io { errno, completed: 4096 }));
        }
    }
}
