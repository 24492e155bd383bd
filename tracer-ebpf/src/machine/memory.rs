//! One address space of regions with gaps between them; every byte knows whether it was written.
//!
//! Regions get addresses that are never used again, so a stale address finds nothing.

use super::Result;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// Memory that a test lays out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Of the kernel.
    Kernel,
    /// Of the current process.
    User,
}

/// What a region is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Stack,
    Registers,
    Words,
    MapValue,
    Constants,
    Record,
    /// The address of a map itself: nothing to read.
    Map,
}

struct Region {
    kind: Kind,
    bytes: Vec<u8>,
    written: Vec<bool>,
}

/// Where our own regions start; test memory of the kernel must lie elsewhere.
const FIRST: u64 = 0xffff_c900_0000_0000;
const GAP: u64 = 4096;
const PAGE: u64 = 4096;

/// The pages that bytes are in.
fn pages(address: u64, size: usize) -> core::ops::RangeInclusive<u64> {
    address / PAGE..=address.saturating_add((size as u64).saturating_sub(1)) / PAGE
}

#[derive(Default)]
pub(super) struct Memory {
    regions: BTreeMap<u64, Region>,
    next: u64,
    kernel: BTreeMap<u64, Vec<u8>>,
    user: BTreeMap<u64, Vec<u8>>,
    /// Pages of the user's that are not in memory.
    absent: BTreeSet<u64>,
}

impl Memory {
    /// A region of unwritten bytes; returns its address.
    pub(super) fn add(&mut self, kind: Kind, size: usize) -> u64 {
        self.insert(kind, vec![0; size], false)
    }

    pub(super) fn add_written(&mut self, kind: Kind, bytes: &[u8]) -> u64 {
        self.insert(kind, bytes.to_vec(), true)
    }

    fn insert(&mut self, kind: Kind, bytes: Vec<u8>, written: bool) -> u64 {
        let address = FIRST + self.next;
        self.next += (bytes.len() as u64).next_multiple_of(GAP) + GAP;
        let written = vec![written; bytes.len()];
        self.regions.insert(address, Region { kind, bytes, written });
        address
    }

    pub(super) fn remove(&mut self, address: u64) {
        self.regions.remove(&address);
    }

    pub(super) fn lay_out(&mut self, space: Space, address: u64, bytes: &[u8]) {
        let memory = match space {
            Space::Kernel => &mut self.kernel,
            Space::User => &mut self.user,
        };
        memory.insert(address, bytes.to_vec());
    }

    pub(super) fn kind_at(&self, address: u64) -> Option<Kind> {
        self.find(address, 1).ok().map(|(region, _)| region.kind)
    }

    fn find(&self, address: u64, size: usize) -> Result<(&Region, usize)> {
        let outside = || format!("{size} bytes at {address:#x} are outside of every region");
        let (start, region) = self.regions.range(..=address).next_back().ok_or_else(outside)?;
        let at = (address - start) as usize;
        match at.checked_add(size) {
            Some(end) if end <= region.bytes.len() => Ok((region, at)),
            _ => Err(outside()),
        }
    }

    /// Reads bytes that must all have been written.
    pub(super) fn read(&self, address: u64, size: usize) -> Result<Vec<u8>> {
        let (region, at) = self.find(address, size)?;
        match region.written[at..at + size].iter().position(|written| !written) {
            None => Ok(region.bytes[at..at + size].to_vec()),
            Some(hole) => Err(format!("byte {hole} of {size} in {:?} memory was not written", region.kind)),
        }
    }

    pub(super) fn write(&mut self, address: u64, bytes: &[u8]) -> Result {
        let kind = self.find(address, bytes.len())?.0.kind;
        if matches!(kind, Kind::Constants | Kind::Registers | Kind::Words | Kind::Map) {
            return Err(format!("a write to {kind:?} memory"));
        }
        let Some((start, region)) = self.regions.range_mut(..=address).next_back() else { return Ok(()) };
        let at = (address - start) as usize;
        region.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        region.written[at..at + bytes.len()].fill(true);
        Ok(())
    }

    /// Checks that memory is there to be written.
    pub(super) fn check_room(&self, address: u64, size: usize) -> Result {
        self.find(address, size).map(|_| ())
    }

    /// Bytes that a probe read finds: `None` where it faults. Our own regions are kernel memory.
    pub(super) fn probe(&self, space: Space, address: u64, size: usize) -> Result<Option<Vec<u8>>> {
        let outer = match space {
            Space::Kernel if self.find(address, 1).is_ok() => return self.read(address, size).map(Some),
            Space::Kernel => &self.kernel,
            Space::User if pages(address, size).any(|page| self.absent.contains(&page)) => return Ok(None),
            Space::User => &self.user,
        };
        let Some((start, bytes)) = outer.range(..=address).next_back() else { return Ok(None) };
        let at = (address - start) as usize;
        Ok(at.checked_add(size).and_then(|end| bytes.get(at..end)).map(<[u8]>::to_vec))
    }

    pub(super) fn page_out(&mut self, address: u64) {
        self.absent.insert(address / PAGE);
    }

    pub(super) fn page_in(&mut self, address: u64, size: usize) {
        for page in pages(address, size) {
            self.absent.remove(&page);
        }
    }

    /// Writes user memory; false where there is none.
    pub(super) fn write_user(&mut self, address: u64, bytes: &[u8]) -> bool {
        let Some((start, region)) = self.user.range_mut(..=address).next_back() else { return false };
        let at = (address - start) as usize;
        let room = at.checked_add(bytes.len()).and_then(|end| region.get_mut(at..end));
        room.map(|room| room.copy_from_slice(bytes)).is_some()
    }
}
