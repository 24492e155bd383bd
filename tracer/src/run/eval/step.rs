//! Instructions that do not leave the function.

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, BinOp, CmpOp, Dest, Element, GlobalTy, Inst, Key, PlaceId, Ty, Width};
use tracer_common::stat::{Cell, StatOp};

use super::iterate::{self, Iteration};
use super::{Evaluator, Frame, RuntimeError, string};
use crate::run::globals::apply;
use crate::run::output::{format, histogram};
use crate::run::value::Value;

impl Evaluator<'_> {
    pub(super) fn step(
        &mut self,
        frame: &mut Frame,
        capacities: &[u16],
        inst: &Inst,
        place: PlaceId,
    ) -> Result<(), RuntimeError> {
        match inst {
            Inst::Copy { dest, value } => frame.longs[dest.index()] = self.long(frame, *value),
            Inst::Bin { op, dest, left, right } => {
                let (left, right) = (self.long(frame, *left), self.long(frame, *right));
                let Some(value) = binary(*op, left, right) else {
                    return Err(self.error("division by 0", place));
                };
                frame.longs[dest.index()] = value;
            }
            Inst::Cmp { op, dest, left, right } => {
                let order = self.long(frame, *left).cmp(&self.long(frame, *right));
                frame.longs[dest.index()] = i64::from(holds(*op, order));
            }
            Inst::Extend { dest, value, width } => {
                frame.longs[dest.index()] = extend(self.long(frame, *value), *width);
            }
            Inst::StrCopy { dest, value } => {
                let value = Value::Str(self.string(frame, *value));
                self.store(frame, capacities, Dest::Str(*dest), value);
            }
            Inst::StrConcat { dest, left, right } => {
                let mut text = self.string(frame, *left);
                text.extend(self.string(frame, *right));
                self.store(frame, capacities, Dest::Str(*dest), Value::Str(text));
            }
            Inst::StrCmp { op, dest, left, right } => {
                let order = self.string(frame, *left).cmp(&self.string(frame, *right));
                frame.longs[dest.index()] = i64::from(holds(*op, order));
            }
            Inst::Call { intrinsic, dest, args } => {
                let args: Vec<Value> = args.iter().map(|arg| self.arg(frame, *arg)).collect();
                if let (Some(value), Some(dest)) = (self.intrinsic(*intrinsic, &args), dest) {
                    self.store(frame, capacities, *dest, value);
                }
            }
            Inst::Site { dest } => frame.longs[dest.index()] = i64::from(self.site),
            Inst::SiteText { dest, fact } => {
                let text = self.sites.get(self.site as usize).map_or("", |site| site.fact(*fact));
                let value = Value::Str(text.as_bytes().to_vec());
                self.store(frame, capacities, Dest::Str(*dest), value);
            }
            Inst::VarsText { dest, list, values } => {
                let values: Vec<(i64, i64)> = values
                    .iter()
                    .map(|(value, flag)| (self.long(frame, *value), self.long(frame, *flag)))
                    .collect();
                let text = self.variables(*list, &values);
                self.store(frame, capacities, Dest::Str(*dest), Value::Str(text.into_bytes()));
            }
            Inst::Get { dest, element } => {
                let keys = self.keys(frame, element);
                let found = self.globals.get(element.global, &keys);
                let found = found.map_err(|e| self.global_error(e, element.global, place))?;
                let value = found.unwrap_or_else(|| match dest {
                    Dest::Long(_) => Value::Long(0),
                    Dest::Str(_) => Value::Str(Vec::new()),
                });
                self.store(frame, capacities, *dest, value);
            }
            Inst::Set { element, value } => {
                let keys = self.keys(frame, element);
                let value = self.cut(element, self.arg(frame, *value));
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
                let keys = self.slice(frame, keys);
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
                let keys = self.slice(frame, keys);
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
                let keys = self.slice(frame, keys);
                let cell = self.statistic(*global, &keys, place)?;
                let value =
                    cell.extract(*op).filter(|_| cell.count > 0 || matches!(op, StatOp::Count | StatOp::Sum));
                let Some(value) = value else { return Err(self.error("empty aggregate", place)) };
                frame.longs[dest.index()] = value;
            }
            Inst::Bucket { dest, hist: _, element, index } => {
                let keys: Vec<Option<Value>> = self.keys(frame, element).into_iter().map(Some).collect();
                let cell = self.statistic(element.global, &keys, place)?;
                let index = self.long(frame, *index);
                if cell.buckets.is_empty() {
                    return Err(self.error("empty aggregate", place));
                }
                let bucket = usize::try_from(index).ok().and_then(|index| cell.buckets.get(index));
                let Some(count) = bucket else {
                    return Err(self.error("histogram index out of range", place));
                };
                frame.longs[dest.index()] = *count;
            }
            Inst::PrintHist { hist, element } => {
                let text = self.histogram(frame, *hist, element, place)?;
                self.host.sink().print(&text);
            }
            Inst::HistText { dest, hist, element } => {
                let text = self.histogram(frame, *hist, element, place)?;
                self.store(frame, capacities, Dest::Str(*dest), Value::Str(text));
            }
            Inst::Format { dest, format, args } => {
                let text = self.formatted(frame, *format, args);
                self.store(frame, capacities, Dest::Str(*dest), Value::Str(text));
            }
            Inst::Print { format, args } => {
                let text = self.formatted(frame, *format, args);
                self.host.sink().print(&text);
            }
            Inst::Iterate { iter, global, keys, sort, limit } => {
                let keys = self.slice(frame, keys);
                let limit = limit.map(|limit| self.long(frame, limit));
                let rows = self.globals.rows(*global).map_err(|e| self.global_error(e, *global, place))?;
                frame.iters[iter.index()] = Iteration::array(rows, &keys, *sort, limit);
            }
            Inst::IterateHist { iter, hist: _, element, sort, limit } => {
                let keys: Vec<Option<Value>> = self.keys(frame, element).into_iter().map(Some).collect();
                let cell = self.statistic(element.global, &keys, place)?;
                let limit = limit.map(|limit| self.long(frame, limit));
                frame.iters[iter.index()] = Iteration::histogram(&cell, *sort, limit);
            }
            Inst::Caught { dest } => {
                let text = Value::Str(frame.caught.clone().into_bytes());
                self.store(frame, capacities, Dest::Str(*dest), text);
            }
            Inst::Tick { count } => {
                self.actions += u64::from(*count);
                if self.actions > u64::from(self.module.limits.action_interruptible) {
                    return Err(self.error("MAXACTION exceeded", place));
                }
            }
            Inst::CallFunction { .. } | Inst::Context { .. } | Inst::Load { .. } | Inst::Emit { .. } => {
                panic!("this is a bug: {inst:?} in the user domain (ir::verify)")
            }
        }
        Ok(())
    }

    fn keys(&self, frame: &Frame, element: &Element) -> Vec<Value> {
        let types = &self.module.globals[element.global.index()].keys;
        element.keys.iter().zip(types).map(|(key, ty)| fit(self.arg(frame, *key), *ty)).collect()
    }

    fn slice(&self, frame: &Frame, keys: &[Key]) -> Vec<Option<Value>> {
        keys.iter().map(|key| key.map(|key| self.arg(frame, key))).collect()
    }

    /// A value cut to what the global holds.
    fn cut(&self, element: &Element, value: Value) -> Value {
        match self.module.globals[element.global.index()].ty {
            GlobalTy::Value(ty) => fit(value, ty),
            GlobalTy::Stats(_) => value,
        }
    }

    /// A statistic, or all that a slice matches, merged.
    fn statistic(
        &mut self,
        global: tracer_common::ir::GlobalId,
        keys: &[Option<Value>],
        place: PlaceId,
    ) -> Result<Cell, RuntimeError> {
        let cell = match full(keys) {
            Some(keys) => self.globals.cell(global, &keys).map(Option::unwrap_or_default),
            None => self.globals.rows(global).map(|rows| {
                let mut cell = Cell::default();
                for row in rows.iter().filter(|row| iterate::matches(row, keys)) {
                    if let crate::run::globals::Item::Cell(other) = &row.item {
                        cell.merge(other);
                    }
                }
                cell
            }),
        };
        cell.map_err(|e| self.global_error(e, global, place))
    }

    fn histogram(
        &mut self,
        frame: &Frame,
        hist: tracer_common::stat::HistOp,
        element: &Element,
        place: PlaceId,
    ) -> Result<Vec<u8>, RuntimeError> {
        let keys: Vec<Option<Value>> = self.keys(frame, element).into_iter().map(Some).collect();
        let cell = self.statistic(element.global, &keys, place)?;
        if cell.buckets.iter().all(|count| *count == 0) {
            return Err(self.error("empty aggregate", place));
        }
        Ok(histogram::histogram(hist, &cell))
    }

    fn formatted(&self, frame: &Frame, id: tracer_common::ir::FormatId, args: &[Arg]) -> Vec<u8> {
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
                _ => out.push_str("=?"),
            }
        }
        out
    }

    fn intrinsic(&mut self, intrinsic: Intrinsic, args: &[Value]) -> Option<Value> {
        let long = |n: usize| args.get(n).map_or(0, Value::long);
        let text = |n: usize| args.get(n).map_or(&b""[..], Value::bytes);
        Some(match intrinsic {
            Intrinsic::Pid => Value::Long(self.host.pid()),
            Intrinsic::Tid => Value::Long(self.host.tid()),
            Intrinsic::Uid => Value::Long(self.host.uid()),
            Intrinsic::Gid => Value::Long(self.host.gid()),
            Intrinsic::Execname => Value::Str(self.host.execname()),
            Intrinsic::Cpu => Value::Long(self.host.cpu()),
            Intrinsic::MonotonicNs => Value::Long(self.host.monotonic_ns()),
            Intrinsic::RealtimeNs => Value::Long(self.host.realtime_ns()),
            Intrinsic::Target => Value::Long(self.host.target()),
            Intrinsic::Strlen => Value::Long(text(0).len() as i64),
            Intrinsic::Substr => Value::Str(string::substr(text(0), long(1), long(2))),
            Intrinsic::Isinstr => Value::Long(i64::from(string::contains(text(0), text(1)))),
            Intrinsic::Stringat => {
                let byte = usize::try_from(long(1)).ok().and_then(|at| text(0).get(at).copied());
                Value::Long(i64::from(byte.unwrap_or(0)))
            }
            Intrinsic::Strtol => Value::Long(string::strtol(text(0), long(1))),
            Intrinsic::Log => {
                let mut line = text(0).to_vec();
                line.push(b'\n');
                self.host.sink().print(&line);
                return None;
            }
            Intrinsic::Warn => {
                let line = format!("WARNING: {}", String::from_utf8_lossy(text(0)));
                self.host.sink().message(&line);
                return None;
            }
            Intrinsic::Exit => {
                self.host.exit();
                return None;
            }
            Intrinsic::TaskCurrent
            | Intrinsic::UserString
            | Intrinsic::UserStringN
            | Intrinsic::KernelString
            | Intrinsic::KernelStringN => {
                panic!("this is a bug: {} in the user domain (ir::verify)", intrinsic.name())
            }
        })
    }
}

