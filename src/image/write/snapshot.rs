// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Taking a snapshot: what it is to hold, and writing it to a descriptor or a function.

use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::host::handle::Ref;
use crate::host::system::page_size;
use crate::image::batch;
use crate::image::claimed::whole_regions;
use crate::image::find::{extents, zeros};
use crate::image::format::checksum::Write;
use crate::image::format::metadata::{CHUNK_SIZE, Layout, MAX_TEXT, Metadata, RegionRecord};
use crate::image::pieces::Hole;
use crate::image::progress::Progress;
use crate::image::regions::{Regions, memory_size};
use crate::image::write::busy::{Mapped, Target, refuse_backing};
use crate::image::write::fold;
use crate::image::write::options::SnapshotOptions;
use crate::image::write::output::{Output, sync};
use crate::image::write::{gather, packed};
use crate::memory::guest::GuestMemory;
use crate::memory::region::MemoryRegion;
use std::os::fd::RawFd;

/// Writes the data of `mem` to `fd`: packed from its position on, which moves; sparse at absolute
/// offsets. Gives the metadata.
pub fn snapshot_to_fd(
    mem: &GuestMemory,
    fd: RawFd,
    options: SnapshotOptions,
    progress: Progress,
) -> Result<Vec<u8>> {
    let regions = whole_regions(mem)?;
    refuse_backing(&regions, &Target::new(fd)?, Mapped::Any)?;
    if options.sync {
        // What cannot be synced is refused before it is written.
        sync(fd, 0)?;
    }
    let target = Output::new(fd, options)?;
    let metadata = write(&regions, &target, options, progress)?;
    target.finish(&metadata)?;
    if options.sync {
        sync(fd, metadata.data_size())?;
    }
    metadata.to_text()
}

/// Gives the data of `mem` to `give`. Gives the metadata.
pub fn snapshot_to(
    mem: &GuestMemory,
    give: Write,
    options: SnapshotOptions,
    progress: Progress,
) -> Result<Vec<u8>> {
    if options.sync || options.direct || options.layout == Layout::Sparse {
        return Err(Error::Unsupported("only a file can be synced, written directly or sparse"));
    }
    let regions = whole_regions(mem)?;
    let (mut metadata, holes) = plan(&regions, options)?;
    packed::write(&mut metadata, &holes, &regions, give, progress)?;
    metadata.to_text()
}

/// Writes the data of `regions`. Gives what there is to say about it.
pub fn write(
    regions: Regions,
    output: &Output,
    options: SnapshotOptions,
    progress: Progress,
) -> Result<Metadata> {
    let (mut metadata, holes) = plan(regions, options)?;
    let target = output.prepare(&metadata)?;
    let threads = batch::threads(options.threads, metadata.data_size());
    gather::write(&mut metadata, &holes, regions, target, threads, progress)?;
    output.empty_cache(&metadata)?;
    Ok(metadata)
}

/// Finds what a snapshot is to hold, and which holes have to become data.
fn plan(regions: Regions, options: SnapshotOptions) -> Result<(Metadata, Vec<Hole>)> {
    let mut metadata = survey(regions, options)?;
    let holes = fold::fold(&mut metadata, MAX_TEXT)?;
    Ok((metadata, holes))
}

/// Everything about a snapshot of `regions` but the checksums.
fn survey(regions: &[Ref<MemoryRegion>], options: SnapshotOptions) -> Result<Metadata> {
    let mut records = vec_of(regions.len())?;
    let mut ranges = Vec::new();
    let threads = batch::threads(options.threads, memory_size(regions));
    let mut found = extents::find(regions, threads)?;
    if options.skip_zero_pages {
        found = zeros::drop_zero_pages(regions, &found, threads)?;
    }
    for (region, found) in regions.iter().zip(found) {
        let first = ranges.len();
        ranges.try_reserve(found.len()).map_err(|_| Error::NoMemory("the ranges of a snapshot"))?;
        ranges.extend_from_slice(&found);
        let (guest_base, size) = (region.range().start(), region.range().size());
        records.push(RegionRecord { guest_base, size, ranges: first..ranges.len() });
    }
    Ok(Metadata {
        layout: options.layout,
        page_size: page_size(),
        chunk_size: CHUNK_SIZE,
        checksums: options.checksums.then(Vec::new),
        regions: records,
        ranges,
    })
}

#[cfg(test)]
mod tests;
