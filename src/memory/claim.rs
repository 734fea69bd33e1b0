// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Who is at work on all of a region: several that read it, or one that writes it.

use crate::error::Result;
use crate::host::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Reading beside others that read.
    Shared,
    /// Writing alone.
    Alone,
}

/// The claims on one region: the holders' process above, how many they are below. What other
/// threads held when a process was forked nobody holds in the child, where they are not.
#[derive(Debug, Default)]
pub struct Claim(AtomicU64);

/// The number that says: one, and alone.
const ALONE: u64 = COUNT;
const COUNT: u64 = u32::MAX as u64;

impl Claim {
    /// Takes a claim, if those there are allow it. `process` is that of [`process`].
    pub fn take(&self, usage: Use, process: Process) -> bool {
        let taken = |word: u64| {
            let held = if word & !COUNT == process.0 { word & COUNT } else { 0 };
            match usage {
                Use::Shared if held < ALONE - 1 => Some(process.0 | (held + 1)),
                Use::Alone if held == 0 => Some(process.0 | ALONE),
                _ => None,
            }
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, taken).is_ok()
    }

    /// Gives back what `take` gave to the same process.
    pub fn give_back(&self, usage: Use, process: Process) {
        let left = |word: u64| match usage {
            // A child has claims of its own by now.
            _ if word & !COUNT != process.0 => None,
            Use::Shared => Some(word - 1),
            Use::Alone => Some(process.0),
        };
        // Failing means that there is nothing to give back.
        let _ = self.0.fetch_update(Ordering::Release, Ordering::Relaxed, left);
    }
}

/// A process as claims know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u64);

impl Process {
    /// This one.
    pub fn current() -> Result<Self> {
        Ok(Process(process::identity()? << 32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::claim::Use::{Alone, Shared};

    #[test]
    fn many_read_or_one_writes() {
        let (claim, own) = (Claim::default(), Process::current().unwrap());
        assert!(claim.take(Shared, own) && claim.take(Shared, own));
        assert!(!claim.take(Alone, own));
        claim.give_back(Shared, own);
        assert!(!claim.take(Alone, own));
        claim.give_back(Shared, own);
        assert!(claim.take(Alone, own));
        assert!(!claim.take(Alone, own) && !claim.take(Shared, own));
        claim.give_back(Alone, own);
        assert!(claim.take(Shared, own));
    }

    #[test]
    fn a_child_takes_what_its_parent_held() {
        let (claim, parent) = (Claim::default(), Process::current().unwrap());
        let child = Process(parent.0 + (1 << 32));
        assert!(claim.take(Alone, parent) && claim.take(Shared, child));
        // The thread that was forked goes on where its parent was.
        claim.give_back(Alone, parent);
        assert!(!claim.take(Alone, child));
        claim.give_back(Shared, child);
        assert!(claim.take(Alone, child));
    }
}
