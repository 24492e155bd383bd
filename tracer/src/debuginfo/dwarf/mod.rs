//! DWARF: functions, parameters, types, locations.
//!
//! Units are indexed once, in parallel; types and locations are read when asked for.
//!
//! Rooms, in reading order: this file (units, functions, variables), `types`, `location`.

mod location;
mod types;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use gimli::{AttributeValue, EndianArcSlice, LittleEndian, Reader, UnitOffset};

use crate::debuginfo::elf::ElfFile;
use crate::debuginfo::model::{Absence, Location, TypeId};

pub use types::DwarfTypes;

pub(crate) type Slice = EndianArcSlice<LittleEndian>;
pub(crate) type Dwarf = gimli::Dwarf<Slice>;
pub(crate) type Unit = gimli::Unit<Slice>;
pub(crate) type Entry<'u> = gimli::DebuggingInformationEntry<Slice>;

/// Addresses and lines of a unit, sorted.
type Rows = Arc<Vec<(u64, u64)>>;

/// A function with code of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its name in the source.
    pub name: String,
    /// Its first instruction, as linked.
    pub low: u64,
    /// One past its last.
    pub high: u64,
    unit: usize,
    offset: usize,
}

/// A parameter or local.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: TypeId,
    /// Where it is at the address that was asked about.
    pub location: Result<Location, Absence>,
    /// Whether its location is one expression for the whole function: unoptimised code.
    pub fixed: bool,
}

/// The debug information of a file.
pub struct DebugInfo {
    dwarf: Dwarf,
    units: Vec<Unit>,
    functions: Vec<Function>,
    frames: location::Frames,
    lines: Mutex<HashMap<usize, Rows>>,
}

