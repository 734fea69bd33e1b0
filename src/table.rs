// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The immutable lookup table: a flat map for the fast answer, sorted regions for the exact one.
//!
//! The flat map has an entry for each chunk of `2^shift` bytes of guest address space, which
//! describes the region that holds the chunk's *first* byte. An address that this region holds too
//! is found with one load and one comparison. For every other address the sorted regions decide: a
//! hole, or a region that starts within a chunk, which happens only where the map's bound makes
//! chunks wider than the distances between regions.

use crate::address::{self, GuestRange, apply_delta, host_delta};
use crate::error::{Error, Result};
use crate::region::MemoryRegion;
use crate::volatile::VolatileSlice;
use std::ptr::NonNull;

/// Chunks in a map that needs no exact answers from the regions: at most 1 MiB of map.
const MAX_CHUNKS: u64 = 64 << 10;
/// Chunks in a map that cannot have a chunk boundary at each region's start anyway.
const MIN_BOUND: u64 = 4 << 10;
/// Set in [`Chunk::delta`] for a read-only region; host and guest pages leave the bit free.
const READ_ONLY: u64 = 1;

/// What the flat map tells of a chunk. Its layout is part of the inline path's contract.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// First guest address past the region; 0 when the chunk starts in a hole.
    end: u64,
    /// Host address minus guest address, plus [`READ_ONLY`].
    delta: u64,
}

/// A region as the table sees it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    range: GuestRange,
    host: *mut u8,
    read_only: bool,
    region: NonNull<MemoryRegion>,
}

/// The regions of a memory at one moment.
#[repr(C)]
#[derive(Debug)]
pub struct Table {
    chunks: Vec<Chunk>,
    shift: u32,
    entries: Vec<Entry>,
}

// SAFETY: the pointers lead to mappings and regions, which may be used from any thread.
unsafe impl Send for Table {}
// SAFETY: as above; a table never changes.
unsafe impl Sync for Table {}

impl Entry {
    /// The entry of a region.
    ///
    /// # Safety
    /// The region outlives every table that holds the entry, or at least every call that began
    /// before it was taken out.
    pub unsafe fn of(region: &MemoryRegion) -> Self {
        Entry {
            range: region.range(),
            host: region.host(),
            read_only: region.is_read_only(),
            region: NonNull::from(region),
        }
    }

    /// Its guest addresses.
    pub fn range(&self) -> GuestRange {
        self.range
    }

    /// The host address of its first byte.
    pub fn host(&self) -> *mut u8 {
        self.host
    }

    /// The region.
    pub fn region(&self) -> &MemoryRegion {
        // SAFETY: who made the entry vouches that the region outlives the calls that can see it.
        unsafe { self.region.as_ref() }
    }

    /// The host address of `addr`, which lies in the region.
    fn host_at(&self, addr: u64) -> *mut u8 {
        apply_delta(addr, host_delta(self.host as u64, self.range.start())) as *mut u8
    }
}

impl Table {
    /// The table of `entries`, which must not overlap and be in ascending order.
    pub fn new(entries: Vec<Entry>) -> Result<Self> {
        for pair in entries.windows(2) {
            if pair[1].range.start() < pair[0].range.end() {
                return Err(Error::Overlap);
            }
        }
        let (shift, count) = chunk_shape(&entries);
        let chunks = make_chunks(&entries, shift, count)?;
        Ok(Table { chunks, shift, entries })
    }

    /// All regions in ascending order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The flat map's answer: the bytes from `addr` to the end of its region, and host address
    /// minus guest address with [`READ_ONLY`]. No bytes when the map does not know.
    #[inline(always)]
    fn flat(&self, addr: u64) -> (u64, u64) {
        // The shift is below 64; this spares a check of it.
        let index = addr.wrapping_shr(self.shift) as usize;
        match self.chunks.get(index) {
            Some(chunk) => (chunk.end.saturating_sub(addr), chunk.delta),
            None => (0, 0),
        }
    }

    /// The host address of `len` bytes to read, where the flat map knows that one region holds
    /// them. `None` also for no bytes: whoever gets it asks [`Table::readable`].
    #[inline(always)]
    pub fn flat_readable(&self, addr: u64, len: u64) -> Option<*mut u8> {
        let (room, delta) = self.flat(addr);
        // No bytes wrap to more than any room: one comparison for size, range and hole.
        let inside = len.wrapping_sub(1) < room;
        inside.then(|| apply_delta(addr, delta & !READ_ONLY) as *mut u8)
    }

