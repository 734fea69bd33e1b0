// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Open files: what they are, and private bytes from and to them. Failures are errnos, which each
//! caller makes an error of its own kind.

use crate::error::errno;
use std::ffi::CStr;
use std::fmt::Arguments;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Not among the standard streams, which a program that closed them may go on writing to.
pub const FIRST_FD: RawFd = 3;

/// What a system call gave, or its errno.
pub type Outcome<T> = std::result::Result<T, i32>;

/// Gives bytes: how many, 0 at the end.
pub type Read<'a> = &'a mut dyn FnMut(&mut [u8]) -> Outcome<usize>;

/// `openat(2)`, close-on-exec, for a descriptor that is no standard stream's. `mode` is that of a new
/// file.
pub fn open_at(folder: RawFd, path: &CStr, flags: i32, mode: u32) -> Outcome<OwnedFd> {
    loop {
        // SAFETY: a C string and numbers.
        let raw = unsafe { libc::openat(folder, path.as_ptr(), flags | libc::O_CLOEXEC, mode) };
        if raw >= 0 {
            // SAFETY: a descriptor that was just made and that nobody else owns.
            return above_standard(unsafe { OwnedFd::from_raw_fd(raw) });
        }
        match errno() {
            libc::EINTR => {}
            errno => return Err(errno),
        }
    }
}

/// `open(2)` of a file that is there, as [`open_at`].
pub fn open(path: &CStr, flags: i32) -> Outcome<OwnedFd> {
    open_at(libc::AT_FDCWD, path, flags, 0)
}

/// Opens the file behind a descriptor anew: with a position and flags of its own.
pub fn open_again(fd: RawFd, flags: i32) -> Outcome<OwnedFd> {
    let mut path = [0; 32];
    open(path_of(fd, &mut path), flags)
}

/// Opens a regular file, and nothing else: what a device or a pipe is for may begin when it is opened.
/// None where something else is.
pub fn open_regular(folder: RawFd, path: &CStr, flags: i32) -> Outcome<Option<OwnedFd>> {
    let named = open_at(folder, path, libc::O_PATH | flags & libc::O_NOFOLLOW, 0)?;
    match stat(named.as_raw_fd())?.st_mode & libc::S_IFMT {
        libc::S_IFREG => {}
        // What open(2) says.
        libc::S_IFSOCK => return Err(libc::ENXIO),
        _ => return Ok(None),
    }
    match open_again(named.as_raw_fd(), flags & !libc::O_NOFOLLOW) {
        Ok(fd) => Ok(Some(fd)),
        Err(errno) if is_shortage(errno) => Err(errno),
        // Without /proc something else may have taken the name meanwhile: nobody waits for it.
        Err(_) => {
            let fd = open_at(folder, path, flags | libc::O_NONBLOCK | libc::O_NOCTTY, 0)?;
            Ok(is_regular(&stat(fd.as_raw_fd())?).then_some(fd))
        }
    }
}

/// True for what is a file in the narrow sense: no folder, device or pipe.
pub fn is_regular(stat: &libc::stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// True where nothing could be opened now, whatever it is.
pub fn is_shortage(errno: i32) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM)
}

/// A path that leads to the file behind a descriptor of the calling thread's. Threads may have
/// tables of descriptors of their own.
pub fn path_of(fd: RawFd, room: &mut [u8; 32]) -> &CStr {
    short_path(room, format_args!("/proc/thread-self/fd/{fd}"))
}

/// Writes a path that is known to fit into `room`.
pub fn short_path<'a>(room: &'a mut [u8], path: Arguments) -> &'a CStr {
    let last = room.len() - 1;
    // What does not fit is cut, and the last byte stays 0.
    let _ = (&mut room[..last]).write_fmt(path);
    CStr::from_bytes_until_nul(room).unwrap_or(c"")
}

/// The same open file under a number that is none of the standard streams'.
pub fn above_standard(fd: OwnedFd) -> Outcome<OwnedFd> {
    if fd.as_raw_fd() >= FIRST_FD { Ok(fd) } else { duplicate(fd.as_raw_fd()) }
}

/// A further descriptor of the same open file, close-on-exec.
pub fn duplicate(fd: RawFd) -> Outcome<OwnedFd> {
    // SAFETY: fcntl checks the number it is given.
    let raw = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, FIRST_FD) };
    // SAFETY: a descriptor that was just made and that nobody else owns.
    if raw < 0 { Err(errno()) } else { Ok(unsafe { OwnedFd::from_raw_fd(raw) }) }
}

/// The open file's status flags (`O_RDWR` and so on).
pub fn status_flags(fd: RawFd) -> Outcome<i32> {
    // SAFETY: a plain fcntl, which checks the descriptor.
    let status = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if status < 0 { Err(errno()) } else { Ok(status) }
}

/// `lseek(2)`. Gives the new position.
pub fn seek(fd: RawFd, offset: i64, whence: i32) -> Outcome<u64> {
    // SAFETY: a plain system call, which checks the descriptor.
    let position = unsafe { libc::lseek(fd, offset, whence) };
    if position < 0 { Err(errno()) } else { Ok(position as u64) }
}

