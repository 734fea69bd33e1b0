// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! 2 Errors
//!
//! Codes never change; new ones are appended. Each thread keeps the details of its last failed call
//! until its next failure. Calls that succeed leave them unchanged.

use crate::error;
use crate::error::{Error, Failure};
use crate::ffi::{Plain, check_out_size, set, struct_out};
use std::ffi::{CStr, c_char, c_int};
use std::fmt::{self, Write};

/// Success.
pub const GUESTMEM_OK: c_int = 0;
/// A required pointer is NULL, a flag or enum value is unknown, a struct size is impossible, or a
/// reserved field is not 0.
pub const GUESTMEM_E_INVALID_ARGUMENT: c_int = -1;
/// The handle is NULL, already released, or not a handle of this kind.
pub const GUESTMEM_E_BAD_HANDLE: c_int = -2;
/// A host allocation failed, or the pool of huge pages is too small.
pub const GUESTMEM_E_NO_MEMORY: c_int = -3;
/// The address is in no region.
pub const GUESTMEM_E_INVALID_ADDRESS: c_int = -4;
/// The range starts in a region but does not end in it (DMA-level: meets a hole), or it wraps at
/// 2^64.
pub const GUESTMEM_E_INVALID_RANGE: c_int = -5;
/// The size is 0 where 0 is refused.
pub const GUESTMEM_E_INVALID_SIZE: c_int = -6;
/// A region's address, size or fd offset, or a range to remove, is not page-aligned, or an
/// alignment is not a power of two.
pub const GUESTMEM_E_NOT_ALIGNED: c_int = -7;
/// A volatile or atomic access is not naturally aligned.
pub const GUESTMEM_E_MISALIGNED: c_int = -8;
/// Two regions overlap.
pub const GUESTMEM_E_OVERLAP: c_int = -9;
/// Ranges are not in ascending order.
pub const GUESTMEM_E_UNSORTED: c_int = -10;
/// A region would end at or past 2^64, an array is too small for the result, or a limit of the
/// library, the process or the host was reached.
pub const GUESTMEM_E_TOO_LARGE: c_int = -11;
/// A write to a read-only region, or a writable mapping of a read-only descriptor.
pub const GUESTMEM_E_READ_ONLY: c_int = -12;
/// The region is too short for the whole read, or the file ended first.
pub const GUESTMEM_E_SHORT_READ: c_int = -13;
/// The region is too short for the whole write.
pub const GUESTMEM_E_SHORT_WRITE: c_int = -14;
/// The descriptor cannot back a region: it is closed or of the wrong kind, or its file is too
/// short.
pub const GUESTMEM_E_BACKING: c_int = -15;
/// A system call failed; see guestmem_error_info.os_errno.
pub const GUESTMEM_E_OS: c_int = -16;
/// Reading or writing a file, or a callback, failed; see guestmem_error_info.os_errno.
pub const GUESTMEM_E_IO: c_int = -17;
/// The kernel refused a memory policy, or would silently ignore it.
pub const GUESTMEM_E_POLICY: c_int = -18;
/// Snapshot metadata is malformed, inconsistent or over a limit. Memory is unchanged.
pub const GUESTMEM_E_METADATA: c_int = -19;
/// Snapshot metadata is well formed but describes other regions. Memory is unchanged.
pub const GUESTMEM_E_MISMATCH: c_int = -20;
/// The snapshot data ends too early.
pub const GUESTMEM_E_SNAPSHOT_SHORT: c_int = -21;
/// The snapshot data continues past its end.
pub const GUESTMEM_E_SNAPSHOT_LONG: c_int = -22;
/// A checksum does not match.
pub const GUESTMEM_E_CORRUPT: c_int = -23;
/// An earlier restore failed after it had begun to write. Only a complete restore clears this.
pub const GUESTMEM_E_TAINTED: c_int = -24;
/// A progress callback asked to stop.
pub const GUESTMEM_E_CANCELLED: c_int = -25;
/// The host mapping faulted. Reserved; this version does not return it.
pub const GUESTMEM_E_FAULT: c_int = -26;
/// No region has that index, or no region starts at that address.
pub const GUESTMEM_E_NOT_FOUND: c_int = -27;
/// This kernel, backing or build cannot do it.
pub const GUESTMEM_E_UNSUPPORTED: c_int = -28;
/// The object is in use in a way that forbids the call.
pub const GUESTMEM_E_BUSY: c_int = -29;
/// A bug in the library.
pub const GUESTMEM_E_INTERNAL: c_int = -99;

