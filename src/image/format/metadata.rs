// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a snapshot says about itself: which regions there are, which ranges of them it holds, and
//! a checksum for each chunk of these. Written here as JSON, read back by [`crate::image::format::parse`].

use crate::error::Result;
use crate::host::text::to_json;
use serde::{Serialize, Serializer};
use std::iter::once;
use std::ops::Range;

/// Bytes that the metadata may have as text.
pub const MAX_TEXT: u64 = 64 << 20;
/// Bytes of a range that one checksum covers: what this library writes, and the most it reads.
pub const CHUNK_SIZE: u64 = 1 << 20;

/// Where the data of a snapshot lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The ranges one after the other.
    Packed,
    /// Every region at its place in a raw image, holes between.
    Sparse,
}

/// A range of a region that the snapshot holds: offsets in the region, page-aligned, not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataRange {
    /// The first byte.
    pub start: u64,
    /// The first byte past it.
    pub end: u64,
}

impl DataRange {
    /// Bytes.
    pub const fn size(self) -> u64 {
        self.end - self.start
    }
}

/// A region as it was when the snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionRecord {
    /// First guest address.
    pub guest_base: u64,
    /// Bytes.
    pub size: u64,
    /// Which of `Metadata::ranges` are its own, ascending and disjoint.
    pub ranges: Range<usize>,
}

/// What a snapshot says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where its data lies.
    pub layout: Layout,
    /// What the bounds of all ranges are multiples of.
    pub page_size: u64,
    /// Bytes that one checksum covers.
    pub chunk_size: u64,
    /// One for each of `chunks`, unless the snapshot has none.
    pub checksums: Option<Vec<u32>>,
    /// In order of their guest addresses.
    pub regions: Vec<RegionRecord>,
    /// Those of all regions, one region after the other.
    pub ranges: Vec<DataRange>,
}

/// A piece of data with a checksum of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Index of its region.
    pub region: usize,
    /// Where in the region it starts.
    pub offset: u64,
    /// Bytes, at most [`CHUNK_SIZE`].
    pub len: usize,
    /// Where in the data it lies.
    pub position: u64,
}

/// Goes through the chunks of a snapshot in the order of their data.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    metadata: &'a Metadata,
    region: usize,
    /// Where the region lies in the data, were that sparse.
    region_start: u64,
    range: usize,
    /// Bytes of the range that are behind us.
    passed: u64,
    /// Bytes of all ranges that are behind us.
    done: u64,
}

impl Chunks<'_> {
    /// Bytes in the chunks that it has gone through.
    pub fn done(&self) -> u64 {
        self.done
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let range = self.metadata.ranges.get(self.range)?;
        while self.range >= self.metadata.regions[self.region].ranges.end {
            // Only a sparse layout was checked for it not to wrap, or uses it.
            let size = self.metadata.regions[self.region].size;
            self.region_start = self.region_start.wrapping_add(size);
            self.region += 1;
        }
        let offset = range.start + self.passed;
        let len = self.metadata.chunk_size.min(range.end - offset);
        let position = match self.metadata.layout {
            Layout::Packed => self.done,
            Layout::Sparse => self.region_start + offset,
        };
        self.passed += len;
        self.done += len;
        if self.passed == range.size() {
            self.range += 1;
            self.passed = 0;
        }
        Some(Chunk { region: self.region, offset, len: len as usize, position })
    }
}

