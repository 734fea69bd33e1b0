// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Tests of `mapping`.

use super::*;

#[test]
fn a_mapping_lies_where_it_is_asked_to() {
    let page = page_size();
    for (align, residue) in [(page, 0), (1 << 21, 0x3000), (1 << 24, 0)] {
        let place = Placement { align, residue };
        let mapping = Mapping::new(Content::Anonymous, 3 * page, false, place).unwrap();
        assert_eq!(mapping.host() as u64 % align, residue % align);
        assert_eq!(mapping.resident().unwrap(), 0);
        mapping.populate(page).unwrap();
        assert_eq!(mapping.resident().unwrap(), 3 * page);
        mapping.discard(page, page).unwrap();
        assert_eq!(mapping.resident().unwrap(), 2 * page);
    }
}

#[test]
fn shares_are_whole_pages_and_make_up_the_mapping() {
    for unit in [4096, 2 << 20, 1 << 30] {
        for pages in [1, 2, 3, 5, 64, 1000, 16384, 100_003] {
            for cpus in [1, 2, 3, 4, 7, 64, 1024] {
                let shares = Shares::new(pages * unit, unit, cpus);
                assert!((1..=cpus).contains(&shares.count));
                let mut reached = 0;
                for index in 0..shares.count {
                    let (offset, len) = shares.get(index);
                    assert_eq!((offset, offset % unit, len % unit), (reached, 0, 0));
                    assert!(len > 0);
                    reached += len;
                }
                assert_eq!(reached, pages * unit);
            }
        }
    }
}

#[test]
fn sizes_past_the_address_space_are_refused() {
    let place = Placement { align: 1 << 21, residue: 0 };
    for size in [!4095, 1 << 63, (1 << 63) - 4096] {
        let mapping = Mapping::new(Content::Anonymous, size, false, place);
        assert!(matches!(mapping, Err(Error::TooLarge { .. } | Error::NoMemory(_))));
    }
}
