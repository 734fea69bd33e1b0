// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! File descriptors <-> guest memory, straight between the kernel and the mapping.
//!
//! The calls go to the kernel by `syscall(2)`, by which all vectored calls are one, and the newer
//! of them there on every C library.

use crate::error::{Error, Result, errno};
use crate::host::file;
use crate::host::signals::QuietSignals;
use crate::memory::guest::GuestMemory;
use crate::memory::table::Span;
use std::os::fd::RawFd;

/// The kernel moves at most this many bytes in one call (read(2)).
const MAX_TRANSFER: u64 = 0x7fff_f000;
/// Slices given to the kernel in one call.
const MAX_SLICES: usize = 64;
/// Write at the given offset although the descriptor is open to append; Linux 6.9.
const RWF_NOAPPEND: i32 = 0x20;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the descriptor into guest memory.
    IntoMemory,
    /// From guest memory to the descriptor.
    FromMemory,
}

impl GuestMemory {
    /// Moves exactly `count` bytes between guest memory and `fd`: at its position, which moves, or
    /// at an offset. Short transfers are continued where they stopped.
    pub fn transfer(
        &self,
        direction: Direction,
        addr: u64,
        fd: RawFd,
        fd_offset: Option<u64>,
        count: u64,
    ) -> Result<()> {
        if fd_offset.is_some_and(|offset| offset > i64::MAX as u64) {
            return Err(Error::InvalidArgument("fd_offset is beyond 2^63-1"));
        }
        let span = self.table().span(addr, count, direction == Direction::IntoMemory)?;
        if count == 0 {
            return Ok(());
        }
        let call = Call::new(direction, fd, fd_offset)?;
        let quiet = (direction == Direction::FromMemory).then(QuietSignals::new);
        let mut quiet = quiet.transpose().map_err(Error::io)?;
        let mut completed = 0;
        while completed < count {
            match call.once(&span, completed) {
                Ok(0) if direction == Direction::IntoMemory => {
                    return Err(Error::ShortRead { completed });
                }
                Ok(0) => return Err(Error::Io { errno: libc::EIO, completed }),
                Ok(moved) => completed += moved,
                Err(libc::EINTR) => {}
                Err(libc::EOPNOTSUPP) if call.flags != 0 => return Err(append_only()),
                Err(errno) => {
                    quiet.iter_mut().for_each(|quiet| quiet.note(errno));
                    return Err(Error::Io { errno, completed });
                }
            }
        }
        Ok(())
    }
}

fn append_only() -> Error {
    Error::Unsupported("the descriptor only appends; this kernel cannot write elsewhere")
}

/// One kind of vectored system call on one descriptor.
struct Call {
    number: i64,
    fd: RawFd,
    fd_offset: Option<u64>,
    flags: i32,
}

impl Call {
    fn new(direction: Direction, fd: RawFd, fd_offset: Option<u64>) -> Result<Self> {
        use Direction::{FromMemory, IntoMemory};
        let (number, flags) = match (direction, fd_offset) {
            (IntoMemory, None) => (libc::SYS_readv, 0),
            (IntoMemory, Some(_)) => (libc::SYS_preadv, 0),
            (FromMemory, None) => (libc::SYS_writev, 0),
            // pwrite(2) on a descriptor that is open to append writes to the end.
            (FromMemory, Some(_)) if appends(fd)? => (libc::SYS_pwritev2, RWF_NOAPPEND),
            (FromMemory, Some(_)) => (libc::SYS_pwritev, 0),
        };
        Ok(Call { number, fd, fd_offset, flags })
    }

    /// Moves what the kernel moves at once of the span's bytes after `completed`.
    fn once(&self, span: &Span, completed: u64) -> std::result::Result<u64, i32> {
        let mut slices = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MAX_SLICES];
        let mut used = 0;
        let mut offset = completed;
        let end = span.len().min(completed + MAX_TRANSFER);
        while used < MAX_SLICES && offset < end {
            let part = span.part_from(offset);
            let len = (part.len as u64).min(end - offset);
            slices[used] = libc::iovec { iov_base: part.addr.cast(), iov_len: len as usize };
            used += 1;
            offset += len;
        }
        let position = self.fd_offset.unwrap_or(0).wrapping_add(completed);
        // SAFETY: the slices lie in mappings that the memory holds. The kernel takes the offset in
        // two halves, of which the lower is the whole on 64-bit systems; calls with fewer
        // arguments ignore the rest.
        let moved = unsafe {
            let (fd, flags) = (i64::from(self.fd), i64::from(self.flags));
            libc::syscall(self.number, fd, slices.as_ptr(), used, position, 0u64, flags)
        };
        if moved < 0 { Err(errno()) } else { Ok(moved as u64) }
    }
}

fn appends(fd: RawFd) -> Result<bool> {
    Ok(file::status_flags(fd).map_err(Error::io)? & libc::O_APPEND != 0)
}
