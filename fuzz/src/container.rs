// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The form of all inputs: data, metadata, trailer, as in an image file. Packed snapshots come in
//! it too; to the library that is no image.

use crate::crc32c::crc32c;

const MAGIC: &[u8; 8] = b"GUESTMEM";
/// Bytes of the trailer.
pub const TRAILER: usize = 48;

/// The data and the metadata of a file in which everything about the trailer is right.
pub fn split(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, trailer) = file.split_at(file.len().checked_sub(TRAILER)?);
    let (offset, len) = (u64_at(trailer, 16), u64_at(trailer, 24));
    let adds_up = offset.checked_add(len) == Some(body.len() as u64);
    let (data, text) = body.split_at_checked(offset.try_into().ok()?)?;
    (adds_up && trailer == trailer_of(data, text)).then_some((data, text))
}

/// As `split`, for anything: what the trailer says is believed as far as it can be.
pub fn split_anything(file: &[u8]) -> (&[u8], &[u8]) {
    let (body, trailer) = file.split_at(file.len().saturating_sub(TRAILER));
    match trailer.len() {
        TRAILER => body.split_at(u64_at(trailer, 16).min(body.len() as u64) as usize),
        _ => (&[], file),
    }
}

/// The file of these parts.
pub fn join(data: &[u8], text: &[u8]) -> Vec<u8> {
    [data, text, &trailer_of(data, text)].concat()
}

fn trailer_of(data: &[u8], text: &[u8]) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    trailer[..8].copy_from_slice(MAGIC);
    trailer[8] = 1;
    trailer[16..24].copy_from_slice(&(data.len() as u64).to_le_bytes());
    trailer[24..32].copy_from_slice(&(text.len() as u64).to_le_bytes());
    trailer[32..36].copy_from_slice(&crc32c(text).to_le_bytes());
    let crc = crc32c(&trailer[..44]);
    trailer[44..].copy_from_slice(&crc.to_le_bytes());
    trailer
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
