//! What is visible at an address: the function, or the inlined copy of one, and the variables of its blocks.
//!
//! An inlined copy sees its own variables, not its caller's, as in the source.

use std::collections::BTreeSet;

use gimli::{AttributeValue, UnitOffset};

use super::function::qualified;
use super::index::{COPIES, Kind};
use super::table::{Table, Writer};
use super::{DebugInfo, Entry, Function, Role, Unit, Variable, location};
use crate::debuginfo::model::{Absence, TypeId};

/// A function at an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// The function that has the code.
    pub function: Function,
    /// The name in the source: another one in an inlined copy.
    pub name: String,
    /// Whether it is an inlined copy.
    pub inlined: bool,
    /// Entries whose variables are visible, the outermost (the function or the inlined copy) first.
    path: Vec<usize>,
}

impl Instance {
    /// Tells functions and copies apart.
    pub fn key(&self) -> (usize, usize) {
        (self.function.unit, self.path.first().copied().unwrap_or_default())
    }
}

/// An inlined copy of a function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inlined {
    /// Its name.
    pub name: String,
    /// Namespaces and classes around it, `a::b`; empty in C.
    pub scope: String,
    /// Where it is entered.
    pub low: u64,
    /// Index of the function that it is in.
    pub function: usize,
    offset: usize,
}

/// A parameter or local, as it is declared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its type.
    pub ty: TypeId,
}

impl Inlined {
    /// Its name with everything around it.
    pub fn qualified(&self) -> String {
        qualified(&self.scope, &self.name)
    }
}

/// A label of a function.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Its address as linked.
    pub address: u64,
    /// File and line.
    pub declared: Option<(String, u64)>,
}

/// Blocks inside blocks deeper than this are broken.
const DEPTH: usize = 128;
/// Variables of a scope, at the most.
const VARIABLES: usize = 10_000;

/// What a walk through a function's tree tells.
struct Node {
    offset: usize,
    tag: gimli::DwTag,
    name: Option<String>,
}

impl Node {
    /// Not only a block of one.
    fn is_function(&self) -> bool {
        self.tag != gimli::DW_TAG_lexical_block
    }
}

impl DebugInfo {
    /// A function as its own entry sees it.
    pub fn entry_instance(&self, function: &Function) -> Instance {
        Instance {
            function: function.clone(),
            name: function.name.clone(),
            inlined: false,
            path: vec![function.offset],
        }
    }

    /// An inlined copy as its entry sees it.
    pub fn inlined_instance(&self, copy: &Inlined) -> Instance {
        let function = self.index.function(copy.function);
        // From the copy itself: a function may have many, and is long to walk.
        let first = Node {
            offset: copy.offset,
            tag: gimli::DW_TAG_inlined_subroutine,
            name: Some(copy.name.clone()),
        };
        let chain = self.chain_from(function.unit, first, copy.low);
        let path = std::iter::once(&chain[0]).chain(chain[1..].iter().take_while(|node| !node.is_function()));
        let path = path.map(|node| node.offset).collect();
        Instance { name: copy.name.clone(), inlined: true, path, function }
    }

    /// What is visible at an address: the innermost copy or function there.
    pub fn instance_at(&self, address: u64) -> Option<Instance> {
        let function = self.function_at(address)?;
        self.instance_where(&function, address, |_| true)
    }

    /// As [`DebugInfo::instance_at`], the innermost of a name.
    pub fn instance_named(&self, address: u64, name: impl Fn(&str) -> bool) -> Option<Instance> {
        let function = self.function_at(address)?;
        self.instance_where(&function, address, |node| node.name.as_deref().is_some_and(&name))
    }

    /// The innermost function or copy at an address that passes, and its blocks there.
    fn instance_where(
        &self,
        function: &Function,
        address: u64,
        wanted: impl Fn(&Node) -> bool,
    ) -> Option<Instance> {
        let chain = self.chain_at(function, address);
        let start = chain.iter().rposition(|node| node.is_function() && wanted(node))?;
        let path = std::iter::once(&chain[start])
            .chain(chain[start + 1..].iter().take_while(|node| !node.is_function()))
            .map(|node| node.offset)
            .collect();
        Some(Instance {
            function: function.clone(),
            name: chain[start].name.clone().unwrap_or_default(),
            inlined: start > 0,
            path,
        })
    }

