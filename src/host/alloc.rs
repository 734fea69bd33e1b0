// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Growth that may fail: a size that a caller or a file names must not end the process.

use crate::error::{Error, Result};
use std::alloc::{Layout, alloc_zeroed};
use std::io::Write;

/// An empty vector with room for `count` items.
pub fn vec_of<T>(count: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    items.try_reserve_exact(count).map_err(|_| Error::NoMemory("a list"))?;
    Ok(items)
}

/// So many bytes, all 0. Those of a large buffer cost nothing before they are touched.
pub fn zeros(count: usize) -> Result<Vec<u8>> {
    const NONE: Error = Error::NoMemory("a buffer");
    let layout = Layout::array::<u8>(count).map_err(|_| NONE)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout is not empty.
    let start = unsafe { alloc_zeroed(layout) };
    if start.is_null() {
        return Err(NONE);
    }
    // SAFETY: just allocated for so many bytes, as a vector's are, and each of them is written.
    Ok(unsafe { Vec::from_raw_parts(start, count, count) })
}

/// Appends one item.
pub fn push<T>(items: &mut Vec<T>, item: T) -> Result<()> {
    items.try_reserve(1).map_err(|_| Error::NoMemory("a list"))?;
    items.push(item);
    Ok(())
}

/// Bytes that grow fallibly. Writing never fails, so that nobody has to make an error of it: what could
/// not grow is told at the end.
#[derive(Debug, Default)]
pub struct Sink {
    bytes: Vec<u8>,
    failed: bool,
}

impl Sink {
    /// All that was written, unless memory ran out.
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.failed { Err(Error::NoMemory("a text")) } else { Ok(self.bytes) }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.failed |= self.bytes.try_reserve(bytes.len()).is_err();
        if !self.failed {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `value` as a JSON text.
pub fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut sink = Sink::default();
    serde_json::to_writer(&mut sink, value)
        .map_err(|_| Error::Internal("a value that JSON cannot have"))?;
    sink.finish()
}
