// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Sizes of pages of this system.

use crate::error::{Error, Result};
use crate::host::proc::read_file;

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
