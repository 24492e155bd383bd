//! Lowering one body: the state that statements and expressions share.
//!
//! **Not here:** statements (`stmt`), expressions (`expr`), assignment (`place`), target variables (`access`), what
//! moves to the user domain (`late`).

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::ir::FunctionBuilder;
use tracer_common::ir::{
    Arg, Block, ContextKind, Dest, Domain, FuncId, Inst, LongOp, RecordId, StrOp, StrVar, Ty as IrTy,
};

use crate::diagnostics::{Code, Diagnostic};
use crate::lower::capacity::Owner;
use crate::lower::entered::Known;
use crate::lower::late::{self, LateLocals, Leaves};
use crate::lower::{Lower, kernel_limit};
use crate::sema::program::{Expr, ExprKind, FunctionId, Local, LocalId, Place, Stmt, StmtKind, Ty};
use crate::sema::walk;
use crate::source::Span;

/// Where `break` and `continue` go.
#[derive(Clone, Copy)]
pub(super) struct LoopTargets {
    pub(super) after: Block,
    pub(super) again: Block,
}

/// One function of the IR being made.
pub(super) struct Body<'l, 'p> {
    pub(super) lower: &'l mut Lower<'p>,
    pub(super) f: FunctionBuilder,
    pub(super) domain: Domain,
    /// Registers of the traced function are arguments and result of a trampoline's context.
    pub(super) by_trampoline: bool,
    /// The probe or script function that the code comes from.
    pub(super) owner: Owner,
    /// Registers of the locals, made when first met.
    pub(super) locals: Vec<Option<Dest>>,
    /// Locals that are evaluated where they are printed.
    pub(super) late_locals: LateLocals<'p>,
    /// In continuations: expressions whose values arrived in the record.
    pub(super) leaves: Leaves<'p>,
    pub(super) loops: Vec<LoopTargets>,
    /// Values saved at entry, in return probes.
    pub(super) saved: Vec<Dest>,
    /// What registers held at the entry of the call.
    pub(super) entered: Vec<Known<'p>>,
    /// Where files are loaded in the process, by path.
    pub(super) modules: Vec<(&'p str, LongOp)>,
    /// Locals that nobody reads.
    pub(super) unread: BTreeSet<LocalId>,
    /// Split functions that are being taken apart.
    pub(super) splitting: Vec<FunctionId>,
    /// In script functions: what is returned.
    pub(super) result: Option<IrTy>,
    /// In functions that recurse in kernel code: how deep this one is called.
    pub(super) depth: u32,
    /// In continuations: what they look at is what was there at the hit, never later.
    pub(super) of_hit: bool,
}

impl<'l, 'p> Body<'l, 'p> {
    /// The globals that must not change under the function.
    pub(super) fn locks(&mut self, globals: Vec<crate::sema::program::GlobalId>) {
        for global in globals {
            self.f.lock(crate::lower::expr::global_id(global));
        }
    }

    pub(super) fn new(
        lower: &'l mut Lower<'p>,
        name: &str,
        domain: Domain,
        context: ContextKind,
        owner: Owner,
    ) -> Body<'l, 'p> {
        let count = lower.locals_of(owner).len();
        let place = lower.place(lower.span_of(owner));
        Body {
            lower,
            f: FunctionBuilder::new(name, domain, context, place),
            domain,
            by_trampoline: context == ContextKind::Words,
            owner,
            locals: vec![None; count],
            late_locals: BTreeMap::new(),
            leaves: Leaves::new(),
            loops: Vec::new(),
            saved: Vec::new(),
            entered: Vec::new(),
            modules: Vec::new(),
            unread: BTreeSet::new(),
            splitting: Vec::new(),
            result: None,
            depth: 0,
            of_hit: false,
        }
    }

    pub(super) fn is_kernel(&self) -> bool {
        self.domain == Domain::Kernel
    }

    /// Names the place of the instructions that follow.
    pub(super) fn at(&mut self, span: Span) {
        let place = self.lower.place(span);
        self.f.at(place);
    }

    pub(super) fn push(&mut self, inst: Inst) {
        self.f.push(inst);
    }

    pub(super) fn declared(&self, local: LocalId) -> &'p Local {
        &self.lower.locals_of(self.owner)[local.0 as usize]
    }

    /// The IR type of a local.
    pub(super) fn local_type(&self, local: LocalId) -> IrTy {
        match self.declared(local).ty {
            Ty::Long => IrTy::Long,
            Ty::Str => IrTy::Str(self.lower.capacities.local(self.owner, local)),
        }
    }

    /// The register of a local.
    pub(super) fn local(&mut self, local: LocalId) -> Dest {
        if let Some(dest) = self.locals[local.0 as usize] {
            return dest;
        }
        let ty = self.local_type(local);
        let dest = self.f.dest(ty);
        self.locals[local.0 as usize] = Some(dest);
        dest
    }

    pub(super) fn capacity(&self, expr: &Expr) -> u16 {
        self.lower.capacities.expr(self.owner, expr)
    }

