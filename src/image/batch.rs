// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Sharing the chunks of a snapshot out among threads.

use crate::access::bounce::Bounce;
use crate::error::{Error, Result};
use crate::host::threads;
use crate::image::copies::Copies;
use crate::image::format::metadata::{CHUNK_SIZE, Chunks, Metadata};
use crate::image::progress::Progress;
use std::iter::Take;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes of data that are worth a thread of their own.
const WORTH_A_THREAD: u64 = 2 << 20;
/// More do not help: memory is the limit.
const MAX_THREADS: u64 = 16;
/// The fewest and the most bytes between two calls of a progress function.
const MIN_STEP: u64 = 1 << 20;
const MAX_STEP: u64 = 64 << 20;

/// Threads to use for `size` bytes when the caller allows `wanted`; 0 leaves it to the library.
pub fn threads(wanted: u32, size: u64) -> usize {
    let allowed = match wanted {
        0 => threads::cpus() as u64,
        wanted => wanted.into(),
    };
    allowed.min(MAX_THREADS).min(size / WORTH_A_THREAD).max(1) as usize
}

/// Chunks that follow each other in the data: what one thread takes at a time.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The chunks.
    pub chunks: Take<Chunks<'a>>,
    /// How many they are.
    pub count: usize,
    /// How many chunks come before them in the snapshot.
    pub first: usize,
    /// Bytes in the chunks before them.
    pub before: u64,
    /// Bytes in them, at most [`CHUNK_SIZE`].
    pub size: usize,
}

impl<'a> Batch<'a> {
    /// As many of `chunks`, before which `first` were taken, as have the size of one large chunk.
    /// They are taken away; none are left at the end.
    pub fn take_from(chunks: &mut Chunks<'a>, first: usize) -> Self {
        let begin = chunks.clone();
        let (mut count, mut size) = (0, 0);
        loop {
            let mut rest = chunks.clone();
            match rest.next() {
                Some(chunk) if size + chunk.len <= CHUNK_SIZE as usize => {
                    (count, size) = (count + 1, size + chunk.len);
                    *chunks = rest;
                }
                _ => {
                    let before = begin.done();
                    return Batch { chunks: begin.take(count), count, first, before, size };
                }
            }
        }
    }
}

/// What the threads share.
struct Shared<'a> {
    /// The chunks that nobody has taken yet, and how many were.
    left: Mutex<(Chunks<'a>, usize)>,
    done: AtomicU64,
    /// Nobody is to take more.
    stopped: AtomicBool,
    /// The failure that comes first in the data, and the first chunk of its batch.
    failure: Mutex<Option<(usize, Error)>>,
}

impl<'a> Shared<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let left = Mutex::new((metadata.chunks(), 0));
        let (done, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
        Shared { left, done, stopped, failure: Mutex::new(None) }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> Option<Batch<'a>> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (chunks, taken) = &mut *left;
        let batch = Batch::take_from(chunks, *taken);
        *taken += batch.count;
        (batch.count > 0).then_some(batch)
    }

    fn fail(&self, first: usize, error: Error) {
        self.stop();
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none_or(|(known, _)| first < known) {
            *failure = Some((first, error));
        }
    }

    fn result(&self) -> Result<()> {
        match *self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Takes batches until there are none. `after` is told how many bytes all threads have done.
    fn work<B>(
        &self,
        buffer: Result<B>,
        work: Work<B>,
        after: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut buffer = buffer.inspect_err(|_| self.stop())?;
        while let Some(batch) = self.take() {
            let (first, size) = (batch.first, batch.size as u64);
            if let Err(error) = work(batch, &mut buffer) {
                self.fail(first, error);
                return Ok(());
            }
            let done = self.done.fetch_add(size, Ordering::Relaxed) + size;
            after(done).inspect_err(|_| self.stop())?;
        }
        Ok(())
    }
}

/// What is done with a batch: it gets private memory of [`CHUNK_SIZE`] bytes, of one kind or another.
pub type Work<'a, B> = &'a (dyn Fn(Batch, &mut B) -> Result<()> + Sync);

/// Does `work` with all data of a snapshot, on as many threads. Their order is any; of several
/// failures that which comes first in the data counts. `progress` runs on the calling thread.
pub fn each(
    metadata: &Metadata,
    threads: usize,
    work: Work<Bounce>,
    progress: Progress,
) -> Result<()> {
    let mut steps = Steps::new(metadata.data_size(), progress);
    let shared = Shared::new(metadata);
    let beside = |_| shared.work(Bounce::new(), work, &mut |_| Ok(()));
    let mut own = || shared.work(Bounce::new(), work, &mut |done| steps.reach(done));
    threads::run_beside(threads - 1, &beside, &mut own)?;
    shared.result()?;
    steps.end()
}

