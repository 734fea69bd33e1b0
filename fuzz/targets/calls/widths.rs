// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The calls that there are for each width of a value, by one name.

use ::guestmem::ffi::memory::guestmem;
use ::guestmem::ffi::slice::guestmem_slice;
use ::guestmem::ffi::value::*;
use ::guestmem::ffi::view::guestmem_view;
use ::guestmem::ffi::view_value::*;
use std::ffi::c_int;

type Load<T> = unsafe extern "C" fn(*const guestmem, u64, u32, *mut T) -> c_int;
type Store<T> = unsafe extern "C" fn(*const guestmem, u64, T, u32) -> c_int;
type Exchange<T> = unsafe extern "C" fn(*const guestmem, u64, *mut T, T, u32, *mut bool) -> c_int;
type View = *const guestmem_view;

/// The functions of the inline path: those of the header, or their exported twins.
pub struct Inline<T> {
    pub read: unsafe extern "C" fn(View, u64, *mut T) -> bool,
    pub write: unsafe extern "C" fn(View, u64, T) -> bool,
    pub load: unsafe extern "C" fn(View, u64, u32, *mut T) -> bool,
    pub store: unsafe extern "C" fn(View, u64, T, u32) -> bool,
    pub slice_load: unsafe extern "C" fn(guestmem_slice, usize, u32, *mut T) -> bool,
    pub slice_store: unsafe extern "C" fn(guestmem_slice, usize, T, u32) -> bool,
}

/// A value of 8, 16, 32 or 64 bits.
pub trait Width: Copy + PartialEq + Into<u64> + 'static {
    const SIZE: u64 = size_of::<Self>() as u64;
    /// The low bits.
    fn cut(value: u64) -> Self;

    const READ: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int;
    const WRITE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int;
    const READ_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int;
    const WRITE_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int;
    const LOAD: Load<Self>;
    const STORE: Store<Self>;
    const EXCHANGE: Exchange<Self>;
    const INLINE: Inline<Self>;
    const TWINS: Inline<Self>;
}

impl Width for u8 {
    fn cut(value: u64) -> Self {
        value as u8
    }
    const READ: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int = guestmem_read_u8;
    const WRITE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int = guestmem_write_u8;
    const READ_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int =
        guestmem_read_volatile_u8;
    const WRITE_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int =
        guestmem_write_volatile_u8;
    const LOAD: Load<Self> = guestmem_load_u8;
    const STORE: Store<Self> = guestmem_store_u8;
    const EXCHANGE: Exchange<Self> = guestmem_compare_exchange_u8;
    const INLINE: Inline<Self> = Inline {
        read: inline::guestmem_view_read_u8,
        write: inline::guestmem_view_write_u8,
        load: inline::guestmem_view_load_u8,
        store: inline::guestmem_view_store_u8,
        slice_load: inline::guestmem_slice_load_u8,
        slice_store: inline::guestmem_slice_store_u8,
    };
    const TWINS: Inline<Self> = Inline {
        read: guestmem_view_read_u8_fn,
        write: guestmem_view_write_u8_fn,
        load: guestmem_view_load_u8_fn,
        store: guestmem_view_store_u8_fn,
        slice_load: guestmem_slice_load_u8_fn,
        slice_store: guestmem_slice_store_u8_fn,
    };
}

impl Width for u16 {
    fn cut(value: u64) -> Self {
        value as u16
    }
    const READ: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int = guestmem_read_u16;
    const WRITE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int = guestmem_write_u16;
    const READ_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int =
        guestmem_read_volatile_u16;
    const WRITE_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int =
        guestmem_write_volatile_u16;
    const LOAD: Load<Self> = guestmem_load_u16;
    const STORE: Store<Self> = guestmem_store_u16;
    const EXCHANGE: Exchange<Self> = guestmem_compare_exchange_u16;
    const INLINE: Inline<Self> = Inline {
        read: inline::guestmem_view_read_u16,
        write: inline::guestmem_view_write_u16,
        load: inline::guestmem_view_load_u16,
        store: inline::guestmem_view_store_u16,
        slice_load: inline::guestmem_slice_load_u16,
        slice_store: inline::guestmem_slice_store_u16,
    };
    const TWINS: Inline<Self> = Inline {
        read: guestmem_view_read_u16_fn,
        write: guestmem_view_write_u16_fn,
        load: guestmem_view_load_u16_fn,
        store: guestmem_view_store_u16_fn,
        slice_load: guestmem_slice_load_u16_fn,
        slice_store: guestmem_slice_store_u16_fn,
    };
}

impl Width for u32 {
    fn cut(value: u64) -> Self {
        value as u32
    }
    const READ: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int = guestmem_read_u32;
    const WRITE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int = guestmem_write_u32;
    const READ_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int =
        guestmem_read_volatile_u32;
    const WRITE_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int =
        guestmem_write_volatile_u32;
    const LOAD: Load<Self> = guestmem_load_u32;
    const STORE: Store<Self> = guestmem_store_u32;
    const EXCHANGE: Exchange<Self> = guestmem_compare_exchange_u32;
    const INLINE: Inline<Self> = Inline {
        read: inline::guestmem_view_read_u32,
        write: inline::guestmem_view_write_u32,
        load: inline::guestmem_view_load_u32,
        store: inline::guestmem_view_store_u32,
        slice_load: inline::guestmem_slice_load_u32,
        slice_store: inline::guestmem_slice_store_u32,
    };
    const TWINS: Inline<Self> = Inline {
        read: guestmem_view_read_u32_fn,
        write: guestmem_view_write_u32_fn,
        load: guestmem_view_load_u32_fn,
        store: guestmem_view_store_u32_fn,
        slice_load: guestmem_slice_load_u32_fn,
        slice_store: guestmem_slice_store_u32_fn,
    };
}

