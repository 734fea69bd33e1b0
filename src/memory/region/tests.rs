// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Tests of `region`.

use super::*;

fn byte(region: &MemoryRegion, offset: u64) -> *mut u8 {
    // SAFETY: the tests ask for offsets within the region.
    unsafe { region.host().add(offset as usize) }
}

#[test]
fn large_regions_agree_with_the_guest_modulo_a_huge_page() {
    let page = page_size();
    let region = MemoryRegion::new(&RegionOptions::plain(3 * page, 4 << 20)).unwrap();
    assert_eq!(region.host() as u64 % HUGE_ALIGN, 3 * page);
    let options = RegionOptions { align: 1 << 24, ..RegionOptions::plain(3 * page, page) };
    assert_eq!(MemoryRegion::new(&options).unwrap().host() as u64 % (1 << 24), 0);
}

#[test]
fn removed_pages_read_as_zeros_locked_or_not() {
    let page = page_size();
    for source in [Source::Memfd, Source::Private] {
        let options = RegionOptions { source, ..RegionOptions::plain(0, 3 * page) };
        let region = MemoryRegion::new(&options).unwrap();
        for locked in [false, true] {
            if locked {
                region.apply(Advice::Lock, [(0, 3 * page)].into_iter()).unwrap();
            }
            // SAFETY: within the region, which nobody else uses.
            unsafe {
                for index in 0..3 {
                    byte(&region, index * page).write_volatile(7);
                }
                region.remove(page, page, &Maps::default()).unwrap();
                let read = |index| byte(&region, index * page).read_volatile();
                assert_eq!([read(0), read(1), read(2)], [7, 0, 7]);
            }
        }
    }
}
