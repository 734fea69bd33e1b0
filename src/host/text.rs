// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Texts that grow fallibly.

use crate::error::{Error, Result};
use std::io::Write;

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
