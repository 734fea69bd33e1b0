// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The input as a sequence of records of one size, each of which says what to call and with what:
//! addresses and lengths mostly from the edges of regions and runs, one off here and there.

use super::model::Map;
use guestmem_fuzz::random::Random;

/// Bytes of a record.
pub const RECORD: usize = 16;

/// More than that of an input is not looked at.
pub const MAX_RECORDS: usize = 96;

const PAGE: i64 = 4096;

/// The last page can be in no region.
pub const TOP: u64 = u64::MAX - 0xfff;

const NEAR: [i64; 24] = [
    0,
    0,
    0,
    -1,
    1,
    -8,
    8,
    -4,
    4,
    -2,
    2,
    -3,
    3,
    -7,
    7,
    -9,
    9,
    16,
    64,
    100,
    PAGE / 2,
    -PAGE / 2,
    PAGE,
    -PAGE,
];

const ANYWHERE: [u64; 8] = [0, 0x1_0000, 1 << 32, 1 << 63, TOP, u64::MAX, 0x5000, i64::MAX as u64];

const LENGTHS: [u64; 28] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    12,
    16,
    17,
    24,
    31,
    32,
    64,
    65,
    128,
    1000,
    4095,
    4096,
    4097,
    8192,
    12288,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// A call to be made.
#[derive(Clone, Copy, Default)]
pub struct Record(pub [u8; RECORD]);

impl Record {
    pub fn call(&self) -> u8 {
        self.0[0]
    }

    pub fn handle(&self) -> u8 {
        self.0[1]
    }

    /// A choice that is the call's own.
    pub fn choice(&self) -> u8 {
        self.0[6]
    }

    /// True when the call's pointer of that number is to be NULL.
    pub fn is_null(&self, number: u8) -> bool {
        self.0[7] >= 0xf0 && self.0[7] & 3 == number
    }

    pub fn value(&self) -> u64 {
        u64::from_ne_bytes(self.0[8..].try_into().expect("8 bytes"))
    }

    /// One of the bytes of `value`.
    pub fn part(&self, index: usize) -> u8 {
        self.0[8 + index]
    }

    /// Bytes to write.
    pub fn bytes(&self, len: u64) -> Vec<u8> {
        let mut random = Random::new(self.value() as u32);
        let mut bytes = vec![0; len as usize];
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&random.draw().to_ne_bytes()[..word.len()]);
        }
        bytes
    }

    pub fn address(&self, map: Option<&Map>) -> u64 {
        address(map, self.0[2], self.0[3])
    }

    pub fn other_address(&self, map: Option<&Map>) -> u64 {
        address(map, self.part(0), self.part(1))
    }

    pub fn length(&self, map: Option<&Map>, addr: u64) -> u64 {
        length(map, addr, self.0[4], self.0[5])
    }

    pub fn range(&self, map: Option<&Map>) -> (u64, u64) {
        let addr = self.address(map);
        (addr, self.length(map, addr))
    }
}

fn address(map: Option<&Map>, place: u8, near: u8) -> u64 {
    let place = place as usize;
    let regions = map.map_or(&[][..], |map| &map.0);
    let start = match regions.len() {
        count if count == 0 || place >= 240 => ANYWHERE[place % ANYWHERE.len()],
        count => {
            let region = &regions[place / 3 % count];
            [region.start, region.end(), region.start + region.size / 2][place % 3]
        }
    };
    start.wrapping_add_signed(NEAR[near as usize % NEAR.len()])
}

fn length(map: Option<&Map>, addr: u64, kind: u8, near: u8) -> u64 {
    let near = NEAR[near as usize % NEAR.len()];
    match (kind, map) {
        (128..184, Some(map)) => map.room(addr).wrapping_add_signed(near),
        (184..240, Some(map)) => map.run(addr).wrapping_add_signed(near),
        (240.., _) => 0u64.wrapping_sub(addr).wrapping_add_signed(near),
        _ => LENGTHS[kind as usize % LENGTHS.len()],
    }
}

/// Records, one after the other; the last one may be cut.
pub struct Records<'a>(std::iter::Take<std::slice::Chunks<'a, u8>>);

impl<'a> Records<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Records(bytes.chunks(RECORD).take(MAX_RECORDS))
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let bytes = self.0.next()?;
        let mut record = Record::default();
        record.0[..bytes.len()].copy_from_slice(bytes);
        Some(record)
    }
}
