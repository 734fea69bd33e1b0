// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Files that several regions map, or others than regions.

use super::*;
use std::os::unix::fs::FileExt;

/// A shared region of `pages` from page `first` of the file on.
fn part_of(file: &File, first: u64, pages: u64, private: bool) -> Ref<MemoryRegion> {
    let page = page_size();
    let source = Source::File { fd: file.as_raw_fd(), offset: first * page, private };
    MemoryRegion::new(&RegionOptions { source, ..RegionOptions::plain(0, pages * page) }).unwrap()
}

fn write_pages(file: &File, pattern: u32) {
    for index in (0..=PAGES).filter(|index| pattern >> index & 1 != 0) {
        file.write_all_at(b"x", index * page_size() + 1000).unwrap();
    }
}

fn patterns_of(regions: &[Ref<MemoryRegion>]) -> Vec<u32> {
    look_everywhere(regions).into_iter().map(|ranges| pages_of(&ranges.unwrap())).collect()
}

/// Regions at pages 0-2, 2-5 and 7 of the file: two that overlap, and pages that none maps.
#[test]
fn regions_of_one_file_are_told_whoever_wrote_what() {
    for file in [memfd, || file_in(c"/dev/shm"), disk_file] {
        for pattern in 0..1 << 8 {
            for touched in [0, 0b1010_0110, 0xff] {
                let file = file();
                let whole = part_of(&file, 0, 8, false);
                write_pages(&file, pattern & !touched);
                let regions = [
                    part_of(&file, 7, 1, false),
                    part_of(&file, 0, 3, false),
                    part_of(&file, 2, 4, true),
                ];
                // The first two see what they write, the private one does not show in the file.
                let seen = pattern & touched;
                touch(regions[0].host(), seen >> 7, 1);
                touch(regions[1].host(), seen & 0b111, 1);
                touch(whole.host(), seen & 0b0111_1000, 1);
                let expected = [pattern >> 7, pattern & 0b111, pattern >> 2 & 0b1111];
                assert_eq!(patterns_of(&regions), expected, "{pattern:b} {touched:b}");
            }
        }
    }
}

/// As many pages as the file has are seen, but one of them twice.
#[test]
fn a_page_that_two_regions_show_counts_once() {
    let file = memfd();
    let regions = [part_of(&file, 0, 8, false), part_of(&file, 0, 8, false)];
    for region in &regions {
        touch(region.host(), 0b1, 1);
    }
    write_pages(&file, 0b10_0000);
    assert_eq!(patterns_of(&regions), [0b10_0001; 2]);
}

/// The caller's memory of one file, by different descriptors and without any.
#[test]
fn a_file_is_one_however_it_is_come_by() {
    let file = memfd();
    let again = File::from(Way::Held(file.as_raw_fd()).open().unwrap());
    let mapped: Vec<Mapped> = (0..3).map(|_| Mapped::new(libc::MAP_SHARED, Some(&file))).collect();
    let given = [Some(&file), None];
    let mut regions: Vec<_> = mapped
        .iter()
        .zip(given)
        .map(|(mapped, file)| region_of(mapped.source(file, false)))
        .collect();
    regions.push(region_of(source_of(&file, false)));
    regions.push(region_of(source_of(&again, true)));
    touch(mapped[2].0, 0b1001, 1);
    touch(regions[1].host(), 0b0110_0000, 1);
    for (index, ranges) in look_everywhere(&regions).into_iter().enumerate() {
        match ranges {
            Err(Error::Unsupported(_)) if index == 1 => {
                eprintln!("skipped: no privilege to open map_files of /proc")
            }
            ranges => assert_eq!(pages_of(&ranges.unwrap()), 0b0110_1001, "{index}"),
        }
    }
}

/// Another file of tmpfs than that which is mapped must not be counted, nor asked.
#[test]
fn the_callers_word_is_not_taken_for_a_file_of_another_device() {
    let (file, other) = (memfd(), file_in(c"/dev/shm"));
    let mapped = Mapped::new(libc::MAP_SHARED, Some(&file));
    let region = region_of(mapped.source(Some(&other), false));
    touch(region.host(), 0b11, 1);
    assert!(matches!(find_one(&region), Err(Error::Unsupported(_))));
}

/// What one region cannot tell leaves the others as they are.
#[test]
fn each_region_has_its_own_failure() {
    let (file, other) = (memfd(), file_in(c"/dev/shm"));
    let mapped = Mapped::new(libc::MAP_SHARED, Some(&file));
    let regions = [
        region_of(Source::Private),
        region_of(mapped.source(Some(&other), false)),
        region_of(source_of(&file, false)),
    ];
    for region in &regions {
        touch(region.host(), 0b101, 1);
    }
    let each = find_pages(&regions, 2).unwrap();
    assert!(matches!(each[1], Err(Error::Unsupported(_))));
    for index in [0, 2] {
        assert_eq!(pages_of(each[index].as_ref().unwrap()), 0b101);
    }
    assert!(matches!(find(&regions, 1), Err(Error::Unsupported(_))));
    assert_eq!(find(&regions[..1], 2).unwrap().len(), 1);
    assert_eq!(find(&[], 2), Ok(vec![]));
}

/// Page tables that write-protect pages which are not there yet look like those of swapped ones.
#[test]
fn marks_of_a_userfaultfd_are_no_pages() {
    let file = memfd();
    let region = part_of(&file, 0, 8, false);
    let Some(_userfault) = write_protect(&region) else {
        eprintln!("skipped: no userfaultfd that write-protects shared memory");
        return;
    };
    // As many as there are marks, for which they must not be taken.
    write_pages(&file, 0b1010_1010);
    let size = region.range().size();
    let map = PageMap::without_scan();
    let marks = pages(&map, region.host() as u64, size, Wanted::Private, 0).unwrap();
    assert_eq!(pages_of(marks.ranges()), 0b1111);
    assert_eq!(patterns_of(from_ref(&region)), [0b1010_1010]);
}

/// Has a userfaultfd write-protect the region, whether there are pages or not.
fn write_protect(region: &MemoryRegion) -> Option<File> {
    const UFFD_USER_MODE_ONLY: i32 = 1;
    const UFFDIO_API: u64 = 0xc018_aa3f;
    const UFFDIO_REGISTER: u64 = 0xc020_aa00;
    const UFFDIO_WRITEPROTECT: u64 = 0xc018_aa06;
    /// UFFD_FEATURE_WP_HUGETLBFS_SHMEM
    const SHARED: u64 = 1 << 12;
    /// UFFDIO_REGISTER_MODE_WP
    const MODE: u64 = 2;
    /// UFFDIO_WRITEPROTECT_MODE_WP
    const PROTECT: u64 = 1;
    let (start, size) = (region.host() as u64, region.range().size());
    let (mut api, mut wanted) = ([0xaau64, SHARED, 0], [start, size, MODE, 0]);
    let mut protect = [start, size / 2, PROTECT];
    // SAFETY: the kernel reads and writes the structs, which are laid out as it wants them.
    unsafe {
        let flags = libc::O_CLOEXEC | UFFD_USER_MODE_ONLY;
        let fd = libc::syscall(libc::SYS_userfaultfd, flags) as i32;
        if fd < 0 {
            return None;
        }
        let file = File::from_raw_fd(fd);
        let done = libc::ioctl(fd, UFFDIO_API as _, &mut api) == 0
            && libc::ioctl(fd, UFFDIO_REGISTER as _, &mut wanted) == 0
            && libc::ioctl(fd, UFFDIO_WRITEPROTECT as _, &mut protect) == 0;
        done.then_some(file)
    }
}
