// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

use super::*;
use crate::access::volatile::{copy_from_guest, fill};
use crate::host::maps::Maps;
use crate::image::read::restore::{RestoreOptions, restore_from, restore_from_fd};
use crate::memory::options::{CallerMemory, RegionOptions, Source};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd};

const PAGES: u64 = 8;
const PLAIN: SnapshotOptions = SnapshotOptions {
    layout: Layout::Packed,
    checksums: true,
    skip_zero_pages: false,
    sync: false,
    direct: false,
    threads: 0,
};
const ALONE: RestoreOptions = RestoreOptions { more_follows: false, threads: 0 };

fn go_on(_: u64, _: u64) -> Result<()> {
    Ok(())
}

/// Three regions of which the first two touch.
fn memory(source: Source) -> Ref<GuestMemory> {
    let size = PAGES * page_size();
    let region = |base| RegionOptions { source, ..RegionOptions::plain(base, size) };
    GuestMemory::new(&[region(0), region(size), region(1 << 32)]).unwrap()
}

fn file() -> File {
    // SAFETY: a new descriptor that nobody else owns.
    unsafe { File::from_raw_fd(libc::memfd_create(c"image".as_ptr(), libc::MFD_CLOEXEC)) }
}

fn host(mem: &GuestMemory, region: usize, page: u64) -> *mut u8 {
    let region = mem.region(region).unwrap();
    assert!(page * page_size() < region.range().size());
    // SAFETY: within the region.
    unsafe { region.host().add((page * page_size()) as usize) }
}

/// Fills the pages that are set in the pattern of their region, each with its own bytes.
fn touch(mem: &GuestMemory, patterns: [u32; 3], byte: u8) {
    for (region, pattern) in patterns.into_iter().enumerate() {
        for page in (0..PAGES).filter(|page| pattern >> page & 1 != 0) {
            // SAFETY: a page of a region.
            unsafe { fill(host(mem, region, page), byte + page as u8, page_size() as usize) };
        }
    }
}

fn contents(mem: &GuestMemory) -> Vec<u8> {
    let mut all = Vec::new();
    for index in 0..mem.num_regions() {
        let region = mem.region(index).unwrap();
        let mut bytes = vec![0; region.range().size() as usize];
        // SAFETY: the buffer is as large as the region.
        unsafe { copy_from_guest(bytes.as_mut_ptr(), region.host(), bytes.len()) };
        all.extend(bytes);
    }
    all
}

fn resident(mem: &GuestMemory) -> u64 {
    (0..mem.num_regions())
        .map(|index| mem.region(index).unwrap().mapping().resident().unwrap())
        .sum()
}

/// Metadata and data of a snapshot.
fn image(mem: &GuestMemory, options: SnapshotOptions) -> (Vec<u8>, Vec<u8>) {
    let mut data = Vec::new();
    let mut write = |bytes: &[u8]| {
        data.extend_from_slice(bytes);
        Ok(bytes.len())
    };
    let text = snapshot_to(mem, &mut write, options, &mut go_on).unwrap();
    (text, data)
}

fn restore(mem: &GuestMemory, text: &[u8], mut data: &[u8]) -> Result<()> {
    let mut read = |buffer: &mut [u8]| Ok(data.read(buffer).unwrap());
    restore_from(mem, text, &mut read, ALONE, &mut go_on)
}

fn restore_file(mem: &GuestMemory, text: &[u8], data: &[u8]) -> Result<()> {
    let mut file = file();
    file.write_all(data).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    restore_from_fd(mem, text, file.as_raw_fd(), ALONE, &mut go_on)
}

#[test]
fn every_layout_of_data_and_holes_comes_back_over_any_other() {
    for source in [Source::Memfd, Source::Private] {
        let (from, to) = (memory(source), memory(source));
        for pattern in 0..256u32 {
            let patterns = [pattern, !pattern & 0xff, pattern.reverse_bits() >> 24];
            for region in 0..3 {
                from.region(region)
                    .unwrap()
                    .remove(0, PAGES * page_size(), &Maps::default())
                    .unwrap();
            }
            touch(&from, patterns, 1);
            touch(&to, [pattern.rotate_left(3) & 0xff, 0xff, 0x3c], 100);
            let options = SnapshotOptions { checksums: pattern % 2 == 0, ..PLAIN };
            let (text, data) = image(&from, options);
            let data_pages: u32 = patterns.iter().map(|pattern| pattern.count_ones()).sum();
            assert_eq!(data.len() as u64, u64::from(data_pages) * page_size());
            let bring_back = if pattern % 4 < 2 { restore } else { restore_file };
            bring_back(&to, &text, &data).unwrap();
            // What is not covered is a hole again, not just zeros.
            assert_eq!(resident(&to), data.len() as u64);
            assert_eq!(image(&to, options), (text, data));
            assert!(contents(&to) == contents(&from));
        }
    }
}

