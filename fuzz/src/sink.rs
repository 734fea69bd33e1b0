// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A function that takes data, in pieces of some size, and may fail.

use crate::random::Random;
use libc::c_void;

/// What it took.
pub struct Sink {
    bytes: Vec<u8>,
    /// The most that it takes at once.
    piece: usize,
    /// At which call it fails; 0: never.
    fail_at: usize,
    calls: usize,
    /// What it says then, besides an errno: that it took nothing, or more than there was.
    lie: Option<i64>,
}

impl Sink {
    /// An empty one.
    pub fn new(random: &mut Random) -> Self {
        Sink {
            bytes: Vec::new(),
            piece: random.pick(&[17, 4095, 4096, 10_000, usize::MAX, usize::MAX]),
            fail_at: random.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
            calls: 0,
            lie: random.pick(&[None, None, Some(0), Some(i64::MAX)]),
        }
    }

    /// What the call wants.
    pub fn user(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }

    /// All that it took.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// True once it failed.
    pub fn has_failed(&self) -> bool {
        self.fail_at != 0 && self.calls >= self.fail_at
    }

    fn take(&mut self, bytes: &[u8]) -> i64 {
        assert!(!self.has_failed(), "called after it failed");
        assert!(!bytes.is_empty());
        self.calls += 1;
        if self.has_failed() {
            return self.lie.unwrap_or(-i64::from(libc::EIO));
        }
        let len = self.piece.min(bytes.len());
        self.bytes.extend(&bytes[..len]);
        len as i64
    }
}

/// The function itself.
///
/// # Safety
/// `user` is from `Sink::user`, the `Sink` still there and otherwise unused; `buf` can be read for
/// `len` bytes.
pub unsafe extern "C" fn take(user: *mut c_void, buf: *const c_void, len: usize) -> i64 {
    // SAFETY: by contract.
    unsafe { (*user.cast::<Sink>()).take(std::slice::from_raw_parts(buf.cast(), len)) }
}
