// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Private copies of guest bytes, made by the kernel: a page that cannot be read or written (a memory
//! error of the host, a file that was cut, memory that is protected) is an error there and the end of
//! the program anywhere else.
//!
//! The copy is in a memfd of its own: writing guest memory to it, and reading it into guest memory, is
//! what the kernel does fastest, and it does it for every kind of memory. It takes 1.5 times what the
//! program's own copy would, where `process_vm_readv(2)` takes three times, which is left for where
//! there can be no memfd.
//!
//! Where a page that can be read stays so, the kernel copies one byte of each, and the program the rest.
//! What could still come between is what ends a program at any access: that it protects its own
//! memory, or that memory breaks. What was broken or protected before is an error here too.

use crate::access::volatile::{copy_from_guest, prefetch};
use crate::error::{Error, Result, errno};
use crate::host::alloc::zeros;
use crate::host::file;
use crate::host::file::Outcome;
use crate::host::handle::Ref;
use crate::host::system::page_size;
use crate::memory::backing::BackingFile;
use crate::memory::mapping::{Content, Mapping, Placement};
use std::slice;

/// Private memory for one chunk, or for several small ones.
pub struct Bounce(Memory);

enum Memory {
    /// The first `taken` bytes have pages.
    Shared {
        mapping: Mapping,
        file: Ref<BackingFile>,
        taken: usize,
    },
    Private(Vec<u8>),
}

impl Bounce {
    /// The bytes that it has.
    pub const SIZE: usize = 1 << 20;

    /// All zeros.
    pub fn new() -> Result<Self> {
        let memory = shared().or_else(|_| Ok(Memory::Private(zeros(Self::SIZE)?)));
        memory.map(Bounce)
    }

    fn start(&self) -> *const u8 {
        match &self.0 {
            Memory::Shared { mapping, .. } => mapping.host(),
            Memory::Private(bytes) => bytes.as_ptr(),
        }
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: so many are mapped, and nobody else knows of them.
        unsafe { slice::from_raw_parts(self.start(), Self::SIZE) }
    }

    /// All bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            // SAFETY: so many are mapped, and nobody else knows of them.
            Memory::Shared { mapping, .. } => unsafe {
                slice::from_raw_parts_mut(mapping.host(), Self::SIZE)
            },
            Memory::Private(bytes) => bytes,
        }
    }

    /// Copies `parts` of guest memory here, one behind the other from `at` on: no more of them than
    /// one system call takes, and no more bytes than there is room for. They are taken away.
    ///
    /// # Safety
    /// The parts are addresses of regions that live.
    pub unsafe fn take(&mut self, at: usize, parts: &mut Vec<libc::iovec>) -> Result<()> {
        let (mut at, mut rest) = (at, &mut parts[..]);
        while !rest.is_empty() {
            let room = &mut self.bytes_mut()[at..];
            let (to, len) = (room.as_mut_ptr(), room.len());
            // SAFETY: passed on; there are `len` bytes at `to`.
            let taken = unsafe {
                match &self.0 {
                    Memory::Shared { file, .. } => {
                        file::write_parts(file.fd(), rest, Some(at as u64))
                    }
                    Memory::Private(_) => from_guest(rest, to, len),
                }
            };
            let taken = moved(taken)?;
            at += taken;
            rest = behind(rest, taken);
        }
        parts.clear();
        Ok(())
    }

    /// As [`take`](Self::take), from regions that stay readable. `bytes` is room for as many parts.
    ///
    /// # Safety
    /// The parts are addresses of regions that live.
    pub unsafe fn take_lasting(
        &mut self,
        mut at: usize,
        parts: &mut Vec<libc::iovec>,
        bytes: &mut Vec<libc::iovec>,
    ) -> Result<()> {
        let page = page_size() as usize;
        let mut end = at;
        for part in parts.iter() {
            let before = part.iov_base as usize % page;
            let later = (page - before..part.iov_len).step_by(page);
            for offset in std::iter::once(0).chain(later) {
                if bytes.len() == bytes.capacity() {
                    // SAFETY: passed on. They are no more than the parts.
                    unsafe { self.take(at, bytes)? };
                }
                let byte = part.iov_base.wrapping_byte_add(offset);
                // The kernel waits for one page after the other.
                prefetch(byte.cast());
                bytes.push(libc::iovec { iov_base: byte, iov_len: 1 });
            }
            end += part.iov_len;
        }
        // SAFETY: passed on.
        unsafe { self.take(at, bytes)? };
        if self.have(end).is_err() {
            // SAFETY: passed on.
            return unsafe { self.take(at, parts) };
        }
        for part in parts.drain(..) {
            let to = &mut self.bytes_mut()[at..at + part.iov_len];
            // SAFETY: passed on. All pages could be read, and stay so.
            unsafe { copy_from_guest(to.as_mut_ptr(), part.iov_base.cast(), part.iov_len) };
            at += part.iov_len;
        }
        Ok(())
    }

    /// Takes the memory for the first `end` bytes, without which the program could not write them.
    pub fn have(&mut self, end: usize) -> Result<()> {
        match &mut self.0 {
            Memory::Shared { file, taken, .. } if *taken < end => {
                file.allocate(*taken as u64, (end - *taken) as u64)?;
                *taken = end;
            }
            _ => {}
        }
        Ok(())
    }

    /// Copies the `len` bytes at `at` to guest memory.
    ///
    /// # Safety
    /// `to` and what follows are addresses of a region that lives.
    unsafe fn give(&self, at: usize, to: *mut u8, len: usize) -> Result<()> {
        let bytes = &self.bytes()[at..at + len];
        let mut done = 0;
        while done < len {
            let (to, rest) = (to.wrapping_add(done), &bytes[done..]);
            // SAFETY: passed on; the kernel checks that it can be written.
            let given = unsafe {
                match &self.0 {
                    Memory::Shared { file, .. } => {
                        file::pread_some(file.fd(), to, rest.len(), (at + done) as u64)
                    }
                    Memory::Private(_) => to_guest(rest, to),
                }
            };
            done += moved(given)?;
        }
        Ok(())
    }
}

