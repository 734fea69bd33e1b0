// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A file that takes the place of another as a whole, or not at all: whatever happens, the path is the
//! old file or the new one. A process that is killed at the last moment may leave the other of the two
//! behind under its temporary name.

use crate::error::{Error, Result, errno};
use crate::host::alloc::vec_of;
use crate::host::file;
use crate::host::file::Outcome;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A new file on its way to its place.
pub struct Replacement<'a> {
    folder: OwnedFd,
    /// What it is to be called.
    name: &'a CStr,
    fd: OwnedFd,
    temporary: TemporaryName,
    is_named: bool,
    /// A second name of the old file, until the new one is known to stay.
    backup: TemporaryName,
    old: Old,
}

/// The old file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Old {
    /// There is none, or nothing was asked for yet.
    None,
    /// It has the backup's name too.
    Kept,
    /// It cannot have a second name here.
    Alone,
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
        let (temporary, backup) = (TemporaryName::random()?, TemporaryName::random()?);
        let (fd, is_named) = create(&folder, &temporary)?;
        let old = Old::None;
        let replacement = Replacement { folder, name, fd, temporary, is_named, backup, old };
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

    /// What is at the path now, not opened in earnest: a file, or nothing to look at.
    pub fn old_file(&self) -> Result<Option<OwnedFd>> {
        let folder = self.folder.as_raw_fd();
        let fd = match file::open_at(folder, self.name, libc::O_PATH | libc::O_NOFOLLOW, 0) {
            Err(libc::ENOENT) => return Ok(None),
            opened => opened.map_err(|errno| Error::from_os("open", errno))?,
        };
        let stat = file::stat(fd.as_raw_fd()).map_err(|errno| Error::from_os("fstat", errno))?;
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => Ok(Some(fd)),
            libc::S_IFLNK => Ok(None),
            libc::S_IFDIR => Err(Error::Os { call: "rename", errno: libc::EISDIR }),
            _ => Err(Error::Unsupported("what is at the path is no file")),
        }
    }

    /// Puts the new file in its place, on the disk too. The old one is kept until that is known to
    /// last, and comes back if it does not.
    pub fn commit(mut self) -> Result<()> {
        let failed = |errno| Error::from_os("link or rename", errno);
        sync(&self.fd)?;
        // Where nothing is replaced it needs no other name.
        let placed = match self.is_named {
            true => Err(libc::EEXIST),
            false => link_open(&self.fd, &self.folder, self.name),
        };
        let placed = match placed {
            Err(libc::EEXIST) => self.replace(),
            placed => placed,
        };
        placed.map_err(failed)?;
        let synced = sync(&self.folder);
        match self.old {
            _ if synced.is_ok() => {}
            // When even this fails the new file stays, which is whole.
            Old::Kept if self.rename(&self.backup, self.name).is_ok() => self.old = Old::None,
            Old::None => self.unlink(self.name),
            Old::Kept | Old::Alone => {}
        }
        synced
    }

    /// Puts the new file in the place of the old one. Should that be forbidden no name may be left that
    /// could not be removed either.
    fn replace(&mut self) -> Outcome<()> {
        if !self.is_named {
            if keeps_names(&self.folder) {
                return Err(libc::EPERM);
            }
            link_open(&self.fd, &self.folder, self.temporary.as_c_str())?;
            self.is_named = true;
        }
        self.old = self.name_old()?;
        self.rename(&self.temporary, self.name)?;
        self.is_named = false;
        Ok(())
    }

    /// Gives the old file a second name, if that can be removed again.
    fn name_old(&self) -> Outcome<Old> {
        if self.is_protected()? {
            return Ok(Old::Alone);
        }
        let folder = self.folder.as_raw_fd();
        match link(folder, self.name, &self.folder, self.backup.as_c_str(), 0) {
            Ok(()) => Ok(Old::Kept),
            Err(libc::ENOENT) => Ok(Old::None),
            // Somebody else's, on a file system that knows no second names, or that is full.
            Err(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS) => Ok(Old::Alone),
            Err(libc::EMLINK | libc::ENOSPC | libc::EDQUOT) => Ok(Old::Alone),
            Err(errno) => Err(errno),
        }
    }

    /// True of somebody else's file in somebody else's sticky folder, of which only the privileged may
    /// remove a name. Everybody may add one where the file may be written.
    fn is_protected(&self) -> Outcome<bool> {
        let folder = file::stat(self.folder.as_raw_fd())?;
        let own = file::stat(self.fd())?.st_uid;
        if folder.st_mode & libc::S_ISVTX == 0 || folder.st_uid == own {
            return Ok(false);
        }
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        match file::open_at(self.folder.as_raw_fd(), self.name, flags, 0) {
            Ok(old) => Ok(file::stat(old.as_raw_fd())?.st_uid != own),
            Err(libc::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn rename(&self, from: &TemporaryName, to: &CStr) -> Outcome<()> {
        let folder = self.folder.as_raw_fd();
        // SAFETY: two C strings and numbers.
        match unsafe { libc::renameat(folder, from.as_c_str().as_ptr(), folder, to.as_ptr()) } {
            0 => Ok(()),
            _ => Err(errno()),
        }
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
        if self.old == Old::Kept {
            self.unlink(self.backup.as_c_str());
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
        Ok(fd) if can_be_linked(&fd, folder) => Ok((fd, false)),
        Ok(_) => open(name.as_c_str(), libc::O_CREAT | libc::O_EXCL).map(|fd| (fd, true)),
        Err(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL | libc::ENOENT) => {
            open(name.as_c_str(), libc::O_CREAT | libc::O_EXCL).map(|fd| (fd, true))
        }
        Err(errno) => Err(errno),
    };
    created.map_err(|errno| Error::from_os("open", errno))
}

/// Gives an open file that has none a name in `folder`.
fn link_open(file: &OwnedFd, folder: &OwnedFd, name: &CStr) -> Outcome<()> {
    // By its descriptor: before Linux 6.10 that takes a privilege.
    match link(file.as_raw_fd(), c"", folder, name, libc::AT_EMPTY_PATH) {
        Err(libc::ENOENT | libc::EINVAL | libc::EPERM) => {
            let path = &mut [0; 32];
            let path = file::path_of(file.as_raw_fd(), path);
            link(libc::AT_FDCWD, path, folder, name, libc::AT_SYMLINK_FOLLOW)
        }
        result => result,
    }
}

/// True of a folder that takes new names and gives none up (`chattr +a`), as far as that is told.
fn keeps_names(folder: &OwnedFd) -> bool {
    const FS_IOC_GETFLAGS: u64 = 0x8008_6601;
    const FS_APPEND_FL: i32 = 0x20;
    let mut flags = 0i32;
    let (number, to) = (libc::SYS_ioctl, &raw mut flags);
    // SAFETY: our descriptor; the kernel writes an int, whatever the number says.
    let result = unsafe { libc::syscall(number, folder.as_raw_fd(), FS_IOC_GETFLAGS, to) };
    result == 0 && flags & FS_APPEND_FL != 0
}

/// Whether there is a way to name an open file, as that to a name that is taken already.
fn can_be_linked(file: &OwnedFd, folder: &OwnedFd) -> bool {
    link_open(file, folder, c".") == Err(libc::EEXIST)
}

fn link(from: RawFd, path: &CStr, folder: &OwnedFd, name: &CStr, flags: i32) -> Outcome<()> {
    let folder = folder.as_raw_fd();
    // SAFETY: two C strings and numbers.
    match unsafe { libc::linkat(from, path.as_ptr(), folder, name.as_ptr(), flags) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
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
            errno => return Err(Error::io(errno)),
        }
    }
}
