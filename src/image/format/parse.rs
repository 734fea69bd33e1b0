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
mod tests {
    use super::*;
    use crate::image::format::metadata::tests::sample;

    fn text(checksummed: bool) -> String {
        String::from_utf8(sample(checksummed).to_text().unwrap()).unwrap()
    }

    fn is_malformed(text: &str) -> bool {
        matches!(parse(text.as_bytes()), Err(Error::Metadata(_)))
    }

    fn is_unsupported(text: &str) -> bool {
        matches!(parse(text.as_bytes()), Err(Error::Unsupported(_)))
    }

    #[test]
    fn what_was_written_is_read() {
        for checksummed in [true, false] {
            assert_eq!(parse(text(checksummed).as_bytes()).unwrap(), sample(checksummed));
        }
    }

    #[test]
    fn a_sparse_layout_has_its_regions_one_after_the_other() {
        let sparse = Metadata { layout: Layout::Sparse, ..sample(true) };
        let text = String::from_utf8(sparse.to_text().unwrap()).unwrap();
        assert_eq!(parse(text.as_bytes()).unwrap(), sparse);
        for (from, to) in [
            ("\"file_offset\":4194304", "\"file_offset\":1069056"),
            ("\"size\":4194304", "\"size\":4198400"),
            ("\"size\":8192", "\"size\":8193"),
            ("\"size\":8192", "\"size\":18446744073709547520"),
        ] {
            assert!(text.contains(from));
            assert!(is_malformed(&text.replace(from, to)), "{to}");
        }
    }

    #[test]
    fn order_white_space_and_unknown_keys_do_not_matter() {
        let mut value: serde_json::Value = serde_json::from_str(&text(true)).unwrap();
        value["device"] = serde_json::json!({"state": [1.5e300, -1, null, "\u{1}"], "size": "x"});
        value["regions"][0]["name"] = "low".into();
        value["regions"][0]["data_ranges"][1]["note"] = serde_json::json!([[]]);
        // That crate sorts keys, so they come in another order here.
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(parse(pretty.as_bytes()).unwrap(), sample(true));
        let escaped = text(true).replace("\"size\"", "\"\\u0073\\u0069ze\"");
        assert_eq!(parse(escaped.as_bytes()).unwrap(), sample(true));
    }

    #[test]
    fn every_truncation_is_refused() {
        let text = text(true);
        for len in 0..text.len() {
            assert!(is_malformed(&text[..len]));
        }
        for tail in ["x", "\0", "{}", ",", "]"] {
            assert!(is_malformed(&(text.clone() + tail)));
        }
        assert!(parse((text + " \n\t\r").as_bytes()).is_ok());
    }

    /// A flipped bit is refused, or changes a value that only live memory or the data can tell.
    #[test]
    fn every_flipped_bit_is_refused_or_seen() {
        for checksummed in [true, false] {
            let text = text(checksummed);
            for at in 0..text.len() {
                for bit in 0..8 {
                    let mut flipped = text.as_bytes().to_vec();
                    flipped[at] ^= 1 << bit;
                    if let Ok(read) = parse(&flipped) {
                        assert_ne!(read, sample(checksummed));
                    }
                }
            }
        }
    }

    #[test]
    fn every_number_replaced_is_refused_or_seen() {
        let text = text(true);
        let is_digit = |at: usize| text.as_bytes()[at].is_ascii_digit();
        // The digits in "crc32c" are no number.
        let is_start =
            |&at: &usize| is_digit(at) && !text.as_bytes()[at - 1].is_ascii_alphanumeric();
        let mut numbers = 0;
        for start in (1..text.len()).filter(is_start) {
            let len = (start..).take_while(|&at| is_digit(at)).count();
            let with = |number: &str| format!("{}{number}{}", &text[..start], &text[start + len..]);
            for number in ["0", "9223372036854775808", "18446744073709551615", "4294967296"] {
                match parse(with(number).as_bytes()) {
                    Ok(read) if &text[start..start + len] != number => {
                        assert_ne!(read, sample(true), "{start} {number}")
                    }
                    Ok(read) => assert_eq!(read, sample(true)),
                    Err(error) => {
                        assert!(matches!(error, Error::Metadata(_) | Error::Unsupported(_)))
                    }
                }
            }
            let not_whole =
                ["-1", "1e400", "\"1\"", "1.0", "null", "true", "[]", "{}", "18446744073709551616"];
            for bad in not_whole {
                assert!(is_malformed(&with(bad)), "{start} {bad}");
            }
            numbers += 1;
        }
        assert_eq!(numbers, 4 + 3 * 3 + 4 * 2 + 5);
    }

