//! Pass 2, the end: warns of what has no effect, and leaves out statements without one, as SystemTap does.
//!
//! An assignment to a local that nobody reads does nothing but evaluate its value; an expression statement that writes,
//! prints and raises nothing is not run, so that it cannot fail either (`1 / 0;`). Code of the library stays as it is.
//! SystemTap goes on until nothing changes, and is silent after the first round; so is this.
//!
//! **Not here:** dead code in general (`ir::opt`).

use std::collections::BTreeSet;

use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::sema::program::{Expr, ExprKind, LocalId, Place, Probe, Program, Stmt, StmtKind};
use crate::sema::walk;
use crate::source::{FileId, Span};

/// Looks at the whole program.
pub(super) fn elide(program: &mut Program, is_library: &dyn Fn(FileId) -> bool, sink: &mut Sink) {
    let effects = effects(program);
    let scripts = |span: Span| !is_library(span.file);
    let reads: Vec<BTreeSet<LocalId>> = program.probes.iter().map(probe_reads).collect();
    let function_reads: Vec<BTreeSet<LocalId>> =
        program.functions.iter().map(|f| reads_of(&f.body)).collect();
    for (probe, read) in program.probes.iter().zip(&reads) {
        let name = |local: LocalId| &*probe.locals[local.0 as usize].name;
        dead_assignments(&probe.body, read, &name, &scripts, sink);
    }
    for (function, read) in program.functions.iter().zip(&function_reads) {
        let name = |local: LocalId| &*function.locals[local.0 as usize].name;
        dead_assignments(&function.body, read, &name, &scripts, sink);
    }
    let statements = |body: &mut Vec<Stmt>, read: &BTreeSet<LocalId>, sink: &mut Sink| {
        Statements { effects: &effects, read, scripts: &scripts, sink }.sweep(body);
    };
    for (probe, read) in program.probes.iter_mut().zip(&reads) {
        statements(&mut probe.body, read, sink);
    }
    for (function, read) in program.functions.iter_mut().zip(&function_reads) {
        statements(&mut function.body, read, sink);
        if function.body.iter().all(is_nothing) && scripts(function.span) {
            let message = format!("side-effect-free function '{}'", function.name);
            sink.push(Diagnostic::warning(Code::NoEffect, function.span, message));
        }
    }
    for probe in &program.probes {
        if probe.body.iter().all(is_nothing) && scripts(probe.span) {
            let point = probe.sites.first().and_then(|site| program.sites.get(*site as usize));
            let point = point.map_or("", |site| site.probe_point.as_str());
            let name = point.split(['.', '(']).next().unwrap_or_default();
            let message = format!("Probe '{name}' has been elided");
            sink.push(Diagnostic::warning(Code::NoEffect, probe.span, message));
        }
    }
}

/// For each function, whether a call of it can do more than return a value.
fn effects(program: &Program) -> Vec<bool> {
    let mut effects = vec![false; program.functions.len()];
    loop {
        let mut changed = false;
        for (n, function) in program.functions.iter().enumerate() {
            let mut found = effects[n];
            walk::stmts(&function.body, &mut |stmt| {
                found |= matches!(stmt.kind, StmtKind::Next | StmtKind::Clear(_) | StmtKind::Delete { .. });
            });
            walk::exprs(&function.body, &mut |e| {
                found |= match &e.kind {
                    ExprKind::Assign { place, .. }
                    | ExprKind::Modify { place, .. }
                    | ExprKind::Append { place, .. }
                    | ExprKind::Crement { place, .. } => !matches!(place, Place::Local(_)),
                    other => acts(other, &effects),
                };
            });
            changed |= found != effects[n];
            effects[n] = found;
        }
        if !changed {
            return effects;
        }
    }
}

