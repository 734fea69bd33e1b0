// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Putting data back into memory, which may not take all of it: a page that cannot be written is an
//! error, and what may only be read has to hold the same already.

use crate::access::bounce::Part;
use crate::error::{Error, Result};
use crate::host::system::page_size;
use crate::image::copies::{Copies, is_zero, steps};
use crate::image::format::metadata::{Chunk, DataRange};
use crate::image::regions::Regions;
use crate::memory::region::MemoryRegion;

/// For each region the parts that may hold anything, where that can be told.
pub type Present = Vec<Result<Vec<DataRange>>>;

/// Memory that data is put into.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    regions: Regions<'a>,
    /// None: none holds anything.
    present: Option<&'a Present>,
}

const DIFFERS: Error = Error::Mismatch("a read-only region holds something else");

impl<'a> Place<'a> {
    /// Memory that holds nothing but what `present` tells of.
    pub fn new(regions: Regions<'a>, present: &'a Present) -> Self {
        Place { regions, present: Some(present) }
    }

    /// Memory that holds nothing.
    pub fn empty(regions: Regions<'a>) -> Self {
        Place { regions, present: None }
    }

    /// Puts a chunk in its place. Zeros take no memory where there is none; nothing is put into
    /// what may only be read.
    pub fn put(&self, chunk: Chunk, part: Part) -> Result<()> {
        if self.regions[chunk.region].is_read_only() {
            return self.compare(chunk, part);
        }
        let (page, mut first, mut at) = (page_size(), 0, 0);
        while at < chunk.len {
            let rest = page - (chunk.offset + at as u64) % page;
            let len = (chunk.len - at).min(rest as usize);
            if self.is_needed(chunk, at, len, part) {
                at += len;
                continue;
            }
            self.write(chunk, first, at, part)?;
            at += len;
            first = at;
        }
        self.write(chunk, first, at, part)
    }

    /// True when these bytes have to be written: memory reads as zeros where it has no pages.
    fn is_needed(&self, chunk: Chunk, at: usize, len: usize, part: Part) -> bool {
        let start = chunk.offset + at as u64;
        let is_absent = match self.present.map(|present| &present[chunk.region]) {
            None => true,
            Some(Ok(parts)) => is_disjoint(parts, DataRange { start, end: start + len as u64 }),
            Some(Err(_)) => false,
        };
        !(is_absent && is_zero(part.part(at, len).bytes()))
    }

    fn write(&self, chunk: Chunk, first: usize, end: usize, part: Part) -> Result<()> {
        if first == end {
            return Ok(());
        }
        let (region, len) = (&self.regions[chunk.region], end - first);
        let offset = chunk.offset + first as u64;
        region.prefault(offset, len as u64)?;
        // SAFETY: the chunk lies within the region, which is of the size that the metadata was
        // checked against.
        unsafe { part.part(first, len).give(region.host().wrapping_add(offset as usize)) }
    }

    /// Refuses a chunk of a read-only region that holds something else.
    pub fn compare(&self, chunk: Chunk, part: Part) -> Result<()> {
        let region = &self.regions[chunk.region];
        if !region.is_read_only() {
            return Ok(());
        }
        let range = DataRange { start: chunk.offset, end: chunk.offset + chunk.len as u64 };
        let is_same = Copies::new()?.of_range(region, range)? == part.bytes();
        if is_same { Ok(()) } else { Err(DIFFERS) }
    }
}

/// Refuses a read-only region that holds anything in `parts`.
pub fn check_zeros(region: &MemoryRegion, parts: &[DataRange]) -> Result<()> {
    if !region.is_read_only() || parts.is_empty() {
        return Ok(());
    }
    let mut copies = Copies::new()?;
    for step in parts.iter().copied().flat_map(steps) {
        if !is_zero(copies.of_range(region, step)?) {
            return Err(DIFFERS);
        }
    }
    Ok(())
}

/// True when `range` meets none of `parts`, which are ascending and disjoint.
fn is_disjoint(parts: &[DataRange], range: DataRange) -> bool {
    let next = parts.partition_point(|part| part.end <= range.start);
    parts.get(next).is_none_or(|part| part.start >= range.end)
}
