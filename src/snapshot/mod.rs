// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory images: finding what holds data, writing it, bringing it back.
//!
//! - [`extents`], [`zeros`]: which parts of a region hold data, and which of these only zeros.
//! - [`metadata`], [`parse`]: what a snapshot says about itself, written and read.
//! - [`fold`]: keeping the metadata within its limit.
//! - [`checksum`]: the data's checksums.
//! - `claimed`: keeping snapshots and restores of the same regions from each other.
//! - [`batch`]: sharing the data out among threads.
//! - [`packed`], [`gather`]: giving the data to a function, and to a descriptor.
//! - [`output`], `busy`: files as they are to be written, and those that are not.
//! - [`bounce`], [`copies`]: bytes from and to guest memory, by way of private memory.
//! - [`data`], `direct`: reading the data of a file or stream against them.
//! - [`restore`], [`put`], [`clear`]: putting data back, and holes where there is none.
//! - [`image`], [`save`], [`replace`], [`load`], [`map`], [`holes`]: image files.

pub mod batch;
pub mod bounce;
mod busy;
pub mod checksum;
mod claimed;
pub mod clear;
pub mod copies;
pub mod data;
mod direct;
pub mod extents;
pub mod fold;
pub mod gather;
pub mod holes;
pub mod image;
pub mod load;
pub mod map;
pub mod metadata;
pub mod output;
pub mod packed;
pub mod parse;
pub mod put;
pub mod replace;
pub mod restore;
pub mod save;
pub mod zeros;

use crate::alloc::vec_of;
use crate::error::{Error, Result};
use crate::file;
use crate::handle::Ref;
use crate::memory::GuestMemory;
use crate::proc::page_size;
use crate::region::MemoryRegion;
use busy::{Mapped, Target, refuse_backing};
use checksum::Write;
use claimed::{Claimed, Work};
use fold::Hole;
use metadata::{CHUNK_SIZE, Layout, MAX_TEXT, Metadata, RegionRecord};
use output::{Output, sync};
use std::os::fd::RawFd;

/// Told how many bytes of how many are done; its failure stops the work.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> Result<()>;

/// How a snapshot is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// How the data is laid out.
    pub layout: Layout,
    /// With a checksum for each chunk.
    pub checksums: bool,
    /// Leave out pages that are there but hold only zeros.
    pub skip_zero_pages: bool,
    /// Have the data on its disk at the end.
    pub sync: bool,
    /// Write past the page cache.
    pub direct: bool,
    /// The most threads to use; 0: as many as help.
    pub threads: u32,
}

/// The regions of a memory, in order.
pub type Regions<'a> = &'a [Ref<MemoryRegion>];

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
fn write(
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

/// The regions of `mem`, unless what they hold is half of something, or about to be.
fn whole_regions(mem: &GuestMemory) -> Result<Claimed> {
    let regions = Claimed::new(mem.regions()?, Work::Snapshot)?;
    if regions.iter().any(|region| region.is_tainted()) {
        return Err(Error::Tainted);
    }
    Ok(regions)
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

/// Bytes of all regions together.
fn memory_size(regions: Regions) -> u64 {
    regions.iter().map(|region| region.range().size()).sum()
}

fn stat(fd: RawFd) -> Result<libc::stat> {
    file::stat(fd).map_err(Error::io)
}

#[cfg(test)]
mod tests;
