// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Asking for the one mapping at an address (PROCMAP_QUERY, Linux 6.11), whatever else is mapped.

use crate::error::errno;
use crate::host::areas::{Area, UNNAMED, kind_of};
use crate::host::file::Outcome;
use crate::host::system::page_size;
use std::os::fd::RawFd;

/// `struct procmap_query` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    addr: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    device_major: u32,
    device_minor: u32,
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: u64 = 3 << 30 | (size_of::<Query>() as u64) << 16 | (b'f' as u64) << 8 | 17;
const _: () = assert!(PROCMAP_QUERY == 0xc068_6611);

const READABLE: u64 = 1;
const WRITABLE: u64 = 2;
const SHARED: u64 = 8;

/// Room for the names that tell kinds of memory, and for most others.
const NAME: usize = 64;

/// The mapping that holds `address`, as `maps`, an open /proc/thread-self/maps, tells of it. ENOENT
/// where nothing is mapped; another errno where the kernel cannot be asked.
pub fn area_at(maps: RawFd, address: u64) -> Outcome<Area> {
    let mut name = [0u8; NAME];
    let answer = match ask(maps, address, &mut name) {
        Err(libc::ENAMETOOLONG) => ask(maps, address, &mut []),
        answer => answer,
    }?;
    // The kernel's own names are told with the NUL behind them.
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    let device = libc::makedev(answer.device_major, answer.device_minor);
    let shared = answer.vma_flags & SHARED != 0;
    Ok(Area {
        start: answer.start,
        end: answer.end,
        kind: kind_of(shared, device, answer.inode, name),
        offset: answer.offset,
        device,
        inode: answer.inode,
        readable: answer.vma_flags & READABLE != 0,
        writable: answer.vma_flags & WRITABLE != 0,
        unnamed: shared && is_unnamed(name),
        page: Some(answer.page_size.max(page_size())),
    })
}

fn is_unnamed(name: &[u8]) -> bool {
    let word = name.split(|&byte| byte == b' ').next().unwrap_or_default();
    UNNAMED.contains(&word)
}

fn ask(maps: RawFd, addr: u64, name: &mut [u8]) -> Outcome<Query> {
    let size = size_of::<Query>() as u64;
    let name_at = if name.is_empty() { 0 } else { name.as_mut_ptr() as u64 };
    let name_size = name.len() as u32;
    let mut query = Query { size, addr, name_size, name: name_at, ..Query::default() };
    // SAFETY: the kernel writes no more than the struct, whose size it is told, and the name, whose room
    // it is told; both are ours. What knows no such call refuses it.
    let result = unsafe { libc::ioctl(maps, PROCMAP_QUERY as _, &raw mut query) };
    if result < 0 { Err(errno()) } else { Ok(query) }
}
