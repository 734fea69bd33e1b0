// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Opening an image file: everything but its data is checked.

use crate::address::is_aligned;
use crate::error::{Error, Result};
use crate::host::alloc::zeros;
use crate::host::file;
use crate::image::format::checksum::checksum;
use crate::image::format::metadata::{Layout, Metadata};
use crate::image::format::parse;
use crate::image::format::trailer::{NO_IMAGE, TRAILER_SIZE, Trailer};
use crate::image::regions::stat;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};
use zerocopy::{FromZeros, IntoBytes};

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
        let mut trailer = Trailer::new_zeroed();
        read_exact(&fd, trailer_at, trailer.as_mut_bytes())?;
        trailer.check(size)?;
        let mut text = zeros(trailer.len.get() as usize)?;
        read_exact(&fd, trailer.offset.get(), &mut text)?;
        if trailer.checksum != checksum(&text) {
            return Err(NO_IMAGE);
        }
        let metadata = parse::parse(&text)?;
        if metadata.layout != Layout::Sparse || trailer.offset != metadata.memory_size() {
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
