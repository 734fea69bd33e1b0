// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Whether a control group may limit how many huge pages the process takes. What is reserved is not
//! counted against such a limit before it is touched, and then an access may be refused.

use crate::address::align_down;
use crate::host::file;
use crate::host::proc::read_file;
use crate::host::system::page_size;
use crate::host::text::Sink;
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::AsRawFd;

/// Where control groups are mounted by custom: those of the second version, and those of the first that
/// count huge pages. With the files that only groups below the root have, and that only the root has.
const SECOND: &str = "/sys/fs/cgroup";
const FIRST: &str = "/sys/fs/cgroup/hugetlb";

/// False where no group limits pages of this size, now; True also where nobody can tell.
pub fn may_limit_huge_pages(log2: u32) -> bool {
    is_without_limit(log2) != Some(true)
}

/// None where it cannot be told.
fn is_without_limit(log2: u32) -> Option<bool> {
    let groups = read_file(c"/proc/thread-self/cgroup").ok()?;
    let group = Group::of_process(std::str::from_utf8(&groups).ok()?);
    let Some(group) = group else { return Some(true) };
    // Elsewhere, paths do not begin at the root.
    if !in_first_namespace()? {
        return None;
    }
    let mut path = group.path.trim_end_matches('/');
    while !path.is_empty() {
        if group.limits(path, log2)? {
            return Some(false);
        }
        path = &path[..path.rfind('/')?];
    }
    Some(true)
}

/// The group that counts huge pages of this process.
struct Group<'a> {
    path: &'a str,
    is_second: bool,
}

impl<'a> Group<'a> {
    /// Of lines such as "7:hugetlb:/path", or "0::/path" for the second version (cgroups(7)).
    fn of_process(lines: &'a str) -> Option<Self> {
        let mut second = None;
        for line in lines.lines() {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            if controllers.split(',').any(|name| name == "hugetlb") {
                return Some(Group { path, is_second: false });
            }
            if controllers.is_empty() {
                second = Some(Group { path, is_second: true });
            }
        }
        second
    }

    /// Whether the group at `path` has a limit; None where that cannot be read.
    fn limits(&self, path: &str, log2: u32) -> Option<bool> {
        let (mount, name) = match self.is_second {
            true => (SECOND, "max"),
            false => (FIRST, "limit_in_bytes"),
        };
        // Every group lists its processes: without the list it is not mounted here.
        open(format_args!("{mount}{path}/cgroup.procs\0"))?.ok()?;
        let size = PageName(log2);
        match open(format_args!("{mount}{path}/hugetlb.{size}.{name}\0"))? {
            Ok(file) => Some(!is_no_limit(&crate::host::proc::read_all(file.as_raw_fd()).ok()?)),
            // Huge pages are not counted here, but perhaps further up.
            Err(libc::ENOENT) => Some(false),
            Err(_) => None,
        }
    }
}

/// What the kernel writes for no limit: a word, or the largest number of pages in bytes.
fn is_no_limit(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default().trim();
    text == "max"
        || text.parse::<u64>().is_ok_and(|limit| limit >= align_down(1 << 62, page_size()))
}

/// A size of pages in the names of files, as "2MB".
struct PageName(u32);

impl std::fmt::Display for PageName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            30.. => write!(out, "{}GB", 1u64 << (self.0 - 30)),
            20.. => write!(out, "{}MB", 1u64 << (self.0 - 20)),
            log2 => write!(out, "{}KB", 1u64 << log2 >> 10),
        }
    }
}

/// Opens a path that ends with a NUL; None where it cannot be written down.
fn open(path: std::fmt::Arguments) -> Option<file::Outcome<std::os::fd::OwnedFd>> {
    let mut text = Sink::default();
    text.write_fmt(path).ok()?;
    let bytes = text.finish().ok()?;
    let path = CStr::from_bytes_with_nul(&bytes).ok()?;
    Some(file::open(path, libc::O_RDONLY))
}

/// True in the namespace of control groups that the system began with, whose number is fixed.
fn in_first_namespace() -> Option<bool> {
    const FIRST_INODE: u64 = 0xeffffffb;
    match file::open(c"/proc/thread-self/ns/cgroup", libc::O_RDONLY) {
        Ok(namespace) => Some(file::stat(namespace.as_raw_fd()).ok()?.st_ino == FIRST_INODE),
        // Before Linux 4.6 there is no other.
        Err(libc::ENOENT) => Some(true),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_that_counts_huge_pages_is_found() {
        let found = |lines| Group::of_process(lines).map(|group| (group.path, group.is_second));
        assert_eq!(found("0::/user.slice/a:b\n"), Some(("/user.slice/a:b", true)));
        assert_eq!(found("3:cpu,hugetlb:/x\n1:name=systemd:/y\n0::/z\n"), Some(("/x", false)));
        assert_eq!(found("1:name=systemd:/y\n0::/\n"), Some(("/", true)));
        assert_eq!(found("1:name=systemd:/y\n"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn names_and_limits_are_read_as_the_kernel_writes_them() {
        let names = [16, 21, 25, 29, 30, 34].map(|log2| PageName(log2).to_string());
        assert_eq!(names, ["64KB", "2MB", "32MB", "512MB", "1GB", "16GB"]);
        assert!(is_no_limit(b"max\n") && is_no_limit(b"9223372036852678656\n"));
        assert!(!is_no_limit(b"0\n") && !is_no_limit(b"4194304\n") && !is_no_limit(b""));
    }
}
