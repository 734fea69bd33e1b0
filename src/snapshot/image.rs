// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The format of image files: a raw image of all regions, the metadata, and a trailer that says
//! where that is and guards it.

use super::checksum::checksum;
use super::metadata::{Layout, MAX_TEXT, Metadata};
use super::{parse, stat};
use crate::address::is_aligned;
use crate::alloc::zeros;
use crate::error::{Error, Result};
use crate::file;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

/// Bytes of a trailer.
pub const TRAILER_SIZE: usize = 48;
const MAGIC: [u8; 8] = *b"GUESTMEM";
const VERSION: u32 = 1;

const NO_IMAGE: Error = Error::Metadata("not an image, or a damaged one");

/// What the trailer says of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the metadata begins: bytes of all regions together.
    pub offset: u64,
    /// Bytes of the metadata.
    pub len: u64,
    /// Its checksum.
    pub checksum: u32,
}

impl Trailer {
    /// For metadata that follows `memory_size` bytes of memory.
    pub fn new(memory_size: u64, text: &[u8]) -> Self {
        Trailer { offset: memory_size, len: text.len() as u64, checksum: checksum(text) }
    }

    /// The trailer as it stands in the file.
    pub fn to_bytes(self) -> [u8; TRAILER_SIZE] {
        let mut bytes = [0; TRAILER_SIZE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.len.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.checksum.to_le_bytes());
        let guard = checksum(&bytes[..44]);
        bytes[44..].copy_from_slice(&guard.to_le_bytes());
        bytes
    }

    /// Reads the trailer of a file of `file_size` bytes.
    fn parse(bytes: &[u8; TRAILER_SIZE], file_size: u64) -> Result<Self> {
        let u32_at = |at: usize| bytes[at..at + 4].iter().rev().fold(0, |n, b| n << 8 | *b as u32);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[..8] != MAGIC || u32_at(44) != checksum(&bytes[..44]) {
            return Err(NO_IMAGE);
        }
        if u32_at(8) != VERSION {
            return Err(Error::Unsupported("an image of another version"));
        }
        let trailer = Trailer { offset: u64_at(16), len: u64_at(24), checksum: u32_at(32) };
        let end = trailer.offset.checked_add(trailer.len);
        let is_whole = end.and_then(|end| end.checked_add(TRAILER_SIZE as u64)) == Some(file_size);
        let unused = [12, 36, 40].map(u32_at);
        if !is_whole || unused != [0; 3] {
            return Err(NO_IMAGE);
        }
        if trailer.len > MAX_TEXT {
            return Err(Error::Metadata("the metadata is longer than 64 MiB"));
        }
        Ok(trailer)
    }
}

/// An image file that is open, its metadata checked.
#[derive(Debug)]
pub struct Image {
    fd: OwnedFd,
    text: Vec<u8>,
    metadata: Metadata,
}

impl Image {
    /// Opens an image, and checks everything but its data.
    pub fn open(path: &CStr) -> Result<Self> {
        let fd = file::open_regular(libc::AT_FDCWD, path, libc::O_RDONLY)
            .map_err(|errno| Error::from_os("open", errno))?
            .ok_or(NO_IMAGE)?;
        let size = stat(fd.as_raw_fd())?.st_size as u64;
        let trailer_at = size.checked_sub(TRAILER_SIZE as u64).ok_or(NO_IMAGE)?;
        let mut bytes = [0; TRAILER_SIZE];
        read_exact(&fd, trailer_at, &mut bytes)?;
        let trailer = Trailer::parse(&bytes, size)?;
        let mut text = zeros(trailer.len as usize)?;
        read_exact(&fd, trailer.offset, &mut text)?;
        if checksum(&text) != trailer.checksum {
            return Err(NO_IMAGE);
        }
        let metadata = parse::parse(&text)?;
        if metadata.layout != Layout::Sparse || metadata.memory_size() != trailer.offset {
            return Err(Error::Metadata("the metadata is not that of the image"));
        }
        check_regions(&metadata)?;
        Ok(Image { fd, text, metadata })
    }

    /// The metadata as it stands in the file.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The file, and the metadata.
    pub fn into_parts(self) -> (OwnedFd, Metadata) {
        (self.fd, self.metadata)
    }
}

/// Checks that the regions could be those of a memory.
fn check_regions(metadata: &Metadata) -> Result<()> {
    let mut reached = 0;
    for region in &metadata.regions {
        let base = region.guest_base;
        let is_sound = is_aligned(base, metadata.page_size) && region.size > 0 && base >= reached;
        let end = base.checked_add(region.size).filter(|_| is_sound);
        reached = end.ok_or(Error::Metadata("these regions make no memory"))?;
    }
    Ok(())
}

fn read_exact(fd: &OwnedFd, offset: u64, to: &mut [u8]) -> Result<()> {
    match file::pread_all(fd.as_raw_fd(), to, offset) {
        (got, _) if got == to.len() => Ok(()),
        // Somebody has just shortened it.
        (_, None) => Err(NO_IMAGE),
        (_, Some(errno)) => Err(Error::io(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_stands_as_it_is_documented() {
        let trailer = Trailer { offset: 0x1122_3344_5566_7000, len: 0x99, checksum: 0xdead_beef };
        let bytes = trailer.to_bytes();
        assert_eq!(&bytes[..16], b"GUESTMEM\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..24], [0x00, 0x70, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        assert_eq!(bytes[24..36], [0x99, 0, 0, 0, 0, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde]);
        assert_eq!(bytes[36..44], [0; 8]);
        assert_eq!(bytes[44..], checksum(&bytes[..44]).to_le_bytes());
        let size = trailer.offset + trailer.len + 48;
        assert_eq!(Trailer::parse(&bytes, size), Ok(trailer));
        assert_eq!(Trailer::parse(&bytes, size + 1), Err(NO_IMAGE));
    }

    #[test]
    fn every_flipped_bit_of_a_trailer_is_found() {
        let bytes = Trailer::new(4096, b"metadata").to_bytes();
        for bit in 0..8 * TRAILER_SIZE {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::parse(&flipped, 4096 + 8 + 48), Err(NO_IMAGE), "{bit}");
        }
    }

    #[test]
    fn well_guarded_nonsense_is_refused() {
        let guarded = |change: &dyn Fn(&mut [u8; TRAILER_SIZE])| {
            let mut bytes = Trailer::new(4096, b"metadata").to_bytes();
            change(&mut bytes);
            let guard = checksum(&bytes[..44]);
            bytes[44..].copy_from_slice(&guard.to_le_bytes());
            Trailer::parse(&bytes, 4096 + 8 + 48)
        };
        assert!(guarded(&|_| ()).is_ok());
        assert!(matches!(guarded(&|bytes| bytes[8] = 2), Err(Error::Unsupported(_))));
        for at in [0, 7, 12, 15, 16, 23, 24, 31, 36, 40, 43] {
            assert_eq!(guarded(&|bytes| bytes[at] ^= 0x80), Err(NO_IMAGE), "{at}");
        }
        let wraps = |bytes: &mut [u8; TRAILER_SIZE]| bytes[16..24].fill(0xff);
        assert_eq!(guarded(&wraps), Err(NO_IMAGE));
    }
}
