// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The immutable lookup table: a flat map for the fast answer, sorted regions for the exact one.
//!
//! The flat map has an entry for each chunk of `2^shift` bytes of guest address space, which
//! describes the region that holds the chunk's *first* byte. An address that this region holds too
//! is found with one load and one comparison. For every other address the sorted regions decide: a
//! hole, or a region that starts within a chunk, which happens only where the map's bound makes
//! chunks wider than the distances between regions.

use crate::address;
use crate::address::{GuestRange, apply_delta, host_delta};
use crate::error::{Error, Result};
use crate::memory::region::MemoryRegion;
use std::ptr::NonNull;

/// Chunks in a map that needs no exact answers from the regions: at most 1 MiB of map.
const MAX_CHUNKS: u64 = 64 << 10;
/// Chunks in a map that cannot have a chunk boundary at each region's start anyway.
const MIN_BOUND: u64 = 16 << 10;
/// Chunks in a small map: 64 KiB of map, unless there are many regions.
const SMALL_MAP: u64 = 4 << 10;
/// So many small maps may be kept before they become smaller, down to [`LEAST_MAP`] chunks.
const FULL_MAPS: u64 = 256;
const LEAST_MAP: u64 = 16;
/// Set in [`Chunk::end`] of a read-only region.
pub const READ_ONLY: u64 = 1;

/// What the flat map tells of a chunk. The inline path reads it too.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// First guest address past the region, one less for a read-only one: that is [`READ_ONLY`],
    /// and leaves the last byte to the exact answer. Of a hole, the start of the chunk.
    pub end: u64,
    /// Host address minus guest address.
    pub delta: u64,
}

/// A region as the table sees it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    range: GuestRange,
    host: *mut u8,
    read_only: bool,
    region: NonNull<MemoryRegion>,
}

/// Where bytes of one region are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRange {
    /// The host address of the first byte.
    pub addr: *mut u8,
    /// Bytes.
    pub len: usize,
}

/// How large a table's flat map may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlatSize {
    /// As large as makes it exact, if that is bearable.
    Any,
    /// Small, though more addresses then take the exact answer: it is kept, as are those of so many
    /// changes before. The more there were, the smaller it is.
    Kept {
        /// How many.
        before: u64,
    },
}

/// A table's flat map. What looks up often takes it by value, so that it stays in registers.
#[derive(Clone, Copy, Debug)]
pub struct FlatMap<'a> {
    /// An entry for each chunk of guest addresses from 0 on.
    pub chunks: &'a [Chunk],
    /// A chunk is 2^shift bytes.
    pub shift: u32,
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

    /// Where the guest addresses `start..end`, which lie in the region, are mapped.
    fn host_range(&self, start: u64, end: u64) -> HostRange {
        HostRange { addr: self.host_at(start), len: (end - start) as usize }
    }
}

impl FlatMap<'_> {
    /// What is known of `len` bytes: the chunk, where one region holds them all.
    #[inline(always)]
    fn find(self, addr: u64, len: u64) -> Option<Chunk> {
        // The shift is below 64; this spares a check of it.
        let chunk = self.chunks.get(addr.wrapping_shr(self.shift) as usize)?;
        let room = chunk.end.checked_sub(addr)?;
        // No bytes wrap to more than any room.
        (len.wrapping_sub(1) < room).then_some(*chunk)
    }

    /// The host address of `len` bytes, where it is known that one region holds them and that they
    /// may be written, if that `writes`. `None` also for no bytes.
    #[inline(always)]
    pub fn host(self, addr: u64, len: u64, writes: bool) -> Option<*mut u8> {
        let chunk = self.find(addr, len)?;
        // No branch for what is to be done, which in a chain is now this, now that.
        if chunk.end & READ_ONLY & u64::from(writes) != 0 {
            return None;
        }
        Some(apply_delta(addr, chunk.delta) as *mut u8)
    }

    /// As [`FlatMap::host`], to read.
    #[inline(always)]
    pub fn readable(self, addr: u64, len: u64) -> Option<*mut u8> {
        self.host(addr, len, false)
    }

    /// As [`FlatMap::host`], to write.
    #[inline(always)]
    pub fn writable(self, addr: u64, len: u64) -> Option<*mut u8> {
        self.host(addr, len, true)
    }
}

impl Table {
    /// The table of `entries`, which must not overlap and be in ascending order.
    pub fn new(entries: Vec<Entry>, flat: FlatSize) -> Result<Self> {
        for pair in entries.windows(2) {
            if pair[1].range.start() < pair[0].range.end() {
                return Err(Error::Overlap);
            }
        }
        let (shift, count) = chunk_shape(&entries, flat);
        let chunks = make_chunks(&entries, shift, count)?;
        Ok(Table { chunks, shift, entries })
    }

