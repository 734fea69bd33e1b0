// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Files of /proc and /dev that stay open, for when they cannot be opened any more: after a change of
//! user /proc/thread-self/pagemap belongs to root, in a jail there is neither.
//!
//! Each is opened anew as long as that can be done; only then the one that was kept is used. What is
//! kept may not be what it was: the program may have closed the descriptor and opened another file
//! under its number, the thread may have a table of descriptors of its own, and in a forked child it
//! still tells of the parent. So it is duplicated, and the duplicate is used when it is the same file
//! and was opened in this process. No folder is kept, by which a jail could be left.

use crate::error::{Error, Result};
use crate::host::file;
use crate::host::file::{FileId, id_of};
use crate::host::file::{Outcome, is_shortage, pread_some};
use crate::host::process;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// This process's page tables.
    PageMap,
    /// Its mappings.
    Maps,
    /// Its mappings, in detail.
    Smaps,
    /// What makes userfaultfds.
    UserFault,
}

const COUNT: usize = 4;

/// A descriptor that stays open, the file that it was opened for, and the process that did it.
#[derive(Clone, Copy)]
struct Entry {
    fd: RawFd,
    file: FileId,
    owner: u64,
}

static ENTRIES: Mutex<[Option<Entry>; COUNT]> = Mutex::new([None; COUNT]);

fn entries() -> MutexGuard<'static, [Option<Entry>; COUNT]> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    /// Where the calling thread finds it.
    pub fn path(self) -> &'static CStr {
        match self {
            Kept::PageMap => c"/proc/thread-self/pagemap",
            Kept::Maps => c"/proc/thread-self/maps",
            Kept::Smaps => c"/proc/thread-self/smaps",
            Kept::UserFault => c"/dev/userfaultfd",
        }
    }

    fn open_anew(self) -> Outcome<OwnedFd> {
        let mode = if self == Kept::UserFault { libc::O_RDWR } else { libc::O_RDONLY };
        file::open(self.path(), mode)
    }

    /// Opens it so that it can be read when this thread has ended: as the first thread's, which stays
    /// as long as the process, unless that has ended and tells nothing any more.
    fn open_lasting(self) -> Outcome<OwnedFd> {
        let firsts = match self {
            Kept::Maps => c"/proc/self/maps",
            Kept::Smaps => c"/proc/self/smaps",
            Kept::PageMap | Kept::UserFault => return self.open_anew(),
        };
        match file::open(firsts, libc::O_RDONLY) {
            Ok(fd) if tells_something(&fd) => Ok(fd),
            _ => self.open_anew(),
        }
    }

    /// Whether what it tells is of one process only.
    fn is_of_process(self) -> bool {
        self != Kept::UserFault
    }
}

fn tells_something(fd: &OwnedFd) -> bool {
    let mut byte = 0u8;
    // SAFETY: one byte of ours.
    matches!(unsafe { pread_some(fd.as_raw_fd(), &mut byte, 1, 0) }, Ok(1))
}

/// How a file was come by.
pub enum Source {
    /// Opened anew.
    New(OwnedFd),
    /// A duplicate of what was kept, which shares its position with others.
    Kept(OwnedFd),
}

impl Source {
    /// The descriptor, for those whom its position does not matter.
    pub fn into_fd(self) -> OwnedFd {
        match self {
            Source::New(fd) | Source::Kept(fd) => fd,
        }
    }
}

/// Opens it anew, or duplicates what was kept.
pub fn open(file: Kept) -> Outcome<Source> {
    match file.open_anew() {
        Ok(fd) => Ok(Source::New(fd)),
        Err(errno) if is_shortage(errno) => Err(errno),
        Err(errno) => duplicate(file).map(Source::Kept).ok_or(errno),
    }
}

/// The page tables of this process. Once they were opened they are kept: that does not wait for
/// [`prepare`], as a program that changes its user may know nothing of it.
pub fn page_map() -> Outcome<OwnedFd> {
    let fd = open(Kept::PageMap)?.into_fd();
    if let (false, Ok(owner)) = (is_known(Kept::PageMap), process::identity()) {
        // Where there is no further descriptor there is less for later, no more.
        if let Ok(entry) = file::duplicate(fd.as_raw_fd()).and_then(Opened::new) {
            entry.keep(Kept::PageMap, owner);
        }
    }
    Ok(fd)
}

