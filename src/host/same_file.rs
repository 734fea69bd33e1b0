// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which file a mapping is of. What maps tells of a mapping and fstat(2) of its file differ where a
//! file system is made of several (subvolumes of btrfs, layers of overlayfs), so a file is mapped for a
//! moment to see how its mappings are told. Another mapping that is told the same is of the same file,
//! or, on a file system that numbers the files of each of its parts anew, of another one.

use crate::error::{Error, Result, errno};
use crate::host::areas::Area;
use crate::host::file;
use crate::host::file::FileId;
use crate::host::maps::Maps;
use crate::host::proc;
use crate::host::system::page_size;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;

/// File systems of which maps and fstat(2) tell the same (linux/magic.h).
const PLAIN: [i64; 6] = [
    0xef53,      // ext2 to ext4
    0x5846_5342, // XFS
    0x0102_1994, // tmpfs, memfds
    0x9584_58f6, // hugetlbfs
    0xf2f5_2010, // F2FS
    0x8584_58f6, // ramfs
];

/// Whether maps and `fstat(2)` tell the same of a file.
pub fn is_plain(fd: RawFd) -> Result<bool> {
    let system = file::file_system(fd).map_err(|errno| Error::from_os("fstatfs", errno))?;
    Ok(PLAIN.contains(&system.magic))
}

/// What maps tells of mappings of a file that is open to be read.
pub fn shown(fd: RawFd) -> Result<FileId> {
    let probe = Probe::new(fd)?;
    let maps = Maps::default();
    let areas = maps.at(probe.0 as u64, page_size())?;
    let gone = Error::Unsupported("a mapping was replaced by another thread");
    areas.first().map(|area| (area.device, area.inode)).ok_or(gone)
}

/// What `fstat(2)` tells of the file that is mapped in an area; None without the privilege that this
/// takes.
pub fn stat_mapped(area: &Area) -> Result<Option<libc::stat>> {
    match proc::open_mapped(area.start, area.end) {
        Ok(fd) => {
            file::stat(fd.as_raw_fd()).map(Some).map_err(|errno| Error::from_os("fstat", errno))
        }
        Err(errno) if file::is_shortage(errno) => Err(Error::from_os("open", errno)),
        Err(_) => Ok(None),
    }
}

/// A page of a file, mapped for as long as it is looked at. It is never touched.
struct Probe(*mut libc::c_void);

impl Probe {
    fn new(fd: RawFd) -> Result<Self> {
        let (protection, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_NORESERVE);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let page =
            unsafe { libc::mmap(null_mut(), page_size() as usize, protection, flags, fd, 0) };
        match page {
            libc::MAP_FAILED => Err(Error::from_os("mmap", errno())),
            page => Ok(Probe(page)),
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: the mapping made above, which nobody else knows of.
        unsafe { libc::munmap(self.0, page_size() as usize) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::file::id_of;
    use std::fs::File;

    #[test]
    fn a_file_is_shown_as_what_it_is() {
        for file in [File::open("/proc/self/exe").unwrap(), File::open("/etc/passwd").unwrap()] {
            let fd = file.as_raw_fd();
            let stat = file::stat(fd).unwrap();
            let told = shown(fd).unwrap();
            assert!(!is_plain(fd).unwrap() || told == id_of(&stat));
            assert_eq!(shown(fd), Ok(told));
        }
        assert!(shown(-1).is_err());
    }

    #[test]
    fn the_file_behind_a_mapping_is_told_to_the_privileged() {
        let file = File::open("/proc/self/exe").unwrap();
        let probe = Probe::new(file.as_raw_fd()).unwrap();
        let maps = Maps::default();
        let area = maps.at(probe.0 as u64, page_size()).unwrap()[0];
        match stat_mapped(&area).unwrap() {
            Some(stat) => assert_eq!(id_of(&stat), id_of(&file::stat(file.as_raw_fd()).unwrap())),
            None => eprintln!("skipped: no privilege to open map_files of /proc"),
        }
    }
}
