// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Reading the data of a snapshot from a file, in any order and on several threads. What is given
//! away was checked: it is a private copy, which nobody changes any more.

use super::Progress;
use super::batch::{self, Batch};
use super::checksum::checksum;
use super::metadata::{Chunk, Metadata};
use crate::error::{Error, Result};
use crate::file::pread_all;
use std::os::fd::RawFd;

/// A file that holds the data of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct DataFile<'a> {
    /// The file.
    pub fd: RawFd,
    /// Where in the file the data begins.
    pub start: u64,
    /// What the data is.
    pub metadata: &'a Metadata,
}

impl DataFile<'_> {
    /// Gives every chunk to `each` once its checksum is found right, on as many threads.
    pub fn read(
        &self,
        threads: usize,
        each: &(dyn Fn(Chunk, &[u8]) -> Result<()> + Sync),
        progress: Progress,
    ) -> Result<()> {
        let work = |batch: Batch, buffer: &mut [u8]| {
            let bytes = &mut buffer[..batch.size];
            let (got, failure) = self.fill(batch.chunks.clone(), bytes);
            self.check(batch, &bytes[..got], failure, each)
        };
        batch::each(self.metadata, threads, &work, progress)
    }

    /// Checks all checksums.
    pub fn verify(&self, threads: usize, progress: Progress) -> Result<()> {
        self.read(threads, &|_, _| Ok(()), progress)
    }

    /// Reads chunks into `buffer`, those that follow each other in the file together. Gives how
    /// many bytes were read, and why they are not all: the end of the file, or an errno.
    fn fill(&self, chunks: impl Iterator<Item = Chunk>, buffer: &mut [u8]) -> (usize, Option<i32>) {
        let mut chunks = chunks.peekable();
        let mut got = 0;
        while let Some(first) = chunks.next() {
            let mut size = first.len;
            let follows = |next: &Chunk, size| next.position == first.position + size as u64;
            while let Some(next) = chunks.next_if(|next| follows(next, size)) {
                size += next.len;
            }
            let at = self.start + first.position;
            let (read, failure) = pread_all(self.fd, &mut buffer[got..got + size], at);
            got += read;
            if read < size {
                return (got, failure);
            }
        }
        (got, None)
    }

    /// Gives the chunks in `bytes` away, which end too early with a `failure` or at the file's end.
    fn check(
        &self,
        batch: Batch,
        bytes: &[u8],
        failure: Option<i32>,
        each: &(dyn Fn(Chunk, &[u8]) -> Result<()> + Sync),
    ) -> Result<()> {
        let sums = self.metadata.checksums.as_deref();
        let mut sums = sums.map(|sums| sums[batch.first..].iter());
        let mut rest = bytes;
        for chunk in batch.chunks {
            let done = batch.before + (bytes.len() - rest.len()) as u64;
            let Some((own, behind)) = rest.split_at_checked(chunk.len) else {
                let completed = done + rest.len() as u64;
                return Err(match failure {
                    None => Error::SnapshotShort { completed },
                    Some(errno) => Error::Io { errno, completed },
                });
            };
            if let Some(expected) = sums.as_mut().map(Iterator::next)
                && expected != Some(&checksum(own))
            {
                return Err(Error::Corrupt { completed: done });
            }
            each(chunk, own)?;
            rest = behind;
        }
        Ok(())
    }
}