/// A part of what a bounce holds.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    bounce: &'a Bounce,
    at: usize,
    len: usize,
}

impl<'a> Part<'a> {
    /// The `len` bytes at `at`.
    pub fn new(bounce: &'a Bounce, at: usize, len: usize) -> Self {
        Part { bounce, at, len }
    }

    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        &self.bounce.bytes()[self.at..self.at + self.len]
    }

    /// Copies it to guest memory.
    ///
    /// # Safety
    /// `to` and what follows are addresses of a region that lives.
    pub unsafe fn give(self, to: *mut u8) -> Result<()> {
        // SAFETY: passed on.
        unsafe { self.bounce.give(self.at, to, self.len) }
    }

    /// `len` of its bytes from `at` on.
    pub fn part(self, at: usize, len: usize) -> Self {
        Part { at: self.at + at, len, ..self }
    }
}

fn shared() -> Result<Memory> {
    let size = Bounce::SIZE as u64;
    let file = BackingFile::memfd(size, None)?;
    let content = Content::Shared { fd: file.fd(), offset: 0 };
    let place = Placement { align: page_size(), residue: 0 };
    let mapping = Mapping::new(content, size, false, place)?;
    Ok(Memory::Shared { mapping, file, taken: 0 })
}

/// What was moved, which is something.
fn moved(outcome: Outcome<usize>) -> Result<usize> {
    match outcome {
        Ok(0) => Err(Error::io(libc::EFAULT)),
        Ok(count) => Ok(count),
        Err(libc::ENOMEM) => Err(Error::NoMemory("a copy of guest memory")),
        Err(errno) => Err(Error::io(errno)),
    }
}

/// What is left of `parts` once so many bytes are moved.
fn behind(parts: &mut [libc::iovec], mut moved: usize) -> &mut [libc::iovec] {
    let whole = parts.iter().take_while(|part| {
        let is_whole = part.iov_len <= moved;
        moved -= if is_whole { part.iov_len } else { 0 };
        is_whole
    });
    let whole = whole.count();
    let rest = &mut parts[whole..];
    if let Some(first) = rest.first_mut() {
        first.iov_base = first.iov_base.wrapping_byte_add(moved);
        first.iov_len -= moved;
    }
    rest
}

/// # Safety
/// `to` can be written for `len` bytes.
unsafe fn from_guest(parts: &[libc::iovec], to: *mut u8, len: usize) -> Outcome<usize> {
    let own = libc::iovec { iov_base: to.cast(), iov_len: len };
    // SAFETY: passed on. The kernel checks the addresses of the parts.
    unsafe { between(libc::SYS_process_vm_readv, own, parts) }
}

/// # Safety
/// `to` and what follows are addresses of a region that lives.
unsafe fn to_guest(from: &[u8], to: *mut u8) -> Outcome<usize> {
    let own = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let guest = libc::iovec { iov_base: to.cast(), iov_len: from.len() };
    // SAFETY: passed on. The kernel checks the address of the guest's part.
    unsafe { between(libc::SYS_process_vm_writev, own, &[guest]) }
}

