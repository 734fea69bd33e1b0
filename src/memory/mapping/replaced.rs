// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which parts of a copy-on-write mapping have been replaced by private zeros, and what may still be:
//! each part is a mapping of its own and cuts the one around it in two.

use crate::memory::mapping::room::Room;
use std::ops::Range;

/// The parts of one mapping.
#[derive(Debug, Default)]
pub struct Replaced {
    /// Ascending; no two touch.
    parts: Vec<Range<u64>>,
    /// Two for each part, and one for each seam: where parts have met, the kernel may still have two.
    room: Room,
    /// How often not to count mappings again, which takes its time.
    patience: u64,
}

impl Replaced {
    /// True where all of a range has been replaced already.
    pub fn holds(&self, range: &Range<u64>) -> bool {
        let at = self.parts.partition_point(|part| part.end < range.end);
        self.parts.get(at).is_some_and(|part| part.start <= range.start)
    }

    /// Whether a range may be replaced, in the mapping at `host`: where that takes mappings, there is
    /// room for them, which is taken. [`Replaced::add`] is to follow.
    pub fn may_add(&mut self, range: &Range<u64>, host: Range<u64>) -> bool {
        if !self.touching(range).is_empty() {
            return true;
        }
        if self.parts.try_reserve(1).is_err() {
            return false;
        }
        let bytes = range.end - range.start;
        if self.room.take_pair(bytes) {
            return true;
        }
        self.recount(host) && self.room.take_pair(bytes)
    }

    /// Counts how many mappings there are in truth, in the mapping at `host` and in all, if it is time
    /// to: for when there seem to be too many.
    pub fn recount(&mut self, host: Range<u64>) -> bool {
        if self.patience > 0 {
            self.patience -= 1;
            return false;
        }
        self.patience = self.room.recount(host.start, host.end);
        true
    }

    /// Notes that a range was replaced.
    pub fn add(&mut self, range: Range<u64>) {
        let touching = self.touching(&range);
        let (Some(first), Some(last)) =
            (self.parts[touching.clone()].first(), self.parts[touching.clone()].last())
        else {
            // Room for one more was made.
            self.parts.insert(touching.start, range);
            return;
        };
        let sides = u64::from(first.start < range.start) + u64::from(last.end > range.end);
        let joined = first.start.min(range.start)..last.end.max(range.end);
        // Those that are covered go, with what lay between. Where two have met there is a seam.
        let gone = 2 * (touching.len() as u64 - 1);
        self.room.give_back(if sides == 2 { gone.saturating_sub(1) } else { gone });
        self.parts.drain(touching.start + 1..touching.end);
        self.parts[touching.start] = joined;
    }

    /// Notes that the whole mapping, of `size` bytes, was replaced, which takes no room.
    pub fn add_all(&mut self, size: u64) {
        self.parts.clear();
        // Not to know of it costs no more than to replace it again.
        if self.parts.try_reserve(1).is_ok() {
            self.parts.push(0..size);
        }
        self.room.give_back(u64::MAX);
    }

    /// Takes room for as many parts as there is, at most `count`, and tells for how many.
    pub fn room_for(&mut self, count: u64) -> u64 {
        self.room.take_pairs(count)
    }

    /// Begins with these parts, ascending and apart, for which room was taken.
    pub fn begin_with(&mut self, parts: Vec<Range<u64>>) {
        self.parts = parts;
    }

    /// Those parts that a range overlaps or that begin or end where it does.
    fn touching(&self, range: &Range<u64>) -> Range<usize> {
        let first = self.parts.partition_point(|part| part.end < range.start);
        first..self.parts.partition_point(|part| part.start <= range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts that a set of pages is made of.
    fn parts_of(bits: u32) -> Vec<Range<u64>> {
        let mut replaced = Replaced::default();
        (0..8).filter(|at| bits >> at & 1 != 0).for_each(|at| replaced.add(at..at + 1));
        replaced.parts
    }

    #[test]
    fn parts_agree_with_sets_of_pages() {
        for bits in 0..256u32 {
            for start in 0..8u64 {
                for end in start + 1..=8 {
                    let mut replaced = Replaced::default();
                    replaced.begin_with(parts_of(bits));
                    let mask = ((1u32 << end) - 1) & !((1u32 << start) - 1);
                    assert_eq!(replaced.holds(&(start..end)), bits & mask == mask);
                    replaced.add(start..end);
                    assert_eq!(replaced.parts, parts_of(bits | mask), "{bits:b} {start}..{end}");
                    let apart = replaced.parts.windows(2).all(|two| two[0].end < two[1].start);
                    assert!(apart && replaced.holds(&(start..end)));
                }
            }
        }
    }

    #[test]
    fn what_is_held_is_never_less_than_the_mappings() {
        let mut replaced = Replaced::default();
        assert_eq!(replaced.room_for(50), 50);
        (0..100).step_by(2).for_each(|at| replaced.add(at..at + 1));
        assert_eq!(replaced.room.held(), 100);
        for at in (1..99).step_by(2) {
            assert!(replaced.may_add(&(at..at + 1), 0..0));
            replaced.add(at..at + 1);
        }
        // One part, of 50 mappings.
        assert_eq!((replaced.parts.len(), replaced.room.held()), (1, 51));
        replaced.add_all(200);
        assert_eq!((replaced.parts.len(), replaced.room.held()), (1, 0));
    }
}
