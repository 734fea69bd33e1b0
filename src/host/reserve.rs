// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory set aside for code that cannot bear a failed allocation.
//!
//! A failed allocation must not end the process, but crates such as serde_json allocate infallibly: a
//! failure there aborts. So before such a crate is called a [`Reserve`] is taken, fallibly, as large as
//! what the crate can ask for at the most. While the crate works ([`Reserve::serve`]) the library's
//! global allocator falls back to the thread's reserve where the system has no more. Nothing that was
//! made meanwhile may outlive the reserve, which the borrow in `serve` cannot check: callers copy
//! what they keep.
//!
//! The allocator is the system's in every other respect. It costs a load for each release, and a
//! look at a thread-local after a failure.

use crate::error::{Error, Result};
use crate::per_thread::Zeroed;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, with the thread's reserve behind it.
pub struct Allocator;

// Only this library's own allocations go through it: each Rust library brings its allocator.
#[cfg(not(loom))]
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Reserves that exist. Without one, releasing memory needs no look at whose it is.
static RESERVES: AtomicUsize = AtomicUsize::new(0);

/// The thread's reserves; NULL: none.
struct Reserves {
    /// The one that serves.
    serving: Cell<*const Reserve>,
    /// The one that is held; memory of it may be released when it serves no more.
    held: Cell<*const Reserve>,
}

// SAFETY: zeros are null pointers.
unsafe impl Zeroed for Reserves {}

per_thread!(reserves, "libguestmem_reserves", Reserves);

fn serving() -> *const Reserve {
    reserves(|reserves| reserves.serving.get())
}

/// Returns which served before.
fn serve_from(reserve: *const Reserve) -> *const Reserve {
    reserves(|reserves| reserves.serving.replace(reserve))
}

fn held() -> *const Reserve {
    reserves(|reserves| reserves.held.get())
}

/// Returns which was held before.
fn hold(reserve: *const Reserve) -> *const Reserve {
    reserves(|reserves| reserves.held.replace(reserve))
}

/// Memory of a thread for allocations that must not fail.
pub struct Reserve {
    start: NonNull<u8>,
    size: usize,
    /// Bytes handed out.
    used: Cell<usize>,
    /// Where the last block begins: it can grow in place, and be taken back.
    last: Cell<usize>,
    /// Whether the system had no more while this served.
    was_needed: Cell<bool>,
}

/// What the library allocates at once at the most, and what each block is aligned to.
const ALIGN: usize = 16;

impl Reserve {
    /// Calls `work` with `size` bytes in reserve. `work` gets the reserve, to have it serve.
    pub fn with<T>(size: usize, work: impl FnOnce(&Reserve) -> Result<T>) -> Result<T> {
        let layout = Layout::from_size_align(size.max(ALIGN), ALIGN)
            .map_err(|_| Error::NoMemory("a reserve"))?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { System.alloc(layout) });
        let reserve = Reserve {
            start: start.ok_or(Error::NoMemory("a reserve"))?,
            size: layout.size(),
            used: Cell::new(0),
            last: Cell::new(0),
            was_needed: Cell::new(false),
        };
        RESERVES.fetch_add(1, Ordering::Relaxed);
        let outer = hold(&reserve);
        let held = Held(&reserve, layout, outer);
        let result = work(&reserve);
        drop(held);
        result
    }

    /// Runs `work`, whose allocations come from the reserve where the system has no more. What it
    /// returns must be gone when [`Reserve::with`] ends.
    pub fn serve<T>(&self, work: impl FnOnce() -> T) -> T {
        let serving = Serving(serve_from(self));
        let result = work();
        drop(serving);
        result
    }

    /// True when the system had no more memory while the reserve served: what failed then failed for
    /// want of memory.
    pub fn was_needed(&self) -> bool {
        self.was_needed.get()
    }

    fn holds(&self, block: *mut u8) -> bool {
        (block as usize).wrapping_sub(self.start.as_ptr() as usize) < self.size
    }

    fn allocate(&self, layout: Layout) -> *mut u8 {
        self.was_needed.set(true);
        let begin = self.used.get();
        let room = self.size - begin;
        if layout.align() > ALIGN || layout.size() > room {
            return null_mut();
        }
        self.last.set(begin);
        // Blocks stay aligned; the last may take what is left of an odd end.
        self.used.set(begin + layout.size().next_multiple_of(ALIGN).min(room));
        // SAFETY: `begin` lies within the reserve or at its end.
        unsafe { self.start.as_ptr().add(begin) }
    }

    fn release(&self, block: *mut u8) {
        if block as usize - self.start.as_ptr() as usize == self.last.get() {
            self.used.set(self.last.get());
        }
    }

    /// Grows or shrinks the last block in place.
    fn resize(&self, block: *mut u8, size: usize) -> bool {
        let begin = block as usize - self.start.as_ptr() as usize;
        let fits = begin == self.last.get() && size <= self.size - begin;
        if fits {
            self.used.set(begin + size.next_multiple_of(ALIGN).min(self.size - begin));
        }
        fits
    }
}

