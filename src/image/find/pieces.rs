// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What kind of memory lies where in regions.

use crate::error::{Error, Result};
use crate::host::alloc::push;
use crate::host::areas::{Area, MemoryKind};
use crate::host::file::FileId;
use crate::host::maps::Maps;
use crate::host::proc::needed;
use crate::image::find::ranges::{Found, within};
use crate::image::find::way::{Keeping, Way};
use crate::image::format::metadata::DataRange;
use crate::memory::backing::Backing;
use crate::memory::caller;
use crate::memory::region::MemoryRegion;
use std::os::fd::RawFd;

/// A part of a region that is of one kind.
#[derive(Clone, Copy)]
pub struct Piece {
    /// Index of its region.
    pub region: usize,
    /// Where in the region it starts.
    pub offset: u64,
    /// Its first host address.
    pub host: u64,
    /// Bytes.
    pub size: u64,
}

/// A part of a region that maps a file.
#[derive(Clone, Copy)]
pub struct FilePart {
    /// Where it lies.
    pub piece: Piece,
    /// What it maps.
    pub file: FileId,
    /// How to come by the file.
    pub way: Way,
    /// What the file can tell of its holes.
    pub keeping: Keeping,
    /// Where in the file it starts.
    pub start: u64,
    /// Stores reach the file.
    pub shared: bool,
}

impl FilePart {
    /// What is the same only for parts of one file. Segments of System V shared memory and memfds may
    /// have the same device and inode, so files that were come by in different ways are not taken
    /// for one: that costs no more than asking the file.
    fn key(&self) -> (FileId, bool) {
        (self.file, matches!(self.way, Way::Mapped(..)))
    }

    /// Adds to `found`, as offsets in the region, what of the file's `data` is mapped here.
    pub fn take(&self, data: &[DataRange], found: &mut Found) -> Result<()> {
        let to_region = |at| self.piece.offset + (at - self.start);
        within(data, self.start, self.start + self.piece.size)
            .try_for_each(|range| found.add(to_region(range.start), to_region(range.end)))
    }
}

/// The pieces of regions.
#[derive(Default)]
pub struct Pieces {
    /// Private memory without a file.
    pub private: Vec<Piece>,
    of_files: Vec<FilePart>,
    /// What is known of the file that was asked last: many regions may live in one.
    last: Option<(RawFd, FileId, Keeping)>,
    maps: Maps,
}

impl Pieces {
    /// Adds those of a region.
    pub fn add(&mut self, index: usize, region: &MemoryRegion) -> Result<()> {
        let (host, size) = (region.host() as u64, region.range().size());
        let whole = Piece { region: index, offset: 0, host, size };
        match region.backing() {
            Backing::Anonymous => push(&mut self.private, whole),
            Backing::Shared { file, offset } => self.add_held(whole, file.fd(), *offset, true),
            // Parts of it may have been replaced by private zeros.
            Backing::CopyOnWrite { file, offset } => {
                self.add_areas(whole, Some((file.fd(), *offset)))
            }
            Backing::Caller { file, offset } => {
                let given = file.as_ref().map(|file| (file.fd(), *offset));
                self.add_areas(whole, given)
            }
        }
    }

    fn add_areas(&mut self, whole: Piece, given: Option<(RawFd, u64)>) -> Result<()> {
        let maps = std::mem::take(&mut self.maps);
        let areas = needed(maps.at(whole.host, whole.size));
        let added = areas
            .and_then(|areas| areas.iter().try_for_each(|area| self.add_area(whole, area, given)));
        self.maps = maps;
        added
    }

    /// A mapping in the caller's region. Its file is opened through the mapping when the caller
    /// did not give it, which takes a privilege.
    fn add_area(&mut self, whole: Piece, area: &Area, given: Option<(RawFd, u64)>) -> Result<()> {
        let host = area.start.max(whole.host);
        let size = area.end.min(whole.host + whole.size) - host;
        let offset = host - whole.host;
        let piece = Piece { offset, host, size, ..whole };
        let shared = area.kind == MemoryKind::Shared;
        match (area.kind, given) {
            (MemoryKind::PrivateAnonymous | MemoryKind::PrivateHuge, _) => {
                push(&mut self.private, piece)
            }
            (_, Some((fd, begin))) => {
                caller::check_file(area, fd, begin, whole.host)?;
                let (file, keeping) = self.ask(fd)?;
                // Here devices can be compared, and pages of another file must not be counted.
                if matches!(keeping, Keeping::Memory { .. }) && file != (area.device, area.inode) {
                    return Err(Error::Unsupported("the caller's memory maps another file"));
                }
                self.add_held(piece, fd, begin + offset, shared)
            }
            (_, None) => {
                let way = Way::Mapped(area.start, area.end);
                let (file, keeping) = way.ask()?;
                let start = area.offset + (host - area.start);
                push(&mut self.of_files, FilePart { piece, file, way, keeping, start, shared })
            }
        }
    }

    fn add_held(&mut self, piece: Piece, fd: RawFd, start: u64, shared: bool) -> Result<()> {
        let (file, keeping) = self.ask(fd)?;
        let way = Way::Held(fd);
        push(&mut self.of_files, FilePart { piece, file, way, keeping, start, shared })
    }

    fn ask(&mut self, fd: RawFd) -> Result<(FileId, Keeping)> {
        match self.last {
            Some((last, file, keeping)) if last == fd => return Ok((file, keeping)),
            _ => {}
        }
        let (file, keeping) = Way::Held(fd).ask()?;
        self.last = Some((fd, file, keeping));
        Ok((file, keeping))
    }

    /// Brings what maps the same file together, in the order of the file.
    pub fn sort(&mut self) {
        self.of_files.sort_unstable_by_key(|part| (part.key(), part.start));
    }

    /// The parts of each file, once the pieces are sorted.
    pub fn by_file(&self) -> impl Iterator<Item = &[FilePart]> {
        self.of_files.chunk_by(|one, other| one.key() == other.key())
    }
}
