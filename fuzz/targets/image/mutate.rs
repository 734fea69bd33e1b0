// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Changes to inputs. Few random changes get past the checksums, so most are made to the parts of
//! an input, and whatever depends on them is then mended; not always all of it.

use guestmem_fuzz::container::{join, split_anything};
use guestmem_fuzz::json::Json;
use guestmem_fuzz::mend::mend;
use guestmem_fuzz::random::Random;
use guestmem_fuzz::snapshot::Snapshot;
use libfuzzer_sys::fuzzer_mutate;

const PAGE: u64 = 4096;

/// Changes the first `size` of `bytes`, to at most `max`. Gives the new size.
pub fn mutate(bytes: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    if random.once_in(16) {
        return fuzzer_mutate(bytes, size, max);
    }
    let (data, text) = split_anything(&bytes[..size]);
    let (mut data, mut text) = (data.to_vec(), text.to_vec());
    match random.below(16) {
        0 | 1 => grown(&mut data, max),
        2 => grown(&mut text, max),
        _ => edit(&mut data, &mut text, &mut random),
    }
    if !random.once_in(6) {
        mend(&mut data, &mut text, !random.once_in(8));
    }
    // What is wrong once stays wrong, so that in time nearly all would be.
    if Snapshot::read(&text).is_none() && random.once_in(2) {
        text = fresh(&mut random).to_text();
        mend(&mut data, &mut text, true);
    }
    if random.once_in(8) {
        respell(&mut text, &mut random);
    }
    if random.once_in(4) {
        edit_page(&mut data, &mut random);
    }
    let file = join(&data, &text);
    if file.len() > max {
        return fuzzer_mutate(bytes, size, max);
    }
    bytes[..file.len()].copy_from_slice(&file);
    file.len()
}

/// The fuzzer's own changes to one part.
fn grown(part: &mut Vec<u8>, max: usize) {
    let len = part.len();
    let room = (len + 64).min(max.max(len));
    part.resize(room, 0);
    let len = fuzzer_mutate(part, len, room);
    part.truncate(len);
}

/// Changes of the metadata as a tree.
fn edit(data: &mut [u8], text: &mut Vec<u8>, random: &mut Random) {
    let Some(mut json) = Json::read(text) else { return grown(text, text.len() + 64) };
    for _ in 0..=random.below(2) {
        match random.below(16) {
            0..3 => edit_number(&mut json, random),
            3 => edit_items(&mut json, random),
            4 => edit_members(&mut json, random),
            5..7 => edit_ranges(&mut json, random),
            7..9 => edit_regions(&mut json, random),
            9..12 => toggle(&mut json, random),
            _ => edit_page(data, random),
        }
    }
    *text = json.to_text();
}

/// One of the nodes that `wanted` accepts.
fn any_node<'a>(
    json: &'a mut Json,
    random: &mut Random,
    wanted: fn(&Json) -> bool,
) -> Option<&'a mut Json> {
    let count = count_nodes(json, wanted);
    nth_node(json, &mut random.below(count.max(1)), wanted)
}

fn count_nodes(json: &Json, wanted: fn(&Json) -> bool) -> usize {
    let below: usize = match json {
        Json::Array(items) => items.iter().map(|item| count_nodes(item, wanted)).sum(),
        Json::Object(members) => members.iter().map(|(_, item)| count_nodes(item, wanted)).sum(),
        _ => 0,
    };
    below + usize::from(wanted(json))
}

fn nth_node<'a>(
    json: &'a mut Json,
    skip: &mut usize,
    wanted: fn(&Json) -> bool,
) -> Option<&'a mut Json> {
    if wanted(json) {
        if *skip == 0 {
            return Some(json);
        }
        *skip -= 1;
    }
    match json {
        Json::Array(items) => items.iter_mut().find_map(|item| nth_node(item, skip, wanted)),
        Json::Object(members) => {
            members.iter_mut().find_map(|(_, item)| nth_node(item, skip, wanted))
        }
        _ => None,
    }
}

fn edit_number(json: &mut Json, random: &mut Random) {
    let Some(node) = any_node(json, random, |node| matches!(node, Json::Number(_))) else { return };
    let old = node.number().unwrap_or(0);
    let new = match random.below(12) {
        0 => 0,
        1 => 1 << 63,
        2 => u64::MAX,
        3 => u64::MAX - PAGE + 1,
        4 => old.wrapping_add(1),
        5 => old.wrapping_sub(1),
        6..8 => old.wrapping_add(PAGE),
        8..10 => old.wrapping_sub(PAGE),
        10 => 1 << random.below(64),
        _ => {
            let odd = random.pick(&["-1", "1e400", "1.0", "-0", "18446744073709551616", "1e3"]);
            *node = Json::Number(odd.into());
            return;
        }
    };
    *node = number(new);
}

/// Doubles, moves or takes away an item of an array.
fn edit_items(json: &mut Json, random: &mut Random) {
    let wanted = |node: &Json| node.items().is_some_and(|items| !items.is_empty());
    let Some(items) = any_node(json, random, wanted).and_then(Json::items_mut) else { return };
    let (one, other) = (random.below(items.len()), random.below(items.len()));
    match random.below(3) {
        0 => items.insert(other, items[one].clone()),
        1 => items.swap(one, other),
        _ => drop(items.remove(one)),
    }
}

