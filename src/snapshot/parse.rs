// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Reading metadata that may come from an enemy: every number is checked before anything uses it,
//! in time and memory proportional to the text.

use super::json::{Json, Text};
use super::metadata::{CHUNK_SIZE, DataRange, Layout, MAX_TEXT, Metadata, RegionRecord};
use crate::address::is_aligned;
use crate::alloc::push;
use crate::error::{Error, Result};

/// The smallest page of any Linux system.
const MIN_PAGE: u64 = 4096;

/// Reads the metadata of a snapshot. What depends on no live memory is checked: the
/// result's ranges are aligned, not empty, ascending, disjoint, within their region, and come with
/// the checksums that they need.
pub fn parse(text: &[u8]) -> Result<Metadata> {
    if text.len() as u64 > MAX_TEXT {
        return Err(Error::Metadata("the metadata is longer than 64 MiB"));
    }
    let text = std::str::from_utf8(text).map_err(|_| Error::Metadata("not UTF-8"))?;
    let mut fields = Fields::default();
    let mut json = Json::new(text);
    let mut reader = None;
    json.begin_object()?;
    while let Some(key) = json.next_key()? {
        // Only the first time: what stands twice is refused at the end of the object.
        if key.is("regions")
            && !fields.has("regions")
            && let Ok(frame) = fields.frame()
        {
            // Everything else is known and right, as when this library wrote it.
            let mut early = Reader::new(frame);
            early.read_regions(&mut json)?;
            fields.note(key, "[]");
            reader = Some(early);
        } else {
            fields.note(key, json.skip()?);
        }
    }
    json.end()?;
    let reader = match reader {
        Some(reader) => reader,
        None => {
            let mut reader = Reader::new(fields.frame()?);
            reader.read_regions(&mut fields.get("regions")?)?;
            reader
        }
    };
    if reader.data_size != fields.number("data_size")? {
        return Err(Error::Metadata("data_size is not the sum of all ranges"));
    }
    Ok(reader.metadata)
}

const KEYS: [&str; 9] = [
    "format",
    "version",
    "layout",
    "compressed",
    "page_size",
    "data_size",
    "checksum",
    "chunk_size",
    "regions",
];

/// The texts of the outer object's values. They are found before any is judged, because their order
/// is free, and another version may give the others another form.
#[derive(Default)]
struct Fields<'a>([Option<&'a str>; KEYS.len()]);

impl<'a> Fields<'a> {
    fn note(&mut self, key: Text, value: &'a str) {
        if let Some(index) = KEYS.iter().position(|known| key.is(known)) {
            self.0[index] = Some(value);
        }
    }

    /// Everything but the regions.
    fn frame(&self) -> Result<Metadata> {
        self.check_format()?;
        let layout = self.layout()?;
        let checksums = self.checksummed()?.then(Vec::new);
        let page_size = self.number("page_size")?;
        if !page_size.is_power_of_two() || !(MIN_PAGE..=CHUNK_SIZE).contains(&page_size) {
            return Err(Error::Metadata("page_size is not the size of a page"));
        }
        let chunk_size = self.number("chunk_size")?;
        if !(page_size..=CHUNK_SIZE).contains(&chunk_size) || !is_aligned(chunk_size, page_size) {
            return Err(Error::Metadata("chunk_size is not a multiple of a page up to 1 MiB"));
        }
        let (regions, ranges) = (Vec::new(), Vec::new());
        Ok(Metadata { layout, page_size, chunk_size, checksums, regions, ranges })
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_ok()
    }