#[test]
fn zero_pages_are_left_out_on_request() {
    let (from, to) = (memory(Source::Memfd), memory(Source::Memfd));
    // SAFETY: a whole region.
    unsafe { fill(host(&from, 1, 0), 0, (PAGES * page_size()) as usize) };
    touch(&from, [0b11, 0b100, 0], 1);
    assert_eq!(image(&from, PLAIN).1.len() as u64, 10 * page_size());
    let (text, data) = image(&from, SnapshotOptions { skip_zero_pages: true, ..PLAIN });
    assert_eq!(data.len() as u64, 3 * page_size());
    restore(&to, &text, &data).unwrap();
    assert!(contents(&to) == contents(&from));
}

#[test]
fn a_file_is_used_from_its_position_on() {
    let (from, to) = (memory(Source::Memfd), memory(Source::Memfd));
    touch(&from, [0xa5, 0x0f, 0xf0], 1);
    let mut file = file();
    file.write_all(b"before").unwrap();
    let sync = SnapshotOptions { sync: true, ..PLAIN };
    let text = snapshot_to_fd(&from, file.as_raw_fd(), sync, &mut go_on).unwrap();
    assert_eq!(file.stream_position().unwrap(), 6 + 12 * page_size());
    file.write_all(b"behind").unwrap();
    let restore = |more_follows| {
        let options = RestoreOptions { more_follows, ..ALONE };
        restore_from_fd(&to, &text, file.as_raw_fd(), options, &mut go_on)
    };
    (&file).seek(SeekFrom::Start(6)).unwrap();
    assert_eq!(restore(false), Err(Error::SnapshotLong));
    assert_eq!((&file).stream_position().unwrap(), 6);
    restore(true).unwrap();
    assert_eq!((&file).stream_position().unwrap(), 6 + 12 * page_size());
    assert!(contents(&to) == contents(&from));
    assert_eq!(restore(true), Err(Error::SnapshotShort { completed: 0 }));
}

#[test]
fn nothing_is_written_from_a_file_that_is_not_whole() {
    let (from, to) = (memory(Source::Memfd), memory(Source::Memfd));
    touch(&from, [0xa5, 0x0f, 0xf0], 1);
    touch(&to, [0xff, 0, 0x55], 50);
    let (before, (text, mut data)) = (contents(&to), image(&from, PLAIN));
    for cut in (0..data.len()).step_by(page_size() as usize) {
        let short = restore_file(&to, &text, &data[..cut]);
        assert_eq!(short, Err(Error::SnapshotShort { completed: 0 }));
    }
    for at in (0..data.len()).step_by(4099) {
        data[at] ^= 1 << (at % 8);
        assert_eq!(restore_file(&to, &text, &data), Err(Error::Corrupt { completed: 0 }));
        data[at] ^= 1 << (at % 8);
    }
    data.push(0);
    assert_eq!(restore_file(&to, &text, &data), Err(Error::SnapshotLong));
    assert!(contents(&to) == before && !to.is_tainted());
    // That it is tainted already changes nothing of this.
    to.region(0).unwrap().set_tainted(true);
    assert_eq!(restore_file(&to, &text, &data), Err(Error::SnapshotLong));
    assert!(contents(&to) == before && to.is_tainted());
    restore_file(&to, &text, &data[..data.len() - 1]).unwrap();
    assert!(!to.is_tainted());
}

