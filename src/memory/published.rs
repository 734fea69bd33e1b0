// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The pointer that readers follow without a lock, and the version by which they tell later whether
//! what they found is still in force.

#[cfg(loom)]
use loom::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// What is in force. Whoever publishes keeps all that ever was, for readers that still look at it.
#[repr(C)]
#[derive(Debug)]
pub struct Published<T> {
    current: AtomicPtr<T>,
    /// Of `current`, written after it.
    version: AtomicU64,
}

impl<T> Published<T> {
    /// Nothing yet, with version 0.
    pub fn nothing() -> Self {
        Published { current: AtomicPtr::new(std::ptr::null_mut()), version: AtomicU64::new(0) }
    }

    /// Puts `item` in force. Readers see the one before or this one, whole. `version` is one that
    /// nothing else has or had.
    pub fn put(&self, item: *mut T, version: u64) {
        self.current.store(item, Ordering::Release);
        self.version.store(version, Ordering::Release);
    }

    /// What is in force; NULL before the first.
    #[inline(always)]
    pub fn get(&self) -> *mut T {
        self.current.load(Ordering::Acquire)
    }

    /// The version and what is in force, in this order: a change in between makes the version out
    /// of date, and never one pass for current that is not.
    pub fn get_versioned(&self) -> (u64, *mut T) {
        (self.version.load(Ordering::Acquire), self.get())
    }

    /// Nothing is in force any more: every version that was read is out of date.
    pub fn retire(&self) {
        self.version.store(0, Ordering::Release);
    }

    /// Where the version is kept.
    pub fn version_address(&self) -> *const u64 {
        (&raw const self.version).cast()
    }
}

/// In every interleaving: `make check-loom`.
#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A table whose contents loom watches for races.
    struct Item(UnsafeCell<u64>);

    fn item(content: u64) -> *mut Item {
        let item = Item(UnsafeCell::new(0));
        // Filled after it was made, as a table is, so that publishing too early shows.
        // SAFETY: nobody else knows of it yet.
        item.0.with_mut(|place| unsafe { *place = content });
        Box::into_raw(Box::new(item))
    }

    fn content(item: *mut Item) -> u64 {
        // SAFETY: items are leaked; loom watches that nobody writes meanwhile.
        unsafe { (*item).0.with(|place| *place) }
    }

    #[test]
    fn readers_see_whole_tables_and_no_old_one_passes_for_current() {
        loom::model(|| {
            let shared = Arc::new(Published::nothing());
            shared.put(item(10), 1);
            let writer = {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.put(item(20), 2);
                    shared.put(item(30), 3);
                })
            };
            let reader = {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (version, found) = shared.get_versioned();
                    let content = content(found);
                    assert!(content >= 10 * version, "the version was ahead of the table");
                    let later = shared.get_versioned();
                    assert!(later.0 >= version);
                    if later.0 == version && version == 3 {
                        assert_eq!(content, 30);
                    }
                })
            };
            writer.join().unwrap();
            reader.join().unwrap();
            assert_eq!(shared.get_versioned().0, 3);
        });
    }
}
