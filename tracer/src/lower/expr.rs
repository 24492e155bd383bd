//! Expressions: to a long operand, to a string operand, or for their effect.

use tracer_common::format::Format;
use tracer_common::intrinsic::{Domains, Intrinsic, Kind};
use tracer_common::ir::{
    Arg, BinOp, CmpOp, Dest, Element, GlobalId, Inst, Key, LongOp, StrOp, Ty as IrTy, Var,
};

use crate::lower::body::Body;
use crate::lower::late::{self, Leaf, Moved};
use crate::lower::thin;
use crate::sema::program::{self as hir, Expr, ExprKind, Place, TargetValue, Ty};
use crate::sema::walk;

impl<'p> Body<'_, 'p> {
    /// Evaluates an expression for its effect alone.
    pub(super) fn effect(&mut self, expr: &'p Expr) {
        match &expr.kind {
            ExprKind::Print { format, args, to_string: false } => self.print(expr, format, args),
            ExprKind::Hist { hist, element, newline, to_string: false } => {
                let element = self.element(element);
                self.push(Inst::PrintHist { hist: *hist, element });
                if *newline {
                    let format =
                        self.lower.module.format(vec![tracer_common::format::Part::Text(b"\n".to_vec())]);
                    self.push(Inst::Print { format, args: Vec::new() });
                }
            }
            ExprKind::Crement { place, by, .. } => self.crement_effect(place, *by),
            ExprKind::Modify { place, op, op_span, value } => {
                self.modify(place, *op, *op_span, value, false);
            }
            _ if expr.ty == Ty::Str => {
                self.string(expr);
            }
            _ => {
                self.long(expr);
            }
        }
    }

    fn print(&mut self, expr: &'p Expr, format: &Format, args: &'p [Expr]) {
        if self.is_kernel() {
            return self.emit_late(Moved::Expr(expr));
        }
        let args = self.args(args);
        let format = self.lower.module.format(format.clone());
        self.at(expr.span);
        self.push(Inst::Print { format, args });
    }

    /// Evaluates several expressions from left to right.
    pub(super) fn args(&mut self, args: &'p [Expr]) -> Vec<Arg> {
        let mut values = Vec::with_capacity(args.len());
        for (n, arg) in args.iter().enumerate() {
            // A later argument that assigns must not change the value of an earlier one.
            let assigns = args[n + 1..].iter().any(|later| !late::is_quiet(self.lower.program, later));
            values.push(match (arg.ty, assigns) {
                (Ty::Long, false) => Arg::Long(self.long(arg)),
                (Ty::Long, true) => Arg::Long(self.kept_long(arg)),
                (Ty::Str, false) => Arg::Str(self.string(arg)),
                (Ty::Str, true) => Arg::Str(self.kept_string(arg)),
            });
        }
        values
    }

    pub(super) fn arg(&mut self, expr: &'p Expr) -> Arg {
        match expr.ty {
            Ty::Long => Arg::Long(self.long(expr)),
            Ty::Str => Arg::Str(self.string(expr)),
        }
    }

    pub(super) fn element(&mut self, element: &'p hir::Element) -> Element {
        let keys = self.args(&element.keys);
        Element { global: self.lower.global(element.global), keys }
    }

    pub(super) fn slice(&mut self, _global: hir::GlobalId, keys: &'p [Option<Expr>]) -> Vec<Key> {
        keys.iter().map(|key| key.as_ref().map(|key| self.arg(key))).collect()
    }

    pub(super) fn leaf(&self, expr: &Expr) -> Option<Leaf<'p>> {
        if self.leaves.is_empty() { None } else { self.leaves.get(&late::key(expr)).cloned() }
    }

    /// Evaluates a long.
    pub(super) fn long(&mut self, expr: &'p Expr) -> LongOp {
        if let Some(Leaf::Value(Dest::Long(var))) = self.leaf(expr) {
            return LongOp::Var(var);
        }
        if self.is_kernel()
            && let Some((subject, pattern)) = thin::search(self.lower.program, expr)
        {
            return self.search(expr, subject, &pattern, false);
        }
        self.at(expr.span);
        match &expr.kind {
            ExprKind::Number(value) => LongOp::Imm(*value),
            ExprKind::Local(local) => match self.local(*local) {
                Dest::Long(var) => LongOp::Var(var),
                Dest::Str(_) => self.mismatch(expr),
            },
            ExprKind::Get(element) => {
                let element = self.element(element);
                self.make(|dest| Inst::Get { dest: Dest::Long(dest), element })
            }
            ExprKind::Contains { keys, .. } if self.lacks_slices(keys) => {
                self.kernel_lacks(expr.span, "look for a slice of an array", "5.17");
                LongOp::Imm(0)
            }
            ExprKind::Contains { global, keys } => {
                let keys = self.slice(*global, keys);
                let global = self.lower.global(*global);
                self.make(|dest| Inst::Contains { dest, global, keys })
            }
            ExprKind::Neg(x) => {
                let right = self.long(x);
                self.bin(BinOp::Sub, LongOp::Imm(0), right)
            }
            ExprKind::BitNot(x) => {
                let left = self.long(x);
                self.bin(BinOp::Xor, left, LongOp::Imm(-1))
            }
            ExprKind::Not(x) => {
                let left = self.long(x);
                self.make(|dest| Inst::Cmp { op: CmpOp::Eq, dest, left, right: LongOp::Imm(0) })
            }
            ExprKind::Binary { op, op_span, left, right } => {
                let (left, right) = self.two_longs(left, right);
                self.at(*op_span);
                self.bin(*op, left, right)
            }
            ExprKind::Compare { op, left, right } if left.ty == Ty::Str => {
                let (left, right) = (self.kept_string(left), self.string(right));
                self.at(expr.span);
                self.make(|dest| Inst::StrCmp { op: *op, dest, left, right })
            }
            ExprKind::Compare { op, left, right } => {
                let (left, right) = self.two_longs(left, right);
                self.make(|dest| Inst::Cmp { op: *op, dest, left, right })
            }
            ExprKind::And(..) | ExprKind::Or(..) => self.truth(expr),
            ExprKind::Ternary { cond, then, otherwise } => {
                let dest = self.f.long();
                let (yes, no, after) = (self.f.block(), self.f.block(), self.f.block());
                self.condition(cond, yes, no);
                for (block, value) in [(yes, then), (no, otherwise)] {
                    self.f.switch_to(block);
                    let value = self.long(value);
                    self.push(Inst::Copy { dest, value });
                    self.f.end(tracer_common::ir::Term::Jump(after));
                }
                self.f.switch_to(after);
                LongOp::Var(dest)
            }
            ExprKind::Assign { place, value } => self.assign_long(place, value),
            ExprKind::Modify { place, op, op_span, value } => self.modify(place, *op, *op_span, value, true),
            ExprKind::Crement { place, by, prefix } => self.crement(place, *by, *prefix),
            ExprKind::Aggregate { element, value } => {
                let span = element.span;
                let element = self.element(element);
                let value = self.long(value);
                self.at(span);
                self.push(Inst::Aggregate { element, value });
                value
            }
            ExprKind::Call { function, args } => {
                let Some(depth) = self.depth_of_call(expr, *function) else { return LongOp::Imm(0) };
                let function = self.lower.instance(*function, self.domain, depth);
                let args = self.args(args);
                self.at(expr.span);
                let returns = self.lower.returns(function);
                if returns {
                    self.make(|dest| Inst::CallFunction { function, dest: Some(Dest::Long(dest)), args })
                } else {
                    self.push(Inst::CallFunction { function, dest: None, args });
                    LongOp::Imm(0)
                }
            }
            ExprKind::Intrinsic { intrinsic, args } => self.intrinsic_long(expr, *intrinsic, args),
            ExprKind::Raise(message) => {
                if self.is_kernel()
                    && !late::evaluable(self.lower.program, self.lower.abilities, message)
                    && self.f.catch().is_none()
                {
                    // The continuation makes the message and raises; here the handler just ends.
                    self.emit_late(Moved::Expr(expr));
                    self.f.end(tracer_common::ir::Term::Next);
                } else {
                    let message = self.string(message);
                    self.at(expr.span);
                    self.f.end(tracer_common::ir::Term::Raise(message));
                }
                // What follows is dead, but must stand somewhere.
                let dead = self.f.block();
                self.f.switch_to(dead);
                LongOp::Imm(0)
            }
            ExprKind::Target(target) => match &target.value {
                TargetValue::Value(access)
                    if self.is_kernel() || is_arithmetic(access) || !self.of_hit && is_memory(access) =>
                {
                    self.access(access, target)
                }
                TargetValue::Value(_) | TargetValue::List { .. } | TargetValue::Pretty { .. } => {
                    self.unsupported(expr.span, &format!("the target variable {}", target.text));
                    LongOp::Imm(0)
                }
            },
            ExprKind::Saved(n) => match self.saved.get(*n) {
                Some(Dest::Long(var)) => LongOp::Var(*var),
                _ => self.mismatch(expr),
            },
            ExprKind::Stat { op, global, keys } => {
                if self.lacks_slices(keys) {
                    self.kernel_lacks(expr.span, "read a slice of an array", "5.17");
                    return LongOp::Imm(0);
                }
                if self.is_kernel() && !self.lower.abilities.reads_statistics {
                    self.kernel_lacks(expr.span, "read a statistic", "5.19");
                    return LongOp::Imm(0);
                }
                let keys = self.slice(*global, keys);
                let global = self.lower.global(*global);
                self.at(expr.span);
                self.make(|dest| Inst::Stat { dest, op: *op, global, keys })
            }
            ExprKind::Bucket { hist, element, index } => {
                if self.is_kernel() && !self.lower.abilities.reads_statistics {
                    self.kernel_lacks(expr.span, "read a histogram", "5.19");
                    return LongOp::Imm(0);
                }
                let element = self.element(element);
                let index = self.long(index);
                self.at(expr.span);
                self.make(|dest| Inst::Bucket { dest, hist: *hist, element, index })
            }
            ExprKind::Match { subject, pattern, negated } => self.matches(expr, subject, pattern, *negated),
            ExprKind::Print { to_string: false, .. } | ExprKind::Hist { to_string: false, .. } => {
                self.effect(expr);
                LongOp::Imm(0)
            }
            ExprKind::Str(_)
            | ExprKind::Concat(..)
            | ExprKind::Append { .. }
            | ExprKind::Fact(_)
            | ExprKind::Print { .. }
            | ExprKind::Hist { .. } => self.mismatch(expr),
        }
    }

    /// Whether these keys are a slice, which this kernel lets no handler look for.
    fn lacks_slices(&self, keys: &[Option<Expr>]) -> bool {
        self.is_kernel() && !self.lower.abilities.finds_slices && keys.iter().any(Option::is_none)
    }

    /// Pass 2 decides types; a string here is our mistake.
    fn mismatch(&mut self, expr: &Expr) -> LongOp {
        panic!(
            "this is a bug: pass 3 met {:?} where pass 2 promised another type (dump with -p2)",
            expr.kind
        );
    }

    pub(super) fn make(&mut self, inst: impl FnOnce(Var) -> Inst) -> LongOp {
        let dest = self.f.long();
        let inst = inst(dest);
        self.push(inst);
        LongOp::Var(dest)
    }

    pub(super) fn bin(&mut self, op: BinOp, left: LongOp, right: LongOp) -> LongOp {
        self.make(|dest| Inst::Bin { op, dest, left, right })
    }

    pub(super) fn two_longs(&mut self, left: &'p Expr, right: &'p Expr) -> (LongOp, LongOp) {
        let left =
            if late::is_quiet(self.lower.program, right) { self.long(left) } else { self.kept_long(left) };
        (left, self.long(right))
    }

    /// `&&` and `||` as values.
    fn truth(&mut self, expr: &'p Expr) -> LongOp {
        let dest = self.f.long();
        let (yes, no, after) = (self.f.block(), self.f.block(), self.f.block());
        self.condition(expr, yes, no);
        for (block, value) in [(yes, 1), (no, 0)] {
            self.f.switch_to(block);
            self.push(Inst::Copy { dest, value: LongOp::Imm(value) });
            self.f.end(tracer_common::ir::Term::Jump(after));
        }
        self.f.switch_to(after);
        LongOp::Var(dest)
    }

    fn intrinsic_long(&mut self, expr: &'p Expr, intrinsic: Intrinsic, args: &'p [Expr]) -> LongOp {
        let wrong = match intrinsic.domains() {
            Domains::Both => false,
            Domains::User => self.is_kernel(),
            Domains::Kernel => !self.is_kernel(),
        };
        if wrong {
            if self.is_kernel() && intrinsic.result().is_none() {
                self.emit_late(Moved::Expr(expr));
            } else {
                self.unsupported(expr.span, &format!("{}()", intrinsic.name()));
            }
            return LongOp::Imm(0);
        }
        let mut args = self.args(args);
        self.fill_patterns(intrinsic, &mut args);
        self.at(expr.span);
        if intrinsic == Intrinsic::Leave {
            self.f.end(tracer_common::ir::Term::Next);
            let dead = self.f.block();
            self.f.switch_to(dead);
            return LongOp::Imm(0);
        }
        match intrinsic.result() {
            Some(Kind::Long) => {
                self.make(|dest| Inst::Call { intrinsic, dest: Some(Dest::Long(dest)), args })
            }
            Some(Kind::Str) => self.mismatch(expr),
            None => {
                self.push(Inst::Call { intrinsic, dest: None, args });
                LongOp::Imm(0)
            }
        }
    }

    /// Evaluates a string.
    pub(super) fn string(&mut self, expr: &'p Expr) -> StrOp {
        if let Some(leaf) = self.leaf(expr) {
            match leaf {
                Leaf::Value(Dest::Str(var)) => return StrOp::Var(var),
                Leaf::Value(Dest::Long(_)) => {}
                Leaf::List(values) => return self.list_text(expr, values),
                Leaf::Parts(values) => return self.pretty_text(expr, values),
                Leaf::Split(inside) => {
                    if let ExprKind::Call { function, .. } = &expr.kind {
                        return self.last_part(*function, *inside);
                    }
                }
            }
        }
        match &expr.kind {
            ExprKind::Str(text) => StrOp::Lit(self.lower.module.string(text.as_bytes())),
            ExprKind::Local(local) => {
                if let Some(definition) = self.late_definition(*local) {
                    if self.is_kernel() {
                        return self.late_local_now(*local, definition);
                    }
                    return self.string(definition);
                }
                match self.local(*local) {
                    Dest::Str(var) => StrOp::Var(var),
                    Dest::Long(_) => panic!("this is a bug: a long local where pass 2 promised a string"),
                }
            }
            ExprKind::Assign { place, value } => self.assign_string(place, value),
            ExprKind::Append { place, value } => self.append(place, value),
            ExprKind::Saved(n) => match self.saved.get(*n) {
                Some(Dest::Str(var)) => StrOp::Var(*var),
                _ => panic!("this is a bug: a saved string that pass 3 did not load"),
            },
            _ => {
                let capacity = self.capacity(expr);
                let dest = self.f.string(capacity);
                self.string_into(expr, dest);
                StrOp::Var(dest)
            }
        }
    }

    /// Evaluates a string into a register.
    pub(super) fn string_into(&mut self, expr: &'p Expr, dest: tracer_common::ir::StrVar) {
        if self.leaf(expr).is_some() {
            let value = self.string(expr);
            return self.push(Inst::StrCopy { dest, value });
        }
        self.at(expr.span);
        match &expr.kind {
            ExprKind::Get(element) => {
                let element = self.element(element);
                self.push(Inst::Get { dest: Dest::Str(dest), element });
            }
            ExprKind::Concat(left, right) => {
                let left = if late::is_quiet(self.lower.program, right) {
                    self.string(left)
                } else {
                    self.kept_string(left)
                };
                let right = self.string(right);
                self.push(Inst::StrConcat { dest, left, right });
            }
            ExprKind::Ternary { cond, then, otherwise } => {
                let (yes, no, after) = (self.f.block(), self.f.block(), self.f.block());
                self.condition(cond, yes, no);
                for (block, value) in [(yes, then), (no, otherwise)] {
                    self.f.switch_to(block);
                    self.string_into(value, dest);
                    self.f.end(tracer_common::ir::Term::Jump(after));
                }
                self.f.switch_to(after);
            }
            ExprKind::Call { function, args } => {
                let Some(depth) = self.depth_of_call(expr, *function) else { return };
                let function = self.lower.instance(*function, self.domain, depth);
                let args = self.args(args);
                self.at(expr.span);
                self.push(Inst::CallFunction { function, dest: Some(Dest::Str(dest)), args });
            }
            ExprKind::Intrinsic { intrinsic, args } => {
                let wrong = match intrinsic.domains() {
                    Domains::Both => false,
                    Domains::User => self.is_kernel(),
                    Domains::Kernel => !self.is_kernel(),
                };
                if wrong {
                    return self.unsupported(expr.span, &format!("{}()", intrinsic.name()));
                }
                let mut args = self.args(args);
                self.fill_patterns(*intrinsic, &mut args);
                self.at(expr.span);
                self.push(Inst::Call { intrinsic: *intrinsic, dest: Some(Dest::Str(dest)), args });
            }
            ExprKind::Fact(fact) => self.push(Inst::SiteText { dest, fact: *fact }),
            ExprKind::Print { format, args, to_string: true } => {
                if self.is_kernel() {
                    return self.kernel_text(expr, format, args, dest);
                }
                let args = self.args(args);
                let format = self.lower.module.format(format.clone());
                self.at(expr.span);
                self.push(Inst::Format { dest, format, args });
            }
            ExprKind::Hist { hist, element, newline: _, to_string: true } => {
                if self.is_kernel() {
                    return self.unsupported(expr.span, "a histogram as text");
                }
                let element = self.element(element);
                self.push(Inst::HistText { dest, hist: *hist, element });
            }
            ExprKind::Target(target) => match &target.value {
                // Without a hit, what is there now is shown.
                TargetValue::Pretty { parts } if !self.is_kernel() && !self.of_hit => {
                    let captured = self.pretty_parts(parts, target);
                    let value =
                        self.pretty_text(expr, captured.into_iter().map(|(value, _)| value).collect());
                    self.push(Inst::StrCopy { dest, value });
                }
                TargetValue::Value(_) | TargetValue::List { .. } | TargetValue::Pretty { .. } => {
                    self.unsupported(expr.span, &format!("using {} other than for printing", target.text));
                }
            },
            _ => {
                let value = self.string(expr);
                self.push(Inst::StrCopy { dest, value });
            }
        }
    }

    /// `name=value …` from captured values.
    fn list_text(&mut self, expr: &'p Expr, values: Vec<(LongOp, LongOp)>) -> StrOp {
        let ExprKind::Target(hir::Target { value: TargetValue::List { list, .. }, .. }) = &expr.kind else {
            panic!("this is a bug: a list was captured for something else");
        };
        let dest = self.f.string(self.lower.limits.string_len);
        self.push(Inst::VarsText { dest, list: *list, values });
        StrOp::Var(dest)
    }

    /// Whether a local gets its only value here, at the top of the body, before anything reads it.
    pub(super) fn is_defined_once(&self, local: hir::LocalId, here: &hir::Stmt) -> bool {
        let body = self.lower.body_of(self.owner);
        let mut writes = 0;
        walk::exprs(body, &mut |e| {
            if let ExprKind::Assign { place: Place::Local(l), .. }
            | ExprKind::Modify { place: Place::Local(l), .. }
            | ExprKind::Append { place: Place::Local(l), .. }
            | ExprKind::Crement { place: Place::Local(l), .. } = &e.kind
                && *l == local
            {
                writes += 1;
            }
        });
        writes == 1 && stands_at_top(body, here)
    }

    pub(super) fn default_result(&mut self) -> Arg {
        match self.result {
            Some(IrTy::Str(_)) => Arg::Str(StrOp::Lit(self.lower.module.string(b""))),
            Some(IrTy::Long) | None => Arg::Long(LongOp::Imm(0)),
        }
    }
}