    /// As [`Table::flat_readable`], to write.
    #[inline(always)]
    pub fn flat_writable(&self, addr: u64, len: u64) -> Option<*mut u8> {
        let (room, delta) = self.flat(addr);
        let inside = len.wrapping_sub(1) < room && delta & READ_ONLY == 0;
        inside.then(|| apply_delta(addr, delta) as *mut u8)
    }

    /// The region that holds `addr`.
    pub fn find(&self, addr: u64) -> Result<&Entry> {
        let index = self.index_of(addr).ok_or(Error::InvalidAddress)?;
        Ok(&self.entries[index])
    }

    /// The host address of `len` bytes, at least one, to read in one region.
    pub fn readable(&self, addr: u64, len: u64) -> Result<*mut u8> {
        let entry = self.find(addr)?;
        if len == 0 {
            return Err(Error::InvalidSize);
        }
        if !entry.range.holds(addr, len) {
            return Err(Error::InvalidRange);
        }
        Ok(entry.host_at(addr))
    }

    /// As [`Table::readable`], to write.
    pub fn writable(&self, addr: u64, len: u64) -> Result<*mut u8> {
        let host = self.readable(addr, len)?;
        if self.find(addr)?.read_only { Err(Error::ReadOnly) } else { Ok(host) }
    }

    /// The bytes from `addr` to the end of its region, of which `len` are wanted. No bytes may also
    /// lie at a region's end.
    pub fn rest_of_region(&self, addr: u64, len: u64) -> Result<VolatileSlice> {
        let at_end = || self.entry_ending_at(addr).filter(|_| len == 0);
        let entry = self.find(addr).ok().or_else(at_end).ok_or(Error::InvalidAddress)?;
        let room = entry.range.room_at(addr);
        // SAFETY: the region's mapping holds these bytes, and the caller holds the memory.
        Ok(unsafe { VolatileSlice::new(entry.host_at(addr), room as usize) })
    }

    /// True when `addr` lies in a read-only region.
    pub fn is_read_only(&self, addr: u64) -> bool {
        self.index_of(addr).is_some_and(|index| self.entries[index].read_only)
    }

    /// `len` bytes as devices see them: through regions that touch. No bytes may lie in a region
    /// or at its end.
    pub fn span(&self, addr: u64, len: u64, write: bool) -> Result<Span<'_>> {
        if len == 0 {
            self.rest_of_region(addr, 0)?;
            return Ok(Span { entries: &[], start: addr, end: addr });
        }
        let first = self.index_of(addr).ok_or(Error::InvalidAddress)?;
        let end = address::add(addr, len)?;
        let mut last = first;
        while self.entries[last].range.end() < end {
            let next = self.entries.get(last + 1).ok_or(Error::InvalidRange)?;
            if next.range.start() != self.entries[last].range.end() {
                return Err(Error::InvalidRange);
            }
            last += 1;
        }
        let entries = &self.entries[first..=last];
        if write && entries.iter().any(|entry| entry.read_only) {
            return Err(Error::ReadOnly);
        }
        Ok(Span { entries, start: addr, end })
    }

    /// The guest address of a host address within a region's mapping.
    pub fn guest_address(&self, host: u64) -> Result<u64> {
        let offset = |entry: &Entry| host.wrapping_sub(entry.host as u64);
        let entry = self.entries.iter().find(|entry| offset(entry) < entry.range.size());
        let entry = entry.ok_or(Error::InvalidAddress)?;
        Ok(entry.range.start() + offset(entry))
    }

    /// True when a region shares an address with `start..end`.
    pub fn overlaps(&self, start: u64, end: u64) -> bool {
        let first = self.entries.partition_point(|entry| entry.range.end() <= start);
        self.entries.get(first).is_some_and(|entry| entry.range.overlaps(start, end))
    }

    /// The index of the region that holds `addr`.
    pub fn index_of(&self, addr: u64) -> Option<usize> {
        let after = self.entries.partition_point(|entry| entry.range.start() <= addr);
        let index = after.checked_sub(1)?;
        self.entries[index].range.contains(addr).then_some(index)
    }

    fn entry_ending_at(&self, addr: u64) -> Option<&Entry> {
        let index = self.entries.partition_point(|entry| entry.range.end() < addr);
        self.entries.get(index).filter(|entry| entry.range.end() == addr)
    }
}

