// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Files that a snapshot must not be written to: those that hold the memory.

use crate::error::{Error, Result};
use crate::host::areas::{Area, MemoryKind};
use crate::host::file;
use crate::host::file::is_regular;
use crate::host::file::{FileId, id_of};
use crate::host::maps::Maps;
use crate::host::proc::needed;
use crate::host::same_file;
use crate::image::regions::{Regions, stat};
use crate::memory::backing::Backing;
use crate::memory::region::MemoryRegion;
use std::cell::OnceCell;
use std::os::fd::{AsRawFd, RawFd};

/// Which mappings of a file matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// Those that show what is written to it.
    Shared,
    /// Private ones too, which show it as long as they are not written to.
    Any,
}

/// What is to be written to, or replaced: an open descriptor, of whatever mode, to be kept open.
pub struct Target {
    fd: RawFd,
    id: FileId,
    told: OnceCell<Told>,
}

/// What is known of how maps tells of mappings of the target.
#[derive(Clone, Copy)]
enum Told {
    /// As this, and of mappings of nothing else.
    For(FileId),
    /// As this, and perhaps of mappings of other files too.
    Perhaps(FileId),
    Unknown,
}

impl Target {
    /// What is behind `fd`.
    pub fn new(fd: RawFd) -> Result<Self> {
        Ok(Target { fd, id: id_of(&stat(fd)?), told: OnceCell::new() })
    }

    fn told(&self) -> Result<Told> {
        if let Some(told) = self.told.get() {
            return Ok(*told);
        }
        let told = self.ask()?;
        Ok(*self.told.get_or_init(|| told))
    }

    fn ask(&self) -> Result<Told> {
        if !is_regular(&stat(self.fd)?) || same_file::is_plain(self.fd)? {
            return Ok(Told::For(self.id));
        }
        // It may be open to write only, or not at all.
        let shown = match file::open_again(self.fd, libc::O_RDONLY) {
            Ok(file) => same_file::shown(file.as_raw_fd()),
            Err(errno) if file::is_shortage(errno) => Err(Error::from_os("open", errno)),
            Err(_) => same_file::shown(self.fd),
        };
        match shown {
            Ok(id) => Ok(Told::Perhaps(id)),
            Err(Error::Os { errno: libc::EACCES | libc::EBADF | libc::ENODEV, .. }) => {
                Ok(Told::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether it may be what is mapped in an area. Where nothing can tell, it may.
    fn is_mapped_in(&self, area: &Area) -> Result<bool> {
        let shown = (area.device, area.inode);
        match self.told()? {
            Told::For(id) => return Ok(id == shown),
            Told::Perhaps(id) if id != shown => return Ok(false),
            Told::Perhaps(_) | Told::Unknown => {}
        }
        let mapped = same_file::stat_mapped(area)?;
        Ok(mapped.is_none_or(|mapped| id_of(&mapped) == self.id))
    }
}

/// Refuses to write a snapshot over the file that holds the memory.
pub fn refuse_backing(regions: Regions, target: &Target, mapped: Mapped) -> Result<()> {
    let maps = Maps::default();
    for region in regions {
        let is_same = |fd| -> Result<bool> { Ok(id_of(&stat(fd)?) == target.id) };
        let backs = match region.backing() {
            Backing::Caller { file, .. } => {
                let given = file.as_ref().filter(|_| mapped == Mapped::Any);
                maps_file(&maps, region, target, mapped)?
                    || given.map_or(Ok(false), |file| is_same(file.fd()))?
            }
            Backing::Shared { file, .. } => is_same(file.fd())?,
            Backing::CopyOnWrite { file, .. } => mapped == Mapped::Any && is_same(file.fd())?,
            Backing::Anonymous => false,
        };
        if backs {
            return Err(Error::Busy("the file backs the memory that is to be written to it"));
        }
    }
    Ok(())
}

/// True when the caller's memory maps what the target is, or may map it, whatever the caller said.
fn maps_file(maps: &Maps, region: &MemoryRegion, target: &Target, mapped: Mapped) -> Result<bool> {
    for area in needed(maps.at(region.host() as u64, region.range().size()))? {
        let matters = match area.kind {
            MemoryKind::Shared => true,
            MemoryKind::PrivateFile => mapped == Mapped::Any,
            MemoryKind::PrivateAnonymous | MemoryKind::PrivateHuge => false,
        };
        if matters && target.is_mapped_in(&area)? {
            return Ok(true);
        }
    }
    Ok(false)
}
