// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The input as a snapshot that is brought back: guestmem_restore from files and pipes,
//! guestmem_restore_read, guestmem_restore_file.

use super::Input;
use guestmem::ffi::image::guestmem_restore_file;
use guestmem::ffi::region::GUESTMEM_REGION_PRIVATE;
use guestmem::ffi::snapshot::{
    GUESTMEM_RESTORE_MORE_FOLLOWS, guestmem_restore, guestmem_restore_options,
    guestmem_restore_read,
};
use guestmem::ffi::status::*;
use guestmem_fuzz::files::{PIPE_ROOM, Scratch, pipe_of};
use guestmem_fuzz::memory::{Memory, PAGE};
use guestmem_fuzz::progress::{Progress, tell};
use guestmem_fuzz::random::Random;
use guestmem_fuzz::source::{Source, give};
use guestmem_fuzz::tally::count;
use std::io::Read;
use std::os::fd::AsRawFd;

/// What is restored into where the snapshot's own regions are not had.
const OTHER: [(u64, u64); 2] = [(0, 0x2000), (0x10_0000, 0x1000)];

/// Restores the input a few times, each time by another way, into the same memory.
pub fn run(input: &Input, random: &mut Random) {
    let own = input.snapshot.as_ref().filter(|_| input.is_moderate && !random.once_in(16));
    let map = own.map_or(OTHER.to_vec(), |snapshot| snapshot.map());
    let memory = Memory::new(&map, random.pick(&[0, 0, GUESTMEM_REGION_PRIVATE]))
        .expect("memory of such regions can be made");
    let is_same = input.snapshot.as_ref().is_some_and(|snapshot| snapshot.map() == map);
    for _ in 0..2 {
        let way = random.pick(&[Way::File, Way::Pipe, Way::Callback, Way::Image]);
        let tail = random.pick(&[0, 0, 0, 1, PAGE]);
        if way != Way::Pipe || input.data.len() + tail <= PIPE_ROOM {
            Restore { input, memory: &memory, is_same, way, tail }.run(random);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    File,
    Pipe,
    Callback,
    Image,
}

/// How a restore ended, and what it met on its way.
struct Outcome {
    code: i32,
    /// The progress function asked to stop.
    was_stopped: bool,
    /// The read function failed.
    has_failed: bool,
}

struct Restore<'a> {
    input: &'a Input<'a>,
    memory: &'a Memory,
    /// The snapshot is of the regions of `memory`.
    is_same: bool,
    way: Way,
    /// Bytes behind the data.
    tail: usize,
}

impl Restore<'_> {
    fn run(&self, random: &mut Random) {
        // Memory that was never written to is a case of its own.
        if !random.once_in(3) {
            self.memory.fill(|| random.pick(&[None, None, Some(0), Some(1), Some(0xa5)]));
        }
        let (before, was_tainted) = (self.memory.contents(), self.is_tainted());
        let more_follows = random.once_in(4);
        let mut progress = Progress::new(random.pick(&[0, 0, 0, 0, 0, 0, 1, 2]));
        let options = guestmem_restore_options {
            flags: if more_follows { GUESTMEM_RESTORE_MORE_FOLLOWS } else { 0 },
            threads: random.below(4) as u32,
            reserved: 0,
            progress: Some(tell),
            progress_user: progress.user(),
        };
        let (code, has_failed) = match self.way {
            Way::File => (self.by_file(&options, random), false),
            Way::Pipe => (self.by_pipe(&options), false),
            Way::Callback => self.by_callback(&options, random),
            Way::Image => (self.by_image(&options), false),
        };
        let outcome = Outcome { code, was_stopped: progress.has_stopped(), has_failed };
        let right = self.right_codes(&outcome, more_follows);
        assert!(right.contains(&code), "{:?}: {code}, not one of {right:?}", self.way);
        if code == GUESTMEM_OK {
            assert!(progress.has_ended());
            self.check_all_is_there();
        } else if self.is_half_done(&outcome) {
            self.check_half(&before);
        } else {
            assert!(self.memory.contents() == before, "memory was changed");
            assert_eq!(self.is_tainted(), was_tainted);
        }
    }

    /// The data and what comes behind it.
    fn bytes(&self) -> Vec<u8> {
        [self.input.data, &[0x77; PAGE][..self.tail]].concat()
    }

    fn by_file(&self, options: &guestmem_restore_options, random: &mut Random) -> i32 {
        let mut file = Scratch::new();
        let head = if self.is_sparse() { 0 } else { random.pick(&[0, 0, 1, PAGE]) };
        file.set(&[&[0x66; PAGE][..head], &self.bytes()].concat());
        let from = if self.is_sparse() { random.pick(&[0, 1, 1 << 40]) } else { head as u64 };
        file.seek(from);
        let code = self.by_fd("restore, file", file.fd(), options);
        if code == GUESTMEM_OK {
            let moved = if self.is_sparse() { 0 } else { self.extent() };
            assert_eq!(file.position(), from + moved);
        }
        code
    }

    fn by_pipe(&self, options: &guestmem_restore_options) -> i32 {
        let mut pipe = pipe_of(&self.bytes());
        let code = self.by_fd("restore, pipe", pipe.as_raw_fd(), options);
        if code == GUESTMEM_OK {
            let mut rest = Vec::new();
            pipe.read_to_end(&mut rest).expect("a pipe of our own");
            assert!(rest == self.bytes()[self.extent() as usize..]);
        }
        code
    }

    fn by_fd(&self, call: &'static str, fd: i32, options: &guestmem_restore_options) -> i32 {
        let (text, len) = (self.input.text.as_ptr().cast(), self.input.text.len());
        let size = size_of_val(options);
        // SAFETY: a live memory, a text and options of the sizes that are said.
        let code = unsafe { guestmem_restore(self.memory.handle(), text, len, fd, options, size) };
        count(call, code);
        code
    }

    fn by_callback(&self, options: &guestmem_restore_options, random: &mut Random) -> (i32, bool) {
        let bytes = self.bytes();
        let mut source = Source::new(&bytes, random);
        let (text, len) = (self.input.text.as_ptr().cast(), self.input.text.len());
        let (user, size) = (source.user(), size_of_val(options));
        let handle = self.memory.handle();
        // SAFETY: a live memory, a text and options of the sizes that are said, and a function with
        // its argument.
        let code =
            unsafe { guestmem_restore_read(handle, text, len, Some(give), user, options, size) };
        count("restore_read", code);
        if code == GUESTMEM_OK {
            assert!(source.rest().len() as u64 == bytes.len() as u64 - self.extent());
        }
        (code, source.has_failed())
    }

    fn by_image(&self, options: &guestmem_restore_options) -> i32 {
        let mut file = Scratch::new();
        file.set(self.input.file);
        let (path, size) = (file.path(), size_of_val(options));
        let handle = self.memory.handle();
        // SAFETY: a live memory, a path, and options of the size that is said.
        let code = unsafe { guestmem_restore_file(handle, path.as_ptr(), options, size) };
        count("restore_file", code);
        assert!(file.bytes() == self.input.file, "the image was changed");
        code
    }

    /// The codes of which one must have come.
    fn right_codes(&self, outcome: &Outcome, more_follows: bool) -> Vec<i32> {
        let Some(snapshot) = self.input.snapshot.as_ref() else {
            // Regions that make no memory are others too.
            return vec![GUESTMEM_E_METADATA, GUESTMEM_E_UNSUPPORTED, GUESTMEM_E_MISMATCH];
        };
        let is_stream = matches!(self.way, Way::Pipe | Way::Callback);
        match () {
            _ if self.way == Way::Image && !self.input.is_image => {
                return vec![GUESTMEM_E_METADATA, GUESTMEM_E_UNSUPPORTED];
            }
            _ if is_stream && snapshot.is_sparse => {
                return vec![GUESTMEM_E_UNSUPPORTED, GUESTMEM_E_MISMATCH];
            }
            _ if !self.is_same => return vec![GUESTMEM_E_MISMATCH],
            _ if outcome.was_stopped => return vec![GUESTMEM_E_CANCELLED],
            // What came before it is judged first. And bytes that there is no room for, where the
            // end is looked for, are also too many.
            _ if outcome.has_failed => {
                return vec![GUESTMEM_E_IO, GUESTMEM_E_CORRUPT, GUESTMEM_E_SNAPSHOT_LONG];
            }
            _ => {}
        }
        let tail = if self.way == Way::Image { 0 } else { self.tail };
        let available = (self.input.data.len() + tail) as u64;
        let problems = [
            (available < self.extent(), GUESTMEM_E_SNAPSHOT_SHORT),
            (available > self.extent() && !more_follows, GUESTMEM_E_SNAPSHOT_LONG),
            (
                !snapshot.chunks().iter().all(|chunk| chunk.is_good(&self.bytes())),
                GUESTMEM_E_CORRUPT,
            ),
        ];
        let codes: Vec<_> =
            problems.iter().filter(|(is_one, _)| *is_one).map(|(_, code)| *code).collect();
        if codes.is_empty() { vec![GUESTMEM_OK] } else { codes }
    }

    /// True when the failure may have come after the first write.
    fn is_half_done(&self, outcome: &Outcome) -> bool {
        let is_stream = matches!(self.way, Way::Pipe | Way::Callback);
        let is_late = ![GUESTMEM_E_METADATA, GUESTMEM_E_UNSUPPORTED, GUESTMEM_E_MISMATCH]
            .contains(&outcome.code);
        is_late && (is_stream || outcome.was_stopped)
    }

    fn check_all_is_there(&self) {
        let snapshot = self.input.snapshot.as_ref().expect("a right one");
        assert!(self.memory.contents() == snapshot.contents(&self.bytes()));
        assert!(!self.memory.is_tainted());
    }

    /// Each page is as it was, or cleared, or has good data.
    fn check_half(&self, before: &[Vec<u8>]) {
        let snapshot = self.input.snapshot.as_ref().expect("a right one");
        let (now, good) = (self.memory.contents(), snapshot.contents(&self.bytes()));
        for ((now, before), good) in now.iter().zip(before).zip(&good) {
            let pages = now.chunks(PAGE).zip(before.chunks(PAGE)).zip(good.chunks(PAGE));
            for ((now, before), good) in pages {
                assert!(now == before || now == good || now.iter().all(|byte| *byte == 0));
            }
        }
        assert!(now == before || self.memory.is_tainted());
    }

    /// Asked only where it can have changed.
    fn is_tainted(&self) -> bool {
        self.is_same && self.memory.is_tainted()
    }

    fn is_sparse(&self) -> bool {
        self.input.snapshot.as_ref().is_some_and(|snapshot| snapshot.is_sparse)
    }

    /// Bytes of data that a restore takes.
    fn extent(&self) -> u64 {
        self.input.snapshot.as_ref().and_then(|snapshot| snapshot.extent()).expect("a right one")
    }
}