impl Metadata {
    /// The chunks in the order of their data.
    pub fn chunks(&self) -> Chunks<'_> {
        let (region, region_start, range, passed, done) = (0, 0, 0, 0, 0);
        Chunks { metadata: self, region, region_start, range, passed, done }
    }

    /// Bytes of the data, its holes included.
    pub fn extent(&self) -> u64 {
        match self.layout {
            Layout::Packed => self.data_size(),
            Layout::Sparse => self.memory_size(),
        }
    }

    /// Bytes in all regions together. Of a packed layout nobody has checked that they fit.
    pub fn memory_size(&self) -> u64 {
        self.regions.iter().fold(0, |sum, region| sum.wrapping_add(region.size))
    }

    /// Bytes in all ranges together.
    pub fn data_size(&self) -> u64 {
        self.ranges.iter().map(|range| range.size()).sum()
    }

    /// Checksums that `ranges` need.
    pub fn chunk_count(&self) -> u64 {
        self.ranges.iter().map(|range| self.chunks_in(*range)).sum()
    }

    fn chunks_in(&self, range: DataRange) -> u64 {
        range.size().div_ceil(self.chunk_size)
    }

    /// The ranges of one region.
    pub fn ranges_of(&self, region: &RegionRecord) -> &[DataRange] {
        &self.ranges[region.ranges.clone()]
    }

    /// What lies between the ranges of one region, and around them.
    pub fn holes_of(&self, region: &RegionRecord) -> impl Iterator<Item = DataRange> {
        let ranges = self.ranges_of(region);
        let starts = once(0).chain(ranges.iter().map(|range| range.end));
        let ends = ranges.iter().map(|range| range.start).chain(once(region.size));
        starts
            .zip(ends)
            .filter(|(start, end)| start < end)
            .map(|(start, end)| DataRange { start, end })
    }

    /// The metadata as a JSON text.
    pub fn to_text(&self) -> Result<Vec<u8>> {
        to_json(&Document {
            format: "guestmem",
            version: 1,
            layout: self.layout,
            compressed: false,
            page_size: self.page_size,
            data_size: self.data_size(),
            checksum: if self.checksums.is_some() { "crc32c" } else { "none" },
            chunk_size: self.chunk_size,
            regions: Records(self),
        })
    }
}

/// The metadata as it stands in the text.
#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    layout: Layout,
    compressed: bool,
    page_size: u64,
    data_size: u64,
    checksum: &'static str,
    chunk_size: u64,
    regions: Records<'a>,
}

/// The regions of the metadata.
struct Records<'a>(&'a Metadata);

#[derive(Serialize)]
struct Record<'a> {
    guest_base: u64,
    size: u64,
    file_offset: u64,
    data_ranges: Spans<'a>,
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let metadata = self.0;
        let (mut file_offset, mut checksums) = (0, metadata.checksums.as_deref());
        serializer.collect_seq(metadata.regions.iter().map(|region| {
            let ranges = metadata.ranges_of(region);
            let chunks = ranges.iter().map(|range| metadata.chunks_in(*range)).sum();
            let (guest_base, size) = (region.guest_base, region.size);
            let data_ranges =
                Spans { metadata, ranges, checksums: split_off(&mut checksums, chunks) };
            let record = Record { guest_base, size, file_offset, data_ranges };
            file_offset += match metadata.layout {
                Layout::Packed => ranges.iter().map(|range| range.size()).sum(),
                Layout::Sparse => size,
            };
            record
        }))
    }
}

/// The ranges of one region with their checksums.
struct Spans<'a> {
    metadata: &'a Metadata,
    ranges: &'a [DataRange],
    checksums: Option<&'a [u32]>,
}

#[derive(Serialize)]
struct Span<'a> {
    start: u64,
    end: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    crc: Option<&'a [u32]>,
}

impl Serialize for Spans<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut checksums = self.checksums;
        serializer.collect_seq(self.ranges.iter().map(|range| {
            let crc = split_off(&mut checksums, self.metadata.chunks_in(*range));
            Span { start: range.start, end: range.end, crc }
        }))
    }
}

/// Takes the first `count` checksums, if there are any at all.
fn split_off<'a>(checksums: &mut Option<&'a [u32]>, count: u64) -> Option<&'a [u32]> {
    let (own, behind) = (*checksums)?.split_at(count as usize);
    *checksums = Some(behind);
    Some(own)
}

/// Bytes of text that a range takes, with the longest checksums and the comma behind it.
pub fn range_text(range: DataRange, chunk_size: Option<u64>) -> u64 {
    let bounds = "{\"start\":,\"end\":},".len() as u64 + digits(range.start) + digits(range.end);
    match chunk_size {
        // Ten digits and a comma or bracket for each.
        Some(size) => bounds + ",\"crc\":[".len() as u64 + 11 * range.size().div_ceil(size),
        None => bounds,
    }
}

fn digits(number: u64) -> u64 {
    u64::from(number.checked_ilog10().unwrap_or(0)) + 1
}

/// What the tests of other files use.
#[cfg(test)]
pub mod tests;