#[test]
fn a_stream_that_fails_later_taints_until_a_restore_succeeds() {
    let (from, to) = (memory(Source::Memfd), memory(Source::Memfd));
    touch(&from, [0b11, 0b100, 0b1], 1);
    let (text, mut data) = image(&from, PLAIN);
    let untouched = contents(&to);
    // The first chunk is of two pages.
    let page = page_size() as usize;
    for pages in [0, 1] {
        let short = restore(&to, &text, &data[..pages * page]);
        assert_eq!(short, Err(Error::SnapshotShort { completed: (pages * page) as u64 }));
        assert!(contents(&to) == untouched && !to.is_tainted());
    }
    let refuses = |mem: &GuestMemory| {
        let mut write = |_: &[u8]| panic!("a tainted memory is written");
        snapshot_to(mem, &mut write, PLAIN, &mut go_on) == Err(Error::Tainted)
    };
    for pages in [2, 3] {
        let short = restore(&to, &text, &data[..pages * page]);
        assert_eq!(short, Err(Error::SnapshotShort { completed: (pages * page) as u64 }));
        assert!(refuses(&to));
        restore(&to, &text, &data).unwrap();
        assert_eq!(image(&to, PLAIN), (text.clone(), data.clone()));
    }
    data[3 * page] ^= 1;
    assert_eq!(restore(&to, &text, &data), Err(Error::Corrupt { completed: 3 * page as u64 }));
    data[3 * page] ^= 1;
    data.push(0);
    assert!(refuses(&to));
    assert_eq!(restore(&to, &text, &data), Err(Error::SnapshotLong));
    assert!(refuses(&to));
    assert_eq!(
        restore(&to, b"{}", &data),
        Err(Error::Metadata("a value of the metadata is missing, twice or of another kind"))
    );
    assert!(refuses(&to));
    data.pop();
    restore(&to, &text, &data).unwrap();
    assert_eq!(image(&to, PLAIN), (text, data));
}

#[test]
fn metadata_of_other_regions_is_refused() {
    let size = PAGES * page_size();
    let region = RegionOptions::plain;
    let from = GuestMemory::new(&[region(0, size), region(1 << 32, size)]).unwrap();
    let (text, data) = image(&from, PLAIN);
    for other in [
        vec![region(0, size)],
        vec![region(0, size), region(1 << 32, size), region(1 << 33, size)],
        vec![region(page_size(), size), region(1 << 32, size)],
        vec![region(0, size), region(1 << 32, size + page_size())],
        vec![],
    ] {
        let to = GuestMemory::new(&other).unwrap();
        assert!(matches!(restore(&to, &text, &data), Err(Error::Mismatch(_))));
    }
}

#[test]
fn a_read_only_region_has_to_hold_the_same() {
    let size = PAGES * page_size();
    let from = GuestMemory::new(&[RegionOptions::plain(0, size)]).unwrap();
    let (text, data) = image(&from, PLAIN);
    let read_only = RegionOptions { read_only: true, ..RegionOptions::plain(0, size) };
    let to = GuestMemory::new(&[read_only]).unwrap();
    assert_eq!(restore(&to, &text, &data), Ok(()));
    // Taking a snapshot of it is fine.
    assert_eq!(image(&to, PLAIN), (text, data));
    // SAFETY: within the region.
    unsafe { fill(from.regions().unwrap()[0].host().add(5), 1, 1) };
    let (text, data) = image(&from, PLAIN);
    assert!(matches!(restore(&to, &text, &data), Err(Error::Mismatch(_))));
    assert!(!to.is_tainted());
}

#[test]
fn the_file_behind_the_memory_is_not_written() {
    let file = file();
    file.set_len(PAGES * page_size()).unwrap();
    for private in [false, true] {
        let source = Source::File { fd: file.as_raw_fd(), offset: 0, private };
        let options = RegionOptions { source, ..RegionOptions::plain(0, PAGES * page_size()) };
        let mem = GuestMemory::new(&[options]).unwrap();
        let again = file.try_clone().unwrap();
        let busy = snapshot_to_fd(&mem, again.as_raw_fd(), PLAIN, &mut go_on);
        assert!(matches!(busy, Err(Error::Busy(_))));
    }
}