    /// All regions in ascending order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The flat map.
    #[inline(always)]
    pub fn flat(&self) -> FlatMap<'_> {
        FlatMap { chunks: &self.chunks, shift: self.shift }
    }

    /// The end of the highest region; 0 without regions.
    pub fn end_addr(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.range.end())
    }

    /// Bytes in all regions.
    pub fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.range.size()).sum()
    }

    /// Bytes that it takes to keep the table, with what lists of them and the allocator add.
    pub fn bytes(&self) -> u64 {
        const BESIDE: usize = 64 + size_of::<Table>() + 2 * size_of::<Vec<Table>>();
        (BESIDE + size_of_val(&*self.chunks) + size_of_val(&*self.entries)) as u64
    }

    /// True after a restore into a region failed half way.
    pub fn is_tainted(&self) -> bool {
        self.entries.iter().any(|entry| entry.region().is_tainted())
    }

    /// The region that holds `addr`.
    pub fn find(&self, addr: u64) -> Result<&Entry> {
        let index = self.index_of(addr).ok_or(Error::InvalidAddress)?;
        Ok(&self.entries[index])
    }

    /// The region that holds `addr`, and the distance of `addr` from its start.
    pub fn find_region(&self, addr: u64) -> Result<(&MemoryRegion, u64)> {
        let entry = self.find(addr)?;
        let offset = entry.range.offset_of(addr).ok_or(Error::InvalidAddress)?;
        Ok((entry.region(), offset))
    }

    /// The host address of `len` bytes, at least one, in one region, which may be written, if that
    /// `writes`.
    pub fn host(&self, addr: u64, len: u64, writes: bool) -> Result<*mut u8> {
        let entry = self.holder(addr, len)?;
        if writes && entry.read_only { Err(Error::ReadOnly) } else { Ok(entry.host_at(addr)) }
    }

    /// As [`Table::host`], to read.
    pub fn readable(&self, addr: u64, len: u64) -> Result<*mut u8> {
        self.host(addr, len, false)
    }

    /// As [`Table::host`], to write.
    pub fn writable(&self, addr: u64, len: u64) -> Result<*mut u8> {
        self.host(addr, len, true)
    }

    /// The region that holds `len` bytes, at least one.
    fn holder(&self, addr: u64, len: u64) -> Result<&Entry> {
        let entry = self.find(addr)?;
        if len == 0 {
            return Err(Error::InvalidSize);
        }
        if !entry.range.holds(addr, len) {
            return Err(Error::InvalidRange);
        }
        Ok(entry)
    }

    /// The bytes from `addr` to the end of its region, of which `len` are wanted. No bytes may also
    /// lie at a region's end.
    pub fn rest_of_region(&self, addr: u64, len: u64) -> Result<HostRange> {
        let at_end = || self.entry_ending_at(addr).filter(|_| len == 0);
        let entry = self.find(addr).ok().or_else(at_end).ok_or(Error::InvalidAddress)?;
        Ok(entry.host_range(addr, entry.range.end()))
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
        self.entries.get(index).filter(|entry| entry.range.contains(addr)).map(|_| index)
    }

    fn entry_ending_at(&self, addr: u64) -> Option<&Entry> {
        let index = self.entries.partition_point(|entry| entry.range.end() < addr);
        self.entries.get(index).filter(|entry| entry.range.end() == addr)
    }
}

/// The widest chunk without a region boundary inside, or, where that makes too many, the narrowest
/// that keeps within the bound. Gives its shift and the number of chunks.
fn chunk_shape(entries: &[Entry], flat: FlatSize) -> (u32, u64) {
    let Some(last) = entries.last() else { return (63, 0) };
    let top = last.range.end() - 1;
    let wanted = (16 * entries.len() as u64).next_power_of_two();
    let small = wanted.clamp(SMALL_MAP, MAX_CHUNKS);
    let (most, bound) = match flat {
        FlatSize::Any => (MAX_CHUNKS, small.max(MIN_BOUND)),
        FlatSize::Kept { before } => {
            let part = (before / FULL_MAPS + 1).next_power_of_two();
            let less = (small / part).max(LEAST_MAP);
            (less, less)
        }
    };
    let boundaries =
        entries.iter().fold(0, |all, entry| all | entry.range.start() | entry.range.end());
    let exact = boundaries.trailing_zeros().min(63);
    if top >> exact < most {
        return (exact, (top >> exact) + 1);
    }
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
        chunks.push(holder.map_or(Chunk { end: start, delta: 0 }, |entry| chunk_of(entry)));
    }
    Ok(chunks)
}

fn chunk_of(entry: &Entry) -> Chunk {
    Chunk {
        // Regions end at pages: that takes the last byte away, and the bit is free otherwise.
        end: entry.range.end() - if entry.read_only { READ_ONLY } else { 0 },
        delta: host_delta(entry.host as u64, entry.range.start()),
    }
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

    /// The number of regions that it lies in.
    pub fn part_count(&self) -> usize {
        self.entries.len()
    }

    /// From `offset` on to the end of the region there, or of the span.
    pub fn part_from(&self, offset: u64) -> HostRange {
        let addr = self.start + offset;
        let index = self.entries.partition_point(|entry| entry.range.end() <= addr);
        let entry = &self.entries[index];
        entry.host_range(addr, self.end.min(entry.range.end()))
    }

    /// From the start of the region (or of the span) before `offset` up to `offset`.
    pub fn part_up_to(&self, offset: u64) -> HostRange {
        let end = self.start + offset;
        let index = self.entries.partition_point(|entry| entry.range.end() < end);
        let entry = &self.entries[index];
        entry.host_range(self.start.max(entry.range.start()), end)
    }

    /// Its parts, one for each region, in ascending order.
    pub fn parts(&self) -> impl Iterator<Item = HostRange> + '_ {
        self.entries.iter().map(|entry| {
            let start = self.start.max(entry.range.start());
            entry.host_range(start, self.end.min(entry.range.end()))
        })
    }
}

#[cfg(test)]
mod tests;
