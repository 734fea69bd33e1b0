// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A memory in words for people and logs: one JSON object.

use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::host::pagemap::{PageMap, Wanted};
use crate::host::smaps;
use crate::host::text::to_json;
use crate::memory::guest::GuestMemory;
use crate::memory::options::Source;
use crate::memory::policy;
use crate::memory::region::MemoryRegion;
use serde::{Serialize, Serializer};
use std::os::fd::RawFd;

/// First address and end of a mapping, and how many of its bytes are in memory.
type Resident = (u64, u64, u64);

const POLICIES: [(u64, &str); 5] = [
    (policy::USE_HUGEPAGES, "use_hugepages"),
    (policy::LOCK_GUEST_MEMORY, "lock_guest_memory"),
    (policy::USE_PUNCHHOLE_LOCKED, "use_punchhole_locked"),
    (policy::DONTFORK, "dontfork"),
    (policy::MERGEABLE, "mergeable"),
];

/// A memory as it stands in the text.
#[derive(Serialize)]
struct Description {
    end_addr: u64,
    memory_size: u64,
    policy: Vec<&'static str>,
    tainted: bool,
    regions: Vec<Region>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<u64>,
}

#[derive(Serialize)]
struct Region {
    guest_addr: u64,
    size: u64,
    host_addr: Host,
    backing: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fd: Option<RawFd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fd_offset: Option<u64>,
    read_only: bool,
    purpose: u32,
    page_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<u64>,
}

/// An address in this process.
struct Host(*mut u8);

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:p}", self.0))
    }
}

/// Regions, backings, policy and resident bytes of `mem`.
pub fn describe(mem: &GuestMemory) -> Result<Vec<u8>> {
    let areas = match smaps::resident_areas() {
        Err(error @ Error::NoMemory(_)) => return Err(error),
        // Without /proc it is not known, and not told.
        areas => areas.ok(),
    };
    let table = mem.table();
    let mut policy = vec_of(POLICIES.len())?;
    let in_force = POLICIES.iter().filter(|(bit, _)| mem.policy() & bit != 0);
    policy.extend(in_force.map(|(_, name)| *name));
    let mut regions = vec_of(table.entries().len())?;
    let each = table.entries().iter().map(|entry| entry.region());
    regions.extend(each.map(|region| describe_region(region, areas.as_deref())));
    to_json(&Description {
        end_addr: table.end_addr(),
        memory_size: table.size(),
        policy,
        tainted: table.is_tainted(),
        resident: areas.and_then(|_| regions.iter().map(|region| region.resident).sum()),
        regions,
    })
}

fn describe_region(region: &MemoryRegion, areas: Option<&[Resident]>) -> Region {
    let (range, options) = (region.range(), region.options());
    let file = region.backing().file();
    Region {
        guest_addr: range.start(),
        size: range.size(),
        host_addr: Host(region.host()),
        backing: backing_name(options.source),
        fd: file.map(|(file, _)| file.fd()),
        fd_offset: file.map(|(_, offset)| offset),
        read_only: options.read_only,
        purpose: options.purpose,
        page_size: region.page_size(),
        resident: areas.and_then(|areas| resident_bytes(region, areas)),
    }
}

/// Bytes of a region that are in memory, if that can be told: smaps tells of whole mappings, and
/// memory of the caller's may be a part of one.
fn resident_bytes(region: &MemoryRegion, areas: &[Resident]) -> Option<u64> {
    let host = region.host() as u64;
    let end = host + region.range().size();
    let from = areas.partition_point(|(_, end, _)| *end <= host);
    let inside = areas[from..].iter().take_while(|(start, ..)| *start < end);
    let bytes = inside.map(|&(start, area_end, bytes)| match start < host || area_end > end {
        true => resident_pages(start.max(host), area_end.min(end)),
        false => Some(bytes),
    });
    bytes.sum()
}

/// Bytes from `start` to `end` that are in memory, told page by page. Where the kernel does not tell
/// the page of zeros from others, nothing is.
fn resident_pages(start: u64, end: u64) -> Option<u64> {
    let map = PageMap::open();
    let mut bytes = 0;
    let mut add = |start, end| {
        bytes += end - start;
        Ok(())
    };
    let looked = map.can_scan() && map.each(start, end - start, Wanted::Resident, &mut add).is_ok();
    looked.then_some(bytes)
}

fn backing_name(source: Source) -> &'static str {
    match source {
        Source::Memfd => "memfd",
        Source::Huge { .. } => "hugetlb",
        Source::Private => "private",
        Source::File { private: false, .. } => "file",
        Source::File { private: true, .. } => "private_file",
        Source::Caller { .. } => "caller",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::system::page_size;
    use crate::memory::options::RegionOptions;

    #[test]
    fn the_description_is_json_that_tells_what_is_there() {
        let page = page_size();
        let private = RegionOptions { source: Source::Private, ..RegionOptions::plain(page, page) };
        let mem = GuestMemory::new(&[RegionOptions::plain(0, page), private]).unwrap();
        mem.add_policy(policy::DONTFORK).unwrap();
        mem.dma_fill(0, 1, 1).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&describe(&mem).unwrap()).unwrap();
        assert_eq!(value["memory_size"], 2 * page);
        assert_eq!(value["policy"], serde_json::json!(["dontfork"]));
        assert_eq!(value["resident"], page);
        assert_eq!(value["regions"][0]["backing"], "memfd");
        assert_eq!(value["regions"][1]["backing"], "private");
        assert!(value["regions"][1].get("fd").is_none());
    }
}
