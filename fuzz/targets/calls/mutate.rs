// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Changes to inputs: whole records come, go and move, and parts of records change.

use super::input::{MAX_RECORDS, RECORD};
use guestmem_fuzz::random::Random;
use libfuzzer_sys::fuzzer_mutate;

/// Changes the first `size` of `bytes`, to at most `max`. Gives the new size.
pub fn mutate(bytes: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    let max = max.min(MAX_RECORDS * RECORD);
    if random.once_in(8) || max < RECORD {
        return fuzzer_mutate(bytes, size.min(max), max);
    }
    let mut records: Vec<_> = bytes[..size.min(max)].chunks(RECORD).map(<[u8]>::to_vec).collect();
    for _ in 0..=random.below(4) {
        edit(&mut records, &mut random);
    }
    let mut all = records.concat();
    all.truncate(max);
    bytes[..all.len()].copy_from_slice(&all);
    all.len()
}

fn edit(records: &mut Vec<Vec<u8>>, random: &mut Random) {
    let at = random.below(records.len() + 1);
    let Some(record) = records.get_mut(at) else { return records.push(anything(random)) };
    match random.below(10) {
        0 | 1 => records.insert(at, anything(random)),
        2 => {
            let copy = record.clone();
            let to = random.below(records.len() + 1);
            records.insert(to, copy);
        }
        3 => {
            records.remove(at);
        }
        4 => {
            let other = random.below(records.len());
            records.swap(at, other);
        }
        5 => record[0] = random.draw() as u8,
        _ => {
            let index = random.below(record.len());
            record[index] = random.draw() as u8;
        }
    }
}

fn anything(random: &mut Random) -> Vec<u8> {
    (0..RECORD).map(|_| random.draw() as u8).collect()
}
