// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Making calls: what holds for every one of them is checked here.

use super::model::Codes;
use guestmem::ffi::status::*;
use guestmem_fuzz::tally::count;
use std::ffi::c_int;
use std::sync::OnceLock;

/// No call may touch errno.
const ERRNO: c_int = 4711;

/// The detail of a failure: code, guest address, size, completed.
pub type Detail = (c_int, u64, u64, u64);

/// Makes calls and knows what the last failure was.
pub struct Asker {
    last: Detail,
}

impl Asker {
    pub fn new() -> Self {
        Asker { last: last_error() }
    }

    /// Makes a call that must give one of the `right` codes. `range` is the guest range that it is
    /// about, where the contract leaves no doubt. True when it succeeds.
    pub fn ask(
        &mut self,
        call: &'static str,
        range: Option<(u64, u64)>,
        right: Codes,
        run: impl FnOnce() -> c_int,
    ) -> bool {
        self.ask_moving(call, range, right, Some(0), run)
    }

    /// The same, where `completed` bytes are moved before a failure; None: any number.
    pub fn ask_moving(
        &mut self,
        call: &'static str,
        range: Option<(u64, u64)>,
        right: Codes,
        completed: Option<u64>,
        run: impl FnOnce() -> c_int,
    ) -> bool {
        set_errno(ERRNO);
        let code = run();
        assert_eq!(errno(), ERRNO, "{call} changed errno");
        count(call, code);
        let detail = last_error();
        if is_traced() {
            eprintln!("{call} {range:x?} -> {code}, right: {right:?}, last: {}", message());
        }
        assert!(right.has(code), "{call} {range:x?}: {code}, not one of {right:?}");
        if code == GUESTMEM_OK {
            assert_eq!(detail, self.last, "{call} succeeded and changed the last error");
            return true;
        }
        assert_eq!(detail.0, code, "{call}: the detail's code");
        if let Some(range) = range {
            assert_eq!((detail.1, detail.2), range, "{call}: the detail's range");
        }
        if let Some(completed) = completed {
            assert_eq!(detail.3, completed, "{call}: the detail's bytes moved");
        }
        self.last = detail;
        false
    }

    /// Makes a call that gives no code and fails when `fails`, with a bad handle.
    pub fn ask_value<T>(&mut self, call: &'static str, fails: bool, run: impl FnOnce() -> T) -> T {
        let (mut value, before) = (None, self.last);
        let code = if fails { GUESTMEM_E_BAD_HANDLE } else { GUESTMEM_OK };
        self.ask(call, None, Codes::of(code), || {
            value = Some(run());
            assert!(fails || last_error() == before, "{call} failed");
            code
        });
        value.expect("it ran")
    }

    /// Makes a call of the inline path, which reports nothing: true when it succeeds.
    pub fn ask_inline(
        &mut self,
        call: &'static str,
        right: bool,
        run: impl FnOnce() -> bool,
    ) -> bool {
        set_errno(ERRNO);
        let answer = run();
        assert_eq!(errno(), ERRNO, "{call} changed errno");
        count(call, if answer { GUESTMEM_OK } else { GUESTMEM_E_INVALID_RANGE });
        if is_traced() {
            eprintln!("{call} -> {answer}, right: {right}");
        }
        assert_eq!(answer, right, "{call}");
        answer
    }
}

fn last_error() -> Detail {
    // SAFETY: all-zero bytes are a valid info.
    let mut info: guestmem_error_info = unsafe { std::mem::zeroed() };
    // SAFETY: an info of the size that is said.
    assert_eq!(unsafe { guestmem_last_error(&mut info, size_of_val(&info)) }, GUESTMEM_OK);
    (info.code, info.guest_addr, info.size, info.completed)
}

fn message() -> String {
    let mut text = [0u8; 256];
    // SAFETY: as many bytes as said.
    let len = unsafe { guestmem_last_error_message(text.as_mut_ptr().cast(), text.len()) };
    String::from_utf8_lossy(&text[..len.min(text.len() - 1)]).into_owned()
}

/// CALLS_TRACE in the environment has each call printed.
fn is_traced() -> bool {
    static IS_TRACED: OnceLock<bool> = OnceLock::new();
    *IS_TRACED.get_or_init(|| std::env::var_os("CALLS_TRACE").is_some())
}

fn errno() -> c_int {
    // SAFETY: the thread's own.
    unsafe { *libc::__errno_location() }
}

fn set_errno(value: c_int) {
    // SAFETY: the thread's own.
    unsafe { *libc::__errno_location() = value }
}
