// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Reading from a descriptor that goes past the page cache, which takes whole blocks at their places,
//! to memory that is aligned as they are.

use crate::address::align_down;
use crate::error::{Error, Result};
use crate::host::alloc::zeros;
use crate::host::file;
use crate::host::file::pread_some;
use crate::image::regions::stat;
use std::os::fd::RawFd;

/// The most bytes at once.
const MOST: u64 = 1 << 20;

/// What the offsets of reads from `fd` have to be multiples of, if it goes past the page cache. No file
/// system says less.
pub fn block(fd: RawFd) -> Result<Option<u64>> {
    if file::status_flags(fd).map_err(Error::io)? & libc::O_DIRECT == 0 {
        return Ok(None);
    }
    let told = u64::try_from(stat(fd)?.st_blksize).unwrap_or(0);
    Ok(Some(told.clamp(4096, 64 << 10).next_power_of_two()))
}

/// As [`file::pread_all`], by whole blocks.
pub fn pread_all(fd: RawFd, to: &mut [u8], offset: u64, block: u64) -> (usize, Option<i32>) {
    let most = MOST.min((to.len() as u64).next_multiple_of(block) + block);
    let Ok(mut room) = zeros((most + block) as usize) else { return (0, Some(libc::ENOMEM)) };
    let start = room.as_ptr().align_offset(block as usize);
    let aligned = &mut room[start..][..most as usize];
    let mut got = 0;
    while got < to.len() {
        let first = align_down(offset + got as u64, block);
        let skipped = (offset + got as u64 - first) as usize;
        let left = to.len() - got;
        let want = aligned.len().min((skipped + left).next_multiple_of(block as usize));
        // SAFETY: `aligned` has so many bytes, which are ours to write.
        match unsafe { pread_some(fd, aligned.as_mut_ptr(), want, first) } {
            Ok(count) if count > skipped && count <= want => {
                let found = &aligned[skipped..count.min(skipped + left)];
                to[got..got + found.len()].copy_from_slice(found);
                got += found.len();
            }
            // A file ends anywhere.
            Ok(_) => return (got, None),
            Err(errno) => return (got, Some(errno)),
        }
    }
    (got, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn every_part_of_a_file_comes_as_it_is() {
        let path = std::env::temp_dir().join(format!("guestmem-direct-{}", std::process::id()));
        let all: Vec<u8> = (0..(3 << 20) + 777).map(|at: u32| ((at * 31) >> 5) as u8).collect();
        std::fs::File::create(&path).unwrap().write_all(&all).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(block(file.as_raw_fd()), Ok(None));
        for (at, len) in [(0, 1), (1, 4096), (4095, 2), (777, 3 << 20), (5, 1 << 20), (4096, 8192)]
        {
            for block in [4096, 64 << 10] {
                let mut to = vec![0; len];
                let result = pread_all(file.as_raw_fd(), &mut to, at as u64, block);
                assert_eq!(result, (len, None));
                assert!(to == all[at..at + len]);
            }
        }
        let mut to = vec![0; 8192];
        let end = all.len() - 100;
        assert_eq!(pread_all(file.as_raw_fd(), &mut to, end as u64, 4096), (100, None));
        assert_eq!(pread_all(file.as_raw_fd(), &mut to, all.len() as u64 + 1, 4096), (0, None));
    }
}
