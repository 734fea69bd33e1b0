// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! New memory of an image file: read, or mapped copy-on-write.

use super::bounce::Part;
use super::data::DataFile;
use super::image::Image;
use super::metadata::{Chunk, Metadata};
use super::put::Place;
use super::{Progress, batch, holes};
use crate::address::{align_down, next_congruent};
use crate::alloc::vec_of;
use crate::backing::{Backing, BackingFile, FileUse};
use crate::error::{Error, Result};
use crate::handle::Ref;
use crate::memory::GuestMemory;
use crate::proc::page_size;
use crate::region::{MemoryRegion, RegionOptions, Source};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

/// How an image is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Map it instead of reading it.
    pub map: bool,
    /// Check all data of what is mapped.
    pub verify: bool,
    /// The most threads to use; 0: as many as help.
    pub threads: u32,
}

/// Makes a memory of the image at `path`.
pub fn load(path: &CStr, options: LoadOptions, progress: Progress) -> Result<Ref<GuestMemory>> {
    let (fd, metadata) = Image::open(path)?.into_parts();
    if options.verify && metadata.checksums.is_none() {
        return Err(Error::Unsupported("the image has no checksums"));
    }
    let page = page_size();
    if metadata.regions.iter().any(|region| (region.guest_base | region.size) % page != 0) {
        return Err(Error::Unsupported("an image of a system with smaller pages"));
    }
    let data = DataFile::new(fd.as_raw_fd(), 0, &metadata)?;
    let threads = batch::threads(options.threads, metadata.data_size());
    if !options.map {
        return read(&data, threads, progress);
    }
    if options.verify {
        holes::check(&data, &mut *progress)?;
        data.verify(threads, progress)?;
    } else {
        progress(metadata.data_size(), metadata.data_size())?;
    }
    map(&fd, &metadata)
}

fn read(data: &DataFile, threads: usize, progress: Progress) -> Result<Ref<GuestMemory>> {
    let mut options = vec_of(data.metadata.regions.len())?;
    for region in &data.metadata.regions {
        options.push(RegionOptions::plain(region.guest_base, region.size));
    }
    let mem = GuestMemory::new(&options)?;
    let regions = mem.regions()?;
    // Nobody else has seen this memory yet, so it needs no check before the first write.
    let place = Place::empty(&regions);
    let put = |chunk: Chunk, part: Part| place.put(chunk, part);
    data.read(threads, &put, progress)?;
    Ok(mem)
}

/// Maps the image, and private zeros in place of its large holes.
fn map(fd: &OwnedFd, metadata: &Metadata) -> Result<Ref<GuestMemory>> {
    // Each such hole is a mapping more, and takes its time.
    const SMALLEST: u64 = 2 << 20;
    const MOST: u64 = 512;
    let size = metadata.memory_size();
    let large = (size / MOST).max(SMALLEST);
    let file = BackingFile::from_caller(fd.as_raw_fd(), 0, size, FileUse::ReadOnly)?;
    let mut regions = vec_of(metadata.regions.len())?;
    let mut offset = 0;
    for region in &metadata.regions {
        let source = Source::File { fd: file.fd(), offset, private: true };
        let plain = RegionOptions::plain(region.guest_base, region.size);
        let backing = Backing::CopyOnWrite { file: file.clone(), offset };
        let options = RegionOptions { source, ..plain };
        let mapped = MemoryRegion::with_backing(&options, backing)?;
        for hole in metadata.holes_of(region) {
            let start = next_congruent(hole.start, 0, page_size()).unwrap_or(hole.end);
            let size = align_down(hole.end, page_size()).saturating_sub(start);
            // Through the file, each of its pages would take one of the page cache to be read, and
            // one more to be written.
            if size >= large {
                mapped.begin_with_zeros(start, size)?;
            }
        }
        regions.push(mapped);
        offset += region.size;
    }
    GuestMemory::from_regions(regions)
}