/// Whether an expression does something by itself; assignments are for the caller to judge.
fn acts(kind: &ExprKind, effects: &[bool]) -> bool {
    match kind {
        ExprKind::Aggregate { .. } | ExprKind::Raise(_) => true,
        ExprKind::Print { to_string, .. } | ExprKind::Hist { to_string, .. } => !to_string,
        ExprKind::Call { function, .. } => effects[function.0 as usize],
        ExprKind::Intrinsic { intrinsic, .. } => intrinsic.has_effect(),
        _ => false,
    }
}

fn probe_reads(probe: &Probe) -> BTreeSet<LocalId> {
    let mut read = reads_of(&probe.body);
    let mut note = |e: &Expr| read.extend(read_by(e));
    probe.saved.iter().for_each(|saved| walk::expr(saved, &mut note));
    read
}

fn reads_of(body: &[Stmt]) -> BTreeSet<LocalId> {
    let mut read = BTreeSet::new();
    walk::exprs(body, &mut |e| read.extend(read_by(e)));
    read
}

fn read_by(e: &Expr) -> Option<LocalId> {
    match &e.kind {
        ExprKind::Local(local)
        | ExprKind::Modify { place: Place::Local(local), .. }
        | ExprKind::Append { place: Place::Local(local), .. }
        | ExprKind::Crement { place: Place::Local(local), .. } => Some(*local),
        _ => None,
    }
}

fn dead_assignments<'a>(
    body: &'a [Stmt],
    read: &BTreeSet<LocalId>,
    name: &dyn Fn(LocalId) -> &'a str,
    scripts: &dyn Fn(Span) -> bool,
    sink: &mut Sink,
) {
    walk::exprs(body, &mut |e| {
        if let ExprKind::Assign { place: Place::Local(local), .. } = &e.kind
            && !read.contains(local)
            && scripts(e.span)
        {
            let message = format!("Eliding assignment to '{}'", name(*local));
            sink.push(Diagnostic::warning(Code::NoEffect, e.span, message));
        }
    });
}

struct Statements<'s> {
    effects: &'s [bool],
    read: &'s BTreeSet<LocalId>,
    scripts: &'s dyn Fn(Span) -> bool,
    sink: &'s mut Sink,
}

impl Statements<'_> {
    /// Takes statements without effect out of a body, and of the bodies inside it.
    fn sweep(&mut self, body: &mut Vec<Stmt>) {
        body.retain_mut(|stmt| match &mut stmt.kind {
            StmtKind::Expr(e) => {
                let stays = !(self.scripts)(e.span) || self.does_something(e);
                if !stays {
                    let message = "Eliding side-effect-free expression";
                    self.sink.push(Diagnostic::warning(Code::NoEffect, e.span, message));
                }
                stays
            }
            StmtKind::Block(inner) | StmtKind::Loop { body: inner, .. } => {
                self.sweep(inner);
                true
            }
            StmtKind::If { then, otherwise, .. } => {
                self.sweep(then);
                self.sweep(otherwise);
                true
            }
            StmtKind::Foreach(foreach) => {
                self.sweep(&mut foreach.body);
                true
            }
            StmtKind::Try { body, handler, .. } => {
                self.sweep(body);
                self.sweep(handler);
                true
            }
            StmtKind::Return(_)
            | StmtKind::Next
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Clear(_)
            | StmtKind::Delete { .. } => true,
        });
    }

    fn does_something(&self, root: &Expr) -> bool {
        let mut found = false;
        walk::expr(root, &mut |e| {
            found |= match &e.kind {
                ExprKind::Assign { place: Place::Local(local), .. } => self.read.contains(local),
                ExprKind::Assign { .. }
                | ExprKind::Modify { .. }
                | ExprKind::Append { .. }
                | ExprKind::Crement { .. } => true,
                other => acts(other, self.effects),
            };
        });
        found
    }
}

/// Whether nothing is left of a statement.
fn is_nothing(stmt: &Stmt) -> bool {
    match &stmt.kind {
        StmtKind::If { then, otherwise, .. } => then.iter().chain(otherwise).all(is_nothing),
        StmtKind::Block(inner) => inner.iter().all(is_nothing),
        _ => false,
    }
}
