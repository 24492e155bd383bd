//! What functions of the script want to know of the hit: machine registers, or anything else.
//!
//! **Not here:** which globals they touch (`usage`), what of an expression is captured (`late`).

use tracer_common::intrinsic::{Domains, Effect, Intrinsic};

use crate::lower::late::{is_pure, stays_within};
use crate::sema::program::{Expr, ExprKind, FunctionId, Place, Probe, Program, Ty};
use crate::sema::walk;

/// Whether a probe names machine registers, itself or through what it calls: a trampoline has none.
pub(super) fn asks_for_registers(program: &Program, probe: &Probe) -> bool {
    fn look(program: &Program, expr: &Expr, seen: &mut Vec<FunctionId>) -> bool {
        let mut found = false;
        walk::expr(expr, &mut |expr| match &expr.kind {
            ExprKind::Intrinsic { intrinsic: Intrinsic::Register, .. } => found = true,
            ExprKind::Call { function, .. } if !found && !seen.contains(function) => {
                seen.push(*function);
                let body = &program.functions[function.0 as usize].body;
                walk::exprs(body, &mut |expr| found = found || look(program, expr, seen));
            }
            _ => {}
        });
        found
    }
    let mut seen = Vec::new();
    let mut found = probe.saved.iter().any(|saved| look(program, saved, &mut seen));
    walk::exprs(&probe.body, &mut |expr| found = found || look(program, expr, &mut seen));
    found
}

/// Whether anything names addresses of the process that was hit.
pub(super) fn names_addresses(program: &Program) -> bool {
    let mut found = false;
    let bodies = program.probes.iter().map(|p| &p.body).chain(program.functions.iter().map(|f| &f.body));
    for body in bodies {
        walk::exprs(body, &mut |expr| {
            if let ExprKind::Intrinsic { intrinsic, args } = &expr.kind {
                let is_user = args.last().is_some_and(|last| matches!(last.kind, ExprKind::Number(0)));
                found |= is_user && intrinsic.names_addresses();
            }
        });
    }
    found
}

/// Whether a function's number says something of the hit, and does nothing else: `int_arg(1)`. Statements that move
/// have such numbers from the hit.
pub(super) fn is_of_the_hit(program: &Program, function: FunctionId) -> bool {
    judge(program, function, &mut Vec::new())
}

fn judge(program: &Program, function: FunctionId, within: &mut Vec<FunctionId>) -> bool {
    /// Deeper is nothing that the library has.
    const DEPTH: usize = 4;
    let declared = &program.functions[function.0 as usize];
    if declared.result != Some(Ty::Long) || within.contains(&function) || within.len() > DEPTH {
        return false;
    }
    within.push(function);
    let (mut asks, mut quiet) = (false, stays_within(&declared.body));
    walk::exprs(&declared.body, &mut |e| match &e.kind {
        ExprKind::Get(_)
        | ExprKind::Contains { .. }
        | ExprKind::Stat { .. }
        | ExprKind::Bucket { .. }
        | ExprKind::Hist { .. }
        | ExprKind::Aggregate { .. }
        | ExprKind::Print { .. } => quiet = false,
        ExprKind::Assign { place, .. }
        | ExprKind::Modify { place, .. }
        | ExprKind::Append { place, .. }
        | ExprKind::Crement { place, .. } => quiet = quiet && matches!(place, Place::Local(_)),
        ExprKind::Intrinsic { intrinsic, .. } => match intrinsic.effect() {
            Effect::Pure => {}
            Effect::Context if intrinsic.domains() == Domains::User => quiet = false,
            Effect::Context => asks = true,
            Effect::Output => quiet = false,
        },
        ExprKind::Target(_) | ExprKind::Saved(_) => asks = true,
        ExprKind::Call { function, .. } => {
            if judge(program, *function, within) {
                asks = true;
            } else {
                quiet = quiet && is_pure(program, *function);
            }
        }
        _ => {}
    });
    within.pop();
    asks && quiet
}