    fn get(&self, key: &str) -> Result<Json<'a>> {
        let index = KEYS.iter().position(|known| *known == key);
        let value = index.and_then(|index| self.0[index]);
        value.map(Json::new).ok_or(Error::Metadata("a key is missing"))
    }

    fn text(&self, key: &str) -> Result<Text<'a>> {
        self.get(key)?.string()
    }

    fn number(&self, key: &str) -> Result<u64> {
        let mut json = self.get(key)?;
        json.u64()
    }

    fn check_format(&self) -> Result<()> {
        if !self.text("format")?.is("guestmem") {
            return Err(Error::Unsupported("a snapshot of another format"));
        }
        if self.number("version")? != 1 {
            return Err(Error::Unsupported("a snapshot of another version"));
        }
        if self.get("compressed")?.bool()? {
            return Err(Error::Unsupported("a compressed snapshot"));
        }
        Ok(())
    }

    fn layout(&self) -> Result<Layout> {
        let layout = self.text("layout")?;
        if layout.is("packed") {
            Ok(Layout::Packed)
        } else if layout.is("sparse") {
            Ok(Layout::Sparse)
        } else {
            Err(Error::Unsupported("a snapshot of another layout"))
        }
    }

    fn checksummed(&self) -> Result<bool> {
        let kind = self.text("checksum")?;
        match kind.is("crc32c") {
            false if !kind.is("none") => Err(Error::Unsupported("an unknown kind of checksum")),
            known => Ok(known),
        }
    }
}

struct Reader {
    metadata: Metadata,
    /// The sum of the ranges so far.
    data_size: u64,
    /// The sum of the regions of a sparse layout so far.
    memory_size: u64,
}

impl Reader {
    fn new(frame: Metadata) -> Self {
        Reader { metadata: frame, data_size: 0, memory_size: 0 }
    }

    fn read_regions(&mut self, json: &mut Json) -> Result<()> {
        json.begin_array()?;
        while json.next_item()? {
            self.read_region(json)?;
        }
        Ok(())
    }

    fn read_region(&mut self, json: &mut Json) -> Result<()> {
        let (mut guest_base, mut size, mut file_offset) = (None, None, None);
        let mut ranges = None;
        let here = match self.metadata.layout {
            Layout::Packed => self.data_size,
            Layout::Sparse => self.memory_size,
        };
        json.begin_object()?;
        while let Some(key) = json.next_key()? {
            if key.is("guest_base") {
                guest_base = Some(json.u64()?);
            } else if key.is("size") {
                size = Some(json.u64()?);
            } else if key.is("file_offset") {
                file_offset = Some(json.u64()?);
            } else if key.is("data_ranges") {
                ranges = Some(self.read_ranges(json)?);
            } else {
                json.skip()?;
            }
        }
        let (Some(guest_base), Some(size), Some(file_offset), Some(ranges)) =
            (guest_base, size, file_offset, ranges)
        else {
            return Err(Error::Metadata("a region lacks a key"));
        };
        if file_offset != here {
            return Err(Error::Metadata("file_offset is not where the region's data lies"));
        }
        if self.metadata.ranges[ranges.clone()].last().is_some_and(|last| last.end > size) {
            return Err(Error::Metadata("a range ends past its region"));
        }
        if self.metadata.layout == Layout::Sparse {
            self.add_region(size)?;
        }
        push(&mut self.metadata.regions, RegionRecord { guest_base, size, ranges })
    }

    /// Counts a region of a sparse layout, in which all of it has its place.
    fn add_region(&mut self, size: u64) -> Result<()> {
        if !is_aligned(size, self.metadata.page_size) {
            return Err(Error::Metadata("a region's size is not a multiple of a page"));
        }
        let sum = self.memory_size.checked_add(size);
        self.memory_size = sum.ok_or(Error::Metadata("the sum of all regions wraps"))?;
        Ok(())
    }

    fn read_ranges(&mut self, json: &mut Json) -> Result<std::ops::Range<usize>> {
        let first = self.metadata.ranges.len();
        let mut reached = 0;
        json.begin_array()?;
        while json.next_item()? {
            let range = self.read_range(json)?;
            if range.start < reached {
                return Err(Error::Metadata("ranges overlap or are not ascending"));
            }
            reached = range.end;
            let sum = self.data_size.checked_add(range.size());
            self.data_size = sum.ok_or(Error::Metadata("the sum of all ranges wraps"))?;
            push(&mut self.metadata.ranges, range)?;
        }
        Ok(first..self.metadata.ranges.len())
    }

