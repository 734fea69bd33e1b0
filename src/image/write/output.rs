// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Files as a snapshot is written to them: at the position or at absolute offsets, through the page
//! cache or past it.

use crate::error::{Error, Result, errno};
use crate::host::file;
use crate::host::signals::QuietSignals;
use crate::host::system::page_size;
use crate::image::format::metadata::{Layout, Metadata};
use crate::image::regions::stat;
use crate::image::write::gather::Target;
use crate::image::write::options::SnapshotOptions;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// The caller's descriptor, and how it is to be written.
pub struct Output {
    fd: RawFd,
    /// The same file, opened anew to go past the page cache.
    direct: Option<OwnedFd>,
    layout: Layout,
    /// Where a packed direct write begins.
    position: u64,
}

impl Output {
    /// Checks that `fd` can be written as the options ask for, and changes nothing.
    pub fn new(fd: RawFd, options: SnapshotOptions) -> Result<Self> {
        let mut output = Output { fd, direct: None, layout: options.layout, position: 0 };
        if options.layout == Layout::Sparse {
            refuse_all_but_files(fd)?;
        }
        if options.direct {
            output.direct = Some(open_direct(fd)?);
            if options.layout == Layout::Packed {
                output.position = aligned_position(fd)?;
            }
        }
        Ok(output)
    }

    /// Where the data that `metadata` tells of goes. A sparse file has nothing but a hole then.
    pub fn prepare(&self, metadata: &Metadata) -> Result<Target> {
        if self.layout == Layout::Sparse {
            set_length(self.fd, 0)?;
            set_length(self.fd, metadata.memory_size())?;
        }
        let fd = self.direct.as_ref().map_or(self.fd, |direct| direct.as_raw_fd());
        let is_at_position = self.layout == Layout::Packed && self.direct.is_none();
        let start = (!is_at_position).then_some(self.position);
        Ok(Target { fd, short: self.is_mixed().then_some(self.fd), start })
    }

    /// Short pieces go through the page cache although the others do not. Packed ones are gathered.
    fn is_mixed(&self) -> bool {
        self.layout == Layout::Sparse && self.direct.is_some()
    }

    /// Leaves nothing in the page cache of what was to go past it.
    pub fn empty_cache(&self, metadata: &Metadata) -> Result<()> {
        if !self.is_mixed() {
            return Ok(());
        }
        file::write_back(self.fd)
            .map_err(|errno| Error::Io { errno, completed: metadata.data_size() })?;
        file::drop_cached(self.fd);
        Ok(())
    }

    /// Leaves the position as write(2) would have.
    pub fn finish(&self, metadata: &Metadata) -> Result<()> {
        if self.layout == Layout::Packed && self.direct.is_some() {
            file::seek(self.fd, (self.position + metadata.data_size()) as i64, libc::SEEK_SET)
                .map_err(Error::io)?;
        }
        Ok(())
    }
}

/// A sparse file is written at offsets of the library's choice, and cut.
fn refuse_all_but_files(fd: RawFd) -> Result<()> {
    let status = file::status_flags(fd).map_err(Error::io)?;
    let stat = stat(fd)?;
    if status & libc::O_ACCMODE == libc::O_RDONLY {
        return Err(Error::io(libc::EBADF));
    }
    if !file::is_regular(&stat) || status & libc::O_APPEND != 0 {
        return Err(Error::Unsupported("only a file not opened to append can be written sparse"));
    }
    Ok(())
}

/// Opens the file behind `fd` anew, so that nobody else's writes become direct ones.
fn open_direct(fd: RawFd) -> Result<OwnedFd> {
    let status = file::status_flags(fd).map_err(Error::io)?;
    if status & libc::O_ACCMODE == libc::O_RDONLY {
        return Err(Error::io(libc::EBADF));
    }
    let stat = stat(fd)?;
    if !matches!(stat.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFBLK) {
        return Err(NOT_DIRECT);
    }
    match file::open_again(fd, libc::O_WRONLY | libc::O_DIRECT) {
        Ok(direct) => Ok(direct),
        Err(errno) if file::is_shortage(errno) => Err(Error::from_os("open", errno)),
        Err(_) => Err(NOT_DIRECT),
    }
}

const NOT_DIRECT: Error =
    Error::Unsupported("what is written to cannot be written past the page cache");

/// The position at which a write would begin.
fn aligned_position(fd: RawFd) -> Result<u64> {
    let status = file::status_flags(fd).map_err(Error::io)?;
    let position = match status & libc::O_APPEND {
        0 => file::seek(fd, 0, libc::SEEK_CUR),
        _ => file::stat(fd).map(|stat| stat.st_size as u64),
    };
    let position = position.map_err(Error::io)?;
    if position % page_size() != 0 {
        return Err(Error::Unsupported("a direct write begins at a multiple of the page size"));
    }
    Ok(position)
}

/// Cuts or grows a file.
pub fn set_length(fd: RawFd, length: u64) -> Result<()> {
    let mut quiet = QuietSignals::new().map_err(Error::io)?;
    file::set_length(fd, length).map_err(|errno| {
        quiet.note(errno);
        Error::io(errno)
    })
}

/// Waits until what was written is on its disk.
pub fn sync(fd: RawFd, completed: u64) -> Result<()> {
    loop {
        // SAFETY: a plain system call, which checks the descriptor.
        if unsafe { libc::syscall(libc::SYS_fdatasync, i64::from(fd)) } == 0 {
            return Ok(());
        }
        match errno() {
            libc::EINTR => {}
            libc::EINVAL | libc::EROFS => {
                return Err(Error::Unsupported("what is written here cannot be synced"));
            }
            errno => return Err(Error::Io { errno, completed }),
        }
    }
}