impl Width for u64 {
    fn cut(value: u64) -> Self {
        value
    }
    const READ: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int = guestmem_read_u64;
    const WRITE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int = guestmem_write_u64;
    const READ_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, *mut Self) -> c_int =
        guestmem_read_volatile_u64;
    const WRITE_VOLATILE: unsafe extern "C" fn(*const guestmem, u64, Self) -> c_int =
        guestmem_write_volatile_u64;
    const LOAD: Load<Self> = guestmem_load_u64;
    const STORE: Store<Self> = guestmem_store_u64;
    const EXCHANGE: Exchange<Self> = guestmem_compare_exchange_u64;
    const INLINE: Inline<Self> = Inline {
        read: inline::guestmem_view_read_u64,
        write: inline::guestmem_view_write_u64,
        load: inline::guestmem_view_load_u64,
        store: inline::guestmem_view_store_u64,
        slice_load: inline::guestmem_slice_load_u64,
        slice_store: inline::guestmem_slice_store_u64,
    };
    const TWINS: Inline<Self> = Inline {
        read: guestmem_view_read_u64_fn,
        write: guestmem_view_write_u64_fn,
        load: guestmem_view_load_u64_fn,
        store: guestmem_view_store_u64_fn,
        slice_load: guestmem_slice_load_u64_fn,
        slice_store: guestmem_slice_store_u64_fn,
    };
}

/// The header's own, compiled as C.
pub mod inline {
    use super::{View, guestmem, guestmem_slice};
    use std::ffi::c_void;

    // The handles are opaque.
    #[allow(improper_ctypes)]
    unsafe extern "C" {
        pub fn guestmem_view_is_current(view: View, mem: *const guestmem) -> bool;
        pub fn guestmem_view_ptr(view: View, addr: u64, len: u64) -> *mut c_void;
        pub fn guestmem_view_ptr_writable(view: View, addr: u64, len: u64) -> *mut c_void;
        pub fn guestmem_view_read_u8(view: View, addr: u64, out: *mut u8) -> bool;
        pub fn guestmem_view_write_u8(view: View, addr: u64, value: u8) -> bool;
        pub fn guestmem_view_load_u8(view: View, addr: u64, order: u32, out: *mut u8) -> bool;
        pub fn guestmem_view_store_u8(view: View, addr: u64, value: u8, order: u32) -> bool;
        pub fn guestmem_slice_load_u8(
            s: guestmem_slice,
            at: usize,
            order: u32,
            out: *mut u8,
        ) -> bool;
        pub fn guestmem_slice_store_u8(s: guestmem_slice, at: usize, value: u8, order: u32)
        -> bool;
        pub fn guestmem_view_read_u16(view: View, addr: u64, out: *mut u16) -> bool;
        pub fn guestmem_view_write_u16(view: View, addr: u64, value: u16) -> bool;
        pub fn guestmem_view_load_u16(view: View, addr: u64, order: u32, out: *mut u16) -> bool;
        pub fn guestmem_view_store_u16(view: View, addr: u64, value: u16, order: u32) -> bool;
        pub fn guestmem_slice_load_u16(
            s: guestmem_slice,
            at: usize,
            order: u32,
            out: *mut u16,
        ) -> bool;
        pub fn guestmem_slice_store_u16(
            s: guestmem_slice,
            at: usize,
            value: u16,
            order: u32,
        ) -> bool;
        pub fn guestmem_view_read_u32(view: View, addr: u64, out: *mut u32) -> bool;
        pub fn guestmem_view_write_u32(view: View, addr: u64, value: u32) -> bool;
        pub fn guestmem_view_load_u32(view: View, addr: u64, order: u32, out: *mut u32) -> bool;
        pub fn guestmem_view_store_u32(view: View, addr: u64, value: u32, order: u32) -> bool;
        pub fn guestmem_slice_load_u32(
            s: guestmem_slice,
            at: usize,
            order: u32,
            out: *mut u32,
        ) -> bool;
        pub fn guestmem_slice_store_u32(
            s: guestmem_slice,
            at: usize,
            value: u32,
            order: u32,
        ) -> bool;
        pub fn guestmem_view_read_u64(view: View, addr: u64, out: *mut u64) -> bool;
        pub fn guestmem_view_write_u64(view: View, addr: u64, value: u64) -> bool;
        pub fn guestmem_view_load_u64(view: View, addr: u64, order: u32, out: *mut u64) -> bool;
        pub fn guestmem_view_store_u64(view: View, addr: u64, value: u64, order: u32) -> bool;
        pub fn guestmem_slice_load_u64(
            s: guestmem_slice,
            at: usize,
            order: u32,
            out: *mut u64,
        ) -> bool;
        pub fn guestmem_slice_store_u64(
            s: guestmem_slice,
            at: usize,
            value: u64,
            order: u32,
        ) -> bool;
    }
}
