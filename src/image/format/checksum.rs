// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! CRC-32C over the chunks of a snapshot.
//!
//! Guest memory may change while it is looked at, and a stream cannot be read twice. So a checksum
//! is always that of a private copy. The very same copy is put into guest memory, or given to a
//! function; what is written straight from guest memory while that changes is found damaged.

use crate::error::Result;
use crate::host::alloc::zeros;
use crate::image::format::metadata::CHUNK_SIZE;

/// Takes bytes: how many of them, at least one, or an errno.
pub type Write<'a> = &'a mut dyn FnMut(&[u8]) -> std::result::Result<usize, i32>;

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
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
