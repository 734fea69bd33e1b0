// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Regions as they are asked for, and what is wrong with that.

use super::host::{FILE_PAGES, Files, Mapping};
use super::input::{Record, TOP};
use super::model::{Codes, Region};
use super::world::World;
use guestmem::ffi::region::*;
use guestmem::ffi::status::*;
use guestmem_fuzz::memory::PAGE;
use std::cell::{Cell, RefCell};
use std::ptr::null_mut;
use std::rc::Rc;

const FILE: u64 = GUESTMEM_REGION_FD;
const HOST: u64 = GUESTMEM_REGION_HOST;
const READ_ONLY: u64 = GUESTMEM_REGION_READ_ONLY;
const PRIVATE: u64 = GUESTMEM_REGION_PRIVATE;
const HUGE: u64 = GUESTMEM_REGION_HUGETLB;
const POPULATE: u64 = GUESTMEM_REGION_POPULATE;

const FLAGS: [u64; 32] = [
    0,
    0,
    0,
    0,
    0,
    0,
    PRIVATE,
    PRIVATE,
    READ_ONLY,
    READ_ONLY,
    FILE,
    FILE,
    FILE,
    FILE | READ_ONLY,
    FILE | READ_ONLY,
    FILE | PRIVATE,
    FILE | PRIVATE | READ_ONLY,
    HOST,
    HOST,
    HOST | FILE,
    HOST | READ_ONLY,
    HOST | FILE | READ_ONLY,
    HOST | FILE | PRIVATE,
    PRIVATE | READ_ONLY,
    POPULATE,
    POPULATE | PRIVATE,
    POPULATE | FILE,
    HUGE | FILE,
    HUGE | HOST,
    HUGE | PRIVATE,
    1 << 6,
    1 << 63,
];

const ANCHORS: [u64; 8] = [
    0,
    0x1_0000,
    0x1_0000,
    0x1_0000,
    (1 << 32) - 0x2000,
    (1 << 63) - 0x2000,
    TOP - 0x8000,
    0x10_0000,
];

/// Of each file.
const FILE_SIZE: u64 = (FILE_PAGES * PAGE) as u64;

const BAD_SIZES: [u64; 8] = [0, 1, 4095, 0x1001, 1 << 62, 1 << 63, TOP, u64::MAX];

/// From here on no host has room.
const HUGE_SIZE: u64 = 1 << 62;

/// A region as it is asked for, and what is wrong with that.
pub struct Asked {
    pub options: guestmem_region_options,
    callers: Option<Mapping>,
    faults: Codes,
}

impl Asked {
    pub fn plain(&(guest_addr, pages, flags): &(u64, u64, u64)) -> Self {
        // SAFETY: all-zero options are valid.
        let zeros: guestmem_region_options = unsafe { std::mem::zeroed() };
        let options = guestmem_region_options { guest_addr, size: pages * 4096, flags, ..zeros };
        Asked { options, callers: None, faults: Codes::NONE }
    }

    pub fn new(record: &Record, files: &Files) -> Self {
        let part = |index| record.part(index) as usize;
        // SAFETY: all-zero options are valid.
        let mut options: guestmem_region_options = unsafe { std::mem::zeroed() };
        let oddity = if record.handle() >= 250 { 0x800 } else { 0 };
        options.guest_addr = ANCHORS[part(0) % 8].wrapping_add(part(1) as u64 % 8 * 4096 + oddity);
        options.size = match part(2) {
            size if size < 240 => (1 + size % 4) as u64 * 4096,
            size => BAD_SIZES[size % 8],
        };
        options.flags = FLAGS[part(3) % 32];
        options.fd_offset = match part(4) {
            offset if offset < 240 => offset as u64 % 4 * 4096,
            offset => [1, 1 << 63, i64::MAX as u64 - 4095, 5 * 4096][offset % 4],
        };
        options.align = match part(5) {
            align if align < 160 => 0,
            align => [1, 2, 4096, 1 << 16, 1 << 21, 3, 0x3000, 1 << 62][align % 8],
        };
        options.purpose = [0, 1, 2, 3, 4][part(6) % 5];
        match part(6) {
            252 => options.purpose = 5,
            253 => options.purpose = u32::MAX,
            254 => options.reserved = 1,
            255 => options.hugetlb_log2 = 21,
            _ => {}
        }
        let mut asked = Asked { options, callers: None, faults: Codes::NONE };
        asked.choose_backing(part(7), files);
        asked.find_faults(part(7), files);
        asked
    }

