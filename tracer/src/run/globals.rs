//! Globals as the evaluator sees them, whatever holds them.
//!
//! [`MemoryGlobals`] is for globals that kernel code does not touch, and for tests; `maps` holds those in BPF maps.
//! Semantics are stap's: a missing element reads as nothing and is not inserted; rows come in the order of insertion,
//! until a sorted `foreach` leaves them in another ([`Globals::reorder`]); a wrapping array drops the first row.
//!
//! **Not here:** sorting and slices (`eval::iterate`).

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use tracer_common::ir::{Global, GlobalId, GlobalTy, Init, Module, Ty, UpdateOp};
use tracer_common::stat::{Cell, StatFields};

use crate::run::value::Value;

/// Why a global cannot be written.
#[derive(Debug)]
pub enum GlobalError {
    /// The array is full.
    Overflow,
    /// The kernel refused.
    Io(io::Error),
}

impl fmt::Display for GlobalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GlobalError::Overflow => f.write_str("the array is full"),
            GlobalError::Io(error) => write!(f, "cannot access a BPF map: {error}"),
        }
    }
}

impl From<io::Error> for GlobalError {
    fn from(error: io::Error) -> GlobalError {
        GlobalError::Io(error)
    }
}

/// An element of an array.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Its keys.
    pub keys: Vec<Value>,
    /// What it holds.
    pub item: Item,
}

/// What a global, or an element, holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    /// A plain value.
    Value(Value),
    /// A statistic, merged.
    Cell(Cell),
}

/// Access to globals; scalars have no keys.
pub trait Globals {
    /// A value; `None` when the element is not there.
    fn get(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<Value>, GlobalError>;
    /// Writes a value.
    fn set(&mut self, global: GlobalId, keys: &[Value], value: Value) -> Result<(), GlobalError>;
    /// Atomic read-modify-write of a long; the value before.
    fn update(
        &mut self,
        op: UpdateOp,
        global: GlobalId,
        keys: &[Value],
        value: i64,
    ) -> Result<i64, GlobalError>;
    /// Whether an element is there.
    fn contains(&mut self, global: GlobalId, keys: &[Value]) -> Result<bool, GlobalError>;
    /// Removes an element, if it is there.
    fn delete(&mut self, global: GlobalId, keys: &[Value]) -> Result<(), GlobalError>;
    /// Empties an array, resets a scalar or a statistic.
    fn clear(&mut self, global: GlobalId) -> Result<(), GlobalError>;
    /// Adds a value to a statistic.
    fn aggregate(&mut self, global: GlobalId, keys: &[Value], value: i64) -> Result<(), GlobalError>;
    /// A statistic, merged; `None` when the element is not there.
    fn cell(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<Cell>, GlobalError>;
    /// All elements of an array, in order.
    fn rows(&mut self, global: GlobalId) -> Result<Vec<Row>, GlobalError>;
    /// Takes the locks of globals, in ascending order, so that no kernel handler that takes one of them runs until
    /// [`Globals::unlock`]; false when one was not to be had in time, and then none is held.
    fn lock(&mut self, _globals: &[GlobalId]) -> bool {
        true
    }
    /// Gives the locks back.
    fn unlock(&mut self, _globals: &[GlobalId]) {}
    /// Leaves an array in this order; elements that are not named, or inserted later, come after those that are.
    fn reorder(&mut self, global: GlobalId, keys: Vec<Vec<Value>>) -> Result<(), GlobalError>;
}

/// Applies an update.
pub fn apply(op: UpdateOp, before: i64, value: i64) -> i64 {
    match op {
        UpdateOp::Add => before.wrapping_add(value),
        UpdateOp::And => before & value,
        UpdateOp::Or => before | value,
        UpdateOp::Xor => before ^ value,
    }
}

/// The value that a global of a type has before anybody wrote it.
pub fn empty(ty: Ty) -> Value {
    match ty {
        Ty::Long => Value::Long(0),
        Ty::Str(_) => Value::Str(Vec::new()),
    }
}

/// Globals in this process's memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryGlobals {
    tables: Vec<Table>,
}

#[derive(Clone, Debug)]
struct Table {
    rows: BTreeMap<Vec<Value>, (u64, Item)>,
    /// The keys again, by the numbers beside the items: the order of the rows.
    order: BTreeMap<u64, Vec<Value>>,
    inserted: u64,
    scalar: bool,
    max_entries: usize,
    wrap: bool,
    fields: Option<StatFields>,
}

impl MemoryGlobals {
    /// Tables for all globals of a module, initialised.
    pub fn new(module: &Module) -> MemoryGlobals {
        let mut globals = MemoryGlobals { tables: module.globals.iter().map(Table::new).collect() };
        for (global, table) in module.globals.iter().zip(&mut globals.tables) {
            if let Some(init) = &global.init {
                let value = match init {
                    Init::Long(value) => Value::Long(*value),
                    Init::Str(bytes) => Value::Str(bytes.clone()),
                };
                table.put(Vec::new(), Item::Value(value));
            }
        }
        globals
    }

