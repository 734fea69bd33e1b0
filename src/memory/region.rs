// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! MemoryRegion: a guest address range, its mapping, what backs it, and how it was asked for.

mod remove;

use crate::address::GuestRange;
use crate::error::{Error, Result};
use crate::host::cgroup;
use crate::host::handle::{Pool, Pooled, Ref};
use crate::host::maps::Maps;
use crate::host::system;
use crate::host::system::page_size;
use crate::memory::backing::{Backing, BackingFile, FileUse};
use crate::memory::caller;
use crate::memory::caller::{Given, Part};
use crate::memory::claim::Claim;
use crate::memory::mapping::{Advice, Content, Here, Mapping, Placement, Replaced};
use crate::memory::options::{RegionOptions, Source, check_page_aligned};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Regions of at least this size are placed so that huge pages can map them.
const HUGE_ALIGN: u64 = 2 << 20;

/// A range of guest addresses with the host memory behind it.
#[derive(Debug)]
pub struct MemoryRegion {
    range: GuestRange,
    mapping: Mapping,
    backing: Backing,
    options: RegionOptions,
    page_size: u64,
    /// The [`bit`] of each advice in force, so that pages put in later get it too.
    advice: AtomicU32,
    /// Where it is locked, if it is.
    locked: Here,
    /// What of a copy-on-write mapping is private zeros by now.
    replaced: Mutex<Replaced>,
    /// What it holds is neither the old nor the new state: a restore failed half way.
    tainted: AtomicBool,
    /// Snapshots, or a restore, that are at work on it.
    claim: Claim,
}

// SAFETY: the options hold a host address, which is only a number here.
unsafe impl Send for MemoryRegion {}
// SAFETY: as above.
unsafe impl Sync for MemoryRegion {}

static REGIONS: Pool<MemoryRegion> = Pool::new();

impl Pooled for MemoryRegion {
    const TAG: u64 = 0x6d67_7265_6769_6f6e;
    fn pool() -> &'static Pool<Self> {
        &REGIONS
    }
}

impl MemoryRegion {
    /// A region by itself, with a memfd of its own where it needs one.
    pub fn new(options: &RegionOptions) -> Result<Ref<Self>> {
        let range = options.range()?;
        options.check_alignment()?;
        let backing = match options.source {
            Source::Memfd => own_memfd(range.size(), None)?,
            Source::Huge { log2 } => own_memfd(range.size(), Some(log2))?,
            _ => Self::own_backing(options)?,
        };
        Self::with_backing(options, backing)
    }

    /// What backs a region that does not live in one of the library's memfds.
    pub fn own_backing(options: &RegionOptions) -> Result<Backing> {
        let mode = |private: bool| match private || options.read_only {
            true => FileUse::ReadOnly,
            false => FileUse::ReadWrite,
        };
        let open =
            |fd, offset, private| BackingFile::from_caller(fd, offset, options.size, mode(private));
        Ok(match options.source {
            Source::Private => Backing::Anonymous,
            Source::File { fd, offset, private: false } => {
                Backing::Shared { file: open(fd, offset, false)?, offset }
            }
            Source::File { fd, offset, private: true } => {
                Backing::CopyOnWrite { file: open(fd, offset, true)?, offset }
            }
            Source::Caller { file, private, .. } => {
                let offset = file.map_or(0, |(_, offset)| offset);
                let file = file.map(|(fd, offset)| open(fd, offset, private)).transpose()?;
                Backing::Caller { file, offset }
            }
            Source::Memfd | Source::Huge { .. } => {
                return Err(Error::Internal("a memfd region is laid out with its neighbours"));
            }
        })
    }

    /// A region with the backing that was made for it. `options` have been checked.
    pub fn with_backing(options: &RegionOptions, backing: Backing) -> Result<Ref<Self>> {
        let range = options.range()?;
        let page_size = backing.file().map_or_else(page_size, |(file, _)| file.page_size());
        check_page_aligned(options, page_size)?;
        let place = placement(options, page_size);
        let map = |content| Mapping::new(content, range.size(), options.read_only, place);
        let mapping = match (&backing, options.source) {
            (Backing::Shared { file, offset }, _) => {
                map(Content::Shared { fd: file.fd(), offset: *offset })?
            }
            (Backing::CopyOnWrite { file, offset }, _) => {
                let huge = page_size > system::page_size();
                map(Content::CopyOnWrite { fd: file.fd(), offset: *offset, huge })?
            }
            (Backing::Caller { .. }, Source::Caller { memory, .. }) => {
                Mapping::of_caller(memory.host(), range.size(), options.read_only)
            }
            (Backing::Anonymous | Backing::Caller { .. }, _) => map(Content::Anonymous)?,
        };
        match (options.source, &backing) {
            (Source::Huge { log2 }, Backing::Shared { file, offset })
                if options.populate || cgroup::may_limit_huge_pages(log2) =>
            {
                take_huge_pages(&mapping, file, *offset)?;
            }
            _ if options.populate => mapping.populate(page_size)?,
            _ => {}
        }
        let advice = AtomicU32::new(0);
        let (tainted, claim) = (AtomicBool::new(false), Claim::default());
        let options = *options;
        Ref::new(MemoryRegion {
            range,
            mapping,
            backing,
            options,
            page_size,
            advice,
            locked: Here::nowhere(),
            replaced: Mutex::default(),
            tainted,
            claim,
        })
    }

