// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Fuzzes the C API as a whole: each input is a sequence of calls, whose every answer, and all of
//! memory, is compared with a model written after the contract.
#![no_main]

mod ask;
mod asked;
mod asking;
mod bytes;
mod creating;
mod host;
mod hotplug;
mod input;
mod layouts;
mod managing;
mod model;
mod mutate;
mod slices;
mod snapshots;
mod transfers;
mod translating;
mod values;
mod views;
mod widths;
mod world;

use guestmem_fuzz::abort_on_panic;
use guestmem_fuzz::files::{memfd_mappings, open_fds};
use host::Files;
use input::{Record, Records};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mutate::mutate;
use std::cell::{Cell, OnceCell};
use world::World;

thread_local! {
    static FILES: OnceCell<Files> = const { OnceCell::new() };
    static RUNS: Cell<u32> = const { Cell::new(0) };
}

fuzz_target!(
    init: abort_on_panic(),
    |bytes: &[u8]| FILES.with(|files| try_all(bytes, files.get_or_init(Files::new)))
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(data, size, max_size, seed)
});

fn try_all(bytes: &[u8], files: &Files) {
    // What costs as much as some calls is done at times.
    RUNS.set(RUNS.get() + 1);
    let fds = RUNS.get().is_multiple_of(16).then(open_fds);
    let (mut world, mut records) = (World::new(files), Records::new(bytes));
    world.begin(&records.next().unwrap_or_default());
    while let Some(record) = records.next() {
        make(&mut world, &record, &mut records);
    }
    world.check_everything();
    world.end();
    drop(world);
    assert!(fds.is_none_or(|fds| fds == open_fds()), "descriptors were leaked");
    if RUNS.get().is_multiple_of(1024) {
        assert_eq!(memfd_mappings(), 0, "mappings were leaked");
    }
}

/// Makes the call that a record means; some take the next records too.
fn make(world: &mut World, record: &Record, records: &mut Records) {
    match record.call() % 48 {
        0 => world.new_plain(record, records),
        1 => world.new_with_options(record, records),
        2 | 3 => world.region_new(record, records),
        4 => world.new_from_regions(record),
        5 => world.ref_memory(record),
        6 => world.unref_memory(record),
        7 => world.ref_region(record),
        8 => world.unref_region(record),
        9 | 10 => world.add_region(record),
        11 | 12 => world.remove_region(record),
        13 => world.count_regions(record),
        14 => world.region_info(record),
        15 => world.find_region(record),
        16 => world.questions(record),
        17 => world.describe(record),
        18 => world.host_address(record),
        19 => world.guest_address(record),
        20 => world.files_behind(record),
        21 => world.slice(record),
        22 | 23 => world.slices(record),
        24 => world.read(record),
        25 => world.write(record),
        26 | 27 => world.read_all(record),
        28 | 29 => world.write_all(record),
        30 => world.fill(record),
        31 | 32 => world.copy(record),
        33..=35 => world.value(record),
        36 => world.slice_call(record),
        37 => world.transfer(record),
        38 => world.get_view(record),
        39 => world.view_is_current(record),
        40 => world.view_ptr(record),
        41 | 42 => world.view_value(record),
        43 => world.remove_range(record),
        44 => world.policy(record),
        45 => world.snapshot(record),
        46 => world.restore(record),
        _ => world.slice_call(record),
    }
}
