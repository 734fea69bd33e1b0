// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 1 Library

use std::ffi::c_char;

/// Major version of this header. Changes when the ABI changes.
pub const GUESTMEM_VERSION_MAJOR: u32 = 0;
/// Minor version of this header. Changes when calls are added.
pub const GUESTMEM_VERSION_MINOR: u32 = 1;
/// Patch version of this header.
pub const GUESTMEM_VERSION_PATCH: u32 = 0;

const VERSION: u32 =
    GUESTMEM_VERSION_MAJOR << 16 | GUESTMEM_VERSION_MINOR << 8 | GUESTMEM_VERSION_PATCH;

/// Returns the version of the loaded library. It may be newer than this header.
///
/// @return MAJOR<<16 | MINOR<<8 | PATCH.
#[unsafe(no_mangle)]
pub extern "C" fn guestmem_version() -> u32 {
    VERSION
}

/// Returns the version of the loaded library as text.
///
/// @return Static text such as "1.2.3", never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn guestmem_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn the_header_and_the_manifest_agree() {
        let (major, minor, patch) = (VERSION >> 16, VERSION >> 8 & 0xff, VERSION & 0xff);
        assert_eq!(format!("{major}.{minor}.{patch}"), env!("CARGO_PKG_VERSION"));
        // SAFETY: static text that ends in NUL.
        let text = unsafe { CStr::from_ptr(guestmem_version_string()) };
        assert_eq!(text.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
    }
}
