// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! CRC-32C over the chunks of a snapshot.
//!
//! Guest memory may change while it is looked at, and a stream cannot be read twice. So a checksum
//! is always that of a private copy. The very same copy is put into guest memory, or given to a
//! function; what is written straight from guest memory while that changes is found damaged.

use super::fold::Piece;
use super::metadata::{CHUNK_SIZE, Chunk, Metadata};
use crate::alloc::vec_of;
use crate::error::{Error, Result};
use crate::region::MemoryRegion;
use crate::volatile;

/// Takes bytes: how many of them, at least one, or an errno.
pub type Write<'a> = &'a mut dyn FnMut(&[u8]) -> std::result::Result<usize, i32>;
/// Gives bytes: how many, 0 at the end, or an errno.
pub type Read<'a> = &'a mut dyn FnMut(&mut [u8]) -> std::result::Result<usize, i32>;

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The checksum of a chunk in guest memory, which is cut into `pieces`. Guest memory may change
/// while it is looked at, so every byte is copied to the `buffer` once.
pub fn checksum_of_guest(
    region: &MemoryRegion,
    pieces: impl Iterator<Item = Piece>,
    buffer: &mut [u8],
) -> u32 {
    // So much stays in the nearest cache.
    const AT_ONCE: usize = 16 << 10;
    let mut sum = 0;
    for piece in pieces {
        for start in (piece.range.start..piece.range.end).step_by(AT_ONCE) {
            let part = &mut buffer[..AT_ONCE.min((piece.range.end - start) as usize)];
            if piece.is_hole {
                part.fill(0);
            } else {
                // SAFETY: the piece lies within the region, whose mapping lives as long as it.
                unsafe {
                    let from = region.host().add(start as usize);
                    volatile::copy_from_guest(part.as_mut_ptr(), from, part.len());
                }
            }
            sum = crc32c::crc32c_append(sum, part);
        }
    }
    sum
}

/// Private memory for one chunk, or for several small ones.
pub fn chunk_buffer() -> Result<Vec<u8>> {
    let mut buffer = vec_of(CHUNK_SIZE as usize)?;
    buffer.resize(CHUNK_SIZE as usize, 0);
    Ok(buffer)
}

/// Reads the data of a snapshot, no byte more, and gives each chunk to `each` once its checksum is
/// found right. `after` is told how many bytes are done, from time to time and at the end of all.
///
/// Chunks before the one that fails have been given away. Small ones are read together.
pub fn read_chunks(
    metadata: &Metadata,
    read: Read,
    mut each: impl FnMut(Chunk, &[u8]) -> Result<()>,
    mut after: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    let mut buffer = chunk_buffer()?;
    let mut chunks = metadata.chunks();
    let mut checksums = metadata.checksums.as_deref().map(|checksums| checksums.iter());
    let mut done = 0;
    loop {
        let batch = batch_size(chunks.clone());
        if batch == 0 {
            return Ok(());
        }
        let (got, end) = fill(read, &mut buffer[..batch]);
        let mut rest = &buffer[..got];
        let mut left = batch;
        while left > 0 {
            let chunk = chunks.next().ok_or(Error::Internal("a batch without chunks"))?;
            let Some((bytes, behind)) = rest.split_at_checked(chunk.len) else {
                let completed = done + rest.len() as u64;
                return Err(match end {
                    Ok(()) => Error::SnapshotShort { completed },
                    Err(errno) => Error::Io { errno, completed },
                });
            };
            if let Some(expected) = checksums.as_mut().map(Iterator::next)
                && expected != Some(&checksum(bytes))
            {
                return Err(Error::Corrupt { completed: done });
            }
            each(chunk, bytes)?;
            done += chunk.len as u64;
            (rest, left) = (behind, left - chunk.len);
        }
        after(done)?;
    }
}

/// Bytes of the next chunks that fit the buffer together.
fn batch_size(chunks: impl Iterator<Item = Chunk>) -> usize {
    let mut size = 0;
    for chunk in chunks {
        if size + chunk.len > CHUNK_SIZE as usize {
            break;
        }
        size += chunk.len;
    }
    size
}

/// Reads until the buffer is full. Gives the bytes read, and what made them fewer: the end, or an
/// errno.
fn fill(read: Read, buffer: &mut [u8]) -> (usize, std::result::Result<(), i32>) {
    let mut got = 0;
    while got < buffer.len() {
        match read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(count) if count <= buffer.len() - got => got += count,
            Ok(_) => return (got, Err(libc::EIO)),
            Err(errno) => return (got, Err(errno)),
        }
    }
    (got, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::super::metadata::tests::sample;
    use super::*;

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
        let each = |chunk: Chunk, bytes: &[u8]| {
            assert_eq!(chunk.len, bytes.len());
            seen.extend_from_slice(bytes);
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
    fn the_checksum_is_the_known_one() {
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
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