#[test]
fn progress_rises_to_the_total_and_may_stop_the_work() {
    let options = RegionOptions::plain(0, 5 << 20);
    let (from, to) = (GuestMemory::new(&[options]).unwrap(), GuestMemory::new(&[options]).unwrap());
    let empty = image(&from, PLAIN);
    // SAFETY: the whole region.
    unsafe { fill(host(&from, 0, 0), 3, 5 << 20) };
    let (text, data) = image(&from, PLAIN);
    let rising = |total: u64, stop: u64| {
        let mut last = 0;
        move |done: u64, all: u64| {
            assert!(all == total && done >= last && done <= all);
            last = done;
            if done >= stop { Err(Error::Cancelled) } else { Ok(()) }
        }
    };
    let mut ignore = |bytes: &[u8]| Ok(bytes.len());
    for (stop, result) in [(1 << 20, Err(Error::Cancelled)), (u64::MAX, Ok(()))] {
        let taken = snapshot_to(&from, &mut ignore, PLAIN, &mut rising(5 << 20, stop));
        assert_eq!(taken.map(|_| ()), result);
        let mut rest = &data[..];
        let mut read = |buffer: &mut [u8]| Ok(rest.read(buffer).unwrap());
        let restored = restore_from(&to, &text, &mut read, ALONE, &mut rising(5 << 20, stop));
        assert_eq!(restored, result);
        assert_eq!(to.is_tainted(), result.is_err());
    }
    let mut calls = 0;
    let mut once = |done: u64, total: u64| {
        calls += 1;
        assert_eq!((done, total), (0, 0));
        Ok(())
    };
    let mut read = |_: &mut [u8]| Ok(0);
    restore_from(&to, &empty.0, &mut read, ALONE, &mut once).unwrap();
    snapshot_to(&to, &mut ignore, PLAIN, &mut once).unwrap();
    assert_eq!(calls, 2);
}

#[test]
fn folded_holes_are_written_as_zeros_and_stay_holes() {
    let (from, to) = (memory(Source::Memfd), memory(Source::Memfd));
    touch(&from, [0b1010_1001, 0b1000_0001, 0b101], 1);
    let regions = from.regions().unwrap();
    let mut metadata = survey(&regions, PLAIN).unwrap();
    // Two small chunks in a range and holes at every place in them.
    metadata.chunk_size = 3 * page_size();
    let holes = fold::fold(&mut metadata, 860).unwrap();
    assert_eq!(holes.len(), 4);
    let mut data = Vec::new();
    let mut write = |bytes: &[u8]| {
        data.extend_from_slice(bytes);
        Ok(bytes.len())
    };
    packed::write(&mut metadata, &holes, &regions, &mut write, &mut go_on).unwrap();
    restore(&to, &metadata.to_text().unwrap(), &data).unwrap();
    let mut restored = vec![contents(&to)];
    for (layout, threads) in [(Layout::Packed, 1), (Layout::Packed, 3), (Layout::Sparse, 2)] {
        touch(&to, [0xff, 0xff, 0xff], 50);
        let mut gathered = Metadata { layout, ..metadata.clone() };
        let file = file();
        let target = gather::Target { fd: file.as_raw_fd(), short: None, start: Some(0) };
        gather::write(&mut gathered, &holes, &regions, target, threads, &mut go_on).unwrap();
        assert_eq!(gathered.checksums, metadata.checksums);
        file.set_len(gathered.extent()).unwrap();
        let text = gathered.to_text().unwrap();
        restore_from_fd(&to, &text, file.as_raw_fd(), ALONE, &mut go_on).unwrap();
        restored.push(contents(&to));
    }
    assert_eq!(resident(&from), 8 * page_size());
    assert!(restored.iter().all(|memory| *memory == contents(&from)));
}