    /// A long in a register of its own, so that later steps cannot change it.
    pub(super) fn kept_long(&mut self, expr: &'p Expr) -> LongOp {
        match self.long(expr) {
            LongOp::Imm(value) => LongOp::Imm(value),
            value @ LongOp::Var(_) => {
                let dest = self.f.long();
                self.push(Inst::Copy { dest, value });
                LongOp::Var(dest)
            }
        }
    }

    /// A string in a register of its own.
    pub(super) fn kept_string(&mut self, expr: &'p Expr) -> StrOp {
        match self.string(expr) {
            StrOp::Var(var) if self.is_local(var) => {
                let dest = self.f.string(self.f.capacity(var));
                self.push(Inst::StrCopy { dest, value: StrOp::Var(var) });
                StrOp::Var(dest)
            }
            value => value,
        }
    }

    fn is_local(&self, var: StrVar) -> bool {
        self.locals.contains(&Some(Dest::Str(var)))
    }

    /// Sends a record.
    pub(super) fn emit(&mut self, record: RecordId, values: Vec<Arg>) {
        self.push(Inst::Emit { record, values });
    }

    /// Reports that something has no form in this domain.
    pub(super) fn unsupported(&mut self, span: Span, what: &str) {
        let domain = if self.is_kernel() { "a kernel-domain" } else { "a user-domain" };
        self.lower.sink.push(
            Diagnostic::error(
                Code::Unsupported,
                span,
                format!("{what} is not supported in {domain} handler yet"),
            )
            .hint(if self.is_kernel() {
                "print it, or compute it in a timer or end probe: those run in the user domain"
            } else {
                "use it in a probe of the kernel domain"
            }),
        );
    }

    /// Reports what this kernel does not let a handler do.
    pub(super) fn kernel_lacks(&mut self, span: Span, what: &str, since: &str) {
        self.lower.sink.push(
            kernel_limit::lacks(span, what, format!("Linux {since} and newer do"))
                .hint(kernel_limit::ELSEWHERE),
        );
    }

    /// The statements of the probe or function.
    pub(super) fn body(&self) -> &'p [Stmt] {
        self.lower.body_of(self.owner)
    }

    /// Ends the function and hands it to the module.
    pub(super) fn finish(mut self) -> FuncId {
        self.end_function();
        let function = self.f.finish();
        self.lower.module.function(function)
    }

    /// The same for a function that was declared before.
    pub(super) fn finish_as(mut self, id: FuncId) {
        self.end_function();
        let function = self.f.finish();
        self.lower.module.define(id, function);
    }

    fn end_function(&mut self) {
        self.f.set_result(self.result);
        if !self.f.is_ended() {
            let value = self.result.is_some().then(|| self.default_result());
            self.f.ret(value);
        }
    }

    /// Finds out which locals are never read, assignments to other such locals not counted.
    pub(super) fn find_unread(&mut self, body: &'p [Stmt]) {
        let count = self.locals.len();
        let program = self.lower.program;
        loop {
            let mut read = BTreeSet::new();
            let unread = &self.unread;
            walk::stmts(body, &mut |stmt| {
                if let StmtKind::Expr(Expr {
                    kind: ExprKind::Assign { place: Place::Local(local), value },
                    ..
                }) = &stmt.kind
                    && unread.contains(local)
                    && late::is_quiet(program, value)
                {
                    return;
                }
                walk::stmt_exprs(stmt, &mut |e| reads(e, true, &mut read));
            });
            let now: BTreeSet<LocalId> =
                (0..count as u32).map(LocalId).filter(|l| !read.contains(l)).collect();
            if now == self.unread {
                break;
            }
            self.unread = now;
        }
    }
}

/// Collects the locals whose values an expression takes. `top` says that its own value is dropped.
fn reads(expr: &Expr, top: bool, read: &mut BTreeSet<LocalId>) {
    match &expr.kind {
        ExprKind::Local(local) => {
            read.insert(*local);
        }
        ExprKind::Modify { place: Place::Local(local), .. }
        | ExprKind::Append { place: Place::Local(local), .. }
        | ExprKind::Crement { place: Place::Local(local), .. } => {
            read.insert(*local);
        }
        ExprKind::Assign { place: Place::Local(local), .. } if !top => {
            read.insert(*local);
        }
        _ => {}
    }
    walk::children(expr, &mut |child| reads(child, false, read));
}

/// Whether a local is read or written by a body outside one of its statements.
pub(super) fn is_used_outside(body: &[Stmt], local: LocalId, stmt: &Stmt) -> bool {
    let uses = |body: &[Stmt]| {
        let mut count = 0usize;
        walk::exprs(body, &mut |e| {
            if uses_local(e, local) {
                count += 1;
            }
        });
        count
    };
    uses(body) > uses(std::slice::from_ref(stmt))
}

fn uses_local(expr: &Expr, wanted: LocalId) -> bool {
    match &expr.kind {
        ExprKind::Local(local) => *local == wanted,
        ExprKind::Assign { place, .. }
        | ExprKind::Modify { place, .. }
        | ExprKind::Append { place, .. }
        | ExprKind::Crement { place, .. } => matches!(place, Place::Local(local) if *local == wanted),
        _ => false,
    }
}