    /// Puts a whole statistic in place, as it was read elsewhere.
    pub fn put_cell(&mut self, global: GlobalId, keys: &[Value], cell: Cell) -> Result<(), GlobalError> {
        *self.table(global).entry(keys, Item::Cell(Cell::default()))? = Item::Cell(cell);
        Ok(())
    }

    fn table(&mut self, global: GlobalId) -> &mut Table {
        &mut self.tables[global.index()]
    }
}

impl Table {
    fn new(global: &Global) -> Table {
        Table {
            rows: BTreeMap::new(),
            order: BTreeMap::new(),
            inserted: 0,
            scalar: global.keys.is_empty(),
            max_entries: global.max_entries as usize,
            wrap: global.wrap,
            fields: match &global.ty {
                GlobalTy::Stats(fields) => Some(*fields),
                GlobalTy::Value(_) => None,
            },
        }
    }

    /// The element, inserted when it is not there.
    fn entry(&mut self, keys: &[Value], new: Item) -> Result<&mut Item, GlobalError> {
        if !self.rows.contains_key(keys) {
            if !self.scalar && self.rows.len() >= self.max_entries {
                if !self.wrap {
                    return Err(GlobalError::Overflow);
                }
                if let Some((_, first)) = self.order.pop_first() {
                    self.rows.remove(&first);
                }
            }
            self.put(keys.to_vec(), new);
        }
        match self.rows.get_mut(keys) {
            Some((_, item)) => Ok(item),
            None => Err(GlobalError::Overflow),
        }
    }

    /// Inserts an element that is not there, as the last.
    fn put(&mut self, keys: Vec<Value>, item: Item) {
        self.inserted += 1;
        self.order.insert(self.inserted, keys.clone());
        self.rows.insert(keys, (self.inserted, item));
    }