/// More parts than one system call takes, into a pipe that takes few bytes at once.
#[test]
fn a_pipe_gets_every_byte_in_order() {
    let size = 3000 * page_size();
    let (from, to) = (
        GuestMemory::new(&[RegionOptions::plain(0, size)]).unwrap(),
        GuestMemory::new(&[RegionOptions::plain(0, size)]).unwrap(),
    );
    for page in (0..3000).filter(|page| page % 7 != 3 && page % 2 == 0) {
        // SAFETY: a page of the region.
        unsafe { fill(host(&from, 0, page), page as u8 | 1, page_size() as usize) };
    }
    let (text, data) = image(&from, PLAIN);
    let (reader, writer) = std::io::pipe().unwrap();
    let received = std::thread::spawn(move || {
        let (mut reader, mut all) = (reader, Vec::new());
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let own = snapshot_to_fd(&from, writer.as_raw_fd(), PLAIN, &mut go_on).unwrap();
    drop(writer);
    assert_eq!(own, text);
    assert!(received.join().unwrap() == data);
    restore_file(&to, &text, &data).unwrap();
    assert!(contents(&to) == contents(&from));
}

#[test]
fn a_failing_writer_is_reported() {
    let mem = memory(Source::Memfd);
    touch(&mem, [1, 1, 1], 1);
    for answer in [Ok(0), Ok(usize::MAX), Err(libc::ENOSPC)] {
        let mut first = true;
        let mut write = |_: &[u8]| if std::mem::take(&mut first) { Ok(7) } else { answer };
        let errno = answer.err().unwrap_or(libc::EIO);
        let result = snapshot_to(&mem, &mut write, PLAIN, &mut go_on);
        assert_eq!(result, Err(Error::Io { errno, completed: 7 }));
    }
    let mut write = |_: &[u8]| panic!("nothing can be synced here");
    let sync = SnapshotOptions { sync: true, ..PLAIN };
    let result = snapshot_to(&mem, &mut write, sync, &mut go_on);
    assert!(matches!(result, Err(Error::Unsupported(_))));
}

/// Registers memory with a userfaultfd, where the system allows it.
fn register(mem: &GuestMemory) -> Option<File> {
    const UFFD_USER_MODE_ONLY: i32 = 1;
    const UFFDIO_API: u64 = 0xc018_aa3f;
    const UFFDIO_REGISTER: u64 = 0xc020_aa00;
    let region = mem.region(1).unwrap();
    let mut api = [0xaau64, 0, 0];
    const MISSING: u64 = 1;
    let mut wanted = [region.host() as u64, region.range().size(), MISSING, 0];
    // SAFETY: the kernel reads and writes the two structs, which are laid out as it wants them.
    unsafe {
        let flags = libc::O_CLOEXEC | UFFD_USER_MODE_ONLY;
        let fd = libc::syscall(libc::SYS_userfaultfd, flags) as i32;
        if fd < 0 {
            return None;
        }
        let file = File::from_raw_fd(fd);
        let done = libc::ioctl(fd, UFFDIO_API as _, &mut api) == 0
            && libc::ioctl(fd, UFFDIO_REGISTER as _, &mut wanted) == 0;
        done.then_some(file)
    }
}

#[test]
fn memory_with_missing_pages_is_refused() {
    let mem = memory(Source::Private);
    let (text, data) = image(&mem, PLAIN);
    let Some(userfault) = register(&mem) else {
        eprintln!("skipped: no userfaultfd");
        return;
    };
    let mut write = |bytes: &[u8]| Ok(bytes.len());
    let refused = snapshot_to(&mem, &mut write, PLAIN, &mut go_on);
    assert!(matches!(refused, Err(Error::Unsupported(_))));
    assert!(matches!(restore(&mem, &text, &data), Err(Error::Unsupported(_))));
    drop(userfault);
    assert_eq!(image(&mem, PLAIN), (text, data));
}

/// A copy-on-write region and the caller's memory, of which pages cannot all be freed.
#[test]
fn every_backing_reads_as_the_snapshot_afterwards() {
    let size = PAGES * page_size();
    let file = file();
    file.set_len(size).unwrap();
    (&file).write_all(&vec![7; size as usize]).unwrap();
    let from = GuestMemory::new(&[RegionOptions::plain(0, size)]).unwrap();
    // SAFETY: a page of the region.
    unsafe { fill(host(&from, 0, 3), 9, page_size() as usize) };
    let (text, data) = image(&from, PLAIN);
    for (flags, given) in [
        (libc::MAP_PRIVATE, false),
        (libc::MAP_PRIVATE, true),
        (libc::MAP_SHARED, false),
        (libc::MAP_SHARED, true),
    ] {
        // SAFETY: a mapping of its own, taken back below.
        let host = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), size as usize, protection, flags, file.as_raw_fd(), 0)
        };
        assert_ne!(host, libc::MAP_FAILED);
        let source = Source::Caller {
            // SAFETY: mapped above, unmapped below.
            memory: unsafe { CallerMemory::new(host.cast()) },
            file: given.then_some((file.as_raw_fd(), 0)),
            private: flags == libc::MAP_PRIVATE,
        };
        let options = RegionOptions { source, ..RegionOptions::plain(0, size) };
        let to = GuestMemory::new(&[options]).unwrap();
        restore(&to, &text, &data).unwrap();
        assert!(contents(&to) == contents(&from));
        drop(to);
        // SAFETY: mapped above; the memory on it is gone.
        unsafe { libc::munmap(host, size as usize) };
    }
    (&file).seek(SeekFrom::Start(0)).unwrap();
    (&file).write_all(&vec![7; size as usize]).unwrap();
    let source = Source::File { fd: file.as_raw_fd(), offset: 0, private: true };
    let options = RegionOptions { source, ..RegionOptions::plain(0, size) };
    let to = GuestMemory::new(&[options]).unwrap();
    restore(&to, &text, &data).unwrap();
    assert!(contents(&to) == contents(&from));
}

