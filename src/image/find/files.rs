// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Files that regions map, and what they hold.

use crate::error::Result;
use crate::host::alloc::push;
use crate::host::file;
use crate::host::system::page_size;
use crate::image::find::pieces::{FilePart, Pieces};
use crate::image::find::ranges::Found;
use crate::image::find::way::{Extent, Keeping, allocated, stat_error};
use crate::image::find::{huge, seek};
use crate::image::format::metadata::DataRange;
use std::os::fd::AsRawFd;

/// A file that regions map.
pub struct File<'a> {
    /// Where it is mapped: at least one part, in the order of the file.
    pub parts: &'a [FilePart],
    /// Those of its pages that page tables show, tidied.
    pub seen: Result<Found>,
}

impl File<'_> {
    /// What it holds where it is mapped, and perhaps elsewhere: page-aligned, ascending, disjoint.
    ///
    /// Data that nobody changes meanwhile is among it whatever else happens: each page that was not
    /// seen in the page tables is asked for by itself. Their number, held against that of the
    /// file's pages, would prove nothing. While one page leaves the file another may hide behind
    /// it, and pages leave by holes that anybody makes, by other processes, and by themselves where
    /// they were never written and memory is short.
    pub fn data(&self, extent: Extent) -> Result<Vec<DataRange>> {
        let FilePart { way, keeping, .. } = self.parts[0];
        let seen = self.seen.as_ref().map_err(|error| *error)?.ranges();
        let covers = self.covers()?;
        if keeping == Keeping::Dense {
            return Ok(covers);
        }
        let opened = way.open();
        let has_own_position = opened.is_ok();
        let file = opened.or_else(|error| way.duplicate(error))?;
        let allocated =
            || file::stat(file.as_raw_fd()).map(|stat| allocated(&stat)).map_err(stat_error);
        let data = match keeping {
            Keeping::HugePages(_) if allocated()? == 0 => Vec::new(),
            Keeping::HugePages(size) => huge::data(&file, &covers, seen, size)?,
            _ if has_own_position => seek::data(&file, &covers, seen)?,
            _ => huge::data(&file, &covers, seen, page_size())?,
        };
        let in_memory = matches!(keeping, Keeping::Memory { .. } | Keeping::HugePages(_));
        if extent == Extent::Pages && in_memory && self.parts.iter().any(|part| part.shared) {
            // Nobody tells where those are that hold nothing.
            let found: u64 = data.iter().map(|range| range.size()).sum();
            if allocated()? > found {
                return Ok(covers);
            }
        }
        Ok(data)
    }

    /// The parts of the file that are mapped.
    fn covers(&self) -> Result<Vec<DataRange>> {
        let mut covers = Found::default();
        for part in self.parts {
            covers.add(part.start, part.start + part.piece.size)?;
        }
        Ok(covers.into_ranges())
    }
}

/// The files of all pieces, once these are sorted.
pub fn files(pieces: &Pieces) -> Result<Vec<File<'_>>> {
    let mut files = Vec::new();
    for parts in pieces.by_file() {
        push(&mut files, File { parts, seen: Ok(Found::default()) })?;
    }
    Ok(files)
}
