// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Bringing a snapshot back into live memory.
//!
//! Nothing is written before everything that can be checked has been: the metadata, that it is of
//! these regions, and for a file the length and all checksums. Only memory that is known to be empty
//! is written while the data is checked: it is made empty again where that fails. From the first
//! write to the last the memory is tainted.

use crate::access::bounce::Part;
use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::host::file;
use crate::host::file::{Read, read_some};
use crate::host::handle::Ref;
use crate::host::maps::Maps;
use crate::image::batch;
use crate::image::batch::Steps;
use crate::image::claimed::{Claimed, Work};
use crate::image::find::extents;
use crate::image::format::metadata::{Chunk, DataRange, Layout, Metadata};
use crate::image::format::parse;
use crate::image::progress::Progress;
use crate::image::read::clear;
use crate::image::read::clear::Clearing;
use crate::image::read::data::{DataFile, read_chunks};
use crate::image::read::open::Image;
use crate::image::read::put::{Place, Present, check_zeros};
use crate::image::regions::{memory_size, stat};
use crate::memory::guest::GuestMemory;
use crate::memory::options::Source;
use crate::memory::region::MemoryRegion;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, RawFd};

/// How a snapshot is to be brought back.
#[derive(Clone, Copy, Debug)]
pub struct RestoreOptions {
    /// Other data may come behind that of the snapshot; it is left alone.
    pub more_follows: bool,
    /// The most threads to use; 0: as many as help.
    pub threads: u32,
}

/// Restores from `fd`: packed data from its position on, which moves, sparse data at absolute
/// offsets.
pub fn restore_from_fd(
    mem: &GuestMemory,
    metadata: &[u8],
    fd: RawFd,
    options: RestoreOptions,
    progress: Progress,
) -> Result<()> {
    let restore = Restore::new(mem, parse::parse(metadata)?)?;
    match bounds(fd)? {
        Some(bounds) => restore.read_part(fd, bounds, options, progress),
        None => {
            let mut read = |buffer: &mut [u8]| {
                // SAFETY: the buffer is ours to write.
                unsafe { read_some(fd, buffer.as_mut_ptr(), buffer.len()) }
            };
            restore.read_stream(&mut read, options, progress)
        }
    }
}

/// Restores from what `read` gives.
pub fn restore_from(
    mem: &GuestMemory,
    metadata: &[u8],
    read: Read,
    options: RestoreOptions,
    progress: Progress,
) -> Result<()> {
    let restore = Restore::new(mem, parse::parse(metadata)?)?;
    restore.read_stream(read, options, progress)
}

/// Restores from an image file.
pub fn restore_file(
    mem: &GuestMemory,
    path: &CStr,
    options: RestoreOptions,
    progress: Progress,
) -> Result<()> {
    let (fd, metadata) = Image::open(path)?.into_parts();
    Restore::new(mem, metadata)?.read_file(fd.as_raw_fd(), 0, options, progress)
}

/// A restore whose metadata was checked.
struct Restore {
    regions: Claimed,
    metadata: Metadata,
}

impl Restore {
    fn new(mem: &GuestMemory, metadata: Metadata) -> Result<Self> {
        let regions = mem.regions()?;
        check_match(&metadata, &regions)?;
        Ok(Restore { regions: Claimed::new(regions, Work::Restore)?, metadata })
    }

    /// Reads the part of a file that begins at the position, if packed, or is all of it.
    fn read_part(
        &self,
        fd: RawFd,
        (position, end): (u64, u64),
        options: RestoreOptions,
        progress: Progress,
    ) -> Result<()> {
        let is_packed = self.metadata.layout == Layout::Packed;
        let start = if is_packed { position } else { 0 };
        let (size, available) = (self.metadata.extent(), end.saturating_sub(start));
        if available < size {
            return Err(Error::SnapshotShort { completed: 0 });
        }
        if available > size && !options.more_follows {
            return Err(Error::SnapshotLong);
        }
        self.read_file(fd, start, options, progress)?;
        if is_packed {
            seek(fd, (start + size) as i64, libc::SEEK_SET)
                .inspect_err(|_| self.set_tainted(true))?;
        }
        Ok(())
    }

    /// Checks all data of a file before it puts it in place, and then once more: the file may
    /// change meanwhile.
    fn read_file(
        &self,
        fd: RawFd,
        start: u64,
        options: RestoreOptions,
        progress: Progress,
    ) -> Result<()> {
        let present = self.present(options.threads)?;
        let stale = self.stale(&present)?;
        let data = DataFile::new(fd, start, &self.metadata)?;
        let threads = batch::threads(options.threads, self.metadata.data_size());
        let place = Place::new(&self.regions, &present);
        let put = |chunk: Chunk, part: Part| place.put(chunk, part);
        let mut put_all = || data.read(threads, &put, &mut *progress);
        if self.is_empty(&present) {
            return self.fill_empty(&mut put_all);
        }
        if self.metadata.checksums.is_some() || self.writable().count() < self.regions.len() {
            let compare = |chunk: Chunk, part: Part| place.compare(chunk, part);
            data.read(threads, &compare, &mut |_, _| Ok(())).map_err(before_any_was_moved)?;
        }
        self.begin(&stale)?;
        put_all()?;
        self.set_tainted(false);
        Ok(())
    }

