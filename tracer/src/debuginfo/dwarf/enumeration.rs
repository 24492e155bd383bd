//! Constants of enumerations, by name and by type. Looked for each time: scripts ask rarely.

use gimli::{AttributeValue, UnitOffset};

use super::{DebugInfo, Entry, Unit};

impl DebugInfo {
    /// The value of a constant of some enumeration.
    pub fn enumerator(&self, name: &str) -> Option<i64> {
        let found = self.for_units(|_, unit| {
            let mut cursor = unit.entries();
            while let Ok(Some(entry)) = cursor.next_dfs() {
                if entry.tag() == gimli::DW_TAG_enumerator
                    && self.own_name(unit, entry).as_deref() == Some(name)
                {
                    return constant(entry).into_iter().collect();
                }
            }
            Vec::new()
        });
        found.first().copied()
    }

    /// The constants of an enumeration, by its name in C, with or without `enum`, or that of a typedef for it.
    pub fn enumeration(&self, name: &str) -> Option<Vec<(String, i64)>> {
        let name = name.trim();
        let name = name.strip_prefix("enum ").unwrap_or(name).trim();
        self.types_named(name).into_iter().find_map(|ty| {
            let types = self.types();
            let (unit, offset) = types.enumeration(ty)?;
            self.constants(unit, offset)
        })
    }

    fn constants(&self, unit: &Unit, offset: UnitOffset) -> Option<Vec<(String, i64)>> {
        let mut tree = unit.entries_tree(Some(offset)).ok()?;
        let mut children = tree.root().ok()?.children();
        let mut found = Vec::new();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            if entry.tag() == gimli::DW_TAG_enumerator
                && let (Some(name), Some(value)) = (self.own_name(unit, entry), constant(entry))
            {
                found.push((name, value));
            }
        }
        Some(found)
    }
}

fn constant(entry: &Entry<'_>) -> Option<i64> {
    match entry.attr_value(gimli::DW_AT_const_value)? {
        AttributeValue::Sdata(value) => Some(value),
        // Where the form does not say, the value has no sign.
        other => other.udata_value().map(|value| value as i64),
    }
}
