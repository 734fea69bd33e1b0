// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The table against a naive oracle, over small address spaces that can be exhausted.

use super::*;

/// Host addresses of the model: far from the guest's, and even.
const AWAY: u64 = 0x5000_0000;

fn table(base: u64, layout: &[(u64, u64)], read_only: u8) -> Table {
    sized_table(base, layout, read_only, FlatSize::Any)
}

fn sized_table(base: u64, layout: &[(u64, u64)], read_only: u8, flat: FlatSize) -> Table {
    let entries = layout.iter().enumerate().map(|(index, &(start, end))| Entry {
        range: GuestRange::new(base + start, end - start).unwrap(),
        host: host_of(base + start, index),
        read_only: index < 8 && read_only >> index & 1 != 0,
        // Never looked at: the model has no regions.
        region: NonNull::dangling(),
    });
    Table::new(entries.collect(), flat).unwrap()
}

/// Regions lie apart in host memory, also where they touch in the guest's.
fn host_of(guest: u64, index: usize) -> *mut u8 {
    guest.wrapping_add(AWAY + 0x1000 * index as u64) as *mut u8
}

/// All layouts of up to three regions whose boundaries are multiples of `unit` below `top`.
fn layouts(top: u64, unit: u64) -> Vec<Vec<(u64, u64)>> {
    let mut all = vec![vec![]];
    let mut grow = all.clone();
    for _ in 0..3 {
        grow = grow.iter().flat_map(|layout| extended(layout, top, unit)).collect();
        all.extend(grow.iter().cloned());
    }
    all
}

fn extended(layout: &[(u64, u64)], top: u64, unit: u64) -> Vec<Vec<(u64, u64)>> {
    let from = layout.last().map_or(0, |&(_, end)| end);
    let starts = (from..top).step_by(unit as usize);
    let regions = starts.flat_map(|s| (s + unit..=top).step_by(unit as usize).map(move |e| (s, e)));
    regions.map(|region| [layout, &[region]].concat()).collect()
}

/// The naive oracle: which region holds each byte, and a range that is grown byte by byte.
struct Oracle {
    base: u64,
    holder: Vec<Option<usize>>,
    ends: Vec<u64>,
    read_only: u8,
}

/// What the bytes from an address on have in common.
struct Range {
    addr: u64,
    len: u64,
    /// Host address and length of the bytes in each region, in order.
    runs: Vec<(*mut u8, usize)>,
    first: Option<usize>,
    last: Option<usize>,
    all_held: bool,
    any_held: bool,
    any_read_only: bool,
}

impl Oracle {
    fn new(base: u64, layout: &[(u64, u64)], top: u64, read_only: u8) -> Self {
        let holds = |addr| layout.iter().position(|&(start, end)| (start..end).contains(&addr));
        let ends = layout.iter().map(|&(_, end)| end).collect();
        Oracle { base, holder: (0..=top).map(holds).collect(), ends, read_only }
    }

    fn empty_range(&self, addr: u64) -> Range {
        let first = self.holder[addr as usize];
        let (all_held, any_held, any_read_only) = (true, false, false);
        let (len, runs, last) = (0, Vec::new(), None);
        Range { addr, len, runs, first, last, all_held, any_held, any_read_only }
    }

    fn is_read_only(&self, holder: Option<usize>) -> bool {
        holder.is_some_and(|index| self.read_only >> index & 1 != 0)
    }

    fn grow(&self, range: &mut Range) {
        let addr = range.addr + range.len;
        let holder = self.holder.get(addr as usize).copied().flatten();
        match holder {
            Some(_) if holder == range.last => range.runs.last_mut().unwrap().1 += 1,
            Some(index) => range.runs.push((host_of(self.base + addr, index), 1)),
            None => {}
        }
        range.last = holder;
        range.all_held &= holder.is_some();
        range.any_held |= holder.is_some();
        range.any_read_only |= self.is_read_only(holder);
        range.len += 1;
    }

    fn region_level(&self, range: &Range) -> Result<*mut u8> {
        let index = range.first.ok_or(Error::InvalidAddress)?;
        match range {
            Range { len: 0, .. } => Err(Error::InvalidSize),
            Range { all_held: true, runs, .. } if runs.len() == 1 => {
                Ok(host_of(self.base + range.addr, index))
            }
            _ => Err(Error::InvalidRange),
        }
    }

    fn at_an_end(&self, range: &Range) -> bool {
        range.len == 0 && self.ends.contains(&range.addr)
    }

    fn dma_level(&self, range: &Range, write: bool) -> Result<Vec<(*mut u8, usize)>> {
        match range {
            Range { first: None, .. } if !self.at_an_end(range) => Err(Error::InvalidAddress),
            Range { all_held: false, .. } => Err(Error::InvalidRange),
            Range { any_read_only: true, .. } if write => Err(Error::ReadOnly),
            _ => Ok(range.runs.clone()),
        }
    }

