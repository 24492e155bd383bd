//! What a whole file declares: variables and types, by name. Indexed when first asked for.

use std::collections::HashMap;

use gimli::UnitOffset;

use super::{DebugInfo, Function, Role, Variable, location};
use crate::debuginfo::model::TypeId;

impl DebugInfo {
    /// Variables of the whole file, by name: those of a function's own unit first.
    pub fn globals(&self, name: &str, unit: Option<&Function>) -> Vec<Variable> {
        let index = self.globals.get_or_init(|| self.index_globals());
        let mut places = index.get(name).cloned().unwrap_or_default();
        let own = unit.map(|function| function.unit);
        places.sort_by_key(|(unit, offset)| (Some(*unit) != own, *unit, *offset));
        places.iter().filter_map(|(unit, offset)| self.global(*unit, *offset)).collect()
    }

    /// The path of the unit that each of [`DebugInfo::globals`] is in is looked at by this test.
    pub fn globals_in(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Vec<Variable> {
        let index = self.globals.get_or_init(|| self.index_globals());
        let places = index.get(name).cloned().unwrap_or_default();
        places
            .iter()
            .filter(|(unit, _)| wanted(&self.unit_name(*unit)))
            .filter_map(|(unit, offset)| self.global(*unit, *offset))
            .collect()
    }

    /// Names of all variables of the whole file.
    pub fn global_names(&self) -> Vec<&str> {
        let index = self.globals.get_or_init(|| self.index_globals());
        let mut names: Vec<&str> = index.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    fn unit_name(&self, unit: usize) -> String {
        use gimli::Reader;
        let unit = &self.units[unit];
        let text = |part: &Option<super::Slice>| {
            part.as_ref().and_then(|text| Some(text.to_string_lossy().ok()?.into_owned())).unwrap_or_default()
        };
        let name = text(&unit.name);
        if name.starts_with('/') { name } else { format!("{}/{name}", text(&unit.comp_dir)) }
    }

    fn index_globals(&self) -> HashMap<String, Vec<(usize, usize)>> {
        let found = self.for_units(|number| {
            let unit = &self.units[number];
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
        let mut index: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        for (name, unit, offset) in found {
            index.entry(name).or_default().push((unit, offset));
        }
        index
    }

    fn global(&self, unit: usize, offset: usize) -> Option<Variable> {
        let number = unit;
        let unit = &self.units[unit];
        let entry = unit.entry(UnitOffset(offset)).ok()?;
        // No function: only an address, or a constant, has a meaning.
        let nowhere = Function {
            name: String::new(),
            scope: String::new(),
            low: 0,
            high: 0,
            more: Vec::new(),
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
        let index = self.type_names.get_or_init(|| {
            let found = self.for_units(|number| {
                let unit = &self.units[number];
                let mut found = Vec::new();
                let mut cursor = unit.entries();
                while let Ok(Some(entry)) = cursor.next_dfs() {
                    if is_named_type(entry.tag())
                        && entry.attr_value(gimli::DW_AT_declaration).is_none()
                        && let Some(name) = self.own_name(unit, entry)
                    {
                        found.push((name, self.type_id(unit, entry.offset())));
                    }
                }
                found
            });
            let mut index: HashMap<String, Vec<TypeId>> = HashMap::new();
            for (name, ty) in found {
                index.entry(name).or_default().push(ty);
            }
            index
        });
        index.get(name).cloned().unwrap_or_default()
    }
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