/// Gives the memory back, whichever way `work` ends.
struct Held<'a>(&'a Reserve, Layout, *const Reserve);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        hold(self.2);
        RESERVES.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: allocated in `with` with this layout; what was served from it is gone.
        unsafe { System.dealloc(self.0.start.as_ptr(), self.1) };
    }
}

struct Serving(*const Reserve);

impl Drop for Serving {
    fn drop(&mut self) {
        serve_from(self.0);
    }
}

/// The thread's reserve that holds the block, if one does.
fn holder<'a>(block: *mut u8) -> Option<&'a Reserve> {
    if RESERVES.load(Ordering::Relaxed) == 0 {
        return None;
    }
    // SAFETY: `with` keeps the reserve alive for as long as the thread holds it.
    let held = unsafe { held().as_ref() }?;
    held.holds(block).then_some(held)
}

// SAFETY: blocks are the system's or of a reserve that outlives them; each goes back to where it
// came from, as `holder` can tell by the address. Nothing here unwinds or allocates.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { from_reserve(layout) } else { block }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = from_reserve(layout);
        if !block.is_null() {
            // SAFETY: a block of that size that nobody else knows of.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match holder(block) {
            Some(reserve) => reserve.release(block),
            // SAFETY: passed on.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let held = holder(block);
        if held.is_none() {
            // SAFETY: passed on.
            let moved = unsafe { System.realloc(block, layout, size) };
            if !moved.is_null() || serving().is_null() {
                return moved;
            }
        } else if held.is_some_and(|reserve| reserve.resize(block, size)) {
            return block;
        }
        // SAFETY: the caller vouches that the new size makes a layout too.
        let new = from_reserve(unsafe { Layout::from_size_align_unchecked(size, layout.align()) });
        if !new.is_null() {
            // SAFETY: two blocks, both of at least so many bytes; the old one is released as it was
            // allocated.
            unsafe {
                new.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        new
    }
}

#[cold]
fn from_reserve(layout: Layout) -> *mut u8 {
    // SAFETY: `serve` keeps the reserve alive for as long as it serves.
    match unsafe { serving().as_ref() } {
        Some(reserve) => reserve.allocate(layout),
        None => null_mut(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn blocks_of_a_reserve_are_told_from_the_systems_and_grow_in_place() {
        Reserve::with(256, |reserve| {
            let first = reserve.allocate(layout(24));
            let second = reserve.allocate(layout(100));
            assert!(reserve.holds(first) && holder(second).is_some());
            assert_eq!(second as usize - first as usize, 32);
            assert!(reserve.resize(second, 224) && !reserve.resize(second, 225));
            assert!(reserve.allocate(layout(1)).is_null());
            assert!(!reserve.resize(first, 16));
            reserve.release(second);
            assert_eq!(reserve.allocate(layout(224)), second);
            assert!(holder((&raw mut *Box::new(0u8)).cast()).is_none());
            Ok(())
        })
        .unwrap();
        assert!(serving().is_null() && held().is_null());
    }

    #[test]
    fn it_serves_only_while_it_is_asked_to() {
        Reserve::with(1024, |reserve| {
            assert!(from_reserve(layout(8)).is_null());
            let block = reserve.serve(|| from_reserve(layout(8)));
            assert!(reserve.holds(block) && reserve.was_needed());
            // SAFETY: a block of the reserve, released and moved as its layout says.
            unsafe {
                *block = 7;
                let moved = reserve.serve(|| {
                    reserve.allocate(layout(8));
                    ALLOCATOR.realloc(block, layout(8), 64)
                });
                assert!(moved != block && *moved == 7);
                ALLOCATOR.dealloc(moved, layout(64));
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn one_that_cannot_be_had_is_an_error() {
        let result = Reserve::with(usize::MAX, |_| Ok(()));
        assert_eq!(result, Err(Error::NoMemory("a reserve")));
    }
}
