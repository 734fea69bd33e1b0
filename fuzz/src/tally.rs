// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which calls gave which codes, printed at the end of a run: tells whether the fuzzer reaches what
//! it is for.

use guestmem::ffi::status::guestmem_error_name;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{Mutex, Once};

static TALLY: Mutex<BTreeMap<(&str, i32), u64>> = Mutex::new(BTreeMap::new());

/// Counts an answer of `call`.
pub fn count(call: &'static str, code: i32) {
    static AT_EXIT: Once = Once::new();
    // SAFETY: a function that needs nothing.
    AT_EXIT.call_once(|| unsafe { assert_eq!(libc::atexit(print), 0) });
    *TALLY.lock().expect("no panic was survived").entry((call, -code)).or_default() += 1;
}

extern "C" fn print() {
    let Ok(tally) = TALLY.lock() else { return };
    let mut last = "";
    for ((call, code), times) in tally.iter() {
        // SAFETY: static text.
        let name = unsafe { CStr::from_ptr(guestmem_error_name(-code)) }.to_string_lossy();
        let name = name.trim_start_matches("GUESTMEM_").trim_start_matches("E_");
        let lead = if *call == last { "," } else { &format!("\n{call}:") };
        eprint!("{lead} {times} {name}");
        last = call;
    }
    eprintln!();
}
