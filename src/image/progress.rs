// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How far work has come.

use crate::error::Result;

/// Told how many bytes of how many are done; its failure stops the work.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> Result<()>;
