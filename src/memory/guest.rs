// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! GuestMemory: the set of regions, and what can be asked about it.

use crate::address;
use crate::address::is_aligned;
use crate::error::{About, Error, Result};
use crate::host::alloc::vec_of;
use crate::host::handle::{Pool, Pooled, Ref};
use crate::host::maps::Maps;
use crate::memory::mapping::Here;
use crate::memory::memfds::MemfdLayout;
use crate::memory::options::RegionOptions;
use crate::memory::policy;
use crate::memory::published::Published;
use crate::memory::region::MemoryRegion;
use crate::memory::table::{Entry, FlatSize, Table};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A guest's memory. Every method may be called from any thread at any time.
#[repr(C)]
#[derive(Debug)]
pub struct GuestMemory {
    /// The table in force, which stands in `state.tables`. First, so that a lookup finds it beside
    /// the handle's tag.
    table: Published<Table>,
    /// How often the regions have changed.
    generation: AtomicU64,
    /// Those in force but for the lock, which is not passed on to children.
    policy: AtomicU64,
    locked: Here,
    /// Locked only by what changes the memory's make-up or asks for all of it, never by access.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// In ascending order.
    regions: Vec<Ref<MemoryRegion>>,
    /// Every table that was ever in force, each where a reader may still look at it.
    tables: Vec<Vec<Table>>,
    /// Bytes that changes have made these take.
    changes: u64,
}

/// What all changes of a memory may take: each copies the table, so that adding very many regions
/// one by one would take the square of their number.
const MOST_OF_CHANGES: u64 = 1 << 30;

static MEMORIES: Pool<GuestMemory> = Pool::new();

/// The next table's version. None has 0, which is that of memories that are gone.
static VERSIONS: AtomicU64 = AtomicU64::new(1);

impl Pooled for GuestMemory {
    const TAG: u64 = 0x6d67_6d65_6d6f_7279;
    fn pool() -> &'static Pool<Self> {
        &MEMORIES
    }
}

impl GuestMemory {
    /// Memory of new regions, in ascending order. Those without a backing of their own share one
    /// memfd, laid out in order without gaps; huge pages have a memfd for each size.
    pub fn new(options: &[RegionOptions]) -> Result<Ref<Self>> {
        Self::new_about(options, &About::default())
    }

    /// As [`GuestMemory::new`]; `about` is left with the range of the region that was refused, if
    /// it was one.
    pub fn new_about(options: &[RegionOptions], about: &About) -> Result<Ref<Self>> {
        check_order(options, about)?;
        for option in options {
            about.set(option.about());
            option.check_alignment()?;
        }
        about.set(None);
        let mut layout = MemfdLayout::new(options)?;
        let mut regions = vec_of(options.len())?;
        for option in options {
            about.set(option.about());
            let backing = match layout.backing(option)? {
                Some(backing) => backing,
                None => MemoryRegion::own_backing(option)?,
            };
            regions.push(MemoryRegion::with_backing(option, backing)?);
        }
        about.set(None);
        Self::of_sorted(regions)
    }

    /// Memory of regions that are there already, in any order.
    pub fn from_regions(mut regions: Vec<Ref<MemoryRegion>>) -> Result<Ref<Self>> {
        regions.sort_unstable_by_key(|region| region.range().start());
        Self::of_sorted(regions)
    }

    fn of_sorted(regions: Vec<Ref<MemoryRegion>>) -> Result<Ref<Self>> {
        let memory = GuestMemory {
            table: Published::nothing(),
            generation: AtomicU64::new(0),
            policy: AtomicU64::new(0),
            locked: Here::nowhere(),
            state: Mutex::new(State { regions: Vec::new(), tables: Vec::new(), changes: 0 }),
        };
        let mut state = memory.lock();
        let table = Self::prepare(&mut state, &regions)?;
        memory.publish(&mut state, regions, table);
        drop(state);
        Ref::new(memory)
    }

