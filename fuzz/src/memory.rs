// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Guest memory through the C API.

use crate::files::Scratch;
use ::guestmem::ffi::image::guestmem_save;
use ::guestmem::ffi::memory::{guestmem, guestmem_new_with_options, guestmem_unref};
use ::guestmem::ffi::query::{guestmem_free, guestmem_num_regions, guestmem_region_info};
use ::guestmem::ffi::region::{GUESTMEM_REGION_PRIVATE, guestmem_region_options};
use ::guestmem::ffi::snapshot::{guestmem_snapshot, guestmem_snapshot_options};
use ::guestmem::ffi::status::{GUESTMEM_E_IO, GUESTMEM_E_TAINTED, GUESTMEM_OK};
use std::ffi::{CStr, CString};
use std::mem::zeroed;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// A memory, released when dropped.
pub struct Memory(*mut guestmem);

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the one reference that we have.
        unsafe { guestmem_unref(self.0) }
    }
}

impl Memory {
    /// A memory of these addresses and sizes, with the GUESTMEM_REGION_* of `flags`.
    pub fn new(map: &[(u64, u64)], flags: u64) -> Option<Self> {
        let mut options = Vec::new();
        for &(guest_addr, size) in map {
            // SAFETY: all-zero options are valid.
            let zeros: guestmem_region_options = unsafe { zeroed() };
            options.push(guestmem_region_options { guest_addr, size, flags, ..zeros });
        }
        let mut out = null_mut();
        // SAFETY: the options are as many and as large as said.
        let code = unsafe {
            guestmem_new_with_options(
                options.as_ptr(),
                map.len(),
                size_of::<guestmem_region_options>(),
                &mut out,
            )
        };
        (code == GUESTMEM_OK).then_some(Memory(out))
    }

    /// Takes over the reference that a call gave.
    ///
    /// # Safety
    /// `handle` is a memory, with a reference that nobody else releases.
    pub unsafe fn from_handle(handle: *mut guestmem) -> Self {
        Memory(handle)
    }

    /// What the calls want.
    pub fn handle(&self) -> *mut guestmem {
        self.0
    }

    fn regions(&self) -> Vec<guestmem_region_info> {
        // SAFETY: a live memory, and infos of the size that is said.
        unsafe {
            let info = |index| {
                let mut info = zeroed();
                let size = size_of::<guestmem_region_info>();
                assert_eq!(guestmem_region_info(self.0, index, &mut info, size), GUESTMEM_OK);
                info
            };
            (0..guestmem_num_regions(self.0)).map(info).collect()
        }
    }

    /// Addresses and sizes of the regions.
    pub fn map(&self) -> Vec<(u64, u64)> {
        self.regions().iter().map(|info| (info.guest_addr, info.size)).collect()
    }

    /// The bytes of each region. Shared ones are read by their file: to read a hole in the mapping
    /// would allocate its page.
    pub fn contents(&self) -> Vec<Vec<u8>> {
        let bytes = |info: &guestmem_region_info| {
            let mut bytes = vec![0; info.size as usize];
            let is_shared = info.fd >= 0 && info.flags & GUESTMEM_REGION_PRIVATE == 0;
            let (to, len) = (bytes.as_mut_ptr(), bytes.len());
            // SAFETY: as many bytes as there are in both; nobody writes to the region meanwhile.
            unsafe {
                if is_shared {
                    let got = libc::pread(info.fd, to.cast(), len, info.fd_offset as i64);
                    assert_eq!(got, len as isize);
                } else {
                    to.copy_from_nonoverlapping(info.host_addr.cast(), len);
                }
            }
            bytes
        };
        self.regions().iter().map(bytes).collect()
    }

    /// Fills the pages for which `with` gives a byte.
    pub fn fill(&self, mut with: impl FnMut() -> Option<u8>) {
        for info in self.regions() {
            for offset in (0..info.size as usize).step_by(PAGE) {
                if let Some(byte) = with() {
                    // SAFETY: a page of a writable region.
                    unsafe { info.host_addr.cast::<u8>().add(offset).write_bytes(byte, PAGE) };
                }
            }
        }
    }

    /// Data and metadata of a snapshot of it, with the GUESTMEM_SNAPSHOT_* of `flags`.
    pub fn snapshot(&self, layout: u32, flags: u64) -> (Vec<u8>, Vec<u8>) {
        // SAFETY: all-zero options are valid.
        let zeros: guestmem_snapshot_options = unsafe { zeroed() };
        let options = guestmem_snapshot_options { flags, layout, ..zeros };
        let (mut file, mut metadata) = (Scratch::new(), null_mut());
        let (fd, size) = (file.fd(), size_of_val(&options));
        // SAFETY: a live memory, options of the size that is said, and a pointer to be set to a
        // text that is ours to free.
        let text = unsafe {
            let code = guestmem_snapshot(self.0, fd, &options, size, &mut metadata);
            assert_eq!(code, GUESTMEM_OK);
            let text = CStr::from_ptr(metadata).to_bytes().to_vec();
            guestmem_free(metadata.cast());
            text
        };
        (file.bytes(), text)
    }

    /// Saves it as an image file, with the GUESTMEM_SNAPSHOT_* of `flags`.
    pub fn save(&self, path: &Path, flags: u64) {
        // SAFETY: all-zero options are valid.
        let zeros: guestmem_snapshot_options = unsafe { zeroed() };
        let options = guestmem_snapshot_options { flags, ..zeros };
        let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL in it");
        // SAFETY: a live memory, a path, and options of the size that is said.
        let code = unsafe { guestmem_save(self.0, path.as_ptr(), &options, size_of_val(&options)) };
        assert_eq!(code, GUESTMEM_OK);
    }

    /// True after a restore that failed half way.
    pub fn is_tainted(&self) -> bool {
        let mut metadata = null_mut();
        // SAFETY: a live memory. There is no such descriptor, but that comes later.
        let code = unsafe { guestmem_snapshot(self.0, -1, null(), 0, &mut metadata) };
        assert!([GUESTMEM_E_IO, GUESTMEM_E_TAINTED].contains(&code), "{code}");
        code == GUESTMEM_E_TAINTED
    }
}
