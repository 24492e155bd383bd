//! Functions that have code of their own.

use std::collections::HashMap;

use gimli::{AttributeValue, Reader, UnitOffset};

use super::index::Rows;
use super::{CHAIN, DebugInfo, Entry, Unit};
use crate::debuginfo::elf::ElfFile;
use crate::debuginfo::model::TypeId;

/// A function with code of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its name in the source.
    pub name: String,
    /// Namespaces and classes around it, `a::b`; empty in C.
    pub scope: String,
    /// Its first instruction, as linked.
    pub low: u64,
    /// One past its last, of the part that begins at `low`.
    pub high: u64,
    /// Parts elsewhere.
    pub more: Vec<(u64, u64)>,
    /// Its place in the order of the file's functions.
    pub number: usize,
    pub(super) unit: usize,
    pub(super) offset: usize,
}

impl Function {
    /// Its name with everything around it.
    pub fn qualified(&self) -> String {
        qualified(&self.scope, &self.name)
    }

    /// Whether an address is in its code.
    pub fn contains(&self, address: u64) -> bool {
        self.low <= address && address < self.high
            || self.more.iter().any(|(low, high)| *low <= address && address < *high)
    }
}

pub(super) fn qualified(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}::{name}") }
}

/// What the index finds.
enum Found {
    Function(Function),
    Inlinable { name: String, scope: String, unit: usize, offset: usize },
}

fn is_c(language: gimli::DwLang) -> bool {
    matches!(
        language,
        gimli::DW_LANG_C
            | gimli::DW_LANG_C89
            | gimli::DW_LANG_C99
            | gimli::DW_LANG_C11
            | gimli::DW_LANG_Mips_Assembler
    )
}

/// Goes on behind an entry and what is inside it; whether there is something.
fn pass(cursor: &mut gimli::EntriesCursor<'_, super::Slice>) -> gimli::Result<bool> {
    match cursor.next_sibling() {
        Ok(Some(_)) => Ok(true),
        // The last sibling: go on with whatever follows.
        _ => cursor.next_dfs().map(|entry| entry.is_some()),
    }
}

impl DebugInfo {
    /// Reads all units for their functions.
    pub(super) fn find_functions(&self) -> Rows {
        let mut rows = Rows { units: self.units.iter().map(|unit| unit.start).collect(), ..Rows::default() };
        for found in self.for_units(|number, unit| self.index_unit(number, unit)) {
            match found {
                Found::Function(function) => rows.functions.push(function),
                Found::Inlinable { name, scope, unit, offset } => {
                    rows.inlinable.push(name);
                    if !scope.is_empty() {
                        rows.scopes.push((unit, offset, scope));
                    }
                }
            }
        }
        rows.functions.sort_by(|a, b| (&a.name, a.low).cmp(&(&b.name, b.low)));
        rows.functions.dedup_by(|a, b| a.name == b.name && a.low == b.low);
        rows.inlinable.sort_unstable();
        rows.inlinable.dedup();
        rows.scopes.sort_unstable();
        rows
    }

    fn index_unit(&self, number: usize, unit: &Unit) -> Vec<Found> {
        let mut found = Vec::new();
        // Names of the namespaces and classes that the cursor is in, with their depths; what is declared there.
        let mut around: Vec<(isize, String)> = Vec::new();
        let mut declared: HashMap<usize, String> = HashMap::new();
        let mut cursor = unit.entries();
        let mut nests = false;
        let mut step = cursor.next_dfs().map(|entry| entry.is_some());
        while let Ok(true) = step {
            let Some(entry) = cursor.current() else { break };
            let depth = entry.depth();
            if let Some(AttributeValue::Language(language)) = entry.attr_value(gimli::DW_AT_language) {
                nests = !is_c(language);
            }
            while around.last().is_some_and(|(outer, _)| *outer >= depth) {
                around.pop();
            }
            match entry.tag() {
                gimli::DW_TAG_subprogram => {
                    let scope = around.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join("::");
                    if let Some(mut function) = self.function_of(number, unit, entry) {
                        function.scope = if scope.is_empty() {
                            self.declared_scope(unit, entry, &declared)
                        } else {
                            scope.clone()
                        };
                        found.push(Found::Function(function));
                    } else if matches!(entry.attr_value(gimli::DW_AT_inline), Some(value)
                        if value != AttributeValue::Inline(gimli::DW_INL_not_inlined))
                        && let Some(name) = self.name_of(unit, entry)
                    {
                        let scope = if scope.is_empty() {
                            self.declared_scope(unit, entry, &declared)
                        } else {
                            scope.clone()
                        };
                        let offset = entry.offset().0;
                        found.push(Found::Inlinable { name, scope, unit: number, offset });
                    }
                    if !around.is_empty() {
                        declared.insert(entry.offset().0, scope);
                    }
                    // Not into functions, but in languages where classes inside them have functions (lambdas).
                    step = if nests {
                        cursor.next_dfs().map(|entry| entry.is_some())
                    } else {
                        pass(&mut cursor)
                    };
                }
                // Members and constants are most of what there is, and hold no functions: in C, structures neither.
                gimli::DW_TAG_enumeration_type | gimli::DW_TAG_array_type | gimli::DW_TAG_subroutine_type => {
                    step = pass(&mut cursor);
                }
                gimli::DW_TAG_class_type | gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type
                    if !nests =>
                {
                    step = pass(&mut cursor);
                }
                gimli::DW_TAG_namespace
                | gimli::DW_TAG_class_type
                | gimli::DW_TAG_structure_type
                | gimli::DW_TAG_union_type
                    if entry.has_children() =>
                {
                    if let Some(name) = self.own_name(unit, entry) {
                        around.push((depth, name));
                    }
                    step = cursor.next_dfs().map(|entry| entry.is_some());
                }
                _ => step = cursor.next_dfs().map(|entry| entry.is_some()),
            }
        }
        found
    }

