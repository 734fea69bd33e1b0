// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! File descriptors <-> guest memory, straight between the kernel and the mapping.
//!
//! The calls go to the kernel by `syscall(2)`, by which all vectored calls are one, and the newer
//! of them there on every C library.

use crate::error::{Error, Result, errno};
use crate::memory::GuestMemory;
use crate::parallel::SignalMask;
use crate::table::Span;
use std::mem::MaybeUninit;
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
        check_offset(fd_offset, count)?;
        let span = self.table().span(addr, count, direction == Direction::IntoMemory)?;
        if count == 0 {
            return Ok(());
        }
        let call = Call::new(direction, fd, fd_offset)?;
        let mut quiet = (direction == Direction::FromMemory).then(QuietSignals::new);
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

fn check_offset(fd_offset: Option<u64>, count: u64) -> Result<()> {
    let end = fd_offset.unwrap_or(0).checked_add(count);
    match end.filter(|&end| end <= i64::MAX as u64) {
        Some(_) => Ok(()),
        None if fd_offset.is_some_and(|offset| offset > i64::MAX as u64) => {
            Err(Error::InvalidArgument("fd_offset is beyond 2^63-1"))
        }
        // No region is that large, so the range check tells what is wrong with the count.
        None => Ok(()),
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
            let slice = span.slice_from(offset);
            let len = (slice.len() as u64).min(end - offset);
            slices[used] = libc::iovec { iov_base: slice.addr().cast(), iov_len: len as usize };
            used += 1;
            offset += len;
        }
        let position = self.fd_offset.unwrap_or(0) + completed;
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
    // SAFETY: fcntl checks the number it is given.
    let status = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if status < 0 {
        return Err(Error::Io { errno: errno(), completed: 0 });
    }
    Ok(status & libc::O_APPEND != 0)
}

/// Reads into private memory, continuing after EINTR. 0 at the end.
///
/// # Safety
/// `buf` can be written for `len` bytes.
pub unsafe fn read_some(fd: RawFd, buf: *mut u8, len: usize) -> std::result::Result<usize, i32> {
    // SAFETY: passed on.
    unsafe { move_some(libc::SYS_read, fd, buf, len, 0) }
}

/// Writes from private memory, continuing after EINTR.
///
/// # Safety
/// `buf` can be read for `len` bytes.
pub unsafe fn write_some(fd: RawFd, buf: *const u8, len: usize) -> std::result::Result<usize, i32> {
    // SAFETY: passed on.
    unsafe { move_some(libc::SYS_write, fd, buf.cast_mut(), len, 0) }
}

/// As [`read_some`], at an offset; the position stays.
///
/// # Safety
/// `buf` can be written for `len` bytes.
pub unsafe fn pread_some(
    fd: RawFd,
    buf: *mut u8,
    len: usize,
    offset: u64,
) -> std::result::Result<usize, i32> {
    // SAFETY: passed on.
    unsafe { move_some(libc::SYS_pread64, fd, buf, len, offset) }
}

unsafe fn move_some(
    number: i64,
    fd: RawFd,
    buf: *mut u8,
    len: usize,
    offset: u64,
) -> std::result::Result<usize, i32> {
    loop {
        // SAFETY: the caller's buffer holds `len` bytes; the kernel checks the descriptor. Calls
        // without an offset ignore it.
        let moved = unsafe { libc::syscall(number, i64::from(fd), buf, len, offset) };
        match moved {
            0.. => return Ok(moved as usize),
            _ if errno() == libc::EINTR => {}
            _ => return Err(errno()),
        }
    }
}

/// While it lives, a closed pipe or a file size limit gives an error and no signal, on kernels
/// that know no flag for that too. Both signals go to the thread that writes, so blocking them
/// there and taking back those that came does not touch the rest of the process.
pub struct QuietSignals {
    pending_before: libc::sigset_t,
    /// Whether each of [`QUIET`] was sent, as far as an errno told.
    noted: [bool; QUIET.len()],
    _mask: SignalMask,
}

/// The signals, each with the errno that comes with it.
const QUIET: [(i32, i32); 2] = [(libc::SIGPIPE, libc::EPIPE), (libc::SIGXFSZ, libc::EFBIG)];

impl QuietSignals {
    /// Blocks the signals for this thread.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let pending_before = pending();
        let set = set_of(&QUIET.map(|(signal, _)| signal));
        QuietSignals { pending_before, noted: [false; 2], _mask: SignalMask::block(&set) }
    }

    /// Tells that a write failed. Needed only to keep apart a signal of the embedder's own that
    /// was waiting all along.
    pub fn note(&mut self, errno: i32) {
        for (noted, (_, of_signal)) in self.noted.iter_mut().zip(QUIET) {
            *noted |= errno == of_signal;
        }
    }
}

impl Drop for QuietSignals {
    fn drop(&mut self) {
        for (noted, (signal, _)) in self.noted.into_iter().zip(QUIET) {
            let before = holds(&self.pending_before, signal);
            if !holds(&pending(), signal) || (before && !noted) {
                continue;
            }
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: takes the pending signal, the thread's own before one of the process's;
            // nothing is written.
            unsafe { libc::sigtimedwait(&set_of(&[signal]), std::ptr::null_mut(), &at_once) };
            if before && !holds(&pending(), signal) {
                // Ours had merged with one that was waiting before.
                // SAFETY: sends a blocked signal to this thread, where it waits again.
                unsafe { libc::raise(signal) };
            }
        }
    }
}

fn holds(set: &libc::sigset_t, signal: i32) -> bool {
    // SAFETY: reads a set of our own.
    unsafe { libc::sigismember(set, signal) == 1 }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: fills a set of our own.
    unsafe {
        let mut set = MaybeUninit::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

fn pending() -> libc::sigset_t {
    // SAFETY: the set is ours to write; the call cannot fail then.
    unsafe {
        let mut set = MaybeUninit::zeroed();
        libc::sigpending(set.as_mut_ptr());
        set.assume_init()
    }
}
