// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Section 10: snapshots through a function into a buffer, and back, also damaged ones.

use super::input::Record;
use super::model::{Codes, Map, is_ambiguous};
use super::world::World;
use ::guestmem::ffi::memory::guestmem;
use ::guestmem::ffi::query::guestmem_free;
use ::guestmem::ffi::snapshot::*;
use ::guestmem::ffi::status::*;
use guestmem_fuzz::memory::PAGE;
use guestmem_fuzz::progress::{Progress, tell};
use guestmem_fuzz::random::Random;
use guestmem_fuzz::sink::{Sink, take};
use guestmem_fuzz::snapshot::Snapshot;
use guestmem_fuzz::source::{Source, give};
use std::ffi::CStr;
use std::ptr::{null, null_mut};

const MAX_TAKEN: usize = 4;
const STOPS: [usize; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
const FLAGS: [u64; 16] = [
    0,
    0,
    0,
    0,
    0,
    GUESTMEM_SNAPSHOT_NO_CHECKSUM,
    GUESTMEM_SNAPSHOT_NO_CHECKSUM,
    GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES,
    GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES,
    GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES | GUESTMEM_SNAPSHOT_NO_CHECKSUM,
    0,
    0,
    GUESTMEM_SNAPSHOT_SYNC,
    GUESTMEM_SNAPSHOT_DIRECT,
    16,
    1 << 63,
];
const ALL_FLAGS: u64 = 15;

/// A snapshot that was taken.
#[derive(Clone)]
pub struct Taken {
    text: Vec<u8>,
    data: Vec<u8>,
}

impl World<'_> {
    pub fn snapshot(&mut self, record: &Record) {
        if !self.may_be_slow() {
            return;
        }
        let target = self.target(record);
        let part = |index| record.part(index) as usize;
        let mut progress = Progress::new(STOPS[part(0) % 16]);
        let mut sink = Sink::new(&mut Random::new(record.value() as u32));
        let options = guestmem_snapshot_options {
            flags: FLAGS[part(1) % 16],
            layout: match part(2) {
                250.. => GUESTMEM_LAYOUT_SPARSE,
                245..250 => 2,
                _ => 0,
            },
            threads: part(3) as u32 % 4,
            progress: Some(tell),
            progress_user: progress.user(),
        };
        let with_options = record.choice() < 240;
        let (flags, layout) = if with_options { (options.flags, options.layout) } else { (0, 0) };
        let (no_function, no_text) = (record.is_null(0), record.is_null(1));
        let is_bad = no_function || no_text || flags & !ALL_FLAGS != 0 || layout > 1;
        let unsupported =
            flags & (GUESTMEM_SNAPSHOT_SYNC | GUESTMEM_SNAPSHOT_DIRECT) != 0 || layout != 0;
        let right = target.right(is_bad, |map| {
            let tainted = Codes::of(GUESTMEM_E_TAINTED);
            let or_not = match unsupported {
                true => Codes::of(GUESTMEM_E_UNSUPPORTED),
                false => Codes::OK.or(GUESTMEM_E_IO).or(GUESTMEM_E_CANCELLED).with(privileged(map)),
            };
            match map.is_tainted() {
                Some(false) => or_not,
                Some(true) if !unsupported => tainted,
                _ => or_not.with(tainted),
            }
        });
        let (start, size) =
            if with_options { (&raw const options, size_of_val(&options)) } else { (null(), 0) };
        let function: guestmem_write_fn = if no_function { None } else { Some(take) };
        let (mut text, user) = (null_mut(), sink.user());
        let out = if no_text { null_mut() } else { &raw mut text };
        let mut code = 0;
        // SAFETY: a function with its argument, options of the size that is said, an output.
        let is_ok = self.asker.ask_moving("snapshot_write", None, right, None, || unsafe {
            code = guestmem_snapshot_write(target.handle, function, user, start, size, out);
            code
        });
        assert_eq!(text.is_null(), !is_ok);
        assert_eq!(code == GUESTMEM_E_IO, sink.has_failed());
        assert_eq!(code == GUESTMEM_E_CANCELLED, progress.has_stopped());
        if !is_ok {
            return;
        }
        assert!(!with_options || progress.has_ended());
        // SAFETY: text from the call, which is ours to free.
        let bytes = unsafe {
            let bytes = CStr::from_ptr(text).to_bytes().to_vec();
            guestmem_free(text.cast());
            bytes
        };
        let taken = Taken { text: bytes, data: sink.into_bytes() };
        taken.check(target.map().expect("a memory"), flags);
        self.taken.push(taken);
        if self.taken.len() > MAX_TAKEN {
            self.taken.remove(0);
        }
    }

    pub fn restore(&mut self, record: &Record) {
        let target = self.target(record);
        let part = |index| record.part(index) as usize;
        if self.taken.is_empty() {
            let mut plain = Record::default();
            plain.0[1] = record.handle();
            self.snapshot(&plain);
        }
        let Some(taken) = self.taken.get(part(0) % self.taken.len().max(1)) else { return };
        let (taken, snapshot) = taken.damaged(record);
        if is_ambiguous(&target.map.clone().unwrap_or_default().whole()) {
            return;
        }
        let mut progress = Progress::new(STOPS[part(1) % 16]);
        let options = guestmem_restore_options {
            flags: match part(2) {
                248.. => 2,
                192..248 => GUESTMEM_RESTORE_MORE_FOLLOWS,
                _ => 0,
            },
            threads: part(3) as u32 % 4,
            reserved: (part(3) == 255).into(),
            progress: Some(tell),
            progress_user: progress.user(),
        };
        let (no_text, no_function) = (record.is_null(0), record.is_null(1));
        let is_bad = no_text || no_function || options.flags > 1 || options.reserved != 0;
        let right = target.right(is_bad, |map| early_code(map, snapshot.as_ref()));
        let is_early = right != LATE.with(Codes::OK);
        let mut source = Source::new(&taken.data, &mut Random::new(record.value() as u32));
        let start = if no_text { null() } else { taken.text.as_ptr().cast() };
        let function: guestmem_read_fn = if no_function { None } else { Some(give) };
        let (len, user, size) = (taken.text.len(), source.user(), size_of_val(&options));
        let mut code = 0;
        // SAFETY: a text and options of the sizes that are said, a function with its argument.
        let is_ok = self.asker.ask_moving("restore_read", None, right, None, || unsafe {
            code = guestmem_restore_read(target.handle, start, len, function, user, &options, size);
            code
        });
        let Some(map) = target.map() else { return };
        if is_early && !is_ok {
            return self.check_pieces(&map.whole());
        }
        let Some(snapshot) = snapshot else {
            panic!("a snapshot that makes no sense was restored")
        };
        let is_long =
            taken.data.len() as u64 > snapshot.extent().expect("a right one") && options.flags == 0;
        let good = snapshot.contents(&taken.data);
        let mut read_only = map.0.iter().zip(&good).filter(|(region, _)| region.is_read_only());
        let differs = read_only.any(|(region, good)| region.bytes() != *good);
        let right = match () {
            _ if progress.has_stopped() => Codes::of(GUESTMEM_E_CANCELLED),
            _ if source.has_failed() => {
                Codes::of(GUESTMEM_E_IO).or(GUESTMEM_E_CORRUPT).or(GUESTMEM_E_SNAPSHOT_LONG)
            }
            _ => late_code(&snapshot, &taken.data, is_long),
        };
        let right = match differs {
            true if right == Codes::OK => Codes::of(GUESTMEM_E_MISMATCH),
            true => right.or(GUESTMEM_E_MISMATCH),
            false => right,
        };
        assert!(right.has(code), "restore_read: {code}, not one of {right:?}");
        if is_ok {
            assert!(progress.has_ended());
            map.0.iter().zip(&good).for_each(|(region, bytes)| region.set_bytes(0, bytes));
            map.set_tainted(Some(false));
            self.check_pieces(&map.whole());
            return;
        }
        let has_changed = adopt_half(map, &good);
        let is_tainted = self.ask_tainted(target.handle);
        let was_tainted = map.is_tainted();
        assert!(is_tainted || !(has_changed || was_tainted == Some(true)), "half and not tainted");
        match was_tainted {
            _ if has_changed || !is_tainted => map.set_tainted(Some(is_tainted)),
            Some(false) => map.set_tainted(Some(true)),
            // Some were, and perhaps all are now.
            _ => map
                .0
                .iter()
                .filter(|region| !region.is_read_only() && region.is_tainted.get() != Some(true))
                .for_each(|region| region.is_tainted.set(None)),
        }
    }

    fn ask_tainted(&mut self, handle: *mut guestmem) -> bool {
        let right = Codes::of(GUESTMEM_E_IO).or(GUESTMEM_E_TAINTED);
        let (mut text, mut code) = (null_mut(), 0);
        // SAFETY: a live memory, an output. There is no such descriptor, but that comes later.
        self.asker.ask_moving("snapshot", None, right, None, || unsafe {
            code = guestmem_snapshot(handle, -1, null(), 0, &mut text);
            code
        });
        code == GUESTMEM_E_TAINTED
    }
}

