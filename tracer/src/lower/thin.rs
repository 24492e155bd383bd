//! Functions of the library that do nothing but call an intrinsic with their own parameters, `isinstr(a, b)`: an expression that calls
//! one is looked at as the intrinsic's, so that what is known of the arguments counts.
//!
//! **Not here:** calls of anything else, which the optimizer puts in line.

use tracer_common::intrinsic::{Effect, Intrinsic};
use tracer_common::regex::{Table, literal};

use crate::sema::program::{Expr, ExprKind, LocalId, Program, StmtKind};

/// The intrinsic that an expression calls, itself or by a thin function, and its arguments.
fn call<'e>(program: &Program, expr: &'e Expr) -> Option<(Intrinsic, &'e [Expr])> {
    match &expr.kind {
        ExprKind::Intrinsic { intrinsic, args } => Some((*intrinsic, args)),
        ExprKind::Call { function, args } => {
            let [statement] = program.functions[function.0 as usize].body.as_slice() else { return None };
            let StmtKind::Return(Some(value)) = &statement.kind else { return None };
            let ExprKind::Intrinsic { intrinsic, args: inner } = &value.kind else { return None };
            let parameter = |(n, inner): (usize, &Expr)| inner.kind == ExprKind::Local(LocalId(n as u32));
            let passes_on = inner.len() == args.len() && inner.iter().enumerate().all(parameter);
            let computes = intrinsic.effect() == Effect::Pure && !intrinsic.can_raise();
            (passes_on && computes).then_some((*intrinsic, args.as_slice()))
        }
        _ => None,
    }
}

/// `isinstr` of a literal: the string to search, and the pattern that finds the literal.
pub(super) fn search<'e>(program: &Program, expr: &'e Expr) -> Option<(&'e Expr, Vec<u8>)> {
    let (Intrinsic::Isinstr, [subject, wanted]) = call(program, expr)? else { return None };
    let ExprKind::Str(wanted) = &wanted.kind else { return None };
    let pattern = literal(wanted.as_bytes());
    Table::new(&pattern).is_ok().then_some((subject, pattern))
}
