// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a snapshot says about itself: which regions there are, which ranges of them it holds, and
//! a checksum for each chunk of these. Written here as JSON, read back by [`super::parse`].

use crate::alloc::{Text, comma};
use crate::error::{Error, Result};
use std::io::Write;
use std::iter::once;
use std::ops::Range;

/// Bytes that the metadata may have as text.
pub const MAX_TEXT: u64 = 64 << 20;
/// Bytes of a range that one checksum covers: what this library writes, and the most it reads.
pub const CHUNK_SIZE: u64 = 1 << 20;

/// Where the data of a snapshot lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        self.ranges.iter().map(|range| range.size().div_ceil(self.chunk_size)).sum()
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
        let mut text = Text::default();
        self.write(&mut text).map_err(|_| Error::NoMemory("the snapshot's metadata"))?;
        Ok(text.into_bytes())
    }

    fn write(&self, text: &mut Text) -> std::io::Result<()> {
        let layout = match self.layout {
            Layout::Packed => "packed",
            Layout::Sparse => "sparse",
        };
        write!(
            text,
            "{{\"format\":\"guestmem\",\"version\":1,\"layout\":\"{layout}\",\"compressed\":false,\
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
            let ranges = self.ranges_of(region);
            for (index, range) in ranges.iter().enumerate() {
                text.write_all(comma(index).as_bytes())?;
                self.write_range(text, *range, &mut checksums)?;
            }
            write!(text, "]}}")?;
            file_offset += match self.layout {
                Layout::Packed => ranges.iter().map(|range| range.size()).sum(),
                Layout::Sparse => region.size,
            };
        }
        write!(text, "]}}")
    }

    /// Writes one range with its checksums, which are taken off the front. There may be many, so
    /// this does without the machinery of formatting.
    fn write_range(
        &self,
        text: &mut Text,
        range: DataRange,
        checksums: &mut Option<&[u32]>,
    ) -> std::io::Result<()> {
        text.write_all(b"{\"start\":")?;
        text.write_number(range.start)?;
        text.write_all(b",\"end\":")?;
        text.write_number(range.end)?;
        if let Some(rest) = checksums {
            let (own, behind) = rest.split_at(range.size().div_ceil(self.chunk_size) as usize);
            *rest = behind;
            for (index, &checksum) in own.iter().enumerate() {
                text.write_all(if index == 0 { b",\"crc\":[" } else { b"," })?;
                text.write_number(checksum.into())?;
            }
            text.write_all(b"]")?;
        }
        text.write_all(b"}")
    }
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
        let layout = Layout::Packed;
        Metadata { layout, page_size: PAGE, chunk_size: CHUNK_SIZE, checksums, regions, ranges }
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
        let mut metadata = sample(true);
        // Region, first page, pages, and where they lie in the data of either layout.
        let expected = [
            (0, 0, 1, 0, 0),
            (0, 3, 256, 1, 3),
            (0, 259, 3, 257, 259),
            (0, 1023, 1, 260, 1023),
            (2, 0, 2, 261, 1025),
        ];
        for layout in [Layout::Packed, Layout::Sparse] {
            metadata.layout = layout;
            let chunk = |(region, page, pages, packed, sparse)| Chunk {
                region,
                offset: page * PAGE,
                len: (pages * PAGE) as usize,
                position: PAGE * if layout == Layout::Packed { packed } else { sparse },
            };
            assert!(metadata.chunks().eq(expected.map(chunk)));
        }
        assert_eq!(metadata.extent(), 1027 * PAGE);
        assert_eq!(metadata.chunk_count(), 5);
        assert_eq!(metadata.data_size(), 263 * PAGE);
    }

    #[test]
    fn holes_and_ranges_make_up_a_region() {
        let metadata = sample(true);
        let holes = |index: usize| -> Vec<(u64, u64)> {
            let holes = metadata.holes_of(&metadata.regions[index]);
            holes.map(|hole| (hole.start / PAGE, hole.end / PAGE)).collect()
        };
        assert_eq!(holes(0), [(1, 3), (262, 1023)]);
        assert_eq!(holes(1), [(0, 1)]);
        assert_eq!(holes(2), []);
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
