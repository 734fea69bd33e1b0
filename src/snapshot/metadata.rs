// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a snapshot says about itself: which regions there are, which ranges of them it holds, and
//! a checksum for each chunk of these. Written here as JSON, read back by [`super::parse`].

use crate::alloc::Text;
use crate::error::{Error, Result};
use std::io::Write;
use std::ops::Range;

/// Bytes that the metadata may have as text.
pub const MAX_TEXT: u64 = 64 << 20;
/// Bytes of a range that one checksum covers: what this library writes, and the most it reads.
pub const CHUNK_SIZE: u64 = 1 << 20;

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
}

/// Goes through the chunks of a snapshot in the order of their data.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    metadata: &'a Metadata,
    region: usize,
    range: usize,
    /// Bytes of the range that are behind us.
    passed: u64,
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let range = self.metadata.ranges.get(self.range)?;
        while self.range >= self.metadata.regions[self.region].ranges.end {
            self.region += 1;
        }
        let offset = range.start + self.passed;
        let len = self.metadata.chunk_size.min(range.end - offset);
        self.passed += len;
        if self.passed == range.size() {
            self.range += 1;
            self.passed = 0;
        }
        Some(Chunk { region: self.region, offset, len: len as usize })
    }
}

impl Metadata {
    /// The chunks in the order of their data.
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { metadata: self, region: 0, range: 0, passed: 0 }
    }

    /// Bytes in all ranges together.
    pub fn data_size(&self) -> u64 {
        self.ranges.iter().map(|range| range.size()).sum()
    }

    /// Checksums that `ranges` need.
    pub fn chunk_count(&self) -> u64 {
        self.ranges.iter().map(|range| range.size().div_ceil(self.chunk_size)).sum()
    }

    /// The ranges of one region.
    pub fn ranges_of(&self, region: &RegionRecord) -> &[DataRange] {
        &self.ranges[region.ranges.clone()]
    }

    /// The metadata as a JSON text.
    pub fn to_text(&self) -> Result<Vec<u8>> {
        let mut text = Text::default();
        self.write(&mut text).map_err(|_| Error::NoMemory("the snapshot's metadata"))?;
        Ok(text.into_bytes())
    }

    fn write(&self, text: &mut Text) -> std::io::Result<()> {
        write!(
            text,
            "{{\"format\":\"guestmem\",\"version\":1,\"layout\":\"packed\",\"compressed\":false,\
             \"page_size\":{},\"data_size\":{},\"checksum\":\"{}\",\"chunk_size\":{},\"regions\":[",
            self.page_size,
            self.data_size(),
            if self.checksums.is_some() { "crc32c" } else { "none" },
            self.chunk_size,
        )?;
        let mut checksums = self.checksums.as_deref();
        let mut file_offset = 0;
        for (index, region) in self.regions.iter().enumerate() {
            let (base, size) = (region.guest_base, region.size);
            write!(text, "{}{{\"guest_base\":{base},\"size\":{size},", comma(index))?;
            write!(text, "\"file_offset\":{file_offset},\"data_ranges\":[")?;
            for (index, range) in self.ranges_of(region).iter().enumerate() {
                text.write_all(comma(index).as_bytes())?;
                self.write_range(text, *range, &mut checksums)?;
                file_offset += range.size();
            }
            write!(text, "]}}")?;
        }
        write!(text, "]}}")
    }

    /// Writes one range with its checksums, which are taken off the front.
    fn write_range(
        &self,
        text: &mut Text,
        range: DataRange,
        checksums: &mut Option<&[u32]>,
    ) -> std::io::Result<()> {
        write!(text, "{{\"start\":{},\"end\":{}", range.start, range.end)?;
        if let Some(rest) = checksums {
            let (own, behind) = rest.split_at(range.size().div_ceil(self.chunk_size) as usize);
            *rest = behind;
            write!(text, ",\"crc\":[")?;
            for (index, checksum) in own.iter().enumerate() {
                write!(text, "{}{checksum}", comma(index))?;
            }
            write!(text, "]")?;
        }
        write!(text, "}}")
    }
}

fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    /// Three regions: data at both ends and more than a chunk, none, all.
    pub fn sample(checksummed: bool) -> Metadata {
        let range = |start, end| DataRange { start: start * PAGE, end: end * PAGE };
        let ranges = vec![range(0, 1), range(3, 262), range(1023, 1024), range(0, 2)];
        let region =
            |guest_base, pages, ranges| RegionRecord { guest_base, size: pages * PAGE, ranges };
        let regions = vec![
            region(0, 1024, 0..3),
            region(1 << 32, 1, 3..3),
            region(u64::MAX - 4 * PAGE + 1, 2, 3..4),
        ];
        let checksums = checksummed.then(|| vec![0, 1, u32::MAX, 3735928559, 77]);
        Metadata { page_size: PAGE, chunk_size: CHUNK_SIZE, checksums, regions, ranges }
    }

    #[test]
    fn the_text_is_the_documented_object() {
        let region = RegionRecord { guest_base: 0, size: 65536, ranges: 0..1 };
        let ranges = vec![DataRange { start: 61440, end: 65536 }];
        let mut metadata = Metadata {
            checksums: Some(vec![3735928559]),
            regions: vec![region],
            ranges,
            ..sample(true)
        };
        let text = String::from_utf8(metadata.to_text().unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"format\":\"guestmem\",\"version\":1,\"layout\":\"packed\",\"compressed\":false,\
             \"page_size\":4096,\"data_size\":4096,\"checksum\":\"crc32c\",\"chunk_size\":1048576,\
             \"regions\":[{\"guest_base\":0,\"size\":65536,\"file_offset\":0,\
             \"data_ranges\":[{\"start\":61440,\"end\":65536,\"crc\":[3735928559]}]}]}"
        );
        metadata.checksums = None;
        let plain = String::from_utf8(metadata.to_text().unwrap()).unwrap();
        let expected = text.replace("crc32c", "none").replace(",\"crc\":[3735928559]", "");
        assert_eq!(plain, expected);
    }

    #[test]
    fn chunks_come_in_the_order_of_the_data() {
        let metadata = sample(true);
        let chunks: Vec<_> = metadata.chunks().collect();
        let chunk = |region, page, pages| Chunk {
            region,
            offset: page * PAGE,
            len: (pages * PAGE) as usize,
        };
        let expected =
            [chunk(0, 0, 1), chunk(0, 3, 256), chunk(0, 259, 3), chunk(0, 1023, 1), chunk(2, 0, 2)];
        assert_eq!(chunks, expected);
        assert_eq!(metadata.chunk_count(), 5);
        assert_eq!(metadata.data_size(), 263 * PAGE);
    }

    #[test]
    fn the_text_of_a_range_is_never_longer_than_foreseen() {
        let mut metadata = sample(true);
        metadata.checksums = Some(vec![u32::MAX; 5]);
        for checksummed in [true, false] {
            if !checksummed {
                metadata.checksums = None;
            }
            let chunk_size = checksummed.then_some(CHUNK_SIZE);
            for range in &metadata.ranges {
                let mut text = Text::default();
                let mut checksums = metadata.checksums.as_deref();
                metadata.write_range(&mut text, *range, &mut checksums).unwrap();
                assert_eq!(text.len() as u64 + 1, range_text(*range, chunk_size));
            }
        }
    }
}
