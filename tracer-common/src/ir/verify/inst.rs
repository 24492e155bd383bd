//! Blocks and instructions: operands, types, domains.

use super::*;
use crate::format::{ConversionKind, Part, Size};
use crate::intrinsic::{Domains, Intrinsic, Kind};
use crate::layout::CellLayout;
use crate::regex::{self, Table};
use crate::stat::{HistOp, StatFields, StatOp};
use alloc::collections::BTreeMap;

/// What an iterator visits.
#[derive(Clone, Copy, PartialEq)]
enum Visited {
    Array(GlobalId),
    Hist(GlobalId, HistOp),
}

impl<'m> Verifier<'m> {
    pub(super) fn blocks(&mut self, id: FuncId, function: &'m Function) {
        let mut visited = BTreeMap::new();
        for (number, block) in function.blocks.iter().enumerate() {
            for (index, (inst, _)) in block.insts.iter().enumerate() {
                self.at = Location::Inst(id, Block(number as u32), index as u32);
                let (iter, what) = match inst {
                    Inst::Iterate { iter, global, .. } => (*iter, Visited::Array(*global)),
                    Inst::IterateHist { iter, hist, element, .. } => {
                        (*iter, Visited::Hist(element.global, *hist))
                    }
                    _ => continue,
                };
                if *visited.entry(iter).or_insert(what) != what {
                    self.fail(format!("{iter} visits something else elsewhere"));
                }
            }
        }
        for (number, block) in function.blocks.iter().enumerate() {
            let number = Block(number as u32);
            self.at = Location::Block(id, number);
            if let Some(catch) = block.catch {
                self.block(function, catch);
            }
            for (index, (inst, place)) in block.insts.iter().enumerate() {
                self.at = Location::Inst(id, number, index as u32);
                self.place(*place);
                inst.visit(&mut Operands { verifier: self, function });
                self.inst(function, inst);
            }
            self.at = Location::Inst(id, number, block.insts.len() as u32);
            self.place(block.term.1);
            block.term.0.visit(&mut Operands { verifier: self, function });
            self.term(function, &block.term.0, &visited);
        }
    }

    fn block(&mut self, function: &Function, block: Block) {
        if block.index() >= function.blocks.len() {
            self.fail(format!("{block} does not exist"));
        }
    }

    fn inst(&mut self, function: &'m Function, inst: &'m Inst) {
        match inst {
            Inst::Copy { .. }
            | Inst::Bin { .. }
            | Inst::Cmp { .. }
            | Inst::StrCopy { .. }
            | Inst::StrConcat { .. }
            | Inst::StrCmp { .. }
            | Inst::Site { .. }
            | Inst::SiteText { .. }
            | Inst::Caught { .. }
            | Inst::Enter
            | Inst::Tick { .. } => {}
            Inst::Extend { width, .. } => self.width(*width),
            Inst::Call { intrinsic, dest, args } => self.call(function, *intrinsic, dest.as_ref(), args),
            Inst::CallFunction { function: callee, dest, args } => {
                self.call_function(function, *callee, dest.as_ref(), args);
            }
            Inst::Context { source, width, .. } => {
                self.only(function, Domain::Kernel);
                self.width(*width);
                let context = function.context;
                match source {
                    Source::Register(number) => {
                        let has = matches!(context, ContextKind::Registers | ContextKind::Perf);
                        self.check(has, "this context has no registers");
                        self.check(*number <= 16, "the DWARF number of a register is at most 16");
                    }
                    Source::Argument(_) | Source::Result => {
                        self.check(context == ContextKind::Words, "this context has no arguments");
                    }
                }
            }
            Inst::Load { width, .. } => self.width(*width),
            Inst::VarsText { .. } => self.only(function, Domain::User),
            Inst::Get { dest, element } => {
                if let Some(ty) = self.value(function, element) {
                    self.same(ty, kind_of_dest(dest), "result");
                }
            }
            Inst::Set { element, value } => {
                if let Some(ty) = self.value(function, element) {
                    self.same(ty, kind_of(value), "value");
                }
            }
            Inst::Update { element, .. } => {
                if let Some(ty) = self.value(function, element) {
                    self.check(ty == Ty::Long, "only longs are updated");
                }
            }
            Inst::Contains { global, keys, .. } => {
                self.slice(function, *global, keys);
                self.check(!keys.is_empty(), "only arrays contain something");
            }
            Inst::Delete { global, keys } => {
                self.slice(function, *global, keys);
                self.check(!keys.is_empty(), "only elements of arrays are deleted: see `clear`");
            }
            Inst::Clear { global } => {
                self.touch(function, *global);
            }
            Inst::Aggregate { element, .. } => {
                self.stats(function, element);
            }
            Inst::Stat { op, global, keys, .. } => {
                if let Some(global) = self.slice(function, *global, keys) {
                    match &global.ty {
                        GlobalTy::Stats(fields) => self.kept(fields, *op),
                        GlobalTy::Value(_) => self.fail("this global is not a statistic"),
                    }
                }
            }
            Inst::Bucket { hist, element, .. } => self.hist(function, *hist, element),
            Inst::PrintHist { hist, element } | Inst::HistText { hist, element, .. } => {
                self.only(function, Domain::User);
                self.hist(function, *hist, element);
            }
            Inst::Format { format, args, .. } => self.format(*format, args),
            Inst::Print { format, args } => {
                self.only(function, Domain::User);
                self.format(*format, args);
            }
            Inst::Emit { record, values } => {
                self.only(function, Domain::Kernel);
                if let Some(record) = self.entry(&self.module.records, record.index(), *record) {
                    let expected = record.fields.iter().copied();
                    self.kinds(expected, values.iter().map(kind_of), "field");
                }
            }
            Inst::Iterate { global, keys, sort, .. } => {
                if let Some(global) = self.slice(function, *global, keys) {
                    self.check(!global.keys.is_empty(), "only arrays are visited");
                    self.sort(sort.as_ref(), global.keys.len(), Some(&global.ty));
                }
            }
            Inst::IterateHist { hist, element, sort, .. } => {
                self.only(function, Domain::User);
                self.hist(function, *hist, element);
                self.sort(sort.as_ref(), 1, None);
            }
        }
    }