    fn take(&mut self, keys: &[Value]) {
        if let Some((at, _)) = self.rows.remove(keys) {
            self.order.remove(&at);
        }
    }
}

impl Globals for MemoryGlobals {
    fn get(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<Value>, GlobalError> {
        Ok(match self.table(global).rows.get(keys) {
            Some((_, Item::Value(value))) => Some(value.clone()),
            _ => None,
        })
    }

    fn set(&mut self, global: GlobalId, keys: &[Value], value: Value) -> Result<(), GlobalError> {
        *self.table(global).entry(keys, Item::Value(Value::Long(0)))? = Item::Value(value);
        Ok(())
    }

    fn update(
        &mut self,
        op: UpdateOp,
        global: GlobalId,
        keys: &[Value],
        value: i64,
    ) -> Result<i64, GlobalError> {
        let item = self.table(global).entry(keys, Item::Value(Value::Long(0)))?;
        let before = match item {
            Item::Value(value) => value.long(),
            Item::Cell(_) => 0,
        };
        *item = Item::Value(Value::Long(apply(op, before, value)));
        Ok(before)
    }

    fn contains(&mut self, global: GlobalId, keys: &[Value]) -> Result<bool, GlobalError> {
        Ok(self.table(global).rows.contains_key(keys))
    }

    fn delete(&mut self, global: GlobalId, keys: &[Value]) -> Result<(), GlobalError> {
        self.table(global).take(keys);
        Ok(())
    }

    fn clear(&mut self, global: GlobalId) -> Result<(), GlobalError> {
        let table = self.table(global);
        table.rows.clear();
        table.order.clear();
        Ok(())
    }

    fn aggregate(&mut self, global: GlobalId, keys: &[Value], value: i64) -> Result<(), GlobalError> {
        let table = self.table(global);
        let fields = table.fields.unwrap_or_default();
        if let Item::Cell(cell) = table.entry(keys, Item::Cell(Cell::default()))? {
            cell.add(value, &fields);
        }
        Ok(())
    }

    fn cell(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<Cell>, GlobalError> {
        let table = self.table(global);
        Ok(match table.rows.get(keys) {
            Some((_, Item::Cell(cell))) if table.scalar => Some(Cell::total(std::slice::from_ref(cell))),
            Some((_, Item::Cell(cell))) => Some(cell.clone()),
            _ => None,
        })
    }

    fn rows(&mut self, global: GlobalId) -> Result<Vec<Row>, GlobalError> {
        let table = self.table(global);
        let row = |keys: &Vec<Value>| {
            let (_, item) = table.rows.get(keys)?;
            Some(Row { keys: keys.clone(), item: item.clone() })
        };
        Ok(table.order.values().filter_map(row).collect())
    }

    fn reorder(&mut self, global: GlobalId, keys: Vec<Vec<Value>>) -> Result<(), GlobalError> {
        let table = self.table(global);
        let before = std::mem::take(&mut table.order);
        table.inserted = 0;
        for keys in keys.into_iter().chain(before.into_values()) {
            if let Some((at, _)) = table.rows.get_mut(&keys)
                && table.order.get(at) != Some(&keys)
            {
                table.inserted += 1;
                *at = table.inserted;
                table.order.insert(table.inserted, keys);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(wrap: &str) -> Module {
        let text = format!("global g0 a[long]: long, max 2{wrap}\nglobal g1 n: long, init 7\n");
        tracer_common::ir::parse::module(&text).expect("a module")
    }

    #[test]
    fn arrays_are_full_or_wrap() {
        let g = GlobalId(0);
        let key = |n| vec![Value::Long(n)];
        let mut full = MemoryGlobals::new(&module(""));
        for n in [5, 3] {
            full.set(g, &key(n), Value::Long(n)).expect("room");
        }
        assert!(matches!(full.set(g, &key(9), Value::Long(9)), Err(GlobalError::Overflow)));
        full.set(g, &key(5), Value::Long(6)).expect("overwriting needs no room");
        let mut wrap = MemoryGlobals::new(&module(", wrap"));
        for n in [5, 3, 9] {
            wrap.set(g, &key(n), Value::Long(n)).expect("it wraps");
        }
        let keys: Vec<i64> = wrap.rows(g).expect("rows").iter().map(|row| row.keys[0].long()).collect();
        assert_eq!(keys, [3, 9], "the oldest insertion went, the order is that of insertion");
    }

    #[test]
    fn scalars_start_with_their_initial_value() {
        let mut globals = MemoryGlobals::new(&module(""));
        let n = GlobalId(1);
        assert_eq!(globals.get(n, &[]).expect("a scalar"), Some(Value::Long(7)));
        assert_eq!(globals.update(UpdateOp::Add, n, &[], 3).expect("an update"), 7);
        assert_eq!(globals.get(n, &[]).expect("a scalar"), Some(Value::Long(10)));
    }
}
