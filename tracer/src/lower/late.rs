//! Late evaluation: what a kernel handler captures, and the continuation that does the rest.
//!
//! Output and everything that eBPF cannot do well is moved to the user domain by one rule. The *frontier* of an
//! expression is the set of subexpressions that belong to the moment of the hit: registers, memory, context values,
//! locals, globals. The kernel evaluates the frontier, in order, and sends it as a record; the continuation is the
//! same expression lowered for the user domain, where each frontier expression stands for a parameter.
//! A statement that has no kernel form (`foreach` with printing, `print(@hist_log(x))`) moves the same way; its
//! globals are then read when the record arrives.
//!
//! **Not here:** lowering itself (`expr`, `stmt`), records on the wire (`tracer_common::record`).

use std::collections::BTreeMap;

use tracer_common::intrinsic::{Domains, Effect, Intrinsic};
use tracer_common::ir::{Arg, BinOp, ContextKind, Dest, Domain, Inst, LongOp, StrOp, Ty as IrTy};

use crate::lower::Abilities;
use crate::lower::body::Body;
use crate::lower::hit::is_of_the_hit;
use crate::lower::text;
use crate::lower::thin;
use crate::lower::usage::Touches;
use crate::lower::visit;
use crate::sema::program::{
    Expr, ExprKind, FunctionId, LocalId, Place, Program, Stmt, StmtKind, TargetValue, Ty, Unlisted,
};
use crate::sema::walk;

/// What is moved.
#[derive(Clone, Copy)]
pub(super) enum Moved<'p> {
    /// An expression, for its output.
    Expr(&'p Expr),
    /// A statement.
    Stmt(&'p Stmt),
}

/// A frontier expression inside a continuation.
#[derive(Clone)]
pub(super) enum Leaf<'p> {
    /// The call of a split function: what its last expression needs.
    Split(Box<Inside<'p>>),
    /// Its value.
    Value(Dest),
    /// The values of a variable list, each with its fault flag.
    List(Vec<(LongOp, LongOp)>),
    /// The values of a pretty-printed variable, in the order of its parts.
    Parts(Vec<Arg>),
}

/// Frontier expressions by identity: the program is borrowed for the whole pass, so addresses are stable.
pub(super) type Leaves<'p> = BTreeMap<usize, Leaf<'p>>;

/// What stands for the frontier of a split function's last expression, in a continuation.
#[derive(Clone)]
pub(super) struct Inside<'p> {
    pub(super) leaves: Leaves<'p>,
    pub(super) late_locals: LateLocals<'p>,
}

/// Locals that are evaluated where they are printed.
pub(super) type LateLocals<'p> = BTreeMap<LocalId, LateLocal<'p>>;

/// The identity of an expression.
pub(super) fn key(expr: &Expr) -> usize {
    std::ptr::from_ref(expr) as usize
}

/// Values captured so far, and which expression each belongs to.
#[derive(Default)]
pub(super) struct Captures<'p> {
    values: Vec<Arg>,
    types: Vec<IrTy>,
    leaves: Vec<(usize, Shape<'p>)>,
    locals: Vec<(LocalId, usize)>,
    /// The process that was hit, where its addresses are named.
    process: Option<usize>,
}

#[derive(Clone)]
enum Shape<'p> {
    Split(Vec<(usize, Shape<'p>)>, LateLocals<'p>),
    Value(usize),
    List(Vec<(usize, Option<usize>)>),
    Parts(Vec<usize>),
}

/// The definition of a local that is evaluated late, its frontier captured where it was assigned.
#[derive(Clone)]
pub(super) struct LateLocal<'p> {
    value: &'p Expr,
    captured: Vec<(usize, Captured<'p>)>,
}

#[derive(Clone)]
pub(super) enum Captured<'p> {
    /// Of a split function's last expression, with the locals that it evaluates late.
    Split(Vec<(usize, Captured<'p>)>, LateLocals<'p>),
    Value(Arg, IrTy),
    List(Vec<(LongOp, Option<LongOp>)>),
    Parts(Vec<(Arg, IrTy)>),
}

impl<'p> Captures<'p> {
    fn push(&mut self, value: Arg, ty: IrTy) -> usize {
        self.values.push(value);
        self.types.push(ty);
        self.values.len() - 1
    }