    /// A table of `regions`, and room to keep it, so that nothing can fail once it is to be used.
    fn prepare(state: &mut State, regions: &[Ref<MemoryRegion>]) -> Result<Vec<Table>> {
        let mut entries = vec_of(regions.len())?;
        // SAFETY: the memory holds references to its regions.
        entries.extend(regions.iter().map(|region| unsafe { Entry::of(region) }));
        let mut table = vec_of(1)?;
        // All tables are kept, so that those of a memory that changes often must not be large.
        let flat = match state.tables.len() as u64 {
            0 => FlatSize::Any,
            count => FlatSize::Kept { before: count - 1 },
        };
        table.push(Table::new(entries, flat)?);
        if !state.tables.is_empty() && table[0].bytes() > MOST_OF_CHANGES - state.changes {
            return Err(Error::too_large("the tables of earlier changes take all that they may"));
        }
        state.tables.try_reserve(1).map_err(|_| Error::NoMemory("a list of tables"))?;
        Ok(table)
    }

    /// Puts the table of `regions` in force. Readers see the old one or the new one, whole.
    fn publish(&self, state: &mut State, regions: Vec<Ref<MemoryRegion>>, mut table: Vec<Table>) {
        self.table.put(table.as_mut_ptr(), VERSIONS.fetch_add(1, Ordering::Relaxed));
        self.generation.store(state.tables.len() as u64, Ordering::Release);
        if !state.tables.is_empty() {
            state.changes += table[0].bytes();
        }
        state.tables.push(table);
        state.regions = regions;
    }

    /// Adds a region, under the policies in force. Tables that are in use stay as they are.
    pub fn add_region(&self, region: Ref<MemoryRegion>) -> Result<()> {
        let mut state = self.lock();
        let start = region.range().start();
        let index = state.regions.partition_point(|other| other.range().start() < start);
        let mut regions = vec_of(state.regions.len() + 1)?;
        regions.extend(state.regions[..index].iter().cloned());
        regions.push(region.clone());
        regions.extend(state.regions[index..].iter().cloned());
        let table = Self::prepare(&mut state, &regions)?;
        policy::extend_to(&region, self.policy())?;
        self.publish(&mut state, regions, table);
        Ok(())
    }

