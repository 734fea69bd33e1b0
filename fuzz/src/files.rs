// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Files without names, pipes, and a count of what is open.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

/// A memfd that has a path all the same.
pub struct Scratch(File);

impl Scratch {
    /// An empty one.
    pub fn new() -> Self {
        // SAFETY: a plain system call; the descriptor is ours.
        let file = unsafe {
            let fd = libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0);
            File::from_raw_fd(fd)
        };
        Scratch(file)
    }

    /// Replaces its bytes; the position is their start.
    pub fn set(&mut self, bytes: &[u8]) {
        self.0.set_len(0).expect("a memfd can be cut");
        self.0.rewind().expect("a memfd can seek");
        self.0.write_all(bytes).expect("memory for the input");
        self.0.rewind().expect("a memfd can seek");
    }

    /// All its bytes.
    pub fn bytes(&mut self) -> Vec<u8> {
        let (position, mut bytes) = (self.position(), Vec::new());
        self.seek(0);
        self.0.read_to_end(&mut bytes).expect("a memfd can be read");
        self.seek(position);
        bytes
    }

    /// Sets where the next read begins.
    pub fn seek(&mut self, position: u64) {
        self.0.seek(SeekFrom::Start(position)).expect("a memfd can seek");
    }

    /// Where the next read begins.
    pub fn position(&mut self) -> u64 {
        self.0.stream_position().expect("a memfd can seek")
    }

    /// Its descriptor.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Its path.
    pub fn path(&self) -> CString {
        CString::new(format!("/proc/thread-self/fd/{}", self.fd())).expect("no NUL in it")
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// The bytes that a pipe takes without a reader.
pub const PIPE_ROOM: usize = 65536;

/// The reading end of a pipe that holds `bytes`, at most `PIPE_ROOM` of them.
pub fn pipe_of(bytes: &[u8]) -> File {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which are ours.
    let (reader, mut writer) = unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    };
    writer.write_all(bytes).expect("the pipe has room");
    reader
}

/// How many of the first descriptors are open.
pub fn open_fds() -> usize {
    // SAFETY: a plain system call, which checks the descriptor.
    (0..256).filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0).count()
}

/// Mappings of memory files: regions and the inaccessible pages around them. The one page
/// that the library copies those from stays.
pub fn memfd_mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    let memfds = maps.lines().filter(|line| line.contains("/memfd:"));
    let (guards, others): (Vec<_>, Vec<_>) =
        memfds.partition(|line| line.contains("/memfd:guestmem-guard"));
    others.len() + guards.len().saturating_sub(1)
}
