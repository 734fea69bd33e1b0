// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Tests of `metadata`.

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
    let metadata = sample(true);
    for checksummed in [true, false] {
        let chunk_size = checksummed.then_some(CHUNK_SIZE);
        for range in &metadata.ranges {
            let crc = vec![u32::MAX; metadata.chunks_in(*range) as usize];
            let crc = checksummed.then_some(&*crc);
            let text = to_json(&Span { start: range.start, end: range.end, crc }).unwrap();
            assert_eq!(text.len() as u64 + 1, range_text(*range, chunk_size));
        }
    }
}
