// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Address arithmetic against a naive oracle in 128 bits, which cannot wrap: random layouts and
//! values, concentrated where arithmetic goes wrong. The unit tests beside the code are exhaustive
//! over small models; these range over all of the address space, with real memory behind it.

use guestmem::address::{GuestRange, fits, is_aligned, next_congruent};
use guestmem::error::{Error, Result};
use guestmem::host::handle::Ref;
use guestmem::host::system::page_size;
use guestmem::memory::guest::GuestMemory;
use guestmem::memory::options::{RegionOptions, Source};
use guestmem::memory::table::{HostRange, Span, Table};
use proptest::prelude::*;
use proptest::sample::select;

const TOP: u128 = 1 << 64;

/// Where arithmetic goes wrong. The last page cannot be in a region, see [`GuestRange`].
const ANCHORS: [u64; 4] = [0, 1 << 32, 1 << 63, u64::MAX - 0xfff];

/// Nothing is written beside the sources; a failure prints the smallest case it found.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() }
}

/// An anchor or one of its neighbours, half of the time; anything otherwise.
fn any_value() -> impl Strategy<Value = u64> {
    let near = (select(&ANCHORS[..]), -9i64..=9).prop_map(|(a, d)| a.wrapping_add_signed(d));
    prop_oneof![near, any::<u64>()]
}

/// A region as it is asked for: page-aligned, small, a few pages from an anchor.
#[derive(Clone, Copy, Debug)]
struct Asked {
    start: u64,
    size: u64,
    read_only: bool,
}

impl Asked {
    fn end(self) -> u128 {
        u128::from(self.start) + u128::from(self.size)
    }

    fn options(self) -> RegionOptions {
        let plain = RegionOptions::plain(self.start, self.size);
        RegionOptions { source: Source::Private, read_only: self.read_only, ..plain }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let parts = (select(&ANCHORS[..]), -4i64..=4, 0u64..=4, any::<bool>());
    parts.prop_map(|(anchor, pages, size, read_only)| {
        let start = anchor.wrapping_add_signed(pages * page_size() as i64);
        Asked { start, size: size * page_size(), read_only }
    })
}

/// Regions of which a memory can be made, in order: what does not fit is left out.
fn layout() -> impl Strategy<Value = Vec<Asked>> {
    prop::collection::vec(asked(), 0..=8).prop_map(|mut all| {
        all.sort_by_key(|region| region.start);
        let mut end = 0;
        all.retain(|region| {
            let fits = region.size != 0 && region.end() < TOP && u128::from(region.start) >= end;
            end = if fits { region.end() } else { end };
            fits
        });
        all
    })
}

fn memory_of(regions: &[Asked]) -> Result<Ref<GuestMemory>> {
    let options: Vec<_> = regions.iter().map(|region| region.options()).collect();
    GuestMemory::new(&options)
}

/// Every edge of every region, every anchor, and their neighbours.
fn edges(regions: &[Asked]) -> Vec<u64> {
    let ends = regions.iter().flat_map(|region| [region.start, region.end() as u64]);
    let near = |edge: u64| [edge.wrapping_sub(1), edge, edge.wrapping_add(1)];
    let mut all: Vec<u64> = ends.chain(ANCHORS).flat_map(near).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What the regions and a byte-by-byte mind say.
struct Oracle<'a> {
    regions: &'a [Asked],
    hosts: Vec<u64>,
}

impl Oracle<'_> {
    fn holder(&self, addr: u128) -> Option<usize> {
        let holds = |region: &Asked| u128::from(region.start) <= addr && addr < region.end();
        self.regions.iter().position(holds)
    }

    fn host(&self, index: usize, addr: u64) -> u64 {
        self.hosts[index] + (addr - self.regions[index].start)
    }

    fn region_level(&self, addr: u64, len: u64, write: bool) -> Result<u64> {
        let index = self.holder(u128::from(addr)).ok_or(Error::InvalidAddress)?;
        if len == 0 {
            return Err(Error::InvalidSize);
        }
        if u128::from(addr) + u128::from(len) > self.regions[index].end() {
            return Err(Error::InvalidRange);
        }
        if write && self.regions[index].read_only {
            return Err(Error::ReadOnly);
        }
        Ok(self.host(index, addr))
    }

