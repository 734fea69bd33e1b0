// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Lists of ranges.

use crate::error::{Error, Result};
use crate::image::format::metadata::DataRange;

/// Ranges as they are found.
#[derive(Debug, Default)]
pub struct Found(Vec<DataRange>);

impl Found {
    /// Adds a range. One that follows the last directly becomes one with it.
    pub fn add(&mut self, start: u64, end: u64) -> Result<()> {
        match self.0.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => {
                self.0.try_reserve(1).map_err(|_| Error::NoMemory("the ranges of a snapshot"))?;
                self.0.push(DataRange { start, end });
            }
        }
        Ok(())
    }

    /// Adds all of `more`.
    pub fn append(&mut self, more: Found) -> Result<()> {
        if self.0.is_empty() {
            *self = more;
            return Ok(());
        }
        more.0.iter().try_for_each(|range| self.add(range.start, range.end))
    }

    /// Puts the ranges in order and joins those that touch.
    pub fn tidy(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by(|next, last| {
            let joins = next.start <= last.end;
            if joins {
                last.end = last.end.max(next.end);
            }
            joins
        });
    }

    /// What was found.
    pub fn ranges(&self) -> &[DataRange] {
        &self.0
    }

    /// What was found, tidied.
    pub fn into_ranges(mut self) -> Vec<DataRange> {
        self.tidy();
        self.0
    }
}

/// What of `ranges`, ascending and disjoint, lies in `start..end`.
pub fn within(ranges: &[DataRange], start: u64, end: u64) -> impl Iterator<Item = DataRange> {
    let first = ranges.partition_point(|range| range.end <= start);
    let parts = ranges[first..].iter().take_while(move |range| range.start < end);
    parts.map(move |range| DataRange { start: range.start.max(start), end: range.end.min(end) })
}
