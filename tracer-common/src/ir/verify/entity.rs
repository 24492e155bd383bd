//! The tables of the module, and what a function is outside of its blocks.

use super::*;
use crate::format::{Part, Size};
use crate::limits::Limits;
use crate::record;
use crate::stat::HistOp;
use alloc::collections::BTreeSet;

/// Largest width or precision that is written in a format.
const MAX_SIZE: u32 = 1 << 16;

impl Verifier<'_> {
    pub(super) fn entities(&mut self) {
        let module = self.module;
        let mut limits = Limits::STAP;
        for (name, value) in module.limits.all() {
            if let Err(message) = limits.set(name, value) {
                self.fail(message);
            }
        }
        for (n, bytes) in module.strings.iter().enumerate() {
            self.at = Location::String(StringId(n as u32));
            self.check(!bytes.contains(&0), "a literal holds no NUL");
            self.check(bytes.len() < usize::from(MAX_CAPACITY), "a literal is at most 4095 bytes");
        }
        for (n, format) in module.formats.iter().enumerate() {
            self.at = Location::Format(FormatId(n as u32));
            for part in format {
                if let Part::Conversion(conversion) = part {
                    for size in [conversion.width, conversion.precision].into_iter().flatten() {
                        let sane = !matches!(size, Size::Fixed(size) if size > MAX_SIZE);
                        self.check(sane, "a width or precision is at most 65536");
                    }
                }
            }
        }
        for (n, global) in module.globals.iter().enumerate() {
            self.at = Location::Global(GlobalId(n as u32));
            self.global_itself(global);
        }
        self.at = Location::Module;
        self.check(module.records.len() < usize::from(record::EXIT), "too many records");
        for (n, record) in module.records.iter().enumerate() {
            self.at = Location::Record(RecordId(n as u32));
            self.record(record);
        }
        for (n, handler) in module.handlers.iter().enumerate() {
            self.at = Location::Handler(n as u32);
            if let When::Timer { period, .. } = handler.when {
                self.check(period > 0, "the period of a timer is not 0");
            }
            if let Some(function) = self.function_of(handler.function) {
                self.check(function.domain == Domain::User, "a handler is a user function");
                self.check(function.params.is_empty(), "a handler has no parameters");
                self.check(function.result.is_none(), "a handler has no result");
            }
        }
    }

    fn global_itself(&mut self, global: &Global) {
        let array = !global.keys.is_empty();
        for ty in &global.keys {
            self.ty(*ty);
        }
        self.check(global.keys.len() <= 255, "an array has at most 255 keys");
        self.check(global.max_entries > 0, "`max` is not 0");
        self.check(array || !global.wrap && !global.ordered, "only arrays are wrapped or ordered");
        let plain = array && !global.wrap && !global.ordered && matches!(global.ty, GlobalTy::Value(_));
        self.check(plain || !global.forgets, "only arrays of values, neither wrapped nor ordered, forget");
        match &global.ty {
            GlobalTy::Value(ty) => {
                self.ty(*ty);
                match (&global.init, ty) {
                    (None, _) | (Some(Init::Long(_)), Ty::Long) => {}
                    (Some(Init::Str(bytes)), Ty::Str(capacity)) => {
                        let fits = bytes.len() < usize::from(*capacity) && !bytes.contains(&0);
                        self.check(fits, "the initial value does not fit");
                    }
                    _ => self.fail("the initial value is of another type"),
                }
                self.check(!array || global.init.is_none(), "an array has no initial value");
            }
            GlobalTy::Stats(fields) => {
                self.check(global.init.is_none(), "a statistic has no initial value");
                self.check(fields.variance.is_none_or(|shift| shift < 63), "the shift is less than 63");
                if let Some(hist) = fields.hist {
                    self.hist_itself(hist);
                }
            }
        }
    }

    pub(super) fn hist_itself(&mut self, hist: HistOp) {
        if let HistOp::Linear { low, high, width } = hist {
            let sane = width > 0 && low <= high;
            // Only then is the number of buckets defined.
            let count = if sane { (i128::from(high) - i128::from(low)) / i128::from(width) + 3 } else { 0 };
            let sane = sane && count <= MAX_BUCKETS as i128;
            self.check(sane, "a linear histogram has low <= high, width > 0 and at most 65536 buckets");
        }
    }

    fn record(&mut self, record: &RecordDef) {
        for ty in &record.fields {
            self.ty(*ty);
        }
        let Some(function) = self.function_of(record.continuation) else { return };
        self.check(function.domain == Domain::User, "a continuation is a user function");
        self.check(function.result.is_none(), "a continuation has no result");
        if function.params.len() != record.fields.len() {
            return self.fail("the continuation has one parameter for each field");
        }
        for (number, (param, field)) in function.params.iter().zip(&record.fields).enumerate() {
            let fits = match (param, field) {
                (Dest::Long(_), Ty::Long) => true,
                (Dest::Str(var), Ty::Str(capacity)) => {
                    // A register that does not exist is told elsewhere.
                    function.strings.get(var.index()).is_none_or(|own| own >= capacity)
                }
                _ => false,
            };
            if !fits {
                self.fail(format!("parameter {param} of the continuation does not hold field {number}"));
            }
        }
    }

    pub(super) fn function(&mut self, id: FuncId) {
        self.at = Location::Function(id);
        let function = &self.module.functions[id.index()];
        for (count, what) in [
            (function.longs, "long registers"),
            (function.strings.len() as u32, "string registers"),
            (function.iters, "iterators"),
        ] {
            if count > MAX_REGISTERS {
                self.fail(format!("{count} {what} are more than {MAX_REGISTERS}"));
            }
        }
        for capacity in &function.strings {
            self.capacity(*capacity);
        }
        if let Some(ty) = function.result {
            self.ty(ty);
        }
        let user = function.domain == Domain::User;
        self.check(!user || function.context == ContextKind::None, "a user function has no context");
        let mut params = BTreeSet::new();
        for param in &function.params {
            let (exists, key) = match param {
                Dest::Long(var) => (var.0 < function.longs, (false, var.0)),
                Dest::Str(var) => (var.index() < function.strings.len(), (true, var.0)),
            };
            if !exists {
                self.fail(format!("{param} does not exist"));
            }
            if !params.insert(key) {
                self.fail(format!("{param} is a parameter twice"));
            }
        }
        let sorted = function.locks.windows(2).all(|pair| pair[0] < pair[1]);
        self.check(sorted, "locks are in ascending order");
        for lock in &function.locks {
            if let Some(global) = self.global(*lock)
                && !global.shared
            {
                self.fail(format!("{lock} is locked but not shared"));
            }
        }
        if function.blocks.is_empty() {
            return self.fail("a function has an entry block");
        }
        self.blocks(id, function);
        self.flow(id, function);
        self.guard(id, function);
    }
}
