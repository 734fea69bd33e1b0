// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What proc_pid_smaps(5) tells of the mappings of this process: flags, page sizes, resident bytes.

use crate::error::{Result, errno};
use crate::host::alloc::push;
use crate::host::areas::{Area, parse_area};
use crate::host::kept::Kept;
use crate::host::proc::read_own;

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
pub fn page_sizes() -> Result<Vec<(u64, u64)>> {
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
