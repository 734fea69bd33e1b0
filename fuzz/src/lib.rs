// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the fuzz targets share.
//!
//! - [`json`], [`crc32c`], [`container`], [`snapshot`]: an independent reader of the format in
//!   docs/image-format.md, written for clarity alone. It says what the library must answer.
//! - [`memory`], [`progress`], [`source`], [`sink`], [`files`]: the C API and the kernel, as far as the targets
//!   need them.
//! - [`mend`]: sizes, offsets and checksums of changed snapshots.
//! - [`random`], [`tally`]: decisions that depend on the input alone; what was reached.

pub mod container;
pub mod crc32c;
pub mod files;
pub mod json;
pub mod memory;
pub mod mend;
pub mod progress;
pub mod random;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod tally;

use std::backtrace::Backtrace;

/// Makes every panic a finding: the harness's own, and those that the library would turn into a
/// code.
pub fn abort_on_panic() {
    // The library installs a hook of its own with its first memory; ours comes after it.
    drop(memory::Memory::new(&[], 0));
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{info}\n{}", Backtrace::force_capture());
        std::process::abort();
    }));
}
