// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Metadata that was written is read; what was not is refused.

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
    let is_start = |&at: &usize| is_digit(at) && !text.as_bytes()[at - 1].is_ascii_alphanumeric();
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
    let outer = ["format", "version", "layout", "compressed", "page_size", "data_size", "checksum"];
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