/// The widest chunk without a region boundary inside, or, where that makes too many, the narrowest
/// that keeps within the bound. Gives its shift and the number of chunks.
fn chunk_shape(entries: &[Entry]) -> (u32, u64) {
    let Some(last) = entries.last() else { return (63, 0) };
    let top = last.range.end() - 1;
    let boundaries =
        entries.iter().fold(0, |all, entry| all | entry.range.start() | entry.range.end());
    let exact = boundaries.trailing_zeros().min(63);
    if top >> exact < MAX_CHUNKS {
        return (exact, (top >> exact) + 1);
    }
    let bound = (16 * entries.len() as u64).next_power_of_two().clamp(MIN_BOUND, MAX_CHUNKS);
    let shift = (u64::BITS - top.leading_zeros()) - bound.trailing_zeros();
    (shift, (top >> shift) + 1)
}

fn make_chunks(entries: &[Entry], shift: u32, count: u64) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    chunks.try_reserve_exact(count as usize).map_err(|_| Error::NoMemory("the lookup table"))?;
    let mut rest = entries.iter().peekable();
    for index in 0..count {
        let start = index << shift;
        while rest.next_if(|entry| entry.range.end() <= start).is_some() {}
        let holder = rest.peek().filter(|entry| entry.range.contains(start));
        chunks.push(holder.map_or(Chunk { end: 0, delta: 0 }, |entry| chunk_of(entry)));
    }
    Ok(chunks)
}

fn chunk_of(entry: &Entry) -> Chunk {
    let delta = host_delta(entry.host as u64, entry.range.start());
    Chunk { end: entry.range.end(), delta: delta | if entry.read_only { READ_ONLY } else { 0 } }
}

/// A checked run of bytes through regions that touch.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    entries: &'a [Entry],
    start: u64,
    end: u64,
}

