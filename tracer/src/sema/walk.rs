//! Visiting every expression and statement of a typed program, in evaluation order.
//!
//! **Not here:** what the visits are for (`usage`, `capacity`, `late`).

use crate::sema::program::{Element, Expr, ExprKind, Foreach, Iterated, Place, Stmt, StmtKind, Target};

/// Calls `visit` for each direct subexpression.
pub(crate) fn children<'a>(expr: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    match &expr.kind {
        ExprKind::Number(_)
        | ExprKind::Str(_)
        | ExprKind::Local(_)
        | ExprKind::Fact(_)
        | ExprKind::Saved(_) => {}
        ExprKind::Get(element) => element_children(element, visit),
        ExprKind::Contains { keys, .. } | ExprKind::Stat { keys, .. } => {
            keys.iter().flatten().for_each(visit);
        }
        ExprKind::Neg(x) | ExprKind::BitNot(x) | ExprKind::Not(x) | ExprKind::Raise(x) => visit(x),
        ExprKind::Match { subject, .. } => visit(subject),
        ExprKind::Binary { left, right, .. } | ExprKind::Compare { left, right, .. } => {
            visit(left);
            visit(right);
        }
        ExprKind::And(left, right) | ExprKind::Or(left, right) | ExprKind::Concat(left, right) => {
            visit(left);
            visit(right);
        }
        ExprKind::Ternary { cond, then, otherwise } => {
            visit(cond);
            visit(then);
            visit(otherwise);
        }
        ExprKind::Assign { place, value }
        | ExprKind::Modify { place, value, .. }
        | ExprKind::Append { place, value } => {
            place_children(place, visit);
            visit(value);
        }
        ExprKind::Crement { place, .. } => place_children(place, visit),
        ExprKind::Aggregate { element, value } => {
            element_children(element, visit);
            visit(value);
        }
        ExprKind::Call { args, .. } | ExprKind::Intrinsic { args, .. } | ExprKind::Print { args, .. } => {
            args.iter().for_each(visit);
        }
        ExprKind::Target(target) => target_children(target, visit),
        ExprKind::Bucket { element, index, .. } => {
            element_children(element, visit);
            visit(index);
        }
        ExprKind::Hist { element, .. } => element_children(element, visit),
    }
}

fn element_children<'a>(element: &'a Element, visit: &mut dyn FnMut(&'a Expr)) {
    element.keys.iter().for_each(visit);
}

fn target_children<'a>(target: &'a Target, visit: &mut dyn FnMut(&'a Expr)) {
    target.indices.iter().for_each(visit);
}

fn place_children<'a>(place: &'a Place, visit: &mut dyn FnMut(&'a Expr)) {
    match place {
        Place::Local(_) => {}
        Place::Global(element) => element_children(element, visit),
        Place::Target(target) => target_children(target, visit),
    }
}

/// Calls `visit` for an expression and everything inside it, the outermost first.
pub(crate) fn expr<'a>(root: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    visit(root);
    children(root, &mut |child| expr(child, visit));
}

/// Calls `visit` for the expressions that a statement holds itself, not those of statements inside it.
pub(crate) fn stmt_exprs<'a>(stmt: &'a Stmt, visit: &mut dyn FnMut(&'a Expr)) {
    match &stmt.kind {
        StmtKind::Expr(e) => visit(e),
        StmtKind::If { cond, .. } => visit(cond),
        StmtKind::Loop { cond, step, .. } => {
            cond.iter().for_each(&mut *visit);
            step.iter().for_each(visit);
        }
        StmtKind::Foreach(foreach) => {
            match &foreach.over {
                Iterated::Array { slice, .. } => slice.iter().flatten().for_each(&mut *visit),
                Iterated::Hist { place, .. } => place.keys.iter().for_each(&mut *visit),
            }
            foreach.limit.iter().for_each(visit);
        }
        StmtKind::Return(value) => value.iter().for_each(visit),
        StmtKind::Delete { keys, .. } => keys.iter().flatten().for_each(visit),
        StmtKind::Block(_)
        | StmtKind::Next
        | StmtKind::Break
        | StmtKind::Continue
        | StmtKind::Clear(_)
        | StmtKind::Try { .. } => {}
    }
}

/// Calls `visit` for every statement of a body, nested ones too, the outer first.
pub(crate) fn stmts<'a>(body: &'a [Stmt], visit: &mut dyn FnMut(&'a Stmt)) {
    for stmt in body {
        visit(stmt);
        match &stmt.kind {
            StmtKind::Block(inner) | StmtKind::Loop { body: inner, .. } => stmts(inner, visit),
            StmtKind::If { then, otherwise, .. } => {
                stmts(then, visit);
                stmts(otherwise, visit);
            }
            StmtKind::Foreach(foreach) => {
                let Foreach { body, .. } = &**foreach;
                stmts(body, visit);
            }
            StmtKind::Try { body, handler, .. } => {
                stmts(body, visit);
                stmts(handler, visit);
            }
            StmtKind::Expr(_)
            | StmtKind::Return(_)
            | StmtKind::Next
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Clear(_)
            | StmtKind::Delete { .. } => {}
        }
    }
}

/// Calls `visit` for every expression of a body, nested ones too.
pub(crate) fn exprs<'a>(body: &'a [Stmt], visit: &mut dyn FnMut(&'a Expr)) {
    stmts(body, &mut |stmt| stmt_exprs(stmt, &mut |e| expr(e, visit)));
}
