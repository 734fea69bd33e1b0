// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a region's bytes live in: memfds of the library, files and memory of the caller.

use crate::address::fits;
use crate::error::{Error, Result, errno};
use crate::host::file;
use crate::host::handle::{Pool, Pooled, Ref};
use crate::host::system::page_size;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The name that the library's memfds bear in /proc.
const MEMFD_NAME: &CStr = c"guestmem";

/// An open file that regions live in, shared between them.
#[derive(Debug)]
pub struct BackingFile {
    fd: OwnedFd,
    /// In bytes; larger than the system's for hugetlb files.
    page_size: u64,
    /// The open file's status flags (`O_RDWR` and so on).
    status: i32,
}

static FILES: Pool<BackingFile> = Pool::new();

impl Pooled for BackingFile {
    const TAG: u64 = 0x6d67_5f66_696c_6500;
    fn pool() -> &'static Pool<Self> {
        &FILES
    }
}

/// What a region's bytes live in.
#[derive(Debug)]
pub enum Backing {
    /// A file at an offset, mapped shared: stores reach the file.
    Shared {
        /// The file.
        file: Ref<BackingFile>,
        /// Where in it the region starts.
        offset: u64,
    },
    /// A file at an offset, mapped copy-on-write.
    CopyOnWrite {
        /// The file.
        file: Ref<BackingFile>,
        /// Where in it the region starts.
        offset: u64,
    },
    /// Private memory without a file.
    Anonymous,
    /// Memory that the caller mapped, with the file and offset that it said are behind it.
    Caller {
        /// The file, if the caller gave it.
        file: Option<Ref<BackingFile>>,
        /// Where in it the region starts.
        offset: u64,
    },
}

impl Backing {
    /// The file behind the region and where the region starts in it.
    pub fn file(&self) -> Option<(&Ref<BackingFile>, u64)> {
        match self {
            Backing::Shared { file, offset } | Backing::CopyOnWrite { file, offset } => {
                Some((file, *offset))
            }
            Backing::Caller { file, offset } => file.as_ref().map(|file| (file, *offset)),
            Backing::Anonymous => None,
        }
    }
}

/// How a caller's file is to be used, which decides what it must allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileUse {
    /// Mapped shared, to read and write.
    ReadWrite,
    /// Mapped to read only, or copy-on-write: no store reaches the file.
    ReadOnly,
}

impl BackingFile {
    /// A new memfd of `size` bytes of zeros, sealed against shrinking, growing and further
    /// sealing. `huge_log2` asks for hugetlb pages of that size.
    pub fn memfd(size: u64, huge_log2: Option<u32>) -> Result<Ref<Self>> {
        let huge = match huge_log2 {
            Some(log2) => libc::MFD_HUGETLB | (log2 << libc::MFD_HUGE_SHIFT),
            None => 0,
        };
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | huge;
        let fd = create_memfd(flags).or_else(|errno| match errno {
            // Where the system allows no memfd that could be executed.
            libc::EACCES => create_memfd(flags | libc::MFD_NOEXEC_SEAL),
            errno => Err(errno),
        });
        let fd = fd.map_err(|errno| memfd_error(errno, huge_log2.is_some()))?;
        set_length(&fd, size)?;
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: a plain fcntl on our descriptor.
        if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
            return Err(Error::last_os("fcntl(F_ADD_SEALS)"));
        }
        let page_size = match huge_log2 {
            Some(log2) => 1 << log2,
            None => page_size(),
        };
        Ref::new(BackingFile { fd, page_size, status: libc::O_RDWR })
    }

    /// The caller's descriptor, duplicated: checked to be a regular file or memfd, in a fitting
    /// mode, at least `offset + size` long.
    pub fn from_caller(fd: RawFd, offset: u64, size: u64, usage: FileUse) -> Result<Ref<Self>> {
        let fd = file::duplicate(fd).map_err(|errno| match errno {
            libc::EBADF => backing("the descriptor is not open", libc::EBADF),
            other => Error::from_os("fcntl(F_DUPFD_CLOEXEC)", other),
        })?;
        let status = file::status_flags(fd.as_raw_fd())
            .map_err(|errno| Error::from_os("fcntl(F_GETFL)", errno))?;
        let length = regular_file_length(&fd)?;
        let system =
            file::file_system(fd.as_raw_fd()).map_err(|errno| Error::from_os("fstatfs", errno))?;
        // hugetlbfs reports the size of its pages as that of its blocks.
        let huge = system.magic == libc::HUGETLBFS_MAGIC;
        let page_size = if huge { system.block_size } else { page_size() };
        if !fits(offset, size, length) {
            return Err(backing("the file ends before fd_offset + size", 0));
        }
        check_mode(status, usage)?;
        Ref::new(BackingFile { fd, page_size, status })
    }

    /// The descriptor, which stays open as long as `self` lives.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Size in bytes of the pages that the file is made of.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// Takes all pages of a range, so that no access can fail for want of one.
    pub fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        loop {
            // SAFETY: a plain system call on our descriptor.
            if unsafe { libc::fallocate(self.fd(), 0, offset as i64, len as i64) } == 0 {
                return Ok(());
            }
            match errno() {
                libc::EINTR => {}
                libc::ENOSPC => return Err(Error::NoMemory("fallocate")),
                other => return Err(Error::from_os("fallocate", other)),
            }
        }
    }

    /// Frees the pages of a range, which reads as zeros afterwards. Works on locked pages too.
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        if self.status & libc::O_ACCMODE == libc::O_RDONLY {
            return Err(Error::Unsupported("the file behind the region is open to read only"));
        }
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        loop {
            // SAFETY: a plain system call on our descriptor; offset and length were checked
            // against the region, which fits the file.
            let result = unsafe { libc::fallocate(self.fd(), mode, offset as i64, len as i64) };
            if result == 0 {
                return Ok(());
            }
            match errno() {
                libc::EINTR => continue,
                libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM => {
                    return Err(Error::Unsupported("the file cannot have holes"));
                }
                other => return Err(Error::from_os("fallocate", other)),
            }
        }
    }
}

