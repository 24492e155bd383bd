//! Globals that were written but never read: printed when the session ends, as SystemTap does.

use std::cmp::Reverse;

use tracer_common::ir::{GlobalId, GlobalTy, Module};
use tracer_common::stat::{Cell, StatFields, StatOp};

use crate::run::globals::{GlobalError, Globals, Item, Row, empty};
use crate::run::output::histogram::histogram;
use crate::run::value::Value;

/// The text of all such globals.
pub fn globals_at_end(module: &Module, globals: &mut dyn Globals) -> Result<Vec<u8>, GlobalError> {
    let mut out = Vec::new();
    let mut printed: Vec<(u32, GlobalId)> = (0..)
        .map(GlobalId)
        .zip(&module.globals)
        .filter_map(|(id, global)| global.print_at_end.map(|place| (place, id)))
        .collect();
    printed.sort();
    for (_, id) in printed {
        let global = &module.globals[id.index()];
        let name = global.name.as_bytes();
        match (&global.ty, global.keys.is_empty()) {
            (GlobalTy::Value(ty), true) => {
                let value = globals.get(id, &[])?.unwrap_or_else(|| empty(*ty));
                out.extend_from_slice(name);
                out.push(b'=');
                write_value(&mut out, &value);
                out.push(b'\n');
            }
            (GlobalTy::Value(_), false) => {
                let mut rows = globals.rows(id)?;
                rows.sort_by_key(|row| Reverse(sort_key(&row.item)));
                for row in &rows {
                    element(&mut out, name, row);
                    out.push(b'=');
                    if let Item::Value(value) = &row.item {
                        write_value(&mut out, value);
                    }
                    out.push(b'\n');
                }
            }
            (GlobalTy::Stats(fields), true) => {
                let cell = globals.cell(id, &[])?.unwrap_or_default();
                out.extend_from_slice(name);
                statistic(&mut out, &cell, fields);
            }
            (GlobalTy::Stats(fields), false) => {
                let mut rows = globals.rows(id)?;
                rows.sort_by_key(|row| Reverse(sort_key(&row.item)));
                for row in &rows {
                    element(&mut out, name, row);
                    if let Item::Cell(cell) = &row.item {
                        statistic(&mut out, cell, fields);
                    }
                }
            }
        }
    }
    Ok(out)
}

fn sort_key(item: &Item) -> Value {
    match item {
        Item::Value(value) => value.clone(),
        Item::Cell(cell) => Value::Long(cell.count),
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Long(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Str(bytes) => {
            out.push(b'"');
            // As they are: stap does not escape here.
            out.extend_from_slice(bytes);
            out.push(b'"');
        }
    }
}

fn element(out: &mut Vec<u8>, name: &[u8], row: &Row) {
    out.extend_from_slice(name);
    out.push(b'[');
    for (n, key) in row.keys.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_value(out, key);
    }
    out.push(b']');
}

/// ` @count=3 @min=1 …`, or a histogram when one was asked for.
fn statistic(out: &mut Vec<u8>, cell: &Cell, fields: &StatFields) {
    if let Some(hist) = fields.hist {
        out.push(b'\n');
        out.extend_from_slice(&histogram(hist, cell));
        return;
    }
    if cell.count == 0 {
        out.extend_from_slice(b" @count=0x0\n");
        return;
    }
    let number = |op| cell.extract(op).unwrap_or(0);
    out.extend_from_slice(
        format!(
            " @count={} @min={} @max={} @sum={} @avg={}\n",
            number(StatOp::Count),
            number(StatOp::Min),
            number(StatOp::Max),
            number(StatOp::Sum),
            number(StatOp::Avg)
        )
        .as_bytes(),
    );
}
