// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How to come by the file behind a region, and what it can tell of its holes.

use crate::error::{Error, Result};
use crate::host::file;
use crate::host::file::{FileId, Outcome};
use crate::host::pagemap::unavailable;
use crate::host::proc;
use crate::host::system::page_size;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// What to tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What may hold anything but zeros.
    Data,
    /// All that takes memory: also where reading a hole left the page of zeros, and pages that were
    /// only set aside (fallocate(2)).
    Pages,
}

/// Bytes that a last level page table maps, at least.
pub const TABLE: u64 = 2 << 20;

/// fuse.h
const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;

/// What a file can tell of its holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// All, to those who seek. It is in memory, and has `few` pages or enough of them for page
    /// tables to tell of them sooner.
    Memory {
        /// Too few for page tables to be worth a look.
        few: bool,
    },
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
    pub fn duplicate(self, error: Error) -> Result<OwnedFd> {
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

/// Why a file could not be looked at.
pub fn stat_error(errno: i32) -> Error {
    Error::from_os("fstat", errno)
}

/// Bytes that a file has allocated.
pub fn allocated(stat: &libc::stat) -> u64 {
    stat.st_blocks as u64 * 512
}
