// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Tests of `proc`.

use crate::host::areas::{MemoryKind, parse_area};
use crate::host::smaps::{flagged_areas, resident_areas};

#[test]
fn lines_of_the_map_are_told_apart() {
    let kind = |line: &str| parse_area(line.as_bytes()).map(|area| area.kind);
    let shared = "7f0000000000-7f0000001000 rw-s 00000000 00:01 1026 /dev/zero (deleted)";
    assert_eq!(kind(shared), Some(MemoryKind::Shared));
    let anonymous = "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ";
    assert_eq!(kind(anonymous), Some(MemoryKind::PrivateAnonymous));
    let zero = "7f0000000000-7f0000001000 rw-p 00000000 00:06 4 /dev/zero";
    assert_eq!(kind(zero), Some(MemoryKind::PrivateAnonymous));
    let huge = "7f0000000000-7f0000200000 rw-p 00000000 00:0f 12 /anon_hugepage (deleted)";
    assert_eq!(kind(huge), Some(MemoryKind::PrivateHuge));
    let file = "7f0000000000-7f0000001000 r--p 00000000 fe:00 77 /tmp/\u{e9}t\u{e9}";
    assert_eq!(kind(file), Some(MemoryKind::PrivateFile));
    assert_eq!(kind("ffff"), None);
    assert_eq!(kind(""), None);
}

#[test]
fn own_memory_is_found() {
    let local = 0u8;
    let start = &raw const local as u64;
    let holds = |&(first, end, _): &(u64, u64, u64)| first <= start && start < end;
    assert!(resident_areas().unwrap().iter().any(holds));
    assert!(flagged_areas("rd").unwrap().iter().any(|&(first, end)| holds(&(first, end, 0))));
}