/// What is said of a code: its name, its headline, the nearest errno.
struct Status {
    code: c_int,
    name: &'static CStr,
    headline: &'static CStr,
    errno: c_int,
}

const fn status(code: c_int, name: &'static CStr, headline: &'static CStr, errno: c_int) -> Status {
    Status { code, name, headline, errno }
}

#[rustfmt::skip]
static STATUSES: [Status; 31] = [
    status(GUESTMEM_OK, c"GUESTMEM_OK", c"success", 0),
    status(GUESTMEM_E_INVALID_ARGUMENT, c"GUESTMEM_E_INVALID_ARGUMENT", c"invalid argument", libc::EINVAL),
    status(GUESTMEM_E_BAD_HANDLE, c"GUESTMEM_E_BAD_HANDLE", c"bad handle", libc::EBADF),
    status(GUESTMEM_E_NO_MEMORY, c"GUESTMEM_E_NO_MEMORY", c"out of host memory", libc::ENOMEM),
    status(GUESTMEM_E_INVALID_ADDRESS, c"GUESTMEM_E_INVALID_ADDRESS", c"invalid guest address", libc::EFAULT),
    status(GUESTMEM_E_INVALID_RANGE, c"GUESTMEM_E_INVALID_RANGE", c"invalid guest range", libc::EFAULT),
    status(GUESTMEM_E_INVALID_SIZE, c"GUESTMEM_E_INVALID_SIZE", c"invalid size", libc::EINVAL),
    status(GUESTMEM_E_NOT_ALIGNED, c"GUESTMEM_E_NOT_ALIGNED", c"not page-aligned", libc::EINVAL),
    status(GUESTMEM_E_MISALIGNED, c"GUESTMEM_E_MISALIGNED", c"misaligned access", libc::EINVAL),
    status(GUESTMEM_E_OVERLAP, c"GUESTMEM_E_OVERLAP", c"overlapping regions", libc::EEXIST),
    status(GUESTMEM_E_UNSORTED, c"GUESTMEM_E_UNSORTED", c"unsorted regions", libc::EINVAL),
    status(GUESTMEM_E_TOO_LARGE, c"GUESTMEM_E_TOO_LARGE", c"too large", libc::EOVERFLOW),
    status(GUESTMEM_E_READ_ONLY, c"GUESTMEM_E_READ_ONLY", c"not writable", libc::EACCES),
    status(GUESTMEM_E_SHORT_READ, c"GUESTMEM_E_SHORT_READ", c"short read", libc::ENODATA),
    status(GUESTMEM_E_SHORT_WRITE, c"GUESTMEM_E_SHORT_WRITE", c"short write", libc::ENOSPC),
    status(GUESTMEM_E_BACKING, c"GUESTMEM_E_BACKING", c"unsuitable backing", libc::EBADF),
    status(GUESTMEM_E_OS, c"GUESTMEM_E_OS", c"system call failed", libc::EIO),
    status(GUESTMEM_E_IO, c"GUESTMEM_E_IO", c"input/output error", libc::EIO),
    status(GUESTMEM_E_POLICY, c"GUESTMEM_E_POLICY", c"memory policy refused", libc::EOPNOTSUPP),
    status(GUESTMEM_E_METADATA, c"GUESTMEM_E_METADATA", c"bad snapshot metadata", libc::EBADMSG),
    status(GUESTMEM_E_MISMATCH, c"GUESTMEM_E_MISMATCH", c"snapshot of other regions", libc::EINVAL),
    status(GUESTMEM_E_SNAPSHOT_SHORT, c"GUESTMEM_E_SNAPSHOT_SHORT", c"snapshot data too short", libc::ENODATA),
    status(GUESTMEM_E_SNAPSHOT_LONG, c"GUESTMEM_E_SNAPSHOT_LONG", c"snapshot data too long", libc::EFBIG),
    status(GUESTMEM_E_CORRUPT, c"GUESTMEM_E_CORRUPT", c"corrupt snapshot data", libc::EBADMSG),
    status(GUESTMEM_E_TAINTED, c"GUESTMEM_E_TAINTED", c"memory is tainted", libc::EUCLEAN),
    status(GUESTMEM_E_CANCELLED, c"GUESTMEM_E_CANCELLED", c"cancelled", libc::ECANCELED),
    status(GUESTMEM_E_FAULT, c"GUESTMEM_E_FAULT", c"host memory fault", libc::EFAULT),
    status(GUESTMEM_E_NOT_FOUND, c"GUESTMEM_E_NOT_FOUND", c"no such region", libc::ENOENT),
    status(GUESTMEM_E_UNSUPPORTED, c"GUESTMEM_E_UNSUPPORTED", c"not supported", libc::EOPNOTSUPP),
    status(GUESTMEM_E_BUSY, c"GUESTMEM_E_BUSY", c"busy", libc::EBUSY),
    status(GUESTMEM_E_INTERNAL, c"GUESTMEM_E_INTERNAL", c"internal error", libc::ENOTRECOVERABLE),
];

