//! Instructions that do not leave the function.

use tracer_common::ir::{Arg, Dest, Element, FormatId, GlobalId, GlobalTy, Inst, Key, OnFault};
use tracer_common::ir::{PlaceId, Ty};
use tracer_common::record::{ErrorKind, error_text};
use tracer_common::stat::{Cell, HistOp, StatOp};

use super::iterate::{self, Iteration};
use super::{Evaluator, Frame, RuntimeError};
use crate::run::globals::{Item, apply};
use crate::run::output::{format, histogram};
use crate::run::value::Value;

impl Evaluator<'_> {
    pub(super) fn step(
        &mut self,
        frame: &mut Frame<'_>,
        inst: &Inst,
        place: PlaceId,
    ) -> Result<(), RuntimeError> {
        match inst {
            Inst::Copy { dest, value } => frame.longs[dest.index()] = self.long(frame, *value),
            Inst::Bin { op, dest, left, right } => {
                let (left, right) = (self.long(frame, *left), self.long(frame, *right));
                let Some(value) = op.apply(left, right) else {
                    return Err(RuntimeError::new("division by 0", place));
                };
                frame.longs[dest.index()] = value;
            }
            Inst::Cmp { op, dest, left, right } => {
                let (left, right) = (self.long(frame, *left), self.long(frame, *right));
                frame.longs[dest.index()] = i64::from(op.apply(&left, &right));
            }
            Inst::Extend { dest, value, width } => {
                frame.longs[dest.index()] = width.apply(self.long(frame, *value));
            }
            Inst::StrCopy { dest, value } => {
                let value = Value::Str(self.string(frame, *value));
                self.store(frame, Dest::Str(*dest), value);
            }
            Inst::StrConcat { dest, left, right } => {
                let mut text = self.string(frame, *left);
                text.extend(self.string(frame, *right));
                self.store(frame, Dest::Str(*dest), Value::Str(text));
            }
            Inst::StrCmp { op, dest, left, right } => {
                let (left, right) = (self.string(frame, *left), self.string(frame, *right));
                frame.longs[dest.index()] = i64::from(op.apply(&left, &right));
            }
            Inst::Call { intrinsic, dest, args } => {
                let args: Vec<Value> = args.iter().map(|arg| self.arg(frame, *arg)).collect();
                let capacity = match dest {
                    Some(Dest::Str(var)) => usize::from(frame.function.strings[var.index()]),
                    Some(Dest::Long(_)) | None => 0,
                };
                let value = self.intrinsic(*intrinsic, &args, capacity, place)?;
                if let (Some(value), Some(dest)) = (value, dest) {
                    self.store(frame, *dest, value);
                }
            }
            Inst::Site { dest } => frame.longs[dest.index()] = i64::from(self.site),
            Inst::SiteText { dest, fact } => {
                let text = self.sites.get(self.site as usize).map_or("", |site| site.fact(*fact));
                let value = Value::Str(text.as_bytes().to_vec());
                self.store(frame, Dest::Str(*dest), value);
            }
            Inst::VarsText { dest, list, values } => {
                let values: Vec<(i64, i64)> = values
                    .iter()
                    .map(|(value, flag)| (self.long(frame, *value), self.long(frame, *flag)))
                    .collect();
                let text = self.variables(*list, &values);
                self.store(frame, Dest::Str(*dest), Value::Str(text.into_bytes()));
            }
            Inst::Get { dest, element } => {
                let keys = self.keys(frame, element);
                let found = self.globals.get(element.global, &keys);
                let found = found.map_err(|e| self.global_error(e, element.global, place))?;
                let value = found.unwrap_or_else(|| match dest {
                    Dest::Long(_) => Value::Long(0),
                    Dest::Str(_) => Value::Str(Vec::new()),
                });
                self.store(frame, *dest, value);
            }
            Inst::Set { element, value } => {
                let keys = self.keys(frame, element);
                let value = self.arg(frame, *value);
                let value = self.cut(element, value);
                self.globals
                    .set(element.global, &keys, value)
                    .map_err(|e| self.global_error(e, element.global, place))?;
            }
            Inst::Update { op, element, value, old, new } => {
                let keys = self.keys(frame, element);
                let value = self.long(frame, *value);
                let before = self.globals.update(*op, element.global, &keys, value);
                let before = before.map_err(|e| self.global_error(e, element.global, place))?;
                if let Some(old) = old {
                    frame.longs[old.index()] = before;
                }
                if let Some(new) = new {
                    frame.longs[new.index()] = apply(*op, before, value);
                }
            }
            Inst::Contains { dest, global, keys } => {
                let keys = self.slice(frame, *global, keys);
                let found = match full(&keys) {
                    Some(keys) => self.globals.contains(*global, &keys),
                    None => self
                        .globals
                        .rows(*global)
                        .map(|rows| rows.iter().any(|row| iterate::matches(row, &keys))),
                };
                frame.longs[dest.index()] =
                    i64::from(found.map_err(|e| self.global_error(e, *global, place))?);
            }
            Inst::Delete { global, keys } => {
                let keys = self.slice(frame, *global, keys);
                let deleted = match full(&keys) {
                    Some(keys) => self.globals.delete(*global, &keys),
                    None => self.globals.rows(*global).and_then(|rows| {
                        rows.iter()
                            .filter(|row| iterate::matches(row, &keys))
                            .try_for_each(|row| self.globals.delete(*global, &row.keys))
                    }),
                };
                deleted.map_err(|e| self.global_error(e, *global, place))?;
            }
            Inst::Clear { global } => {
                self.globals.clear(*global).map_err(|e| self.global_error(e, *global, place))?;
            }
            Inst::Aggregate { element, value } => {
                let keys = self.keys(frame, element);
                let value = self.long(frame, *value);
                self.globals
                    .aggregate(element.global, &keys, value)
                    .map_err(|e| self.global_error(e, element.global, place))?;
            }
            Inst::Stat { dest, op, global, keys } => {
                let keys = self.slice(frame, *global, keys);
                let cell = self.statistic(*global, &keys, place)?;
                let value =
                    cell.extract(*op).filter(|_| cell.count > 0 || matches!(op, StatOp::Count | StatOp::Sum));
                let Some(value) = value else { return Err(RuntimeError::new("empty aggregate", place)) };
                frame.longs[dest.index()] = value;
            }
            Inst::Bucket { dest, hist: _, element, index } => {
                let keys: Vec<Option<Value>> = self.keys(frame, element).into_iter().map(Some).collect();
                let cell = self.filled(element.global, &keys, place)?;
                let index = self.long(frame, *index);
                let bucket = usize::try_from(index).ok().and_then(|index| cell.buckets.get(index));
                let Some(count) = bucket else {
                    return Err(RuntimeError::new("histogram index out of range", place));
                };
                frame.longs[dest.index()] = *count;
            }
            Inst::PrintHist { hist, element } => {
                let text = self.histogram(frame, *hist, element, place)?;
                self.host.sink().print(&text);
            }
            Inst::HistText { dest, hist, element } => {
                let text = self.histogram(frame, *hist, element, place)?;
                self.store(frame, Dest::Str(*dest), Value::Str(text));
            }
            Inst::Format { dest, format, args } => {
                let text = self.formatted(frame, *format, args);
                self.store(frame, Dest::Str(*dest), Value::Str(text));
            }
            Inst::Print { format, args } => {
                let text = self.formatted(frame, *format, args);
                self.host.sink().print(&text);
            }
            Inst::Iterate { iter, global, keys, sort, limit } => {
                let keys = self.slice(frame, *global, keys);
                let limit = limit.map(|limit| self.long(frame, limit));
                let mut rows =
                    self.globals.rows(*global).map_err(|e| self.global_error(e, *global, place))?;
                frame.iters[iter.index()] = Iteration::array(&mut rows, &keys, *sort, limit);
                let declared = &self.module.globals[global.index()];
                let is_seen = declared.ordered || declared.wrap;
                if sort.is_some() && is_seen && matches!(declared.ty, GlobalTy::Value(_)) {
                    let order = rows.into_iter().map(|row| row.keys).collect();
                    let left = self.globals.reorder(*global, order);
                    left.map_err(|e| self.global_error(e, *global, place))?;
                }
            }
            Inst::IterateHist { iter, hist: _, element, sort, limit } => {
                let keys: Vec<Option<Value>> = self.keys(frame, element).into_iter().map(Some).collect();
                let cell = self.filled(element.global, &keys, place)?;
                let limit = limit.map(|limit| self.long(frame, limit));
                frame.iters[iter.index()] = Iteration::histogram(&cell, *sort, limit);
            }
            Inst::Caught { dest } => {
                let text = Value::Str(frame.caught.clone());
                self.store(frame, Dest::Str(*dest), text);
            }
            // What it ends, the evaluator does not count either.
            Inst::Enter => {}
            Inst::Tick { count } => match self.actions.checked_sub(u64::from(*count)) {
                Some(left) => self.actions = left,
                None => {
                    self.actions = 0;
                    return Err(RuntimeError::out_of_actions(place));
                }
            },
            Inst::Context { dest, source, width } => {
                frame.longs[dest.index()] = width.apply(self.host.context(*source));
            }
            Inst::Load { dest, space, address, offset, width, on_fault } => {
                let address = self.long(frame, *address).wrapping_add(i64::from(*offset)) as u64;
                let mut bytes = [0; 8];
                let read = self.host.read(*space, address, &mut bytes[..usize::from(width.bytes)]);
                if let OnFault::Flag(flag) = on_fault {
                    frame.longs[flag.index()] = i64::from(!read);
                } else if !read && *on_fault == OnFault::Raise {
                    return Err(self.fault(ErrorKind::read_fault(*space), address, place));
                }
                frame.longs[dest.index()] = if read { width.apply(i64::from_le_bytes(bytes)) } else { 0 };
            }
            Inst::Emit { record, values } => {
                let types = &self.module.records[record.index()].fields;
                let values = values.iter().zip(types);
                let values = values.map(|(value, ty)| self.fit(self.arg(frame, *value), *ty)).collect();
                self.host.emit(*record, values);
            }
            Inst::CallFunction { .. } => panic!("this is a bug: a call is control flow"),
        }
        Ok(())
    }

    pub(super) fn fault(&self, kind: ErrorKind, address: u64, place: PlaceId) -> RuntimeError {
        RuntimeError::new(error_text(self.module, kind, address), place)
    }

    fn keys(&mut self, frame: &Frame<'_>, element: &Element) -> Vec<Value> {
        let types = &self.module.globals[element.global.index()].keys;
        element.keys.iter().zip(types).map(|(key, ty)| self.fit(self.arg(frame, *key), *ty)).collect()
    }

    fn slice(&mut self, frame: &Frame<'_>, global: GlobalId, keys: &[Key]) -> Vec<Option<Value>> {
        let types = &self.module.globals[global.index()].keys;
        let mut key = |(key, ty): (&Key, &Ty)| key.map(|key| self.fit(self.arg(frame, key), *ty));
        keys.iter().zip(types).map(&mut key).collect()
    }

    /// A value cut to what the global holds.
    fn cut(&mut self, element: &Element, value: Value) -> Value {
        match self.module.globals[element.global.index()].ty {
            GlobalTy::Value(ty) => self.fit(value, ty),
            GlobalTy::Stats(_) => value,
        }
    }

    /// A statistic, or all that a slice matches, merged.
    fn statistic(
        &mut self,
        global: GlobalId,
        keys: &[Option<Value>],
        place: PlaceId,
    ) -> Result<Cell, RuntimeError> {
        let cell = match full(keys) {
            Some(keys) => self.globals.cell(global, &keys).map(Option::unwrap_or_default),
            None => self.globals.rows(global).map(|rows| {
                let matching = rows.iter().filter(|row| iterate::matches(row, keys));
                let cells = matching.filter_map(|row| match &row.item {
                    Item::Cell(cell) => Some(cell.clone()),
                    Item::Value(_) => None,
                });
                Cell::total(&cells.collect::<Vec<_>>())
            }),
        };
        cell.map_err(|e| self.global_error(e, global, place))
    }

    /// A statistic whose histogram has values.
    fn filled(
        &mut self,
        global: GlobalId,
        keys: &[Option<Value>],
        place: PlaceId,
    ) -> Result<Cell, RuntimeError> {
        let cell = self.statistic(global, keys, place)?;
        if cell.buckets.iter().all(|count| *count == 0) {
            return Err(RuntimeError::new("empty aggregate", place));
        }
        Ok(cell)
    }

    fn histogram(
        &mut self,
        frame: &Frame<'_>,
        hist: HistOp,
        element: &Element,
        place: PlaceId,
    ) -> Result<Vec<u8>, RuntimeError> {
        let keys: Vec<Option<Value>> = self.keys(frame, element).into_iter().map(Some).collect();
        let cell = self.filled(element.global, &keys, place)?;
        Ok(histogram::histogram(hist, &cell))
    }

    fn formatted(&self, frame: &Frame<'_>, id: FormatId, args: &[Arg]) -> Vec<u8> {
        let args: Vec<Value> = args.iter().map(|arg| self.arg(frame, *arg)).collect();
        format::format(&self.module.formats[id.index()], &args)
    }

    /// `name=0x… name=0x…`, as SystemTap prints `$$vars`.
    fn variables(&self, list: u32, values: &[(i64, i64)]) -> String {
        let names = self.sites.get(self.site as usize).and_then(|site| site.variables.get(list as usize));
        let mut out = String::new();
        for (n, (value, flag)) in values.iter().enumerate() {
            if n > 0 {
                out.push(' ');
            }
            out.push_str(names.and_then(|names| names.get(n)).map_or("?", String::as_str));
            match flag {
                0 => out.push_str(&format!("=0x{value:x}")),
                2 => out.push_str("={...}"),
                3 => out.push_str("=[...]"),
                _ => out.push_str("=?"),
            }
        }
        out
    }
}

/// All keys, when none is `*`.
fn full(keys: &[Option<Value>]) -> Option<Vec<Value>> {
    keys.iter().cloned().collect()
}
