// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Looking in parts: on several threads, and where a list is too short for all that is found.

use super::*;
use crate::image::find::ranges::within;
use crate::image::find::seek;

#[test]
fn parts_are_cut_between_page_tables_and_leave_nothing_out() {
    let page = page_size();
    for host in [0, TABLE, 5 * TABLE + page, 7 * TABLE - page, 3 * TABLE + TABLE / 2] {
        for size in [page, TABLE - page, TABLE, TABLE + page, 9 * TABLE, 20 * TABLE - page] {
            for step in [TABLE, 3 * TABLE, 64 * TABLE, u64::MAX] {
                let mut at = host;
                for (start, size) in cut(host, size, step) {
                    assert!(start == at && size > 0 && size <= step);
                    assert!(start == host || start % TABLE == 0);
                    at += size;
                }
                assert_eq!(at, host + size, "{host} {size} {step}");
                assert!(step < u64::MAX || cut(host, size, step).count() == 1);
            }
        }
    }
    let region = |size| {
        let options = RegionOptions { source: Source::Private, ..RegionOptions::plain(0, size) };
        MemoryRegion::new(&options).unwrap()
    };
    let (small, large) = ([region(4 << 30)], [region(1 << 40), region(1 << 40)]);
    assert_eq!(part_size(&small, 2), 256 << 20);
    assert_eq!(part_size(&large, 2), 8 << 30);
    assert_eq!(part_size(&large, 1), u64::MAX);
}

#[test]
fn ranges_go_on_where_parts_meet() {
    const SIZE: u64 = 800 << 20;
    let page = page_size();
    for source in [Source::Private, Source::Memfd] {
        let options = RegionOptions { source, ..RegionOptions::plain(5 * page, SIZE) };
        let region = MemoryRegion::new(&options).unwrap();
        let host = region.host() as u64;
        let step = part_size(from_ref(&region), 2);
        let borders: Vec<u64> = cut(host, SIZE, step).map(|(start, _)| start - host).collect();
        assert!(borders.len() > 3, "{borders:?}");
        let mut expected = vec![DataRange { start: 0, end: page }];
        for border in &borders[1..] {
            expected.push(DataRange { start: border - page, end: border + page });
        }
        expected.push(DataRange { start: SIZE - page, end: SIZE });
        for at in expected.iter().flat_map(|range| (range.start..range.end).step_by(page as usize))
        {
            // SAFETY: within the region.
            unsafe { volatile::fill(region.host().add(at as usize), 1, 1) };
        }
        for threads in [1, 2, 3, 8] {
            assert_eq!(find(from_ref(&region), threads).unwrap(), [expected.clone()], "{threads}");
        }
    }
}

#[test]
fn a_list_that_is_full_may_have_more_behind_it() {
    let page = page_size();
    let options =
        RegionOptions { source: Source::Private, ..RegionOptions::plain(0, 20_000 * page) };
    let region = MemoryRegion::new(&options).unwrap();
    let mut expected = Vec::new();
    for index in 0..8200 {
        // SAFETY: within the region.
        unsafe { volatile::fill(region.host().add((2 * index * page) as usize), 1, 1) };
        expected.push(DataRange { start: 2 * index * page, end: (2 * index + 1) * page });
        if [0, 4094, 4095, 4096, 8190, 8191, 8192, 8199].contains(&index) {
            assert_eq!(find_one(&region).unwrap(), expected, "{index}");
        }
    }
}

#[test]
fn what_cannot_be_looked_into_is_an_error() {
    let map = PageMap::open();
    let unaligned = pages(&map, 1, page_size(), Wanted::Private, 0);
    assert!(!map.can_scan() || matches!(unaligned, Err(Error::Os { .. })));
    let past_all = pages(&map, u64::MAX - 2 * page_size() + 1, page_size(), Wanted::Private, 0);
    assert!(past_all.is_err());
}

/// Each pattern of data in a file, asked for in each pattern of parts, with some pages seen before.
#[test]
fn one_pass_over_a_file_tells_of_all_its_parts() {
    const COUNT: u64 = 6;
    let page = page_size();
    let ranges = |pattern: u32| {
        let mut found = Found::default();
        for index in (0..COUNT).filter(|index| pattern >> index & 1 != 0) {
            found.add(index * page, (index + 1) * page).unwrap();
        }
        found.into_ranges()
    };
    for new_file in [memfd, disk_file] {
        for pattern in 0..1 << COUNT {
            let file = new_file();
            let region =
                region_of(Source::File { fd: file.as_raw_fd(), offset: 0, private: false });
            touch(region.host(), pattern, 1);
            let file = Way::Held(file.as_raw_fd()).open().unwrap();
            for covered in 0..1 << COUNT {
                let covers = ranges(covered);
                for seen in [0, 0b010_101, 0b011_001, 0b111_111] {
                    let seen = ranges(pattern & covered & seen);
                    let data = seek::data(&file, &covers, &seen).unwrap();
                    assert!(data.is_sorted_by(|one, next| one.end < next.start));
                    let mut found = Found::default();
                    for cover in &covers {
                        for range in within(&data, cover.start, cover.end) {
                            found.add(range.start, range.end).unwrap();
                        }
                    }
                    assert_eq!(pages_of(&found.into_ranges()), pattern & covered);
                }
            }
        }
    }
}

#[test]
fn ranges_are_tidied_and_clipped_like_sets() {
    for pattern in 0u32..1 << 10 {
        let mut found = Found::default();
        // Backwards, and each twice.
        for index in (0..10).rev().filter(|index| pattern >> index & 1 != 0) {
            found.add(index, index + 1).unwrap();
            found.add(index, index + 1).unwrap();
        }
        let ranges = found.into_ranges();
        assert!(ranges.is_sorted_by(|one, next| one.end < next.start));
        let bits = |range: DataRange| (range.start..range.end).fold(0, |bits, at| bits | 1 << at);
        for start in 0..10 {
            for end in start..10 {
                let clipped = within(&ranges, start, end).map(bits).fold(0, |all, bits| all | bits);
                assert_eq!(clipped, pattern & ((1 << end) - (1 << start)), "{start} {end}");
                assert!(
                    within(&ranges, start, end)
                        .all(|range| range.start < range.end || start == end)
                );
            }
        }
    }
}
