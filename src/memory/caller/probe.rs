// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Finding out whether pages of the caller's mappings could be given back, without doing it: where a
//! range lies in several, one that refuses must not be found when others have lost theirs.

use crate::error::{Error, Result, errno, set_errno};
use crate::host::areas::{Area, MemoryKind};
use crate::host::smaps;
use crate::host::system::page_size;

pub const LOCKED: Error = Error::Unsupported("the file behind the caller's memory is needed");
pub const KEPT: Error =
    Error::Unsupported("the kernel cannot discard pages of the caller's memory");
const REFUSED: Error = Error::Unsupported("the file behind the caller's memory cannot have holes");

/// What is known of giving pages back before it is tried. In the order in which to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlook {
    /// The kernel may refuse.
    Open,
    /// It would have refused already.
    Good,
    /// It never refuses.
    Certain,
}

/// The outlook for a shared mapping whose file is not at hand, or an error where it would be refused.
/// `at` is an address in it.
pub fn shared(area: &Area, at: u64) -> Result<Outlook> {
    if smaps::is_locked(area.start, area.end - area.start) {
        return Err(LOCKED);
    }
    if area.unnamed && area.writable {
        return Ok(Outlook::Certain);
    }
    // Of larger pages the kernel makes no second mapping.
    if !area.readable || area.page.is_some_and(|page| page != page_size()) {
        return Ok(Outlook::Open);
    }
    // Largest first, as nothing may be there; file systems have limits of their own.
    const SIZES: [u32; 8] = [46, 44, 42, 40, 38, 36, 34, 32];
    for log2 in SIZES {
        match punch_behind(at, 1 << log2) {
            Ok(()) => return Ok(Outlook::Good),
            Err(Failure::TooLarge) => {}
            Err(Failure::Unknown) => break,
            Err(Failure::Refused) => return Err(REFUSED),
        }
    }
    Ok(Outlook::Open)
}

enum Failure {
    TooLarge,
    Unknown,
    Refused,
}

/// Punches a hole far behind the end of the file, where it changes nothing, but is refused for the same
/// reasons: seals, the mode of the descriptor that was mapped, what the file system cannot do.
fn punch_behind(at: u64, distance: usize) -> std::result::Result<(), Failure> {
    let page = page_size() as usize;
    let Some(second) = Second::new(at, distance) else {
        return Err(if errno() == libc::ENOMEM { Failure::TooLarge } else { Failure::Unknown });
    };
    let last = second.start.wrapping_byte_add(distance - page);
    // SAFETY: within the second mapping. Nothing is there to be read: if there is, the file is longer.
    let there = unsafe { libc::madvise(last, page, libc::MADV_POPULATE_READ) } == 0;
    if there || errno() != libc::EFAULT {
        return Err(Failure::Unknown);
    }
    // SAFETY: the page was just seen to lie behind the end of the file.
    if unsafe { libc::madvise(last, page, libc::MADV_REMOVE) } == 0 {
        return Ok(());
    }
    Err(if errno() == libc::EFBIG { Failure::TooLarge } else { Failure::Refused })
}

/// A second mapping of what is mapped shared at an address, and of what follows in the file.
struct Second {
    start: *mut libc::c_void,
    len: usize,
}

impl Second {
    fn new(at: u64, len: usize) -> Option<Self> {
        let from = at as *mut libc::c_void;
        // SAFETY: an old size of 0 leaves the old mapping as it is (mremap(2)), and the new one takes
        // addresses of the kernel's choice.
        let start = unsafe { libc::mremap(from, 0, len, libc::MREMAP_MAYMOVE) };
        if start == libc::MAP_FAILED { None } else { Some(Second { start, len }) }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let errno = errno();
        // SAFETY: our own mapping, which nobody else knows of.
        unsafe { libc::munmap(self.start, self.len) };
        set_errno(errno);
    }
}

/// Checks that the kernel would discard pages of a private mapping without a file. `at` is a page in it.
pub fn private(area: &Area, at: u64) -> Result<Outlook> {
    let is_locked = || smaps::is_locked(area.start, area.end - area.start);
    let is_plain = area.kind == MemoryKind::PrivateAnonymous && !is_locked();
    if !is_plain && !discards_locked() {
        return Err(KEPT);
    }
    if !area.writable && is_sealed(at) {
        return Err(KEPT);
    }
    Ok(Outlook::Certain)
}

/// True where locked pages, and huge pages, can be discarded: both came with Linux 5.18.
fn discards_locked() -> bool {
    // SAFETY: no bytes of no mapping.
    unsafe { libc::madvise(std::ptr::null_mut(), 0, libc::MADV_DONTNEED_LOCKED) == 0 }
}

/// True for memory under mseal(2), which keeps what may not be written.
fn is_sealed(at: u64) -> bool {
    let (page, len) = (at as *mut libc::c_void, page_size() as usize);
    // SAFETY: the page stays where it is and as large as it is, so that nothing changes.
    let moved = unsafe { libc::mremap(page, len, len, 0) };
    moved == libc::MAP_FAILED && errno() == libc::EPERM
}
