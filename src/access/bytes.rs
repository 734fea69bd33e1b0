// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Bytes and objects in guest memory, within one region or as devices see it.
//!
//! Every range is checked in full before the first byte moves. The pointers that come in are the
//! C caller's buffers, which may hold anything and lie anywhere, so they stay pointers.

use crate::access::volatile;
use crate::access::volatile::{VolatileSlice, copy_from_guest, copy_to_guest};
use crate::address::is_aligned;
use crate::error::{Error, Result};
use crate::memory::guest::GuestMemory;
use crate::memory::table::{HostRange, Span};

impl GuestMemory {
    /// Reads up to `len` bytes, fewer at the region's end. Gives how many.
    ///
    /// # Safety
    /// `buf` can be written for `len` bytes.
    pub unsafe fn read(&self, addr: u64, buf: *mut u8, len: usize) -> Result<usize> {
        let rest = self.table().rest_of_region(addr, len as u64)?;
        let count = len.min(rest.len);
        // SAFETY: `count` is within both.
        unsafe { copy_from_guest(buf, rest.addr, count) };
        Ok(count)
    }

    /// Writes up to `len` bytes, fewer at the region's end. Gives how many.
    ///
    /// # Safety
    /// `buf` can be read for `len` bytes.
    pub unsafe fn write(&self, addr: u64, buf: *const u8, len: usize) -> Result<usize> {
        let table = self.table();
        let rest = table.rest_of_region(addr, len as u64)?;
        let count = len.min(rest.len);
        if count > 0 && table.is_read_only(addr) {
            return Err(Error::ReadOnly);
        }
        // SAFETY: `count` is within both.
        unsafe { copy_to_guest(rest.addr, buf, count) };
        Ok(count)
    }

    /// Reads `len` bytes of one region, or none.
    ///
    /// # Safety
    /// `buf` can be written for `len` bytes.
    pub unsafe fn read_exact(&self, addr: u64, buf: *mut u8, len: usize) -> Result<()> {
        let rest = self.table().rest_of_region(addr, len as u64)?;
        if len > rest.len {
            return Err(Error::ShortRead { completed: 0 });
        }
        // SAFETY: `len` is within both.
        unsafe { copy_from_guest(buf, rest.addr, len) };
        Ok(())
    }

    /// Writes `len` bytes to one region, or none.
    ///
    /// # Safety
    /// `buf` can be read for `len` bytes.
    pub unsafe fn write_all(&self, addr: u64, buf: *const u8, len: usize) -> Result<()> {
        let table = self.table();
        let rest = table.rest_of_region(addr, len as u64)?;
        if len > rest.len {
            return Err(Error::ShortWrite { completed: 0 });
        }
        if len > 0 && table.is_read_only(addr) {
            return Err(Error::ReadOnly);
        }
        // SAFETY: `len` is within both.
        unsafe { copy_to_guest(rest.addr, buf, len) };
        Ok(())
    }

    /// Reads `len` bytes through regions that touch, or none.
    ///
    /// # Safety
    /// `buf` can be written for `len` bytes.
    pub unsafe fn dma_read(&self, addr: u64, buf: *mut u8, len: usize) -> Result<()> {
        let span = self.table().span(addr, len as u64, false)?;
        let mut done = 0;
        for part in span.parts() {
            // SAFETY: the parts are `len` bytes together, which `buf` holds.
            unsafe { copy_from_guest(buf.add(done), part.addr, part.len) };
            done += part.len;
        }
        Ok(())
    }

    /// Writes `len` bytes through regions that touch, or none.
    ///
    /// # Safety
    /// `buf` can be read for `len` bytes.
    pub unsafe fn dma_write(&self, addr: u64, buf: *const u8, len: usize) -> Result<()> {
        let span = self.table().span(addr, len as u64, true)?;
        let mut done = 0;
        for part in span.parts() {
            // SAFETY: the parts are `len` bytes together, which `buf` holds.
            unsafe { copy_to_guest(part.addr, buf.add(done), part.len) };
            done += part.len;
        }
        Ok(())
    }

    /// Copies `len` bytes within guest memory, through regions that touch. Overlap as memmove.
    pub fn dma_copy(&self, dst: u64, src: u64, len: u64) -> Result<()> {
        let table = self.table();
        // Of several things wrong the address comes first, then the range, then read-only.
        table.rest_of_region(dst, len)?;
        let from = table.span(src, len, false)?;
        let to = table.span(dst, len, true)?;
        if dst > src && dst - src < len {
            copy_backward(&to, &from);
        } else {
            copy_forward(&to, &from);
        }
        Ok(())
    }

    /// Fills `len` bytes through regions that touch.
    pub fn dma_fill(&self, addr: u64, byte: u8, len: u64) -> Result<()> {
        self.table().span(addr, len, true)?.parts().map(bytes).for_each(|part| part.fill(byte));
        Ok(())
    }

