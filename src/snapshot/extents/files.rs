// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Files behind regions: how to come by them, what can be known of their holes, what they hold.

use super::super::metadata::DataRange;
use super::pieces::FilePart;
use super::ranges::Found;
use super::{Extent, TABLE, huge, seek};
use crate::error::{Error, Result};
use crate::file::{self, Outcome};
use crate::pagemap::unavailable;
use crate::proc::{self, page_size};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// fuse.h
const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;

/// Device and inode.
pub type FileId = (u64, u64);

/// What a file can tell of its holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// All, to those who seek. It is in memory, and has `few` pages or enough of them for page
    /// tables to tell of them sooner.
    Memory { few: bool },
    /// Nothing. Its pages are of that size.
    HugePages(u64),
    /// All, to those who seek.
    Sparse,
    /// Nothing that could be relied on.
    Dense,
}

impl Keeping {
    fn of(fd: RawFd, stat: &libc::stat) -> Outcome<Self> {
        let system = file::file_system(fd)?;
        Ok(match system.magic {
            libc::TMPFS_MAGIC if file::is_regular(stat) => {
                // Not even one for each page table.
                let few = allocated(stat) < stat.st_size as u64 / (TABLE / page_size());
                Keeping::Memory { few }
            }
            libc::HUGETLBFS_MAGIC => Keeping::HugePages(system.block_size),
            // Its server answers, which does not know of pages that were written by memory access.
            FUSE_SUPER_MAGIC => Keeping::Dense,
            _ => Keeping::Sparse,
        })
    }

    /// Whether it tells of its holes to those who seek.
    pub fn can_seek(self) -> bool {
        matches!(self, Keeping::Memory { .. } | Keeping::Sparse)
    }

    /// Whether to look for its pages in page tables first. Reading these entry by entry takes as
    /// long as seeking.
    pub fn is_told_by_pages(self, can_scan: bool) -> bool {
        match self {
            Keeping::Memory { few } => can_scan && !few,
            Keeping::HugePages(_) => true,
            Keeping::Sparse | Keeping::Dense => false,
        }
    }
}

/// How to come by a file.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// By a descriptor that a region holds.
    Held(RawFd),
    /// By the mapping of the caller's that has these bounds.
    Mapped(u64, u64),
}

impl Way {
    /// Opens it anew, so that seeking moves nobody else's offset.
    pub fn open(self) -> Result<OwnedFd> {
        let opened = match self {
            Way::Held(fd) => file::open_again(fd, libc::O_RDONLY),
            Way::Mapped(start, end) => {
                let named = named(start, end)?;
                // A device may begin to do something when it is opened.
                match file::stat(named.as_raw_fd()) {
                    Ok(stat) if file::is_regular(&stat) => {
                        file::open_again(named.as_raw_fd(), libc::O_RDONLY)
                    }
                    _ => return Err(Error::Unsupported("the caller's memory is a device's")),
                }
            }
        };
        let why = "the file behind a region is not open to /proc";
        opened.map_err(|errno| unavailable(errno, Error::Unsupported(why)))
    }

    /// A further descriptor of the file, which may be read at offsets, but whose position is others'
    /// too: for a file that cannot be opened anew, for the reason of `error`, as its path belongs to
    /// another user or /proc is not there.
    fn duplicate(self, error: Error) -> Result<OwnedFd> {
        match (self, error) {
            (Way::Held(fd), Error::Unsupported(_)) => {
                file::duplicate(fd).map_err(|errno| Error::from_os("fcntl(F_DUPFD_CLOEXEC)", errno))
            }
            _ => Err(error),
        }
    }

    /// Which file it is, and what it can tell.
    pub fn ask(self) -> Result<(FileId, Keeping)> {
        self.with(|fd| {
            let stat = file::stat(fd)?;
            Ok(((stat.st_dev, stat.st_ino), Keeping::of(fd, &stat)?))
        })
    }

    fn with<T>(self, look: impl FnOnce(RawFd) -> Outcome<T>) -> Result<T> {
        let looked = match self {
            Way::Held(fd) => look(fd),
            Way::Mapped(start, end) => look(named(start, end)?.as_raw_fd()),
        };
        looked.map_err(stat_error)
    }
}

/// The file of a mapping of the caller's, not opened in earnest.
fn named(start: u64, end: u64) -> Result<OwnedFd> {
    let needed = Error::Unsupported("the file behind the caller's memory is needed");
    proc::open_mapped(start, end).map_err(|errno| unavailable(errno, needed))
}

fn stat_error(errno: i32) -> Error {
    Error::from_os("fstat", errno)
}

/// Bytes that a file has allocated.
fn allocated(stat: &libc::stat) -> u64 {
    stat.st_blocks as u64 * 512
}

/// A file that regions map.
pub struct File<'a> {
    /// Where it is mapped: at least one part, in the order of the file.
    pub parts: &'a [FilePart],
    /// Those of its pages that page tables show, tidied.
    pub seen: Result<Found>,
}

impl File<'_> {
    /// What it holds where it is mapped, and perhaps elsewhere: page-aligned, ascending, disjoint.
    ///
    /// Data that nobody changes meanwhile is among it whatever else happens: each page that was not
    /// seen in the page tables is asked for by itself. Their number, held against that of the
    /// file's pages, would prove nothing. While one page leaves the file another may hide behind
    /// it, and pages leave by holes that anybody makes, by other processes, and by themselves where
    /// they were never written and memory is short.
    pub fn data(&self, extent: Extent) -> Result<Vec<DataRange>> {
        let FilePart { way, keeping, .. } = self.parts[0];
        let seen = self.seen.as_ref().map_err(|error| *error)?.ranges();
        let covers = self.covers()?;
        if keeping == Keeping::Dense {
            return Ok(covers);
        }
        let opened = way.open();
        let has_own_position = opened.is_ok();
        let file = opened.or_else(|error| way.duplicate(error))?;
        let allocated =
            || file::stat(file.as_raw_fd()).map(|stat| allocated(&stat)).map_err(stat_error);
        let data = match keeping {
            Keeping::HugePages(_) if allocated()? == 0 => Vec::new(),
            Keeping::HugePages(size) => huge::data(&file, &covers, seen, size)?,
            _ if has_own_position => seek::data(&file, &covers, seen)?,
            _ => huge::data(&file, &covers, seen, page_size())?,
        };
        let in_memory = matches!(keeping, Keeping::Memory { .. } | Keeping::HugePages(_));
        if extent == Extent::Pages && in_memory && self.parts.iter().any(|part| part.shared) {
            // Nobody tells where those are that hold nothing.
            let found: u64 = data.iter().map(|range| range.size()).sum();
            if allocated()? > found {
                return Ok(covers);
            }
        }
        Ok(data)
    }

    /// The parts of the file that are mapped.
    fn covers(&self) -> Result<Vec<DataRange>> {
        let mut covers = Found::default();
        for part in self.parts {
            covers.add(part.start, part.start + part.piece.size)?;
        }
        Ok(covers.into_ranges())
    }
}