    fn has(&self, flag: u64) -> bool {
        self.options.flags & flag != 0
    }

    /// Which file, which of the caller's memory: only what can be used so is passed as such.
    fn choose_backing(&mut self, choice: usize, files: &Files) {
        let is_copy = self.has(PRIVATE) || (self.has(READ_ONLY) && choice.is_multiple_of(2));
        self.options.fd = match choice {
            248 => -1,
            249 => files.pipe,
            250 => files.write_only,
            251 if !self.has(PRIVATE) => files.shared_read_only,
            _ if is_copy => files.constant,
            _ => files.shared,
        };
        if self.has(HOST) && !self.has(HUGE) && choice != 255 {
            self.map_callers(files);
        }
    }

    /// The caller's memory, where there can be such a mapping.
    fn map_callers(&mut self, files: &Files) {
        let fits = self.options.size.is_multiple_of(4096)
            && (1..=4 * 4096).contains(&self.options.size)
            && self.options.fd_offset.is_multiple_of(4096)
            && self.options.fd_offset <= FILE_SIZE - self.options.size;
        if !fits {
            self.options.flags &= !HOST;
            return;
        }
        let kind = if !self.has(FILE) {
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
        } else if self.options.fd == files.constant {
            self.options.flags |= PRIVATE;
            libc::MAP_PRIVATE
        } else {
            self.options.fd = files.shared;
            libc::MAP_SHARED
        };
        let size = self.options.size as usize;
        let (fd, offset) = (self.options.fd, self.options.fd_offset as i64);
        let mapping = Mapping::new(size, kind, if self.has(FILE) { fd } else { -1 }, offset);
        self.options.host_addr = mapping.start();
        self.callers = Some(mapping);
    }

    pub fn find_faults(&mut self, choice: usize, files: &Files) {
        let options = &self.options;
        let is_huge = self.has(HUGE);
        let bad_argument = options.flags >= 1 << 6
            || options.purpose > GUESTMEM_PURPOSE_STATIC_SWIOTLB
            || options.reserved != 0
            || (is_huge && (self.has(FILE) || self.has(HOST) || self.has(PRIVATE)))
            || (options.hugetlb_log2 != 0 && !is_huge)
            || (self.has(FILE) && options.fd_offset > i64::MAX as u64)
            || (self.has(HOST) && options.host_addr.is_null());
        if bad_argument {
            self.faults = Codes::of(GUESTMEM_E_INVALID_ARGUMENT);
            return;
        }
        let end = u128::from(options.guest_addr) + u128::from(options.size);
        let is_aligned = options.guest_addr.is_multiple_of(4096)
            && options.size.is_multiple_of(4096)
            && (!self.has(FILE) || options.fd_offset.is_multiple_of(4096))
            && (options.align == 0 || options.align.is_power_of_two())
            && (options.host_addr.is_null()
                || (options.host_addr as u64).is_multiple_of(options.align.max(1)));
        let is_short =
            options.fd_offset.checked_add(options.size).is_none_or(|end| end > FILE_SIZE);
        let is_wrong_file = matches!(choice, 248..=250) && self.callers.is_none();
        let is_read_only = [files.constant, files.shared_read_only].contains(&options.fd);
        let mut faults = Codes::NONE;
        for (is_one, code) in [
            (options.size == 0, GUESTMEM_E_INVALID_SIZE),
            (end >= 1 << 64, GUESTMEM_E_TOO_LARGE),
            (!is_aligned, GUESTMEM_E_NOT_ALIGNED),
            (self.has(FILE) && (is_short || is_wrong_file), GUESTMEM_E_BACKING),
            (
                self.has(FILE) && is_read_only && !self.has(READ_ONLY) && !self.has(PRIVATE),
                GUESTMEM_E_READ_ONLY,
            ),
            (options.size >= HUGE_SIZE || options.align >= HUGE_SIZE, GUESTMEM_E_NO_MEMORY),
            (options.size >= HUGE_SIZE || options.align >= HUGE_SIZE, GUESTMEM_E_TOO_LARGE),
        ] {
            if is_one {
                faults = faults.or(code);
            }
        }
        self.faults = faults;
    }

