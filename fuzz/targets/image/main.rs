// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Fuzzes what reads snapshots and image files: each input is taken as an image file, and its data
//! and metadata as a snapshot. An independent reader says which answers are right.
#![no_main]

mod loading;
mod mutate;
mod restoring;
mod self_check;

use guestmem_fuzz::abort_on_panic;
use guestmem_fuzz::container::{split, split_anything};
use guestmem_fuzz::crc32c::crc32c;
use guestmem_fuzz::files::{memfd_mappings, open_fds};
use guestmem_fuzz::random::Random;
use guestmem_fuzz::snapshot::Snapshot;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mutate::mutate;
use std::cell::Cell;

fuzz_target!(
    init: {
        abort_on_panic();
        self_check::run();
    },
    |bytes: &[u8]| try_all(bytes)
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(data, size, max_size, seed)
});

/// What the fuzzer gives, as both that it may be.
struct Input<'a> {
    file: &'a [u8],
    data: &'a [u8],
    text: &'a [u8],
    /// None when the metadata is not right.
    snapshot: Option<Snapshot>,
    /// Also the trailer is right, and what it says.
    is_image: bool,
    /// The memory is small enough to be compared.
    is_moderate: bool,
}

impl<'a> Input<'a> {
    fn new(file: &'a [u8]) -> Self {
        const MAX_MEMORY: u64 = 1 << 18;
        let (data, text) = split_anything(file);
        let snapshot = Snapshot::read(text);
        let size = snapshot.as_ref().and_then(Snapshot::memory_size);
        let is_sparse = snapshot.as_ref().is_some_and(|snapshot| snapshot.is_sparse);
        let is_image = is_sparse && split(file).is_some() && size == Some(data.len() as u64);
        let is_moderate = size.is_some_and(|size| size <= MAX_MEMORY);
        Input { file, data, text, snapshot, is_image, is_moderate }
    }
}

fn try_all(bytes: &[u8]) {
    let fds = open_fds();
    let input = Input::new(bytes);
    let random = &mut Random::new(crc32c(bytes));
    loading::run(&input, random);
    restoring::run(&input, random);
    assert_eq!(open_fds(), fds, "descriptors were leaked");
    check_mappings_at_times();
}

fn check_mappings_at_times() {
    thread_local!(static RUNS: Cell<u32> = const { Cell::new(0) });
    RUNS.set(RUNS.get() + 1);
    if RUNS.get().is_multiple_of(1024) {
        assert_eq!(memfd_mappings(), 0, "mappings were leaked");
    }
}