    /// Takes the region that starts at `start` out. Calls that began before may still be using
    /// it: it lives until the reference goes that this gives.
    pub fn remove_region(&self, start: u64) -> Result<Ref<MemoryRegion>> {
        let mut state = self.lock();
        let found = state.regions.binary_search_by_key(&start, |region| region.range().start());
        let index = found.map_err(|_| Error::NotFound)?;
        let removed = state.regions[index].clone();
        let mut regions = vec_of(state.regions.len() - 1)?;
        regions.extend(state.regions[..index].iter().chain(&state.regions[index + 1..]).cloned());
        let table = Self::prepare(&mut state, &regions)?;
        self.publish(&mut state, regions, table);
        Ok(removed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lookup table in force.
    #[inline(always)]
    pub fn table(&self) -> &Table {
        // SAFETY: a table is published before the memory is handed out, and lives as long as it.
        unsafe { &*self.table.get() }
    }

    /// The lookup table in force, and the version that tells it from all others that there were,
    /// also those of other memories.
    pub fn versioned_table(&self) -> (u64, &Table) {
        let (version, table) = self.table.get_versioned();
        // SAFETY: as in `table`.
        (version, unsafe { &*table })
    }

    /// Where the version of the table in force is kept; 0 when the memory is gone.
    pub fn version_address(&self) -> *const u64 {
        self.table.version_address()
    }

    /// How often the regions have changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// References to all regions, in ascending order.
    pub fn regions(&self) -> Result<Vec<Ref<MemoryRegion>>> {
        let state = self.lock();
        let mut regions = vec_of(state.regions.len())?;
        regions.extend(state.regions.iter().cloned());
        Ok(regions)
    }

    /// The end of the highest region; 0 without regions.
    pub fn end_addr(&self) -> u64 {
        self.table().end_addr()
    }

    /// Bytes in all regions.
    pub fn size(&self) -> u64 {
        self.table().size()
    }

    /// The number of regions.
    pub fn num_regions(&self) -> usize {
        self.table().entries().len()
    }

    /// The region with this index in ascending order.
    pub fn region(&self, index: usize) -> Result<&MemoryRegion> {
        Ok(self.table().entries().get(index).ok_or(Error::NotFound)?.region())
    }

    /// The region that holds `addr`, and the distance of `addr` from its start.
    pub fn find_region(&self, addr: u64) -> Result<(&MemoryRegion, u64)> {
        self.table().find_region(addr)
    }

    /// `addr + offset`, if that lies in a region.
    pub fn checked_offset(&self, addr: u64, offset: u64) -> Result<u64> {
        let sum = address::add(addr, offset)?;
        self.table().find(sum)?;
        Ok(sum)
    }

    /// The file behind `addr`, and where `addr` lies in it.
    pub fn file_at(&self, addr: u64) -> Result<(RawFd, u64)> {
        file_at(self.table(), addr)
    }

    /// The file behind the address `offset` bytes above the lowest region's start.
    pub fn file_at_offset(&self, offset: u64) -> Result<RawFd> {
        let table = self.table();
        let lowest = table.entries().first().ok_or(Error::InvalidAddress)?;
        Ok(file_at(table, address::add(lowest.range().start(), offset)?)?.0)
    }

    /// Frees the pages of a range within one region; they read as zeros afterwards.
    pub fn remove_range(&self, addr: u64, count: u64) -> Result<()> {
        let (region, offset) = self.find_region(addr)?;
        if count == 0 {
            return Err(Error::InvalidSize);
        }
        if !region.range().holds(addr, count) {
            return Err(Error::InvalidRange);
        }
        if !is_aligned(addr, region.page_size()) || !is_aligned(count, region.page_size()) {
            return Err(Error::NotAligned("the range is not made of the region's pages"));
        }
        if region.is_read_only() {
            return Err(Error::ReadOnly);
        }
        region.remove(offset, count, &Maps::default())
    }

    /// Puts further policies in force. What did take effect stays, whatever else fails.
    pub fn add_policy(&self, wanted: u64) -> Result<()> {
        let state = self.lock();
        let (took_effect, result) = policy::apply(&state.regions, wanted & !self.policy());
        let is_locked = took_effect & policy::LOCK_GUEST_MEMORY != 0;
        self.policy.fetch_or(took_effect & !policy::LOCK_GUEST_MEMORY, Ordering::Release);
        if is_locked { result.and(self.locked.say()) } else { result }
    }

    /// The policies in force in this process.
    pub fn policy(&self) -> u64 {
        let inherited = self.policy.load(Ordering::Acquire);
        if self.locked.holds() { inherited | policy::LOCK_GUEST_MEMORY } else { inherited }
    }

    /// True after a restore into a region of it failed half way.
    pub fn is_tainted(&self) -> bool {
        self.table().is_tainted()
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        // Views look for the version in the slot for ever.
        self.table.retire();
    }
}

fn file_at(table: &Table, addr: u64) -> Result<(RawFd, u64)> {
    let (region, offset) = table.find_region(addr)?;
    match region.backing().file() {
        Some((file, start)) => Ok((file.fd(), start + offset)),
        None => Err(Error::Unsupported("the region has no file behind it")),
    }
}

fn check_order(options: &[RegionOptions], about: &About) -> Result<()> {
    for option in options {
        about.set(option.about());
        option.range()?;
    }
    for pair in options.windows(2) {
        about.set(pair[1].about());
        if pair[1].guest_addr < pair[0].guest_addr {
            return Err(Error::Unsorted);
        }
        if pair[1].guest_addr < pair[0].range()?.end() {
            return Err(Error::Overlap);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
