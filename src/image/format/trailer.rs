// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The trailer of an image file: where the metadata lies, and a guard against damage.

use crate::error::{Error, Result};
use crate::image::format::checksum::checksum;
use crate::image::format::metadata::MAX_TEXT;
use std::mem::offset_of;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"GUESTMEM";
const VERSION: u32 = 1;

/// What is no image says so.
pub const NO_IMAGE: Error = Error::Metadata("not an image, or a damaged one");

/// The trailer as it stands in the file.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Trailer {
    magic: [u8; 8],
    version: U32,
    unused: U32,
    /// Where the metadata begins: bytes of all regions together.
    pub offset: U64,
    /// Bytes of the metadata.
    pub len: U64,
    /// Its checksum.
    pub checksum: U32,
    also_unused: [U32; 2],
    /// Checksum of all that stands before.
    guard: U32,
}

/// Bytes of a trailer.
pub const TRAILER_SIZE: usize = size_of::<Trailer>();

impl Trailer {
    /// For metadata that follows `memory_size` bytes of memory.
    pub fn new(memory_size: u64, text: &[u8]) -> Self {
        let trailer = Trailer {
            magic: MAGIC,
            version: VERSION.into(),
            offset: memory_size.into(),
            len: (text.len() as u64).into(),
            checksum: checksum(text).into(),
            ..Trailer::new_zeroed()
        };
        Trailer { guard: trailer.own_checksum().into(), ..trailer }
    }

    /// Checks the trailer of a file of `file_size` bytes.
    pub fn check(&self, file_size: u64) -> Result<()> {
        if self.magic != MAGIC || self.guard != self.own_checksum() {
            return Err(NO_IMAGE);
        }
        if self.version != VERSION {
            return Err(Error::Unsupported("an image of another version"));
        }
        let end = self.offset.get().checked_add(self.len.get());
        let is_whole = end.and_then(|end| end.checked_add(TRAILER_SIZE as u64)) == Some(file_size);
        if !is_whole || self.unused != 0 || self.also_unused != [U32::ZERO; 2] {
            return Err(NO_IMAGE);
        }
        if self.len > MAX_TEXT {
            return Err(Error::Metadata("the metadata is longer than 64 MiB"));
        }
        Ok(())
    }

    fn own_checksum(&self) -> u32 {
        checksum(&self.as_bytes()[..offset_of!(Trailer, guard)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_stands_as_it_is_documented() {
        let trailer = Trailer::new(0x1122_3344_5566_7000, &[b'x'; 0x99]);
        let bytes = trailer.as_bytes();
        assert_eq!(bytes.len(), 48);
        assert_eq!(&bytes[..16], b"GUESTMEM\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..24], [0x00, 0x70, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        assert_eq!(bytes[24..32], [0x99, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[32..36], checksum(&[b'x'; 0x99]).to_le_bytes());
        assert_eq!(bytes[36..44], [0; 8]);
        assert_eq!(bytes[44..], checksum(&bytes[..44]).to_le_bytes());
        let size = 0x1122_3344_5566_7000 + 0x99 + 48;
        assert_eq!(trailer.check(size), Ok(()));
        assert_eq!(trailer.check(size + 1), Err(NO_IMAGE));
    }

    #[test]
    fn every_flipped_bit_of_a_trailer_is_found() {
        for bit in 0..8 * TRAILER_SIZE {
            let mut flipped = Trailer::new(4096, b"metadata");
            flipped.as_mut_bytes()[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(flipped.check(4096 + 8 + 48), Err(NO_IMAGE), "{bit}");
        }
    }

    #[test]
    fn well_guarded_nonsense_is_refused() {
        let guarded = |change: &dyn Fn(&mut [u8])| {
            let mut trailer = Trailer::new(4096, b"metadata");
            change(trailer.as_mut_bytes());
            trailer.guard = trailer.own_checksum().into();
            trailer.check(4096 + 8 + 48)
        };
        assert!(guarded(&|_| ()).is_ok());
        assert!(matches!(guarded(&|bytes| bytes[8] = 2), Err(Error::Unsupported(_))));
        for at in [0, 7, 12, 15, 16, 23, 24, 31, 36, 40, 43] {
            assert_eq!(guarded(&|bytes| bytes[at] ^= 0x80), Err(NO_IMAGE), "{at}");
        }
        let wraps = |bytes: &mut [u8]| bytes[16..24].fill(0xff);
        assert_eq!(guarded(&wraps), Err(NO_IMAGE));
    }
}