/// Of a restore that comes to read data.
const LATE: Codes = Codes::of(GUESTMEM_E_SNAPSHOT_SHORT)
    .or(GUESTMEM_E_SNAPSHOT_LONG)
    .or(GUESTMEM_E_CORRUPT)
    .or(GUESTMEM_E_IO)
    .or(GUESTMEM_E_CANCELLED);

/// Where data lies in caller's memory without a file is for the privileged to know.
fn privileged(map: &Map) -> Codes {
    let is_hidden = map.0.iter().any(|region| region.is_callers() && !region.has_fd());
    if is_hidden { Codes::of(GUESTMEM_E_UNSUPPORTED) } else { Codes::NONE }
}

/// What can be said before any data is read.
fn early_code(map: &Map, snapshot: Option<&Snapshot>) -> Codes {
    let Some(snapshot) = snapshot else {
        return Codes::of(GUESTMEM_E_METADATA).or(GUESTMEM_E_UNSUPPORTED);
    };
    let is_same = map.0.iter().map(|region| (region.start, region.size)).eq(snapshot.map());
    match () {
        _ if !is_same => Codes::of(GUESTMEM_E_MISMATCH),
        _ => LATE.with(Codes::OK),
    }
}

/// What the data makes of it.
fn late_code(snapshot: &Snapshot, data: &[u8], is_long: bool) -> Codes {
    let extent = snapshot.extent().expect("a right one");
    let is_corrupt = !snapshot.chunks().iter().all(|chunk| chunk.is_good(data));
    let mut codes = Codes::NONE;
    for (is_one, code) in [
        ((data.len() as u64) < extent, GUESTMEM_E_SNAPSHOT_SHORT),
        (is_long, GUESTMEM_E_SNAPSHOT_LONG),
        (is_corrupt, GUESTMEM_E_CORRUPT),
    ] {
        codes = if is_one { codes.or(code) } else { codes };
    }
    if codes == Codes::NONE { Codes::OK } else { codes }
}

