// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Reading metadata that may come from an enemy: every number is checked before anything uses it,
//! in time and memory proportional to the text.

use crate::address::is_aligned;
use crate::error::{Error, Result};
use crate::host::alloc::{push, vec_of};
use crate::host::reserve::Reserve;
use crate::image::format::metadata::{
    CHUNK_SIZE, DataRange, Layout, MAX_TEXT, Metadata, RegionRecord,
};
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

/// The smallest page of any Linux system.
const MIN_PAGE: u64 = 4096;

const BROKEN: Error =
    Error::Metadata("a value of the metadata is missing, twice or of another kind");

/// The metadata as it stands in the text. Keys that are not listed are ignored.
#[derive(serde::Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    version: u64,
    #[serde(borrow)]
    layout: Cow<'a, str>,
    compressed: bool,
    page_size: u64,
    data_size: u64,
    #[serde(borrow)]
    checksum: Cow<'a, str>,
    chunk_size: u64,
    regions: Many<Region>,
}

#[derive(serde::Deserialize)]
struct Region {
    guest_base: u64,
    size: u64,
    file_offset: u64,
    data_ranges: Many<Span>,
}

#[derive(serde::Deserialize)]
struct Span {
    start: u64,
    end: u64,
    #[serde(default, deserialize_with = "present")]
    crc: Option<Many<u32>>,
}

// What decides whether this library knows the form of the rest, in this order.

#[derive(serde::Deserialize)]
struct Format<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
}

#[derive(serde::Deserialize)]
struct Version {
    version: u64,
}

#[derive(serde::Deserialize)]
struct Kinds<'a> {
    compressed: bool,
    #[serde(borrow)]
    layout: Cow<'a, str>,
    #[serde(borrow)]
    checksum: Cow<'a, str>,
}

/// A list that grows fallibly.
struct Many<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_seq(ManyVisitor(PhantomData))
    }
}

struct ManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
    type Value = Many<T>;

    fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
        text.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut seq: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            push(&mut items, item).map_err(|_| A::Error::custom("no memory"))?;
        }
        Ok(Many(items))
    }
}

/// A value that is there: null is none.
fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Many<u32>>, D::Error> {
    Many::deserialize(deserializer).map(Some)
}

/// Reads the metadata of a snapshot. What depends on no live memory is checked: the
/// result's ranges are aligned, not empty, ascending, disjoint, within their region, and come with
/// the checksums that they need.
pub fn parse(text: &[u8]) -> Result<Metadata> {
    if text.len() as u64 > MAX_TEXT {
        return Err(Error::Metadata("the metadata is longer than 64 MiB"));
    }
    let text = std::str::from_utf8(text).map_err(|_| Error::Metadata("not UTF-8"))?;
    // What serde_json allocates infallibly: a string that it decodes, at most as long as the text, and
    // the message of its error, which may quote a string, each byte of which may be shown as six; both
    // in buffers that double.
    Reserve::with(16 * text.len() + 4096, |reserve| {
        let read = reserve.serve(|| serde_json::from_str::<Document>(text));
        match read {
            Ok(document) => check(&document),
            Err(_) if reserve.was_needed() => Err(Error::NoMemory("the snapshot's metadata")),
            Err(error) => Err(reserve.serve(|| why_not(text, error))),
        }
    })
}

/// Why the text is no document: it is not JSON, it is of another version, or it breaks the rules of
/// this one.
fn why_not(text: &str, error: serde_json::Error) -> Error {
    if !error.is_data() {
        return Error::Metadata("the metadata is not well-formed JSON");
    }
    let judge = || -> Result<Infallible> {
        check_format(&part::<Format>(text)?.format)?;
        check_version(part::<Version>(text)?.version)?;
        let kinds = part::<Kinds>(text)?;
        check_kinds(kinds.compressed, &kinds.layout, &kinds.checksum)?;
        Err(BROKEN)
    };
    let Err(why) = judge();
    why
}

/// Some keys of the text, whatever the others are.
fn part<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| BROKEN)
}

fn check_format(format: &str) -> Result<()> {
    match format {
        "guestmem" => Ok(()),
        _ => Err(Error::Unsupported("a snapshot of another format")),
    }
}

fn check_version(version: u64) -> Result<()> {
    match version {
        1 => Ok(()),
        _ => Err(Error::Unsupported("a snapshot of another version")),
    }
}

