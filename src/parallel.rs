// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Threads that live no longer than the call that starts them.

use crate::error::{Error, Result};
use std::mem::MaybeUninit;

/// CPUs that this process may run on.
pub fn cpus() -> usize {
    // SAFETY: an all-zero set is a valid empty one, and it is ours to write.
    let (result, set) = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (libc::sched_getaffinity(0, size_of_val(&set), &mut set), set)
    };
    // SAFETY: only reads the set.
    let count = if result == 0 { unsafe { libc::CPU_COUNT(&set) } } else { 1 };
    count.max(1) as usize
}

/// Runs `work(0)` to `work(count - 1)`, the last on the calling thread and each of the others on
/// one of its own where a thread can be had. Gives the failure of the lowest index, if any.
pub fn run(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let last = match count {
        0 => return Ok(()),
        1 => return work(0),
        _ => count - 1,
    };
    // The embedder's signal handlers are to run on the embedder's threads.
    let _mask = SignalMask::block_all();
    let work = &work;
    std::thread::scope(|scope| {
        let mut started = Vec::new();
        started.try_reserve_exact(last).map_err(|_| Error::NoMemory("a list of threads"))?;
        for index in 0..last {
            let builder = std::thread::Builder::new().stack_size(64 << 10);
            started.push(builder.spawn_scoped(scope, move || work(index)).map_err(|_| index));
        }
        let own = work(last);
        // The end of the scope waits for what the threads do. Joining waits for the threads, none
        // of which is to outlive the call.
        let results = started.into_iter().map(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or(Err(Error::Internal("a thread panicked"))),
            Err(index) => work(index),
        });
        results.fold(Ok(()), Result::and).and(own)
    })
}

/// The thread's signal mask as it was, put back when dropped.
pub struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Blocks every signal.
    pub fn block_all() -> Self {
        // SAFETY: fills a set of our own.
        let all = unsafe {
            let mut all = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigfillset(all.as_mut_ptr());
            all.assume_init()
        };
        Self::block(&all)
    }

    /// Blocks the signals in `set` beside those that are blocked already.
    pub fn block(set: &libc::sigset_t) -> Self {
        // SAFETY: both sets are ours; the old one is written by the call, which cannot fail with
        // these arguments.
        unsafe {
            let mut old: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, set, &mut old);
            SignalMask(old)
        }
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        // SAFETY: puts back a mask that the kernel gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn every_index_runs_once_and_the_lowest_failure_counts() {
        let ran = AtomicU32::new(0);
        let result = run(4, |index| {
            ran.fetch_add(1 << (8 * index), Ordering::Relaxed);
            match index {
                1 => Err(Error::Overlap),
                3 => Err(Error::Unsorted),
                _ => Ok(()),
            }
        });
        assert_eq!(ran.into_inner(), 0x0101_0101);
        assert_eq!(result, Err(Error::Overlap));
        assert_eq!(run(0, |_| Err(Error::Overlap)), Ok(()));
        assert!(cpus() >= 1);
    }
}