    /// Bytes from the range's start to the end of its region.
    fn rest(&self, range: &Range) -> Result<usize> {
        match range.first {
            None if self.at_an_end(range) => Ok(0),
            None => Err(Error::InvalidAddress),
            Some(_) => {
                let rest = self.holder[range.addr as usize..].iter();
                Ok(rest.take_while(|&&holder| holder == range.first).count())
            }
        }
    }
}

fn check_layout(base: u64, layout: &[(u64, u64)], top: u64, read_only: u8) {
    let table = table(base, layout, read_only);
    let oracle = Oracle::new(base, layout, top, read_only);
    for addr in 0..=top {
        let mut range = oracle.empty_range(addr);
        check_address(&table, &oracle, &range);
        for _ in 0..=top - addr + 1 {
            check_range(&table, &oracle, &range);
            oracle.grow(&mut range);
        }
        for len in [u64::MAX, u64::MAX - addr, 1 << 63] {
            assert!(table.readable(base + addr, len).is_err());
            assert!(table.span(base + addr, len, false).is_err());
            assert_eq!(table.flat().readable(base + addr, len), None);
        }
    }
}

fn check_address(table: &Table, oracle: &Oracle, range: &Range) {
    let at = oracle.base + range.addr;
    assert_eq!(table.index_of(at), range.first);
    assert_eq!(table.is_read_only(at), oracle.is_read_only(range.first));
    if let Some(index) = range.first {
        assert_eq!(table.guest_address(host_of(at, index) as u64), Ok(at));
    }
}

fn check_range(table: &Table, oracle: &Oracle, range: &Range) {
    let (at, len) = (oracle.base + range.addr, range.len);
    let readable = oracle.region_level(range);
    assert_eq!(table.readable(at, len), readable);
    let writable = match oracle.is_read_only(range.first) {
        true => readable.and(Err(Error::ReadOnly)),
        false => readable,
    };
    assert_eq!(table.writable(at, len), writable);
    let (flat, flat_writable) = (table.flat().readable(at, len), table.flat().writable(at, len));
    if oracle.base == 0 {
        // The map has a boundary wherever a region has one, so it knows everything but the last
        // byte of what is read-only.
        let last_byte =
            oracle.is_read_only(range.first) && oracle.ends.contains(&(range.addr + len));
        let known = readable.ok().filter(|_| !last_byte);
        assert_eq!((flat, flat_writable), (known, writable.ok()));
    }
    assert!(flat.is_none_or(|host| Ok(host) == readable));
    assert!(flat_writable.is_none_or(|host| Ok(host) == writable));
    let rest = table.rest_of_region(at, len).map(|rest| rest.len);
    assert_eq!(rest, if len == 0 || range.first.is_some() { oracle.rest(range) } else { rest });
    for write in [false, true] {
        let expected = oracle.dma_level(range, write);
        let span = table.span(at, len, write);
        let runs = |span: Span| span.parts().map(run).collect::<Vec<_>>();
        assert_eq!(span.map(runs), expected);
        if let Ok(span) = span {
            check_span(&span, &expected.unwrap());
        }
    }
    assert_eq!(table.overlaps(at, at.saturating_add(len)), range.any_held);
}

fn run(part: HostRange) -> (*mut u8, usize) {
    (part.addr, part.len)
}

/// The parts that begin and end at the borders of the runs, and in their midst.
fn check_span(span: &Span, runs: &[(*mut u8, usize)]) {
    let mut offset = 0;
    for &(host, len) in runs {
        assert_eq!(run(span.part_from(offset)), (host, len));
        assert_eq!(run(span.part_up_to(offset + len as u64)), (host, len));
        let half = len / 2;
        let upper = (host.wrapping_add(half), len - half);
        assert_eq!(run(span.part_from(offset + half as u64)), upper);
        if half > 0 {
            assert_eq!(run(span.part_up_to(offset + half as u64)), (host, half));
        }
        offset += len as u64;
    }
}

/// Pages of the model: the smallest whose ends leave room for [`READ_ONLY`].
const PAGE: u64 = 2;

/// Every layout of up to three regions in 12 pages, each region read-only or not, at the bottom,
/// across 2^32 and at the top of the address space: every address, every length.
#[test]
fn every_layout_of_12_pages_agrees_with_the_oracle() {
    let top = 12 * PAGE;
    for (index, layout) in layouts(top, PAGE).iter().enumerate() {
        for (place, base) in [0, (1 << 32) - 6 * PAGE, u64::MAX - 1 - top].into_iter().enumerate() {
            // Each layout meets every pattern at one of the places, the others in turn.
            let patterns = 1 << layout.len();
            for pattern in 0..patterns {
                if place == 0 || pattern == (index + place) % patterns {
                    check_layout(base, layout, top, pattern as u8);
                }
            }
        }
    }
}

