//! The globals that a machine's maps hold, as the evaluator has them.

use tracer::run::globals::{GlobalError, Globals, MemoryGlobals, Row};
use tracer::run::value::Value;
use tracer_common::ir::{GlobalId, GlobalTy, Module, Ty, UpdateOp};
use tracer_common::layout::{GlobalLayout, Home, Layout, SCALARS};
use tracer_common::stat::{Cell, StatFields};
use tracer_ebpf::machine::Machine;

/// Reads all globals out of the maps, in the order of their insertion.
pub(super) fn read(module: &Module, layout: &Layout, machine: &Machine) -> MemoryGlobals {
    let mut globals = MemoryGlobals::new(module);
    for (n, (global, place)) in module.globals.iter().zip(&layout.globals).enumerate() {
        let id = GlobalId(n as u32);
        let map = match place.home {
            Home::Evaluator => continue,
            Home::Scalar { offset } => {
                if let GlobalTy::Value(ty) = global.ty {
                    let value = value(&machine.value(SCALARS), offset, ty);
                    // A scalar always has room.
                    let _ = globals.set(id, &[], value);
                }
                continue;
            }
            Home::StatScalar { map } | Home::Array { map } => &layout.maps[map as usize],
        };
        let mut elements = machine.elements(&map.name);
        if let Some(at) = place.inserted {
            elements.sort_by_key(|(_, values)| {
                values.iter().map(|value| long(value, at)).filter(|at| *at != 0).min()
            });
        }
        for (key, values) in elements {
            let keys: Vec<Value> =
                global.keys.iter().zip(&place.keys).map(|(ty, at)| value(&key, *at, *ty)).collect();
            let kept = match &global.ty {
                GlobalTy::Value(ty) => globals.set(id, &keys, value(&values[0], 0, *ty)),
                GlobalTy::Stats(fields) => globals.put_cell(id, &keys, merged(&values, place, fields)),
            };
            assert!(kept.is_ok(), "the map has no more elements than its array");
        }
    }
    globals
}

/// Globals that nobody should touch: whether somebody did.
#[derive(Default)]
pub(super) struct Untouched {
    /// Whether somebody did.
    pub(super) touched: bool,
}

impl Untouched {
    fn touch<T>(&mut self, nothing: T) -> Result<T, GlobalError> {
        self.touched = true;
        Ok(nothing)
    }
}

impl Globals for Untouched {
    fn get(&mut self, _: GlobalId, _: &[Value]) -> Result<Option<Value>, GlobalError> {
        self.touch(None)
    }
    fn set(&mut self, _: GlobalId, _: &[Value], _: Value) -> Result<(), GlobalError> {
        self.touch(())
    }
    fn update(&mut self, _: UpdateOp, _: GlobalId, _: &[Value], _: i64) -> Result<i64, GlobalError> {
        self.touch(0)
    }
    fn contains(&mut self, _: GlobalId, _: &[Value]) -> Result<bool, GlobalError> {
        self.touch(false)
    }
    fn delete(&mut self, _: GlobalId, _: &[Value]) -> Result<(), GlobalError> {
        self.touch(())
    }
    fn clear(&mut self, _: GlobalId) -> Result<(), GlobalError> {
        self.touch(())
    }
    fn aggregate(&mut self, _: GlobalId, _: &[Value], _: i64) -> Result<(), GlobalError> {
        self.touch(())
    }
    fn cell(&mut self, _: GlobalId, _: &[Value]) -> Result<Option<Cell>, GlobalError> {
        self.touch(None)
    }
    fn rows(&mut self, _: GlobalId) -> Result<Vec<Row>, GlobalError> {
        self.touch(Vec::new())
    }
    fn reorder(&mut self, _: GlobalId, _: Vec<Vec<Value>>) -> Result<(), GlobalError> {
        self.touch(())
    }
}

fn merged(values: &[Vec<u8>], place: &GlobalLayout, fields: &StatFields) -> Cell {
    let cells: Vec<Cell> = values.iter().map(|value| tracer::run::maps::cell(value, place, fields)).collect();
    if matches!(place.home, Home::StatScalar { .. }) {
        return Cell::total(&cells);
    }
    let mut total = Cell::default();
    for cell in &cells {
        total.merge(cell);
    }
    total
}

fn long(bytes: &[u8], at: u32) -> i64 {
    let at = at as usize;
    bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, i64::from_le_bytes)
}

fn value(bytes: &[u8], at: u32, ty: Ty) -> Value {
    match ty {
        Ty::Long => Value::Long(long(bytes, at)),
        Ty::Str(capacity) => {
            let text = &bytes[at as usize..at as usize + usize::from(capacity)];
            Value::Str(text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
        }
    }
}
