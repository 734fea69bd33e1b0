// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A progress function that checks what it is told.

use libc::{c_int, c_void};

/// What it was told so far.
pub struct Progress {
    /// At which call it asks to stop; 0: never.
    stop_at: usize,
    calls: usize,
    last: Option<(u64, u64)>,
}

impl Progress {
    /// One that asks to stop at the given call; 0: never.
    pub fn new(stop_at: usize) -> Self {
        Progress { stop_at, calls: 0, last: None }
    }

    /// What the options want.
    pub fn user(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }

    /// True once it asked to stop.
    pub fn has_stopped(&self) -> bool {
        self.stop_at != 0 && self.calls >= self.stop_at
    }

    /// True when the last it heard was the end.
    pub fn has_ended(&self) -> bool {
        self.last.is_some_and(|(done, total)| done == total)
    }

    fn tell(&mut self, done: u64, total: u64) -> c_int {
        assert!(!self.has_stopped(), "called after it asked to stop");
        assert!(done <= total);
        if let Some((last_done, last_total)) = self.last {
            assert!(done >= last_done && total == last_total);
        }
        self.last = Some((done, total));
        self.calls += 1;
        self.has_stopped().into()
    }
}

/// The function itself.
///
/// # Safety
/// `user` is from `Progress::user`, the `Progress` still there and otherwise unused.
pub unsafe extern "C" fn tell(user: *mut c_void, done: u64, total: u64) -> c_int {
    // SAFETY: by contract.
    unsafe { &mut *user.cast::<Progress>() }.tell(done, total)
}
