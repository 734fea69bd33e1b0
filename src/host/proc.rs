// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the system tells about itself and this process: its page size, /proc and /sys.
//!
//! What is this process's own stands in /proc/thread-self: /proc/self is the process's first thread,
//! which may have ended, or have a table of descriptors of its own.

use crate::error::{Error, Result, errno};
use crate::host::alloc::push;
use crate::host::file;
use crate::host::file::Outcome;
use crate::host::kept;
use crate::host::kept::{Kept, Source};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

pub mod cgroup;
pub mod huge_pages;
mod maps;
mod query;

pub use maps::Maps;

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

fn parse_maps(maps: &[u8]) -> Result<Vec<Area>> {
    let mut areas = Vec::new();
    for area in maps.split(|&byte| byte == b'\n').filter_map(parse_area) {
        push(&mut areas, area)?;
    }
    Ok(areas)
}

/// How many mappings this process has, and how many of them lie between two addresses.
pub fn count_mappings(start: u64, end: u64) -> Result<(u64, u64)> {
    let maps = read_own(Kept::Maps)?;
    let (mut all, mut within) = (0, 0);
    for area in maps.split(|&byte| byte == b'\n').filter_map(parse_area) {
        all += 1;
        within += u64::from(area.start >= start && area.end <= end);
    }
    Ok((all, within))
}

/// How many mappings a process may have.
pub fn most_mappings() -> u64 {
    const USUAL: u64 = 65530;
    let text = read_file(c"/proc/sys/vm/max_map_count").unwrap_or_default();
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    number.unwrap_or(USUAL)
}

/// One line: `start-end perms offset device inode [name]`.
fn parse_area(line: &[u8]) -> Option<Area> {
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
const UNNAMED: [&[u8]; 2] = [b"/dev/zero", b"/anon_hugepage"];

/// The kind of a mapping, by what is told of its file: 0 and no name where it has none.
fn kind_of(shared: bool, device: u64, inode: u64, name: &[u8]) -> MemoryKind {
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

/// First addresses and ends of the mappings that have a flag, such as "lo" for locked.
pub fn flagged_areas(wanted: &str) -> Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    each_detail(|area, name, value| match name {
        "VmFlags" if value.split(' ').any(|flag| flag == wanted) => {
            push(&mut found, (area.start, area.end))
        }
        _ => Ok(()),
    })?;
    Ok(found)
}

/// A mapping, and whether it has two flags.
#[derive(Clone, Copy, Debug)]
pub struct Flagged {
    /// Its first address.
    pub start: u64,
    /// The first address past it.
    pub end: u64,
    /// It has the one flag.
    pub has_flag: bool,
    /// It has the other.
    pub has_other: bool,
}

/// All mappings, in order, each with whether it has two flags such as "hg" and "nh".
pub fn flags_of_areas(flag: &str, other: &str) -> Result<Vec<Flagged>> {
    let mut found = Vec::new();
    each_detail(|area, name, value| {
        if name != "VmFlags" {
            return Ok(());
        }
        let has = |wanted: &str| value.split(' ').any(|flag| flag == wanted);
        let (start, end) = (area.start, area.end);
        push(&mut found, Flagged { start, end, has_flag: has(flag), has_other: has(other) })
    })?;
    Ok(found)
}

/// First addresses of all mappings, in order, each with the size in bytes of its pages.
fn page_sizes() -> Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    each_detail(|area, name, value| match name {
        "KernelPageSize" => push(&mut found, (area.start, kibibytes(value))),
        _ => Ok(()),
    })?;
    Ok(found)
}

/// True when pages of a range of mapped memory are locked. Changes nothing (msync(2)).
pub fn is_locked(start: u64, len: u64) -> bool {
    // Not by msync(), at which a thread may be cancelled.
    // SAFETY: a system call that only looks at mappings.
    let result = unsafe { libc::syscall(libc::SYS_msync, start, len, libc::MS_INVALIDATE) };
    result != 0 && errno() == libc::EBUSY
}

/// First addresses and ends of all mappings with pages in memory, and how many bytes those are.
pub fn resident_areas() -> Result<Vec<(u64, u64, u64)>> {
    let mut found: Vec<(u64, u64, u64)> = Vec::new();
    each_detail(|area, name, value| match (name, kibibytes(value)) {
        ("Rss" | "Shared_Hugetlb" | "Private_Hugetlb", bytes @ 1..) => match found.last_mut() {
            Some((start, _, sum)) if *start == area.start => {
                *sum += bytes;
                Ok(())
            }
            _ => push(&mut found, (area.start, area.end, bytes)),
        },
        _ => Ok(()),
    })?;
    Ok(found)
}

/// Gives each name and value that proc_pid_smaps(5) tells of each mapping.
fn each_detail(mut visit: impl FnMut(&Area, &str, &str) -> Result<()>) -> Result<()> {
    let smaps = read_own(Kept::Smaps)?;
    let mut current = None;
    for line in smaps.split(|&byte| byte == b'\n') {
        if let Some(area) = parse_area(line) {
            current = Some(area);
        } else if let (Some(area), Ok(line)) = (&current, std::str::from_utf8(line)) {
            if let Some((name, value)) = line.split_once(':') {
                visit(area, name, value.trim())?;
            }
        }
    }
    Ok(())
}

/// The bytes that a value such as "16 kB" tells of; 0 for what is no such value.
fn kibibytes(value: &str) -> u64 {
    value.strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The system's page size in bytes.
pub fn page_size() -> u64 {
    // SAFETY: sysconf has no preconditions; glibc and musl answer without a system call.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// The system's default huge page size as a power of two, if it has huge pages.
pub fn default_huge_log2() -> Result<u32> {
    let none = Error::Unsupported("this system has no huge pages");
    let text = read_file(c"/proc/meminfo")?;
    let text = std::str::from_utf8(&text).map_err(|_| none)?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("Hugepagesize:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .filter(|kib| kib.is_power_of_two())
        .ok_or(none)?;
    Ok(kib.trailing_zeros() + 10)
}

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
fn chosen(path: &CStr, words: &[&str]) -> Result<Option<bool>> {
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
fn read_own(file: Kept) -> Result<Vec<u8>> {
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
fn read_file(path: &CStr) -> Result<Vec<u8>> {
    let fd = file::open(path, libc::O_RDONLY).map_err(|errno| Error::from_os("open", errno))?;
    read_all(fd.as_raw_fd())
}

fn read_all(fd: RawFd) -> Result<Vec<u8>> {
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