/// Adds, renames or takes away a member of an object.
fn edit_members(json: &mut Json, random: &mut Random) {
    let wanted = |node: &Json| matches!(node, Json::Object(members) if !members.is_empty());
    let Some(Json::Object(members)) = any_node(json, random, wanted) else { return };
    let at = random.below(members.len());
    match random.below(5) {
        0 => drop(members.remove(at)),
        1 => members[at].0.push('x'),
        2 => members.push(members[at].clone()),
        3 => members.insert(at, ("x\u{1}\"".into(), nested(random))),
        _ => members[at].1 = nested(random),
    }
}

fn nested(random: &mut Random) -> Json {
    let mut json = Json::Text("\u{e9}\u{1f600}".into());
    for _ in 0..random.pick(&[0, 1, 2, 125, 126, 127, 128]) {
        json = match random.below(2) {
            0 => Json::Array(vec![json]),
            _ => Json::Object(vec![("k".into(), json)]),
        };
    }
    json
}

/// Metadata of some regions, to be mended.
fn fresh(random: &mut Random) -> Json {
    let mut json = Json::read(
        br#"{"format":"guestmem","version":1,"layout":"","compressed":false,"page_size":4096,
        "data_size":0,"checksum":"","chunk_size":1048576,"regions":[]}"#,
    )
    .expect("JSON");
    edit_regions(&mut json, random);
    for (key, values) in CHOICES {
        *json.get_mut(key).expect("it is there") = Json::Text(random.pick(&values).into());
    }
    json
}

/// Gives a region other ranges.
fn edit_ranges(json: &mut Json, random: &mut Random) {
    let page = json.get("page_size").and_then(Json::number).unwrap_or(PAGE);
    let regions = json.get_mut("regions").and_then(Json::items_mut);
    let Some(regions) = regions.filter(|regions| !regions.is_empty()) else { return };
    let at = random.below(regions.len());
    let size = regions[at].get("size").and_then(Json::number).unwrap_or(0);
    if let Some(old) = regions[at].get_mut("data_ranges") {
        *old = some_ranges(size, page.max(1), random);
    }
}

/// Gives the memory other regions, and pages of some size.
fn edit_regions(json: &mut Json, random: &mut Random) {
    let page = PAGE << random.pick(&[0, 0, 0, 1, 2]);
    let (mut regions, mut base) = (Vec::new(), random.pick(&[0, 1, 1 << 20]) * page);
    for _ in 0..random.below(4) {
        let size = (1 + random.below(3) as u64) * page;
        regions.push(object([
            ("guest_base", number(base)),
            ("size", number(size)),
            ("file_offset", number(0)),
            ("data_ranges", some_ranges(size, page, random)),
        ]));
        base += size + random.pick(&[0, 0, 1, 1 << 20]) * page;
    }
    for (key, value) in [("regions", Json::Array(regions)), ("page_size", number(page))] {
        if let Some(old) = json.get_mut(key) {
            *old = value;
        }
    }
}

const SELDOM: [u64; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Ranges in order, as a rule.
fn some_ranges(size: u64, page: u64, random: &mut Random) -> Json {
    let (mut ranges, mut start) = (Vec::new(), random.below(2) as u64);
    let pages = (size / page).min(16);
    while start < pages {
        // At times past the region or into the next range.
        let end = (start + 1 + random.below(3) as u64).min(pages) + random.pick(&SELDOM);
        ranges.push(object([("start", number(start * page)), ("end", number(end * page))]));
        start = end + random.below(3) as u64;
    }
    Json::Array(ranges)
}

fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(members.map(|(key, value)| (key.into(), value)).into())
}

fn number(value: u64) -> Json {
    Json::Number(value.to_string())
}

const CHOICES: [(&str, [&str; 2]); 2] =
    [("layout", ["packed", "sparse"]), ("checksum", ["none", "crc32c"])];

/// Another layout, or with checksums instead of without.
fn toggle(json: &mut Json, random: &mut Random) {
    let (key, values) = random.pick(&CHOICES);
    if let Some(value) = json.get_mut(key) {
        *value = Json::Text(random.pick(&values).into());
    }
}

/// Spells one character as an escape, which in a string means the same.
fn respell(text: &mut Vec<u8>, random: &mut Random) {
    let Ok(old) = std::str::from_utf8(text) else { return };
    let is_wanted = |char: &char| char.is_ascii_alphabetic() || !char.is_ascii();
    let spots: Vec<_> = old.char_indices().filter(|(_, char)| is_wanted(char)).collect();
    if !spots.is_empty() {
        let (at, char) = random.pick(&spots);
        let mut units = [0; 2];
        let escapes = char.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}"));
        let escapes: String = escapes.collect();
        text.splice(at..at + char.len_utf8(), escapes.into_bytes());
    }
}

fn edit_page(data: &mut [u8], random: &mut Random) {
    let pages = data.len() / PAGE as usize;
    if pages > 0 {
        let page = &mut data[random.below(pages) * PAGE as usize..][..PAGE as usize];
        let byte = random.pick(&[0, 0, 1, 255]);
        match random.below(2) {
            0 => page.fill(byte),
            _ => page[random.below(PAGE as usize)] = byte,
        }
    }
}
