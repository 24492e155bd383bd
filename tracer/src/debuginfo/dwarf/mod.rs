//! DWARF: functions, parameters, types, locations, lines.
//!
//! Units are indexed once, in parallel, and the index is kept by the cache; units, types, scopes, lines and locations
//! are read when asked for.
//!
//! Rooms, in reading order: this file (units, names, references), `split` (sections in other files), `table` and `index`
//! (what is known of the whole file), `function` (what the index has), `line` (line tables), `scope`
//! (what is visible at an address), `global`, `types`, `rust` (types that only Rust has), `location`,
//! `expression`, `frame`, `unwind` (how callers are found everywhere).

mod enumeration;
mod expression;
mod frame;
mod function;
mod global;
mod index;
mod line;
mod location;
mod rust;
mod scope;
mod split;
mod table;
mod types;
mod unwind;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use gimli::{AttributeValue, EndianReader, LittleEndian, Reader, Section as _, UnitOffset};

use crate::cache::Kept;
use crate::debuginfo::elf::ElfFile;
use crate::debuginfo::model::{Absence, Location, TypeId};
use crate::world::Part;
use index::{Index, Kind};

pub use frame::{Frames, Saved, Step};
pub use function::Function;
pub use line::Line;
pub use scope::{Declared, Inlined, Instance, Label};
pub use split::Companions;
pub use types::DwarfTypes;
pub use unwind::UnwindTable;

pub(crate) type Slice = EndianReader<LittleEndian, Part>;
pub(crate) type Dwarf = gimli::Dwarf<Slice>;
pub(crate) type Unit = gimli::Unit<Slice>;
pub(crate) type Entry<'u> = gimli::DebuggingInformationEntry<Slice>;

/// What a variable is to its function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// A parameter.
    Parameter,
    /// A local, static ones too.
    Local,
    /// A variable of the whole file.
    Global,
}

/// A parameter, local or global.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its type.
    pub ty: TypeId,
    /// Where it is at the address that was asked about.
    pub location: Result<Location, Absence>,
    /// Whether its location is one expression for the whole function, relative to its frame.
    pub fixed: bool,
}

/// The debug information of a file.
pub struct DebugInfo {
    /// Sections by origin: the file itself, the one that it has in common with others, those of split units.
    sources: Vec<Arc<Dwarf>>,
    /// Each source's units are in a row, in the order of their section.
    units: Vec<split::Lazy>,
    /// The source of what `DebugInfoRefSup` names.
    common: Option<u32>,
    index: Index,
    more: index::Lazy,
    /// Where indexes are kept; `None` where that does not pay.
    kept: Option<Kept>,
    frames: Frames,
    lines: Mutex<HashMap<usize, Arc<line::Table>>>,
    /// Whether units were optimised, where they say so; by unit.
    optimized: Vec<OnceLock<Option<bool>>>,
}

/// Links from entry to entry (origins, specifications) longer than this are broken.
const CHAIN: usize = 8;

impl DebugInfo {
    /// Reads and indexes; `None` when the file has no debug information. Broken units are left out.
    pub fn load(file: &ElfFile, code: &ElfFile, companions: &dyn Companions) -> Option<DebugInfo> {
        let mut sources = split::Sources::open(file, companions)?;
        let length = sources.dwarfs[0].debug_info.reader().len();
        // What is in several files changes with each of them.
        let kept = companions.kept(file).filter(|kept| sources.common.is_none() && kept.pays(length as u64));
        let known = kept.as_ref().and_then(|kept| Index::read(&kept.load(Kind::Functions.name())?));
        let known = known.and_then(|index| Some((index.units(length)?, index)));
        let (index, is_known) = match known {
            Some((units, index)) => {
                sources.add_known(&units);
                (index, true)
            }
            None => {
                sources.add_all(companions)?;
                (Index::read(&Part::Owned(index::Rows::default().write()?.into()))?, false)
            }
        };
        let mut info = DebugInfo {
            optimized: sources.units.iter().map(|_| OnceLock::new()).collect(),
            kept: kept.filter(|_| sources.dwarfs.len() == 1),
            sources: sources.dwarfs,
            units: sources.units,
            common: sources.common,
            index,
            more: index::Lazy::default(),
            frames: Frames::load(code, file),
            lines: Mutex::default(),
        };
        if !is_known {
            let bytes = index::keep(info.kept.as_ref(), Kind::Functions, info.find_functions().write()?);
            info.index = Index::read(&bytes)?;
        }
        Some(info)
    }

    /// Runs something for every unit, in parallel; the results in the order of the units.
    fn for_units<T: Send>(&self, work: impl Fn(usize, &Unit) -> Vec<T> + Sync) -> Vec<T> {
        split::in_parallel(self.units.len(), |number| {
            self.unit(number).map_or_else(Vec::new, |unit| work(number, unit))
        })
    }

    /// A name, its own or that of what it is an instance of.
    pub(crate) fn name_of(&self, unit: &Unit, entry: &Entry<'_>) -> Option<String> {
        if let Some(name) = self.own_name(unit, entry) {
            return Some(name);
        }
        let mut origin = self.origin(unit, entry)?;
        for _ in 0..CHAIN {
            let entry = origin.0.entry(origin.1).ok()?;
            if let Some(name) = self.own_name(origin.0, &entry) {
                return Some(name);
            }
            origin = self.origin(origin.0, &entry)?;
        }
        None
    }