impl Span<'_> {
    /// Bytes in the span.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// True for a span of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of slices it consists of.
    pub fn slice_count(&self) -> usize {
        self.entries.len()
    }

    /// From `offset` on to the end of the region there, or of the span.
    pub fn slice_from(&self, offset: u64) -> VolatileSlice {
        let addr = self.start + offset;
        let index = self.entries.partition_point(|entry| entry.range.end() <= addr);
        let entry = &self.entries[index];
        self.slice(entry, addr, self.end.min(entry.range.end()))
    }

    /// From the start of the region (or of the span) before `offset` up to `offset`.
    pub fn slice_up_to(&self, offset: u64) -> VolatileSlice {
        let end = self.start + offset;
        let index = self.entries.partition_point(|entry| entry.range.end() < end);
        let entry = &self.entries[index];
        self.slice(entry, self.start.max(entry.range.start()), end)
    }

    /// Its slices, in ascending order.
    pub fn slices(&self) -> impl Iterator<Item = VolatileSlice> + '_ {
        self.entries.iter().map(|entry| {
            let start = self.start.max(entry.range.start());
            self.slice(entry, start, self.end.min(entry.range.end()))
        })
    }

    fn slice(&self, entry: &Entry, start: u64, end: u64) -> VolatileSlice {
        // SAFETY: `start..end` lies within the entry's region, whose mapping holds it.
        unsafe { VolatileSlice::new(entry.host_at(start), (end - start) as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host addresses of the model: far from the guest's, and even.
    const AWAY: u64 = 0x5000_0000;

    fn table(base: u64, layout: &[(u64, u64)], read_only: u8) -> Table {
        let entries = layout.iter().enumerate().map(|(index, &(start, end))| Entry {
            range: GuestRange::new(base + start, end - start).unwrap(),
            host: host_of(base + start, index),
            read_only: index < 8 && read_only >> index & 1 != 0,
            // Never looked at: the model has no regions.
            region: NonNull::dangling(),
        });
        Table::new(entries.collect()).unwrap()
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
        let regions =
            starts.flat_map(|s| (s + unit..=top).step_by(unit as usize).map(move |e| (s, e)));
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
                assert_eq!(table.flat_readable(base + addr, len), None);
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
        let (flat, flat_writable) = (table.flat_readable(at, len), table.flat_writable(at, len));
        if oracle.base == 0 {
            // The map has a boundary wherever a region has one, so it knows everything.
            assert_eq!((flat, flat_writable), (readable.ok(), writable.ok()));
        }
        assert!(flat.is_none_or(|host| Ok(host) == readable));
        assert!(flat_writable.is_none_or(|host| Ok(host) == writable));
        let rest = table.rest_of_region(at, len).map(VolatileSlice::len);
        assert_eq!(rest, if len == 0 || range.first.is_some() { oracle.rest(range) } else { rest });
        for write in [false, true] {
            let expected = oracle.dma_level(range, write);
            let span = table.span(at, len, write);
            let runs = |span: Span| span.slices().map(|s| (s.addr(), s.len())).collect::<Vec<_>>();
            assert_eq!(span.map(runs), expected);
            if let Ok(span) = span {
                check_span(&span, &expected.unwrap());
            }
        }
        assert_eq!(table.overlaps(at, at.saturating_add(len)), range.any_held);
    }

    /// The slices that begin and end at the borders of the runs, and in their midst.
    fn check_span(span: &Span, runs: &[(*mut u8, usize)]) {
        let mut offset = 0;
        for &(host, len) in runs {
            let both = |s: VolatileSlice| (s.addr(), s.len());
            assert_eq!(both(span.slice_from(offset)), (host, len));
            assert_eq!(both(span.slice_up_to(offset + len as u64)), (host, len));
            let half = len / 2;
            let upper = (host.wrapping_add(half), len - half);
            assert_eq!(both(span.slice_from(offset + half as u64)), upper);
            if half > 0 {
                assert_eq!(both(span.slice_up_to(offset + half as u64)), (host, half));
            }
            offset += len as u64;
        }
    }

    /// Every byte-grained layout of up to three regions in 4-bit addresses, each region read-only
    /// or not, at the bottom, across 2^32 and at the top of the address space: every address,
    /// every length.
    #[test]
    fn every_layout_of_4_bit_addresses_agrees_with_the_oracle() {
        for (index, layout) in layouts(16, 1).iter().enumerate() {
            for (place, base) in [0, (1 << 32) - 8, u64::MAX - 16].into_iter().enumerate() {
                // Each layout meets every pattern at one of the places, the others in turn.
                let patterns = 1 << layout.len();
                for pattern in 0..patterns {
                    if place == 0 || pattern == (index + place) % patterns {
                        check_layout(base, layout, 16, pattern as u8);
                    }
                }
            }
        }
    }

    /// 8-bit addresses, with region boundaries at multiples of 32 (with boundaries at every byte
    /// there would be 10^11 layouts): every address, every length.
    #[test]
    fn layouts_of_8_bit_addresses_agree_with_the_oracle() {
        for (index, layout) in layouts(256, 32).iter().enumerate() {
            check_layout(0, layout, 256, index as u8 & 7);
        }
    }

    /// 8-bit addresses, with every byte-grained pair of boundaries for one region beside two that
    /// lie fixed around it.
    #[test]
    fn every_region_of_8_bit_addresses_agrees_with_the_oracle() {
        for start in (1..254).step_by(3) {
            for end in (start + 1..255).step_by(7) {
                check_edges(&[(0, 1), (start, end), (255, 256)]);
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
            assert!(exact.flat_readable(addr, 1).is_some());
        }
        // A small ROM below 4 GiB beside much RAM: chunks are wider than the ROM.
        let rom = 4 * gib - (256 << 10);
        let wide = table(0, &[(0, 3 * gib), (rom, 4 * gib), (4 * gib, 1024 * gib)], 0);
        assert!(wide.chunks.len() <= MAX_CHUNKS as usize);
        assert_eq!(wide.flat_readable(rom, 1), None);
        assert_eq!(wide.readable(rom, 256 << 10), Ok(host_of(rom, 1)));
        assert!(wide.flat_readable(500 * gib + 5, 4096).is_some());
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
        assert!(table(0, &[(0, u64::MAX)], 0).readable(1 << 63, 1).is_ok());
    }
}
