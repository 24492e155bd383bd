//! `next` in a function: goes on to the next overload, with the arguments that this one was given.
//!
//! It is a tail call, `return f(…)`, of the next function of the same name and number of parameters. A parameter that the body
//! changes is copied first.

use std::collections::BTreeSet;

use super::{Body, Builder, word};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Expr, ExprKind, FunctionId, LocalId, Place, Stmt, StmtKind, Ty};
use crate::sema::symbols::{Cell, Node};
use crate::source::Span;
use crate::syntax::ast::{self, Name};
use crate::syntax::visit::{self, Visitor};

/// What a script sees when the last overload goes on.
const EXHAUSTED: &str = "all functions exhausted";

impl Builder<'_, '_> {
    /// Copies the parameters that the body changes and that `next` will want.
    pub(super) fn keep_arguments(&mut self, block: &ast::Block) -> Vec<Stmt> {
        let Body::Function(function) = self.body else { return Vec::new() };
        let mut scan = Scan::default();
        scan.visit_block(block);
        let params = self.symbols.functions[function.0 as usize].decl.params.iter();
        let params: Vec<ast::Ident> = params.map(|param| param.name.clone()).collect();
        let mut out = Vec::new();
        for (n, param) in params.into_iter().enumerate() {
            let original = LocalId(n as u32);
            if !(scan.goes_on && scan.changed.contains(&param.name)) {
                self.given.push(original);
                continue;
            }
            // No script can write this name.
            let copy = self.local(&format!("{} as given", param.name).into());
            if let Some(ty) = self.locals[n].ty.ty() {
                self.learn_local(copy, ty, param.span);
            }
            let ty = self.locals[n].ty.ty().unwrap_or(Ty::Long);
            let value = Box::new(Expr { kind: ExprKind::Local(original), ty, span: param.span });
            let kind = ExprKind::Assign { place: Place::Local(copy), value };
            out.push(Stmt { kind: StmtKind::Expr(Expr { kind, ty, span: param.span }), span: param.span });
            self.given.push(copy);
        }
        out
    }

    /// `next` in a function.
    pub(super) fn next_overload(&mut self, this: FunctionId, span: Span, out: &mut Vec<Stmt>) {
        let mut push = |kind| out.push(Stmt { kind, span });
        let Some(next) = self.symbols.overload_after(this, self.is_library) else {
            let message = Expr { kind: ExprKind::Str(EXHAUSTED.into()), ty: Ty::Str, span };
            let raise = ExprKind::Raise(Box::new(message));
            return push(StmtKind::Expr(Expr { kind: raise, ty: Ty::Long, span }));
        };
        self.calls(next, span);
        let args = self.given.clone();
        let args = args.into_iter().enumerate().map(|(n, given)| self.passed_on(next, n, given, span));
        let args = args.collect();
        self.unify_results(next, span);
        let ty = self.result.ty().unwrap_or(Ty::Long);
        let call = Expr { kind: ExprKind::Call { function: next, args }, ty, span };
        if self.has_result {
            push(StmtKind::Return(Some(call)));
        } else {
            push(StmtKind::Expr(call));
            push(StmtKind::Return(None));
        }
    }

    fn passed_on(&mut self, next: FunctionId, n: usize, given: LocalId, span: Span) -> Expr {
        let mine = self.locals[given.0 as usize].clone();
        let info = &mut self.symbols.functions[next.0 as usize];
        let (name, theirs) = (info.decl.name.name.clone(), info.locals[n].ty);
        if let Err((theirs, place)) = unify(&mut self.locals[given.0 as usize].ty, &mut info.locals[n].ty) {
            let mine = if theirs == Ty::Long { Ty::Str } else { Ty::Long };
            let parameter = &info.decl.params[n].name.name;
            let message = format!(
                "{parameter} is a {} here, but a {} in the next overload of {name}()",
                word(mine),
                word(theirs)
            );
            let known = format!("known as a {} from here", word(theirs));
            self.error(Diagnostic::error(Code::TypeConflict, span, message).label(place, known));
        } else {
            self.news(self.locals[given.0 as usize].ty != mine.ty, Node::Own);
            let now = self.symbols.functions[next.0 as usize].locals[n].ty;
            self.news(now != theirs, Node::Function(next));
        }
        let ty = self.locals[given.0 as usize].ty.ty();
        // What is known of the copy is known of the parameter.
        if let (Some(known), None) = (ty, self.locals[n].ty.ty()) {
            self.learn_local(LocalId(n as u32), known, span);
        }
        Expr { kind: ExprKind::Local(given), ty: ty.unwrap_or(Ty::Long), span }
    }

    /// All overloads that go on to each other return the same.
    fn unify_results(&mut self, next: FunctionId, span: Span) {
        let before = self.result;
        let info = &mut self.symbols.functions[next.0 as usize];
        let (name, theirs) = (info.decl.name.name.clone(), info.result);
        if let Err((ty, place)) = unify(&mut self.result, &mut info.result) {
            let message = format!("the next overload of {name}() returns a {}, this one does not", word(ty));
            let known = format!("returns a {} from here", word(ty));
            self.error(Diagnostic::error(Code::TypeConflict, span, message).label(place, known));
        }
        let info = &mut self.symbols.functions[next.0 as usize];
        let either = self.has_result || info.has_result;
        let news = info.result != theirs || info.has_result != either;
        info.has_result = either;
        self.news(news, Node::Function(next));
        let news = self.result != before || self.has_result != either;
        self.has_result = either;
        self.news(news, Node::Own);
    }
}

/// Makes two cells know the same; `Err` is what the second knows, when the first knows the other.
fn unify(mine: &mut Cell, theirs: &mut Cell) -> Result<(), (Ty, Span)> {
    match (mine.ty(), theirs.ty()) {
        (Some(a), Some(b)) if a != b => theirs.place().map_or(Ok(()), |place| Err((b, place))),
        (None, Some(_)) => {
            *mine = *theirs;
            Ok(())
        }
        (Some(_), None) => {
            *theirs = *mine;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether a body goes on to the next overload, and which variables it changes.
#[derive(Default)]
struct Scan {
    goes_on: bool,
    changed: BTreeSet<Name>,
}

impl Scan {
    fn change(&mut self, expr: &ast::Expr) {
        if let ast::ExprKind::Symbol(name) = &expr.kind {
            self.changed.insert(name.clone());
        }
    }
}

impl Visitor for Scan {
    fn visit_stmt(&mut self, stmt: &ast::Stmt) {
        match &stmt.kind {
            ast::StmtKind::Next => self.goes_on = true,
            ast::StmtKind::Delete(expr) => self.change(expr),
            ast::StmtKind::Foreach(foreach) => {
                let vars = foreach.value.iter().chain(&foreach.keys);
                self.changed.extend(vars.map(|var| var.name.clone()));
            }
            ast::StmtKind::Try { var, .. } => {
                self.changed.extend(var.iter().map(|var| var.name.clone()));
            }
            _ => {}
        }
        visit::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &ast::Expr) {
        match &expr.kind {
            ast::ExprKind::Assign { left: place, .. } | ast::ExprKind::Crement { operand: place, .. } => {
                self.change(place);
            }
            _ => {}
        }
        visit::walk_expr(self, expr);
    }
}
