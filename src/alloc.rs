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

/// Bytes that grow fallibly, to be written to.
#[derive(Debug, Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends a number in decimal digits.
    pub fn write_number(&mut self, number: u64) -> std::io::Result<()> {
        let mut digits = [0u8; 20];
        let (mut at, mut rest) = (digits.len(), number);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return self.write_all(&digits[at..]);
            }
        }
    }

    /// True before anything is written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What stands before the item with this index in a list.
pub fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.try_reserve(bytes.len()).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