/// The code of an error.
pub fn code(error: Error) -> c_int {
    match error {
        Error::InvalidArgument(_) => GUESTMEM_E_INVALID_ARGUMENT,
        Error::BadHandle => GUESTMEM_E_BAD_HANDLE,
        Error::NoMemory(_) => GUESTMEM_E_NO_MEMORY,
        Error::InvalidAddress => GUESTMEM_E_INVALID_ADDRESS,
        Error::InvalidRange => GUESTMEM_E_INVALID_RANGE,
        Error::InvalidSize => GUESTMEM_E_INVALID_SIZE,
        Error::NotAligned(_) => GUESTMEM_E_NOT_ALIGNED,
        Error::Misaligned => GUESTMEM_E_MISALIGNED,
        Error::Overlap => GUESTMEM_E_OVERLAP,
        Error::Unsorted => GUESTMEM_E_UNSORTED,
        Error::TooLarge { .. } => GUESTMEM_E_TOO_LARGE,
        Error::ReadOnly => GUESTMEM_E_READ_ONLY,
        Error::ShortRead { .. } => GUESTMEM_E_SHORT_READ,
        Error::ShortWrite { .. } => GUESTMEM_E_SHORT_WRITE,
        Error::Backing { .. } => GUESTMEM_E_BACKING,
        Error::Os { .. } => GUESTMEM_E_OS,
        Error::Io { .. } => GUESTMEM_E_IO,
        Error::Policy { .. } => GUESTMEM_E_POLICY,
        Error::Metadata(_) => GUESTMEM_E_METADATA,
        Error::Mismatch(_) => GUESTMEM_E_MISMATCH,
        Error::SnapshotShort { .. } => GUESTMEM_E_SNAPSHOT_SHORT,
        Error::SnapshotLong => GUESTMEM_E_SNAPSHOT_LONG,
        Error::Corrupt { .. } => GUESTMEM_E_CORRUPT,
        Error::Tainted => GUESTMEM_E_TAINTED,
        Error::Cancelled => GUESTMEM_E_CANCELLED,
        Error::NotFound => GUESTMEM_E_NOT_FOUND,
        Error::Unsupported(_) => GUESTMEM_E_UNSUPPORTED,
        Error::Busy(_) => GUESTMEM_E_BUSY,
        Error::Internal(_) => GUESTMEM_E_INTERNAL,
    }
}

fn find(code: c_int) -> Option<&'static Status> {
    STATUSES.iter().find(|status| status.code == code)
}

/// Describes a code in a few words.
///
/// @param code  a return code.
/// @return Static text, never NULL, also for unknown codes.
#[unsafe(no_mangle)]
pub extern "C" fn guestmem_strerror(code: c_int) -> *const c_char {
    find(code).map_or(c"unknown error", |status| status.headline).as_ptr()
}

/// Returns the name of a code.
///
/// @param code  a return code.
/// @return Static text such as "GUESTMEM_E_OVERLAP", never NULL, also for unknown codes.
#[unsafe(no_mangle)]
pub extern "C" fn guestmem_error_name(code: c_int) -> *const c_char {
    find(code).map_or(c"GUESTMEM_E_?", |status| status.name).as_ptr()
}

/// Returns the errno nearest to a code, for programs whose own functions return errnos.
///
/// @param code  a return code.
/// @return 0 for GUESTMEM_OK, otherwise a positive errno; EIO for unknown codes.
#[unsafe(no_mangle)]
pub extern "C" fn guestmem_errno(code: c_int) -> c_int {
    find(code).map_or(libc::EIO, |status| status.errno)
}

/// The details of a failure.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct guestmem_error_info {
    /// The code that the call returned.
    pub code: i32,
    /// The errno behind it; 0 if no system call was involved.
    pub os_errno: i32,
    /// The guest address passed to the call; 0 if there was none.
    pub guest_addr: u64,
    /// The size in bytes passed to the call; 0 if there was none.
    pub size: u64,
    /// Bytes moved before the failure.
    pub completed: u64,
}

// SAFETY: integers alone.
unsafe impl Plain for guestmem_error_info {}

