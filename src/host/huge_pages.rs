// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The system's settings of transparent huge pages: whether memory gets them, asked for or not.

use crate::error::Result;
use crate::host::file::short_path;
use crate::host::proc::chosen;
use crate::host::system::page_size;

/// Who wants huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An advice for the memory asks for them.
    ByAdvice,
    /// Nobody does, and nobody is against them.
    ByNobody,
}

impl Asked {
    fn words(self) -> &'static [&'static str] {
        match self {
            Asked::ByAdvice => &["always", "within_size", "advise", "madvise"],
            Asked::ByNobody => &["always", "within_size"],
        }
    }
}

/// True when private memory gets huge pages of any size.
pub fn private(asked: Asked) -> Result<bool> {
    let all = c"/sys/kernel/mm/transparent_hugepage/enabled";
    let by_all = chosen(all, asked.words())? == Some(true);
    of_any_size("enabled", asked, by_all)
}

/// True when shared memory gets huge pages of any size.
pub fn shared(asked: Asked) -> Result<bool> {
    let all = c"/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    // Two words overrule the settings of sizes.
    if chosen(all, &["force"])? == Some(true) {
        return Ok(true);
    }
    if chosen(all, &["deny"])? == Some(true) {
        return Ok(false);
    }
    let by_all = chosen(all, asked.words())? == Some(true);
    of_any_size("shmem_enabled", asked, by_all)
}

/// Goes through the settings of sizes, which may leave it to the one for all. Before Linux 6.8 there are
/// none.
fn of_any_size(setting: &str, asked: Asked, by_all: bool) -> Result<bool> {
    const LARGEST: u64 = 1 << 30;
    let mut has_sizes = false;
    let mut size = 2 * page_size();
    while size <= LARGEST {
        let mut path = [0; 96];
        let path = short_path(
            &mut path,
            format_args!(
                "/sys/kernel/mm/transparent_hugepage/hugepages-{}kB/{setting}",
                size / 1024
            ),
        );
        if let Some(allowed) = chosen(path, asked.words())? {
            if allowed || (by_all && chosen(path, &["inherit"])? == Some(true)) {
                return Ok(true);
            }
            has_sizes = true;
        }
        size *= 2;
    }
    Ok(by_all && !has_sizes)
}
