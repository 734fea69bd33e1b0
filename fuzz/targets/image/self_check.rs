// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Before a run: real snapshots must be right in the eyes of the independent reader, and damaged
//! ones wrong. Otherwise nothing behind its judgement would be tried.

use super::{Input, try_all};
use guestmem::ffi::snapshot::{
    GUESTMEM_LAYOUT_PACKED, GUESTMEM_LAYOUT_SPARSE, GUESTMEM_SNAPSHOT_NO_CHECKSUM,
};
use guestmem_fuzz::container::join;
use guestmem_fuzz::memory::Memory;

/// Ends the process where something is not as it must be.
pub fn run() {
    let memory = Memory::new(&[(0, 0x3000), (0x10_0000, 0x2000)], 0).expect("a small memory");
    let mut bytes = [Some(1), None, Some(2), Some(3), None].into_iter();
    memory.fill(|| bytes.next().flatten());
    for layout in [GUESTMEM_LAYOUT_PACKED, GUESTMEM_LAYOUT_SPARSE] {
        for flags in [0, GUESTMEM_SNAPSHOT_NO_CHECKSUM] {
            let (mut data, text) = memory.snapshot(layout, flags);
            check(&data, &text, layout == GUESTMEM_LAYOUT_SPARSE, true);
            data[0] ^= 1;
            check(&data, &text, layout == GUESTMEM_LAYOUT_SPARSE, flags != 0);
        }
    }
}

fn check(data: &[u8], text: &[u8], is_sparse: bool, is_good: bool) {
    let file = join(data, text);
    let input = Input::new(&file);
    let snapshot = input.snapshot.as_ref().expect("the metadata is right");
    assert_eq!((snapshot.is_sparse, input.is_image), (is_sparse, is_sparse));
    assert_eq!(snapshot.chunks().iter().all(|chunk| chunk.is_good(data)), is_good);
    try_all(&file);
}