    fn own_name(&self, unit: &Unit, entry: &Entry<'_>) -> Option<String> {
        let value = entry.attr_value(gimli::DW_AT_name)?;
        let text = self.dwarf_of(unit).attr_string(unit, value).ok()?;
        Some(text.to_string_lossy().ok()?.into_owned())
    }

    /// What an entry is an instance or a definition of.
    fn origin<'s>(&'s self, unit: &'s Unit, entry: &Entry<'_>) -> Option<(&'s Unit, UnitOffset)> {
        let value = entry
            .attr_value(gimli::DW_AT_abstract_origin)
            .or_else(|| entry.attr_value(gimli::DW_AT_specification))?;
        self.reference(unit, value)
    }

    /// The last of a chain of origins: where an instance was declared first.
    fn root_origin(&self, unit: &Unit, entry: &Entry<'_>) -> Option<(usize, UnitOffset)> {
        let mut found = self.origin(unit, entry)?;
        for _ in 0..CHAIN {
            let Ok(next) = found.0.entry(found.1) else { break };
            match self.origin(found.0, &next) {
                Some(further) => found = further,
                None => break,
            }
        }
        Some((self.unit_index(found.0), found.1))
    }

    pub(crate) fn reference<'s>(
        &'s self,
        unit: &'s Unit,
        value: AttributeValue<Slice>,
    ) -> Option<(&'s Unit, UnitOffset)> {
        match value {
            AttributeValue::UnitRef(offset) => Some((unit, offset)),
            AttributeValue::DebugInfoRef(offset) => self.unit_at(self.source(unit), offset.0),
            AttributeValue::DebugInfoRefSup(offset) => self.unit_at(self.common?, offset.0),
            _ => None,
        }
    }

    /// A unit, which is read when it is first asked for; `None` when it is broken.
    pub(crate) fn unit(&self, number: usize) -> Option<&Unit> {
        let unit = self.units.get(number)?;
        unit.read(self.sources.get(unit.source as usize)?)
    }

    /// The unit of a source that an offset in its section is in.
    fn unit_at(&self, source: u32, offset: usize) -> Option<(&Unit, UnitOffset)> {
        let after = self.units.partition_point(|unit| (unit.source, unit.start) <= (source, offset));
        let number = after.checked_sub(1)?;
        let start = self.units.get(number).filter(|unit| unit.source == source)?.start;
        let unit = self.unit(number)?;
        let within = offset.checked_sub(start)?;
        (within < unit.header.length_including_self()).then_some((unit, UnitOffset(within)))
    }

    fn source(&self, unit: &Unit) -> u32 {
        self.units.get(self.unit_index(unit)).map_or(0, |unit| unit.source)
    }

    /// The sections that a unit is in.
    pub(crate) fn dwarf_of(&self, unit: &Unit) -> &Dwarf {
        &self.sources[self.source(unit) as usize]
    }

    /// The sections that the unit's line table is in: split units have it in the file itself.
    pub(crate) fn lines_dwarf(&self, unit: &Unit) -> &Dwarf {
        let dwarf = self.dwarf_of(unit);
        if dwarf.file_type == gimli::DwarfFileType::Dwo { &self.sources[0] } else { dwarf }
    }

    fn unit_index(&self, unit: &Unit) -> usize {
        let distance = (std::ptr::from_ref(unit) as usize).wrapping_sub(self.units.as_ptr() as usize);
        let index = distance / size_of::<split::Lazy>();
        if index < self.units.len() { index } else { 0 }
    }

    /// The type of an entry, or of what it is an instance of.
    pub(crate) fn type_of(&self, unit: &Unit, entry: &Entry<'_>) -> Option<TypeId> {
        if let Some(value) = entry.attr_value(gimli::DW_AT_type) {
            let (owner, offset) = self.reference(unit, value)?;
            return Some(self.type_id(owner, offset));
        }
        let mut reference = self.origin(unit, entry);
        for _ in 0..CHAIN {
            let (owner, offset) = reference?;
            let entry = owner.entry(offset).ok()?;
            if let Some(value) = entry.attr_value(gimli::DW_AT_type) {
                let (owner, offset) = self.reference(owner, value)?;
                return Some(self.type_id(owner, offset));
            }
            reference = self.origin(owner, &entry);
        }
        None
    }

    pub(crate) fn type_id(&self, unit: &Unit, offset: UnitOffset) -> TypeId {
        TypeId((self.unit_index(unit) as u64) << types::UNIT_SHIFT | offset.0 as u64)
    }

    /// The types.
    pub fn types(&self) -> DwarfTypes<'_> {
        DwarfTypes { info: self }
    }

    /// How the caller's frame is found from an instruction.
    pub fn step(&self, at: u64) -> Option<Step> {
        self.frames.step(at)
    }

    pub(crate) fn frames(&self) -> &Frames {
        &self.frames
    }
}
