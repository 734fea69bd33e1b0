// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! CRC-32C over the chunks of a snapshot.
//!
//! Guest memory may change while it is looked at, and a stream cannot be read twice. So a checksum
//! is always that of a private copy. The very same copy is put into guest memory, or given to a
//! function; what is written straight from guest memory while that changes is found damaged.

use super::fold::Piece;
use super::metadata::CHUNK_SIZE;
use crate::alloc::zeros;
use crate::error::Result;
use crate::region::MemoryRegion;

/// Takes bytes: how many of them, at least one, or an errno.
pub type Write<'a> = &'a mut dyn FnMut(&[u8]) -> std::result::Result<usize, i32>;

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
            piece.copy_out(region, start, part);
            sum = crc32c::crc32c_append(sum, part);
        }
    }
    sum
}

/// Private memory for one chunk, or for several small ones.
pub fn chunk_buffer() -> Result<Vec<u8>> {
    zeros(CHUNK_SIZE as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
    }
}
