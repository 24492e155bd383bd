//! What a whole file declares: variables and types, by name. Indexed when first asked for.

use gimli::UnitOffset;

use super::index::{Kind, NAMED};
use super::table::{Table, Writer};
use super::{DebugInfo, Function, Role, Variable, location};
use crate::debuginfo::model::TypeId;

impl DebugInfo {
    /// Variables of the whole file, by name: those of a function's own unit first.
    pub fn globals(&self, name: &str, unit: Option<&Function>) -> Vec<Variable> {
        let mut places = self.places(self.global_table(), name);
        let own = unit.map(|function| function.unit);
        places.sort_by_key(|(unit, offset)| (Some(*unit) != own, *unit, *offset));
        places.iter().filter_map(|(unit, offset)| self.global(*unit, *offset)).collect()
    }

    /// The path of the unit that each of [`DebugInfo::globals`] is in is looked at by this test.
    pub fn globals_in(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Vec<Variable> {
        let places = self.places(self.global_table(), name);
        places
            .iter()
            .filter(|(unit, _)| self.unit_name(*unit).is_some_and(|name| wanted(&name)))
            .filter_map(|(unit, offset)| self.global(*unit, *offset))
            .collect()
    }

    /// Names of all variables of the whole file, sorted.
    pub fn global_names(&self) -> Vec<&str> {
        let table = self.global_table();
        let mut names: Vec<&str> = (0..table.count()).map(|row| table.text(row, 0)).collect();
        names.dedup();
        names
    }

    /// Units and entries of a name.
    fn places(&self, table: &Table, name: &str) -> Vec<(usize, usize)> {
        let rows = table.rows_with(0, name);
        rows.map(|row| (table.number(row, 2) as usize, table.number(row, 3) as usize)).collect()
    }

    fn global_table(&self) -> &Table {
        self.more.globals.get_or_init(|| self.lazily(Kind::Globals, NAMED, || self.index_globals()))
    }

    fn unit_name(&self, unit: usize) -> Option<String> {
        use gimli::Reader;
        let unit = self.unit(unit)?;
        let text = |part: &Option<super::Slice>| {
            part.as_ref().and_then(|text| Some(text.to_string_lossy().ok()?.into_owned())).unwrap_or_default()
        };
        let name = text(&unit.name);
        Some(if name.starts_with('/') { name } else { format!("{}/{name}", text(&unit.comp_dir)) })
    }

    fn index_globals(&self) -> Writer {
        let found = self.for_units(|number, unit| {
            let mut found = Vec::new();
            let mut cursor = unit.entries();
            let mut step = cursor.next_dfs().map(|entry| entry.is_some());
            while let Ok(true) = step {
                let Some(entry) = cursor.current() else { break };
                let into = match entry.tag() {
                    gimli::DW_TAG_compile_unit | gimli::DW_TAG_namespace => true,
                    gimli::DW_TAG_variable => {
                        let defined = entry.attr_value(gimli::DW_AT_location).is_some()
                            || entry.attr_value(gimli::DW_AT_const_value).is_some();
                        if defined && let Some(name) = self.name_of(unit, entry) {
                            found.push((name, number, entry.offset().0));
                        }
                        false
                    }
                    _ => false,
                };
                step = if into || !entry.has_children() {
                    cursor.next_dfs().map(|entry| entry.is_some())
                } else {
                    match cursor.next_sibling() {
                        Ok(Some(_)) => Ok(true),
                        _ => cursor.next_dfs().map(|entry| entry.is_some()),
                    }
                };
            }
            found
        });
        named(found)
    }

    fn global(&self, unit: usize, offset: usize) -> Option<Variable> {
        let number = unit;
        let unit = self.unit(unit)?;
        let entry = unit.entry(UnitOffset(offset)).ok()?;
        // No function: only an address, or a constant, has a meaning.
        let nowhere = Function {
            name: String::new(),
            scope: String::new(),
            low: 0,
            high: 0,
            more: Vec::new(),
            number: 0,
            unit: number,
            offset,
        };
        let place = location::Place {
            info: self,
            unit,
            function: &nowhere,
            at: 0,
            frame_base: None,
            depth: std::cell::Cell::new(0),
        };
        let (location, fixed) = place.variable(&entry);
        Some(Variable {
            name: self.name_of(unit, &entry)?,
            role: Role::Global,
            ty: self.type_of(unit, &entry)?,
            location,
            fixed,
        })
    }

    /// Complete types of a name, of the whole file; `struct`, `union` and so on are no part of it.
    pub fn types_named(&self, name: &str) -> Vec<TypeId> {
        let table = self.more.types.get_or_init(|| self.lazily(Kind::Types, NAMED, || self.index_types()));
        let places = self.places(table, name).into_iter();
        places.filter_map(|(unit, offset)| Some(self.type_id(self.unit(unit)?, UnitOffset(offset)))).collect()
    }

    fn index_types(&self) -> Writer {
        named(self.for_units(|number, unit| {
            let mut found = Vec::new();
            let mut cursor = unit.entries();
            while let Ok(Some(entry)) = cursor.next_dfs() {
                if is_named_type(entry.tag())
                    && entry.attr_value(gimli::DW_AT_declaration).is_none()
                    && let Some(name) = self.own_name(unit, entry)
                {
                    found.push((name, number, entry.offset().0));
                }
            }
            found
        }))
    }
}

/// Rows of names, units and entries.
fn named(mut found: Vec<(String, usize, usize)>) -> Writer {
    found.sort_unstable();
    let mut rows = Writer::new(NAMED);
    for (name, unit, offset) in found {
        rows.text(&name);
        rows.number(unit as u32);
        rows.number(offset as u32);
    }
    rows
}

fn is_named_type(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_structure_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_enumeration_type
            | gimli::DW_TAG_typedef
            | gimli::DW_TAG_base_type
    )
}
