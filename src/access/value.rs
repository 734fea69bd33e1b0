// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The accesses to one value: plain reads and writes, ordered loads and stores, the exchange.

use crate::access::lookup::Access;
use crate::access::volatile::{LoadOrder, StoreOrder, Word};
use std::sync::atomic::Ordering;

/// Reads a value by one access, which is not torn where the value is aligned.
#[derive(Clone, Copy, Debug)]
pub struct Read<const ALIGNED: bool>;

/// Writes a value by one access, which is not torn where the value is aligned.
#[derive(Clone, Copy, Debug)]
pub struct Write<W, const ALIGNED: bool>(pub W);

/// Loads a value atomically.
#[derive(Clone, Copy, Debug)]
pub struct Load(pub LoadOrder);

/// Stores a value atomically.
#[derive(Clone, Copy, Debug)]
pub struct Store<W>(pub W, pub StoreOrder);

/// Replaces a value atomically if it is what is expected. Gives what it was, as an error if it was
/// something else.
#[derive(Clone, Copy, Debug)]
pub struct CompareExchange<W> {
    /// What the value must be.
    pub expected: W,
    /// What takes its place.
    pub desired: W,
    /// The order of the exchange. Where the values differ, of the load, as far as a load has it.
    pub order: Ordering,
}

impl<W: Word, const ALIGNED: bool> Access<W> for Read<ALIGNED> {
    type Output = W;
    const WRITES: bool = false;
    const ALIGNED: bool = ALIGNED;

    #[inline(always)]
    unsafe fn at(self, host: *mut W) -> W {
        // SAFETY: mapped, by contract.
        unsafe { W::read(host) }
    }
}

impl<W: Word, const ALIGNED: bool> Access<W> for Write<W, ALIGNED> {
    type Output = ();
    const WRITES: bool = true;
    const ALIGNED: bool = ALIGNED;

    #[inline(always)]
    unsafe fn at(self, host: *mut W) {
        // SAFETY: mapped and writable, by contract.
        unsafe { W::write(host, self.0) }
    }
}

impl<W: Word> Access<W> for Load {
    type Output = W;
    const WRITES: bool = false;
    const ALIGNED: bool = true;

    #[inline(always)]
    unsafe fn at(self, host: *mut W) -> W {
        // SAFETY: mapped and aligned, by contract.
        unsafe { W::load(host, self.0) }
    }
}

impl<W: Word> Access<W> for Store<W> {
    type Output = ();
    const WRITES: bool = true;
    const ALIGNED: bool = true;

    #[inline(always)]
    unsafe fn at(self, host: *mut W) {
        // SAFETY: mapped, writable and aligned, by contract.
        unsafe { W::store(host, self.0, self.1) }
    }
}

impl<W: Word> Access<W> for CompareExchange<W> {
    type Output = Result<W, W>;
    const WRITES: bool = true;
    const ALIGNED: bool = true;

    #[inline(always)]
    unsafe fn at(self, host: *mut W) -> Result<W, W> {
        // SAFETY: mapped, writable and aligned, by contract.
        unsafe { W::compare_exchange(host, self.expected, self.desired, self.order) }
    }
}