    fn term(&mut self, function: &'m Function, term: &Term, visited: &BTreeMap<Iter, Visited>) {
        for block in term.successors() {
            self.block(function, block);
        }
        match term {
            Term::Jump(_) | Term::Branch { .. } | Term::Raise(_) | Term::Next | Term::Return(None) => {}
            Term::Return(Some(value)) => match function.result {
                Some(ty) => self.same(ty, kind_of(value), "returned value"),
                None => self.fail("this function returns nothing"),
            },
            Term::IterNext { iter, keys, value, .. } => {
                let value = value.as_ref().map(kind_of_dest);
                match visited.get(iter) {
                    // Nothing starts it: told by the control flow.
                    None => {}
                    Some(Visited::Hist(..)) => {
                        self.kinds([Ty::Long].into_iter(), keys.iter().map(kind_of_dest), "key");
                        self.check(value.is_none_or(|ty| ty == Ty::Long), "the value is a long");
                    }
                    Some(Visited::Array(global)) => {
                        let Some(global) = self.module.globals.get(global.index()) else { return };
                        self.kinds(global.keys.iter().copied(), keys.iter().map(kind_of_dest), "key");
                        match (&global.ty, value) {
                            (_, None) => {}
                            (GlobalTy::Value(ty), Some(value)) => self.same(*ty, value, "value"),
                            (GlobalTy::Stats(_), Some(_)) => {
                                self.fail("a statistic is not put into a register");
                            }
                        }
                    }
                }
            }
        }
    }

    fn only(&mut self, function: &Function, domain: Domain) {
        if function.domain != domain {
            self.fail(format!("only in {domain} functions"));
        }
    }

    fn width(&mut self, width: Width) {
        self.check(width.is_valid(), "a width is 1, 2, 4 or 8 bytes");
    }

