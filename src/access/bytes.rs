// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Typed, bulk and DMA-level access, on table and volatile.
//!
//! Every range is checked in full before the first byte moves. The pointers that come in are the
//! C caller's buffers, which may hold anything and lie anywhere, so they stay pointers.

use crate::access::volatile;
use crate::access::volatile::{LoadOrder, StoreOrder, VolatileSlice, Word};
use crate::address::is_aligned;
use crate::error::{Error, Result};
use crate::memory::guest::GuestMemory;
use crate::memory::table::{Span, Table};
use std::sync::atomic::Ordering;

impl GuestMemory {
    /// Reads up to `len` bytes, fewer at the region's end. Gives how many.
    ///
    /// # Safety
    /// `buf` can be written for `len` bytes.
    pub unsafe fn read(&self, addr: u64, buf: *mut u8, len: usize) -> Result<usize> {
        let rest = self.table().rest_of_region(addr, len as u64)?;
        let count = len.min(rest.len());
        // SAFETY: `count` is within both.
        unsafe { rest.read(0, buf, count)? };
        Ok(count)
    }

    /// Writes up to `len` bytes, fewer at the region's end. Gives how many.
    ///
    /// # Safety
    /// `buf` can be read for `len` bytes.
    pub unsafe fn write(&self, addr: u64, buf: *const u8, len: usize) -> Result<usize> {
        let table = self.table();
        let rest = table.rest_of_region(addr, len as u64)?;
        let count = len.min(rest.len());
        if count > 0 && table.is_read_only(addr) {
            return Err(Error::ReadOnly);
        }
        // SAFETY: `count` is within both.
        unsafe { rest.write(0, buf, count)? };
        Ok(count)
    }

    /// Reads `len` bytes of one region, or none.
    ///
    /// # Safety
    /// `buf` can be written for `len` bytes.
    pub unsafe fn read_exact(&self, addr: u64, buf: *mut u8, len: usize) -> Result<()> {
        let rest = self.table().rest_of_region(addr, len as u64)?;
        if len > rest.len() {
            return Err(Error::ShortRead { completed: 0 });
        }
        // SAFETY: `len` is within both.
        unsafe { rest.read(0, buf, len) }
    }

    /// Writes `len` bytes to one region, or none.
    ///
    /// # Safety
    /// `buf` can be read for `len` bytes.
    pub unsafe fn write_all(&self, addr: u64, buf: *const u8, len: usize) -> Result<()> {
        let table = self.table();
        let rest = table.rest_of_region(addr, len as u64)?;
        if len > rest.len() {
            return Err(Error::ShortWrite { completed: 0 });
        }
        if len > 0 && table.is_read_only(addr) {
            return Err(Error::ReadOnly);
        }
        // SAFETY: `len` is within both.
        unsafe { rest.write(0, buf, len) }
    }

