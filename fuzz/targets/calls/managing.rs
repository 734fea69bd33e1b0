// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 8: pages given back, and policies.

use super::host::residency;
use super::input::Record;
use super::model::{Codes, Region};
use super::world::World;
use guestmem::ffi::policy::*;
use guestmem::ffi::region::GUESTMEM_REGION_FD;
use guestmem::ffi::status::*;

const ALL: u64 = 31;

impl World<'_> {
    pub fn remove_range(&mut self, record: &Record) {
        let target = self.target(record);
        let (mut addr, mut len) = record.range(target.map());
        if record.choice() < 192 {
            // Few ranges are aligned by themselves.
            (addr, len) = (addr & !0xfff, len.saturating_add(0xfff) & !0xfff);
        }
        let right =
            target.right(false, |map| match map.pointer_code(addr, len, map.room(addr), false) {
                code if !code.is_ok() => code,
                _ if !addr.is_multiple_of(4096) || !len.is_multiple_of(4096) => {
                    Codes::of(GUESTMEM_E_NOT_ALIGNED)
                }
                _ => removed_code(map.at(addr).expect("a region")),
            });
        // SAFETY: a memory, or what the library can tell is none.
        let is_ok = self.asker.ask("remove_range", Some((addr, len)), right, || unsafe {
            guestmem_remove_range(target.handle, addr, len)
        });
        if let Some(map) = target.map().filter(|_| is_ok) {
            let piece = &map.pieces(addr, len)[0];
            if !is_copy_of_file(&piece.region) {
                let is_resident = residency(piece.host(), piece.len).expect("still mapped");
                assert!(!is_resident.contains(&true), "host memory was not given back");
            }
        }
        let zeros = vec![0; if is_ok { len as usize } else { 0 }];
        self.wrote(target.map(), addr, len, Some(&zeros));
    }

    pub fn policy(&mut self, record: &Record) {
        let target = self.target(record);
        let asked = match record.choice() {
            0..64 => GUESTMEM_POLICY_DONTFORK | GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED,
            64..240 => u64::from(record.part(0)) & ALL,
            _ => record.value(),
        };
        let before = target.index.map_or(0, |index| self.memories[index].policy);
        let (all, regions) = (before | asked, target.map.clone().unwrap_or_default().0);
        let right = target.right(asked & !ALL != 0, |_| {
            regions
                .iter()
                .fold(Codes::OK, |right, region| joined(right, policy_code(region, asked)))
        });
        // SAFETY: a memory, or what the library can tell is none.
        let (is_ok, now) = unsafe {
            let (mem, asker) = (target.handle, &mut self.asker);
            let is_ok = asker
                .ask("set_memory_policy", None, right, || guestmem_set_memory_policy(mem, asked));
            (
                is_ok,
                asker.ask_value("memory_policy", target.index.is_none(), || {
                    guestmem_memory_policy(mem)
                }),
            )
        };
        let Some(index) = target.index else { return assert_eq!(now, 0) };
        assert!(before & !now == 0 && now & !all == 0, "{before:#x} + {asked:#x} -> {now:#x}");
        assert_eq!(is_ok, now == all && asked & !ALL == 0);
        assert!(asked & !ALL == 0 || now == before);
        self.memories[index].policy = now;
        regions.iter().for_each(|region| self.check_range(target.map(), region.start, region.size));
    }
}

fn is_copy_of_file(region: &Region) -> bool {
    region.is_private() && region.flags & GUESTMEM_REGION_FD != 0
}

fn removed_code(region: &Region) -> Codes {
    match () {
        _ if region.is_read_only() => Codes::of(GUESTMEM_E_READ_ONLY),
        // The kernel may offer no way.
        _ if region.is_callers() && is_copy_of_file(region) => Codes::OK.or(GUESTMEM_E_UNSUPPORTED),
        _ => Codes::OK,
    }
}

/// Merging is refused on what is shared; the kernel may lack or refuse some others.
pub fn policy_code(region: &Region, policy: u64) -> Codes {
    const ALWAYS: u64 = GUESTMEM_POLICY_DONTFORK | GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED;
    match () {
        _ if policy & GUESTMEM_POLICY_MERGEABLE != 0 && Region::is_in_memfd(region.flags) => {
            Codes::of(GUESTMEM_E_POLICY)
        }
        _ if policy & !ALWAYS == 0 => Codes::OK,
        _ => Codes::OK.or(GUESTMEM_E_POLICY),
    }
}

/// Of two regions: one that must be refused decides.
fn joined(one: Codes, other: Codes) -> Codes {
    let refused = Codes::of(GUESTMEM_E_POLICY);
    if one == refused || other == refused { refused } else { one.with(other) }
}