fn backing(why: &'static str, errno: i32) -> Error {
    Error::Backing { why, errno }
}

fn create_memfd(flags: u32) -> file::Outcome<OwnedFd> {
    // SAFETY: the name is a C string; the result is checked.
    let raw = unsafe { libc::memfd_create(MEMFD_NAME.as_ptr(), flags) };
    if raw < 0 {
        return Err(errno());
    }
    // SAFETY: a descriptor that was just made and that nobody else owns.
    file::above_standard(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn memfd_error(errno: i32, huge: bool) -> Error {
    match errno {
        // What the kernel says of a huge page size that it does not have.
        libc::ENODEV | libc::EINVAL | libc::ENOENT if huge => {
            Error::Unsupported("this system has no huge pages of that size")
        }
        _ => Error::from_os("memfd_create", errno),
    }
}

/// Sets the length of a new memfd, without the signal that a file size limit would send.
fn set_length(fd: &OwnedFd, size: u64) -> Result<()> {
    if size > i64::MAX as u64 {
        return Err(Error::too_large("no file can be that long"));
    }
    if size > file_size_limit()? {
        let why = "the process's file size limit";
        return Err(Error::TooLarge { why, errno: libc::EFBIG });
    }
    file::set_length(fd.as_raw_fd(), size).map_err(|errno| Error::from_os("ftruncate", errno))
}

fn file_size_limit() -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is ours to write.
    if unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } != 0 {
        return Err(Error::last_os("getrlimit"));
    }
    Ok(limit.rlim_cur)
}

fn check_mode(status: i32, usage: FileUse) -> Result<()> {
    if status & libc::O_PATH != 0 {
        return Err(backing("an O_PATH descriptor cannot be mapped", libc::EBADF));
    }
    match (status & libc::O_ACCMODE, usage) {
        (libc::O_RDWR, _) | (libc::O_RDONLY, FileUse::ReadOnly) => Ok(()),
        (libc::O_RDONLY, FileUse::ReadWrite) => Err(Error::ReadOnly),
        _ => Err(backing("the descriptor is open to write only", libc::EACCES)),
    }
}

fn regular_file_length(fd: &OwnedFd) -> Result<u64> {
    let stat = file::stat(fd.as_raw_fd()).map_err(|errno| Error::from_os("fstat", errno))?;
    if !file::is_regular(&stat) {
        return Err(backing("neither a regular file nor a memfd", libc::ENODEV));
    }
    Ok(stat.st_size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_memfd_is_sealed_and_named() {
        let file = BackingFile::memfd(page_size(), None).unwrap();
        // SAFETY: a plain fcntl.
        let seals = unsafe { libc::fcntl(file.fd(), libc::F_GET_SEALS) };
        assert_eq!(seals, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL);
        let link = std::fs::read_link(format!("/proc/thread-self/fd/{}", file.fd())).unwrap();
        assert!(link.to_str().unwrap().contains("memfd:guestmem"));
    }

    #[test]
    fn what_cannot_back_a_region_is_refused() {
        let dir = File::open("/").unwrap();
        let error = BackingFile::from_caller(dir.as_raw_fd(), 0, 1, FileUse::ReadOnly);
        assert!(matches!(error, Err(Error::Backing { errno: libc::ENODEV, .. })));
        let closed = BackingFile::from_caller(-1, 0, 1, FileUse::ReadOnly);
        assert!(matches!(closed, Err(Error::Backing { errno: libc::EBADF, .. })));
        let this = File::open("/proc/self/exe").unwrap();
        let too_far = BackingFile::from_caller(this.as_raw_fd(), 1 << 62, 1, FileUse::ReadOnly);
        assert!(matches!(too_far, Err(Error::Backing { .. })));
        let read_only = BackingFile::from_caller(this.as_raw_fd(), 0, 1, FileUse::ReadWrite);
        assert_eq!(read_only.unwrap_err(), Error::ReadOnly);
    }
}
