// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Guest addresses and ranges: all arithmetic that could wrap lives here, and nowhere else.

use crate::error::{Error, Result};

/// `addr + offset`, unless that wraps at 2^64.
pub const fn add(addr: u64, offset: u64) -> Result<u64> {
    match addr.checked_add(offset) {
        Some(sum) => Ok(sum),
        None => Err(Error::InvalidRange),
    }
}

/// True when `value` is a multiple of `align`, a power of two.
pub const fn is_aligned(value: u64, align: u64) -> bool {
    value & (align - 1) == 0
}

/// `value` rounded down to a multiple of `align`, a power of two.
pub const fn align_down(value: u64, align: u64) -> u64 {
    value & !(align - 1)
}

/// The smallest number >= `from` that agrees with `residue` modulo `align`, a power of two.
pub const fn next_congruent(from: u64, residue: u64, align: u64) -> Option<u64> {
    from.checked_add(residue.wrapping_sub(from) & (align - 1))
}

/// A range of guest addresses that is not empty and ends below 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestRange {
    start: u64,
    end: u64,
}

impl GuestRange {
    /// The range of `size` bytes from `start` on.
    pub const fn new(start: u64, size: u64) -> Result<Self> {
        if size == 0 {
            return Err(Error::InvalidSize);
        }
        match start.checked_add(size) {
            Some(end) => Ok(GuestRange { start, end }),
            None => Err(Error::too_large("the region would end at or past 2^64")),
        }
    }

    /// The first address.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The first address past the range.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Bytes in the range, never 0.
    pub const fn size(self) -> u64 {
        self.end - self.start
    }

    /// True when `addr` lies in the range.
    pub const fn contains(self, addr: u64) -> bool {
        self.start <= addr && addr < self.end
    }

    /// The distance of `addr` from the start, if it lies in the range.
    pub const fn offset_of(self, addr: u64) -> Option<u64> {
        if self.contains(addr) { Some(addr - self.start) } else { None }
    }

    /// Bytes from `addr` to the range's end; 0 when `addr` does not lie in the range.
    pub const fn room_at(self, addr: u64) -> u64 {
        if self.contains(addr) { self.end - addr } else { 0 }
    }

    /// True when the `len` bytes from `addr` on lie in the range. No bytes lie nowhere.
    pub const fn holds(self, addr: u64, len: u64) -> bool {
        len != 0 && len <= self.room_at(addr)
    }

    /// True when the range shares an address with the half-open `start..end`.
    pub const fn overlaps(self, start: u64, end: u64) -> bool {
        start < end && start < self.end && self.start < end
    }
}

/// True when `offset..offset + len` lies within `0..=size`, without wrapping.
pub const fn fits(offset: u64, len: u64, size: u64) -> bool {
    offset <= size && len <= size - offset
}

/// Host address minus guest address: what turns one into the other by a wrapping addition, so that
/// a lookup needs no subtraction of the region's start.
pub const fn host_delta(host: u64, guest: u64) -> u64 {
    host.wrapping_sub(guest)
}

/// The host address of `guest` under `delta`, see [`host_delta`].
pub const fn apply_delta(guest: u64, delta: u64) -> u64 {
    guest.wrapping_add(delta)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The naive model: a range is the list of its addresses, in arithmetic too wide to wrap.
    fn oracle_contains(start: u64, size: u64, addr: u128) -> bool {
        (u128::from(start)..u128::from(start) + u128::from(size)).contains(&addr)
    }

    /// Every range, address and length of a 5-bit address space, laid at both ends of the real one.
    #[test]
    fn ranges_agree_with_the_oracle_everywhere() {
        for base in [0, u64::MAX - 31] {
            for start in 0..32u64 {
                for size in 0..=32u64 {
                    check_range(base, start, size);
                }
            }
        }
    }

    fn check_range(base: u64, start: u64, size: u64) {
        let end = u128::from(base) + u128::from(start) + u128::from(size);
        let range = GuestRange::new(base + start, size);
        if size == 0 {
            assert_eq!(range, Err(Error::InvalidSize));
            return;
        }
        if end >= 1 << 64 {
            assert!(matches!(range, Err(Error::TooLarge { .. })));
            return;
        }
        let range = range.unwrap();
        assert_eq!(u128::from(range.end()), end);
        assert_eq!(range.size(), size);
        for addr in 0..32u64 {
            check_address(range, base, start, size, addr);
        }
    }

    fn check_address(range: GuestRange, base: u64, start: u64, size: u64, addr: u64) {
        let inside = |a: u64| oracle_contains(base + start, size, u128::from(base) + u128::from(a));
        assert_eq!(range.contains(base + addr), inside(addr));
        assert_eq!(range.offset_of(base + addr), inside(addr).then(|| addr - start));
        let room = (addr..=64).take_while(|&a| inside(a)).count() as u64;
        assert_eq!(range.room_at(base + addr), room);
        for len in (0..=65).chain([u64::MAX, u64::MAX - base - addr, 1 << 63]) {
            let all = len != 0 && len <= room;
            assert_eq!(range.holds(base + addr, len), all, "{range:?} {addr} {len}");
        }
        for other in 0..32u64 {
            let shares = (addr..other).any(inside);
            assert_eq!(range.overlaps(base + addr, base + other), shares);
        }
    }

    #[test]
    fn fits_and_congruence_agree_with_wide_arithmetic() {
        let edges = [0, 1, 2, 7, 8, 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX];
        for a in edges {
            for b in edges {
                for c in edges {
                    let sum = u128::from(a) + u128::from(b);
                    assert_eq!(fits(a, b, c), sum <= u128::from(c));
                }
                for align in [1, 2, 4096, 1 << 21, 1 << 63] {
                    let Some(next) = next_congruent(a, b, align) else { continue };
                    assert!(next >= a && next - a < align);
                    assert!(is_aligned(next.wrapping_sub(b), align));
                }
                assert_eq!(apply_delta(b, host_delta(a, b)), a);
            }
        }
        assert_eq!(align_down(4097, 4096), 4096);
        assert_eq!(add(8, u64::MAX), Err(Error::InvalidRange));
        assert_eq!(add(8, u64::MAX - 8), Ok(u64::MAX));
        assert!(is_aligned(4096, 4096) && !is_aligned(4097, 2));
    }
}
