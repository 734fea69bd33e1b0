// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A memory in words for people and logs: one JSON object.

use crate::alloc::{Text, comma};
use crate::error::{Error, Result};
use crate::memory::GuestMemory;
use crate::pagemap::{PageMap, Wanted};
use crate::policy;
use crate::proc;
use crate::region::{MemoryRegion, Source};
use std::io::Write;

/// First address and end of a mapping, and how many of its bytes are in memory.
type Resident = (u64, u64, u64);

const POLICIES: [(u64, &str); 5] = [
    (policy::USE_HUGEPAGES, "use_hugepages"),
    (policy::LOCK_GUEST_MEMORY, "lock_guest_memory"),
    (policy::USE_PUNCHHOLE_LOCKED, "use_punchhole_locked"),
    (policy::DONTFORK, "dontfork"),
    (policy::MERGEABLE, "mergeable"),
];

/// Regions, backings, policy and resident bytes of `mem`.
pub fn describe(mem: &GuestMemory) -> Result<Vec<u8>> {
    let areas = match proc::resident_areas() {
        Err(error @ Error::NoMemory(_)) => return Err(error),
        // Without /proc it is not known, and not told.
        areas => areas.ok(),
    };
    let mut text = Text::default();
    write_memory(&mut text, mem, areas.as_deref())
        .map_err(|_| Error::NoMemory("the description"))?;
    Ok(text.into_bytes())
}

fn write_memory(
    text: &mut Text,
    mem: &GuestMemory,
    areas: Option<&[Resident]>,
) -> std::io::Result<()> {
    let table = mem.table();
    let (end, size) = (table.end_addr(), table.size());
    write!(text, "{{\"end_addr\":{end},\"memory_size\":{size},\"policy\":[")?;
    let in_force = POLICIES.iter().filter(|(bit, _)| mem.policy() & bit != 0);
    for (index, (_, name)) in in_force.enumerate() {
        write!(text, "{}\"{name}\"", comma(index))?;
    }
    write!(text, "],\"tainted\":{},\"regions\":[", table.is_tainted())?;
    let mut resident = Some(0);
    for (index, entry) in table.entries().iter().enumerate() {
        text.write_all(comma(index).as_bytes())?;
        let of_region = write_region(text, entry.region(), areas)?;
        resident = resident.zip(of_region).map(|(sum, bytes)| sum + bytes);
    }
    match resident.filter(|_| areas.is_some()) {
        Some(resident) => write!(text, "],\"resident\":{resident}}}"),
        None => write!(text, "]}}"),
    }
}

/// Writes one region. Gives its resident bytes, as far as that is known.
fn write_region(
    text: &mut Text,
    region: &MemoryRegion,
    areas: Option<&[Resident]>,
) -> std::io::Result<Option<u64>> {
    let (range, options) = (region.range(), region.options());
    write!(
        text,
        "{{\"guest_addr\":{},\"size\":{},\"host_addr\":\"{:p}\",\"backing\":\"{}\"",
        range.start(),
        range.size(),
        region.host(),
        backing_name(options.source),
    )?;
    if let Some((file, offset)) = region.backing().file() {
        write!(text, ",\"fd\":{},\"fd_offset\":{offset}", file.fd())?;
    }
    write!(
        text,
        ",\"read_only\":{},\"purpose\":{},\"page_size\":{}",
        options.read_only,
        options.purpose,
        region.page_size(),
    )?;
    let resident = areas.and_then(|areas| resident_bytes(region, areas));
    if let Some(resident) = resident {
        write!(text, ",\"resident\":{resident}")?;
    }
    write!(text, "}}")?;
    Ok(resident)
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
    use crate::proc::page_size;
    use crate::region::RegionOptions;

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