    /// The scope of the declaration that an entry defines, when the walk has passed it.
    fn declared_scope(&self, unit: &Unit, entry: &Entry<'_>, declared: &HashMap<usize, String>) -> String {
        if declared.is_empty() {
            return String::new();
        }
        let Some((mut owner, mut offset)) = self.origin(unit, entry) else { return String::new() };
        for _ in 0..CHAIN {
            if std::ptr::eq(owner, unit)
                && let Some(scope) = declared.get(&offset.0)
            {
                return scope.clone();
            }
            let Some(next) = owner.entry(offset).ok().and_then(|entry| self.origin(owner, &entry)) else {
                break;
            };
            (owner, offset) = next;
        }
        String::new()
    }

    fn function_of(&self, unit_number: usize, unit: &Unit, entry: &Entry<'_>) -> Option<Function> {
        let (low, high, more) = if let Some(value) = entry.attr_value(gimli::DW_AT_low_pc) {
            let low = match value {
                AttributeValue::Addr(low) => low,
                value => self.dwarf_of(unit).attr_address(unit, value).ok()??,
            };
            let high = match entry.attr_value(gimli::DW_AT_high_pc) {
                Some(AttributeValue::Addr(high)) => high,
                Some(value) => match value.udata_value() {
                    Some(size) => low.checked_add(size)?,
                    None => self.dwarf_of(unit).attr_address(unit, value).ok().flatten().unwrap_or(low),
                },
                None => low,
            };
            (low, high, Vec::new())
        } else if entry.attr_value(gimli::DW_AT_ranges).is_some() {
            // Hot and cold parts: the first is where the function begins.
            let mut ranges = self.ranges(unit, entry).into_iter();
            let (low, high) = ranges.next()?;
            (low, high, ranges.collect())
        } else {
            return None;
        };
        // The linker leaves 0, or 1 in lists, where it dropped a function.
        if low <= 1 || high < low {
            return None;
        }
        let name = self.name_of(unit, entry)?;
        let (scope, offset) = (String::new(), entry.offset().0);
        Some(Function { name, scope, low, high, more, number: 0, unit: unit_number, offset })
    }

    /// The code of an entry, in the order of its list.
    pub(super) fn ranges(&self, unit: &Unit, entry: &Entry<'_>) -> Vec<(u64, u64)> {
        const RANGES: usize = 4096;
        let mut found = Vec::new();
        if let Ok(mut ranges) = self.dwarf_of(unit).die_ranges(unit, entry) {
            while let Ok(Some(range)) = ranges.next() {
                if range.begin < range.end && found.len() < RANGES {
                    found.push((range.begin, range.end));
                }
            }
        }
        found
    }

    /// The functions that a test of their names, and of their names with everything around them, accepts; sorted by name.
    pub fn functions(&self, fits: impl Fn(&str, &dyn Fn() -> String) -> bool) -> Vec<Function> {
        let fits = |n: &usize| {
            let name = self.index.name(*n);
            fits(name, &|| qualified(self.index.scope(*n), name))
        };
        (0..self.index.count()).filter(fits).map(|n| self.index.function(n)).collect()
    }

    /// The names of all functions, sorted.
    pub fn function_names(&self) -> impl Iterator<Item = &str> {
        (0..self.index.count()).map(|n| self.index.name(n))
    }

    /// Names of functions that the compiler may have inlined, sorted.
    pub fn inlinable(&self) -> impl Iterator<Item = &str> {
        self.index.inlinable()
    }

    /// The function whose code an address is in.
    pub fn function_at(&self, address: u64) -> Option<Function> {
        self.index.at(address).map(|n| self.index.function(n))
    }

    /// Whether an address is in the code of a function.
    pub fn has_function_at(&self, address: u64) -> bool {
        self.index.at(address).is_some()
    }

    pub(super) fn entry_of(&self, function: &Function) -> Option<(&Unit, Entry<'_>)> {
        let unit = self.unit(function.unit)?;
        Some((unit, unit.entry(UnitOffset(function.offset)).ok()?))
    }

    /// Where a function was declared: file and line.
    pub fn declared(&self, function: &Function) -> Option<(String, u64)> {
        let (unit, entry) = self.entry_of(function)?;
        let declared = self.declared_entry(unit, &entry);
        // What the compiler made up itself, such as the function of a lambda, is where its code is.
        declared.or_else(|| self.line_at(function.low).map(|line| (line.file, line.line)))
    }

