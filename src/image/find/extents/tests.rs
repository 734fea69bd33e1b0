// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

//! What is found on each kind of memory, with the ioctl and without it.

mod cutting;
mod sharing;

use super::*;
use crate::access::volatile;
use crate::error::Error;
use crate::host::maps::Maps;
use crate::host::system::page_size;
use crate::image::find::way::{Keeping, Way};
use crate::memory::options::{CallerMemory, RegionOptions, Source};
use std::ffi::CStr;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd};
use std::slice::from_ref;

const PAGES: u64 = 8;

fn region_of(source: Source) -> Ref<MemoryRegion> {
    let options = RegionOptions { source, ..RegionOptions::plain(0, PAGES * page_size()) };
    MemoryRegion::new(&options).unwrap()
}

/// Writes a byte to each page that is set in `pattern`.
fn touch(host: *mut u8, pattern: u32, byte: u8) {
    for index in (0..PAGES).filter(|index| pattern >> index & 1 != 0) {
        // SAFETY: the tests' regions have that many pages.
        unsafe { volatile::fill(host.add((index * page_size()) as usize + 77), byte, 1) };
    }
}

/// The pages in `ranges`, which must be well-formed.
fn pages_of(ranges: &[DataRange]) -> u32 {
    let page = page_size();
    let mut pages = 0;
    let mut reached = None;
    for range in ranges {
        assert!(range.start < range.end && range.end <= PAGES * page, "{ranges:?}");
        assert!(reached.is_none_or(|reached| range.start > reached), "{ranges:?}");
        assert!(range.start % page == 0 && range.end % page == 0);
        pages |= (range.start / page..range.end / page).fold(0, |bits, index| bits | 1 << index);
        reached = Some(range.end);
    }
    pages
}

/// What is found in `regions`, which is the same in every way of looking.
fn look_everywhere(regions: &[Ref<MemoryRegion>]) -> Vec<Result<Vec<DataRange>>> {
    let found = look(&PageMap::open(), regions, Extent::Data, 1).unwrap();
    for (map, threads) in
        [(PageMap::open(), 3), (PageMap::without_scan(), 1), (PageMap::without_scan(), 2)]
    {
        assert_eq!(look(&map, regions, Extent::Data, threads).unwrap(), found, "{threads}");
    }
    found
}

fn find_one(region: &Ref<MemoryRegion>) -> Result<Vec<DataRange>> {
    look_everywhere(from_ref(region)).remove(0)
}

fn found(region: &Ref<MemoryRegion>) -> u32 {
    pages_of(&find_one(region).unwrap())
}

fn memfd() -> File {
    // SAFETY: a new descriptor that nobody else owns.
    let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: as above.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len((PAGES + 1) * page_size()).unwrap();
    file
}

/// A new file without a name, in a folder of the disk's file system or of tmpfs.
fn file_in(folder: &CStr) -> File {
    // SAFETY: a C string and flags.
    let fd = unsafe { libc::open(folder.as_ptr(), libc::O_TMPFILE | libc::O_RDWR, 0o600) };
    assert!(fd >= 0);
    // SAFETY: a new descriptor that nobody else owns.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len((PAGES + 1) * page_size()).unwrap();
    file
}

fn disk_file() -> File {
    file_in(c"/tmp")
}

fn source_of(file: &File, private: bool) -> Source {
    Source::File { fd: file.as_raw_fd(), offset: page_size(), private }
}

/// Memory that the test maps itself.
struct Mapped(*mut u8);

impl Mapped {
    fn new(flags: i32, file: Option<&File>) -> Self {
        let (fd, offset) = file.map_or((-1, 0), |file| (file.as_raw_fd(), page_size() as i64));
        let flags = flags | if fd < 0 { libc::MAP_ANONYMOUS } else { 0 };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: new addresses of the kernel's choice.
        let host = unsafe {
            let size = (PAGES * page_size()) as usize;
            libc::mmap(std::ptr::null_mut(), size, protection, flags, fd, offset)
        };
        assert_ne!(host, libc::MAP_FAILED);
        Mapped(host.cast())
    }

