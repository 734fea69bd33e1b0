// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Growth that may fail: a size that a caller or a file names must not end the process.

use crate::error::{Error, Result};
use std::alloc::{Layout, alloc_zeroed};

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