/// Parts of huge pages cannot be freed; they become zeros.
#[test]
fn memory_of_huge_pages_takes_any_snapshot() {
    let size = 6 << 20;
    let source = Source::Huge { log2: 21 };
    let options = RegionOptions { source, ..RegionOptions::plain(0, size) };
    let to = match GuestMemory::new(&[options]) {
        Err(Error::NoMemory(_) | Error::Unsupported(_)) => {
            eprintln!("skipped: no free huge pages");
            return;
        }
        to => to.unwrap(),
    };
    let from = GuestMemory::new(&[RegionOptions::plain(0, size)]).unwrap();
    for page in [3, 600, 601] {
        // SAFETY: a page of the region.
        unsafe { fill(host(&from, 0, page), 5, page_size() as usize) };
    }
    // SAFETY: the whole region.
    unsafe { fill(host(&to, 0, 0), 9, size as usize) };
    let (text, data) = image(&from, PLAIN);
    restore(&to, &text, &data).unwrap();
    assert_eq!(resident(&to), 4 << 20);
    // Its own snapshot is of whole huge pages, or of those parts that hold anything.
    assert_eq!(image(&to, PLAIN).1.len(), 4 << 20);
    let skip = SnapshotOptions { skip_zero_pages: true, ..PLAIN };
    assert_eq!(image(&to, skip), (text, data));
    // Reading takes the missing page too.
    assert!(contents(&to) == contents(&from));
}

/// Gives up the calling thread's privileges.
fn drop_capabilities() {
    const VERSION_3: u32 = 0x2008_0522;
    let (header, none) = ([VERSION_3, 0], [0u32; 6]);
    // SAFETY: the kernel reads the two structs, which are laid out as it wants them.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) }, 0);
}

#[test]
fn memory_that_nobody_can_look_into_is_restored_but_not_taken() {
    let size = PAGES * page_size();
    let from = GuestMemory::new(&[RegionOptions::plain(0, size)]).unwrap();
    // SAFETY: a page of the region.
    unsafe { fill(host(&from, 0, 2), 6, page_size() as usize) };
    let (text, data) = image(&from, PLAIN);
    let restored = std::thread::spawn(move || {
        drop_capabilities();
        // SAFETY: a mapping of its own that stays.
        let host = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), size as usize, protection, flags, -1, 0)
        };
        assert_ne!(host, libc::MAP_FAILED);
        // SAFETY: mapped above, unmapped below.
        let memory = unsafe { CallerMemory::new(host.cast()) };
        let source = Source::Caller { memory, file: None, private: false };
        let to =
            GuestMemory::new(&[RegionOptions { source, ..RegionOptions::plain(0, size) }]).unwrap();
        // SAFETY: the whole mapping.
        unsafe { fill(host.cast(), 1, size as usize) };
        let mut write = |_: &[u8]| panic!("nobody knows what to write");
        let refused = snapshot_to(&to, &mut write, PLAIN, &mut go_on);
        assert!(matches!(refused, Err(Error::Unsupported(_))));
        restore(&to, &text, &data).unwrap();
        assert_eq!(resident(&to), page_size());
        contents(&to)
    });
    assert!(restored.join().unwrap() == contents(&from));
}