    /// Its guest addresses.
    pub fn range(&self) -> GuestRange {
        self.range
    }

    /// The host address of its first byte.
    pub fn host(&self) -> *mut u8 {
        self.mapping.host()
    }

    /// As [`Mapping::guarded_end`].
    pub fn guarded_end(&self) -> Option<u64> {
        self.mapping.guarded_end()
    }

    /// What its bytes live in.
    pub fn backing(&self) -> &Backing {
        &self.backing
    }

    /// How it was asked for.
    pub fn options(&self) -> &RegionOptions {
        &self.options
    }

    /// Size in bytes of the pages it is made of.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// Whether a page that can be read stays so: no file of the library's own can be cut, and nothing
    /// else takes a page from memory that only the program itself can protect.
    pub fn stays_readable(&self) -> bool {
        matches!(self.options.source, Source::Memfd | Source::Private)
    }

    /// True when it may not be written through this library.
    pub fn is_read_only(&self) -> bool {
        self.options.read_only
    }

    #[cfg(test)]
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// True after a restore into it failed half way.
    pub fn is_tainted(&self) -> bool {
        self.tainted.load(Ordering::Acquire)
    }

    /// Tells whether what it holds is neither the old nor the new state.
    pub fn set_tainted(&self, tainted: bool) {
        self.tainted.store(tainted, Ordering::Release);
    }

    /// What of `offset..offset + len` lies in which of the caller's mappings; nothing for memory of the
    /// library's.
    pub fn parts_of_caller(&self, offset: u64, len: u64, maps: &Maps) -> Result<Vec<Part>> {
        let Backing::Caller { .. } = self.backing else { return Ok(Vec::new()) };
        let mut parts = caller::parts(&self.mapping, offset, len, maps)?;
        for part in &mut parts {
            *part = part.with_page_size(maps)?;
        }
        Ok(parts)
    }

    /// Frees the whole pages of a part of [`MemoryRegion::parts_of_caller`].
    pub fn remove_part_of_caller(&self, part: &Part, maps: &Maps) -> Result<()> {
        caller::remove_part(&self.mapping, self.given(), part, maps)
    }

    /// What the caller said of the file behind its memory.
    fn given(&self) -> Given<'_> {
        self.backing.file().map(|(file, start)| (&**file, start))
    }

    /// Who is at work on all of it.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Brings the pages at `offset..offset + len` in to be written: many at once take less than each
    /// by its own fault, and one that could not be had is an error here and SIGBUS there.
    pub fn prefault(&self, offset: u64, len: u64) -> Result<()> {
        match self.mapping.populate_range(offset, len) {
            Err(error @ Error::NoMemory(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts an advice in force, of which parts, offsets and lengths, are yet to be told.
    pub fn apply(&self, advice: Advice, mut parts: impl Iterator<Item = (u64, u64)>) -> Result<()> {
        if advice == Advice::Lock {
            self.locked.say()?;
        }
        // First, so that pages that are replaced meanwhile get it too.
        self.advice.fetch_or(bit(advice), Ordering::Relaxed);
        let applied = parts.try_for_each(|(offset, len)| self.mapping.apply(advice, offset, len));
        if applied.is_err() {
            self.advice.fetch_and(!bit(advice), Ordering::Relaxed);
        }
        applied
    }

    /// Takes advice back from the parts that `apply` gave it to.
    pub fn take_back(&self, advice: Advice, parts: impl Iterator<Item = (u64, u64)>) {
        self.advice.fetch_and(!bit(advice), Ordering::Relaxed);
        parts.for_each(|(offset, len)| self.mapping.take_back(advice, offset, len));
    }

    /// True when `advice` is in force.
    pub fn has(&self, advice: Advice) -> bool {
        self.in_force() & bit(advice) != 0
    }

    /// The bits of the advice in force: locks are not passed on to children.
    fn in_force(&self) -> u32 {
        let given = self.advice.load(Ordering::Relaxed);
        if self.locked.holds() { given } else { given & !bit(Advice::Lock) }
    }
}

/// Its place among those in force.
fn bit(advice: Advice) -> u32 {
    1 << advice as u32
}

/// Takes all pages at once: reserved ones may be refused later by a limit of the process's.
fn take_huge_pages(mapping: &Mapping, file: &BackingFile, offset: u64) -> Result<()> {
    match mapping.populate(file.page_size()) {
        // Before Linux 5.14.
        Err(Error::Unsupported(_)) => file.allocate(offset, mapping.size()),
        other => other,
    }
}

fn own_memfd(size: u64, huge_log2: Option<u32>) -> Result<Backing> {
    Ok(Backing::Shared { file: BackingFile::memfd(size, huge_log2)?, offset: 0 })
}

fn placement(options: &RegionOptions, page_size: u64) -> Placement {
    match options.align {
        0 if options.size >= HUGE_ALIGN || page_size > HUGE_ALIGN => {
            Placement { align: HUGE_ALIGN.max(page_size), residue: options.guest_addr }
        }
        align => Placement { align: align.max(page_size), residue: 0 },
    }
}

#[cfg(test)]
mod tests;
