// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Tests of `guest`.

use super::*;
use crate::host::system::page_size;

fn memory(ranges: &[(u64, u64)]) -> Result<Ref<GuestMemory>> {
    let options: Vec<_> =
        ranges.iter().map(|&(addr, size)| RegionOptions::plain(addr, size)).collect();
    GuestMemory::new(&options)
}

#[test]
fn the_offset_in_the_shared_memfd_counts_regions_alone() {
    let mem = memory(&[(0x10000, 0x20000), (0x80000, 0x30000)]).unwrap();
    assert_eq!(mem.file_at(0x95000).unwrap().1, 0x35000);
    assert_eq!(mem.file_at(0x10000).unwrap().0, mem.file_at(0x80000).unwrap().0);
    assert_eq!(mem.file_at_offset(0x30000), Err(Error::InvalidAddress));
    assert_eq!(mem.end_addr(), 0xb0000);
    assert_eq!(mem.size(), 0x50000);
}

#[test]
fn the_first_thing_wrong_is_reported() {
    let page = page_size();
    let refused = |ranges: &[_]| memory(ranges).map(|_| ()).unwrap_err();
    assert_eq!(refused(&[(0, 0)]), Error::InvalidSize);
    assert!(matches!(refused(&[(page, u64::MAX - page + 1)]), Error::TooLarge { .. }));
    assert_eq!(refused(&[(2 * page, page), (0, page)]), Error::Unsorted);
    assert_eq!(refused(&[(0, 2 * page), (page, page)]), Error::Overlap);
    assert!(matches!(refused(&[(1, page)]), Error::NotAligned(_)));
    assert!(matches!(refused(&[(page, 1)]), Error::NotAligned(_)));
    assert_eq!(memory(&[]).unwrap().end_addr(), 0);
}

#[test]
fn regions_are_shared_between_memories() {
    let page = page_size();
    let region = |addr| MemoryRegion::new(&RegionOptions::plain(addr, page)).unwrap();
    let (low, high) = (region(0), region(page));
    let one = GuestMemory::from_regions(vec![high.clone(), low.clone()]).unwrap();
    let two = GuestMemory::from_regions(vec![high.clone()]).unwrap();
    assert_eq!(one.region(1).unwrap().host(), two.region(0).unwrap().host());
    let twice = GuestMemory::from_regions(vec![low.clone(), low.clone()]);
    assert_eq!(twice.unwrap_err(), Error::Overlap);
}
