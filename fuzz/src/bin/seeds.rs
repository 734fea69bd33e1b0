// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Writes the seeds of the target `image` into a folder: real image files, and snapshots in the
//! form that the target takes them in.

use guestmem::ffi::snapshot::{GUESTMEM_LAYOUT_PACKED, GUESTMEM_SNAPSHOT_NO_CHECKSUM};
use guestmem_fuzz::container::{join, split};
use guestmem_fuzz::json::Json;
use guestmem_fuzz::memory::Memory;
use guestmem_fuzz::mend::mend;
use std::fs;
use std::path::Path;

const PAGE: u64 = 4096;

/// A memory: name; address and size of each region, in pages; what fills each page, 0: nothing.
type Sample = (&'static str, &'static [(u64, u64)], &'static [u8]);

const SAMPLES: [Sample; 5] = [
    ("none", &[], &[]),
    ("blank", &[(0, 1)], &[0]),
    ("full", &[(16, 2)], &[0x11, 0x22]),
    ("two", &[(0, 3), (1 << 20, 1)], &[0x33, 0, 0x44, 0]),
    ("three", &[(0, 1), (1, 2), ((1 << 52) - 3, 2)], &[0, 0x55, 0x66, 0, 0x77]),
];

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("usage: seeds FOLDER");
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    for (name, map, fills) in SAMPLES {
        let memory = memory_of(map, fills);
        for (kind, flags) in [("", 0), ("-unchecked", GUESTMEM_SNAPSHOT_NO_CHECKSUM)] {
            memory.save(&folder.join(format!("{name}{kind}.img")), flags);
            let (data, text) = memory.snapshot(GUESTMEM_LAYOUT_PACKED, flags);
            fs::write(folder.join(format!("{name}{kind}.packed")), join(&data, &text))?;
        }
    }
    foreign(&folder.join("three.img"), &folder.join("foreign.img"))
}

fn memory_of(map: &[(u64, u64)], fills: &[u8]) -> Memory {
    let map: Vec<_> = map.iter().map(|(first, pages)| (first * PAGE, pages * PAGE)).collect();
    let memory = Memory::new(&map, 0).expect("memory of a few pages");
    let mut fills = fills.iter();
    memory.fill(|| fills.next().copied().filter(|&byte| byte != 0));
    memory
}

/// The same image as another writer might have made it: a checksum for each page, and keys that
/// nobody knows.
fn foreign(from: &Path, to: &Path) -> std::io::Result<()> {
    let file = fs::read(from)?;
    let (data, text) = split(&file).expect("an image");
    let (mut data, mut text) = (data.to_vec(), text.to_vec());
    let mut json = Json::read(&text).expect("metadata");
    *json.get_mut("chunk_size").expect("metadata has it") = Json::Number(PAGE.to_string());
    text = json.to_text();
    mend(&mut data, &mut text, false);
    let unknown = br#"{ "other:key" :{"":[null,true,-1.5e+300,"\u00e9\ud83d\ude00\n"]},"#;
    text.splice(..1, unknown.iter().copied());
    fs::write(to, join(&data, &text))
}
