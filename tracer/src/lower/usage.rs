//! What handlers do with globals: which kernel code touches, whose order shows, which need a lock.
//!
//! A global is *shared* when kernel code can touch it; all others live in the evaluator alone. Its order is seen
//! when some `foreach` visits it unsorted, or when it wraps. A kernel handler needs a lock on a global that it both reads and
//! overwrites (`Set`): two hits at once would lose one of the updates. Such a global is *guarded*: whoever writes it
//! takes its lock, else an update between another handler's read and write would be lost. Elsewhere a single `++`,
//! `+=`, `<<<` or `delete` is atomic by itself and takes none; but an update of `@variance` is not, so statistics that
//! keep it are guarded, and neither is the assignment of a string, whose readers take the lock too.
//!
//! What runs in the user domain beside kernel handlers (timers, and statements that moved there) takes the same locks.
//! It guards more: what it reads and then overwrites, deletes or clears while kernel handlers write it
//! (`print(n); n = 0`), and arrays whose elements it updates, for which it has no atomic instruction.

use std::collections::BTreeSet;

use crate::lower::Abilities;
use crate::lower::visit::{self, Owner};
use crate::sema::program::{
    Element, Expr, ExprKind, Global, GlobalId, GlobalTy, Iterated, Place, Probe, Program, Stmt, StmtKind,
    Trigger, Ty,
};
use crate::sema::walk;
use tracer_common::ir::BinOp;
use tracer_common::stat::StatOp;

/// Facts about all globals.
pub(super) struct Usage {
    /// Touched by kernel code.
    pub(super) shared: Vec<bool>,
    /// Statistics of which kernel code reads buckets, and must know whether there are values.
    pub(super) counted: Vec<bool>,
    /// Visited unsorted, or dropping what is oldest.
    pub(super) ordered: Vec<bool>,
    /// Written by handlers one at a time only.
    guarded: BTreeSet<u32>,
    /// Read by handlers one at a time too: a value has many words.
    wide: BTreeSet<u32>,
}

/// How one body, with everything it calls, touches globals.
#[derive(Default, Clone)]
pub(super) struct Touches {
    read: BTreeSet<u32>,
    overwritten: BTreeSet<u32>,
    removed: BTreeSet<u32>,
    /// Elements of arrays, by `++`, `+=` and so on.
    updated: BTreeSet<u32>,
    written: BTreeSet<u32>,
    any: BTreeSet<u32>,
    /// Whose buckets are read.
    buckets: BTreeSet<u32>,
    functions: BTreeSet<u32>,
    /// Globals and functions in the order of their first mention.
    globals_seen: Vec<u32>,
    functions_seen: Vec<u32>,
}

