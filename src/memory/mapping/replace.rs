// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Pages that the kernel cannot give back where they are: zeros, made ready elsewhere, take their
//! place.

use crate::error::{Error, Result};
use crate::memory::mapping::{Advice, Mapping, map_anywhere};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Of those that replace locked pages.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Mapping {
    /// Replaces a range by fresh private zeros to which `advice` is given, or changes nothing.
    pub fn replace_with_zeros(
        &self,
        offset: u64,
        len: u64,
        advice: impl Iterator<Item = Advice>,
    ) -> Result<()> {
        let zeros = Mapping::unguarded_zeros(len as usize, self.protection)?;
        let mut lock = false;
        for advice in advice {
            match advice {
                Advice::Lock => lock = true,
                advice => zeros.apply(advice, 0, len)?,
            }
        }
        if !lock {
            return self.put_over(offset, zeros);
        }
        // Nobody else's pages are to take the room that these need to get their lock back.
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        match zeros.lock(0, len) {
            Ok(()) => return self.put_over(offset, zeros),
            Err(Error::Os { errno: libc::ENOMEM, .. }) => {}
            refused => return refused,
        }
        // The process has no right to lock more than it has. So the old pages give theirs up first,
        // and get it back when that was for nothing.
        self.unlock(offset, len)?;
        let locked = zeros.lock(0, len);
        let replaced = locked.and_then(|()| self.put_over(offset, zeros));
        replaced.inspect_err(|_| {
            let _ = self.lock(offset, len);
        })
    }

    /// Writes zeros over pages that are given back but must stay where they are. Others may use them
    /// meanwhile, so each word is stored by one atomic access.
    pub fn write_zeros(&self, offset: u64, len: u64) -> Result<()> {
        let words = self.part(offset, len)?.cast::<u64>();
        for index in 0..len as usize / size_of::<u64>() {
            // SAFETY: within the mapping, aligned as pages are, and not read-only.
            unsafe { AtomicU64::from_ptr(words.add(index)) }.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Zeros by themselves, to be put into another mapping.
    fn unguarded_zeros(size: usize, protection: i32) -> Result<Self> {
        let (host, kept_by) = (map_anywhere(size, protection)?, AtomicU64::new(0));
        let (reserved, is_guarded) = (Some((host, size)), false);
        let zeros = Mapping { host, size, reserved, is_guarded, protection, kept_by };
        zeros.dont_dump(0, zeros.size())?;
        Ok(zeros)
    }

    /// Puts another mapping, with whatever advice it was given, in the place of a range: one step
    /// for whoever uses the range meanwhile. The kernel finds out whether it has room for one more
    /// mapping before it takes the old pages away.
    fn put_over(&self, offset: u64, other: Mapping) -> Result<()> {
        let start = self.part(offset, other.size())?;
        let (host, size) = (other.host.cast(), other.size);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: moves a mapping that nobody else knows of over a part of our own, whose bytes the
        // caller asks to drop.
        if unsafe { libc::mremap(host, size, size, flags, start) } == libc::MAP_FAILED {
            return Err(Error::last_os("mremap"));
        }
        // Nothing is left where it was.
        std::mem::forget(other);
        Ok(())
    }
}
