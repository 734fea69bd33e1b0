// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Bringing a packed snapshot back into live memory.
//!
//! Nothing is written before everything that can be checked has been: the metadata, that it is of
//! these regions, and for a file the length and all checksums. From the first write to the last
//! the memory is tainted.

use super::checksum::{Read, read_chunks};
use super::metadata::{DataRange, Metadata};
use super::{Progress, clear, parse, refuse_unfetched, stat};
use crate::alloc::vec_of;
use crate::error::{Error, Result, errno};
use crate::file::{pread_some, read_some};
use crate::handle::Ref;
use crate::memory::GuestMemory;
use crate::region::MemoryRegion;
use crate::volatile;
use std::os::fd::RawFd;

/// Restores from `fd`, from its position on, which moves.
///
/// With `more_follows` other data may come behind that of the snapshot; it is left alone.
pub fn restore_from_fd(
    mem: &GuestMemory,
    metadata: &[u8],
    fd: RawFd,
    more_follows: bool,
    progress: Progress,
) -> Result<()> {
    let restore = Restore::new(mem, metadata)?;
    let is_file = restore.check_file(fd, more_follows)?;
    let mut read = |buffer: &mut [u8]| {
        // SAFETY: the buffer is ours to write.
        unsafe { read_some(fd, buffer.as_mut_ptr(), buffer.len()) }
    };
    restore.run(&mut read, !is_file && !more_follows, progress)
}

/// Restores from what `read` gives; `more_follows` as above.
pub fn restore_from(
    mem: &GuestMemory,
    metadata: &[u8],
    read: Read,
    more_follows: bool,
    progress: Progress,
) -> Result<()> {
    Restore::new(mem, metadata)?.run(read, !more_follows, progress)
}

/// A restore whose metadata was checked.
struct Restore<'a> {
    mem: &'a GuestMemory,
    regions: Vec<Ref<MemoryRegion>>,
    metadata: Metadata,
}

impl<'a> Restore<'a> {
    fn new(mem: &'a GuestMemory, metadata: &[u8]) -> Result<Self> {
        let metadata = parse::parse(metadata)?;
        let regions = mem.regions()?;
        check_match(&metadata, &regions)?;
        if regions.iter().any(|region| region.is_read_only()) {
            return Err(Error::ReadOnly);
        }
        Ok(Restore { mem, regions, metadata })
    }

    /// Checks length and checksums of a file without moving its position. False for a stream,
    /// of which nothing can be told in advance.
    fn check_file(&self, fd: RawFd, more_follows: bool) -> Result<bool> {
        let Some((position, end)) = bounds(fd)? else { return Ok(false) };
        let (size, available) = (self.metadata.data_size(), end.saturating_sub(position));
        if available < size {
            return Err(Error::SnapshotShort { completed: 0 });
        }
        if available > size && !more_follows {
            return Err(Error::SnapshotLong);
        }
        if self.metadata.checksums.is_some() {
            let mut at = position;
            let mut read = |buffer: &mut [u8]| {
                // SAFETY: the buffer is ours to write.
                let read = unsafe { pread_some(fd, buffer.as_mut_ptr(), buffer.len(), at) }?;
                at += read as u64;
                Ok(read)
            };
            read_chunks(&self.metadata, &mut read, |_, _| Ok(()), |_| Ok(()))
                .map_err(before_any_was_moved)?;
        }
        Ok(true)
    }

    /// Reads the data, checks it (a file may have changed since it was checked), and puts it in
    /// place. With `to_the_end` nothing may come behind it.
    fn run(&self, read: Read, to_the_end: bool, progress: Progress) -> Result<()> {
        let stale = self.stale()?;
        let total = self.metadata.data_size();
        let mut begun = false;
        let mut begin = || {
            if begun {
                return Ok(());
            }
            begun = true;
            self.mem.set_tainted(true);
            // Now rather than at the end, so that old and new data need not fit at once.
            self.regions
                .iter()
                .zip(&stale)
                .try_for_each(|(region, parts)| clear::clear(region, parts))
        };
        let each = |chunk: super::metadata::Chunk, bytes: &[u8]| {
            begin()?;
            // SAFETY: the chunk lies within the region, which `check_match` found to be of the
            // size that the metadata was checked against; it is not read-only.
            unsafe {
                let to = self.regions[chunk.region].host().add(chunk.offset as usize);
                volatile::copy_to_guest(to, bytes.as_ptr(), bytes.len());
            }
            Ok(())
        };
        read_chunks(&self.metadata, read, each, |done| progress(done, total))?;
        if to_the_end {
            match read(&mut [0]) {
                Ok(0) => {}
                Ok(_) => return Err(Error::SnapshotLong),
                Err(errno) => return Err(Error::Io { errno, completed: total }),
            }
        }
        begin()?;
        if total == 0 {
            progress(0, 0)?;
        }
        self.mem.set_tainted(false);
        Ok(())
    }

    /// For each region the parts that are to become holes.
    fn stale(&self) -> Result<Vec<Vec<DataRange>>> {
        refuse_unfetched(&self.regions)?;
        let mut stale = vec_of(self.regions.len())?;
        for (region, record) in self.regions.iter().zip(&self.metadata.regions) {
            stale.push(clear::stale(region, self.metadata.ranges_of(record))?);
        }
        Ok(stale)
    }
}

/// A failure of the pass that only checks.
fn before_any_was_moved(error: Error) -> Error {
    match error {
        Error::SnapshotShort { .. } => Error::SnapshotShort { completed: 0 },
        Error::Corrupt { .. } => Error::Corrupt { completed: 0 },
        Error::Io { errno, .. } => Error::Io { errno, completed: 0 },
        other => other,
    }
}

fn check_match(metadata: &Metadata, regions: &[Ref<MemoryRegion>]) -> Result<()> {
    if metadata.regions.len() != regions.len() {
        return Err(Error::Mismatch("the snapshot has another number of regions"));
    }
    for (record, region) in metadata.regions.iter().zip(regions) {
        let range = region.range();
        if (record.guest_base, record.size) != (range.start(), range.size()) {
            return Err(Error::Mismatch("the snapshot is of other regions"));
        }
    }
    Ok(())
}

/// Position and end of a file or block device; None for what gives its bytes only once.
fn bounds(fd: RawFd) -> Result<Option<(u64, u64)>> {
    let stat = stat(fd)?;
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => Ok(Some((seek(fd, 0, libc::SEEK_CUR)?, stat.st_size as u64))),
        libc::S_IFBLK => {
            let position = seek(fd, 0, libc::SEEK_CUR)?;
            let end = seek(fd, 0, libc::SEEK_END)?;
            seek(fd, position as i64, libc::SEEK_SET)?;
            Ok(Some((position, end)))
        }
        _ => Ok(None),
    }
}

fn seek(fd: RawFd, offset: i64, whence: i32) -> Result<u64> {
    // SAFETY: a plain system call, which checks the descriptor.
    let position = unsafe { libc::lseek(fd, offset, whence) };
    if position < 0 {
        return Err(Error::Io { errno: errno(), completed: 0 });
    }
    Ok(position as u64)
}
