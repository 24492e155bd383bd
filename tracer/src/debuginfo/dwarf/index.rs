//! What is known of a whole file by name and by address: made once, kept by the cache, asked without reading the rest.
//!
//! An index has one form, whether it was just made or comes from the cache: what is found is the same.
//!
//! **Not here:** how its rows are found (`function`, `global`, `line`, `scope`), where they are kept (`cache`).

use std::sync::OnceLock;

use super::table::{Table, Writer};
use super::{DebugInfo, Function};
use crate::cache::Kept;
use crate::world::Part;

/// Beginnings of units; of functions name, scope, low, high, unit, offset, first part, parts; of parts low, high; of
/// places low, high, function; names of what may be inlined; of scopes unit, offset, scope.
const FUNCTIONS: [usize; 6] = [2, 12, 4, 5, 2, 4];
/// Name, unit, offset.
pub(super) const NAMED: usize = 4;
/// Name, scope, low, function, offset.
pub(super) const COPIES: usize = 8;
/// Path, unit.
pub(super) const PATHS: usize = 3;

/// Functions with code of their own, and names of those that may be inlined.
#[derive(Debug)]
pub(super) struct Index {
    units: Table,
    functions: Table,
    parts: Table,
    places: Table,
    inlinable: Table,
    scopes: Table,
}

/// What the functions of a file are, as they were found.
#[derive(Default)]
pub(super) struct Rows {
    /// Where units begin.
    pub(super) units: Vec<usize>,
    /// Sorted by name and address.
    pub(super) functions: Vec<Function>,
    /// Sorted.
    pub(super) inlinable: Vec<String>,
    /// Unit, entry, what is around it; sorted.
    pub(super) scopes: Vec<(usize, usize, String)>,
}

impl Rows {
    /// The index as bytes; `None` where there is more than it can count.
    pub(super) fn write(&self) -> Option<Vec<u8>> {
        let [mut units, mut functions, mut parts, mut places, mut inlinable, mut scopes] =
            FUNCTIONS.map(Writer::new);
        self.units.iter().for_each(|start| units.long(*start as u64));
        let mut code = Vec::with_capacity(self.functions.len());
        let mut part = 0;
        for (n, function) in self.functions.iter().enumerate() {
            functions.text(&function.name);
            functions.shared(&function.scope);
            functions.long(function.low);
            functions.long(function.high);
            functions.number(u32::try_from(function.unit).ok()?);
            functions.number(u32::try_from(function.offset).ok()?);
            functions.number(part);
            functions.number(function.more.len() as u32);
            part += function.more.len() as u32;
            for (low, high) in &function.more {
                parts.long(*low);
                parts.long(*high);
            }
            code.push((function.low, function.high, n as u32));
            code.extend(function.more.iter().map(|(low, high)| (*low, *high, n as u32)));
        }
        code.sort_unstable();
        for (low, high, function) in code {
            places.long(low);
            places.long(high);
            places.number(function);
        }
        self.inlinable.iter().for_each(|name| inlinable.text(name));
        for (unit, offset, scope) in &self.scopes {
            scopes.number(u32::try_from(*unit).ok()?);
            scopes.number(u32::try_from(*offset).ok()?);
            scopes.shared(scope);
        }
        Writer::finish([units, functions, parts, places, inlinable, scopes])
    }
}

impl Index {
    pub(super) fn read(bytes: &Part) -> Option<Index> {
        let [units, functions, parts, places, inlinable, scopes] = Table::read(bytes, FUNCTIONS)?;
        Some(Index { units, functions, parts, places, inlinable, scopes })
    }

    /// Where the units begin; `None` when that is no order in a section of this length.
    pub(super) fn units(&self, length: usize) -> Option<Vec<usize>> {
        let starts: Vec<usize> = (0..self.units.count()).map(|n| self.units.long(n, 0) as usize).collect();
        (starts.is_sorted_by(|a, b| a < b) && starts.last().is_some_and(|last| *last < length))
            .then_some(starts)
    }

