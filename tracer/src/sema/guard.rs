//! Guards: what is tested at a hit before anything of the handler runs.
//!
//! **Not here:** what is tested (`families::task`).

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::CmpOp;
use tracer_common::manifest::{AttachPoint, ProgramKind, Site};

use crate::sema::elaborate::Elaborator;
use crate::sema::program::{
    Access, Element, Expr, ExprKind, Global, GlobalId, GlobalTy, Place, Probe, Program, Stmt, StmtKind,
    Target, TargetValue, Trigger, Ty,
};
use crate::source::Span;

/// As many threads as can have begun and not ended.
const THREADS: u32 = 10_240;

impl Elaborator<'_, '_> {
    /// The statements of a group's guard.
    pub(super) fn guard(&self, n: usize) -> Vec<Stmt> {
        let group = &self.groups[n];
        let span = group.span;
        let mut stmts: Vec<Stmt> = group.guard.iter().map(|test| unless(target(test, span))).collect();
        if let Some(fresh) = &group.fresh {
            let before = self.groups[..n].iter().filter(|group| group.fresh.is_some()).count();
            let seen = begun(GlobalId((self.symbols.globals.len() + before) as u32), span);
            let crement = ExprKind::Crement { place: Place::Global(seen), by: 1, prefix: false };
            let first = ExprKind::Compare {
                op: CmpOp::Eq,
                left: Box::new(long(crement, span)),
                right: Box::new(long(ExprKind::Number(0), span)),
            };
            // A thread that is seen is always noted: the left side first.
            let or = ExprKind::Or(Box::new(long(first, span)), Box::new(target(fresh, span)));
            stmts.push(unless(long(or, span)));
        }
        stmts
    }
}

/// The arrays of threads that have begun, behind all other globals, and probes that forget those that end.
pub(super) fn add_begun(program: &mut Program, groups: Vec<Span>) {
    for (n, span) in groups.into_iter().enumerate() {
        let global = GlobalId(program.globals.len() as u32);
        program.globals.push(Global {
            name: format!("@begun.{n}").into(),
            span,
            keys: vec![Ty::Long],
            ty: GlobalTy::Value(Ty::Long),
            init: None,
            size: Some(THREADS),
            wrap: false,
            read: true,
            written: true,
        });
        program.sites.push(Site {
            attach: AttachPoint::Tracepoint { name: "sched_process_exit".to_owned() },
            probe_point: "kernel.trace(\"sched_process_exit\")".to_owned(),
            alias: String::new(),
            function: String::new(),
            name: String::new(),
            provider: String::new(),
            variables: Vec::new(),
        });
        let Element { global, keys, .. } = begun(global, span);
        let delete = StmtKind::Delete { global, keys: keys.into_iter().map(Some).collect() };
        program.probes.push(Probe {
            trigger: Trigger::Kernel(ProgramKind::RawTracepoint),
            sites: vec![program.sites.len() as u32 - 1],
            span,
            locals: Vec::new(),
            body: vec![Stmt { kind: delete, span }],
            saved: Vec::new(),
            entry: None,
        });
    }
}

/// The element of the current thread.
fn begun(global: GlobalId, span: Span) -> Element {
    let thread = ExprKind::Intrinsic { intrinsic: Intrinsic::Tid, args: Vec::new() };
    Element { global, keys: vec![long(thread, span)], span }
}

fn long(kind: ExprKind, span: Span) -> Expr {
    Expr { kind, ty: Ty::Long, span }
}

fn target(access: &Access, span: Span) -> Expr {
    let task = long(ExprKind::Intrinsic { intrinsic: Intrinsic::TaskCurrent, args: Vec::new() }, span);
    let value = TargetValue::Value(access.clone());
    long(ExprKind::Target(Target { text: "the process".into(), value, indices: vec![task] }), span)
}

/// `if (!test) next`
fn unless(test: Expr) -> Stmt {
    let span = test.span;
    let cond = long(ExprKind::Not(Box::new(test)), span);
    let then = vec![Stmt { kind: StmtKind::Next, span }];
    Stmt { kind: StmtKind::If { cond, then, otherwise: Vec::new() }, span }
}
