// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A function that gives data, in pieces of some size, and may fail.

use crate::random::Random;
use libc::c_void;

/// What it gives.
pub struct Source<'a> {
    rest: &'a [u8],
    /// The most that it gives at once.
    piece: usize,
    /// At which call it fails; 0: never.
    fail_at: usize,
    calls: usize,
    /// Instead of an errno, more bytes than there was room for.
    lies: bool,
}

impl<'a> Source<'a> {
    /// One that gives `bytes`.
    pub fn new(bytes: &'a [u8], random: &mut Random) -> Self {
        Source {
            rest: bytes,
            piece: random.pick(&[17, 4095, 4096, 4097, 10_000, usize::MAX]),
            fail_at: random.pick(&[0, 0, 0, 0, 0, 0, 1, 2]),
            calls: 0,
            lies: random.once_in(2),
        }
    }

    /// What the call wants.
    pub fn user(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }

    /// What was not asked for.
    pub fn rest(&self) -> &[u8] {
        self.rest
    }

    /// True once it failed.
    pub fn has_failed(&self) -> bool {
        self.fail_at != 0 && self.calls >= self.fail_at
    }

    fn give(&mut self, room: &mut [u8]) -> i64 {
        assert!(!self.has_failed(), "called after it failed");
        assert!(!room.is_empty());
        self.calls += 1;
        if self.has_failed() {
            return if self.lies { room.len() as i64 + 1 } else { -i64::from(libc::EIO) };
        }
        let len = self.piece.min(room.len()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(len);
        room[..len].copy_from_slice(piece);
        self.rest = rest;
        len as i64
    }
}

/// The function itself.
///
/// # Safety
/// `user` is from `Source::user`, the `Source` still there and otherwise unused; `buf` can be
/// written for `len` bytes.
pub unsafe extern "C" fn give(user: *mut c_void, buf: *mut c_void, len: usize) -> i64 {
    // SAFETY: by contract. Zeroed first, since references are to initialised bytes.
    unsafe {
        buf.cast::<u8>().write_bytes(0, len);
        (*user.cast::<Source>()).give(std::slice::from_raw_parts_mut(buf.cast(), len))
    }
}