    pub(super) fn count(&self) -> usize {
        self.functions.count()
    }

    pub(super) fn name(&self, function: usize) -> &str {
        self.functions.text(function, 0)
    }

    pub(super) fn scope(&self, function: usize) -> &str {
        self.functions.text(function, 2)
    }

    pub(super) fn unit(&self, function: usize) -> usize {
        self.functions.number(function, 8) as usize
    }

    pub(super) fn function(&self, number: usize) -> Function {
        let row = |column| self.functions.number(number, column) as usize;
        let first = row(10).min(self.parts.count());
        let last = first.saturating_add(row(11)).min(self.parts.count());
        Function {
            name: self.name(number).to_owned(),
            scope: self.scope(number).to_owned(),
            low: self.functions.long(number, 4),
            high: self.functions.long(number, 6),
            more: (first..last).map(|part| (self.parts.long(part, 0), self.parts.long(part, 2))).collect(),
            number,
            unit: row(8),
            offset: row(9),
        }
    }

    /// The function whose code an address is in.
    pub(super) fn at(&self, address: u64) -> Option<usize> {
        let after = self.places.point(|row| self.places.long(row, 0) <= address);
        // Ranges rarely overlap; where they do, the nearest before it counts.
        let near = (after.saturating_sub(4)..after).rev();
        let mut near = near.filter(|row| address < self.places.long(*row, 2));
        near.next().map(|row| self.places.number(row, 4) as usize).filter(|n| *n < self.count())
    }

    /// Names of functions that the compiler may have inlined, sorted.
    pub(super) fn inlinable(&self) -> impl Iterator<Item = &str> {
        (0..self.inlinable.count()).map(|row| self.inlinable.text(row, 0))
    }

    /// What is around a function of which inlined copies may exist.
    pub(super) fn inlinable_scope(&self, unit: usize, offset: usize) -> &str {
        let key = |row| (self.scopes.number(row, 0) as usize, self.scopes.number(row, 1) as usize);
        let row = self.scopes.point(|row| key(row) < (unit, offset));
        if row < self.scopes.count() && key(row) == (unit, offset) { self.scopes.text(row, 2) } else { "" }
    }
}

/// Which index of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Functions,
    Globals,
    Types,
    Copies,
    Paths,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Functions => "functions",
            Kind::Globals => "globals",
            Kind::Types => "types",
            Kind::Copies => "copies",
            Kind::Paths => "paths",
        }
    }
}

/// The indexes that few scripts ask for.
#[derive(Default)]
pub(super) struct Lazy {
    pub(super) globals: OnceLock<Table>,
    pub(super) types: OnceLock<Table>,
    pub(super) copies: OnceLock<Table>,
    pub(super) paths: OnceLock<Table>,
}

impl DebugInfo {
    /// An index that is asked for the first time: from the cache, else made and kept.
    pub(super) fn lazily(&self, kind: Kind, width: usize, make: impl FnOnce() -> Writer) -> Table {
        let read = |bytes: &Part| Table::read(bytes, [width]).map(|[table]| table);
        let kept = self.kept.as_ref();
        if let Some(table) = kept.and_then(|kept| kept.load(kind.name())).as_ref().and_then(read) {
            return table;
        }
        let made = Writer::finish([make()]).map(|bytes| keep(kept, kind, bytes));
        let empty = || Writer::finish([Writer::new(width)]).unwrap_or_default();
        let bytes = made.unwrap_or_else(|| Part::Owned(empty().into()));
        read(&bytes).expect("what was just written can be read: else this is a bug")
    }
}

/// Keeps an index that was just made.
pub(super) fn keep(kept: Option<&Kept>, kind: Kind, bytes: Vec<u8>) -> Part {
    if let Some(kept) = kept {
        kept.save(kind.name(), &bytes);
    }
    Part::Owned(bytes.into())
}
