//! Line tables: which line an address is of, and which addresses a line has.

use std::path::Path;
use std::sync::Arc;

use gimli::Reader;

use super::index::{Kind, PATHS};
use super::table::Writer;
use super::{DebugInfo, Function, Unit, split};

/// A row of a line table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Row {
    pub(super) address: u64,
    pub(super) line: u64,
    pub(super) file: u64,
    pub(super) is_statement: bool,
    pub(super) prologue_end: bool,
    /// Nothing is known from here on.
    pub(super) end: bool,
}

/// The rows of a unit, sorted by address.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
}

impl Table {
    /// Rows of an address range, without ends.
    pub(super) fn within(&self, low: u64, high: u64) -> &[Row] {
        let first = self.rows.partition_point(|row| row.address < low);
        let last = self.rows.partition_point(|row| row.address < high);
        self.rows.get(first..last.max(first)).unwrap_or_default()
    }
}

/// Where a line begins.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Line {
    /// Address, as linked.
    pub address: u64,
    /// Its file.
    pub file: String,
    /// Its number.
    pub line: u64,
}

/// Rows of one unit: more would fill the memory, and no compiler makes them.
const ROWS: usize = 16 << 20;

impl DebugInfo {
    pub(super) fn line_table(&self, number: usize) -> Arc<Table> {
        if let Some(table) = self.lines.lock().ok().and_then(|lines| lines.get(&number).cloned()) {
            return table;
        }
        let mut found = Vec::new();
        if let Some(program) = self.unit(number).and_then(|unit| unit.line_program.clone()) {
            let mut rows = program.rows();
            while let Ok(Some((_, row))) = rows.next_row() {
                found.push(Row {
                    address: row.address(),
                    line: row.line().map_or(0, std::num::NonZero::get),
                    file: row.file_index(),
                    is_statement: row.is_stmt(),
                    prologue_end: row.prologue_end(),
                    end: row.end_sequence(),
                });
                if found.len() > ROWS {
                    break;
                }
            }
        }
        // Stable: rows of one address stay in the order in which the compiler wrote them.
        found.sort_by_key(|row| (row.address, !row.end));
        let found = Arc::new(Table { rows: found });
        if let Ok(mut lines) = self.lines.lock() {
            lines.insert(number, found.clone());
        }
        found
    }

    pub(super) fn file_name(&self, unit: &Unit, index: u64) -> Option<String> {
        let program = unit.line_program.as_ref()?;
        let header = program.header();
        let file = header.file(index)?;
        let name = self
            .lines_dwarf(unit)
            .attr_string(unit, file.path_name())
            .ok()?
            .to_string_lossy()
            .ok()?
            .into_owned();
        if name.starts_with('/') {
            return Some(name);
        }
        let text = |value| -> Option<String> {
            Some(self.lines_dwarf(unit).attr_string(unit, value).ok()?.to_string_lossy().ok()?.into_owned())
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

    /// The line that an address is of.
    pub fn line_at(&self, address: u64) -> Option<Line> {
        let number = self.index.unit(self.index.at(address)?);
        let table = self.line_table(number);
        let after = table.rows.partition_point(|row| row.address <= address);
        let row = table.rows[..after].last().filter(|row| !row.end)?;
        let file = self.file_name(self.unit(number)?, row.file)?;
        Some(Line { address: row.address, file, line: row.line })
    }

    /// The beginnings of lines in the files that a test accepts, sorted: the first statement of each run of rows of one
    /// line. Only units that have such files are read.
    pub fn statements(&self, wanted: impl Fn(&str) -> bool + Sync) -> Vec<Line> {
        let units = self.units_of(&wanted);
        let mut found = split::in_parallel(units.len(), |n| {
            let Some(unit) = self.unit(units[n]) else { return Vec::new() };
            let files: Vec<(u64, String)> =
                self.files(unit).into_iter().filter(|(_, name)| wanted(name)).collect();
            self.unit_statements(units[n], &files)
        });
        found.sort();
        found.dedup();
        found
    }

    /// The files of a unit's line table.
    fn files(&self, unit: &Unit) -> Vec<(u64, String)> {
        let Some(program) = &unit.line_program else { return Vec::new() };
        let count = program.header().file_names().len() as u64;
        (0..=count).filter_map(|index| Some((index, self.file_name(unit, index)?))).collect()
    }

    /// The units in whose line tables there is a file that a test accepts.
    fn units_of(&self, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let table = self.more.paths.get_or_init(|| {
            self.lazily(Kind::Paths, PATHS, || {
                let mut found = self.for_units(|number, unit| {
                    self.files(unit).into_iter().map(|(_, path)| (path, number)).collect()
                });
                found.sort_unstable();
                found.dedup();
                let mut rows = Writer::new(PATHS);
                for (path, unit) in found {
                    rows.text(&path);
                    rows.number(unit as u32);
                }
                rows
            })
        });
        let mut units = Vec::new();
        let (mut path, mut is_wanted) = ("", false);
        for row in 0..table.count() {
            let text = table.text(row, 0);
            if text != path || row == 0 {
                (path, is_wanted) = (text, wanted(text));
            }
            if is_wanted {
                units.push(table.number(row, 2) as usize);
            }
        }
        units.sort_unstable();
        units.dedup();
        units
    }

    fn unit_statements(&self, number: usize, files: &[(u64, String)]) -> Vec<Line> {
        let table = self.line_table(number);
        let mut found = Vec::new();
        let mut before: Option<(u64, u64)> = None;
        for row in &table.rows {
            if row.end {
                before = None;
                continue;
            }
            // Several rows of one address: the last says what the address is of.
            let here = (row.file, row.line);
            let begins = row.is_statement && row.line != 0 && before != Some(here);
            if begins && let Some((_, file)) = files.iter().find(|(index, _)| *index == row.file) {
                found.push(Line { address: row.address, file: file.clone(), line: row.line });
            }
            if row.is_statement || before != Some(here) {
                before = row.is_statement.then_some(here);
            }
        }
        found
    }

    /// The beginnings of a function's lines.
    pub fn lines_of(&self, function: &Function) -> Vec<Line> {
        let Some(unit) = self.unit(function.unit) else { return Vec::new() };
        let table = self.line_table(function.unit);
        let mut found: Vec<Line> = std::iter::once((function.low, function.high))
            .chain(function.more.iter().copied())
            .flat_map(|(low, high)| table.within(low, high))
            .filter(|row| row.is_statement && row.line != 0 && !row.end)
            .filter_map(|row| {
                Some(Line { address: row.address, file: self.file_name(unit, row.file)?, line: row.line })
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }
}
