// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the contract says that memory is, and what each kind of access must answer: byte arrays,
//! and the list of regions that show them. Written for clarity alone.

use ::guestmem::ffi::memory::guestmem;
use ::guestmem::ffi::region::{
    GUESTMEM_REGION_FD, GUESTMEM_REGION_HOST, GUESTMEM_REGION_PRIVATE, GUESTMEM_REGION_READ_ONLY,
    guestmem_region,
};
use ::guestmem::ffi::status::*;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

/// The codes of which a call must give one.
#[derive(Clone, Copy, PartialEq)]
pub struct Codes(u64);

impl Codes {
    pub const NONE: Codes = Codes(0);
    pub const OK: Codes = Codes::of(GUESTMEM_OK);

    pub const fn of(code: i32) -> Self {
        Codes(1 << -code)
    }

    pub const fn or(self, code: i32) -> Self {
        Codes(self.0 | 1 << -code)
    }

    pub const fn with(self, others: Codes) -> Self {
        Codes(self.0 | others.0)
    }

    pub fn has(self, code: i32) -> bool {
        (-63..=0).contains(&code) && self.0 >> -code & 1 == 1
    }

    pub fn is_ok(self) -> bool {
        self == Self::OK
    }

    /// Of several things wrong those that the contract has reported: none, if none is.
    pub fn first(self) -> Self {
        const ORDER: [Codes; 4] = [
            Codes::of(GUESTMEM_E_INVALID_ARGUMENT),
            Codes::of(GUESTMEM_E_INVALID_ADDRESS),
            Codes::of(GUESTMEM_E_INVALID_RANGE).or(GUESTMEM_E_INVALID_SIZE),
            Codes::of(GUESTMEM_E_READ_ONLY),
        ];
        let mut found = ORDER.iter().map(|codes| Codes(codes.0 & self.0));
        found.find(|&codes| codes != Self::NONE).unwrap_or(Self::NONE)
    }
}

impl fmt::Debug for Codes {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.debug_set().entries((-63..=0).rev().filter(|&code| self.has(code))).finish()
    }
}

/// Bytes that regions show: their own, or those of a file that several may map.
pub type Store = Rc<RefCell<Vec<u8>>>;

/// A region. The model's references are those that the library must hold: one for each memory that
/// it is in, and one for each that the caller has.
pub struct Region {
    pub start: u64,
    pub size: u64,
    pub flags: u64,
    pub purpose: u32,
    pub fd_offset: u64,
    pub align: u64,
    pub store: Store,
    /// Where in the store it begins.
    pub at: usize,
    /// NULL as long as the caller was given none.
    pub handle: Cell<*mut guestmem_region>,
    /// NULL as long as it was in no memory that could be asked.
    pub host: Cell<*mut u8>,
    /// Half restored; None where that cannot be told.
    pub is_tainted: Cell<Option<bool>>,
    /// What the caller mapped for it.
    pub callers: Option<super::host::Mapping>,
}

impl Region {
    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    pub fn is_read_only(&self) -> bool {
        self.has(GUESTMEM_REGION_READ_ONLY)
    }

    pub fn is_private(&self) -> bool {
        self.has(GUESTMEM_REGION_PRIVATE)
    }

    pub fn is_callers(&self) -> bool {
        self.has(GUESTMEM_REGION_HOST)
    }

    /// Without a backing of its own, so that it lies in a memfd of the library.
    pub fn is_in_memfd(flags: u64) -> bool {
        flags & (GUESTMEM_REGION_FD | GUESTMEM_REGION_HOST | GUESTMEM_REGION_PRIVATE) == 0
    }

    pub fn has_fd(&self) -> bool {
        self.has(GUESTMEM_REGION_FD) || Self::is_in_memfd(self.flags)
    }

    pub fn end(&self) -> u64 {
        self.start + self.size
    }

    pub fn holds(&self, addr: u64) -> bool {
        self.start <= addr && addr < self.end()
    }

    pub fn overlaps(&self, other: &Region) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.store.borrow()[self.at..][..self.size as usize].to_vec()
    }

    pub fn set_bytes(&self, offset: usize, bytes: &[u8]) {
        self.store.borrow_mut()[self.at + offset..][..bytes.len()].copy_from_slice(bytes);
    }
}

/// A part of a region.
pub struct Piece {
    pub region: Rc<Region>,
    pub offset: usize,
    pub len: usize,
}

impl Piece {
    pub fn host(&self) -> *mut u8 {
        self.region.host.get().wrapping_add(self.offset)
    }

    /// The same bytes, seen at another place.
    fn is_aliased_by(&self, other: &Piece) -> bool {
        let (this, that) = (self.region.at + self.offset, other.region.at + other.offset);
        Rc::ptr_eq(&self.region.store, &other.region.store)
            && !Rc::ptr_eq(&self.region, &other.region)
            && this < that + other.len
            && that < this + self.len
    }
}

/// True when the order in which bytes are moved shows, of which the contract says nothing.
pub fn is_ambiguous(pieces: &[Piece]) -> bool {
    pieces.iter().any(|one| pieces.iter().any(|other| one.is_aliased_by(other)))
}

/// Regions, by ascending address.
#[derive(Clone, Default)]
pub struct Map(pub Vec<Rc<Region>>);

