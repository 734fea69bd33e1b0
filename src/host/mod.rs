// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the system is asked: files, `/proc`, signals, threads, allocation that may fail.
//!
//! - [`alloc`]: growth that may fail: a size that a caller or a file names must not end the
//!   process.
//! - [`areas`]: mappings of this process, as the lines of proc_pid_maps(5) tell of them.
//! - [`cgroup`]: whether a control group may limit how many huge pages the process takes.
//! - [`mod@file`]: open files: what they are, and private bytes from and to them.
//! - [`handle`]: reference-counted objects in type-stable memory: what a C handle points to.
//! - [`huge_pages`]: the system's settings of transparent huge pages: whether memory gets them,
//!   asked for or not.
//! - [`kept`]: files of /proc and /dev that stay open, for when they cannot be opened any more:
//!   after a change of user /proc/thread-self/pagemap belongs to root, in a jail there is neither.
//! - [`maps`]: the mappings of this process, looked up by address.
//! - [`pagemap`]: looking into this process's page tables: `/proc/thread-self/pagemap`.
//! - [`proc`]: what the system tells about itself and this process: its page size, /proc and /sys.
//! - [`process`]: which process this is.
//! - [`procmap`]: asking for the one mapping at an address (PROCMAP_QUERY, Linux 6.11), whatever
//!   else is mapped.
//! - [`reserve`]: memory set aside for code that cannot bear a failed allocation.
//! - [`same_file`]: which file a mapping is of.
//! - [`signals`]: keeping signals from the embedder while a call works.
//! - [`smaps`]: what proc_pid_smaps(5) tells of the mappings of this process: flags, page sizes,
//!   resident bytes.
//! - [`system`]: sizes of pages of this system.
//! - [`text`]: texts that grow fallibly.
//! - [`threads`]: threads that live no longer than the call that starts them.
//! - [`userfault`]: whether a userfaultfd may have pages of some memory that are missing in it.

pub mod alloc;
pub mod areas;
pub mod cgroup;
pub mod file;
pub mod handle;
pub mod huge_pages;
pub mod kept;
pub mod maps;
pub mod pagemap;
pub mod proc;
pub mod process;
pub mod procmap;
pub mod reserve;
pub mod same_file;
pub mod signals;
pub mod smaps;
pub mod system;
pub mod text;
pub mod threads;
pub mod userfault;
