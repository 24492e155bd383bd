//! Where a variable is: constants, expressions, lists of them.
//!
//! **Not here:** operations of expressions (`expression`), the CFA (`frame`).

use gimli::{AttributeValue, RawLocListEntry, Reader};

use super::{DebugInfo, Entry, Function, Slice, Unit};
use crate::debuginfo::model::{Absence, LocOp, Location};

/// A variable's surroundings.
pub(super) struct Place<'a> {
    pub(super) info: &'a DebugInfo,
    pub(super) unit: &'a Unit,
    pub(super) function: &'a Function,
    pub(super) at: u64,
    pub(super) frame_base: Option<AttributeValue<Slice>>,
    /// Expressions inside expressions.
    pub(super) depth: std::cell::Cell<usize>,
}

/// Entries of a location list that are looked at.
const ENTRIES: usize = 100_000;
/// Bytes of a constant.
const BYTES: usize = 256;

impl Place<'_> {
    /// Where a variable is, and whether one expression, relative to the frame, says so for the whole function.
    pub(super) fn variable(&self, entry: &Entry<'_>) -> (Result<Location, Absence>, bool) {
        if let Some(value) = entry.attr_value(gimli::DW_AT_const_value) {
            return (constant(&value), false);
        }
        match entry.attr_value(gimli::DW_AT_location) {
            None => (Err(Absence::OptimizedOut), false),
            Some(AttributeValue::Exprloc(expression)) => {
                let location = self.expression(expression);
                let fixed = location.as_ref().map_or(true, is_relative);
                (location, fixed)
            }
            Some(value) => (self.list(value), false),
        }
    }

    pub(super) fn list(&self, value: AttributeValue<Slice>) -> Result<Location, Absence> {
        let broken = || Absence::Unsupported("a location list that is broken".into());
        let offset =
            self.info.dwarf_of(self.unit).attr_locations_offset(self.unit, value).map_err(|_| broken())?;
        let offset = offset.ok_or_else(broken)?;
        let mut entries = self.info.dwarf_of(self.unit).locations(self.unit, offset).map_err(|_| broken())?;
        if self.at == self.function.low
            && let Some(location) = self.before_the_first(offset)
        {
            return location;
        }
        let (mut later, mut earlier): (Option<u64>, Option<u64>) = (None, None);
        let mut here = None;
        for _ in 0..ENTRIES {
            let Some(entry) = entries.next().map_err(|_| broken())? else { break };
            if entry.range.begin <= self.at && self.at < entry.range.end {
                match self.expression(entry.data) {
                    Err(why) if here.is_none() => here = Some(why),
                    found => return found,
                }
                continue;
            }
            if entry.range.begin >= entry.range.end || entry.data.0.is_empty() {
                continue;
            }
            if here.is_some() {
                let there = Place { at: entry.range.begin, ..self.copy() };
                if there.expression(entry.data).is_err() {
                    continue;
                }
            }
            if entry.range.begin > self.at {
                later = Some(later.map_or(entry.range.begin, |known| known.min(entry.range.begin)));
            } else {
                earlier = Some(earlier.map_or(entry.range.begin, |known| known.max(entry.range.begin)));
            }
        }
        let near = later.or(earlier);
        Err(match (here, near) {
            (Some(why), Some(near)) => Absence::Until(Box::new(why), near),
            (Some(why), None) => why,
            (None, near) => near.map_or(Absence::OptimizedOut, Absence::NotHere),
        })
    }

    pub(super) fn copy(&self) -> Place<'_> {
        Place { frame_base: self.frame_base.clone(), depth: self.depth.clone(), ..*self }
    }
}

impl Place<'_> {
    /// The location of an empty range at a function's first instruction. The next range of that address says what holds
    /// when all lines that the compiler gave to the instruction have run (location views, a GNU extension); the state
    /// before it, which a probe sees, is in the empty one. gdb takes it so too.
    fn before_the_first(&self, offset: gimli::LocationListsOffset) -> Option<Result<Location, Absence>> {
        let mut entries = self.info.dwarf_of(self.unit).locations(self.unit, offset).ok()?;
        let mut base = self.unit.low_pc;
        for _ in 0..ENTRIES {
            let (begin, end, data) = match entries.next_raw().ok()?? {
                RawLocListEntry::BaseAddress { addr } => {
                    base = addr;
                    continue;
                }
                RawLocListEntry::BaseAddressx { addr } => {
                    base = self.info.dwarf_of(self.unit).address(self.unit, addr).ok()?;
                    continue;
                }
                RawLocListEntry::OffsetPair { begin, end, data }
                | RawLocListEntry::AddressOrOffsetPair { begin, end, data } => {
                    (base.wrapping_add(begin), base.wrapping_add(end), data)
                }
                RawLocListEntry::StartEnd { begin, end, data } => (begin, end, data),
                _ => continue,
            };
            if begin == self.at && end == self.at {
                return Some(self.expression(data));
            }
        }
        None
    }
}

/// Whether a location depends on registers, which the frame base is one of.
fn is_relative(location: &Location) -> bool {
    let steps_do =
        |steps: &[LocOp]| steps.iter().any(|step| matches!(step, LocOp::Register(..) | LocOp::Entered(..)));
    match location {
        Location::Register(_) => true,
        Location::Memory(steps) | Location::Value(steps) => steps_do(steps),
        Location::Pieces(pieces) => pieces.iter().any(|(piece, _)| piece.as_ref().is_some_and(is_relative)),
        Location::Pointer(to, _) => is_relative(to),
    }
}

fn constant(value: &AttributeValue<Slice>) -> Result<Location, Absence> {
    match value {
        AttributeValue::Sdata(n) => Ok(Location::Value(vec![LocOp::Const(*n)])),
        AttributeValue::Block(bytes) => {
            bytes.to_slice().map_or(Err(Absence::OptimizedOut), |bytes| implicit(&bytes))
        }
        // A string that is a variable's value: an array without an address.
        AttributeValue::String(text) => {
            text.to_slice().map_or(Err(Absence::OptimizedOut), |bytes| implicit(&bytes))
        }
        other => match other.udata_value() {
            Some(n) => Ok(Location::Value(vec![LocOp::Const(n as i64)])),
            None => Err(Absence::Unsupported("a constant that is no number".into())),
        },
    }
}

/// A value that is written in the debug information itself.
pub(super) fn implicit(bytes: &[u8]) -> Result<Location, Absence> {
    let word = |part: &[u8]| {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        Location::Value(vec![LocOp::Const(i64::from_le_bytes(word))])
    };
    match bytes.len() {
        0 => Err(Absence::OptimizedOut),
        1..=8 => Ok(word(bytes)),
        9..=BYTES => {
            Ok(Location::Pieces(bytes.chunks(8).map(|part| (Some(word(part)), part.len() as u64)).collect()))
        }
        _ => Err(Absence::Unsupported("a long constant".into())),
    }
}