    /// The regions that may be written. All others only have to hold the same.
    fn writable(&self) -> impl Iterator<Item = &Ref<MemoryRegion>> {
        self.regions.iter().filter(|region| !region.is_read_only())
    }

    /// True when all memory that may be written holds nothing, as that of a new machine, and has no
    /// pages set aside for it that would be lost by making it empty again.
    fn is_empty(&self, present: &Present) -> bool {
        self.regions.iter().zip(present).all(|(region, parts)| {
            region.is_read_only()
                || matches!(region.options().source, Source::Memfd | Source::Private)
                    && parts.as_ref().is_ok_and(Vec::is_empty)
        })
    }

    /// Puts data into empty memory, so that it need not be read twice.
    fn fill_empty(&self, put_all: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let mut were_tainted = vec_of(self.regions.len())?;
        were_tainted.extend(self.writable().map(|region| region.is_tainted()));
        self.set_tainted(true);
        match put_all() {
            Ok(()) => self.set_tainted(false),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => {
                let maps = Maps::default();
                for (region, was_tainted) in self.writable().zip(were_tainted) {
                    let whole = [DataRange { start: 0, end: region.range().size() }];
                    Clearing::new(region, &whole, &maps)?.run(region, &maps)?;
                    region.set_tainted(was_tainted);
                }
                return Err(before_any_was_moved(error));
            }
        }
        Ok(())
    }

    /// Reads the data, and puts each chunk in place once it was checked. Unless more
    /// follows, nothing may come behind it.
    fn read_stream(&self, read: Read, options: RestoreOptions, progress: Progress) -> Result<()> {
        if self.metadata.layout == Layout::Sparse {
            return Err(Error::Unsupported("sparse data can only be read from a file"));
        }
        let present = self.present(options.threads)?;
        let stale = self.stale(&present)?;
        let place = Place::new(&self.regions, &present);
        let total = self.metadata.data_size();
        let mut steps = Steps::new(total, progress);
        let mut begun = false;
        let each = |chunk: Chunk, part: Part| {
            let is_written = !self.regions[chunk.region].is_read_only();
            if is_written && !std::mem::replace(&mut begun, true) {
                self.begin(&stale)?;
            }
            place.put(chunk, part)
        };
        read_chunks(&self.metadata, read, each, |done| steps.reach(done))?;
        if !options.more_follows {
            match read(&mut [0]) {
                Ok(0) => {}
                Ok(1) => return Err(Error::SnapshotLong),
                Ok(_) => return Err(Error::Io { errno: libc::EIO, completed: total }),
                Err(errno) => return Err(Error::Io { errno, completed: total }),
            }
        }
        if !begun {
            self.begin(&stale)?;
        }
        steps.end()?;
        self.set_tainted(false);
        Ok(())
    }

    /// Makes holes where the snapshot has nothing: now rather than at the end, so that old and new
    /// data need not fit at once.
    fn begin(&self, stale: &[Vec<DataRange>]) -> Result<()> {
        let maps = Maps::default();
        let mut clearings = vec_of(stale.len())?;
        for (region, stale) in self.regions.iter().zip(stale) {
            if !region.is_read_only() {
                clearings.push(Clearing::new(region, stale, &maps)?);
            }
        }
        self.set_tainted(true);
        let mut all = self.writable().zip(&clearings);
        all.try_for_each(|(region, clearing)| clearing.run(region, &maps))
    }

    /// Tells of these regions, whatever becomes of the memory meanwhile.
    fn set_tainted(&self, tainted: bool) {
        self.writable().for_each(|region| region.set_tainted(tainted));
    }

    /// For each region the parts that may hold anything, where that can be told.
    fn present(&self, threads: u32) -> Result<Present> {
        let threads = batch::threads(threads, memory_size(&self.regions));
        extents::find_pages(&self.regions, threads)
    }

    /// For each region the parts that are to become holes, and are in those that may only be read.
    fn stale(&self, present: &Present) -> Result<Vec<Vec<DataRange>>> {
        let stale = clear::stale(&self.regions, &self.metadata, present)?;
        let mut parts = self.regions.iter().zip(&stale);
        parts.try_for_each(|(region, parts)| check_zeros(region, parts))?;
        Ok(stale)
    }
}

/// A failure of the pass that only checks.
fn before_any_was_moved(error: Error) -> Error {
    match error {
        Error::SnapshotShort { .. } => Error::SnapshotShort { completed: 0 },
        Error::Corrupt { .. } => Error::Corrupt { completed: 0 },
        Error::Io { errno, .. } => Error::io(errno),
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
    file::seek(fd, offset, whence).map_err(Error::io)
}
