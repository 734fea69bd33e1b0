// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the system tells about itself and this process: its page size, /proc and /sys.
//!
//! What is this process's own stands in /proc/thread-self: /proc/self is the process's first thread,
//! which may have ended, or have a table of descriptors of its own.

use crate::error::{Error, Result, errno};
use crate::host::file;
use crate::host::file::Outcome;
use crate::host::kept;
use crate::host::kept::{Kept, Source};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

/// True when `fd` is a memfd, as its link in /proc tells.
pub fn is_memfd(fd: RawFd) -> Result<bool> {
    const NAME: &[u8] = b"/memfd:";
    let mut path = [0; 32];
    let path = file::path_of(fd, &mut path);
    let mut link = [0u8; NAME.len()];
    // SAFETY: a C string, and a buffer of ours with its length.
    let len = unsafe { libc::readlink(path.as_ptr(), link.as_mut_ptr().cast(), link.len()) };
    if len < 0 {
        return Err(Error::last_os("readlink"));
    }
    Ok(len == NAME.len() as isize && link == NAME)
}

/// Whether the setting that stands in brackets in `path` is one of `words`; None where the kernel has
/// no such setting.
pub fn chosen(path: &CStr, words: &[&str]) -> Result<Option<bool>> {
    let text = match read_file(path) {
        Err(Error::Os { errno: libc::ENOENT, .. }) => return Ok(None),
        other => other?,
    };
    let text = std::str::from_utf8(&text).unwrap_or_default();
    let word = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    Ok(word.map(|(word, _)| words.contains(&word)))
}

/// Takes what could not be read for what this system cannot do, where the one is as bad as the other.
pub fn needed<T>(answer: Result<T>) -> Result<T> {
    answer.map_err(|error| match error {
        Error::Os { .. } => Error::Unsupported("/proc/thread-self/maps and smaps are needed"),
        limit => limit,
    })
}

/// Names the file that the mapping with these bounds maps (O_PATH): it may be a device, which is not
/// to be opened in earnest. That takes a privilege.
pub fn open_mapped(start: u64, end: u64) -> Outcome<OwnedFd> {
    // Threads have no map_files among their own, but each has them as a process under its number,
    // which is that of the namespace that /proc is of.
    let mut link = [0u8; 64];
    let (to, room) = (link.as_mut_ptr().cast(), link.len());
    // SAFETY: a C string, and a buffer of ours with its length.
    let len = unsafe { libc::readlink(c"/proc/thread-self".as_ptr(), to, room) };
    if len < 0 {
        return Err(errno());
    }
    let thread = link[..len as usize].rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let thread = std::str::from_utf8(thread).map_err(|_| libc::ENOENT)?;
    let mut path = [0; 128];
    let path =
        file::short_path(&mut path, format_args!("/proc/{thread}/map_files/{start:x}-{end:x}"));
    file::open(path, libc::O_PATH)
}

/// A whole file of /proc that tells of this process.
pub fn read_own(file: Kept) -> Result<Vec<u8>> {
    // Those who read what is kept share a position.
    static READING: Mutex<()> = Mutex::new(());
    match kept::open(file).map_err(|errno| Error::from_os("open", errno))? {
        Source::New(fd) => read_all(fd.as_raw_fd()),
        Source::Kept(fd) => {
            let _alone = READING.lock().unwrap_or_else(PoisonError::into_inner);
            file::seek(fd.as_raw_fd(), 0, libc::SEEK_SET)
                .map_err(|errno| Error::from_os("lseek", errno))?;
            read_all(fd.as_raw_fd())
        }
    }
}

/// A whole file of /proc or /sys.
pub fn read_file(path: &CStr) -> Result<Vec<u8>> {
    let fd = file::open(path, libc::O_RDONLY).map_err(|errno| Error::from_os("open", errno))?;
    read_all(fd.as_raw_fd())
}

/// All that an open file of /proc still has to tell.
pub fn read_all(fd: RawFd) -> Result<Vec<u8>> {
    const AT_ONCE: usize = 16 << 10;
    let mut text = Vec::new();
    loop {
        text.try_reserve(AT_ONCE).map_err(|_| Error::NoMemory("reading /proc"))?;
        let spare = text.spare_capacity_mut();
        // SAFETY: the spare capacity is ours to write.
        let count = unsafe { libc::read(fd, spare.as_mut_ptr().cast(), spare.len()) };
        match count {
            0 => return Ok(text),
            // SAFETY: the kernel has written that many bytes behind the text.
            1.. => unsafe { text.set_len(text.len() + count as usize) },
            _ if errno() == libc::EINTR => {}
            _ => return Err(Error::last_os("read")),
        }
    }
}

#[cfg(test)]
mod tests;
