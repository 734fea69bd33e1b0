// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The struct of a slice. The header declares it in the first section that uses it.

use crate::access::volatile::VolatileSlice;
use crate::memory::table::HostRange;
use std::ffi::c_void;
use std::ptr::null_mut;

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
    /// A slice without bytes.
    pub(super) const NONE: Self = guestmem_slice { addr: null_mut(), len: 0 };

    pub(super) fn of(bytes: HostRange) -> Self {
        guestmem_slice { addr: bytes.addr.cast(), len: bytes.len }
    }

    /// Its bytes, if it has an address.
    ///
    /// # Safety
    /// The slice is live.
    #[inline(always)]
    pub(super) unsafe fn present(self) -> Option<VolatileSlice> {
        // SAFETY: live by contract.
        (!self.addr.is_null()).then(|| unsafe { VolatileSlice::new(self.addr.cast(), self.len) })
    }

    /// Its bytes; none if it has no address, as after a failure.
    ///
    /// # Safety
    /// The slice is live.
    pub(super) unsafe fn bytes(self) -> VolatileSlice {
        // SAFETY: live by contract; no bytes may be anywhere.
        unsafe { self.present().unwrap_or(VolatileSlice::new(null_mut(), 0)) }
    }
}