impl Usage {
    /// Analyses a program.
    pub(super) fn new(program: &Program, abilities: Abilities) -> Usage {
        let count = program.globals.len();
        let varies = |global: &Global| matches!(global.ty, GlobalTy::Stats(f) if f.variance.is_some());
        let guarded = (0u32..).zip(&program.globals).filter(|(_, global)| varies(global)).map(|(n, _)| n);
        // The oldest insertion is what such an array drops.
        let wraps = program.globals.iter().map(|global| global.wrap);
        let mut usage = Usage {
            shared: vec![false; count],
            counted: vec![false; count],
            ordered: wraps.collect(),
            guarded: guarded.collect(),
            wide: BTreeSet::new(),
        };
        // What handlers write in the kernel, and what they do beside it in the user domain.
        let mut kernel = BTreeSet::new();
        let mut beside = Vec::new();
        // What is visited at the hit: nobody may remove elements meanwhile, and nothing may come between a visit and a
        // `delete` after it.
        let mut visited = BTreeSet::new();
        let mut removed = BTreeSet::new();
        for probe in &program.probes {
            if !probe.trigger.is_user() {
                let mut touches = Touches::of_probe(program, probe);
                for saved in &probe.saved {
                    touches.expr(saved);
                }
                touches.close(program);
                for global in &touches.any {
                    usage.shared[*global as usize] = true;
                }
                for global in &touches.buckets {
                    usage.counted[*global as usize] = true;
                }
                usage.guarded.extend(touches.read.intersection(&touches.overwritten));
                visited.extend(visit::visited(program, abilities, &probe.body));
                removed.extend(&touches.removed);
                kernel.extend(touches.written);
                walk::stmts(&probe.body, &mut |stmt| {
                    if matches!(stmt.kind, StmtKind::Foreach(_))
                        && !visit::at_the_hit(program, abilities, Owner::Handler(&probe.body), stmt)
                    {
                        beside.push(Touches::of(program, std::slice::from_ref(stmt)));
                    }
                });
            } else if matches!(probe.trigger, Trigger::Timer { .. }) {
                let touches = Touches::of(program, &probe.body);
                removed.extend(&touches.removed);
                beside.push(touches);
            }
        }
        removed.extend((0u32..).zip(&program.globals).filter(|(_, global)| global.wrap).map(|(n, _)| n));
        usage.guarded.extend(visited.intersection(&removed));
        usage.guard_beside(program, &kernel, &beside);
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

    /// Guards what handlers of the user domain would spoil, or see half written.
    fn guard_beside(&mut self, program: &Program, kernel: &BTreeSet<u32>, beside: &[Touches]) {
        // Elements of arrays are replaced as a whole.
        let is_text = |n: &u32| {
            let global = &program.globals[*n as usize];
            global.keys.is_empty() && matches!(global.ty, GlobalTy::Value(Ty::Str))
        };
        let mut wide: BTreeSet<u32> = kernel.iter().copied().filter(is_text).collect();
        for touches in beside {
            let replaced: BTreeSet<u32> = touches.overwritten.union(&touches.removed).copied().collect();
            let spoilt = touches.read.intersection(&replaced).chain(&touches.updated);
            self.guarded.extend(spoilt.filter(|n| kernel.contains(n)).copied());
            let shared = |n: &u32| self.shared[*n as usize] && is_text(n);
            wide.extend(touches.written.iter().copied().filter(shared));
        }
        self.guarded.extend(&wide);
        self.wide = wide;
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

    /// What a kernel handler touches, its guard included.
    pub(super) fn of_probe(program: &Program, probe: &Probe) -> Touches {
        let mut touches = Touches::of(program, &probe.body);
        if let Some(begun) = probe.begun {
            touches.any.insert(begun.0);
            touches.written.insert(begun.0);
        }
        touches
    }

    /// Globals whose updates would be lost, or whose values would be torn, without a lock.
    pub(super) fn locks(&self, usage: &Usage) -> Vec<GlobalId> {
        let written = self.written.intersection(&usage.guarded);
        let found: BTreeSet<u32> = written.chain(self.read.intersection(&usage.wide)).copied().collect();
        found.into_iter().map(GlobalId).collect()
    }

    /// The same for a kernel handler, and the arrays that it visits at the hit.
    pub(super) fn locks_of_handler(&self, usage: &Usage, visited: BTreeSet<u32>) -> Vec<GlobalId> {
        let locks = self.locks(usage).into_iter().map(|global| global.0);
        let found: BTreeSet<u32> = locks.chain(visited).collect();
        found.into_iter().map(GlobalId).collect()
    }

    /// Whether globals are changed.
    pub(super) fn changes(&self) -> bool {
        !self.written.is_empty()
    }

    /// Whether something is touched that the whole handler changes.
    pub(super) fn reads_what_changes(&self, handler: &Touches) -> bool {
        !self.any.is_disjoint(&handler.written)
    }

    fn writes(&mut self, global: GlobalId) {
        self.touch(global);
        self.written.insert(global.0);
    }

    fn overwrites(&mut self, global: GlobalId) {
        self.writes(global);
        self.overwritten.insert(global.0);
    }

    fn updates(&mut self, element: &Element) {
        if !element.keys.is_empty() {
            self.updated.insert(element.global.0);
        }
    }

    fn body(&mut self, body: &[Stmt]) {
        walk::stmts(body, &mut |stmt| {
            match &stmt.kind {
                StmtKind::Clear(global) | StmtKind::Delete { global, .. } => {
                    self.writes(*global);
                    self.removed.insert(global.0);
                }
                StmtKind::Foreach(foreach) => match &foreach.over {
                    Iterated::Array { global, .. } => self.reads(*global),
                    Iterated::Hist { place, .. } => {
                        self.reads(place.global);
                        self.buckets.insert(place.global.0);
                    }
                },
                _ => {}
            }
            walk::stmt_exprs(stmt, &mut |e| self.expr(e));
        });
    }

    fn expr(&mut self, expr: &Expr) {
        walk::expr(expr, &mut |e| self.expr_itself(e));
    }

    fn expr_itself(&mut self, expr: &Expr) {
        match &expr.kind {
            // Several words that say something together.
            ExprKind::Stat { op: StatOp::Variance, global, .. } => self.writes(*global),
            ExprKind::Get(Element { global, .. })
            | ExprKind::Contains { global, .. }
            | ExprKind::Stat { global, .. } => self.reads(*global),
            ExprKind::Bucket { element, .. } => {
                self.reads(element.global);
                self.buckets.insert(element.global.0);
            }
            ExprKind::Hist { element, .. } => self.reads(element.global),
            ExprKind::Aggregate { element, .. } => self.writes(element.global),
            ExprKind::Assign { place: Place::Global(element), .. } => self.overwrites(element.global),
            ExprKind::Modify { place: Place::Global(element), op, .. } => {
                self.writes(element.global);
                self.updates(element);
                if !is_atomic(*op) {
                    self.reads(element.global);
                    self.overwrites(element.global);
                }
            }
            ExprKind::Append { place: Place::Global(element), .. } => {
                self.reads(element.global);
                self.overwrites(element.global);
            }
            ExprKind::Crement { place: Place::Global(element), .. } => {
                self.writes(element.global);
                self.updates(element);
            }
            ExprKind::Call { function, .. } if self.functions.insert(function.0) => {
                self.functions_seen.push(function.0);
            }
            _ => {}
        }
    }

    fn touch(&mut self, global: GlobalId) {
        if self.any.insert(global.0) {
            self.globals_seen.push(global.0);
        }
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

/// The place of each global in the order in which the script mentions them: in probes, then in the functions that these
/// call. SystemTap prints globals at the end in this order.
pub(super) fn order_of_mention(program: &Program) -> Vec<u32> {
    let mut touches = Touches::default();
    for probe in &program.probes {
        touches.body(&probe.body);
    }
    let mut next = 0;
    while let Some(function) = touches.functions_seen.get(next).copied() {
        touches.body(&program.functions[function as usize].body);
        next += 1;
    }
    let mut order = vec![0; program.globals.len()];
    for (place, global) in (0..).zip(&touches.globals_seen) {
        order[*global as usize] = place;
    }
    order
}

/// Globals whose value is taken from `++`, `+=` and the like, as in `if (n++)`: these are read.
pub(super) fn read_by_the_way(program: &Program) -> BTreeSet<u32> {
    let mut read = BTreeSet::new();
    let mut note = |e: &Expr| {
        if let ExprKind::Crement { place: Place::Global(element), .. }
        | ExprKind::Modify { place: Place::Global(element), .. }
        | ExprKind::Append { place: Place::Global(element), .. } = &e.kind
        {
            read.insert(element.global.0);
        }
    };
    let bodies = program.probes.iter().map(|p| &p.body).chain(program.functions.iter().map(|f| &f.body));
    for body in bodies {
        walk::stmts(body, &mut |stmt| {
            let alone = match &stmt.kind {
                StmtKind::Expr(e) => Some(e),
                StmtKind::Loop { step, .. } => step.as_ref(),
                _ => None,
            };
            walk::stmt_exprs(stmt, &mut |e| match alone {
                // Nobody takes the value of a statement.
                Some(alone) if std::ptr::eq(alone, e) => {
                    walk::children(e, &mut |child| walk::expr(child, &mut note));
                }
                _ => walk::expr(e, &mut note),
            });
        });
    }
    read
}

/// Whether `op=` is one atomic instruction.
pub(super) fn is_atomic(op: BinOp) -> bool {
    match op {
        BinOp::Add | BinOp::Sub | BinOp::And | BinOp::Or | BinOp::Xor => true,
        BinOp::Mul | BinOp::Div | BinOp::Rem | BinOp::Shl | BinOp::Sar | BinOp::Shr => false,
    }
}