/// `ftruncate(2)`, continuing after EINTR.
pub fn set_length(fd: RawFd, length: u64) -> Outcome<()> {
    loop {
        // SAFETY: a plain system call, which checks the descriptor and the length.
        if unsafe { libc::ftruncate(fd, length as i64) } == 0 {
            return Ok(());
        }
        match errno() {
            libc::EINTR => {}
            errno => return Err(errno),
        }
    }
}

/// `fstat(2)`.
pub fn stat(fd: RawFd) -> Outcome<libc::stat> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: `stat` is ours to write; it is read only after success.
    unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) != 0 { Err(errno()) } else { Ok(stat.assume_init()) }
    }
}

/// What a file system says of itself, in types that are the same with every C library.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem {
    /// A `libc::*_MAGIC`.
    pub magic: i64,
    /// Size in bytes of its blocks.
    pub block_size: u64,
}

/// Device and inode.
pub type FileId = (u64, u64);

/// What `fstat(2)` tells of a file.
pub fn id_of(stat: &libc::stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

/// `fstatfs(2)`.
pub fn file_system(fd: RawFd) -> Outcome<FileSystem> {
    let mut stat = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `stat` is ours to write; it is read only after success.
    let stat = unsafe {
        if libc::fstatfs(fd, stat.as_mut_ptr()) != 0 {
            return Err(errno());
        }
        stat.assume_init()
    };
    // Unsigned in musl, signed in glibc.
    #[allow(clippy::unnecessary_cast)]
    Ok(FileSystem { magic: stat.f_type as i64, block_size: stat.f_bsize as u64 })
}

/// Starts writing a file's cached pages to its disk, and waits for them. Where that cannot be asked for
/// they are written some time later.
pub fn write_back(fd: RawFd) -> Outcome<()> {
    const ALL: u32 = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: a plain system call, which checks the descriptor. A length of 0 is all of it.
    if unsafe { libc::sync_file_range(fd, 0, 0, ALL) } == 0 {
        return Ok(());
    }
    match errno() {
        libc::EPERM | libc::ENOSYS | libc::EINVAL | libc::ESPIPE => Ok(()),
        errno => Err(errno),
    }
}

/// Drops what the page cache holds of a file and has written. No loss where that is refused.
pub fn drop_cached(fd: RawFd) {
    // SAFETY: a plain system call, which checks the descriptor. A length of 0 is all of it.
    unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED) };
}

/// Reads into private memory, continuing after EINTR. 0 at the end.
///
/// # Safety
/// `buf` can be written for `len` bytes.
pub unsafe fn read_some(fd: RawFd, buf: *mut u8, len: usize) -> Outcome<usize> {
    // SAFETY: passed on.
    unsafe { move_some(libc::SYS_read, fd, buf, len, 0) }
}

/// As [`read_some`], at an offset; the position stays.
///
/// # Safety
/// `buf` can be written for `len` bytes.
pub unsafe fn pread_some(fd: RawFd, buf: *mut u8, len: usize, offset: u64) -> Outcome<usize> {
    // SAFETY: passed on.
    unsafe { move_some(libc::SYS_pread64, fd, buf, len, offset) }
}

/// Fills `to` from an offset on. Gives the same as [`fill`].
pub fn pread_all(fd: RawFd, to: &mut [u8], offset: u64) -> (usize, Option<i32>) {
    let mut at = offset;
    let mut read = |rest: &mut [u8]| {
        // SAFETY: the buffer is ours to write.
        let count = unsafe { pread_some(fd, rest.as_mut_ptr(), rest.len(), at) }?;
        at += count as u64;
        Ok(count)
    };
    fill(&mut read, to)
}

/// Reads until `to` is full. Gives how many bytes were read, and what made them fewer if it was not
/// the end.
pub fn fill(read: Read, to: &mut [u8]) -> (usize, Option<i32>) {
    let mut got = 0;
    while got < to.len() {
        match read(&mut to[got..]) {
            Ok(0) => break,
            Ok(count) if count <= to.len() - got => got += count,
            Ok(_) => return (got, Some(libc::EIO)),
            Err(errno) => return (got, Some(errno)),
        }
    }
    (got, None)
}

/// Writes parts one after the other, at an offset or at the position, continuing after EINTR.
///
/// # Safety
/// Each part can be read.
pub unsafe fn write_parts(fd: RawFd, parts: &[libc::iovec], at: Option<u64>) -> Outcome<usize> {
    let (list, count) = (parts.as_ptr().cast_mut().cast(), parts.len());
    // SAFETY: passed on. The kernel only reads the list, and takes the offset as two halves, the
    // upper of which it ignores on 64 bits.
    unsafe {
        match at {
            Some(offset) => move_some(libc::SYS_pwritev, fd, list, count, offset),
            None => move_some(libc::SYS_writev, fd, list, count, 0),
        }
    }
}

unsafe fn move_some(
    number: i64,
    fd: RawFd,
    buf: *mut u8,
    len: usize,
    offset: u64,
) -> Outcome<usize> {
    loop {
        // SAFETY: the caller's buffer holds `len` bytes, or parts; the kernel checks the descriptor. Calls
        // without an offset ignore it.
        let moved = unsafe { libc::syscall(number, i64::from(fd), buf, len, offset) };
        match moved {
            0.. => return Ok(moved as usize),
            _ if errno() == libc::EINTR => {}
            _ => return Err(errno()),
        }
    }
}
