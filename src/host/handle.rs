// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Reference-counted objects in type-stable memory: what a C handle points to.
//!
//! A slot begins with a tag that tells its type and is overwritten at release. Slots are recycled
//! first in, first out, after a time at rest, and never given back to the allocator, so a stale
//! handle finds a slot without a tag instead of memory that means something else by now. Allocation
//! is fallible, which `Arc` is not.

use crate::error::{Error, Result};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Slots at rest at least: so many objects are made before a stale handle can meet a new one in its
/// slot.
const AT_REST: usize = 64;
/// Slots that are allocated at once.
const SLOTS_AT_ONCE: usize = 2 * AT_REST;

/// Written over the tag at release.
const RELEASED: u64 = 0x6465_7361_656c_6572; // "released"

/// A type whose objects live in slots.
pub trait Pooled: Sized + Send + Sync + 'static {
    /// Tells the type of a live slot. No two types share one.
    const TAG: u64;
    /// The one pool of this type.
    fn pool() -> &'static Pool<Self>;
}

/// One object with its tag and count.
#[repr(C)]
pub struct Slot<T> {
    tag: AtomicU64,
    refs: AtomicUsize,
    /// Those of `refs` that C owns: it cannot give back what is held here.
    owned_by_c: AtomicUsize,
    next_free: AtomicPtr<Slot<T>>,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// All slots of one type.
pub struct Pool<T> {
    free: Mutex<FreeList<T>>,
    live: AtomicUsize,
}

struct FreeList<T> {
    first: *mut Slot<T>,
    last: *mut Slot<T>,
    count: usize,
    /// Where slots were allocated, so that leak checkers find them also while all are in use.
    allocated: Vec<*mut Slot<T>>,
}

// SAFETY: the pointers lead to slots that live for ever; the list is only used under the mutex.
unsafe impl<T> Send for FreeList<T> {}

impl<T: Pooled> Pool<T> {
    /// A pool without slots.
    pub const fn new() -> Self {
        let (first, last) = (null_mut(), null_mut());
        let free = FreeList { first, last, count: 0, allocated: Vec::new() };
        Pool { free: Mutex::new(free), live: AtomicUsize::new(0) }
    }

    /// Objects alive now.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, FreeList<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<NonNull<Slot<T>>> {
        let mut free = self.lock();
        if free.count <= AT_REST {
            free.grow()?;
        }
        let slot = NonNull::new(free.first).ok_or(Error::Internal("the pool did not grow"))?;
        // SAFETY: slots on the list are valid for ever and, under the lock, ours.
        free.first = unsafe { slot.as_ref() }.next_free.load(Ordering::Relaxed);
        free.count -= 1;
        self.live.fetch_add(1, Ordering::Relaxed);
        Ok(slot)
    }