/// All keys, when none is `*`.
fn full(keys: &[Option<Value>]) -> Option<Vec<Value>> {
    keys.iter().cloned().collect()
}

/// A string cut to a capacity.
fn fit(value: Value, ty: Ty) -> Value {
    match (value, ty) {
        (Value::Str(mut bytes), Ty::Str(capacity)) => {
            bytes.truncate(usize::from(capacity) - 1);
            Value::Str(bytes)
        }
        (value, _) => value,
    }
}

/// Arithmetic; `None` for a division by 0.
pub(super) fn binary(op: BinOp, left: i64, right: i64) -> Option<i64> {
    Some(match op {
        BinOp::Add => left.wrapping_add(right),
        BinOp::Sub => left.wrapping_sub(right),
        BinOp::Mul => left.wrapping_mul(right),
        BinOp::Div => (right != 0).then(|| left.wrapping_div(right))?,
        BinOp::Rem => (right != 0).then(|| left.wrapping_rem(right))?,
        BinOp::And => left & right,
        BinOp::Or => left | right,
        BinOp::Xor => left ^ right,
        BinOp::Shl => left.wrapping_shl(right as u32 & 63),
        BinOp::Sar => left.wrapping_shr(right as u32 & 63),
        BinOp::Shr => (left as u64).wrapping_shr(right as u32 & 63) as i64,
    })
}

fn holds(op: CmpOp, order: std::cmp::Ordering) -> bool {
    match op {
        CmpOp::Eq => order.is_eq(),
        CmpOp::Ne => order.is_ne(),
        CmpOp::Lt => order.is_lt(),
        CmpOp::Le => order.is_le(),
        CmpOp::Gt => order.is_gt(),
        CmpOp::Ge => order.is_ge(),
    }
}

fn extend(value: i64, width: Width) -> i64 {
    match (width.bytes, width.signed) {
        (1, true) => i64::from(value as i8),
        (2, true) => i64::from(value as i16),
        (4, true) => i64::from(value as i32),
        (1, false) => i64::from(value as u8),
        (2, false) => i64::from(value as u16),
        (4, false) => i64::from(value as u32),
        _ => value,
    }
}