impl Map {
    pub fn at(&self, addr: u64) -> Option<&Rc<Region>> {
        self.0.iter().find(|region| region.holds(addr))
    }

    fn is_end(&self, addr: u64) -> bool {
        self.0.iter().any(|region| region.end() == addr)
    }

    /// Bytes from the address to the end of its region.
    pub fn room(&self, addr: u64) -> u64 {
        self.at(addr).map_or(0, |region| region.end() - addr)
    }

    /// The same, running on through regions that touch.
    pub fn run(&self, addr: u64) -> u64 {
        let mut sum = 0;
        while self.room(addr + sum) != 0 {
            sum += self.room(addr + sum);
        }
        sum
    }

    /// The parts of regions in a range without holes.
    pub fn pieces(&self, mut addr: u64, mut len: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while len != 0 {
            let region = self.at(addr).expect("a range that was checked").clone();
            let part = self.room(addr).min(len);
            pieces.push(Piece {
                offset: (addr - region.start) as usize,
                region,
                len: part as usize,
            });
            (addr, len) = (addr + part, len - part);
        }
        pieces
    }

    pub fn read(&self, addr: u64, len: u64) -> Vec<u8> {
        let part = |piece: &Piece| piece.region.bytes()[piece.offset..][..piece.len].to_vec();
        self.pieces(addr, len).iter().flat_map(part).collect()
    }

    pub fn write(&self, addr: u64, mut bytes: &[u8]) {
        for piece in self.pieces(addr, bytes.len() as u64) {
            let (part, rest) = bytes.split_at(piece.len);
            piece.region.set_bytes(piece.offset, part);
            bytes = rest;
        }
    }

    fn bytes_code(
        &self,
        addr: u64,
        len: u64,
        available: u64,
        writes: bool,
        too_long: i32,
    ) -> Codes {
        let meets_read_only =
            || self.pieces(addr, len).iter().any(|piece| piece.region.is_read_only());
        Codes::of(match () {
            _ if available == 0 && len == 0 && self.is_end(addr) => GUESTMEM_OK,
            _ if available == 0 => GUESTMEM_E_INVALID_ADDRESS,
            _ if len > available => too_long,
            _ if writes && meets_read_only() => GUESTMEM_E_READ_ONLY,
            _ => GUESTMEM_OK,
        })
    }

    /// Byte access within one region.
    pub fn region_code(&self, addr: u64, len: u64, writes: bool, too_long: i32) -> Codes {
        self.bytes_code(addr, len, self.room(addr), writes, too_long)
    }

    /// Byte access as devices have it.
    pub fn dma_code(&self, addr: u64, len: u64, writes: bool) -> Codes {
        self.bytes_code(addr, len, self.run(addr), writes, GUESTMEM_E_INVALID_RANGE)
    }

    /// Access in units of `width`, aligned to it.
    pub fn aligned_code(&self, addr: u64, len: u64, width: u64, writes: bool) -> Codes {
        let code = self.region_code(addr, len, false, GUESTMEM_E_INVALID_RANGE);
        match () {
            _ if code.is_ok() && !addr.is_multiple_of(width) => Codes::of(GUESTMEM_E_MISALIGNED),
            _ => self.region_code(addr, len, writes, GUESTMEM_E_INVALID_RANGE),
        }
    }

    /// What hands out a pointer to read or to write through. No bytes of nowhere are wrong twice over.
    pub fn pointer_code(&self, addr: u64, len: u64, available: u64, writes: bool) -> Codes {
        match () {
            _ if available == 0 && len == 0 => {
                Codes::of(GUESTMEM_E_INVALID_ADDRESS).or(GUESTMEM_E_INVALID_SIZE)
            }
            _ if available == 0 => Codes::of(GUESTMEM_E_INVALID_ADDRESS),
            _ if len == 0 => Codes::of(GUESTMEM_E_INVALID_SIZE),
            _ => self.bytes_code(addr, len, available, writes, GUESTMEM_E_INVALID_RANGE),
        }
    }

    pub fn has_overlap(&self) -> bool {
        let overlaps = |(index, one): (usize, &Rc<Region>)| {
            self.0[index + 1..].iter().any(|other| one.overlaps(other))
        };
        self.0.iter().enumerate().any(overlaps)
    }

    /// All of it as pieces.
    pub fn whole(&self) -> Vec<Piece> {
        let whole = |region: &Rc<Region>| Piece {
            region: region.clone(),
            offset: 0,
            len: region.size as usize,
        };
        self.0.iter().map(whole).collect()
    }

    /// True when a region is half restored; None where that cannot be told.
    pub fn is_tainted(&self) -> Option<bool> {
        let is_any = |taint| self.0.iter().any(|region| region.is_tainted.get() == taint);
        if is_any(Some(true)) { Some(true) } else { Some(false).filter(|_| !is_any(None)) }
    }

    pub fn set_tainted(&self, is_tainted: Option<bool>) {
        let written = self.0.iter().filter(|region| !region.is_read_only());
        written.for_each(|region| region.is_tainted.set(is_tainted));
    }

    pub fn sort(&mut self) {
        self.0.sort_by_key(|region| region.start);
    }
}

/// A memory.
pub struct Memory {
    pub handle: *mut guestmem,
    pub map: Map,
    /// Those that the caller has.
    pub references: usize,
    pub generation: u64,
    pub policy: u64,
}
