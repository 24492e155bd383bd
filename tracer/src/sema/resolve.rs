//! Pass 2, step 3: what the target expressions of a body mean at one place.
//!
//! **Not here:** what a place has (`families`), what is made of it (`build::target`).

use crate::diagnostics::{Code, Diagnostic};
use crate::sema::build::{self, Outcome, Outcomes};
use crate::sema::family::{Resolved, TargetScope};
use crate::source::Span;
use crate::syntax::ast::{self, ExprKind, PathStepKind, TargetRoot};
use crate::syntax::visit::{self, Visitor};

/// Finds out what the target expressions of a body mean at one place. Branches that `@defined` rules out are not
/// looked at.
pub(super) struct Resolver<'s> {
    pub(super) scope: &'s dyn TargetScope,
    /// What `@cast` means where no traced code is behind the handler.
    pub(super) types: &'s dyn TargetScope,
    pub(super) at_entry: bool,
    pub(super) outcomes: Outcomes,
}

impl Resolver<'_> {
    fn resolve(&self, target: &ast::TargetExpr, span: Span) -> Result<Resolved, Diagnostic> {
        let resolved = self.scope.resolve(target, span, self.at_entry);
        match resolved {
            Err(diagnostic)
                if diagnostic.code == Code::NoTargetVariables
                    && matches!(target.root, TargetRoot::Cast { .. }) =>
            {
                self.types.resolve(target, span, self.at_entry)
            }
            resolved => resolved,
        }
    }

    fn is_defined(&self, expr: &ast::Expr) -> bool {
        match &expr.kind {
            ExprKind::Target(target) => self.resolve(target, expr.span).is_ok(),
            _ => true,
        }
    }
}

impl Visitor for Resolver<'_> {
    fn visit_stmt(&mut self, stmt: &ast::Stmt) {
        if let ast::StmtKind::If { cond, then, otherwise } = &stmt.kind
            && build::fold::mentions_defined(cond)
        {
            self.visit_expr(cond);
            match build::fold::truth(&self.outcomes, cond) {
                Some(true) => self.visit_stmt(then),
                Some(false) => {
                    if let Some(otherwise) = otherwise {
                        self.visit_stmt(otherwise);
                    }
                }
                None => {
                    self.visit_stmt(then);
                    if let Some(otherwise) = otherwise {
                        self.visit_stmt(otherwise);
                    }
                }
            }
            return;
        }
        visit::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &ast::Expr) {
        match &expr.kind {
            ExprKind::Defined(inner) => {
                let defined = self.is_defined(inner);
                self.outcomes.insert(expr.id, Outcome::Defined(defined));
            }
            ExprKind::Ternary { cond, then, otherwise } if build::fold::mentions_defined(cond) => {
                self.visit_expr(cond);
                match build::fold::truth(&self.outcomes, cond) {
                    Some(true) => self.visit_expr(then),
                    Some(false) => self.visit_expr(otherwise),
                    None => {
                        self.visit_expr(then);
                        self.visit_expr(otherwise);
                    }
                }
            }
            ExprKind::Entry(inner) => {
                let before = std::mem::replace(&mut self.at_entry, true);
                self.visit_expr(inner);
                self.at_entry = before;
            }
            ExprKind::Target(target) => {
                if is_fact(target) {
                    return;
                }
                let outcome = match self.resolve(target, expr.span) {
                    Ok(resolved) => Outcome::Value(resolved),
                    Err(diagnostic) => Outcome::Missing(Box::new(diagnostic)),
                };
                self.outcomes.insert(expr.id, outcome);
                if let TargetRoot::Cast { operand, .. } | TargetRoot::Value(operand) = &target.root {
                    self.visit_expr(operand);
                }
                for step in &target.path {
                    if let PathStepKind::Index(index) = &step.kind {
                        self.visit_expr(index);
                    }
                }
            }
            _ => visit::walk_expr(self, expr),
        }
    }
}

/// `$$name` and its like are facts about the site, not variables.
fn is_fact(target: &ast::TargetExpr) -> bool {
    matches!(&target.root, TargetRoot::Special(name) if matches!(&**name, "name" | "provider" | "system"))
}