/// After a failure half way the model takes over what is there: each page is as it was, or zeros, or
/// has good data. True when any has changed.
fn adopt_half(map: &Map, good: &[Vec<u8>]) -> bool {
    let mut has_changed = false;
    for (region, good) in map.0.iter().zip(good) {
        let before = region.bytes();
        // SAFETY: a live region, which nobody writes to meanwhile.
        let now = unsafe { std::slice::from_raw_parts(region.host.get(), before.len()) };
        for ((now, before), good) in
            now.chunks(PAGE).zip(before.chunks(PAGE)).zip(good.chunks(PAGE))
        {
            assert!(
                now == before || now == good || now.iter().all(|&byte| byte == 0),
                "neither old nor new"
            );
        }
        has_changed |= now != before;
        region.set_bytes(0, now);
    }
    has_changed
}

impl Taken {
    /// Right in the eyes of the independent reader, and what memory holds.
    fn check(&self, map: &Map, flags: u64) {
        let snapshot = Snapshot::read(&self.text).expect("metadata of the library");
        assert!(!snapshot.is_sparse);
        assert_eq!(snapshot.is_checked, flags & GUESTMEM_SNAPSHOT_NO_CHECKSUM == 0);
        assert!(map.0.iter().map(|region| (region.start, region.size)).eq(snapshot.map()));
        assert_eq!(snapshot.extent(), Some(self.data.len() as u64));
        assert!(snapshot.chunks().iter().all(|chunk| chunk.is_good(&self.data)));
        let contents: Vec<_> = map.0.iter().map(|region| region.bytes()).collect();
        assert!(snapshot.contents(&self.data) == contents, "the snapshot holds something else");
        if flags & GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES != 0 {
            let is_zero = |page: &[u8]| page.iter().all(|&byte| byte == 0);
            assert!(!self.data.chunks(PAGE).any(is_zero), "a page of zeros");
        }
    }

    /// With something wrong about it, at times; and what a reader makes of it.
    fn damaged(&self, record: &Record) -> (Taken, Option<Snapshot>) {
        let mut taken = self.clone();
        let at = (record.value() >> 32) as usize % taken.data.len().max(1);
        match record.choice() {
            200..208 => taken.data.truncate(at),
            208..220 => taken.data.push(1),
            220..240 => taken.data.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x10),
            240..248 => taken.text.truncate(at % taken.text.len()),
            248.. => taken.data.resize(taken.data.len() + PAGE, 0),
            _ => {}
        }
        let snapshot = Snapshot::read(&taken.text);
        (taken, snapshot)
    }
}
