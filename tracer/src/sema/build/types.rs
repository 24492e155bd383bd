//! What is known of the types of expressions, and what to say when two do not agree.
//!
//! **Not here:** cells and who learned them (`symbols`).

use super::{Builder, word, zero};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Expr, ExprKind, Place, Ty};
use crate::sema::symbols::Node;
use crate::source::Span;
use crate::syntax::ast;

impl Builder<'_, '_> {
    /// Builds an expression that must be a number.
    pub(super) fn long(&mut self, expr: &ast::Expr) -> Expr {
        self.typed(expr, Ty::Long)
    }

    /// Builds an expression of a type, or reports that it is of the other.
    pub(super) fn typed(&mut self, expr: &ast::Expr, ty: Ty) -> Expr {
        let before = self.errors.len();
        let built = self.expr(expr, Some(ty));
        // What is wrong itself says nothing about its type.
        if self.errors.len() == before
            && let Some(found) = self.type_of(&built, expr)
            && found != ty
        {
            let message = format!("expected a {}, found a {}", word(ty), word(found));
            let diagnostic = Diagnostic::error(Code::TypeConflict, expr.span, message);
            self.error(self.with_origin(diagnostic, &built, found));
            return Expr { kind: ExprKind::Number(0), ty, span: expr.span };
        }
        Expr { ty, ..built }
    }

    /// Builds two expressions that must have the same type; `what` says why.
    pub(super) fn pair(
        &mut self,
        left: &ast::Expr,
        right: &ast::Expr,
        want: Option<Ty>,
        what: &str,
    ) -> (Expr, Expr) {
        let before = self.errors.len();
        let first = self.expr(left, want);
        let known = self.type_of(&first, left);
        let second = self.expr(right, known.or(want));
        let other = self.type_of(&second, right);
        if self.errors.len() > before {
            return (first.clone(), Expr { ty: first.ty, ..zero(right.span) });
        }
        match (known, other) {
            (Some(a), Some(b)) if a != b => {
                let message = format!("a {} and a {} {what}", word(a), word(b));
                let mut diagnostic = Diagnostic::error(Code::TypeConflict, right.span, message)
                    .label(left.span, format!("this is a {}", word(a)));
                for (built, ty) in [(&first, a), (&second, b)] {
                    if let Some(place) = self.learned_at(built) {
                        diagnostic = diagnostic.label(place, format!("known as a {} from here", word(ty)));
                    }
                }
                self.error(diagnostic.hint("sprint(x) makes a string of a number"));
                (Expr { ty: a, ..first }, Expr { ty: a, ..zero(right.span) })
            }
            _ => {
                let ty = known.or(other).or(want).unwrap_or(Ty::Long);
                if let (None, Some(ty)) = (known, other) {
                    self.teach(&first, ty);
                }
                (Expr { ty, ..first }, Expr { ty, ..second })
            }
        }
    }

    /// Teaches what an expression gets its value from that it has a type.
    fn teach(&mut self, built: &Expr, ty: Ty) {
        match &built.kind {
            ExprKind::Local(id) => self.learn_local(*id, ty, built.span),
            ExprKind::Get(element) => self.learn_value(element.global, ty, built.span),
            ExprKind::Call { function, .. } => {
                let info = &mut self.symbols.functions[function.0 as usize];
                let news = info.result.learn(ty, built.span) == Ok(true);
                self.news(news, Node::Function(*function));
            }
            ExprKind::Ternary { then, otherwise, .. } => {
                self.teach(then, ty);
                self.teach(otherwise, ty);
            }
            ExprKind::Assign { place, value } => {
                match place {
                    Place::Local(id) => self.learn_local(*id, ty, built.span),
                    Place::Global(element) => {
                        self.learn_value(element.global, ty, built.span);
                    }
                    Place::Target(_) => {}
                }
                self.teach(value, ty);
            }
            _ => {}
        }
    }

    /// Adds to a type conflict where the type that was found comes from, and how to make a string of a number.
    pub(super) fn with_origin(&self, diagnostic: Diagnostic, built: &Expr, found: Ty) -> Diagnostic {
        let diagnostic = match self.learned_at(built) {
            Some(place) => diagnostic.label(place, format!("known as a {} from here", word(found))),
            None => diagnostic,
        };
        diagnostic.hint(match found {
            Ty::Long => "sprint(x) makes a string of a number",
            Ty::Str => "strtol(x, 10) makes a number of a string; strings are joined with .",
        })
    }

    /// Where the type of a variable or a function was learned.
    pub(super) fn learned_at(&self, expr: &Expr) -> Option<Span> {
        let cell = match &expr.kind {
            ExprKind::Local(id) => self.locals[id.0 as usize].ty,
            ExprKind::Get(element) => self.symbols.globals[element.global.0 as usize].value,
            ExprKind::Call { function, .. } => self.symbols.functions[function.0 as usize].result,
            _ => return None,
        };
        cell.place().filter(|place| *place != expr.span)
    }

    /// The type of a built expression, when it is known yet.
    pub(super) fn type_of(&self, built: &Expr, _from: &ast::Expr) -> Option<Ty> {
        match &built.kind {
            ExprKind::Local(id) => self.locals[id.0 as usize].ty.ty(),
            ExprKind::Get(element) => self.symbols.globals[element.global.0 as usize].value.ty(),
            ExprKind::Call { function, .. } => self.symbols.functions[function.0 as usize].result.ty(),
            ExprKind::Ternary { then, otherwise, .. } => {
                self.type_of(then, _from).or_else(|| self.type_of(otherwise, _from))
            }
            ExprKind::Assign { value, .. } => self.type_of(value, _from),
            ExprKind::Saved(n) => self.saved.get(*n).and_then(|saved| self.type_of(saved, _from)),
            _ => Some(built.ty),
        }
    }
}