    #[test]
    fn other_formats_versions_layouts_are_unsupported() {
        let text = text(true);
        for (from, to) in [
            ("\"guestmem\"", "\"other\""),
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1", "\"version\":0"),
            ("\"compressed\":false", "\"compressed\":true"),
            ("\"packed\"", "\"other\""),
            ("\"crc32c\"", "\"sha256\""),
        ] {
            assert!(is_unsupported(&text.replace(from, to)), "{to}");
        }
        // Whatever another version looks like, it is another version; but it is JSON.
        let other = "{\"regions\":7,\"version\":2,\"format\":\"guestmem\"}";
        assert!(is_unsupported(other));
        assert!(is_malformed(&other[..other.len() - 1]));
        assert!(is_malformed(&other.replace("{", "{\"version\":2,")));
    }

    #[test]
    fn every_key_is_needed_and_none_stands_twice() {
        let text = text(true);
        let inner = ["guest_base", "size", "file_offset", "data_ranges", "start", "end", "crc"];
        let outer =
            ["format", "version", "layout", "compressed", "page_size", "data_size", "checksum"];
        for key in outer.iter().chain(&["chunk_size", "regions"]).chain(&inner) {
            let quoted = format!("\"{key}\":");
            assert!(text.contains(&quoted), "{key}");
            assert!(is_malformed(&text.replacen(&quoted, "\"other\":", 1)), "{key}");
            let twice = format!("{quoted}0,{quoted}");
            assert!(is_malformed(&text.replacen(&quoted, &twice, 1)), "{key}");
        }
    }

    #[test]
    fn ranges_that_make_no_sense_are_refused() {
        let text = text(true);
        let first = "{\"start\":0,\"end\":4096,\"crc\":[0]}";
        assert!(text.contains(first));
        for bad in [
            "{\"start\":4096,\"end\":0,\"crc\":[0]}",
            "{\"start\":0,\"end\":0,\"crc\":[]}",
            "{\"start\":1,\"end\":4096,\"crc\":[0]}",
            "{\"start\":0,\"end\":4095,\"crc\":[0]}",
            "{\"start\":12288,\"end\":16384,\"crc\":[0]}",
            "{\"start\":0,\"end\":4096,\"crc\":[]}",
            "{\"start\":0,\"end\":4096,\"crc\":[0,0]}",
            "{\"start\":0,\"end\":4096,\"crc\":[4294967296]}",
            "{\"start\":0,\"end\":18446744073709547520,\"crc\":[0]}",
            "{\"start\":4294967296,\"end\":4294971392,\"crc\":[0]}",
            "{\"start\":0,\"end\":4096,\"crc\":0}",
            "[]",
            "0",
        ] {
            assert!(is_malformed(&text.replacen(first, bad, 1)), "{bad}");
            let doubled = format!("{first},{first}");
            assert!(is_malformed(&text.replacen(first, &doubled, 1)));
        }
        let last = "\"start\":4190208,\"end\":4194304";
        assert!(text.contains(last));
        assert!(is_malformed(&text.replace(last, "\"start\":4190208,\"end\":4198400")));
        assert!(is_malformed(&text.replace("\"data_size\":1077248", "\"data_size\":1077249")));
        assert!(is_malformed(&text.replace("\"file_offset\":1069056", "\"file_offset\":0")));
        let plain = super::tests::text(false);
        assert!(is_malformed(&plain.replacen("4096}", "4096,\"crc\":[0]}", 1)));
    }

    #[test]
    fn page_and_chunk_sizes_are_checked() {
        let text = text(true);
        let with = |page: u64, chunk: u64| {
            text.replace("\"page_size\":4096", &format!("\"page_size\":{page}"))
                .replace("\"chunk_size\":1048576", &format!("\"chunk_size\":{chunk}"))
        };
        for (page, chunk) in [
            (4096, 0),
            (4096, 4095),
            (4096, 2 << 20),
            (4096, 6144),
            (0, 4096),
            (1, 4096),
            (512, 1 << 20),
            (12288, 12288),
            (2 << 20, 2 << 20),
            (8192, 4096),
            (8192, 1 << 20),
        ] {
            assert!(is_malformed(&with(page, chunk)), "{page} {chunk}");
        }
        // Five chunks of any size that cuts the second range in two.
        let read = parse(with(4096, 1 << 20).as_bytes()).unwrap();
        let smaller = parse(with(4096, 200 * 4096).as_bytes()).unwrap();
        assert_eq!(smaller, Metadata { chunk_size: 200 * 4096, ..read });
    }

    #[test]
    fn the_limit_of_the_text_is_kept() {
        let padding = MAX_TEXT as usize - text(true).len();
        let mut long = text(true) + &" ".repeat(padding);
        assert!(parse(long.as_bytes()).is_ok());
        long.push(' ');
        assert!(is_malformed(&long));
    }
}
