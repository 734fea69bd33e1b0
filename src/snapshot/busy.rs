// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Files that a snapshot must not be written to: those that hold the memory.

use super::{Regions, stat};
use crate::backing::Backing;
use crate::error::{Error, Result};
use crate::proc::{Area, Maps, MemoryKind, needed};
use crate::region::MemoryRegion;

/// Which mappings of a file matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// Those that show what is written to it.
    Shared,
    /// Private ones too, which show it as long as they are not written to.
    Any,
}

/// Refuses to write a snapshot over the file that holds the memory.
pub fn refuse_backing(regions: Regions, target: &libc::stat, mapped: Mapped) -> Result<()> {
    let maps = Maps::default();
    for region in regions {
        let is_same = |fd| -> Result<bool> {
            let own = stat(fd)?;
            Ok((own.st_dev, own.st_ino) == (target.st_dev, target.st_ino))
        };
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

/// True when the caller's memory maps the file that `target` is of, whatever the caller said.
fn maps_file(
    maps: &Maps,
    region: &MemoryRegion,
    target: &libc::stat,
    mapped: Mapped,
) -> Result<bool> {
    let areas = needed(maps.at(region.host() as u64, region.range().size()))?;
    let matters = |area: &Area| mapped == Mapped::Any || area.kind == MemoryKind::Shared;
    let is_same = |area: &Area| (area.device, area.inode) == (target.st_dev, target.st_ino);
    Ok(areas.iter().any(|area| matters(area) && is_same(area)))
}