    /// The region that comes of it; `memfd_offset` is where it lies if in the library's memfd.
    pub fn region(self, world: &World, memfd_offset: &mut u64) -> Rc<Region> {
        let guestmem_region_options {
            guest_addr: start,
            size,
            flags,
            purpose,
            align,
            fd_offset,
            fd,
            ..
        } = self.options;
        let is_file = flags & FILE != 0;
        let (store, at) = match () {
            _ if is_file && fd == world.files.constant => {
                (Rc::new(RefCell::new(Files::constant_bytes())), fd_offset as usize)
            }
            _ if is_file => (world.shared.clone(), fd_offset as usize),
            _ => (Rc::new(RefCell::new(vec![0; size as usize])), 0),
        };
        let is_in_memfd = Region::is_in_memfd(flags);
        let offset = if is_in_memfd { *memfd_offset } else { fd_offset };
        *memfd_offset += if is_in_memfd { size } else { 0 };
        let (handle, host) = (Cell::new(null_mut()), Cell::new(null_mut()));
        let fd_offset = if is_file || is_in_memfd { offset } else { 0 };
        Rc::new(Region {
            start,
            size,
            flags,
            purpose,
            fd_offset,
            align,
            store,
            at,
            handle,
            host,
            is_tainted: Cell::new(Some(false)),
            callers: self.callers,
        })
    }
}

/// The options' size in the library.
pub const OPTIONS: usize = size_of::<guestmem_region_options>();

/// What is wrong with several of them, which a memory is to be made of.
pub fn faults_of(all: &[Asked]) -> Codes {
    let mut faults = all.iter().fold(Codes::NONE, |faults, asked| faults.with(asked.faults));
    if faults.has(GUESTMEM_E_INVALID_ARGUMENT) {
        return Codes::of(GUESTMEM_E_INVALID_ARGUMENT);
    }
    let end = |asked: &Asked| u128::from(asked.options.guest_addr) + u128::from(asked.options.size);
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            if other.options.guest_addr < one.options.guest_addr {
                faults = faults.or(GUESTMEM_E_UNSORTED);
            }
            let shares = |a: &Asked, b: &Asked| {
                a.options.guest_addr <= b.options.guest_addr
                    && u128::from(b.options.guest_addr) < end(a)
            };
            if shares(one, other) || shares(other, one) {
                faults = faults.or(GUESTMEM_E_OVERLAP);
            }
        }
    }
    faults
}

pub fn or_ok(faults: Codes) -> Codes {
    if faults == Codes::NONE { Codes::OK } else { faults }
}

/// Sizes of the options' struct: too short, older, ours, newer.
const OPTION_SIZES: [usize; 16] = [64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 16, 32, 72, 80, 8, 0];

/// The bytes of several options of some size, that size, and what must come of them. What a shorter
/// struct lacks is as if it were zero.
pub fn options_in(all: &mut [Asked], record: &Record, files: &Files) -> (Vec<u64>, usize, Codes) {
    let size = OPTION_SIZES[record.handle() as usize % OPTION_SIZES.len()];
    let rest_is_zero = record.handle() < 128;
    let mut bytes = Vec::new();
    for asked in all.iter_mut() {
        if size < OPTIONS {
            // Descriptor 0 is not ours, and huge pages the system may not have.
            asked.options.flags &= !(FILE | HUGE);
        }
        let mut words = vec![if rest_is_zero { 0 } else { 1u64 }; size.max(OPTIONS) / 8];
        // SAFETY: as many bytes as the options have; any bytes are valid options.
        unsafe {
            (&raw const asked.options).copy_to_nonoverlapping(words.as_mut_ptr().cast(), 1);
            words.truncate(size / 8);
            if size < OPTIONS {
                let mut padded = words.clone();
                padded.resize(OPTIONS / 8, 0);
                asked.options = padded.as_ptr().cast::<guestmem_region_options>().read();
                asked.callers = None;
                asked.find_faults(0, files);
            }
        }
        bytes.extend(words);
    }
    let is_bad_size = size < 16 || (size > OPTIONS && !rest_is_zero);
    let right = match () {
        // Of no options the contract does not say whether their size matters.
        _ if is_bad_size && all.is_empty() => Codes::OK.or(GUESTMEM_E_INVALID_ARGUMENT),
        _ if is_bad_size => Codes::of(GUESTMEM_E_INVALID_ARGUMENT),
        _ => or_ok(faults_of(all)),
    };
    (bytes, size, right)
}