    pub(super) fn declared_entry(&self, unit: &Unit, entry: &Entry<'_>) -> Option<(String, u64)> {
        let here = |unit: &Unit, entry: &Entry<'_>| -> Option<Option<(String, u64)>> {
            let line = entry.attr_value(gimli::DW_AT_decl_line)?.udata_value()?;
            let file = match entry.attr_value(gimli::DW_AT_decl_file) {
                Some(AttributeValue::FileIndex(file)) => Some(file),
                Some(value) => value.udata_value(),
                None => None,
            };
            // A definition that says no file is in the file of its declaration.
            let file = file.or_else(|| self.inherited_file(unit, entry))?;
            Some(self.file_name(unit, file).map(|name| (name, line)))
        };
        if let Some(found) = here(unit, entry) {
            return found;
        }
        let mut origin = self.origin(unit, entry)?;
        for _ in 0..CHAIN {
            let entry = origin.0.entry(origin.1).ok()?;
            if let Some(found) = here(origin.0, &entry) {
                return found;
            }
            origin = self.origin(origin.0, &entry)?;
        }
        None
    }

    fn inherited_file(&self, unit: &Unit, entry: &Entry<'_>) -> Option<u64> {
        let mut origin = self.origin(unit, entry)?;
        for _ in 0..CHAIN {
            let entry = origin.0.entry(origin.1).ok()?;
            match entry.attr_value(gimli::DW_AT_decl_file) {
                Some(AttributeValue::FileIndex(file)) => return Some(file),
                Some(value) => return value.udata_value(),
                None => origin = self.origin(origin.0, &entry)?,
            }
        }
        None
    }

    /// Whether other files can call it by name.
    pub fn is_exported(&self, function: &Function) -> bool {
        let Some((unit, entry)) = self.entry_of(function) else { return false };
        let external = |entry: &Entry<'_>| {
            matches!(entry.attr_value(gimli::DW_AT_external), Some(AttributeValue::Flag(true)))
        };
        external(&entry)
            || self.root_origin(unit, &entry).is_some_and(|(unit, offset)| {
                let origin = self.unit(unit).and_then(|unit| unit.entry(offset).ok());
                origin.is_some_and(|entry| external(&entry))
            })
    }

    /// What a function returns; `None` for void.
    pub fn result(&self, function: &Function) -> Option<TypeId> {
        let (unit, entry) = self.entry_of(function)?;
        self.type_of(unit, &entry)
    }

    /// Whether the compiler optimised a function: then location lists say where variables are at any address, and
    /// what is relative to the frame is not there before the frame is.
    pub fn is_optimized(&self, function: &Function) -> bool {
        let Some((unit, entry)) = self.entry_of(function) else { return false };
        let known = self.optimized.get(function.unit);
        if let Some(noted) = known.and_then(|known| *known.get_or_init(|| self.notes_optimization(unit))) {
            return noted;
        }
        // Compilers describe all call sites only in optimised code, gcc also where there are none.
        let described = [gimli::DW_AT_call_all_calls, gimli::DW_AT_GNU_all_call_sites];
        described.iter().any(|at| entry.attr_value(*at).is_some())
    }

    /// What a unit's compiler noted of optimisation: gcc notes its options, of which the last -O counts.
    fn notes_optimization(&self, unit: &Unit) -> Option<bool> {
        let mut tree = unit.entries_tree(None).ok()?;
        let value = tree.root().ok()?.entry().attr_value(gimli::DW_AT_producer)?;
        let producer = self.dwarf_of(unit).attr_string(unit, value).ok()?;
        let producer = producer.to_string_lossy().ok()?;
        let is_noted = producer.starts_with("GNU ") && producer.contains(" -");
        is_noted.then(|| {
            let level = producer.split(' ').rfind(|word| word.starts_with("-O"));
            level.is_some_and(|level| level != "-O0")
        })
    }

    /// The address at which to probe a function's entry. In code that is not optimised, variables have one location for
    /// the whole function, and the prologue puts them there: so that is after the prologue, as SystemTap has it. Else
    /// location lists, or the calling convention, say where they are at the first instruction.
    pub fn probe_address(&self, function: &Function, code: &ElfFile) -> u64 {
        if self.is_optimized(function) {
            return function.low;
        }
        let instance = self.entry_instance(function);
        let fixed = self.variables(&instance, function.low).iter().any(|v| v.fixed);
        if fixed { self.after_prologue(function, code).unwrap_or(function.low) } else { function.low }
    }

    /// The row that the compiler marked as the end of the prologue, else the function's second row; `None` when the
    /// function begins with a loop, whose every round would come by there.
    fn after_prologue(&self, function: &Function, code: &ElfFile) -> Option<u64> {
        let table = self.line_table(function.unit);
        let rows = table.within(function.low, function.high);
        let marked = rows.iter().find(|row| row.prologue_end).map(|row| row.address);
        let after =
            marked.or_else(|| rows.iter().map(|row| row.address).find(|address| *address > function.low))?;
        (!code.loops(after, function.high)).then_some(after)
    }
}
