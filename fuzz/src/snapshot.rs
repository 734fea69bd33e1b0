// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What metadata and data mean together.

use crate::crc32c::crc32c;
use crate::json::Json;
use std::ops::Range;

const MIN_PAGE: u64 = 4096;
const MAX_CHUNK: u64 = 1 << 20;

/// Metadata in which everything is right.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Or packed.
    pub is_sparse: bool,
    /// With checksums.
    pub is_checked: bool,
    page_size: u64,
    chunk_size: u64,
    /// Ascending.
    pub regions: Vec<Region>,
}

/// A region.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its first guest address.
    pub guest_base: u64,
    /// Bytes.
    pub size: u64,
    ranges: Vec<DataRange>,
}

#[derive(Clone, Debug)]
struct DataRange {
    start: u64,
    end: u64,
    sums: Vec<u32>,
}

/// A run of data that one checksum covers.
pub struct Chunk {
    /// The index of its region.
    pub region: usize,
    /// Where it goes in the region.
    pub place: Range<usize>,
    /// Where it lies in the data.
    pub source: Range<usize>,
    sum: Option<u32>,
}

impl Chunk {
    /// True when the data has all of it, and as the checksum says.
    pub fn is_good(&self, data: &[u8]) -> bool {
        let bytes = data.get(self.source.clone());
        bytes.is_some_and(|bytes| self.sum.is_none_or(|sum| sum == crc32c(bytes)))
    }
}

/// Keys of the outer object.
const OUTER: [&str; 9] = [
    "format",
    "version",
    "layout",
    "compressed",
    "page_size",
    "data_size",
    "checksum",
    "chunk_size",
    "regions",
];

impl Snapshot {
    /// Reads metadata; None where a reader must refuse it.
    pub fn read(text: &[u8]) -> Option<Self> {
        let json = Json::read(text)?;
        if !json.is_sound(&OUTER) {
            return None;
        }
        let text = |key| match json.get(key) {
            Some(Json::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let number = |key| json.get(key).and_then(Json::number);
        let is_right = text("format")? == "guestmem"
            && number("version")? == 1
            && json.get("compressed")? == &Json::Bool(false);
        let mut snapshot = Snapshot {
            is_sparse: either(text("layout")?, "packed", "sparse")?,
            is_checked: either(text("checksum")?, "none", "crc32c")?,
            page_size: number("page_size")?,
            chunk_size: number("chunk_size")?,
            regions: Vec::new(),
        };
        let Snapshot { page_size, chunk_size, .. } = snapshot;
        let sizes_are_right = page_size.is_power_of_two()
            && (MIN_PAGE..=MAX_CHUNK).contains(&page_size)
            && (page_size..=MAX_CHUNK).contains(&chunk_size)
            && chunk_size % page_size == 0;
        if !is_right || !sizes_are_right {
            return None;
        }
        for region in json.get("regions")?.items()? {
            snapshot.read_region(region)?;
        }
        (number("data_size")? == snapshot.data_size()?).then_some(snapshot)
    }

    fn read_region(&mut self, json: &Json) -> Option<()> {
        if !json.is_sound(&["guest_base", "size", "file_offset", "data_ranges"]) {
            return None;
        }
        let number = |key| json.get(key).and_then(Json::number);
        let (guest_base, size) = (number("guest_base")?, number("size")?);
        let offset = if self.is_sparse { self.memory_size() } else { self.data_size() };
        let reached = self.regions.last().map_or(0, |last| last.guest_base + last.size);
        let is_right = size > 0
            && (guest_base | size) % self.page_size == 0
            && guest_base >= reached
            && guest_base.checked_add(size).is_some()
            && number("file_offset")? == offset?;
        let mut ranges: Vec<DataRange> = Vec::new();
        for range in json.get("data_ranges")?.items()? {
            let reached = ranges.last().map_or(0, |last| last.end);
            ranges.push(self.read_range(range, reached..size)?);
        }
        self.regions.push(Region { guest_base, size, ranges });
        is_right.then_some(())
    }

    fn read_range(&self, json: &Json, free: Range<u64>) -> Option<DataRange> {
        if !json.is_sound(&["start", "end", "crc"]) {
            return None;
        }
        let number = |key| json.get(key).and_then(Json::number);
        let (start, end) = (number("start")?, number("end")?);
        let is_right = (start | end) % self.page_size == 0
            && free.start <= start
            && start < end
            && end <= free.end;
        if !is_right || json.get("crc").is_some() != self.is_checked {
            return None;
        }
        let mut sums = Vec::new();
        if let Some(json) = json.get("crc") {
            for sum in json.items()? {
                sums.push(u32::try_from(sum.number()?).ok()?);
            }
            if sums.len() as u64 != (end - start).div_ceil(self.chunk_size) {
                return None;
            }
        }
        Some(DataRange { start, end, sums })
    }

    /// Bytes in all ranges together; None when they wrap.
    pub fn data_size(&self) -> Option<u64> {
        let ranges = self.regions.iter().flat_map(|region| &region.ranges);
        ranges.map(|range| range.end - range.start).try_fold(0, u64::checked_add)
    }

    /// Bytes in all regions together; None when they wrap.
    pub fn memory_size(&self) -> Option<u64> {
        self.regions.iter().map(|region| region.size).try_fold(0, u64::checked_add)
    }

    /// Bytes that the data must have.
    pub fn extent(&self) -> Option<u64> {
        if self.is_sparse { self.memory_size() } else { self.data_size() }
    }

    /// In the order of the data. For snapshots whose `extent` fits the host.
    pub fn chunks(&self) -> Vec<Chunk> {
        let (mut chunks, mut region_at, mut packed_at) = (Vec::new(), 0, 0);
        for (region, record) in self.regions.iter().enumerate() {
            for range in &record.ranges {
                for (index, start) in
                    (range.start..range.end).step_by(self.chunk_size as usize).enumerate()
                {
                    let len = self.chunk_size.min(range.end - start);
                    let source = if self.is_sparse { region_at + start } else { packed_at };
                    chunks.push(Chunk {
                        region,
                        place: start as usize..(start + len) as usize,
                        source: source as usize..(source + len) as usize,
                        sum: range.sums.get(index).copied(),
                    });
                    packed_at += len;
                }
            }
            region_at += record.size;
        }
        chunks
    }

    /// What memory holds once all of `data` that is good was brought back.
    pub fn contents(&self, data: &[u8]) -> Vec<Vec<u8>> {
        let mut contents: Vec<_> =
            self.regions.iter().map(|region| vec![0; region.size as usize]).collect();
        for chunk in self.chunks().into_iter().filter(|chunk| chunk.is_good(data)) {
            contents[chunk.region][chunk.place].copy_from_slice(&data[chunk.source]);
        }
        contents
    }

    /// Addresses and sizes of the regions.
    pub fn map(&self) -> Vec<(u64, u64)> {
        self.regions.iter().map(|region| (region.guest_base, region.size)).collect()
    }
}

/// False for `no`, true for `yes`.
fn either(value: &str, no: &str, yes: &str) -> Option<bool> {
    (value == no || value == yes).then_some(value == yes)
}
