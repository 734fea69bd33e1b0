// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Keeping signals from the embedder while a call works.

use crate::error::errno;
use crate::host::file::Outcome;
use std::mem::MaybeUninit;

/// Raised by what a thread does itself: the kernel ends a process that blocks them then. The last is
/// that of a system call filter, whose handler may be what answers the call.
const FAULTS: [i32; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// The thread's signal mask as it was, put back when dropped.
pub struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Blocks every signal but those of faults, whose blocking would end the process.
    pub fn block_all() -> Outcome<Self> {
        // SAFETY: fills a set of our own.
        let all = unsafe {
            let mut all = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigfillset(all.as_mut_ptr());
            for fault in FAULTS {
                libc::sigdelset(all.as_mut_ptr(), fault);
            }
            all.assume_init()
        };
        Self::block(&all)
    }

    /// Blocks the signals in `set` beside those that are blocked already.
    fn block(set: &libc::sigset_t) -> Outcome<Self> {
        // SAFETY: both sets are ours; the old one is written by the call.
        unsafe {
            let mut old: libc::sigset_t = std::mem::zeroed();
            match libc::pthread_sigmask(libc::SIG_BLOCK, set, &mut old) {
                0 => Ok(SignalMask(old)),
                errno => Err(errno),
            }
        }
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        // It can fail only where a filter of system calls came into force since `block`. The signals
        // stay blocked then, which nobody is left to be told.
        // SAFETY: puts back a mask that the kernel gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// While it lives, a closed pipe or a file size limit gives an error and no signal, on kernels
/// that know no flag for that too. Both signals go to the thread that writes, so blocking them
/// there and taking back those that came does not touch the rest of the process.
pub struct QuietSignals {
    pending_before: libc::sigset_t,
    /// Whether each of [`QUIET`] was sent, as far as an errno told.
    noted: [bool; QUIET.len()],
    _mask: SignalMask,
}

/// The signals, each with the errno that comes with it.
const QUIET: [(i32, i32); 2] = [(libc::SIGPIPE, libc::EPIPE), (libc::SIGXFSZ, libc::EFBIG)];

impl QuietSignals {
    /// Blocks the signals for this thread.
    pub fn new() -> Outcome<Self> {
        let pending_before = pending()?;
        let set = set_of(&QUIET.map(|(signal, _)| signal));
        Ok(QuietSignals { pending_before, noted: [false; 2], _mask: SignalMask::block(&set)? })
    }

    /// Tells with which errno a write failed, and so whether a signal came with it. A write that is
    /// cut short brings its signal too, but then the next one fails.
    pub fn note(&mut self, errno: i32) {
        for (noted, (_, of_signal)) in self.noted.iter_mut().zip(QUIET) {
            *noted |= errno == of_signal;
        }
    }
}

impl Drop for QuietSignals {
    fn drop(&mut self) {
        for (noted, (signal, _)) in self.noted.into_iter().zip(QUIET) {
            // One that no write of ours brought about is the embedder's.
            if !noted || is_gone(signal) {
                continue;
            }
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: takes the pending signal, the thread's own before one of the process's;
            // nothing is written.
            unsafe { libc::sigtimedwait(&set_of(&[signal]), std::ptr::null_mut(), &at_once) };
            if holds(&self.pending_before, signal) && is_gone(signal) {
                // Ours had merged with one that was waiting before.
                // SAFETY: sends a blocked signal to this thread, where it waits again.
                unsafe { libc::raise(signal) };
            }
        }
    }
}

fn holds(set: &libc::sigset_t, signal: i32) -> bool {
    // SAFETY: reads a set of our own.
    unsafe { libc::sigismember(set, signal) == 1 }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: fills a set of our own.
    unsafe {
        let mut set = MaybeUninit::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

fn pending() -> Outcome<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the set is ours to write; it is read only after success.
    unsafe {
        if libc::sigpending(set.as_mut_ptr()) != 0 { Err(errno()) } else { Ok(set.assume_init()) }
    }
}

/// Whether no such signal waits, as far as can be told.
fn is_gone(signal: i32) -> bool {
    pending().is_ok_and(|pending| !holds(&pending, signal))
}
