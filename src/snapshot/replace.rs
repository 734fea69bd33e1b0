// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A file that takes the place of another as a whole, or leaves no trace: whatever happens, the path
//! is the old file or the new one.

use crate::alloc::vec_of;
use crate::error::{Error, Result, errno};
use crate::file::{self, Outcome};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A new file on its way to its place.
pub struct Replacement<'a> {
    folder: OwnedFd,
    /// What it is to be called.
    name: &'a CStr,
    fd: OwnedFd,
    temporary: TemporaryName,
    /// It has its temporary name, or the old file does.
    is_named: bool,
}

/// Where the old file is while the new one is in its place.
enum Old {
    /// There was none.
    None,
    /// Under the temporary name.
    Kept,
    /// The file system could only replace it.
    Gone,
}

impl<'a> Replacement<'a> {
    /// A new file, of mode 0600, in the folder of `path`. What is at `path` must be a file or a
    /// symbolic link, if it is anything.
    pub fn new(path: &'a CStr) -> Result<Self> {
        let bytes = path.to_bytes_with_nul();
        let name_at = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let name = CStr::from_bytes_with_nul(&bytes[name_at..]).unwrap_or(c"");
        if matches!(name.to_bytes(), b"" | b"." | b"..") {
            let errno = if path.is_empty() { libc::ENOENT } else { libc::EISDIR };
            return Err(Error::Os { call: "open", errno });
        }
        let folder = open_folder(&bytes[..name_at])?;
        let temporary = TemporaryName::random()?;
        let (fd, is_named) = create(&folder, &temporary)?;
        let replacement = Replacement { folder, name, fd, temporary, is_named };
        // Whatever the umask and the folder's default permissions say.
        // SAFETY: a plain system call on our descriptor.
        if unsafe { libc::fchmod(replacement.fd.as_raw_fd(), 0o600) } != 0 {
            return Err(Error::last_os("fchmod"));
        }
        Ok(replacement)
    }

    /// The new file.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// What is at the path now: a file, or nothing to look at.
    pub fn old_file(&self) -> Result<Option<libc::stat>> {
        let mut stat = MaybeUninit::uninit();
        // SAFETY: a C string; `stat` is ours to write, and read only after success.
        let stat = unsafe {
            let flags = libc::AT_SYMLINK_NOFOLLOW;
            let folder = self.folder.as_raw_fd();
            match libc::fstatat(folder, self.name.as_ptr(), stat.as_mut_ptr(), flags) {
                0 => stat.assume_init(),
                _ if errno() == libc::ENOENT => return Ok(None),
                _ => return Err(Error::last_os("fstatat")),
            }
        };
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => Ok(Some(stat)),
            libc::S_IFLNK => Ok(None),
            libc::S_IFDIR => Err(Error::Os { call: "rename", errno: libc::EISDIR }),
            _ => Err(Error::Unsupported("what is at the path is no file")),
        }
    }

    /// Puts the new file in its place, on the disk too.
    pub fn commit(mut self) -> Result<()> {
        sync(&self.fd)?;
        if !self.is_named {
            self.link().map_err(|errno| Error::from_os("linkat", errno))?;
        }
        let old = self.swap().map_err(|errno| Error::from_os("rename", errno))?;
        let synced = sync(&self.folder);
        match (&synced, old) {
            (Ok(()), Old::Kept) => {}
            (Err(_), Old::Kept) => {
                // When even this fails the new file stays, which is whole. The temporary name goes.
                let _ = self.rename(libc::RENAME_EXCHANGE);
            }
            (Err(_), Old::None) => self.unlink(self.name),
            (_, Old::Gone) | (Ok(()), Old::None) => self.is_named = false,
        }
        synced
    }

    /// Gives a file without a name its temporary one.
    fn link(&mut self) -> Outcome<()> {
        let mut path = [0; 32];
        let path = file::short_path(&mut path, format_args!("/proc/self/fd/{}", self.fd()));
        let (folder, name) = (self.folder.as_raw_fd(), self.temporary.as_c_str());
        // SAFETY: two C strings and numbers.
        let result = unsafe {
            let flags = libc::AT_SYMLINK_FOLLOW;
            libc::linkat(libc::AT_FDCWD, path.as_ptr(), folder, name.as_ptr(), flags)
        };
        self.is_named = result == 0;
        if self.is_named { Ok(()) } else { Err(errno()) }
    }

    /// Puts the new file in place of the old one, which is kept until it is known that this lasts.
    fn swap(&self) -> Outcome<Old> {
        match self.rename(libc::RENAME_EXCHANGE) {
            Ok(()) => Ok(Old::Kept),
            Err(libc::ENOENT) => self.rename(0).map(|()| Old::None),
            // A file system that cannot exchange names.
            Err(libc::EINVAL | libc::ENOSYS) => self.rename(0).map(|()| Old::Gone),
            Err(errno) => Err(errno),
        }
    }

    fn rename(&self, flags: u32) -> Outcome<()> {
        let (folder, from) = (self.folder.as_raw_fd(), self.temporary.as_c_str());
        // SAFETY: two C strings and numbers. By number, because older C libraries lack it.
        let result = unsafe {
            let (from, to) = (from.as_ptr(), self.name.as_ptr());
            libc::syscall(libc::SYS_renameat2, folder, from, folder, to, flags)
        };
        if result == 0 { Ok(()) } else { Err(errno()) }
    }

    fn unlink(&self, name: &CStr) {
        // SAFETY: a C string and numbers. Failing leaves a file too many, which harms nobody.
        unsafe { libc::unlinkat(self.folder.as_raw_fd(), name.as_ptr(), 0) };
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if self.is_named {
            self.unlink(self.temporary.as_c_str());
        }
    }
}