/// `/dev/userfaultfd`, on which `ioctl(USERFAULTFD_IOC_NEW)` makes one.
pub fn userfaultfd_device() -> Outcome<OwnedFd> {
    Ok(open(Kept::UserFault)?.into_fd())
}

/// A further descriptor of what was kept, if that is still there and this process's.
fn duplicate(file: Kept) -> Option<OwnedFd> {
    let entry = entries()[file as usize]?;
    if file.is_of_process() && process::identity() != Ok(entry.owner) {
        return None;
    }
    duplicate_of(&entry)
}

fn duplicate_of(entry: &Entry) -> Option<OwnedFd> {
    let fd = file::duplicate(entry.fd).ok()?;
    is_file(fd.as_raw_fd(), entry.file).then_some(fd)
}

fn is_file(fd: RawFd, file: FileId) -> bool {
    file::stat(fd).is_ok_and(|stat| id_of(&stat) == file)
}

/// Whether this process keeps it, perhaps in another table of descriptors than this thread's.
fn is_known(file: Kept) -> bool {
    entries()[file as usize].is_some_and(|entry| process::identity() == Ok(entry.owner))
}

/// A descriptor that is to be kept.
struct Opened {
    fd: OwnedFd,
    file: FileId,
}

impl Opened {
    fn new(fd: OwnedFd) -> Outcome<Self> {
        let file = id_of(&file::stat(fd.as_raw_fd())?);
        Ok(Opened { fd, file })
    }

    fn keep(self, file: Kept, owner: u64) {
        let entry = Entry { fd: self.fd.into_raw_fd(), file: self.file, owner };
        // A child closes what it has of its parent.
        let old = entries()[file as usize].replace(entry);
        if let Some(old) = old.filter(|old| is_file(old.fd, old.file)) {
            // SAFETY: it was kept here, and is the file that it was opened for; nobody uses it, but
            // duplicates.
            drop(unsafe { OwnedFd::from_raw_fd(old.fd) });
        }
    }
}

/// Opens all that is not kept yet. Nothing is kept where something that is needed cannot be had.
pub fn prepare() -> Result<()> {
    const ALL: [Kept; COUNT] = [Kept::PageMap, Kept::Maps, Kept::Smaps, Kept::UserFault];
    let owner = process::identity()?;
    let mut opened = [const { None }; COUNT];
    for file in ALL.into_iter().filter(|&file| duplicate(file).is_none()) {
        match file.open_lasting().and_then(Opened::new) {
            Ok(fd) => opened[file as usize] = Some(fd),
            Err(errno) if is_shortage(errno) => return Err(Error::from_os("open", errno)),
            // Not all systems have it, and few let everybody use it.
            Err(_) if file == Kept::UserFault => {}
            Err(_) => {
                return Err(Error::Unsupported("this process's own files in /proc are needed"));
            }
        }
    }
    for (file, opened) in ALL.into_iter().zip(opened) {
        if let Some(opened) = opened {
            opened.keep(file, owner);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_used_only_where_it_is_what_it_was() {
        prepare().unwrap();
        prepare().unwrap();
        let kept = |file: Kept| entries()[file as usize].unwrap();
        for file in [Kept::PageMap, Kept::Maps, Kept::Smaps] {
            let entry = kept(file);
            assert!(entry.fd >= file::FIRST_FD);
            assert!(duplicate(file).is_some());
            let (dev, ino) = entry.file;
            assert!(duplicate_of(&Entry { file: (dev, ino + 1), ..entry }).is_none());
        }
        // A child has the descriptor, but it tells of its parent.
        // SAFETY: the child makes a few system calls and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let fresh = duplicate(Kept::Maps).is_none() && !is_known(Kept::PageMap);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!fresh)) };
        }
        let mut status = 0;
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