/// Moves bytes between this process, as the calling thread, which lives, names it, and itself. For
/// that nobody needs a privilege.
///
/// # Safety
/// `own` can be read, or written.
unsafe fn between(number: i64, own: libc::iovec, parts: &[libc::iovec]) -> Outcome<usize> {
    // SAFETY: lists of the lengths that are told. The kernel checks all addresses.
    let moved = unsafe {
        let thread = libc::syscall(libc::SYS_gettid);
        libc::syscall(number, thread, &raw const own, 1u64, parts.as_ptr(), parts.len(), 0u64)
    };
    if moved < 0 { Err(errno()) } else { Ok(moved as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::options::{RegionOptions, Source};
    use crate::memory::region::MemoryRegion;

    fn both() -> [Bounce; 2] {
        [Bounce(shared().unwrap()), Bounce(Memory::Private(zeros(Bounce::SIZE).unwrap()))]
    }

    fn iovec(at: *mut u8, len: usize) -> libc::iovec {
        libc::iovec { iov_base: at.cast(), iov_len: len }
    }

    #[test]
    fn bytes_go_there_and_back() {
        let page = page_size() as usize;
        let region = MemoryRegion::new(&RegionOptions::plain(0, 8 * page as u64)).unwrap();
        for mut bounce in both() {
            bounce.bytes_mut()[..3 * page].iter_mut().enumerate().for_each(|(at, byte)| {
                *byte = ((at * 31) >> 3) as u8;
            });
            let expected = bounce.bytes()[5..3 * page - 7].to_vec();
            // SAFETY: all within the region.
            unsafe {
                bounce.give(5, region.host().add(9), expected.len()).unwrap();
                bounce.bytes_mut().fill(0);
                let first = region.host().add(9);
                let mut parts =
                    vec![iovec(first, 100), iovec(first.add(100), expected.len() - 100)];
                bounce.take(11, &mut parts).unwrap();
            }
            assert!(bounce.bytes()[11..][..expected.len()] == expected);
        }
    }

    #[test]
    fn lasting_bytes_come_whole_wherever_they_begin() {
        let page = page_size() as usize;
        let region = MemoryRegion::new(&RegionOptions::plain(0, 8 * page as u64)).unwrap();
        let content: Vec<u8> = (0..8 * page).map(|at| ((at * 31) >> 3) as u8).collect();
        // SAFETY: the whole region.
        unsafe {
            crate::access::volatile::copy_to_guest(region.host(), content.as_ptr(), content.len())
        };
        for mut bounce in both() {
            for room in [1, 2, 64] {
                for (at, len) in [(0, 1), (page - 1, 2), (7, page), (9, 5 * page), (0, 8 * page)] {
                    bounce.bytes_mut().fill(0);
                    // SAFETY: within the region.
                    unsafe {
                        let mut parts = vec![iovec(region.host().add(at), len); 2];
                        bounce.take_lasting(11, &mut parts, &mut Vec::with_capacity(room)).unwrap();
                        assert!(parts.is_empty());
                    }
                    for copy in bounce.bytes()[11..].chunks(len).take(2) {
                        assert!(copy == &content[at..at + len]);
                    }
                    assert!(bounce.bytes()[11 + 2 * len..].iter().all(|byte| *byte == 0));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_touched_is_an_error() {
        let page = page_size() as usize;
        let source = Source::Private;
        let options = RegionOptions { source, ..RegionOptions::plain(0, 4 * page as u64) };
        let region = MemoryRegion::new(&options).unwrap();
        // SAFETY: the region's third page, which nobody uses.
        let result =
            unsafe { libc::mprotect(region.host().add(2 * page).cast(), page, libc::PROT_NONE) };
        assert_eq!(result, 0);
        for mut bounce in both() {
            // SAFETY: all within the region.
            unsafe {
                let mut parts = vec![iovec(region.host(), page), iovec(region.host(), 4 * page)];
                assert_eq!(bounce.take(0, &mut parts), Err(Error::io(libc::EFAULT)));
                for (at, len) in [(0, 4 * page), (2 * page, 1), (2 * page - 1, 2), (1, 2 * page)] {
                    let mut parts =
                        vec![iovec(region.host(), page), iovec(region.host().add(at), len)];
                    let result = bounce.take_lasting(0, &mut parts, &mut Vec::with_capacity(2));
                    assert_eq!(result, Err(Error::io(libc::EFAULT)));
                }
                assert_eq!(bounce.give(0, region.host(), 4 * page), Err(Error::io(libc::EFAULT)));
            }
        }
    }
}
