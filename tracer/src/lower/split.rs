//! Functions of which a kernel handler runs the first part, and a continuation the rest.
//!
//! `thread_indent()` counts in the kernel but makes a text that only the user domain can: it ends in
//! `return sprintf(…)`. Where such a call is printed, its statements are put into the handler, and the frontier of what
//! it returns is captured; the continuation evaluates the rest.
//!
//! **Not here:** what a frontier is (`late`).

use std::collections::BTreeSet;

use tracer_common::ir::{Arg, Dest, Inst, LongOp, StrOp};

use crate::lower::body::Body;
use crate::lower::capacity::Owner;
use crate::lower::late::{self, Captured, Inside, LateLocals, Leaves};
use crate::sema::program::{Expr, FunctionId, LocalId, Program, Stmt, StmtKind, Ty};
use crate::sema::walk;

/// The two parts of a function: statements for the handler, and what it returns.
pub(super) struct Parts<'p> {
    first: &'p [Stmt],
    last: &'p Expr,
}

/// What belongs to the code of one script function or probe.
struct Outer<'p> {
    owner: Owner,
    locals: Vec<Option<Dest>>,
    late_locals: LateLocals<'p>,
    leaves: Leaves<'p>,
    unread: BTreeSet<LocalId>,
}

impl<'p> Body<'_, 'p> {
    /// The parts of a function that eBPF cannot run as a whole.
    pub(super) fn split(&self, function: FunctionId) -> Option<Parts<'p>> {
        let parts = parts(self.lower.program, function)?;
        let fits = self.is_kernel()
            && !self.splitting.contains(&function)
            && !late::evaluable(self.lower.program, self.lower.abilities, parts.last)
            && parts.first.iter().all(|stmt| late::runs(self.lower.program, self.lower.abilities, stmt));
        fits.then_some(parts)
    }

    /// Runs the first part of a call here; what the last part needs.
    pub(super) fn first_part(
        &mut self,
        function: FunctionId,
        args: &'p [Expr],
        parts: &Parts<'p>,
    ) -> Captured<'p> {
        let args = self.args(args);
        let outer = self.enter(function);
        for n in 0..self.locals.len() {
            let dest = self.local(LocalId(n as u32));
            match (dest, args.get(n)) {
                (Dest::Long(dest), Some(Arg::Long(value))) => self.push(Inst::Copy { dest, value: *value }),
                (Dest::Str(dest), Some(Arg::Str(value))) => self.push(Inst::StrCopy { dest, value: *value }),
                (Dest::Long(dest), _) => self.push(Inst::Copy { dest, value: LongOp::Imm(0) }),
                (Dest::Str(dest), _) => {
                    let value = StrOp::Lit(self.lower.module.string(b""));
                    self.push(Inst::StrCopy { dest, value });
                }
            }
        }
        self.splitting.push(function);
        self.stmts(parts.first);
        let mut inside = Vec::new();
        self.frontier(parts.last, &mut inside);
        self.splitting.pop();
        let late_locals = std::mem::take(&mut self.late_locals);
        self.leave_function(outer);
        Captured::Split(inside, late_locals)
    }

    /// The last part of a call, in a continuation.
    pub(super) fn last_part(&mut self, function: FunctionId, inside: Inside<'p>) -> StrOp {
        let Some(parts) = parts(self.lower.program, function) else {
            panic!("this is a bug: a function was split that cannot be")
        };
        let outer = self.enter(function);
        (self.leaves, self.late_locals) = (inside.leaves, inside.late_locals);
        let value = self.string(parts.last);
        self.leave_function(outer);
        value
    }

    fn enter(&mut self, function: FunctionId) -> Outer<'p> {
        let owner = Owner::Function(function.0 as usize);
        let count = self.lower.locals_of(owner).len();
        Outer {
            owner: std::mem::replace(&mut self.owner, owner),
            locals: std::mem::replace(&mut self.locals, vec![None; count]),
            late_locals: std::mem::take(&mut self.late_locals),
            leaves: std::mem::take(&mut self.leaves),
            unread: std::mem::take(&mut self.unread),
        }
    }

    fn leave_function(&mut self, outer: Outer<'p>) {
        let Outer { owner, locals, late_locals, leaves, unread } = outer;
        (self.owner, self.locals, self.late_locals) = (owner, locals, late_locals);
        (self.leaves, self.unread) = (leaves, unread);
    }
}

/// The parts of a function that returns a string once, at its end.
fn parts(program: &Program, function: FunctionId) -> Option<Parts<'_>> {
    let mut body = program.functions[function.0 as usize].body.as_slice();
    while let [Stmt { kind: StmtKind::Block(inner), .. }] = body {
        body = inner;
    }
    let (end, first) = body.split_last()?;
    let StmtKind::Return(Some(last)) = &end.kind else { return None };
    let mut leaves_early = false;
    walk::stmts(first, &mut |stmt| {
        leaves_early |= matches!(stmt.kind, StmtKind::Return(_) | StmtKind::Next);
    });
    (!leaves_early && last.ty == Ty::Str).then_some(Parts { first, last })
}