    fn add(&mut self, leaf: usize, captured: Captured<'p>) {
        if !self.leaves.iter().any(|(known, _)| *known == leaf) {
            let shape = self.shape(captured);
            self.leaves.push((leaf, shape));
        }
    }

    fn shape(&mut self, captured: Captured<'p>) -> Shape<'p> {
        match captured {
            Captured::Split(inside, late_locals) => {
                let mut shapes: Vec<(usize, Shape<'p>)> = Vec::new();
                for (leaf, captured) in inside {
                    if !shapes.iter().any(|(known, _)| *known == leaf) {
                        let shape = self.shape(captured);
                        shapes.push((leaf, shape));
                    }
                }
                Shape::Split(shapes, late_locals)
            }
            Captured::Value(value, ty) => Shape::Value(self.push(value, ty)),
            Captured::List(list) => Shape::List(
                list.into_iter()
                    .map(|(value, flag)| {
                        let value = self.push(Arg::Long(value), IrTy::Long);
                        (value, flag.map(|f| self.push(Arg::Long(f), IrTy::Long)))
                    })
                    .collect(),
            ),
            Captured::Parts(parts) => {
                Shape::Parts(parts.into_iter().map(|(value, ty)| self.push(value, ty)).collect())
            }
        }
    }
}

/// Whether eBPF can compute an expression of a kernel handler.
pub(super) fn evaluable(program: &Program, abilities: Abilities, expr: &Expr) -> bool {
    Judge { program, abilities, texts: false, seen: Vec::new() }.expr(expr)
}

/// Whether eBPF can run a statement of a kernel handler. Output and locals that are evaluated late are no hindrance.
pub(super) fn runs(program: &Program, abilities: Abilities, stmt: &Stmt) -> bool {
    let mut judge = Judge { program, abilities, texts: true, seen: Vec::new() };
    match &stmt.kind {
        StmtKind::Expr(Expr { kind: ExprKind::Assign { place: Place::Local(_), value }, .. })
            if value.ty == Ty::Str =>
        {
            true
        }
        _ => judge.stmt(stmt),
    }
}

struct Judge<'p> {
    program: &'p Program,
    abilities: Abilities,
    /// Whether texts that `sprintf` and `text_str` make count: they can be made, but are better made late.
    texts: bool,
    seen: Vec<FunctionId>,
}

impl Judge<'_> {
    fn expr(&mut self, expr: &Expr) -> bool {
        if let Some((subject, _)) = thin::search(self.program, expr) {
            return self.expr(subject);
        }
        let itself = match &expr.kind {
            ExprKind::Intrinsic { intrinsic: Intrinsic::Quote | Intrinsic::Ctime, .. } if !self.texts => {
                false
            }
            ExprKind::Intrinsic { intrinsic, .. } => {
                intrinsic.domains() != Domains::User || intrinsic.effect() == Effect::Output
            }
            // Output moves by itself; a string made by a format does not.
            ExprKind::Print { to_string: true, format, .. } => self.texts && text::can_be_made(format),
            ExprKind::Print { .. } => return true,
            ExprKind::Hist { to_string, .. } => return !to_string,
            ExprKind::Stat { keys, .. } => {
                let is_slice = keys.iter().any(Option::is_none);
                self.abilities.reads_statistics && (!is_slice || self.abilities.finds_slices)
            }
            ExprKind::Bucket { .. } => self.abilities.reads_statistics,
            ExprKind::Target(target) => matches!(target.value, TargetValue::Value(_)),
            ExprKind::Contains { keys, .. } => self.visits(keys),
            ExprKind::Call { function, .. } => self.function(*function),
            _ => true,
        };
        if !itself {
            return false;
        }
        let mut fine = true;
        walk::children(expr, &mut |child| fine = fine && self.expr(child));
        fine
    }

    /// Whether an element, or a slice, can be looked for.
    fn visits(&self, keys: &[Option<Expr>]) -> bool {
        self.abilities.finds_slices || keys.iter().all(Option::is_some)
    }

