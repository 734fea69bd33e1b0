// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Mappings of this process, as the lines of proc_pid_maps(5) tell of them.

use crate::error::Result;
use crate::host::alloc::push;

/// What kind of memory a range is, as far as giving pages back goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// Shared mappings: their pages belong to a file, perhaps one without a name.
    Shared,
    /// Private memory without a file: dropped pages read as zeros.
    PrivateAnonymous,
    /// As above, of huge pages of hugetlbfs.
    PrivateHuge,
    /// A private mapping of a file: dropped pages read as the file again.
    PrivateFile,
}

/// One mapping of this process (proc_pid_maps(5)).
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Its first address.
    pub start: u64,
    /// The first address past it.
    pub end: u64,
    /// What kind of memory it is.
    pub kind: MemoryKind,
    /// Where in its file it starts.
    pub offset: u64,
    /// The device that its file is on, as `st_dev` tells it.
    pub device: u64,
    /// The inode of its file.
    pub inode: u64,
    /// It may be read.
    pub readable: bool,
    /// It may be written.
    pub writable: bool,
    /// Its file is one that no descriptor was ever handed out of, as that of shared memory that was
    /// mapped without one: nobody can have sealed it.
    pub unnamed: bool,
    /// Bytes of one of its pages, where that is known.
    pub page: Option<u64>,
}

/// The mappings that the lines of a maps file tell of.
pub fn parse_maps(maps: &[u8]) -> Result<Vec<Area>> {
    let mut areas = Vec::new();
    for area in maps.split(|&byte| byte == b'\n').filter_map(parse_area) {
        push(&mut areas, area)?;
    }
    Ok(areas)
}

/// One line: `start-end perms offset device inode [name]`.
pub fn parse_area(line: &[u8]) -> Option<Area> {
    // The name may be anything; what stands before it is ASCII.
    let fields = &line[..line.len().min(128)];
    let ascii = fields.iter().position(|byte| !byte.is_ascii()).unwrap_or(fields.len());
    let mut fields = std::str::from_utf8(&fields[..ascii]).ok()?.split_ascii_whitespace();
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (number(start)?, number(end)?);
    let access = fields.next()?;
    let offset = number(fields.next()?)?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = libc::makedev(number(major)? as u32, number(minor)? as u32);
    let inode: u64 = fields.next()?.parse().ok()?;
    let shared = access.ends_with('s');
    let name = fields.next().unwrap_or("");
    let kind = kind_of(shared, device, inode, name.as_bytes());
    let (readable, writable) = (access.starts_with('r'), access.get(1..2) == Some("w"));
    let unnamed = shared && UNNAMED.contains(&name.as_bytes());
    Some(Area { start, end, kind, offset, device, inode, readable, writable, unnamed, page: None })
}

/// What shared memory is called that was mapped without a file, of pages of either kind.
pub const UNNAMED: [&[u8]; 2] = [b"/dev/zero", b"/anon_hugepage"];

/// The kind of a mapping, by what is told of its file: 0 and no name where it has none.
pub fn kind_of(shared: bool, device: u64, inode: u64, name: &[u8]) -> MemoryKind {
    let name = name.split(|&byte| byte == b' ').next().unwrap_or_default();
    match (shared, inode, name) {
        (true, ..) => MemoryKind::Shared,
        (false, _, b"/anon_hugepage") => MemoryKind::PrivateHuge,
        // What is mapped private of /dev/zero is as if it had no file.
        (false, 0, _) if device == 0 => MemoryKind::PrivateAnonymous,
        (false, _, b"/dev/zero") => MemoryKind::PrivateAnonymous,
        (false, ..) => MemoryKind::PrivateFile,
    }
}