impl DebugInfo {
    /// Reads and indexes; `None` when the file has no debug information. Broken units are left out.
    pub fn load(file: &ElfFile, code: &ElfFile) -> Option<DebugInfo> {
        let load = |id: gimli::SectionId| -> Result<Slice, gimli::Error> {
            Ok(Slice::new(file.section(id.name()).into(), LittleEndian))
        };
        let dwarf = Dwarf::load(load).ok()?;
        let mut units = Vec::new();
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            if let Ok(unit) = dwarf.unit(header) {
                units.push(unit);
            }
        }
        if units.is_empty() {
            return None;
        }
        let mut info = DebugInfo {
            dwarf,
            units,
            functions: Vec::new(),
            frames: location::Frames::load(code),
            lines: Mutex::default(),
        };
        info.functions = info.index();
        Some(info)
    }

    fn index(&self) -> Vec<Function> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(self.units.len());
        let share = self.units.len().div_ceil(threads);
        let mut all: Vec<Function> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|n| {
                    scope.spawn(move || {
                        let range = n * share..((n + 1) * share).min(self.units.len());
                        range.flat_map(|unit| self.index_unit(unit)).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
        });
        all.sort_by(|a, b| (&a.name, a.low).cmp(&(&b.name, b.low)));
        all.dedup_by(|a, b| a.name == b.name && a.low == b.low);
        all
    }

    fn index_unit(&self, number: usize) -> Vec<Function> {
        let unit = &self.units[number];
        let mut found = Vec::new();
        let mut cursor = unit.entries();
        // Into namespaces and classes, but not into functions.
        let mut step = cursor.next_dfs();
        while let Ok(Some(entry)) = step {
            let tag = entry.tag();
            if tag == gimli::DW_TAG_subprogram {
                if let Some(function) = self.function_of(number, entry) {
                    found.push(function);
                }
                step = cursor.next_sibling();
                // The last sibling: go on with whatever follows.
                if !matches!(step, Ok(Some(_))) {
                    step = cursor.next_dfs();
                }
            } else {
                step = cursor.next_dfs();
            }
        }
        found
    }

    fn function_of(&self, number: usize, entry: &Entry<'_>) -> Option<Function> {
        let unit = &self.units[number];
        let low = match entry.attr_value(gimli::DW_AT_low_pc)? {
            AttributeValue::Addr(low) => low,
            value => self.dwarf.attr_address(unit, value).ok()??,
        };
        if low == 0 {
            return None;
        }
        let high = match entry.attr_value(gimli::DW_AT_high_pc) {
            Some(AttributeValue::Addr(high)) => high,
            Some(value) => value.udata_value().and_then(|size| low.checked_add(size)).unwrap_or(low),
            None => low,
        };
        let name = self.name_of(unit, entry, 0)?;
        Some(Function { name, low, high, unit: number, offset: entry.offset().0 })
    }

    /// A name, its own or that of what it is an instance of.
    pub(crate) fn name_of(&self, unit: &Unit, entry: &Entry<'_>, depth: usize) -> Option<String> {
        if depth > 8 {
            return None;
        }
        if let Some(value) = entry.attr_value(gimli::DW_AT_name) {
            let text = self.dwarf.attr_string(unit, value).ok()?;
            return Some(text.to_string_lossy().ok()?.into_owned());
        }
        let (origin_unit, origin) = self.origin(unit, entry)?;
        let origin = origin_unit.entry(origin).ok()?;
        self.name_of(origin_unit, &origin, depth + 1)
    }

    /// What an entry is an instance or a definition of.
    fn origin<'s>(&'s self, unit: &'s Unit, entry: &Entry<'_>) -> Option<(&'s Unit, UnitOffset)> {
        let value = entry
            .attr_value(gimli::DW_AT_abstract_origin)
            .or_else(|| entry.attr_value(gimli::DW_AT_specification))?;
        self.reference(unit, value)
    }

    pub(crate) fn reference<'s>(
        &'s self,
        unit: &'s Unit,
        value: AttributeValue<Slice>,
    ) -> Option<(&'s Unit, UnitOffset)> {
        match value {
            AttributeValue::UnitRef(offset) => Some((unit, offset)),
            AttributeValue::DebugInfoRef(offset) => self.units.iter().find_map(|other| {
                let header = other.header.debug_info_offset()?;
                let within = offset.0.checked_sub(header.0)?;
                (within < other.header.length_including_self()).then_some((other, UnitOffset(within)))
            }),
            _ => None,
        }
    }

    fn unit_index(&self, unit: &Unit) -> usize {
        self.units.iter().position(|other| std::ptr::eq(other, unit)).unwrap_or(0)
    }

    /// All functions, sorted by name.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Where a function was declared: file and line.
    pub fn declared(&self, function: &Function) -> Option<(String, u64)> {
        let unit = &self.units[function.unit];
        let mut entry = unit.entry(UnitOffset(function.offset)).ok()?;
        let mut owner = unit;
        for _ in 0..8 {
            if let Some(line) = entry.attr_value(gimli::DW_AT_decl_line).and_then(|v| v.udata_value()) {
                let file = match entry.attr_value(gimli::DW_AT_decl_file) {
                    Some(AttributeValue::FileIndex(file)) => file,
                    Some(value) => value.udata_value()?,
                    None => return None,
                };
                return Some((self.file_name(owner, file)?, line));
            }
            let (next, offset) = self.origin(owner, &entry)?;
            entry = next.entry(offset).ok()?;
            owner = next;
        }
        None
    }

    fn file_name(&self, unit: &Unit, index: u64) -> Option<String> {
        let program = unit.line_program.as_ref()?;
        let header = program.header();
        let file = header.file(index)?;
        let name = self.dwarf.attr_string(unit, file.path_name()).ok()?.to_string_lossy().ok()?.into_owned();
        if name.starts_with('/') {
            return Some(name);
        }
        let text = |value| -> Option<String> {
            Some(self.dwarf.attr_string(unit, value).ok()?.to_string_lossy().ok()?.into_owned())
        };
        let directory = file.directory(header).and_then(text).unwrap_or_default();
        let root =
            unit.comp_dir.as_ref().and_then(|d| d.to_string_lossy().ok().map(std::borrow::Cow::into_owned));
        let path = if directory.starts_with('/') {
            Path::new(&directory).join(&name)
        } else {
            Path::new(&root.unwrap_or_default()).join(&directory).join(&name)
        };
        Some(path.display().to_string())
    }

    /// Parameters at an address of the function.
    pub fn params(&self, function: &Function, at: u64) -> Vec<Variable> {
        self.variables(function, at, gimli::DW_TAG_formal_parameter)
    }

    /// Locals of the function's outermost block at an address.
    pub fn locals(&self, function: &Function, at: u64) -> Vec<Variable> {
        self.variables(function, at, gimli::DW_TAG_variable)
    }

    fn variables(&self, function: &Function, at: u64, tag: gimli::DwTag) -> Vec<Variable> {
        let unit = &self.units[function.unit];
        let mut found = Vec::new();
        let Ok(mut tree) = unit.entries_tree(Some(UnitOffset(function.offset))) else { return found };
        let Ok(root) = tree.root() else { return found };
        let frame_base = root.entry().attr_value(gimli::DW_AT_frame_base);
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            if entry.tag() != tag {
                continue;
            }
            let Some(name) = self.name_of(unit, entry, 0) else { continue };
            let Some(ty) = self.type_of(unit, entry) else { continue };
            let place = location::Place { info: self, unit, function, at, frame_base: frame_base.clone() };
            let (location, fixed) = place.variable(entry);
            found.push(Variable { name, ty, location, fixed });
        }
        found
    }

    /// The type of an entry, or of what it is an instance of.
    pub(crate) fn type_of(&self, unit: &Unit, entry: &Entry<'_>) -> Option<TypeId> {
        let mut unit = unit;
        if let Some(value) = entry.attr_value(gimli::DW_AT_type) {
            let (owner, offset) = self.reference(unit, value)?;
            return Some(self.type_id(owner, offset));
        }
        let mut reference = self.origin(unit, entry);
        for _ in 0..8 {
            let (owner, offset) = reference?;
            let entry = owner.entry(offset).ok()?;
            if let Some(value) = entry.attr_value(gimli::DW_AT_type) {
                let (owner, offset) = self.reference(owner, value)?;
                return Some(self.type_id(owner, offset));
            }
            unit = owner;
            reference = self.origin(unit, &entry);
        }
        None
    }

    pub(crate) fn type_id(&self, unit: &Unit, offset: UnitOffset) -> TypeId {
        TypeId((self.unit_index(unit) as u64) << 40 | offset.0 as u64)
    }

    /// What a function returns; `None` for void.
    pub fn result(&self, function: &Function) -> Option<TypeId> {
        let unit = &self.units[function.unit];
        let entry = unit.entry(UnitOffset(function.offset)).ok()?;
        self.type_of(unit, &entry)
    }

    /// The types.
    pub fn types(&self) -> DwarfTypes<'_> {
        DwarfTypes { info: self }
    }

    /// The address at which to probe a function's entry. Where variables have one location for the whole function (the
    /// code is not optimised), that is after the prologue, which puts them there: the address of the function's second
    /// line-table row, as SystemTap has it. Else location lists say where they are at the first instruction.
    pub fn probe_address(&self, function: &Function) -> u64 {
        let fixed = self.params(function, function.low).iter().any(|p| p.fixed)
            || self
                .locals(function, function.low)
                .iter()
                .any(|l| l.fixed && matches!(l.location, Ok(Location::Memory(_))));
        if !fixed { function.low } else { self.after_prologue(function).unwrap_or(function.low) }
    }

    fn after_prologue(&self, function: &Function) -> Option<u64> {
        let rows = self.rows(function.unit);
        let first = rows.partition_point(|(address, _)| *address < function.low);
        rows[first..]
            .iter()
            .map(|(address, _)| *address)
            .find(|address| *address > function.low && *address < function.high)
    }

    /// Addresses and lines of a unit, sorted.
    fn rows(&self, number: usize) -> Rows {
        if let Some(rows) = self.lines.lock().ok().and_then(|lines| lines.get(&number).cloned()) {
            return rows;
        }
        let mut found = Vec::new();
        if let Some(program) = self.units[number].line_program.clone() {
            let mut rows = program.rows();
            while let Ok(Some((_, row))) = rows.next_row() {
                if !row.end_sequence() {
                    found.push((row.address(), row.line().map_or(0, std::num::NonZero::get)));
                }
            }
        }
        found.sort_unstable();
        let found = Arc::new(found);
        if let Ok(mut lines) = self.lines.lock() {
            lines.insert(number, found.clone());
        }
        found
    }

    pub(crate) fn dwarf(&self) -> &Dwarf {
        &self.dwarf
    }

    pub(crate) fn units(&self) -> &[Unit] {
        &self.units
    }

    pub(crate) fn frames(&self) -> &location::Frames {
        &self.frames
    }
}