    fn function(&mut self, function: FunctionId) -> bool {
        if self.seen.contains(&function) {
            return true;
        }
        self.seen.push(function);
        let program = self.program;
        program.functions[function.0 as usize].body.iter().all(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> bool {
        let mut fine = true;
        walk::stmts(std::slice::from_ref(stmt), &mut |inner| {
            fine = fine
                && match &inner.kind {
                    StmtKind::Foreach(foreach) => visit::can_be_made(self.program, self.abilities, foreach),
                    StmtKind::Delete { keys, .. } => self.visits(keys),
                    _ => true,
                };
            walk::stmt_exprs(inner, &mut |e| fine = fine && self.expr(e));
        });
        fine
    }
}

/// Whether a script function may run later, in the user domain, without anybody noticing: it computes and prints, but
/// touches no globals, no context of the hit, and raises no errors of its own.
pub(super) fn is_deferrable(program: &Program, function: FunctionId) -> bool {
    computes_only(program, function, true, &mut Vec::new())
}

/// Whether no statement touches an array or ends the handler.
pub(super) fn stays_within(body: &[Stmt]) -> bool {
    let mut within = true;
    walk::stmts(body, &mut |stmt| {
        within &= !matches!(
            stmt.kind,
            StmtKind::Foreach(_) | StmtKind::Clear(_) | StmtKind::Delete { .. } | StmtKind::Next
        );
    });
    within
}

/// Whether a script function only computes.
pub(super) fn is_pure(program: &Program, function: FunctionId) -> bool {
    computes_only(program, function, false, &mut Vec::new())
}

fn computes_only(program: &Program, function: FunctionId, output: bool, seen: &mut Vec<FunctionId>) -> bool {
    if seen.contains(&function) {
        return true;
    }
    seen.push(function);
    let body = &program.functions[function.0 as usize].body;
    let mut pure = stays_within(body);
    walk::exprs(body, &mut |e| {
        pure = pure
            && match &e.kind {
                ExprKind::Get(_)
                | ExprKind::Contains { .. }
                | ExprKind::Stat { .. }
                | ExprKind::Bucket { .. }
                | ExprKind::Hist { .. }
                | ExprKind::Aggregate { .. }
                | ExprKind::Raise(_)
                | ExprKind::Target(_)
                | ExprKind::Saved(_) => false,
                ExprKind::Match { .. } => program.searched.is_empty(),
                ExprKind::Print { to_string, .. } => *to_string || output,
                ExprKind::Intrinsic { intrinsic, .. } => match intrinsic.effect() {
                    Effect::Pure => true,
                    Effect::Context => false,
                    Effect::Output => output && intrinsic.domains() == Domains::User,
                },
                ExprKind::Assign { place, .. }
                | ExprKind::Modify { place, .. }
                | ExprKind::Append { place, .. }
                | ExprKind::Crement { place, .. } => matches!(place, Place::Local(_)),
                ExprKind::Call { function, .. } => computes_only(program, *function, output, seen),
                _ => true,
            };
    });
    pure
}

/// Whether evaluating an expression does nothing but compute a value: it may be dropped when nobody wants that.
pub(super) fn is_quiet(program: &Program, expr: &Expr) -> bool {
    let mut quiet = true;
    walk::expr(expr, &mut |e| {
        quiet = quiet
            && match &e.kind {
                ExprKind::Assign { .. }
                | ExprKind::Modify { .. }
                | ExprKind::Append { .. }
                | ExprKind::Crement { .. }
                | ExprKind::Aggregate { .. }
                | ExprKind::Raise(_) => false,
                ExprKind::Match { .. } => program.searched.is_empty(),
                ExprKind::Print { to_string, .. } | ExprKind::Hist { to_string, .. } => *to_string,
                ExprKind::Intrinsic { intrinsic, .. } => !intrinsic.has_effect(),
                ExprKind::Call { function, .. } => is_pure(program, *function),
                _ => true,
            };
    });
    quiet
}

/// Whether a string is gone through, a byte in a round: each of them costs a verifier that has no `may_goto`, so that where only a
/// text wants the result, it is better made late.
fn takes_rounds(program: &Program, expr: &Expr, seen: &mut Vec<FunctionId>) -> bool {
    use Intrinsic::{Isinstr, StrReplace, Strpos, Strtol, Word, WordNumber};
    if thin::search(program, expr).is_some() {
        return false;
    }
    let mut found = false;
    walk::expr(expr, &mut |e| match &e.kind {
        ExprKind::Intrinsic { intrinsic, .. } => {
            found |= matches!(intrinsic, Isinstr | StrReplace | Strpos | Strtol | Word | WordNumber);
        }
        ExprKind::Call { function, .. } if !seen.contains(function) => {
            seen.push(*function);
            walk::exprs(&program.functions[function.0 as usize].body, &mut |inner| {
                found = found || takes_rounds(program, inner, seen);
            });
        }
        _ => {}
    });
    found
}

impl<'p> Body<'_, 'p> {
    /// Captures the frontier of an expression. Errors are diagnostics already pushed.
    pub(super) fn frontier(&mut self, expr: &'p Expr, captures: &mut Vec<(usize, Captured<'p>)>) {
        let (program, abilities) = (self.lower.program, self.lower.abilities);
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Fact(_) => {}
            ExprKind::Local(local) if self.late_locals.contains_key(local) => {
                let late = self.late_locals[local].clone();
                captures.extend(late.captured);
            }
            ExprKind::Target(target) => match &target.value {
                TargetValue::Value(_) => self.capture(expr, captures),
                TargetValue::List { values, .. } => {
                    let list = values
                        .iter()
                        .map(|access| match access {
                            Ok(access) => self.access_or_flag(access, target),
                            // The flag says what to show instead.
                            Err(Unlisted::Unknown) => (LongOp::Imm(0), Some(LongOp::Imm(1))),
                            Err(Unlisted::Structure) => (LongOp::Imm(0), Some(LongOp::Imm(2))),
                            Err(Unlisted::Array) => (LongOp::Imm(0), Some(LongOp::Imm(3))),
                        })
                        .collect();
                    captures.push((key(expr), Captured::List(list)));
                }
                TargetValue::Pretty { parts } => {
                    let parts = self.pretty_parts(parts, target);
                    captures.push((key(expr), Captured::Parts(parts)));
                }
            },
            // Longs are computed at the hit whenever they can be: one value is cheaper to send than its parts.
            _ if expr.ty == Ty::Long
                && evaluable(program, abilities, expr)
                && (abilities.visits_arrays || !takes_rounds(program, expr, &mut Vec::new())) =>
            {
                self.capture(expr, captures);
            }
            ExprKind::Binary { op: op @ (BinOp::Div | BinOp::Rem), left, right, op_span } if !matches!(right.kind, ExprKind::Number(n) if n != 0) =>
            {
                // The error belongs to the hit, though the result comes late.
                self.frontier(left, captures);
                self.capture(right, captures);
                if let Some((_, Captured::Value(Arg::Long(divisor), _))) = captures.last() {
                    let (op, right) = (*op, *divisor);
                    self.at(*op_span);
                    self.make(|dest| Inst::Bin { op, dest, left: LongOp::Imm(1), right });
                }
            }
            ExprKind::Concat(..)
            | ExprKind::Match { .. }
            | ExprKind::Print { .. }
            | ExprKind::Hist { .. }
            | ExprKind::Stat { .. }
            | ExprKind::Bucket { .. }
            | ExprKind::Neg(_)
            | ExprKind::BitNot(_)
            | ExprKind::Not(_)
            | ExprKind::Binary { .. }
            | ExprKind::Compare { .. }
            | ExprKind::And(..)
            | ExprKind::Or(..) => self.frontier_of_children(expr, captures),
            ExprKind::Ternary { cond, then, otherwise } => {
                if self.is_free(then) && self.is_free(otherwise) {
                    self.frontier(cond, captures);
                    self.frontier(then, captures);
                    self.frontier(otherwise, captures);
                } else {
                    self.capture(expr, captures);
                }
            }
            ExprKind::Intrinsic { intrinsic, .. } if intrinsic.effect() != Effect::Context => {
                self.frontier_of_children(expr, captures);
            }
            ExprKind::Call { function, .. } if is_pure(program, *function) => {
                self.frontier_of_children(expr, captures);
            }
            ExprKind::Contains { .. } if !evaluable(program, abilities, expr) => {
                self.frontier_of_children(expr, captures);
            }
            ExprKind::Call { function, args } => match self.split(*function) {
                Some(parts) => {
                    let captured = self.first_part(*function, args, &parts);
                    captures.push((key(expr), captured));
                }
                None => self.capture(expr, captures),
            },
            _ => self.capture(expr, captures),
        }
    }

    fn frontier_of_children(&mut self, expr: &'p Expr, captures: &mut Vec<(usize, Captured<'p>)>) {
        let mut children = Vec::new();
        walk::children(expr, &mut |child| children.push(child));
        for child in children {
            self.frontier(child, captures);
        }
    }

    /// Whether the frontier of a string costs nothing and cannot fail: it may be captured although it may not be used.
    fn is_free(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Fact(_) | ExprKind::Local(_) => true,
            ExprKind::Call { function, .. } if !is_pure(self.lower.program, *function) => false,
            ExprKind::Intrinsic { intrinsic, .. }
                if intrinsic.effect() != Effect::Pure || intrinsic.can_raise() =>
            {
                false
            }
            ExprKind::Concat(..)
            | ExprKind::Print { to_string: true, .. }
            | ExprKind::Call { .. }
            | ExprKind::Intrinsic { .. } => {
                let mut free = true;
                walk::children(expr, &mut |child| free = free && self.is_free(child));
                free
            }
            _ => false,
        }
    }

    fn capture(&mut self, expr: &'p Expr, captures: &mut Vec<(usize, Captured<'p>)>) {
        let captured = match expr.ty {
            Ty::Long => Captured::Value(Arg::Long(self.kept_long(expr)), IrTy::Long),
            Ty::Str => {
                let capacity = self.capacity(expr);
                Captured::Value(Arg::Str(self.kept_string(expr)), IrTy::Str(capacity))
            }
        };
        captures.push((key(expr), captured));
    }

    /// Remembers a local's definition instead of evaluating it: its frontier is captured now.
    pub(super) fn define_late_local(&mut self, local: LocalId, value: &'p Expr) {
        let mut captured = Vec::new();
        self.frontier(value, &mut captured);
        self.late_locals.insert(local, LateLocal { value, captured });
    }

    /// The value of a late local that the handler itself needs, from what was captured where it was assigned.
    pub(super) fn late_local_now(&mut self, local: LocalId, definition: &'p Expr) -> StrOp {
        let (program, abilities) = (self.lower.program, self.lower.abilities);
        let mut judge = Judge { program, abilities, texts: true, seen: Vec::new() };
        let is_made_here = (matches!(definition.kind, ExprKind::Print { to_string: true, .. })
            || judge.expr(definition))
            && !self.late_locals[&local].captured.iter().any(|(_, c)| matches!(c, Captured::Split(..)));
        if !is_made_here {
            let name = self.declared(local).name.clone();
            self.unsupported(
                definition.span,
                &format!("using {name}, whose value is made by a function that eBPF does not have, other than for printing"),
            );
            return StrOp::Lit(self.lower.module.string(b""));
        }
        let captured = self.late_locals[&local].captured.clone();
        let before = self.leaves.clone();
        for (leaf, value) in captured {
            let value = match value {
                Captured::Value(Arg::Long(LongOp::Var(var)), _) => Dest::Long(var),
                Captured::Value(Arg::Str(StrOp::Var(var)), _) => Dest::Str(var),
                // Constants are what they were.
                Captured::Value(..) | Captured::List(_) | Captured::Parts(_) | Captured::Split(..) => {
                    continue;
                }
            };
            self.leaves.insert(leaf, Leaf::Value(value));
        }
        let text = self.string(definition);
        self.leaves = before;
        text
    }

    /// The definition of a late local, for continuations.
    pub(super) fn late_definition(&self, local: LocalId) -> Option<&'p Expr> {
        self.late_locals.get(&local).map(|late| late.value)
    }

    /// Moves an expression or a statement to the user domain.
    pub(super) fn emit_late(&mut self, moved: Moved<'p>) {
        let mut captured = Vec::new();
        let mut captures = Captures::default();
        match moved {
            Moved::Expr(expr) => self.frontier_of_children_or_self(expr, &mut captured),
            Moved::Stmt(stmt) => {
                if let Some(diagnostic) = visit::cannot_move(self, stmt) {
                    self.lower.sink.push(diagnostic);
                    return;
                }
                self.statement_frontier(stmt, &mut captured, &mut captures);
            }
        }
        for (leaf, value) in captured {
            captures.add(leaf, value);
        }
        if self.lower.names_addresses {
            let pid = self.of_task(Intrinsic::Pid);
            captures.process = Some(captures.push(Arg::Long(pid), IrTy::Long));
        }
        let continuation = self.continuation(moved, &captures);
        let record = self.lower.module.record(captures.types, continuation);
        self.emit(record, captures.values);
    }

    fn frontier_of_children_or_self(&mut self, expr: &'p Expr, captured: &mut Vec<(usize, Captured<'p>)>) {
        match &expr.kind {
            ExprKind::Print { .. }
            | ExprKind::Hist { .. }
            | ExprKind::Intrinsic { .. }
            | ExprKind::Call { .. }
            | ExprKind::Raise(_) => {
                self.frontier_of_children(expr, captured);
            }
            _ => self.frontier(expr, captured),
        }
    }

    /// Captures what a whole statement needs from the hit: locals, context values, target variables.
    fn statement_frontier(
        &mut self,
        stmt: &'p Stmt,
        captured: &mut Vec<(usize, Captured<'p>)>,
        captures: &mut Captures<'p>,
    ) {
        let mut leaves = Vec::new();
        let mut locals = Vec::new();
        let program = self.lower.program;
        walk::exprs(std::slice::from_ref(stmt), &mut |e| match &e.kind {
            ExprKind::Local(local) => locals.push(*local),
            ExprKind::Intrinsic { intrinsic, args }
                if intrinsic.effect() == Effect::Context && args.is_empty() =>
            {
                leaves.push(e);
            }
            ExprKind::Call { function, args }
                if args.iter().all(|arg| matches!(arg.kind, ExprKind::Number(_) | ExprKind::Str(_)))
                    && is_of_the_hit(program, *function) =>
            {
                leaves.push(e);
            }
            ExprKind::Target(target) if target.indices.is_empty() => leaves.push(e),
            ExprKind::Saved(_) => leaves.push(e),
            _ => {}
        });
        for leaf in leaves {
            self.frontier(leaf, captured);
        }
        for local in locals {
            if let Some(late) = self.late_locals.get(&local) {
                captured.extend(late.captured.clone());
            } else if !captures.locals.iter().any(|(known, _)| *known == local) {
                let dest = self.local(local);
                let ty = self.f.ty(dest);
                let index = captures.push(Arg::from(dest), ty);
                captures.locals.push((local, index));
            }
        }
    }

    /// The user-domain function that runs when the record arrives.
    fn continuation(&mut self, moved: Moved<'p>, captures: &Captures<'p>) -> tracer_common::ir::FuncId {
        let late_locals = self.late_locals.clone();
        let owner = self.owner;
        let number = self.lower.continuations;
        self.lower.continuations += 1;
        let mut body =
            Body::new(self.lower, &format!("continuation.{number}"), Domain::User, ContextKind::None, owner);
        body.late_locals = late_locals;
        body.of_hit = true;
        let params: Vec<Dest> = captures.types.iter().map(|ty| body.f.param(*ty)).collect();
        body.leaves = captures.leaves.iter().map(|(leaf, shape)| (*leaf, arrived(shape, &params))).collect();
        for (local, n) in &captures.locals {
            body.locals[local.0 as usize] = Some(params[*n]);
        }
        // What an expression wants of globals was captured at the hit; a statement reads and writes them itself.
        if let Moved::Stmt(stmt) = moved {
            let touches = Touches::of(body.lower.program, std::slice::from_ref(stmt));
            let locks = touches.locks(&body.lower.usage);
            body.locks(locks);
        }
        if let Some(n) = captures.process {
            let args = vec![Arg::from(params[n])];
            body.push(Inst::Call { intrinsic: Intrinsic::Hit, dest: None, args });
        }
        match moved {
            Moved::Expr(expr) => body.effect(expr),
            Moved::Stmt(stmt) => body.stmt(stmt),
        }
        body.finish()
    }
}

/// What a captured value is in a continuation with these parameters.
fn arrived<'p>(shape: &Shape<'p>, params: &[Dest]) -> Leaf<'p> {
    let long = |n: usize| match params[n] {
        Dest::Long(var) => LongOp::Var(var),
        Dest::Str(_) => LongOp::Imm(0),
    };
    match shape {
        Shape::Value(n) => Leaf::Value(params[*n]),
        Shape::List(list) => {
            Leaf::List(list.iter().map(|(v, f)| (long(*v), f.map_or(LongOp::Imm(0), long))).collect())
        }
        Shape::Parts(parts) => Leaf::Parts(parts.iter().map(|n| Arg::from(params[*n])).collect()),
        Shape::Split(inside, late_locals) => Leaf::Split(Box::new(Inside {
            leaves: inside.iter().map(|(leaf, shape)| (*leaf, arrived(shape, params))).collect(),
            late_locals: late_locals.clone(),
        })),
    }
}