fn stands_at_top(body: &[hir::Stmt], here: &hir::Stmt) -> bool {
    body.iter().any(|stmt| {
        std::ptr::eq(stmt, here)
            || matches!(&stmt.kind, hir::StmtKind::Block(inner) if stands_at_top(inner, here))
    })
}

/// The id of a global in the IR: the same number.
pub(super) fn global_id(global: hir::GlobalId) -> GlobalId {
    GlobalId(global.0)
}

/// Whether an access looks at nothing of the hit: an offset, a size, an address that is computed.
fn is_arithmetic(access: &hir::Access) -> bool {
    looks_at(access, false)
}

/// Whether an access looks at memory only, at an address that is computed.
fn is_memory(access: &hir::Access) -> bool {
    looks_at(access, true)
}

fn looks_at(access: &hir::Access, memory: bool) -> bool {
    match access {
        hir::Access::Constant(_) | hir::Access::Dynamic(_) => true,
        hir::Access::Binary(_, left, right) | hir::Access::Compare(_, left, right) => {
            looks_at(left, memory) && looks_at(right, memory)
        }
        hir::Access::Extend(value, _) => looks_at(value, memory),
        hir::Access::Load { address, .. } => memory && looks_at(address, true),
        hir::Access::Register(..)
        | hir::Access::Argument(..)
        | hir::Access::Module(_)
        | hir::Access::Task
        | hir::Access::ThreadPointer
        | hir::Access::Saved(_)
        | hir::Access::Entered(_)
        | hir::Access::AtEntry(_) => false,
    }
}
