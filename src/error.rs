// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What can go wrong, and the thread's record of what went wrong last.
//!
//! An [`Error`] is plain data, made where the failure happens and formatted only when somebody
//! asks. Its texts say *why*; the headline of each code stands in `ffi/status.rs`.

mod last;

pub use last::{last, set_last};
use std::cell::Cell;

/// Every way in which a call can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // Each variant is the `GUESTMEM_E_*` of its name, documented there.
pub enum Error {
    #[error("{0}")]
    InvalidArgument(&'static str),
    #[error("not a live object of this kind")]
    BadHandle,
    #[error("{0}")]
    NoMemory(&'static str),
    #[error("the address is in no region")]
    InvalidAddress,
    #[error("it leaves its region, meets a hole, or wraps")]
    InvalidRange,
    #[error("zero means nothing here")]
    InvalidSize,
    #[error("{0}")]
    NotAligned(&'static str),
    #[error("the access is not naturally aligned")]
    Misaligned,
    #[error("two regions share addresses")]
    Overlap,
    #[error("ranges are to be given in ascending order")]
    Unsorted,
    #[error("{why}")]
    TooLarge { why: &'static str, errno: i32 },
    #[error("the region may only be read")]
    ReadOnly,
    #[error("ended after {completed:#x} bytes")]
    ShortRead { completed: u64 },
    #[error("ended after {completed:#x} bytes")]
    ShortWrite { completed: u64 },
    #[error("{why}")]
    Backing { why: &'static str, errno: i32 },
    #[error("{call}")]
    Os { call: &'static str, errno: i32 },
    #[error("stopped after {completed:#x} bytes")]
    Io { errno: i32, completed: u64 },
    #[error("{policy}")]
    Policy { policy: &'static str, errno: i32 },
    #[error("{0}")]
    Metadata(&'static str),
    #[error("{0}")]
    Mismatch(&'static str),
    #[error("there is less of it than the metadata says")]
    SnapshotShort { completed: u64 },
    #[error("more bytes follow where the data should end")]
    SnapshotLong,
    #[error("a chunk of the data is damaged")]
    Corrupt { completed: u64 },
    #[error("a restore failed half way; only a whole one clears this")]
    Tainted,
    #[error("the progress callback asked to stop")]
    Cancelled,
    #[error("no region with that index or start")]
    NotFound,
    #[error("{0}")]
    Unsupported(&'static str),
    #[error("{0}")]
    Busy(&'static str),
    #[error("{0}")]
    Internal(&'static str),
}

/// The result of everything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A system call's failure: the process's limits and memory have codes of their own.
    pub fn from_os(call: &'static str, errno: i32) -> Self {
        match errno {
            libc::ENOMEM => Error::NoMemory(call),
            libc::EMFILE | libc::ENFILE | libc::EFBIG => Error::TooLarge { why: call, errno },
            _ => Error::Os { call, errno },
        }
    }

    /// The failure that `errno` tells of, right after `call` returned.
    pub fn last_os(call: &'static str) -> Self {
        Self::from_os(call, errno())
    }

    /// A read, write or the like that failed before a byte was moved.
    pub const fn io(errno: i32) -> Self {
        Error::Io { errno, completed: 0 }
    }

    /// A read, write or the like that failed after so many bytes; other failures stay as they are.
    pub fn after(self, completed: u64) -> Self {
        match self {
            Error::Io { errno, .. } => Error::Io { errno, completed },
            other => other,
        }
    }

    /// A limit of the library.
    pub const fn too_large(why: &'static str) -> Self {
        Error::TooLarge { why, errno: 0 }
    }

    /// The errno behind the failure; 0 where no system call was involved.
    pub fn os_errno(&self) -> i32 {
        match *self {
            Error::TooLarge { errno, .. }
            | Error::Backing { errno, .. }
            | Error::Os { errno, .. }
            | Error::Io { errno, .. }
            | Error::Policy { errno, .. } => errno,
            Error::NoMemory(_) => libc::ENOMEM,
            _ => 0,
        }
    }

    /// Bytes that had been moved before the failure.
    pub fn completed(&self) -> u64 {
        match *self {
            Error::ShortRead { completed }
            | Error::ShortWrite { completed }
            | Error::Io { completed, .. }
            | Error::SnapshotShort { completed }
            | Error::Corrupt { completed } => completed,
            _ => 0,
        }
    }
}

/// The calling thread's `errno`.
pub fn errno() -> i32 {
    // SAFETY: the pointer to the thread's errno is always valid on its own thread.
    unsafe { *libc::__errno_location() }
}

/// Sets the calling thread's `errno`.
pub fn set_errno(value: i32) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = value }
}

/// A failed call: the error, and the guest range that the call was about, if it had one.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// Guest address and size as the caller gave them.
    pub range: Option<(u64, u64)>,
}

/// The guest range that work is about, kept up to date by the work itself.
pub type About = Cell<Option<(u64, u64)>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_memory_have_codes_of_their_own() {
        assert_eq!(Error::from_os("mmap", libc::ENOMEM), Error::NoMemory("mmap"));
        let limit = Error::from_os("memfd_create", libc::EMFILE);
        assert!(matches!(limit, Error::TooLarge { .. }));
        assert_eq!(limit.os_errno(), libc::EMFILE);
        assert_eq!(Error::from_os("mmap", libc::EPERM).os_errno(), libc::EPERM);
    }
}