    /// Function, copies and blocks that hold an address, the outermost first.
    fn chain_at(&self, function: &Function, address: u64) -> Vec<Node> {
        let Some((_, entry)) = self.entry_of(function) else { return Vec::new() };
        let first = Node { offset: function.offset, tag: entry.tag(), name: Some(function.name.clone()) };
        self.chain_from(function.unit, first, address)
    }

    /// An entry, and the copies and blocks in it that hold an address.
    fn chain_from(&self, unit: usize, first: Node, address: u64) -> Vec<Node> {
        let mut at = first.offset;
        let mut chain = vec![first];
        let Some(unit) = self.unit(unit) else { return chain };
        'deeper: for _ in 1..DEPTH {
            let Ok(mut tree) = unit.entries_tree(Some(UnitOffset(at))) else { break };
            let Ok(root) = tree.root() else { break };
            let mut children = root.children();
            while let Ok(Some(child)) = children.next() {
                let entry = child.entry();
                if !is_block(entry.tag()) {
                    continue;
                }
                let ranges = self.ranges(unit, entry);
                // A block without code of its own, but with copies that have some.
                let holds = ranges.iter().any(|(low, high)| *low <= address && address < *high);
                if holds {
                    let name = (entry.tag() == gimli::DW_TAG_inlined_subroutine)
                        .then(|| self.name_of(unit, entry).unwrap_or_default());
                    at = entry.offset().0;
                    chain.push(Node { offset: at, tag: entry.tag(), name });
                    continue 'deeper;
                }
            }
            break;
        }
        chain
    }

    /// Parameters and locals of an instance at an address: the innermost block first, each name once.
    pub fn variables(&self, instance: &Instance, at: u64) -> Vec<Variable> {
        let function = &instance.function;
        let Some((unit, entry)) = self.entry_of(function) else { return Vec::new() };
        let frame_base = entry.attr_value(gimli::DW_AT_frame_base);
        let mut found: Vec<Variable> = Vec::new();
        let mut names = BTreeSet::new();
        for offset in instance.path.iter().rev() {
            let place = location::Place {
                info: self,
                unit,
                function,
                at,
                frame_base: frame_base.clone(),
                depth: std::cell::Cell::new(0),
            };
            self.block(unit, UnitOffset(*offset), &mut |declared, entry| {
                if found.len() < VARIABLES && names.insert(declared.name.clone()) {
                    let Declared { name, role, ty } = declared;
                    let (location, fixed) = self.location(&place, entry);
                    found.push(Variable { name, role, ty, location, fixed });
                }
            });
        }
        found
    }

    /// The same parameters and locals, whether they are anywhere or not.
    pub fn declarations(&self, instance: &Instance) -> Vec<Declared> {
        let mut found: Vec<Declared> = Vec::new();
        let Some(unit) = self.unit(instance.function.unit) else { return found };
        let mut names = BTreeSet::new();
        for offset in instance.path.iter().rev() {
            self.block(unit, UnitOffset(*offset), &mut |declared, _| {
                if found.len() < VARIABLES && names.insert(declared.name.clone()) {
                    found.push(declared);
                }
            });
        }
        found
    }

    /// The variables that a block declares itself.
    fn block(&self, unit: &Unit, offset: UnitOffset, found: &mut dyn FnMut(Declared, &Entry<'_>)) {
        let mut seen = BTreeSet::new();
        let Ok(mut tree) = unit.entries_tree(Some(offset)) else { return };
        let Ok(root) = tree.root() else { return };
        let origin = self.origin(unit, root.entry()).map(|(unit, offset)| (self.unit_index(unit), offset));
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            let Some(role) = role(entry.tag()) else { continue };
            if let Some((_, offset)) = self.origin(unit, entry) {
                seen.insert(offset.0);
            }
            // `extern` in a block: it is a variable of some file.
            if entry.attr_value(gimli::DW_AT_declaration).is_some() {
                continue;
            }
            let (Some(name), Some(ty)) = (self.name_of(unit, entry), self.type_of(unit, entry)) else {
                continue;
            };
            found(Declared { name, role, ty }, entry);
        }
        // What the compiler dropped in this instance is still declared by its origin.
        let Some((number, offset)) = origin else { return };
        let Some(owner) = self.unit(number) else { return };
        let Ok(mut tree) = owner.entries_tree(Some(offset)) else { return };
        let Ok(root) = tree.root() else { return };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            let Some(role) = role(entry.tag()) else { continue };
            if seen.contains(&entry.offset().0) || entry.attr_value(gimli::DW_AT_declaration).is_some() {
                continue;
            }
            let (Some(name), Some(ty)) = (self.name_of(owner, entry), self.type_of(owner, entry)) else {
                continue;
            };
            found(Declared { name, role, ty }, entry);
        }
    }

    /// Where a variable is: statics of a function are described by what they are an instance of.
    fn location(
        &self,
        place: &location::Place<'_>,
        entry: &Entry<'_>,
    ) -> (Result<crate::debuginfo::model::Location, Absence>, bool) {
        let found = place.variable(entry);
        if found.0 != Err(Absence::OptimizedOut) {
            return found;
        }
        let Some((unit, offset)) = self.origin(place.unit, entry) else { return found };
        let Ok(origin) = unit.entry(offset) else { return found };
        let other = location::Place {
            info: self,
            unit,
            function: place.function,
            at: place.at,
            frame_base: place.frame_base.clone(),
            depth: std::cell::Cell::new(0),
        };
        let found_there = other.variable(&origin);
        if found_there.0.is_ok() { found_there } else { found }
    }

    /// The inlined copies that a test of their names, and of their names with everything around them, accepts; sorted by
    /// name and address.
    pub fn inlined(&self, fits: impl Fn(&str, &dyn Fn() -> String) -> bool) -> Vec<Inlined> {
        self.copies(|table, row| {
            let name = table.text(row, 0);
            fits(name, &|| qualified(table.text(row, 2), name))
        })
    }

    /// The copies that are in a function.
    pub fn inlined_into(&self, function: &Function) -> Vec<Inlined> {
        self.copies(|table, row| table.number(row, 6) as usize == function.number)
    }

    fn copies(&self, fits: impl Fn(&Table, usize) -> bool) -> Vec<Inlined> {
        let table =
            self.more.copies.get_or_init(|| self.lazily(Kind::Copies, COPIES, || self.index_copies()));
        let rows = (0..table.count()).filter(|row| fits(table, *row));
        rows.map(|row| Inlined {
            name: table.text(row, 0).to_owned(),
            scope: table.text(row, 2).to_owned(),
            low: table.long(row, 4),
            function: table.number(row, 6) as usize,
            offset: table.number(row, 7) as usize,
        })
        .collect()
    }

    fn index_copies(&self) -> Writer {
        let mut by_unit: Vec<Vec<usize>> = vec![Vec::new(); self.units.len()];
        for n in 0..self.index.count() {
            if let Some(unit) = by_unit.get_mut(self.index.unit(n)) {
                unit.push(n);
            }
        }
        let mut found =
            self.for_units(|number, _| by_unit[number].iter().flat_map(|n| self.inlined_in(*n)).collect());
        found.sort_by(|a, b| (&a.name, a.low).cmp(&(&b.name, b.low)));
        let mut rows = Writer::new(COPIES);
        for copy in found {
            rows.text(&copy.name);
            rows.shared(&copy.scope);
            rows.long(copy.low);
            rows.number(copy.function as u32);
            rows.number(copy.offset as u32);
        }
        rows
    }

    fn inlined_in(&self, number: usize) -> Vec<Inlined> {
        let mut found = Vec::new();
        self.walk(&self.index.function(number), |unit, entry| {
            if entry.tag() != gimli::DW_TAG_inlined_subroutine {
                return;
            }
            let ranges = self.ranges(unit, entry);
            let entered = match entry.attr_value(gimli::DW_AT_entry_pc) {
                Some(AttributeValue::Addr(address)) => Some(address),
                // An offset from the lowest address of the copy.
                Some(value) => match value.udata_value() {
                    Some(offset) => ranges.first().and_then(|(low, _)| low.checked_add(offset)),
                    None => self.dwarf_of(unit).attr_address(unit, value).ok().flatten(),
                },
                None => None,
            };
            let low = entered.or_else(|| ranges.iter().map(|(low, _)| *low).min());
            if let (Some(low), Some(name)) = (low.filter(|low| *low > 1), self.name_of(unit, entry)) {
                let origin = self.origin(unit, entry).map(|(unit, offset)| (self.unit_index(unit), offset.0));
                let scope = origin.map_or("", |(unit, offset)| self.index.inlinable_scope(unit, offset));
                let scope = scope.to_owned();
                found.push(Inlined { name, scope, low, function: number, offset: entry.offset().0 });
            }
        });
        found
    }

    /// Where the function of an inlined copy was declared.
    pub fn declared_inlined(&self, copy: &Inlined) -> Option<(String, u64)> {
        let unit = self.unit(self.index.unit(copy.function))?;
        self.declared_entry(unit, &unit.entry(UnitOffset(copy.offset)).ok()?)
    }

    /// Where the function of an instance was declared.
    pub fn declared_instance(&self, instance: &Instance) -> Option<(String, u64)> {
        let unit = self.unit(instance.function.unit)?;
        self.declared_entry(unit, &unit.entry(UnitOffset(*instance.path.first()?)).ok()?)
    }

    /// Labels of a function.
    pub fn labels(&self, function: &Function) -> Vec<Label> {
        let mut found = Vec::new();
        self.walk(function, |unit, entry| {
            if entry.tag() == gimli::DW_TAG_label
                && let Some(value) = entry.attr_value(gimli::DW_AT_low_pc)
                && let Ok(Some(address)) = self.dwarf_of(unit).attr_address(unit, value)
                && let Some(name) = self.name_of(unit, entry)
            {
                found.push(Label { name, address, declared: self.declared_entry(unit, entry) });
            }
        });
        found.sort();
        found.dedup();
        found
    }

    /// Names of functions that a function calls, and the addresses that the calls return to.
    pub fn calls(&self, function: &Function) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        self.walk(function, |unit, entry| {
            if !matches!(entry.tag(), gimli::DW_TAG_call_site | gimli::DW_TAG_GNU_call_site) {
                return;
            }
            let target = entry
                .attr_value(gimli::DW_AT_call_origin)
                .or_else(|| entry.attr_value(gimli::DW_AT_abstract_origin));
            let back = entry
                .attr_value(gimli::DW_AT_call_return_pc)
                .or_else(|| entry.attr_value(gimli::DW_AT_low_pc));
            if let Some((owner, offset)) = target.and_then(|value| self.reference(unit, value))
                && let Some(Ok(Some(back))) = back.map(|value| self.dwarf_of(unit).attr_address(unit, value))
                && let Ok(callee) = owner.entry(offset)
                && let Some(name) = self.name_of(owner, &callee)
            {
                found.push((name, back));
            }
        });
        found.sort();
        found.dedup();
        found
    }

    /// Every entry below a function's.
    fn walk(&self, function: &Function, mut visit: impl FnMut(&Unit, &Entry<'_>)) {
        let Some(unit) = self.unit(function.unit) else { return };
        let Ok(mut cursor) = unit.entries_at_offset(UnitOffset(function.offset)) else { return };
        let Ok(Some(root)) = cursor.next_dfs() else { return };
        let outermost = root.depth();
        while let Ok(Some(entry)) = cursor.next_dfs() {
            if entry.depth() <= outermost {
                break;
            }
            visit(unit, entry);
        }
    }
}

fn is_block(tag: gimli::DwTag) -> bool {
    matches!(tag, gimli::DW_TAG_lexical_block | gimli::DW_TAG_inlined_subroutine)
}

fn role(tag: gimli::DwTag) -> Option<Role> {
    match tag {
        gimli::DW_TAG_formal_parameter => Some(Role::Parameter),
        gimli::DW_TAG_variable => Some(Role::Local),
        _ => None,
    }
}
