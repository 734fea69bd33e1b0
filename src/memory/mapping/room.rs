// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How many mappings may come of what guests give back and of what images look like. A process may
//! have only so many (vm.max_map_count), and without one more it cannot start a thread.
//!
//! All regions together get half of what the rest of the process leaves, and no region more than is
//! left for the others.

use crate::host::maps;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// However many the system allows: each costs memory of the kernel's, and is gone through.
const MOST: u64 = 1 << 15;

/// What all rooms hold.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// What they may hold, as of the last look.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// How often room may still be asked for before the next look.
static BEFORE_LOOK: AtomicI64 = AtomicI64::new(0);

/// The mappings that a region has beyond its first, or more.
#[derive(Debug, Default)]
pub struct Room(u64);

impl Room {
    #[cfg(test)]
    pub fn held(&self) -> u64 {
        self.0
    }

    /// Takes two more for a part of so many bytes. Small parts leave half of the room to large
    /// ones, of which each is worth more.
    pub fn take_pair(&mut self, bytes: u64) -> bool {
        const LARGE: u64 = 2 << 20;
        let limit = limit();
        let most = if bytes < LARGE { limit / 2 } else { limit };
        let may_have = |taken: u64| taken + 2 <= most.saturating_sub(self.0);
        let add = |taken| may_have(taken).then_some(taken + 2);
        let took = TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok();
        self.0 += if took { 2 } else { 0 };
        took
    }

    /// Takes two more for each of as many parts as possible, and tells for how many.
    pub fn take_pairs(&mut self, parts: u64) -> u64 {
        if parts == 0 {
            return 0;
        }
        let limit = limit();
        let may_have = |taken: u64| limit.saturating_sub(taken).saturating_sub(self.0) / 2;
        let pairs = |taken| parts.min(may_have(taken) / 2);
        let add = |taken| Some(taken + 2 * pairs(taken));
        let taken = TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        let pairs = taken.map_or(0, pairs);
        self.0 += 2 * pairs;
        pairs
    }

    /// Holds fewer.
    pub fn give_back(&mut self, fewer: u64) {
        let fewer = fewer.min(self.0);
        self.0 -= fewer;
        TAKEN.fetch_sub(fewer, Ordering::Relaxed);
    }

    /// Counts those between two addresses that this is for, and all others: there may be less in use
    /// than was thought. Gives how many mappings there are.
    pub fn recount(&mut self, start: u64, end: u64) -> u64 {
        let Ok((all, own)) = maps::count_mappings(start, end) else {
            return MOST;
        };
        self.give_back(self.0.saturating_sub(own.saturating_sub(1)));
        set_limit(all);
        all
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back(self.0);
    }
}

/// What all rooms may hold, about as things are now.
fn limit() -> u64 {
    if BEFORE_LOOK.fetch_sub(1, Ordering::Relaxed) <= 0 {
        // Without /proc nobody knows of others.
        set_limit(maps::count_mappings(0, 0).map_or(0, |(all, _)| all));
    }
    LIMIT.load(Ordering::Relaxed)
}

/// Where there are so many mappings now.
fn set_limit(all: u64) {
    let others = all.saturating_sub(TAKEN.load(Ordering::Relaxed));
    let half = maps::most_mappings().saturating_sub(others) / 2;
    LIMIT.store(half.min(MOST), Ordering::Relaxed);
    // Others may have many more soon. But the more there are, the longer it takes to count them.
    BEFORE_LOOK.store((all / 32).clamp(128, 1024) as i64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_share_what_there_is() {
        let mut rooms = [(); 8].map(|()| Room::default());
        for room in &mut rooms {
            while room.take_pair(4096) {}
            assert!(room.0 <= MOST / 4, "{}", room.0);
        }
        let all: u64 = rooms.iter().map(|room| room.0).sum();
        assert!(all <= MOST / 2, "{all}");
        let mut large = Room::default();
        assert!(large.take_pair(4 << 20), "small parts have left something");
        assert!(large.take_pairs(1 << 40) > 0);
        assert!(all + large.0 < MOST);
        rooms[0].give_back(u64::MAX);
        assert_eq!(rooms[0].0, 0);
        assert!(rooms[0].take_pair(4096));
        assert!(rooms[0].recount(0, 0) > 0);
        assert_eq!(rooms[0].0, 0);
    }
}