    fn give_back(&self, slot: NonNull<Slot<T>>) {
        self.lock().append(slot.as_ptr());
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T: Pooled> Default for Pool<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> FreeList<T> {
    fn append(&mut self, slot: *mut Slot<T>) {
        // SAFETY: `slot` and, unless the list is empty, `last` are valid for ever; the caller
        // holds the lock.
        unsafe {
            (*slot).next_free.store(null_mut(), Ordering::Relaxed);
            if self.first.is_null() {
                self.first = slot;
            } else {
                (*self.last).next_free.store(slot, Ordering::Relaxed);
            }
        }
        self.last = slot;
        self.count += 1;
    }

    fn grow(&mut self) -> Result<()> {
        let mut slots: Vec<Slot<T>> = Vec::new();
        slots.try_reserve_exact(SLOTS_AT_ONCE).map_err(|_| Error::NoMemory("a handle"))?;
        self.allocated.try_reserve(1).map_err(|_| Error::NoMemory("a handle"))?;
        slots.resize_with(SLOTS_AT_ONCE, Slot::empty);
        self.allocated.push(slots.as_mut_ptr());
        // Leaked on purpose: stale handles go on pointing here.
        for slot in slots.leak() {
            self.append(slot);
        }
        Ok(())
    }
}

impl<T> Slot<T> {
    fn empty() -> Self {
        Slot {
            tag: AtomicU64::new(RELEASED),
            refs: AtomicUsize::new(0),
            owned_by_c: AtomicUsize::new(0),
            next_free: AtomicPtr::new(null_mut()),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }
}

/// What stands where a slot has its tag. A foreign pointer may be misaligned, and a stale one may
/// meet a slot that is being taken again: so it is read by one volatile access at any alignment.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct AnyTag(u64);

/// Tells whether `handle` points to a live object, and lends it.
///
/// # Safety
/// `handle` is NULL or points to readable memory of the size of a tag. The object lives while the
/// caller uses it: the caller of the C function that got this handle vouches for that.
#[inline(always)]
pub unsafe fn lend<'a, T: Pooled>(handle: *const Slot<T>) -> Option<&'a T> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: readable by contract.
    if unsafe { handle.cast::<AnyTag>().read_volatile() }.0 != T::TAG {
        return None;
    }
    // SAFETY: the tag tells that this is a slot of ours and that its value is initialised.
    Some(unsafe { &*(*handle).value.get().cast::<T>() })
}

/// A counted reference to an object in a slot.
#[derive(Debug)]
pub struct Ref<T: Pooled>(NonNull<Slot<T>>);

// SAFETY: like `Arc`: the count is atomic and the object is `Send + Sync`.
unsafe impl<T: Pooled> Send for Ref<T> {}
// SAFETY: as above.
unsafe impl<T: Pooled> Sync for Ref<T> {}

impl<T: Pooled> Ref<T> {
    /// Puts `value` into a slot, with one reference.
    pub fn new(value: T) -> Result<Self> {
        let slot = T::pool().take()?;
        // SAFETY: a slot just taken belongs to this thread alone, and its value is vacant.
        unsafe {
            (*slot.as_ref().value.get()).write(value);
            slot.as_ref().refs.store(1, Ordering::Relaxed);
            slot.as_ref().owned_by_c.store(0, Ordering::Relaxed);
            slot.as_ref().tag.store(T::TAG, Ordering::Release);
        }
        Ok(Ref(slot))
    }

    /// The handle for C, which owns the reference from now on.
    pub fn into_raw(self) -> *mut Slot<T> {
        // SAFETY: slots are valid for ever.
        unsafe { self.0.as_ref() }.owned_by_c.fetch_add(1, Ordering::Relaxed);
        std::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// Takes back a reference that C owns, if it is a live handle and C owns any.
    ///
    /// # Safety
    /// As for [`lend`]; the caller gives up its reference.
    pub unsafe fn from_raw(handle: *mut Slot<T>) -> Option<Self> {
        // SAFETY: passed on.
        unsafe { lend(handle) }?;
        // SAFETY: the handle of a slot, which is valid for ever.
        let owned = unsafe { &(*handle).owned_by_c };
        let one_less = |count: usize| count.checked_sub(1);
        owned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok()?;
        NonNull::new(handle).map(Ref)
    }

    /// A further reference to the object behind a C handle, if it is a live handle.
    ///
    /// # Safety
    /// As for [`lend`].
    pub unsafe fn share_raw(handle: *mut Slot<T>) -> Option<Self> {
        // SAFETY: passed on.
        unsafe { lend(handle) }?;
        let borrowed = std::mem::ManuallyDrop::new(Ref(NonNull::new(handle)?));
        Some(Ref::clone(&borrowed))
    }
}

impl<T: Pooled> Deref for Ref<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: a reference is counted, so the value is there.
        unsafe { (*self.0.as_ref().value.get()).assume_init_ref() }
    }
}

impl<T: Pooled> Clone for Ref<T> {
    fn clone(&self) -> Self {
        // SAFETY: slots are valid for ever.
        unsafe { self.0.as_ref() }.refs.fetch_add(1, Ordering::Relaxed);
        Ref(self.0)
    }
}

impl<T: Pooled> Drop for Ref<T> {
    fn drop(&mut self) {
        // SAFETY: slots are valid for ever.
        let slot = unsafe { self.0.as_ref() };
        if slot.refs.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // Everything that others did with the object happened before it goes. A load in place of a
        // fence, as ThreadSanitizer knows none.
        slot.refs.load(Ordering::Acquire);
        slot.tag.store(RELEASED, Ordering::Relaxed);
        // SAFETY: this was the last reference, so nobody else looks at the value, which is
        // initialised and dropped just here.
        unsafe { (*slot.value.get()).assume_init_drop() };
        T::pool().give_back(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Probe(u32);
    static POOL: Pool<Probe> = Pool::new();
    impl Pooled for Probe {
        const TAG: u64 = 0x7072_6f62_6500_0000;
        fn pool() -> &'static Pool<Self> {
            &POOL
        }
    }

    #[test]
    fn a_released_handle_is_told_until_its_slot_comes_round_again() {
        // However many slots are in use, down to the last that is not at rest.
        for before in 0..2 * SLOTS_AT_ONCE {
            let held: Vec<_> = (0..before).map(|n| Ref::new(Probe(n as u32))).collect();
            let handle = Ref::new(Probe(7)).unwrap().into_raw();
            // SAFETY: slots are valid for ever; one reference is ours.
            drop(unsafe { Ref::from_raw(handle) }.unwrap());
            let later: Vec<_> = (0..AT_REST).map(|n| Ref::new(Probe(n as u32))).collect();
            // SAFETY: as above.
            assert!(unsafe { lend(handle) }.is_none());
            assert_eq!(POOL.live(), held.len() + later.len());
        }
        assert_eq!(POOL.live(), 0);
        a_handle_is_good_until_its_last_reference_goes();
    }

    /// Not a test of its own: they run side by side, on one pool.
    fn a_handle_is_good_until_its_last_reference_goes() {
        let handle = Ref::new(Probe(7)).unwrap().into_raw();
        // SAFETY: slots are valid for ever; one reference is ours.
        unsafe {
            assert_eq!(lend(handle).map(|p| p.0), Some(7));
            let shared = Ref::share_raw(handle).unwrap();
            drop(Ref::from_raw(handle).unwrap());
            // What is left is not C's.
            assert!(Ref::from_raw(handle).is_none());
            assert_eq!((*shared).0, 7);
            drop(shared);
            assert!(lend(handle).is_none());
            assert!(Ref::from_raw(handle).is_none());
            assert!(lend::<Probe>(std::ptr::null()).is_none());
        }
    }

    #[test]
    fn memory_of_other_kinds_is_no_handle() {
        let foreign = [0x41u8; 64];
        for offset in 0..8 {
            let pointer = foreign[offset..].as_ptr().cast::<Slot<Probe>>();
            // SAFETY: readable.
            assert!(unsafe { lend(pointer) }.is_none());
        }
    }
}