/// Does `work` as [`each`] does, but has the calling thread do something else `first`.
pub fn each_beside(
    metadata: &Metadata,
    threads: usize,
    work: Work<Copies>,
    first: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let shared = Shared::new(metadata);
    let beside = |_| shared.work(Copies::new(), work, &mut |_| Ok(()));
    let mut own = || {
        first().inspect_err(|_| shared.stop())?;
        shared.work(Copies::new(), work, &mut |_| Ok(()))
    };
    threads::run_beside(threads - 1, &beside, &mut own)?;
    shared.result()
}

/// Tells a progress function of what is done, in steps as small as it was promised.
pub struct Steps<'a> {
    told: u64,
    total: u64,
    progress: Progress<'a>,
}

impl<'a> Steps<'a> {
    /// For work of `total` bytes.
    pub fn new(total: u64, progress: Progress<'a>) -> Self {
        Steps { told: 0, total, progress }
    }

    /// So many are done, not yet all.
    pub fn reach(&mut self, done: u64) -> Result<()> {
        while done < self.total && done >= self.told + MIN_STEP {
            self.told = done.min(self.told + MAX_STEP);
            (self.progress)(self.told, self.total)?;
        }
        Ok(())
    }

    /// All are done.
    pub fn end(&mut self) -> Result<()> {
        while self.total - self.told > MAX_STEP {
            self.reach(self.told + MAX_STEP)?;
        }
        (self.progress)(self.total, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::format::metadata::tests::sample;

    #[test]
    fn every_chunk_is_worked_on_once_by_however_many() {
        let metadata = sample(true);
        for threads in 1..5 {
            let seen = Mutex::new(Vec::new());
            let work = |batch: Batch, _: &mut Bounce| {
                assert!(batch.size <= Bounce::SIZE);
                assert_eq!(batch.chunks.clone().map(|chunk| chunk.len).sum::<usize>(), batch.size);
                let mut seen = seen.lock().unwrap();
                seen.extend(batch.chunks.enumerate().map(|(at, chunk)| (batch.first + at, chunk)));
                Ok(())
            };
            let mut told = Vec::new();
            let mut progress = |done, total| {
                assert_eq!(total, metadata.data_size());
                told.push(done);
                Ok(())
            };
            each(&metadata, threads, &work, &mut progress).unwrap();
            assert!(told.is_sorted());
            assert_eq!(told.last(), Some(&metadata.data_size()));
            let mut seen = seen.into_inner().unwrap();
            seen.sort_by_key(|(index, _)| *index);
            assert!(seen.into_iter().eq(metadata.chunks().enumerate()));
        }
    }

    #[test]
    fn the_failure_that_comes_first_in_the_data_counts() {
        let metadata = sample(true);
        let work = |batch: Batch, _: &mut Bounce| match batch.first {
            0 => Ok(()),
            first => Err(Error::Corrupt { completed: first as u64 }),
        };
        for threads in 1..5 {
            let mut calls = 0;
            let mut progress = |_, _| {
                calls += 1;
                Ok(())
            };
            match each(&metadata, threads, &work, &mut progress) {
                Err(Error::Corrupt { completed }) => assert!(threads > 1 || completed == 1),
                other => panic!("{other:?}"),
            }
            assert!(calls <= 1);
        }
        let all_fine = |_: Batch, _: &mut Bounce| Ok(());
        let cancelled = each(&metadata, 2, &all_fine, &mut |_, _| Err(Error::Cancelled));
        assert_eq!(cancelled, Err(Error::Cancelled));
    }

    #[test]
    fn no_step_is_too_long() {
        let mut told = vec![0];
        let mut progress = |done, total| {
            assert_eq!(total, 1000 << 20);
            told.push(done);
            Ok(())
        };
        let mut steps = Steps::new(1000 << 20, &mut progress);
        for done in [1, 1, 64 << 20, 500 << 20, 400 << 20, 1000 << 20] {
            steps.reach(done).unwrap();
        }
        steps.end().unwrap();
        assert!(told.windows(2).all(|pair| pair[0] < pair[1] && pair[1] - pair[0] <= 64 << 20));
        assert_eq!(told.last(), Some(&(1000 << 20)));
    }
}
