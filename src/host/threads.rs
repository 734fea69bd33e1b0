// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Threads that live no longer than the call that starts them.

use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::host::signals::SignalMask;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Stack of a thread, of which the program's thread-locals take their part. What runs there keeps its
/// data elsewhere.
const STACK: usize = 256 << 10;

/// One index of the work, and what became of it.
struct Job<'a> {
    work: &'a (dyn Fn(usize) -> Result<()> + Sync),
    index: usize,
    result: Result<()>,
}

/// Runs `work(0)` to `work(count - 1)`, the last on the calling thread and each of the others on
/// one of its own where a thread can be had. Gives the failure of the lowest index, if any.
pub fn run(count: usize, work: &(dyn Fn(usize) -> Result<()> + Sync)) -> Result<()> {
    let Some(last) = count.checked_sub(1) else { return Ok(()) };
    run_beside(last, work, &mut || work(last))
}

/// Runs `work(0)` to `work(count - 1)` as [`run`] does, and `own` on the calling thread beside
/// them. Its failure counts last.
///
/// The threads are the C library's: those of std allocate without a way to fail, and leave a
/// destructor behind in the embedder's thread.
pub fn run_beside(
    count: usize,
    work: &(dyn Fn(usize) -> Result<()> + Sync),
    own: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let mut jobs = vec_of(count)?;
    jobs.extend((0..count).map(|index| Job { work, index, result: Ok(()) }));
    let mut threads = vec_of(count)?;
    threads.extend(jobs.iter_mut().map_while(start));
    let own = guarded(own);
    // The jobs are their threads' until these are joined.
    let started = threads.len();
    let inline = (started..count).map(|index| guarded(|| work(index)));
    let inline = inline.fold(Ok(()), Result::and);
    for thread in threads {
        // SAFETY: a thread that was started above and is joined once.
        unsafe { libc::pthread_join(thread, null_mut()) };
    }
    jobs.iter().take(started).try_for_each(|job| job.result).and(inline).and(own)
}

/// What `work` makes of each of `items`, in their order, on up to `threads` threads. Whichever is
/// free takes the next.
pub fn map<'a, T: Sync, R: Send + Sync>(
    threads: usize,
    items: &'a [T],
    work: &(dyn Fn(&'a T) -> R + Sync),
) -> Result<Vec<R>> {
    let mut results: Vec<OnceLock<R>> = vec_of(items.len())?;
    results.resize_with(items.len(), OnceLock::new);
    let next = AtomicUsize::new(0);
    run(threads.max(1).min(items.len()), &|_| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return Ok(()) };
            let _ = results[index].set(work(item));
        }
    })?;
    let mut all = vec_of(items.len())?;
    for result in results {
        all.push(result.into_inner().ok_or(Error::Internal("a result is missing"))?);
    }
    Ok(all)
}

/// Keeps a panic from unwinding past what threads still use.
fn guarded(work: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        // Dropping it could panic again.
        std::mem::forget(payload);
        Err(Error::Internal("a thread panicked"))
    })
}

/// Starts a thread for `job`, which must stay where it is until the thread is joined.
fn start(job: &mut Job) -> Option<libc::pthread_t> {
    // The embedder's signal handlers are to run on the embedder's threads.
    let _mask = SignalMask::block_all().ok()?;
    let mut attributes = MaybeUninit::uninit();
    let mut thread = MaybeUninit::uninit();
    // SAFETY: attributes and thread are ours to write. The job outlives the thread, which alone
    // uses it until it is joined.
    unsafe {
        if libc::pthread_attr_init(attributes.as_mut_ptr()) != 0 {
            return None;
        }
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK);
        let job = (&raw mut *job).cast();
        let failed =
            libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run_job, job) != 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        if failed { None } else { Some(thread.assume_init()) }
    }
}

extern "C" fn run_job(job: *mut c_void) -> *mut c_void {
    // SAFETY: `start` passed a job that is this thread's alone.
    let job = unsafe { &mut *job.cast::<Job>() };
    job.result = guarded(|| (job.work)(job.index));
    null_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_index_runs_once_and_the_lowest_failure_counts() {
        let ran = AtomicU32::new(0);
        let result = run(4, &|index| {
            ran.fetch_add(1 << (8 * index), Ordering::Relaxed);
            match index {
                1 => Err(Error::Overlap),
                3 => Err(Error::Unsorted),
                _ => Ok(()),
            }
        });
        assert_eq!(ran.into_inner(), 0x0101_0101);
        assert_eq!(result, Err(Error::Overlap));
        assert_eq!(run(0, &|_| Err(Error::Overlap)), Ok(()));
        assert!(cpus() >= 1);
    }

    #[test]
    fn what_is_made_of_many_items_keeps_their_order() {
        let items: Vec<u32> = (0..1000).collect();
        for threads in [0, 1, 3] {
            let made = map(threads, &items, &|&item| 2 * item).unwrap();
            assert!(made.into_iter().eq((0..1000).map(|item| 2 * item)));
            assert_eq!(map(threads, &[0; 0], &|item| *item), Ok(vec![]));
        }
    }
}
