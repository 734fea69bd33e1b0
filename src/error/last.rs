// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Each thread's record of what failed last.

use super::Failure;
use crate::per_thread::Zeroed;
use std::cell::Cell;
use std::mem::MaybeUninit;

struct Record {
    is_set: Cell<bool>,
    failure: Cell<MaybeUninit<Failure>>,
}

// SAFETY: zeros are a record that is not set.
unsafe impl Zeroed for Record {}

per_thread!(with, "libguestmem_last", Record);

/// Records `failure` as the thread's last.
pub fn set_last(failure: Failure) {
    with(|record| {
        record.failure.set(MaybeUninit::new(failure));
        record.is_set.set(true);
    });
}

/// The thread's last failure.
pub fn last() -> Option<Failure> {
    // SAFETY: whoever set `is_set` had written a failure before.
    with(|record| record.is_set.get().then(|| unsafe { record.failure.get().assume_init() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn the_last_failure_is_the_threads_own() {
        set_last(Failure { error: Error::Overlap, range: Some((1, 2)) });
        std::thread::spawn(|| assert!(last().is_none())).join().unwrap();
        assert_eq!(last().unwrap().error, Error::Overlap);
    }
}