    fn source(&self, file: Option<&File>, private: bool) -> Source {
        let file = file.map(|file| (file.as_raw_fd(), page_size()));
        // SAFETY: it is unmapped when `self` goes, after the region.
        let memory = unsafe { CallerMemory::new(self.0) };
        Source::Caller { memory, file, private }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; the regions on it are gone.
        unsafe { libc::munmap(self.0.cast(), (PAGES * page_size()) as usize) };
    }
}

#[test]
fn exactly_the_touched_pages_are_found_on_every_backing() {
    for pattern in 0..256 {
        let files = [memfd(), file_in(c"/dev/shm"), disk_file()];
        let shared = files.iter().map(|file| source_of(file, false));
        for source in [Source::Memfd, Source::Private].into_iter().chain(shared) {
            let region = region_of(source);
            touch(region.host(), pattern, 1);
            assert_eq!(found(&region), pattern, "{source:?}");
        }
        let files = [memfd(), file_in(c"/dev/shm"), disk_file()];
        for source in files.iter().map(|file| source_of(file, true)) {
            let region = region_of(source);
            touch(region.host(), pattern, 1);
            assert_eq!(found(&region), pattern, "{source:?}");
        }
    }
}

#[test]
fn the_callers_memory_is_told_by_its_kind() {
    for pattern in 0..256 {
        let file = memfd();
        let (shared, private) = (libc::MAP_SHARED, libc::MAP_PRIVATE);
        for (flags, mapped_file, given) in [
            (private, None, None),
            (shared, Some(&file), Some(&file)),
            (shared, Some(&file), None),
            (shared, None, None),
            (private, Some(&file), Some(&file)),
            (private, Some(&file), None),
        ] {
            let mapped = Mapped::new(flags, mapped_file);
            let region = region_of(mapped.source(given, flags == private));
            touch(region.host(), pattern, 1);
            match find_one(&region) {
                // Without its file, which takes a privilege to open.
                Err(Error::Unsupported(_)) if given.is_none() => {
                    eprintln!("skipped: no privilege to open map_files of /proc")
                }
                ranges => assert_eq!(pages_of(&ranges.unwrap()), pattern, "{flags} {given:?}"),
            }
        }
    }
}

/// Several mappings of different kinds in one region of the caller's.
#[test]
fn a_region_of_several_kinds_is_told_piece_by_piece() {
    let file = memfd();
    let mapped = Mapped::new(libc::MAP_PRIVATE, None);
    // SAFETY: replaces the middle of the test's own mapping.
    let middle = unsafe {
        let at = mapped.0.add(3 * page_size() as usize).cast();
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
        let offset = 4 * page_size() as i64;
        libc::mmap(at, 2 * page_size() as usize, protection, flags, file.as_raw_fd(), offset)
    };
    assert_ne!(middle, libc::MAP_FAILED);
    let region = region_of(mapped.source(Some(&file), false));
    touch(region.host(), 0b0101_0110, 1);
    assert_eq!(found(&region), 0b0101_0110);
}

#[test]
fn copy_on_write_memory_is_its_own_pages_and_those_of_the_file() {
    for in_file in 0..16 {
        for copied in 0..16 {
            let file = memfd();
            touch(region_of(source_of(&file, false)).host(), in_file * 17, 1);
            let region = region_of(source_of(&file, true));
            touch(region.host(), copied << 2, 2);
            assert_eq!(found(&region), (in_file * 17) | copied << 2);
        }
    }
}

#[test]
fn pages_of_a_file_that_were_only_read_are_no_copies() {
    let file = disk_file();
    if let Ok((_, Keeping::Dense)) = Way::Held(file.as_raw_fd()).ask() {
        eprintln!("skipped: /tmp cannot tell of holes");
        return;
    }
    let region = region_of(source_of(&file, true));
    let found_of_file = found(&region_of(source_of(&file, false)));
    touch(region.host(), 0b1, 1);
    // SAFETY: within the region.
    assert!(unsafe { volatile::is_zero(region.host().add(page_size() as usize), 1) });
    let read_only = found(&region_of(source_of(&file, false)));
    assert_eq!(found(&region), found_of_file | read_only | 0b1);
}

