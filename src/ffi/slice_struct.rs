// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The struct of a slice. The header declares it in the first section that uses it.

use crate::access::volatile::VolatileSlice;
use std::ffi::c_void;

/// Host address and length of guest bytes, laid out as struct iovec: pass arrays of it to readv(2)
/// and writev(2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_slice {
    /// The first byte.
    pub addr: *mut c_void,
    /// Length in bytes.
    pub len: usize,
}

impl guestmem_slice {
    pub(super) fn of(slice: VolatileSlice) -> Self {
        guestmem_slice { addr: slice.addr().cast(), len: slice.len() }
    }

    /// Its bytes; none where there is no address, as after a failure.
    ///
    /// # Safety
    /// The slice is live.
    pub(super) unsafe fn bytes(self) -> VolatileSlice {
        let len = if self.addr.is_null() { 0 } else { self.len };
        // SAFETY: live by contract.
        unsafe { VolatileSlice::new(self.addr.cast(), len) }
    }
}
