// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The input as an image file: guestmem_image_metadata, guestmem_load.

use super::Input;
use guestmem::ffi::image::{
    GUESTMEM_LOAD_MAP, GUESTMEM_LOAD_VERIFY, guestmem_image_metadata, guestmem_load,
    guestmem_load_options,
};
use guestmem::ffi::query::guestmem_free;
use guestmem::ffi::status::*;
use guestmem_fuzz::files::Scratch;
use guestmem_fuzz::memory::{Memory, PAGE};
use guestmem_fuzz::progress::{Progress, tell};
use guestmem_fuzz::random::Random;
use guestmem_fuzz::snapshot::Snapshot;
use guestmem_fuzz::tally::count;
use std::ffi::CStr;
use std::ptr::null_mut;

/// Reads the input's metadata and loads it in each way.
pub fn run(input: &Input, random: &mut Random) {
    let mut file = Scratch::new();
    file.set(input.file);
    let image = input.snapshot.as_ref().filter(|_| input.is_image);
    let image = image.map(|snapshot| Image::new(snapshot, input.data));
    let path = file.path();
    read_metadata(&path, input);
    for (call, flags) in [
        ("load", 0),
        ("load, mapped", GUESTMEM_LOAD_MAP),
        ("load, verified", GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY),
        ("load, verify alone", GUESTMEM_LOAD_VERIFY),
    ] {
        load(image.as_ref(), &path, flags, call, random);
    }
    assert!(file.bytes() == input.file, "the image was changed");
}

fn read_metadata(path: &CStr, input: &Input) {
    let mut metadata = null_mut();
    // SAFETY: a path, and a pointer to be set.
    let code = unsafe { guestmem_image_metadata(path.as_ptr(), &mut metadata) };
    count("image_metadata", code);
    if !input.is_image {
        assert!([GUESTMEM_E_METADATA, GUESTMEM_E_UNSUPPORTED].contains(&code), "{code}");
        assert!(metadata.is_null());
        return;
    }
    assert_eq!(code, GUESTMEM_OK);
    // SAFETY: text from the call, which is ours to free.
    unsafe {
        assert!(CStr::from_ptr(metadata).to_bytes() == input.text);
        guestmem_free(metadata.cast());
    }
}

fn load(image: Option<&Image>, path: &CStr, flags: u64, call: &'static str, random: &mut Random) {
    let mut progress = Progress::new(random.pick(&[0, 0, 0, 0, 0, 0, 0, 1]));
    let options = guestmem_load_options {
        flags,
        threads: random.below(4) as u32,
        reserved: 0,
        progress: Some(tell),
        progress_user: progress.user(),
    };
    let (mut out, size) = (null_mut(), size_of_val(&options));
    // SAFETY: a path, options of the size that is said, and a pointer to be set.
    let code = unsafe { guestmem_load(path.as_ptr(), &options, size, &mut out) };
    count(call, code);
    let right: &[i32] = match image {
        None => &[GUESTMEM_E_METADATA, GUESTMEM_E_UNSUPPORTED],
        Some(_) if progress.has_stopped() => &[GUESTMEM_E_CANCELLED],
        Some(image) => &[image.right_code(flags)],
    };
    assert!(right.contains(&code), "{call}: {code}, not one of {right:?}");
    assert_eq!(out.is_null(), code != GUESTMEM_OK);
    if code == GUESTMEM_OK {
        assert!(progress.has_ended());
        // SAFETY: from the call.
        let memory = unsafe { Memory::from_handle(out) };
        image.expect("a right one").check(&memory, flags);
    }
}

/// An image without fault, but for its data.
struct Image<'a> {
    snapshot: &'a Snapshot,
    checksums_match: bool,
    /// What memory holds once it is loaded.
    contents: Vec<Vec<u8>>,
    /// The bytes in the file. When mapped, data in what should be holes may show.
    raw: Vec<Vec<u8>>,
}

impl<'a> Image<'a> {
    fn new(snapshot: &'a Snapshot, data: &[u8]) -> Self {
        let mut rest = data;
        let mut raw = Vec::new();
        for (_, size) in snapshot.map() {
            let (bytes, behind) = rest.split_at(size as usize);
            rest = behind;
            raw.push(bytes.to_vec());
        }
        let checksums_match = snapshot.chunks().iter().all(|chunk| chunk.is_good(data));
        Image { snapshot, checksums_match, contents: snapshot.contents(data), raw }
    }

    fn right_code(&self, flags: u64) -> i32 {
        let maps = flags & GUESTMEM_LOAD_MAP != 0;
        let verifies = flags & GUESTMEM_LOAD_VERIFY != 0;
        let is_sound = self.checksums_match && !(maps && self.contents != self.raw);
        match () {
            _ if verifies && !self.snapshot.is_checked => GUESTMEM_E_UNSUPPORTED,
            _ if is_sound || (maps && !verifies) => GUESTMEM_OK,
            _ => GUESTMEM_E_CORRUPT,
        }
    }

    fn check(&self, memory: &Memory, flags: u64) {
        assert!(memory.map() == self.snapshot.map());
        let found = memory.contents();
        if flags & GUESTMEM_LOAD_MAP == 0 {
            assert!(found == self.contents);
        }
        for ((found, raw), right) in found.iter().zip(&self.raw).zip(&self.contents) {
            let pages = found.chunks(PAGE).zip(raw.chunks(PAGE)).zip(right.chunks(PAGE));
            for ((found, raw), right) in pages {
                assert!(found == raw || found == right);
            }
        }
        // Shows whether what is mapped is a copy.
        memory.fill(|| Some(0x5a));
        assert!(!memory.is_tainted());
    }
}