/// Returns the details of the calling thread's last failed call. All fields are 0 before its first
/// failure.
///
/// @param info       receives the details.
/// @param info_size  sizeof *info.
/// @return GUESTMEM_OK; or GUESTMEM_E_INVALID_ARGUMENT if info is NULL or info_size is 0, which
///   leaves the thread's details unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_last_error(
    info: *mut guestmem_error_info,
    info_size: usize,
) -> c_int {
    if check_out_size(info, info_size).is_err() {
        return GUESTMEM_E_INVALID_ARGUMENT;
    }
    let detail = error::last().map_or(
        guestmem_error_info { code: 0, os_errno: 0, guest_addr: 0, size: 0, completed: 0 },
        |Failure { error, range }| {
            let (guest_addr, size) = range.unwrap_or((0, 0));
            let (os_errno, completed) = (error.os_errno(), error.completed());
            guestmem_error_info { code: code(error), os_errno, guest_addr, size, completed }
        },
    );
    // SAFETY: the caller's struct has `info_size` bytes.
    unsafe { struct_out(info, info_size, detail) };
    GUESTMEM_OK
}

/// Describes the calling thread's last failed call in words, for example "invalid guest range
/// 0x1fff8+0x10: ...". Address and size are hexadecimal. Follows the rules of snprintf(3).
///
/// @param buf  receives the text and its final NUL. May be NULL when len is 0.
/// @param len  size of buf in bytes; longer text is cut.
/// @return Length of the whole text without the NUL; 0 before the thread's first failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guestmem_last_error_message(buf: *mut c_char, len: usize) -> usize {
    let saved = error::errno();
    let mut text = Bounded { buf: buf.cast(), cap: if buf.is_null() { 0 } else { len }, len: 0 };
    if let Some(failure) = error::last() {
        // Writing to it cannot fail.
        let _ = write_message(&mut text, &failure);
    }
    text.finish();
    error::set_errno(saved);
    text.len
}

fn write_message(text: &mut Bounded, failure: &Failure) -> fmt::Result {
    let headline = find(code(failure.error)).map_or(c"", |status| status.headline);
    text.write_str(headline.to_str().unwrap_or_default())?;
    if let Some((addr, size)) = failure.range {
        write!(text, " {addr:#x}+{size:#x}")?;
    }
    write!(text, ": {}", failure.error)?;
    match failure.error.os_errno() {
        0 => Ok(()),
        errno => write_errno(text, errno),
    }
}

fn write_errno(text: &mut Bounded, errno: i32) -> fmt::Result {
    let mut words = [0 as c_char; 128];
    // SAFETY: the array is ours to write; the POSIX form of the function ends it with a NUL.
    let known = unsafe { libc::strerror_r(errno, words.as_mut_ptr(), words.len()) } == 0;
    words[words.len() - 1] = 0;
    // SAFETY: just ended with a NUL.
    let words = unsafe { CStr::from_ptr(words.as_ptr()) }.to_str().unwrap_or_default();
    write!(text, ": {} (errno {errno})", if known { words } else { "unknown" })
}

/// A caller's buffer that takes what fits and counts the rest.
struct Bounded {
    buf: *mut u8,
    cap: usize,
    len: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.len + 1 < self.cap {
                // SAFETY: below the capacity that the caller gave.
                unsafe { self.buf.add(self.len).write(byte) };
            }
            self.len += 1;
        }
        Ok(())
    }
}

impl Bounded {
    fn finish(&self) {
        if self.cap > 0 {
            // SAFETY: below the capacity that the caller gave.
            unsafe { set(self.buf.add(self.len.min(self.cap - 1)), 0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        for (index, status) in STATUSES.iter().enumerate() {
            assert!(STATUSES[..index].iter().all(|other| other.code != status.code));
            assert!((status.code == 0) == (status.errno == 0));
        }
    }

    #[test]
    fn a_message_is_cut_like_snprintf() {
        error::set_last(Failure { error: Error::InvalidRange, range: Some((0x1fff8, 0x10)) });
        let mut buf = [0x7f; 24];
        // SAFETY: the array has that many bytes.
        let len = unsafe { guestmem_last_error_message(buf.as_mut_ptr(), 23) };
        let bytes = buf.map(|byte| byte as u8);
        assert_eq!(&bytes[..22], b"invalid guest range 0x");
        assert_eq!((bytes[22], bytes[23]), (0, 0x7f));
        // SAFETY: no buffer is asked for.
        assert_eq!(unsafe { guestmem_last_error_message(std::ptr::null_mut(), 0) }, len);
    }
}
