// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Giving a packed snapshot to a function: the data ranges one after the other, each byte copied out
//! of guest memory once, so that what is given is what the checksum is of.

use crate::error::{Error, Result};
use crate::host::alloc::vec_of;
use crate::image::batch::{Batch, Steps};
use crate::image::copies::Copies;
use crate::image::format::checksum::{Write, checksum};
use crate::image::format::metadata::Metadata;
use crate::image::pieces::Hole;
use crate::image::progress::Progress;
use crate::image::regions::Regions;

/// Writes the data that `metadata` tells of and fills in its checksums, if it is to have them.
/// The `holes` in its ranges become zeros without being read.
pub fn write(
    metadata: &mut Metadata,
    holes: &[Hole],
    regions: Regions,
    write: Write,
    progress: Progress,
) -> Result<()> {
    let mut checksums = match metadata.checksums {
        Some(_) => Some(vec_of(metadata.chunk_count() as usize)?),
        None => None,
    };
    let mut copies = Copies::new()?;
    let mut steps = Steps::new(metadata.data_size(), progress);
    let (mut chunks, mut taken) = (metadata.chunks(), 0);
    loop {
        let batch = Batch::take_from(&mut chunks, taken);
        if batch.count == 0 {
            break;
        }
        taken += batch.count;
        let written = batch.before;
        let copy = copies.of_chunks(regions, holes, batch.chunks.clone());
        let copy = copy.map_err(|error| error.after(written))?;
        if let Some(checksums) = &mut checksums {
            let mut rest = copy;
            for chunk in batch.chunks {
                let (own, behind) = rest.split_at(chunk.len);
                checksums.push(checksum(own));
                rest = behind;
            }
        }
        give(copy, written, write)?;
        steps.reach(written + batch.size as u64)?;
    }
    steps.end()?;
    metadata.checksums = checksums;
    Ok(())
}

/// Gives all of `bytes` away, before which `written` were.
fn give(bytes: &[u8], mut written: u64, write: Write) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let failed = |errno| Error::Io { errno, completed: written };
        let taken = write(rest).map_err(failed)?;
        if taken == 0 || taken > rest.len() {
            return Err(failed(libc::EIO));
        }
        rest = &rest[taken..];
        written += taken as u64;
    }
    Ok(())
}
