//! Guards: what is tested at a hit before anything of the handler runs.
//!
//! **Not here:** what is tested (`families::task`), how (`lower::guard`).

use tracer_common::intrinsic::Intrinsic;
use tracer_common::manifest::{AttachPoint, ProgramKind, Site};

use crate::sema::program::{
    Access, Expr, ExprKind, Global, GlobalId, GlobalTy, Probe, Program, Stmt, StmtKind, Trigger, Ty,
};

/// What is tested at a hit before anything of the handler runs: the program is hit by more than it is for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Guard {
    /// In this order.
    pub steps: Vec<Check>,
    /// Beyond the steps: this must be true, or the thread be one that passes here for the first time.
    pub fresh: Option<Access>,
}

/// A step of a guard.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Check {
    /// Keeps a value: [`Access::Dynamic`] names it, 1 for the first; 0 is the address of the current task.
    Keep(Access),
    /// Ends the hit unless it is true.
    Test(Access),
}

/// As many threads as can have begun and not ended.
const THREADS: u32 = 10_240;

/// In a guard, the address of the current task.
pub(super) const TASK: Access = Access::Dynamic(0);

impl Guard {
    /// Keeps a value for what follows, which names it by the result.
    pub fn keep(&mut self, access: Access) -> Access {
        let kept = self.steps.iter().filter(|step| matches!(step, Check::Keep(_))).count();
        self.steps.push(Check::Keep(access));
        // The task is the first.
        Access::Dynamic(kept as u32 + 1)
    }

    /// Lets only those hits through for which this is true.
    pub fn test(&mut self, access: Access) {
        self.steps.push(Check::Test(access));
    }
}

/// The arrays of threads that have begun, behind all other globals, and probes that forget those that end.
pub(super) fn add_begun(program: &mut Program) {
    let mut forget = Vec::new();
    for probe in program.probes.iter_mut().filter(|probe| probe.guard.fresh.is_some()) {
        let span = probe.span;
        let global = GlobalId(program.globals.len() as u32);
        probe.begun = Some(global);
        program.globals.push(Global {
            name: format!("@begun.{}", forget.len()).into(),
            span,
            keys: vec![Ty::Long],
            ty: GlobalTy::Value(Ty::Long),
            init: None,
            size: Some(THREADS),
            wrap: false,
            read: true,
            written: true,
        });
        let thread = ExprKind::Intrinsic { intrinsic: Intrinsic::Tid, args: Vec::new() };
        let thread = Expr { kind: thread, ty: Ty::Long, span };
        let delete = StmtKind::Delete { global, keys: vec![Some(thread)] };
        forget.push(Probe {
            sites: vec![program.sites.len() as u32],
            body: vec![Stmt { kind: delete, span }],
            ..Probe::new(Trigger::Kernel(ProgramKind::RawTracepoint), span)
        });
        let attach = AttachPoint::Tracepoint { name: "sched_process_exit".to_owned() };
        program.sites.push(Site::new(attach, "kernel.trace(\"sched_process_exit\")"));
    }
    program.probes.append(&mut forget);
}
