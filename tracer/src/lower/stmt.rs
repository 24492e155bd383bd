//! Statements.

use tracer_common::ir::{BinOp, Block, CmpOp, Dest, Inst, Key, LongOp, Term};
use tracer_common::stat::HistOp;

use crate::lower::body::{Body, LoopTargets};
use crate::lower::capacity::Owner;
use crate::lower::late::{self, Moved};
use crate::lower::visit;
use crate::sema::program::{Element, Expr, ExprKind, Foreach, Iterated, Place, Stmt, StmtKind, Ty};

impl<'p> Body<'_, 'p> {
    pub(super) fn stmts(&mut self, stmts: &'p [Stmt]) {
        for stmt in stmts {
            if self.f.is_ended() {
                // Code after `next`, `return` or `break` is never reached.
                return;
            }
            self.stmt(stmt);
        }
    }

    pub(super) fn stmt(&mut self, stmt: &'p Stmt) {
        self.at(stmt.span);
        if !self.is_kernel() {
            self.push(Inst::Tick { count: 1 });
        }
        match &stmt.kind {
            StmtKind::Expr(expr) => self.expr_stmt(stmt, expr),
            StmtKind::Block(inner) => self.stmts(inner),
            StmtKind::If { cond, then, otherwise } => {
                let (yes, no, after) = (self.f.block(), self.f.block(), self.f.block());
                self.condition(cond, yes, no);
                self.f.switch_to(yes);
                self.stmts(then);
                self.f.fall_to(after);
                self.f.switch_to(no);
                self.stmts(otherwise);
                self.f.fall_to(after);
                self.f.switch_to(after);
            }
            StmtKind::Loop { cond, step, body } => self.repeat(cond.as_ref(), step.as_ref(), body),
            StmtKind::Foreach(_) if self.is_kernel() && !self.runs_at_the_hit(stmt) => {
                self.emit_late(Moved::Stmt(stmt));
            }
            StmtKind::Foreach(foreach) => self.foreach(foreach),
            StmtKind::Return(value) => {
                let value = value.as_ref().map(|v| self.arg(v));
                let value = match (value, self.result) {
                    (None, Some(_)) => Some(self.default_result()),
                    (value, _) => value,
                };
                self.f.end(Term::Return(value));
            }
            StmtKind::Next => self.f.end(Term::Next),
            StmtKind::Break => self.leave(|targets| targets.after),
            StmtKind::Continue => self.leave(|targets| targets.again),
            StmtKind::Clear(global) => {
                let global = self.lower.global(*global);
                self.push(Inst::Clear { global });
            }
            StmtKind::Delete { global, keys } => {
                let is_slice = keys.iter().any(Option::is_none);
                if self.is_kernel() && is_slice && !self.lower.abilities.finds_slices {
                    return self.emit_late(Moved::Stmt(stmt));
                }
                let keys = self.slice(*global, keys);
                let global = self.lower.global(*global);
                self.push(Inst::Delete { global, keys });
            }
            StmtKind::Try { body, message, handler } => self.try_catch(body, *message, handler),
        }
    }

    fn runs_at_the_hit(&self, stmt: &Stmt) -> bool {
        let owner = match self.owner {
            Owner::Probe(_) => visit::Owner::Handler(self.body()),
            Owner::Function(_) => visit::Owner::Function,
        };
        visit::at_the_hit(self.lower.program, self.lower.abilities, owner, stmt)
    }

    /// An expression for its effect.
    fn expr_stmt(&mut self, stmt: &'p Stmt, expr: &'p Expr) {
        if let ExprKind::Assign { place: Place::Local(local), value } = &expr.kind
            && self.unread.contains(local)
            && late::is_quiet(self.lower.program, value)
        {
            return;
        }
        if self.is_kernel() {
            if let ExprKind::Assign { place: Place::Local(local), value } = &expr.kind
                && value.ty == Ty::Str
                && !late::evaluable(self.lower.program, self.lower.abilities, value)
                && self.is_defined_once(*local, stmt)
            {
                return self.define_late_local(*local, value);
            }
            let moves = match &expr.kind {
                ExprKind::Print { to_string: false, .. } | ExprKind::Hist { to_string: false, .. } => true,
                ExprKind::Intrinsic { intrinsic, .. } => {
                    intrinsic.domains() == tracer_common::intrinsic::Domains::User
                }
                ExprKind::Call { function, args } => {
                    let (program, abilities) = (self.lower.program, self.lower.abilities);
                    args.iter().any(|arg| !late::evaluable(program, abilities, arg))
                        && late::is_deferrable(program, *function)
                }
                _ => false,
            };
            if moves {
                return self.emit_late(Moved::Expr(expr));
            }
        }
        self.effect(expr);
    }

    fn leave(&mut self, target: impl Fn(&LoopTargets) -> Block) {
        // Pass 2 refuses `break` and `continue` outside loops.
        let to = self.loops.last().map(target).expect("this is a bug: break outside a loop after pass 2");
        self.f.end(Term::Jump(to));
    }

    fn repeat(&mut self, cond: Option<&'p Expr>, step: Option<&'p Expr>, body: &'p [Stmt]) {
        let (test, round, again, after) = (self.f.block(), self.f.block(), self.f.block(), self.f.block());
        self.f.end(Term::Jump(test));
        self.f.switch_to(test);
        match cond {
            Some(cond) => self.condition(cond, round, after),
            None => self.f.end(Term::Jump(round)),
        }
        self.f.switch_to(round);
        self.push(Inst::Tick { count: if self.is_kernel() { body.len() as u32 + 1 } else { 1 } });
        self.loops.push(LoopTargets { after, again });
        self.stmts(body);
        self.loops.pop();
        self.f.fall_to(again);
        self.f.switch_to(again);
        if let Some(step) = step {
            self.effect(step);
        }
        self.f.fall_to(test);
        self.f.switch_to(after);
    }

    /// The buckets of a histogram, one after the other: a counter, and the look at the first, which fails without values.
    fn buckets(&mut self, foreach: &'p Foreach, hist: HistOp, place: &'p Element) {
        let limit = foreach.limit.as_ref().map(|limit| self.kept_long(limit));
        let element = self.element(place);
        let (next, index, count) = (self.f.long(), self.f.long(), self.f.long());
        let zero = LongOp::Imm(0);
        self.push(Inst::Bucket { dest: count, hist, element: element.clone(), index: zero });
        self.push(Inst::Copy { dest: next, value: zero });
        let (head, body, after) = (self.f.block(), self.f.block(), self.f.block());
        self.f.fall_to(head);
        self.f.switch_to(head);
        let most = LongOp::Imm(hist.buckets() as i64);
        let in_range =
            self.make(|dest| Inst::Cmp { op: CmpOp::Lt, dest, left: LongOp::Var(next), right: most });
        let more = match limit {
            None => in_range,
            Some(right) => {
                let within =
                    self.make(|dest| Inst::Cmp { op: CmpOp::Lt, dest, left: LongOp::Var(next), right });
                self.bin(BinOp::And, in_range, within)
            }
        };
        self.f.end(Term::Branch { condition: more, then: body, otherwise: after });
        self.f.switch_to(body);
        self.push(Inst::Tick { count: foreach.body.len() as u32 + 1 });
        self.push(Inst::Copy { dest: index, value: LongOp::Var(next) });
        self.push(Inst::Bin { op: BinOp::Add, dest: next, left: LongOp::Var(next), right: LongOp::Imm(1) });
        if let [key] = foreach.keys.as_slice()
            && let Dest::Long(dest) = self.local(*key)
        {
            self.push(Inst::Copy { dest, value: LongOp::Var(index) });
        }
        if let Some(value) = foreach.value
            && let Dest::Long(dest) = self.local(value)
        {
            self.push(Inst::Bucket { dest, hist, element, index: LongOp::Var(index) });
        }
        self.loops.push(LoopTargets { after, again: head });
        self.stmts(&foreach.body);
        self.loops.pop();
        self.f.fall_to(head);
        self.f.switch_to(after);
    }

    fn foreach(&mut self, foreach: &'p Foreach) {
        if let (true, Iterated::Hist { hist, place }) = (self.is_kernel(), &foreach.over) {
            return self.buckets(foreach, *hist, place);
        }
        let iter = self.f.iter();
        let limit = foreach.limit.as_ref().map(|limit| self.long(limit));
        match &foreach.over {
            Iterated::Array { global, slice } => {
                let keys: Vec<Key> = if slice.is_empty() {
                    vec![None; self.lower.program.globals[global.0 as usize].keys.len()]
                } else {
                    self.slice(*global, slice)
                };
                let global = self.lower.global(*global);
                self.push(Inst::Iterate { iter, global, keys, sort: foreach.sort, limit });
            }
            Iterated::Hist { hist, place } => {
                let element = self.element(place);
                self.push(Inst::IterateHist { iter, hist: *hist, element, sort: foreach.sort, limit });
            }
        }
        let (head, body, after) = (self.f.block(), self.f.block(), self.f.block());
        self.f.fall_to(head);
        self.f.switch_to(head);
        let keys = foreach.keys.iter().map(|key| self.local(*key)).collect();
        let value: Option<Dest> = foreach.value.map(|value| self.local(value));
        self.f.end(Term::IterNext { iter, keys, value, body, done: after });
        self.f.switch_to(body);
        if self.is_kernel() {
            self.push(Inst::Tick { count: foreach.body.len() as u32 + 1 });
        }
        self.loops.push(LoopTargets { after, again: head });
        self.stmts(&foreach.body);
        self.loops.pop();
        self.f.fall_to(head);
        self.f.switch_to(after);
    }

    fn try_catch(
        &mut self,
        body: &'p [Stmt],
        message: Option<crate::sema::program::LocalId>,
        handler: &'p [Stmt],
    ) {
        let (caught, after) = (self.f.block(), self.f.block());
        let outer = self.f.set_catch(Some(caught));
        let guarded = self.f.block();
        self.f.end(Term::Jump(guarded));
        self.f.switch_to(guarded);
        self.stmts(body);
        self.f.fall_to(after);
        self.f.set_catch(outer);
        self.f.switch_to(caught);
        if let Some(message) = message
            && !self.unread.contains(&message)
        {
            match self.local(message) {
                Dest::Str(dest) => self.push(Inst::Caught { dest }),
                Dest::Long(_) => {}
            }
        }
        self.stmts(handler);
        self.f.fall_to(after);
        self.f.switch_to(after);
    }

    /// Goes to `yes` when the expression is not 0, else to `no`.
    pub(super) fn condition(&mut self, expr: &'p Expr, yes: Block, no: Block) {
        // What was captured as a whole is not taken apart: its parts were not.
        let is_captured = self.leaf(expr).is_some();
        match &expr.kind {
            ExprKind::And(left, right) if !is_captured => {
                let both = self.f.block();
                self.condition(left, both, no);
                self.f.switch_to(both);
                self.condition(right, yes, no);
            }
            ExprKind::Or(left, right) if !is_captured => {
                let neither = self.f.block();
                self.condition(left, yes, neither);
                self.f.switch_to(neither);
                self.condition(right, yes, no);
            }
            ExprKind::Not(inner) if !is_captured => self.condition(inner, no, yes),
            _ => {
                let condition = self.long(expr);
                match condition {
                    LongOp::Imm(value) => self.f.end(Term::Jump(if value != 0 { yes } else { no })),
                    LongOp::Var(_) => {
                        self.f.end(Term::Branch { condition, then: yes, otherwise: no });
                    }
                }
            }
        }
    }
}