    /// Reads an object by naturally aligned accesses of the widest size that divides `size`.
    ///
    /// # Safety
    /// `obj` can be written for `size` bytes.
    pub unsafe fn read_object(&self, addr: u64, obj: *mut u8, size: usize) -> Result<()> {
        let host = self.object(addr, size, false)?;
        // SAFETY: `size` bytes are there, aligned as checked.
        unsafe { volatile::copy_object(obj, host, size) };
        Ok(())
    }

    /// Writes an object by naturally aligned accesses of the widest size that divides `size`.
    ///
    /// # Safety
    /// `obj` can be read for `size` bytes.
    pub unsafe fn write_object(&self, addr: u64, obj: *const u8, size: usize) -> Result<()> {
        let host = self.object(addr, size, true)?;
        // SAFETY: `size` bytes are there, aligned as checked.
        unsafe { volatile::copy_object(host, obj, size) };
        Ok(())
    }

    fn object(&self, addr: u64, size: usize, write: bool) -> Result<*mut u8> {
        let table = self.table();
        let rest = table.rest_of_region(addr, size as u64)?;
        if size > rest.len {
            return Err(Error::InvalidRange);
        }
        if !is_aligned(addr, volatile::object_width(size) as u64) {
            return Err(Error::Misaligned);
        }
        if write && size > 0 && table.is_read_only(addr) {
            return Err(Error::ReadOnly);
        }
        Ok(rest.addr)
    }
}

/// The bytes of a part of a span that the caller looked up in a memory which it holds.
fn bytes(part: HostRange) -> VolatileSlice {
    // SAFETY: a region's mapping holds them while the caller holds the memory.
    unsafe { VolatileSlice::new(part.addr, part.len) }
}

fn copy_forward(to: &Span, from: &Span) {
    let mut done = 0;
    while done < to.len() {
        let moved = bytes(from.part_from(done)).copy_to(bytes(to.part_from(done)));
        done += moved as u64;
    }
}

fn copy_backward(to: &Span, from: &Span) {
    let mut left = to.len();
    while left > 0 {
        let (target, source) = (bytes(to.part_up_to(left)), bytes(from.part_up_to(left)));
        let count = target.len().min(source.len());
        let tail = |slice: VolatileSlice| slice.sub(slice.len() - count, count);
        if let (Ok(target), Ok(source)) = (tail(target), tail(source)) {
            source.copy_to(target);
        }
        left -= count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::lookup::Lookup;
    use crate::access::value::Write;
    use crate::host::handle::Ref;
    use crate::host::system::page_size;
    use crate::memory::options::RegionOptions;

    /// Three touching regions of one page each.
    fn touching() -> Ref<GuestMemory> {
        let page = page_size();
        let options: Vec<_> = (0..3).map(|n| RegionOptions::plain(n * page, page)).collect();
        GuestMemory::new(&options).unwrap()
    }

    fn contents(mem: &GuestMemory) -> Vec<u8> {
        let mut all = vec![0; mem.size() as usize];
        // SAFETY: the vector has that many bytes.
        unsafe { mem.dma_read(0, all.as_mut_ptr(), all.len()).unwrap() };
        all
    }

    #[test]
    fn copies_across_regions_overlap_as_memmove() {
        let (mem, page) = (touching(), page_size());
        let pattern: Vec<u8> = (0..3 * page).map(|n| (n % 251) as u8).collect();
        let cases = [(1, 0, 2 * page), (0, 1, 2 * page), (page, 0, 2 * page), (0, page, 2 * page)];
        for (dst, src, len) in cases {
            // SAFETY: the pattern has that many bytes.
            unsafe { mem.dma_write(0, pattern.as_ptr(), pattern.len()).unwrap() };
            mem.dma_copy(dst, src, len).unwrap();
            let mut expected = pattern.clone();
            expected.copy_within(src as usize..(src + len) as usize, dst as usize);
            assert!(contents(&mem) == expected, "{dst} {src} {len}");
        }
    }

    #[test]
    fn a_refused_range_moves_nothing() {
        let (mem, page) = (touching(), page_size());
        let before = contents(&mem);
        let bytes = vec![1u8; 4 * page as usize];
        // SAFETY: the vector has at least the bytes asked for.
        unsafe {
            let long = mem.dma_write(1, bytes.as_ptr(), 3 * page as usize);
            assert_eq!(long, Err(Error::InvalidRange));
            let long = mem.write_all(1, bytes.as_ptr(), page as usize);
            assert_eq!(long, Err(Error::ShortWrite { completed: 0 }));
            assert_eq!(mem.write_object(4, bytes.as_ptr(), 8), Err(Error::Misaligned));
        }
        assert_eq!(mem.dma_fill(3 * page - 1, 1, 2), Err(Error::InvalidRange));
        assert_eq!(mem.table().access(1, Write::<u16, true>(1)), Err(Error::Misaligned));
        assert_eq!(mem.table().access(page - 1, Write::<u16, false>(1)), Err(Error::InvalidRange));
        assert!(contents(&mem) == before);
    }
}
