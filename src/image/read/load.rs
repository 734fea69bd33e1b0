// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! New memory of an image file: read, or mapped copy-on-write.

use crate::access::bounce::Part;
use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::host::handle::Ref;
use crate::host::system::page_size;
use crate::image::batch;
use crate::image::format::metadata::Chunk;
use crate::image::progress::Progress;
use crate::image::read::data::DataFile;
use crate::image::read::open::Image;
use crate::image::read::put::Place;
use crate::image::read::{holes, map};
use crate::memory::guest::GuestMemory;
use crate::memory::options::RegionOptions;
use std::ffi::CStr;
use std::os::fd::AsRawFd;

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
    map::map(&fd, &metadata)
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