#[test]
fn looking_allocates_nothing_and_moves_no_offset() {
    let mut file = memfd();
    file.seek(SeekFrom::Start(5)).unwrap();
    let shared = region_of(source_of(&file, false));
    let own = region_of(Source::Memfd);
    for region in [&shared, &own] {
        touch(region.host(), 0b100, 1);
        for _ in 0..2 {
            assert_eq!(found(region), 0b100);
            assert_eq!(region.mapping().resident().unwrap(), page_size());
        }
    }
    assert_eq!(file.stream_position().unwrap(), 5);
    let fd = own.backing().file().unwrap().0.fd();
    // SAFETY: a plain system call on a descriptor that the region holds.
    assert_eq!(unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }, 0);
}

#[test]
fn pages_that_others_put_into_a_file_are_found() {
    let file = memfd();
    let (here, there) = (region_of(source_of(&file, false)), region_of(source_of(&file, false)));
    touch(there.host(), 0b1001_0000, 1);
    assert_eq!(found(&here), 0b1001_0000);
}

#[test]
fn removed_pages_are_holes_again() {
    let page = page_size();
    for source in [Source::Memfd, Source::Private] {
        let region = region_of(source);
        touch(region.host(), 0xff, 1);
        region.remove(2 * page, 3 * page, &Maps::default()).unwrap();
        assert_eq!(found(&region), 0b1110_0011);
    }
}

#[test]
fn pages_that_were_only_read_hold_nothing() {
    let region = region_of(Source::Private);
    touch(region.host(), 0b1, 1);
    for index in 1..PAGES {
        // SAFETY: within the region.
        assert!(unsafe { volatile::is_zero(region.host().add((index * page_size()) as usize), 1) });
    }
    let pages = |map: &PageMap, extent| {
        let found = look(map, from_ref(&region), extent, 1).unwrap().remove(0);
        pages_of(&found.unwrap())
    };
    let map = PageMap::open();
    if map.can_scan() {
        assert_eq!(pages(&map, Extent::Data), 0b1);
    } else {
        eprintln!("skipped: this kernel does not scan page maps");
    }
    // More than that does no harm in an image, and it is there.
    assert_eq!(pages(&map, Extent::Pages), 0xff);
    assert_eq!(pages(&PageMap::without_scan(), Extent::Data), 0xff);
    region.remove(0, region.range().size(), &Maps::default()).unwrap();
    assert_eq!(pages(&map, Extent::Pages), 0);
}

#[test]
fn a_file_that_was_cut_has_no_data_past_its_end() {
    let file = memfd();
    let region = region_of(source_of(&file, false));
    touch(region.host(), 0xff, 1);
    file.set_len(4 * page_size()).unwrap();
    assert_eq!(found(&region), 0b0111);
}

#[test]
fn huge_pages_are_found_also_where_only_others_touched_them() {
    const HUGE: u64 = 2 << 20;
    let options =
        RegionOptions { source: Source::Huge { log2: 21 }, ..RegionOptions::plain(0, 4 * HUGE) };
    let region = match MemoryRegion::new(&options) {
        Err(Error::NoMemory(_) | Error::Unsupported(_)) => {
            eprintln!("skipped: no free huge pages");
            return;
        }
        region => region.unwrap(),
    };
    let file = region.backing().file().unwrap().0.fd();
    let huge = |pages: &[u64]| -> Vec<DataRange> {
        pages.iter().map(|at| DataRange { start: at * HUGE, end: (at + 1) * HUGE }).collect()
    };
    assert_eq!(find_one(&region).unwrap(), huge(&[]));
    // SAFETY: within the region.
    unsafe { volatile::fill(region.host().add(HUGE as usize + 5), 1, 1) };
    assert_eq!(find_one(&region).unwrap(), huge(&[1]));
    // SAFETY: a second mapping of the region's file, at addresses of the kernel's choice.
    unsafe {
        let (size, protection) = (4 * HUGE as usize, libc::PROT_READ | libc::PROT_WRITE);
        let second = libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, file, 0);
        assert_ne!(second, libc::MAP_FAILED);
        volatile::fill(second.cast::<u8>().add(3 * HUGE as usize), 1, 1);
        volatile::fill(second.cast(), 0, 1);
        libc::munmap(second, size);
    }
    assert_eq!(find_one(&region).unwrap(), huge(&[1, 3]));
    assert_eq!(region.mapping().resident().unwrap(), HUGE);
}
