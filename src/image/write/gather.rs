// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Writing a snapshot to a file, pipe or socket: many ranges with one system call, straight from the
//! mappings. Checksums are made on other threads meanwhile.

use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::host::file;
use crate::host::signals::QuietSignals;
use crate::image::batch;
use crate::image::batch::{Batch, Steps};
use crate::image::copies;
use crate::image::copies::Copies;
use crate::image::format::checksum::checksum;
use crate::image::format::metadata::{Layout, Metadata};
use crate::image::pieces::{Hole, pieces};
use crate::image::progress::Progress;
use crate::image::regions::Regions;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// The most parts that one system call takes (IOV_MAX).
const MAX_PARTS: usize = 1024;
/// The most bytes at once, for progress to be told between.
const MAX_BYTES: usize = 8 << 20;
/// From so many bytes on a direct write takes no longer than one through the page cache. Each has to
/// wait for the device, where the page cache has many on their way together.
const WORTH_WAITING: usize = 1 << 20;

/// Zeros for holes that were folded, which are never read from guest memory. Aligned as direct
/// writes need it.
#[repr(align(4096))]
struct Zeros([u8; 4096]);
static ZEROS: Zeros = Zeros([0; 4096]);

/// Where to write.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What to write to.
    pub fd: RawFd,
    /// What to write short pieces to: the same file, through the page cache. None: they are as others.
    pub short: Option<RawFd>,
    /// Where in the file the data begins; None: at its position, which moves.
    pub start: Option<u64>,
}

/// Writes the data that `metadata` tells of and fills in its checksums, if it is to have them.
/// The `holes` in its ranges become zeros without being read.
pub fn write(
    metadata: &mut Metadata,
    holes: &[Hole],
    regions: Regions,
    target: Target,
    threads: usize,
    progress: Progress,
) -> Result<()> {
    let mut steps = Steps::new(metadata.data_size(), progress);
    let mut write = || write_data(metadata, holes, regions, target, &mut steps);
    if metadata.checksums.is_none() {
        write()?;
        return steps.end();
    }
    let count = metadata.chunk_count() as usize;
    let mut sums: Vec<AtomicU32> = vec_of(count)?;
    sums.resize_with(count, AtomicU32::default);
    let sum = |batch: Batch, copies: &mut Copies| {
        let mut slots = sums[batch.first..].iter();
        let mut chunks = batch.chunks;
        while let Some(few) = copies::few(&mut chunks) {
            let mut rest = copies.of_chunks(regions, holes, few.clone())?;
            for (chunk, slot) in few.zip(&mut slots) {
                let (own, behind) = rest.split_at(chunk.len);
                slot.store(checksum(own), Ordering::Relaxed);
                rest = behind;
            }
        }
        Ok(())
    };
    batch::each_beside(metadata, threads, &sum, &mut write)?;
    let mut checksums = vec_of(count)?;
    checksums.extend(sums.into_iter().map(AtomicU32::into_inner));
    metadata.checksums = Some(checksums);
    steps.end()
}

fn write_data(
    metadata: &Metadata,
    holes: &[Hole],
    regions: Regions,
    target: Target,
    steps: &mut Steps,
) -> Result<()> {
    let mut parts = Parts::new(target)?;
    for chunk in metadata.chunks() {
        for piece in pieces(holes, chunk) {
            let position = chunk.position + (piece.range.start - chunk.offset);
            let len = piece.range.size() as usize;
            if !piece.is_hole {
                let host = regions[chunk.region].host().wrapping_add(piece.range.start as usize);
                // SAFETY: within the region, whose mapping lives as long as it.
                unsafe { parts.add(position, host, len)? };
            } else if metadata.layout == Layout::Packed {
                for start in (0..len).step_by(ZEROS.0.len()) {
                    let part = ZEROS.0.len().min(len - start);
                    // SAFETY: no more than there are.
                    unsafe { parts.add(position + start as u64, ZEROS.0.as_ptr(), part)? };
                }
            }
            steps.reach(parts.written)?;
        }
    }
    parts.flush()
}

/// Parts of memory that are to be written together.
pub struct Parts {
    target: Target,
    list: Vec<libc::iovec>,
    size: usize,
    /// Where in the data they go.
    position: u64,
    written: u64,
}

impl Parts {
    /// None yet.
    pub fn new(target: Target) -> Result<Self> {
        Ok(Parts { target, list: vec_of(MAX_PARTS)?, size: 0, position: 0, written: 0 })
    }

    /// Adds a part that goes to `position` in the data.
    ///
    /// # Safety
    /// It can be read until it is written, which `flush` does at the latest.
    pub unsafe fn add(&mut self, position: u64, host: *const u8, len: usize) -> Result<()> {
        let follows = position == self.position + self.size as u64;
        if !follows || self.list.len() == MAX_PARTS || self.size >= MAX_BYTES {
            self.flush()?;
        }
        if self.list.is_empty() {
            self.position = position;
        }
        self.size += len;
        match self.list.last_mut() {
            Some(last) if last.iov_base.wrapping_byte_add(last.iov_len) == host as *mut _ => {
                last.iov_len += len;
            }
            _ => self.list.push(libc::iovec { iov_base: host as *mut _, iov_len: len }),
        }
        Ok(())
    }

    /// Writes what was added.
    pub fn flush(&mut self) -> Result<()> {
        let completed = self.written;
        let quiet = QuietSignals::new();
        let mut quiet = quiet.map_err(|errno| Error::Io { errno, completed })?;
        let short = self.target.short.filter(|_| self.size < WORTH_WAITING);
        let fd = short.unwrap_or(self.target.fd);
        let mut rest = &mut self.list[..];
        let mut at = self.target.start.map(|start| start + self.position);
        while !rest.is_empty() {
            let failed = |errno| Error::Io { errno, completed: self.written };
            // SAFETY: whoever added the parts has promised that they can be read.
            let written = unsafe { file::write_parts(fd, rest, at) };
            let mut written = written.inspect_err(|&errno| quiet.note(errno)).map_err(failed)?;
            if written == 0 {
                return Err(failed(libc::EIO));
            }
            self.written += written as u64;
            at = at.map(|at| at + written as u64);
            while let Some(part) = rest.first_mut().filter(|_| written > 0) {
                let taken = written.min(part.iov_len);
                part.iov_base = part.iov_base.wrapping_byte_add(taken);
                part.iov_len -= taken;
                written -= taken;
                if part.iov_len == 0 {
                    rest = &mut rest[1..];
                }
            }
        }
        self.list.clear();
        self.size = 0;
        Ok(())
    }
}