/// The layout, and whether there are checksums.
fn check_kinds(compressed: bool, layout: &str, checksum: &str) -> Result<(Layout, bool)> {
    if compressed {
        return Err(Error::Unsupported("a compressed snapshot"));
    }
    let layout = match layout {
        "packed" => Layout::Packed,
        "sparse" => Layout::Sparse,
        _ => return Err(Error::Unsupported("a snapshot of another layout")),
    };
    match checksum {
        "crc32c" => Ok((layout, true)),
        "none" => Ok((layout, false)),
        _ => Err(Error::Unsupported("an unknown kind of checksum")),
    }
}

/// Holds what was read against the rules, and against itself.
fn check(document: &Document) -> Result<Metadata> {
    let Document { version, compressed, page_size, chunk_size, .. } = *document;
    check_format(&document.format)?;
    check_version(version)?;
    let (layout, is_checksummed) = check_kinds(compressed, &document.layout, &document.checksum)?;
    if !page_size.is_power_of_two() || !(MIN_PAGE..=CHUNK_SIZE).contains(&page_size) {
        return Err(Error::Metadata("page_size is not the size of a page"));
    }
    if !(page_size..=CHUNK_SIZE).contains(&chunk_size) || !is_aligned(chunk_size, page_size) {
        return Err(Error::Metadata("chunk_size is not a multiple of a page up to 1 MiB"));
    }
    let regions = &document.regions.0;
    let spans = || regions.iter().flat_map(|region| &region.data_ranges.0);
    let sums = || spans().flat_map(|span| &span.crc).flat_map(|many| &many.0);
    let mut checksums = None;
    if is_checksummed {
        let mut all = vec_of(sums().count())?;
        all.extend(sums());
        checksums = Some(all);
    }
    let mut checker = Checker {
        metadata: Metadata {
            layout,
            page_size,
            chunk_size,
            checksums,
            regions: vec_of(regions.len())?,
            ranges: vec_of(spans().count())?,
        },
        data_size: 0,
        memory_size: 0,
    };
    for region in regions {
        checker.add_region(region)?;
    }
    if checker.data_size != document.data_size {
        return Err(Error::Metadata("data_size is not the sum of the ranges"));
    }
    Ok(checker.metadata)
}

struct Checker {
    /// What was found to be right so far.
    metadata: Metadata,
    /// The sum of the ranges so far.
    data_size: u64,
    /// The sum of the regions of a sparse layout so far.
    memory_size: u64,
}

impl Checker {
    fn add_region(&mut self, region: &Region) -> Result<()> {
        let Region { guest_base, size, file_offset, .. } = *region;
        let here = match self.metadata.layout {
            Layout::Packed => self.data_size,
            Layout::Sparse => self.memory_size,
        };
        if file_offset != here {
            return Err(Error::Metadata("file_offset is not where the region's data lies"));
        }
        let first = self.metadata.ranges.len();
        let mut reached = 0;
        for span in &region.data_ranges.0 {
            reached = self.add_range(span, reached)?;
        }
        if reached > size {
            return Err(Error::Metadata("a range ends past its region"));
        }
        if self.metadata.layout == Layout::Sparse {
            self.add_size(size)?;
        }
        let ranges = first..self.metadata.ranges.len();
        self.metadata.regions.push(RegionRecord { guest_base, size, ranges });
        Ok(())
    }

    /// Counts a region of a sparse layout, in which all of it has its place.
    fn add_size(&mut self, size: u64) -> Result<()> {
        if !is_aligned(size, self.metadata.page_size) {
            return Err(Error::Metadata("a region's size is not a multiple of a page"));
        }
        let sum = self.memory_size.checked_add(size);
        self.memory_size = sum.ok_or(Error::Metadata("the sum of all regions wraps"))?;
        Ok(())
    }

    /// Adds a range that begins at `reached` or later. Gives its end.
    fn add_range(&mut self, span: &Span, reached: u64) -> Result<u64> {
        let Span { start, end, .. } = *span;
        let page = self.metadata.page_size;
        if start >= end || !is_aligned(start, page) || !is_aligned(end, page) {
            return Err(Error::Metadata("a range is empty, inverted or not page-aligned"));
        }
        if start < reached {
            return Err(Error::Metadata("ranges overlap or are not ascending"));
        }
        let chunks = (end - start).div_ceil(self.metadata.chunk_size);
        let wanted = self.metadata.checksums.is_some().then_some(chunks);
        if span.crc.as_ref().map(|many| many.0.len() as u64) != wanted {
            return Err(Error::Metadata("a range has not one checksum for each chunk"));
        }
        let sum = self.data_size.checked_add(end - start);
        self.data_size = sum.ok_or(Error::Metadata("the sum of all ranges wraps"))?;
        self.metadata.ranges.push(DataRange { start, end });
        Ok(end)
    }
}

#[cfg(test)]
mod tests;