    fn read_range(&mut self, json: &mut Json) -> Result<DataRange> {
        let (position, first) = (json.position(), self.checksum_count());
        let (range, count) = match self.read_plain_range(json)? {
            Some(found) => found,
            None => {
                json.go_back(position);
                self.metadata.checksums.iter_mut().for_each(|sums| sums.truncate(first));
                self.read_any_range(json)?
            }
        };
        let page = self.metadata.page_size;
        let is_sound = range.start < range.end;
        if !is_sound || !is_aligned(range.start, page) || !is_aligned(range.end, page) {
            return Err(Error::Metadata("a range is empty, inverted or not page-aligned"));
        }
        let chunks = range.size().div_ceil(self.metadata.chunk_size);
        if count != self.metadata.checksums.is_some().then_some(chunks) {
            return Err(Error::Metadata("a range has not one checksum for each chunk"));
        }
        Ok(range)
    }

    fn checksum_count(&self) -> usize {
        self.metadata.checksums.as_ref().map_or(0, Vec::len)
    }

    /// A range exactly as this library writes it, and the number of its checksums. Most of the text
    /// is this, so it has a short way of its own; None for all else, in whatever state.
    fn read_plain_range(&mut self, json: &mut Json) -> Result<Option<(DataRange, Option<u64>)>> {
        let bounds = |json: &mut Json| {
            let start = json.pass_exactly("{\"start\":").then(|| json.pass_digits())??;
            let end = json.pass_exactly(",\"end\":").then(|| json.pass_digits())??;
            Some(DataRange { start, end })
        };
        let Some(range) = bounds(json) else { return Ok(None) };
        let Some(checksums) = &mut self.metadata.checksums else {
            return Ok(json.pass_exactly("}").then_some((range, None)));
        };
        let mut count = 0;
        let mut goes_on = json.pass_exactly(",\"crc\":[");
        while goes_on {
            let Some(sum) = json.pass_digits().and_then(|sum| u32::try_from(sum).ok()) else {
                return Ok(None);
            };
            push(checksums, sum)?;
            count += 1;
            goes_on = json.pass_exactly(",");
        }
        Ok(json.pass_exactly("]}").then_some((range, Some(count))))
    }

    /// A range in any form that is right, and the number of its checksums, if it has some.
    fn read_any_range(&mut self, json: &mut Json) -> Result<(DataRange, Option<u64>)> {
        let (mut start, mut end, mut count) = (None, None, None);
        json.begin_object()?;
        while let Some(key) = json.next_key()? {
            if key.is("start") {
                start = Some(json.u64()?);
            } else if key.is("end") {
                end = Some(json.u64()?);
            } else if key.is("crc") {
                count = Some(self.read_checksums(json)?);
            } else {
                json.skip()?;
            }
        }
        let (Some(start), Some(end)) = (start, end) else {
            return Err(Error::Metadata("a range lacks a key"));
        };
        Ok((DataRange { start, end }, count))
    }

    /// Reads the checksums of a range. Gives their number.
    fn read_checksums(&mut self, json: &mut Json) -> Result<u64> {
        let contradiction = Error::Metadata("checksums in a snapshot that says it has none");
        let checksums = self.metadata.checksums.as_mut().ok_or(contradiction)?;
        let mut count = 0;
        json.begin_array()?;
        while json.next_item()? {
            let checksum = u32::try_from(json.u64()?);
            push(checksums, checksum.map_err(|_| Error::Metadata("a checksum exceeds 32 bits"))?)?;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::tests::sample;
    use super::*;

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
        for key in KEYS.iter().chain(&inner) {
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
