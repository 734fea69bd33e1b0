// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Regions and what they live in: mappings, backings, memory of the caller, the lookup table and how it is
//! published, policies.
//!
//! - [`backing`]: what a region's bytes live in: memfds of the library, files and memory of the
//!   caller.
//! - [`caller`]: memory that the caller mapped, as whatever it pleased: what it is, and giving its
//!   pages back.
//! - [`claim`]: who is at work on all of a region: several that read it, or one that writes it.
//! - [`describe`]: A memory in words for people and logs: one JSON object.
//! - [`guest`]: guestMemory: the set of regions, and what can be asked about it.
//! - [`mapping`]: one mapping with its guard pages: creation, advice, locking, removal of pages.
//! - [`memfds`]: where regions without a backing of their own lie: one memfd for all, one more for
//!   each size of huge pages.
//! - [`options`]: how a region is asked for: its place, its source, its host mapping.
//! - [`policy`]: memory policy: what the kernel is asked to do with all regions of a memory.
//! - [`published`]: the pointer that readers follow without a lock, and the version by which they
//!   tell later whether what they found is still in force.
//! - [`region`]: memoryRegion: a guest address range, its mapping, what backs it, and how it was
//!   asked for.
//! - [`table`]: the immutable lookup table: a flat map for the fast answer, sorted regions for the
//!   exact one.

pub mod backing;
pub mod caller;
pub mod claim;
pub mod describe;
pub mod guest;
pub mod mapping;
pub mod memfds;
pub mod options;
pub mod policy;
pub mod published;
pub mod region;
pub mod table;