/// `path` is what stands before a file's name, down to the slash.
fn open_folder(path: &[u8]) -> Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let mut copy = vec_of(path.len() + 1)?;
    copy.extend_from_slice(path);
    copy.push(0);
    let path = CStr::from_bytes_with_nul(&copy).unwrap_or(c"");
    file::open(path, libc::O_RDONLY | libc::O_DIRECTORY)
        .map_err(|errno| Error::from_os("open", errno))
}

/// A new file in `folder`. Without a name where that is possible, so that a process that dies leaves
/// nothing behind; true if it has one.
fn create(folder: &OwnedFd, name: &TemporaryName) -> Result<(OwnedFd, bool)> {
    let open =
        |name: &CStr, how| file::open_at(folder.as_raw_fd(), name, libc::O_RDWR | how, 0o600);
    let created = match open(c".", libc::O_TMPFILE) {
        Ok(fd) => Ok((fd, false)),
        Err(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL | libc::ENOENT) => {
            open(name.as_c_str(), libc::O_CREAT | libc::O_EXCL).map(|fd| (fd, true))
        }
        Err(errno) => Err(errno),
    };
    created.map_err(|errno| Error::from_os("open", errno))
}

/// A name that nobody else uses.
struct TemporaryName([u8; 32]);

impl TemporaryName {
    fn random() -> Result<Self> {
        let mut random = [0u8; 8];
        // SAFETY: the buffer is ours to write, for as many bytes.
        let got = unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) };
        if got != random.len() as isize {
            return Err(Error::last_os("getrandom"));
        }
        let mut name = TemporaryName([0; 32]);
        let number = u64::from_ne_bytes(random);
        file::short_path(&mut name.0, format_args!(".guestmem-{number:016x}"));
        Ok(name)
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// `fsync(2)`. Folders of some file systems have nothing to sync.
fn sync(fd: &OwnedFd) -> Result<()> {
    loop {
        // SAFETY: a plain system call on our descriptor.
        if unsafe { libc::syscall(libc::SYS_fsync, fd.as_raw_fd()) } == 0 {
            return Ok(());
        }
        match errno() {
            libc::EINTR => {}
            libc::EINVAL => return Ok(()),
            errno => return Err(Error::Io { errno, completed: 0 }),
        }
    }
}