    /// A global that an instruction touches.
    fn touch(&mut self, function: &Function, id: GlobalId) -> Option<&'m Global> {
        let global = self.global(id)?;
        if function.domain == Domain::Kernel && !global.shared {
            self.fail(format!("{id} is not shared with kernel functions"));
        }
        Some(global)
    }

    fn element(&mut self, function: &Function, element: &Element) -> Option<&'m Global> {
        let global = self.touch(function, element.global)?;
        self.kinds(global.keys.iter().copied(), element.keys.iter().map(kind_of), "key");
        Some(global)
    }

    fn slice(&mut self, function: &Function, id: GlobalId, keys: &[Key]) -> Option<&'m Global> {
        let global = self.touch(function, id)?;
        // `*` is of any kind.
        let given = keys.iter().zip(&global.keys).map(|(key, ty)| key.as_ref().map_or(*ty, kind_of));
        if keys.len() == global.keys.len() {
            self.kinds(global.keys.iter().copied(), given, "key");
        } else {
            self.fail(format!("{} keys instead of {}", keys.len(), global.keys.len()));
        }
        Some(global)
    }

    /// The type of an element that is not a statistic.
    fn value(&mut self, function: &Function, element: &Element) -> Option<Ty> {
        match self.element(function, element)?.ty {
            GlobalTy::Value(ty) => Some(ty),
            GlobalTy::Stats(_) => {
                self.fail("this global is a statistic");
                None
            }
        }
    }

    fn stats(&mut self, function: &Function, element: &Element) -> Option<&'m StatFields> {
        match &self.element(function, element)?.ty {
            GlobalTy::Stats(fields) => Some(fields),
            GlobalTy::Value(_) => {
                self.fail("this global is not a statistic");
                None
            }
        }
    }

    fn hist(&mut self, function: &Function, hist: HistOp, element: &Element) {
        if let Some(fields) = self.stats(function, element) {
            self.check(fields.hist == Some(hist), "the statistic does not keep this histogram");
        }
    }

    fn kept(&mut self, fields: &StatFields, op: StatOp) {
        // The buckets of an insane histogram cannot be counted; that is told at the global.
        let buckets = fields.hist.is_some();
        let cell = CellLayout::new(&StatFields { hist: None, ..*fields });
        let counted = fields.count || fields.min || fields.max || fields.variance.is_some() || buckets;
        let counted = counted || cell.count.is_some() && !buckets;
        let kept = match op {
            StatOp::Count => counted,
            StatOp::Sum => fields.sum,
            StatOp::Min => fields.min,
            StatOp::Max => fields.max,
            StatOp::Avg => fields.sum && counted,
            StatOp::Variance => fields.variance.is_some(),
        };
        if !kept {
            self.fail(format!("the statistic does not keep what {op} needs"));
        }
    }

    fn sort(&mut self, sort: Option<&(SortBy, bool)>, keys: usize, ty: Option<&GlobalTy>) {
        match sort {
            None | Some((SortBy::Value, _)) => {}
            Some((SortBy::Key(number), _)) => {
                self.check(usize::from(*number) < keys, "there is no such key to sort by");
            }
            Some((SortBy::Stat(op), _)) => match ty {
                Some(GlobalTy::Stats(fields)) => self.kept(fields, *op),
                _ => self.fail("only statistics are sorted by a statistic"),
            },
        }
    }

    fn call(&mut self, function: &Function, intrinsic: Intrinsic, dest: Option<&Dest>, args: &[Arg]) {
        match intrinsic.domains() {
            Domains::Both => {}
            Domains::User => self.only(function, Domain::User),
            Domains::Kernel => self.only(function, Domain::Kernel),
        }
        if let (Intrinsic::Search, Some(Arg::Str(pattern))) = (intrinsic, args.get(1)) {
            let text = match pattern {
                StrOp::Lit(id) => self.module.strings.get(id.index()),
                StrOp::Var(_) => None,
            };
            let known = text.is_some_and(|text| Table::new(text).is_ok());
            self.check(known, "the pattern must be a literal, and a regular expression");
        }
        let patterns = match intrinsic {
            Intrinsic::Matched => args.get(2),
            Intrinsic::Ngroups => args.get(1),
            _ => None,
        };
        if let Some(Arg::Str(patterns)) = patterns {
            let text = match patterns {
                StrOp::Lit(id) => self.module.strings.get(id.index()),
                StrOp::Var(_) => None,
            };
            let known =
                text.is_some_and(|text| regex::list(text).all(|pattern| regex::groups(pattern).is_ok()));
            self.check(known, "the patterns must be a literal, and regular expressions");
        }
        let ty = |kind: &Kind| match kind {
            Kind::Long => Ty::Long,
            Kind::Str => Ty::Str(0),
        };
        if let (Intrinsic::UserWrite, Some(size)) = (intrinsic, args.get(2))
            && !matches!(size, Arg::Long(LongOp::Imm(1 | 2 | 4 | 8)))
        {
            self.fail("user_write of a size that is not 1, 2, 4 or 8");
        }
        if let (Intrinsic::KernelNumber, Some(which)) = (intrinsic, args.get(1))
            && !matches!(which, Arg::Long(LongOp::Imm(0..5)))
        {
            self.fail("kernel_number of no kind");
        }
        self.kinds(intrinsic.args().iter().map(ty), args.iter().map(kind_of), "argument");
        self.result(intrinsic.result().as_ref().map(ty), dest);
    }

    fn call_function(&mut self, function: &Function, id: FuncId, dest: Option<&Dest>, args: &[Arg]) {
        let Some(callee) = self.function_of(id) else { return };
        if callee.domain != function.domain {
            self.fail(format!("{id} is a {} function", callee.domain));
        }
        if callee.context != ContextKind::None && callee.context != function.context {
            self.fail(format!("{id} wants the context {}", callee.context));
        }
        self.check(!callee.has_guard(), "a function with a guard is a handler, and not called");
        self.kinds(callee.params.iter().map(kind_of_dest), args.iter().map(kind_of), "argument");
        self.result(callee.result, dest);
    }

    fn result(&mut self, ty: Option<Ty>, dest: Option<&Dest>) {
        match (ty, dest) {
            (_, None) => {}
            (Some(ty), Some(dest)) => self.same(ty, kind_of_dest(dest), "result"),
            (None, Some(_)) => self.fail("the callee has no result"),
        }
    }

    fn format(&mut self, id: FormatId, args: &[Arg]) {
        let Some(format) = self.entry(&self.module.formats, id.index(), id) else { return };
        let mut expected = Vec::new();
        for part in format {
            let Part::Conversion(conversion) = part else { continue };
            for size in [conversion.width, conversion.precision] {
                if size == Some(Size::Argument) {
                    expected.push(Ty::Long);
                }
            }
            let ty = match conversion.kind {
                ConversionKind::String => Ty::Str(0),
                ConversionKind::Signed
                | ConversionKind::Unsigned
                | ConversionKind::HexLower
                | ConversionKind::HexUpper
                | ConversionKind::Octal
                | ConversionKind::Pointer
                | ConversionKind::Character
                | ConversionKind::Binary
                | ConversionKind::Memory
                | ConversionKind::MemoryHex => Ty::Long,
            };
            expected.extend(core::iter::repeat_n(ty, conversion.values()));
        }
        self.kinds(expected.into_iter(), args.iter().map(kind_of), "argument");
    }

    fn same(&mut self, expected: Ty, given: Ty, what: &str) {
        if !same_kind(expected, given) {
            self.fail(format!("the {what} is a {} instead of a {}", kind_name(given), kind_name(expected)));
        }
    }

    /// Values for a list of keys, arguments or fields.
    fn kinds(
        &mut self,
        expected: impl ExactSizeIterator<Item = Ty>,
        given: impl ExactSizeIterator<Item = Ty>,
        what: &str,
    ) {
        if expected.len() != given.len() {
            return self.fail(format!("{} {what}s instead of {}", given.len(), expected.len()));
        }
        for (number, (expected, given)) in expected.zip(given).enumerate() {
            if !same_kind(expected, given) {
                let (given, expected) = (kind_name(given), kind_name(expected));
                self.fail(format!("{what} {number} is a {given} instead of a {expected}"));
            }
        }
    }
}

/// Checks that what an instruction names exists.
struct Operands<'v, 'm> {
    verifier: &'v mut Verifier<'m>,
    function: &'m Function,
}

impl Operands<'_, '_> {
    fn exists(&mut self, holds: bool, name: impl fmt::Display) {
        if !holds {
            self.verifier.fail(format!("{name} does not exist"));
        }
    }
}

impl Visitor for Operands<'_, '_> {
    fn read_long(&mut self, op: &LongOp) {
        if let LongOp::Var(var) = op {
            self.write_long(var);
        }
    }
    fn read_str(&mut self, op: &StrOp) {
        match op {
            StrOp::Var(var) => self.write_str(var),
            StrOp::Lit(id) => self.exists(id.index() < self.verifier.module.strings.len(), id),
        }
    }
    fn write_long(&mut self, var: &Var) {
        self.exists(var.0 < self.function.longs, var);
    }
    fn write_str(&mut self, var: &StrVar) {
        self.exists(var.index() < self.function.strings.len(), var);
    }
    fn iter(&mut self, iter: &Iter) {
        self.exists(iter.0 < self.function.iters, iter);
    }
}