/// 8-bit addresses, with region boundaries at multiples of 32 (with boundaries at every page
/// there would be 10^9 layouts): every address, every length.
#[test]
fn layouts_of_8_bit_addresses_agree_with_the_oracle() {
    for (index, layout) in layouts(256, 32).iter().enumerate() {
        check_layout(0, layout, 256, index as u8 & 7);
    }
}

/// 8-bit addresses, with pairs of boundaries for one region beside two that lie fixed around it.
#[test]
fn regions_of_8_bit_addresses_agree_with_the_oracle() {
    for start in (PAGE..252).step_by(2) {
        for end in (start + PAGE..254).step_by(6) {
            check_edges(&[(0, PAGE), (start, end), (254, 256)]);
            check_edges(&[(0, start), (start, end), (end, 256)]);
        }
    }
}

/// Ranges that begin and end within a byte of a boundary.
fn check_edges(layout: &[(u64, u64)]) {
    let (table, oracle) = (table(0, layout, 2), Oracle::new(0, layout, 256, 2));
    let near: Vec<u64> = layout
        .iter()
        .flat_map(|&(start, end)| [start, end])
        .flat_map(|edge| edge.saturating_sub(1)..=(edge + 1).min(256))
        .collect();
    for &addr in &near {
        let mut range = oracle.empty_range(addr);
        while range.addr + range.len <= 257 {
            if near.contains(&(range.addr + range.len)) {
                check_range(&table, &oracle, &range);
            }
            oracle.grow(&mut range);
        }
    }
}

#[test]
fn the_flat_map_knows_all_where_it_can() {
    let gib = 1 << 30;
    let exact = table(0, &[(0, 3 * gib), (4 * gib, 5 * gib)], 0);
    assert_eq!((exact.shift, exact.chunks.len()), (30, 5));
    for addr in [0, 3 * gib - 1, 4 * gib, 5 * gib - 1] {
        assert!(exact.flat().readable(addr, 1).is_some());
    }
    // A small ROM below 4 GiB beside much RAM: chunks are wider than the ROM.
    let rom = 4 * gib - (256 << 10);
    let wide = table(0, &[(0, 3 * gib), (rom, 4 * gib), (4 * gib, 1024 * gib)], 0);
    assert!(wide.chunks.len() <= MAX_CHUNKS as usize);
    assert_eq!(wide.flat().readable(rom, 1), None);
    assert_eq!(wide.readable(rom, 256 << 10), Ok(host_of(rom, 1)));
    assert!(wide.flat().readable(500 * gib + 5, 4096).is_some());
}

#[test]
fn a_small_map_stays_small_and_right() {
    let (kib, gib) = (1 << 10, 1 << 30);
    let layout = [(0, 640 * kib), (1 << 20, 3 * gib), (4 * gib, 7 * gib)];
    let any = table(0, &layout, 1);
    let mut bytes = 0;
    for before in 0..200_000 {
        let small = sized_table(0, &layout, 1, FlatSize::Kept { before });
        bytes += small.bytes();
        if before % 20_000 == 0 {
            assert!(any.chunks.len() > small.chunks.len());
            assert!(small.chunks.len() <= SMALL_MAP as usize);
            agree(&any, &small, &layout);
        }
    }
    assert!(bytes < 200 << 20);
}

fn agree(any: &Table, small: &Table, layout: &[(u64, u64)]) {
    let gib = 1 << 30;
    for edge in layout.iter().flat_map(|&(start, end)| [start, end]) {
        for addr in edge.saturating_sub(3)..edge + 3 {
            for len in [0, 1, 3, 4, gib] {
                assert_eq!(any.readable(addr, len), small.readable(addr, len));
                let flat = small.flat().writable(addr, len);
                assert!(flat.is_none_or(|host| any.writable(addr, len) == Ok(host)));
            }
        }
    }
}

#[test]
fn the_map_keeps_within_its_bound() {
    let page = 4096;
    for regions in [1, 2, 100, 5000] {
        for spread in [page, 1 << 20, 1 << 40] {
            let layout: Vec<_> =
                (0..regions).map(|n| (n * spread * 2, n * spread * 2 + page)).collect();
            let table = table(page, &layout, 0);
            assert!(table.chunks.len() <= MAX_CHUNKS as usize);
            for &(start, end) in &layout {
                assert!(table.readable(page + start, end - start).is_ok());
            }
        }
    }
    assert!(table(0, &[], 0).find(0).is_err());
    assert!(table(0, &[(0, u64::MAX - 1)], 0).readable(1 << 63, 1).is_ok());
}