    /// From an address to its region's end; no bytes may also be moved at that end.
    fn rest(&self, addr: u64, len: u64) -> Result<(u64, u64)> {
        let wide = u128::from(addr);
        let at_end = || self.regions.iter().position(|region| region.end() == wide && len == 0);
        let index = self.holder(wide).or_else(at_end).ok_or(Error::InvalidAddress)?;
        Ok((self.host(index, addr), (self.regions[index].end() - wide) as u64))
    }

    /// The runs of host memory behind a range as devices see it: host address and length.
    fn dma_level(&self, addr: u64, len: u64, write: bool) -> Result<Vec<(u64, u64)>> {
        let at_an_end = self.regions.iter().any(|region| region.end() == u128::from(addr));
        if self.holder(u128::from(addr)).is_none() && !(len == 0 && at_an_end) {
            return Err(Error::InvalidAddress);
        }
        let (mut at, end) = (u128::from(addr), u128::from(addr) + u128::from(len));
        let (mut runs, mut read_only) = (Vec::new(), false);
        while at < end {
            let index = self.holder(at).ok_or(Error::InvalidRange)?;
            let stop = end.min(self.regions[index].end());
            runs.push((self.host(index, at as u64), (stop - at) as u64));
            read_only |= self.regions[index].read_only;
            at = stop;
        }
        if write && read_only { Err(Error::ReadOnly) } else { Ok(runs) }
    }
}

fn run(part: HostRange) -> (u64, u64) {
    (part.addr as u64, part.len as u64)
}

fn check_memory(memory: &GuestMemory, oracle: &Oracle, addr: u64) {
    let wide = u128::from(addr);
    let holder = oracle.holder(wide);
    let table = memory.table();
    assert_eq!(table.index_of(addr), holder);
    let found = memory.find_region(addr).map(|(region, offset)| (region.range().start(), offset));
    let expected = holder.map(|index| oracle.regions[index].start).map(|s| (s, addr - s));
    assert_eq!(found, expected.ok_or(Error::InvalidAddress));
    let read_only = holder.is_some_and(|index| oracle.regions[index].read_only);
    assert_eq!(table.is_read_only(addr), read_only);
    if let Some(index) = holder {
        assert_eq!(table.guest_address(oracle.host(index, addr)), Ok(addr));
    }
    for len in [0, 1] {
        assert_eq!(table.rest_of_region(addr, len).map(run), oracle.rest(addr, len));
    }
}

fn check_range(table: &Table, oracle: &Oracle, addr: u64, len: u64) {
    let read = oracle.region_level(addr, len, false);
    let write = oracle.region_level(addr, len, true);
    assert_eq!(table.readable(addr, len).map(|host| host as u64), read);
    assert_eq!(table.writable(addr, len).map(|host| host as u64), write);
    // The flat map may not know, but must not be wrong.
    let fast = table.flat().readable(addr, len).map(|host| Ok(host as u64));
    assert!(fast.is_none_or(|fast| fast == read));
    let fast = table.flat().writable(addr, len).map(|host| Ok(host as u64));
    assert!(fast.is_none_or(|fast| fast == write));
    for write in [false, true] {
        let span = table.span(addr, len, write);
        let runs = oracle.dma_level(addr, len, write);
        assert_eq!(span.map(|span| span.parts().map(run).collect::<Vec<_>>()), runs);
    }
    if let (Ok(span), Ok(runs)) = (table.span(addr, len, false), oracle.dma_level(addr, len, false))
    {
        check_span(&span, &runs, len);
    }
}

/// A span can be entered anywhere, from both sides.
fn check_span(span: &Span, runs: &[(u64, u64)], len: u64) {
    assert_eq!((span.len(), span.part_count()), (len, runs.len()));
    let mut before = 0;
    for &(host, size) in runs {
        for offset in [0, 1.min(size - 1), size - 1] {
            assert_eq!(run(span.part_from(before + offset)), (host + offset, size - offset));
            assert_eq!(run(span.part_up_to(before + offset + 1)), (host, offset + 1));
        }
        before += size;
    }
}

