// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Saving memory as an image file.

use crate::error::Result;
use crate::image::claimed::whole_regions;
use crate::image::format::metadata::Layout;
use crate::image::format::trailer::Trailer;
use crate::image::progress::Progress;
use crate::image::write::busy;
use crate::image::write::busy::{Mapped, refuse_backing};
use crate::image::write::gather::{Parts, Target};
use crate::image::write::options::SnapshotOptions;
use crate::image::write::output::Output;
use crate::image::write::replace::Replacement;
use crate::image::write::snapshot::write;
use crate::memory::guest::GuestMemory;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use zerocopy::IntoBytes;

/// Puts an image of `mem` in the place of `path`.
pub fn save(
    mem: &GuestMemory,
    path: &CStr,
    options: SnapshotOptions,
    progress: Progress,
) -> Result<()> {
    let regions = whole_regions(mem)?;
    let file = Replacement::new(path)?;
    if let Some(old) = file.old_file()? {
        // It is not written, so a private mapping of it stays what it is.
        refuse_backing(&regions, &busy::Target::new(old.as_raw_fd())?, Mapped::Shared)?;
    }
    let options = SnapshotOptions { layout: Layout::Sparse, ..options };
    let output = Output::new(file.fd(), options)?;
    let metadata = write(&regions, &output, options, progress)?;
    append(&file, metadata.memory_size(), &metadata.to_text()?)?;
    file.commit()
}

/// Writes metadata and trailer behind the memory.
fn append(file: &Replacement, memory_size: u64, text: &[u8]) -> Result<()> {
    let trailer = Trailer::new(memory_size, text);
    let trailer = trailer.as_bytes();
    let mut parts = Parts::new(Target { fd: file.fd(), short: None, start: Some(0) })?;
    // SAFETY: both live longer than `parts`.
    unsafe {
        parts.add(memory_size, text.as_ptr(), text.len())?;
        parts.add(memory_size + text.len() as u64, trailer.as_ptr(), trailer.len())?;
    }
    parts.flush()
}