    /// Reads `len` bytes through regions that touch, or none.
    ///
    /// # Safety
    /// `buf` can be written for `len` bytes.
    pub unsafe fn dma_read(&self, addr: u64, buf: *mut u8, len: usize) -> Result<()> {
        let span = self.table().span(addr, len as u64, false)?;
        let mut done = 0;
        for slice in span.slices() {
            // SAFETY: the slices are `len` bytes together, which `buf` holds.
            unsafe { slice.read(0, buf.add(done), slice.len())? };
            done += slice.len();
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
        for slice in span.slices() {
            // SAFETY: the slices are `len` bytes together, which `buf` holds.
            unsafe { slice.write(0, buf.add(done), slice.len())? };
            done += slice.len();
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
        self.table().span(addr, len, true)?.slices().for_each(|slice| slice.fill(byte));
        Ok(())
    }

    /// Reads a value at any alignment by one access.
    pub fn load<W: Word>(&self, addr: u64) -> Result<W> {
        let host = self.table().readable(addr, size_of::<W>() as u64)?;
        // SAFETY: the region's mapping holds these bytes.
        Ok(unsafe { W::load(host.cast()) })
    }

    /// Writes a value at any alignment by one access.
    pub fn store<W: Word>(&self, addr: u64, value: W) -> Result<()> {
        let host = self.table().writable(addr, size_of::<W>() as u64)?;
        // SAFETY: the region's mapping holds these bytes.
        unsafe { W::store(host.cast(), value) };
        Ok(())
    }

    /// Reads a naturally aligned value by one access.
    pub fn load_volatile<W: Word>(&self, addr: u64) -> Result<W> {
        let host = self.aligned_readable::<W>(addr)?;
        // SAFETY: the region's mapping holds these bytes.
        Ok(unsafe { W::load(host) })
    }

    /// Writes a naturally aligned value by one access.
    pub fn store_volatile<W: Word>(&self, addr: u64, value: W) -> Result<()> {
        let host = self.aligned_writable::<W>(addr)?;
        // SAFETY: the region's mapping holds these bytes.
        unsafe { W::store(host, value) };
        Ok(())
    }

    /// Reads a naturally aligned value atomically.
    pub fn load_ordered<W: Word>(&self, addr: u64, order: LoadOrder) -> Result<W> {
        let host = self.aligned_readable::<W>(addr)?;
        // SAFETY: the region's mapping holds these bytes; the host address is as aligned as the
        // guest's, since regions start at pages in both.
        Ok(unsafe { W::load_ordered(host, order) })
    }

    /// Writes a naturally aligned value atomically.
    pub fn store_ordered<W: Word>(&self, addr: u64, value: W, order: StoreOrder) -> Result<()> {
        let host = self.aligned_writable::<W>(addr)?;
        // SAFETY: as in `load_ordered`.
        unsafe { W::store_ordered(host, value, order) };
        Ok(())
    }

    /// Compares and exchanges a naturally aligned value. Gives what was there, as the error of the
    /// inner result when it was not `expected`.
    pub fn compare_exchange<W: Word>(
        &self,
        addr: u64,
        expected: W,
        desired: W,
        order: Ordering,
    ) -> Result<std::result::Result<W, W>> {
        let host = self.aligned_writable::<W>(addr)?;
        // SAFETY: as in `load_ordered`.
        Ok(unsafe { W::compare_exchange(host, expected, desired, order) })
    }

    /// Reads an object by naturally aligned accesses of the widest size that divides `size`.
    ///
    /// # Safety
    /// `obj` can be written for `size` bytes.
    pub unsafe fn read_object(&self, addr: u64, obj: *mut u8, size: usize) -> Result<()> {
        let slice = self.object(addr, size, false)?;
        // SAFETY: the slice has `size` bytes, aligned as checked.
        unsafe { volatile::copy_object(obj, slice.addr(), size) };
        Ok(())
    }

    /// Writes an object by naturally aligned accesses of the widest size that divides `size`.
    ///
    /// # Safety
    /// `obj` can be read for `size` bytes.
    pub unsafe fn write_object(&self, addr: u64, obj: *const u8, size: usize) -> Result<()> {
        let slice = self.object(addr, size, true)?;
        // SAFETY: the slice has `size` bytes, aligned as checked.
        unsafe { volatile::copy_object(slice.addr(), obj, size) };
        Ok(())
    }

    fn object(&self, addr: u64, size: usize, write: bool) -> Result<VolatileSlice> {
        let table = self.table();
        let slice = table.rest_of_region(addr, size as u64)?.sub(0, size)?;
        if !is_aligned(addr, volatile::object_width(size) as u64) {
            return Err(Error::Misaligned);
        }
        if write && size > 0 && table.is_read_only(addr) {
            return Err(Error::ReadOnly);
        }
        Ok(slice)
    }

    fn aligned_readable<W: Word>(&self, addr: u64) -> Result<*mut W> {
        aligned(self.table(), addr)
    }

    fn aligned_writable<W: Word>(&self, addr: u64) -> Result<*mut W> {
        let table = self.table();
        let host = aligned(table, addr)?;
        if table.is_read_only(addr) { Err(Error::ReadOnly) } else { Ok(host) }
    }
}

/// The host address of a naturally aligned value within one region.
fn aligned<W: Word>(table: &Table, addr: u64) -> Result<*mut W> {
    let size = size_of::<W>() as u64;
    let host = table.readable(addr, size)?;
    if is_aligned(addr, size) { Ok(host.cast()) } else { Err(Error::Misaligned) }
}

fn copy_forward(to: &Span, from: &Span) {
    let mut done = 0;
    while done < to.len() {
        let moved = from.slice_from(done).copy_to(to.slice_from(done));
        done += moved as u64;
    }
}

fn copy_backward(to: &Span, from: &Span) {
    let mut left = to.len();
    while left > 0 {
        let (target, source) = (to.slice_up_to(left), from.slice_up_to(left));
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
        assert_eq!(mem.store_volatile(1, 1u16), Err(Error::Misaligned));
        assert_eq!(mem.store(page - 1, 1u16), Err(Error::InvalidRange));
        assert!(contents(&mem) == before);
    }
}
