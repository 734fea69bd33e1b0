// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Makes what follows from other things in a snapshot what it should be: sizes, offsets, checksums.

use crate::crc32c::crc32c;
use crate::json::Json;

/// Data that is still made longer.
const MAX_DATA: u64 = 1 << 20;

/// Mends `text`, as far as it can be read, and with `resize` the length of `data`.
pub fn mend(data: &mut Vec<u8>, text: &mut Vec<u8>, resize: bool) {
    let Some(mut json) = Json::read(text) else { return };
    let is = |key, value: &str| json.get(key) == Some(&Json::Text(value.into()));
    let (is_sparse, is_checked) = (is("layout", "sparse"), is("checksum", "crc32c"));
    let chunk_size = json.get("chunk_size").and_then(Json::number).filter(|&size| size > 0);
    let mut mender = Mender {
        data,
        is_sparse,
        chunk_size: chunk_size.filter(|_| is_checked),
        memory_size: 0,
        data_size: 0,
    };
    if let Some(regions) = json.get_mut("regions").and_then(Json::items_mut) {
        if resize {
            let extent = if is_sparse { sum_of_sizes(regions) } else { sum_of_ranges(regions) };
            mender.data.resize(extent.min(MAX_DATA) as usize, 0);
        }
        regions.iter_mut().for_each(|region| mender.mend_region(region));
    }
    if let Some(data_size) = json.get_mut("data_size") {
        *data_size = Json::Number(mender.data_size.to_string());
    }
    *text = json.to_text();
}

fn sum_of_sizes(regions: &[Json]) -> u64 {
    regions.iter().fold(0, |sum, region| sum.saturating_add(number(region, "size")))
}

fn sum_of_ranges(regions: &[Json]) -> u64 {
    let ranges = regions.iter().filter_map(|region| region.get("data_ranges")?.items()).flatten();
    ranges.fold(0, |sum, range| sum.saturating_add(len(range)))
}

fn len(range: &Json) -> u64 {
    number(range, "end").saturating_sub(number(range, "start"))
}

fn number(json: &Json, key: &str) -> u64 {
    json.get(key).and_then(Json::number).unwrap_or(0)
}

/// Goes through the regions in their order.
struct Mender<'a> {
    data: &'a mut Vec<u8>,
    is_sparse: bool,
    /// None without checksums.
    chunk_size: Option<u64>,
    /// Bytes in the regions so far.
    memory_size: u64,
    /// Bytes in the ranges so far.
    data_size: u64,
}

impl Mender<'_> {
    fn mend_region(&mut self, region: &mut Json) {
        let size = number(region, "size");
        let offset = if self.is_sparse { self.memory_size } else { self.data_size };
        if let Some(file_offset) = region.get_mut("file_offset") {
            *file_offset = Json::Number(offset.to_string());
        }
        if let Some(ranges) = region.get_mut("data_ranges").and_then(Json::items_mut) {
            ranges.iter_mut().for_each(|range| self.mend_range(range));
        }
        self.memory_size = self.memory_size.saturating_add(size);
    }

    fn mend_range(&mut self, range: &mut Json) {
        let (start, len) = (number(range, "start"), len(range));
        let from =
            if self.is_sparse { self.memory_size.saturating_add(start) } else { self.data_size };
        self.data_size = self.data_size.saturating_add(len);
        let source = from as usize..from.saturating_add(len) as usize;
        let sums = self.chunk_size.zip(self.data.get(source)).map(|(size, bytes)| {
            let sum = |chunk| Json::Number(crc32c(chunk).to_string());
            Json::Array(bytes.chunks(size as usize).map(sum).collect())
        });
        let Json::Object(members) = range else { return };
        members.retain(|(key, _)| key != "crc");
        members.extend(sums.map(|sums| ("crc".into(), sums)));
    }
}
