// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The memory and the regions that each run begins with: regions that touch, holes, the ends of
//! address space.

use super::input::TOP;
use guestmem::ffi::region::{
    GUESTMEM_REGION_PRIVATE as PRIVATE, GUESTMEM_REGION_READ_ONLY as READ_ONLY,
};

/// Address, size in pages, flags.
pub type Layout = &'static [(u64, u64, u64)];

pub const LAYOUTS: [Layout; 8] = [
    &[(0x1_0000, 1, 0), (0x1_1000, 2, 0), (0x1_3000, 1, 0)],
    &[(0, 2, 0), (0x3000, 1, 0), (0x4000, 1, PRIVATE)],
    &[(0x1_0000, 1, 0), (0x1_1000, 1, READ_ONLY), (0x1_2000, 2, 0)],
    &[(0x1_0000, 1, READ_ONLY), (0x1_1000, 1, PRIVATE), (0x1_3000, 1, 0)],
    &[(0, 1, 0), ((1 << 32) - 0x1000, 2, 0), ((1 << 63) - 0x1000, 1, 0), (TOP - 0x1000, 1, 0)],
    &[((1 << 63) - 0x1000, 1, 0), (1 << 63, 1, PRIVATE), (TOP - 0x2000, 2, 0)],
    &[(0x1_0000, 4, PRIVATE)],
    &[],
];

/// Regions that are in no memory yet: beside those of most layouts, and over them.
pub const SPARE: Layout = &[(0x1_4000, 1, 0), (0x5000, 2, PRIVATE), (0x1_2000, 1, READ_ONLY)];
