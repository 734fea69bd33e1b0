// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a chunk is made of: data of a region, and holes that were folded into its range.

use crate::image::format::metadata::{Chunk, DataRange};

/// A hole that the snapshot holds as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Index of its region.
    pub region: usize,
    /// Where it lies in the region.
    pub range: DataRange,
}

/// A part of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it lies in the region.
    pub range: DataRange,
    /// It is zeros, whatever the region holds there.
    pub is_hole: bool,
}

/// Cuts a chunk at the `holes` that were folded.
pub fn pieces(holes: &[Hole], chunk: Chunk) -> impl Iterator<Item = Piece> {
    let end = chunk.offset + chunk.len as u64;
    let behind = |hole: &Hole| (hole.region, hole.range.end) <= (chunk.region, chunk.offset);
    let mut holes = holes[holes.partition_point(behind)..].iter();
    let mut hole = holes.next();
    let mut at = chunk.offset;
    std::iter::from_fn(move || {
        let bounds = hole.filter(|hole| hole.region == chunk.region && hole.range.start < end);
        let (first, last) = bounds.map_or((end, end), |hole| (hole.range.start, hole.range.end));
        let piece = match at {
            _ if at == end => return None,
            _ if at < first => Piece { range: DataRange { start: at, end: first }, is_hole: false },
            _ => {
                hole = holes.next();
                Piece { range: DataRange { start: at, end: last.min(end) }, is_hole: true }
            }
        };
        at = piece.range.end;
        Some(piece)
    })
}
