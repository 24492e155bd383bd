//! What handlers do with globals: which kernel code touches, whose order shows, which need a lock.
//!
//! A global is *shared* when kernel code can touch it; all others live in the evaluator alone. Its order is seen
//! when some `foreach` visits it unsorted. A kernel handler needs a lock on a global that it both reads and
//! overwrites (`Set`): two hits at once would lose one of the updates. A single `++`, `+=`, `<<<` or `delete` is
//! atomic by itself and takes none.

use std::collections::BTreeSet;

use crate::lower::walk;
use crate::sema::program::{Element, Expr, ExprKind, GlobalId, Iterated, Place, Program, Stmt, StmtKind};
use tracer_common::ir::BinOp;

/// Facts about all globals.
pub(super) struct Usage {
    /// Touched by kernel code.
    pub(super) shared: Vec<bool>,
    /// Visited unsorted.
    pub(super) ordered: Vec<bool>,
}

/// How one body, with everything it calls, touches globals.
#[derive(Default, Clone)]
pub(super) struct Touches {
    read: BTreeSet<u32>,
    overwritten: BTreeSet<u32>,
    any: BTreeSet<u32>,
    functions: BTreeSet<u32>,
}

impl Usage {
    /// Analyses a program.
    pub(super) fn new(program: &Program) -> Usage {
        let count = program.globals.len();
        let mut usage = Usage { shared: vec![false; count], ordered: vec![false; count] };
        for probe in &program.probes {
            if !probe.trigger.is_user() {
                let mut touches = Touches::of(program, &probe.body);
                for saved in &probe.saved {
                    touches.expr(saved);
                }
                touches.close(program);
                for global in &touches.any {
                    usage.shared[*global as usize] = true;
                }
            }
        }
        let bodies = program.probes.iter().map(|p| &p.body).chain(program.functions.iter().map(|f| &f.body));
        for body in bodies {
            walk::stmts(body, &mut |stmt| {
                if let StmtKind::Foreach(foreach) = &stmt.kind
                    && let (Iterated::Array { global, .. }, None) = (&foreach.over, &foreach.sort)
                {
                    usage.ordered[global.0 as usize] = true;
                }
            });
        }
        usage
    }
}

impl Touches {
    /// What a body touches, through the functions that it calls too.
    pub(super) fn of(program: &Program, body: &[Stmt]) -> Touches {
        let mut touches = Touches::default();
        touches.body(body);
        touches.close(program);
        touches
    }

    /// Globals whose updates would be lost without a lock.
    pub(super) fn locks(&self) -> Vec<GlobalId> {
        self.read.intersection(&self.overwritten).map(|g| GlobalId(*g)).collect()
    }

    fn body(&mut self, body: &[Stmt]) {
        walk::stmts(body, &mut |stmt| match &stmt.kind {
            StmtKind::Clear(global) | StmtKind::Delete { global, .. } => self.touch(*global),
            StmtKind::Foreach(foreach) => match &foreach.over {
                Iterated::Array { global, .. } => self.reads(*global),
                Iterated::Hist { place, .. } => self.reads(place.global),
            },
            _ => {}
        });
        walk::exprs(body, &mut |e| self.expr_itself(e));
    }

    fn expr(&mut self, expr: &Expr) {
        walk::expr(expr, &mut |e| self.expr_itself(e));
    }

    fn expr_itself(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Get(Element { global, .. })
            | ExprKind::Contains { global, .. }
            | ExprKind::Stat { global, .. } => self.reads(*global),
            ExprKind::Bucket { element, .. } | ExprKind::Hist { element, .. } => self.reads(element.global),
            ExprKind::Aggregate { element, .. } => self.touch(element.global),
            ExprKind::Assign { place: Place::Global(element), .. } => {
                self.touch(element.global);
                self.overwritten.insert(element.global.0);
            }
            ExprKind::Modify { place: Place::Global(element), op, .. } => {
                self.touch(element.global);
                if !is_atomic(*op) {
                    self.reads(element.global);
                    self.overwritten.insert(element.global.0);
                }
            }
            ExprKind::Append { place: Place::Global(element), .. } => {
                self.reads(element.global);
                self.overwritten.insert(element.global.0);
            }
            ExprKind::Crement { place: Place::Global(element), .. } => self.touch(element.global),
            ExprKind::Call { function, .. } => {
                self.functions.insert(function.0);
            }
            _ => {}
        }
    }

    fn touch(&mut self, global: GlobalId) {
        self.any.insert(global.0);
    }

    fn reads(&mut self, global: GlobalId) {
        self.touch(global);
        self.read.insert(global.0);
    }

    /// Adds what the called functions touch.
    fn close(&mut self, program: &Program) {
        let mut done = BTreeSet::new();
        while let Some(next) = self.functions.difference(&done).next().copied() {
            done.insert(next);
            self.body(&program.functions[next as usize].body);
        }
    }
}

/// Whether `op=` is one atomic instruction.
pub(super) fn is_atomic(op: BinOp) -> bool {
    match op {
        BinOp::Add | BinOp::Sub | BinOp::And | BinOp::Or | BinOp::Xor => true,
        BinOp::Mul | BinOp::Div | BinOp::Rem | BinOp::Shl | BinOp::Sar | BinOp::Shr => false,
    }
}