fn check_pair(memory: &GuestMemory, oracle: &Oracle, a: u64, b: u64) {
    let sum = u128::from(a) + u128::from(b);
    let offset = match oracle.holder(sum) {
        _ if sum >= TOP => Err(Error::InvalidRange),
        None => Err(Error::InvalidAddress),
        Some(_) => Ok(sum as u64),
    };
    assert_eq!(memory.checked_offset(a, b), offset);
    let (start, end) = (u128::from(a), u128::from(b));
    let shares = |region: &Asked| start.max(u128::from(region.start)) < end.min(region.end());
    assert_eq!(memory.table().overlaps(a, b), oracle.regions.iter().any(shares));
}

fn check_layout(regions: &[Asked], more: &[(u64, u64)]) {
    let memory = memory_of(regions).unwrap();
    let hosts = (0..regions.len()).map(|n| memory.region(n).unwrap().host() as u64).collect();
    let oracle = Oracle { regions, hosts };
    assert_eq!(memory.num_regions(), regions.len());
    assert_eq!(memory.size(), regions.iter().map(|region| region.size).sum::<u64>());
    assert_eq!(u128::from(memory.end_addr()), regions.last().map_or(0, |last| last.end()));
    let edges = edges(regions);
    let pairs = edges.iter().flat_map(|&a| edges.iter().map(move |&b| (a, b)));
    for (a, b) in pairs.chain(more.iter().copied()) {
        check_memory(&memory, &oracle, a);
        check_pair(&memory, &oracle, a, b);
        // A range from edge to edge, and one as long as an edge is high.
        check_range(memory.table(), &oracle, a, b.wrapping_sub(a));
        check_range(memory.table(), &oracle, a, b);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn memory_answers_as_the_oracle(
        regions in layout(),
        more in prop::collection::vec((any_value(), any_value()), 50),
    ) {
        check_layout(&regions, &more);
    }

    #[test]
    fn memory_is_made_of_legal_regions_only(regions in prop::collection::vec(asked(), 0..=4)) {
        let legal = regions.iter().all(|region| region.size != 0 && region.end() < TOP)
            && regions.windows(2).all(|pair| pair[0].end() <= u128::from(pair[1].start));
        prop_assert_eq!(memory_of(&regions).is_ok(), legal);
    }

    #[test]
    fn ranges_answer_as_the_oracle(
        start in any_value(), size in any_value(), addr in any_value(), len in any_value(),
    ) {
        let end = u128::from(start) + u128::from(size);
        let range = GuestRange::new(start, size);
        prop_assert_eq!(range.is_ok(), size != 0 && end < TOP);
        let Ok(range) = range else { return Ok(()) };
        let (wide, stop) = (u128::from(addr), u128::from(addr) + u128::from(len));
        let inside = u128::from(start) <= wide && wide < end;
        prop_assert_eq!((range.start(), range.size(), u128::from(range.end())), (start, size, end));
        prop_assert_eq!(range.contains(addr), inside);
        prop_assert_eq!(range.offset_of(addr), inside.then(|| addr - start));
        prop_assert_eq!(u128::from(range.room_at(addr)), if inside { end - wide } else { 0 });
        prop_assert_eq!(range.holds(addr, len), inside && len != 0 && stop <= end);
        let shares = wide.max(u128::from(start)) < u128::from(len).min(end);
        prop_assert_eq!(range.overlaps(addr, len), shares);
    }

    #[test]
    fn sums_and_alignments_answer_as_the_oracle(
        a in any_value(), b in any_value(), size in any_value(), log2 in 0u32..64,
    ) {
        prop_assert_eq!(fits(a, b, size), u128::from(a) + u128::from(b) <= u128::from(size));
        let align = 1u64 << log2;
        prop_assert_eq!(is_aligned(a, align), a % align == 0);
        let (wide, residue, step) = (u128::from(a), u128::from(b), u128::from(align));
        let next = wide + (step + residue % step - wide % step) % step;
        prop_assert_eq!(next_congruent(a, b, align).map(u128::from), Some(next).filter(|&n| n < TOP));
    }
}
