//! Assignment: `=`, `op=`, `.=`, `<<<`.

use super::{Builder, zero};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Element, Expr, ExprKind, Place, TargetValue, Ty};
use crate::sema::symbols::Node;
use crate::source::Span;
use crate::syntax::ast::{self, BinaryOp};

impl Builder<'_, '_> {
    /// Something that can be assigned to.
    pub(super) fn place(&mut self, expr: &ast::Expr, want: Option<Ty>) -> Option<Place> {
        match &expr.kind {
            ast::ExprKind::Symbol(name) => {
                let Some(global) = self.global(name) else {
                    let local = self.local(name);
                    self.assigned.insert(local);
                    if let Some(want) = want {
                        self.learn_local(local, want, expr.span);
                    }
                    return Some(Place::Local(local));
                };
                if !self.learn_arity(global, 0, expr.span) {
                    return None;
                }
                self.global_place(Element { global, keys: Vec::new(), span: expr.span }, want, expr.span)
            }
            ast::ExprKind::Index { base: ast::Indexable::Array(array), keys } => {
                let global = self.array(array)?;
                if !self.learn_arity(global, keys.len(), expr.span) {
                    return None;
                }
                let keys = self.full_keys(global, keys)?;
                self.modifies(global, expr.span);
                self.global_place(Element { global, keys, span: expr.span }, want, expr.span)
            }
            ast::ExprKind::Target(target) => {
                if !self.guru {
                    self.error(
                        Diagnostic::error(
                            Code::NeedsGuru,
                            expr.span,
                            "writing to the traced program needs guru mode",
                        )
                        .hint("add -g, if you mean it"),
                    );
                    return None;
                }
                self.target_place(expr, target)
            }
            _ => {
                let message = "only variables and array elements can be assigned to";
                self.error(
                    Diagnostic::error(Code::NotAssignable, expr.span, message).hint("to compare write =="),
                );
                None
            }
        }
    }

    /// A target variable that can be written: it must be in the program's memory.
    fn target_place(&mut self, expr: &ast::Expr, target: &ast::TargetExpr) -> Option<Place> {
        let why = match self.target(expr, target).kind {
            ExprKind::Target(target) => match &target.value {
                TargetValue::Value(access) => match access.written() {
                    Ok(_) => return Some(Place::Target(target)),
                    Err(why) => why,
                },
                TargetValue::List { .. } | TargetValue::Pretty { .. } => "it is a text",
            },
            ExprKind::Saved(_) => "it is a value of the function's entry",
            ExprKind::Fact(_) => "it is a text",
            // What could not be resolved was told, or counts as 0.
            _ => return None,
        };
        let text = crate::syntax::print::print_expr(expr);
        self.error(Diagnostic::error(
            Code::NotAssignable,
            expr.span,
            format!("{text} cannot be assigned to: {why}"),
        ));
        None
    }

    fn global_place(&mut self, element: Element, want: Option<Ty>, span: Span) -> Option<Place> {
        self.writes(element.global);
        // `x++` and `x += 1` only write, whatever becomes of their value: SystemTap prints such a global at the end.
        if let Some(want) = want {
            self.learn_value(element.global, want, span);
        }
        Some(Place::Global(element))
    }

    fn place_type(&self, place: &Place) -> Option<Ty> {
        match place {
            Place::Local(local) => self.locals[local.0 as usize].ty.ty(),
            Place::Global(element) => self.symbols.globals[element.global.0 as usize].value.ty(),
            Place::Target(_) => Some(Ty::Long),
        }
    }

    pub(super) fn assign(
        &mut self,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
        want: Option<Ty>,
    ) -> Expr {
        let Some(place) = self.place(left, None) else {
            self.expr(right, want);
            return zero(span);
        };
        let known = self.place_type(&place).or(want);
        let before = self.errors.len();
        let mut value = self.expr(right, known);
        if self.errors.len() > before {
            return zero(span);
        }
        let found = self.type_of(&value, right);
        if let Some(ty) = found.or(known) {
            match &place {
                Place::Local(local) => self.learn_local(*local, ty, left.span),
                Place::Global(element) => self.learn_value(element.global, ty, left.span),
                Place::Target(_) => {}
            }
            value.ty = ty;
        }
        let ty = value.ty;
        if let (Place::Target(target), Ty::Str) = (&place, ty) {
            let message = format!("{} is a number, and takes no string", target.text);
            self.error(Diagnostic::error(Code::TypeConflict, right.span, message));
            return zero(span);
        }
        Expr { kind: ExprKind::Assign { place, value: Box::new(value) }, ty, span }
    }

    pub(super) fn compound(
        &mut self,
        op: BinaryOp,
        op_span: Span,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Expr {
        if op == BinaryOp::Concat {
            let value = Box::new(self.typed(right, Ty::Str));
            let Some(place) = self.place(left, Some(Ty::Str)) else { return zero(span) };
            if let Place::Target(target) = &place {
                let message = format!("{} is a number, and takes no string", target.text);
                self.error(Diagnostic::error(Code::TypeConflict, right.span, message));
                return zero(span);
            }
            return Expr { kind: ExprKind::Append { place, value }, ty: Ty::Str, span };
        }
        let value = Box::new(self.long(right));
        let Some(place) = self.place(left, Some(Ty::Long)) else { return zero(span) };
        Expr {
            kind: ExprKind::Modify { place, op: super::expr::bin_op(op), op_span, value },
            ty: Ty::Long,
            span,
        }
    }

    pub(super) fn accumulate(&mut self, left: &ast::Expr, right: &ast::Expr, span: Span) -> Expr {
        let value = Box::new(self.long(right));
        let (name, keys): (&ast::Name, &[ast::Subscript]) = match &left.kind {
            ast::ExprKind::Symbol(name) => (name, &[]),
            ast::ExprKind::Index { base: ast::Indexable::Array(array), keys } => (&array.name, keys),
            _ => {
                self.error(Diagnostic::error(
                    Code::NotAssignable,
                    left.span,
                    "<<< takes a global or an element of one on its left",
                ));
                return zero(span);
            }
        };
        let array = ast::VarRef { id: left.id, name: name.clone(), span: left.span };
        if keys.is_empty() && self.global(name).is_none() {
            let message = format!("{name} is no global, and statistics are kept in globals only");
            self.error(
                Diagnostic::error(Code::UnknownGlobal, left.span, message)
                    .hint(format!("declare it: global {name}")),
            );
            return zero(span);
        }
        let Some(global) = self.array(&array) else { return zero(span) };
        if !self.learn_arity(global, keys.len(), left.span) {
            return zero(span);
        }
        let Some(keys) = self.full_keys(global, keys) else { return zero(span) };
        self.modifies(global, left.span);
        self.writes(global);
        let info = &mut self.symbols.globals[global.0 as usize];
        if let Some(place) = info.value.place() {
            let name = info.decl.name.name.clone();
            self.error(
                Diagnostic::error(
                    Code::TypeConflict,
                    span,
                    format!("{name} is used as a statistic here, but it holds plain values"),
                )
                .label(place, "used as a plain value here"),
            );
            return zero(span);
        }
        if info.stats.is_none() {
            info.stats = Some((tracer_common::stat::StatFields::default(), left.span));
            self.symbols.news.insert(Node::Global(global));
        }
        Expr {
            kind: ExprKind::Aggregate { element: Element { global, keys, span: left.span }, value },
            ty: Ty::Long,
            span,
        }
    }
}
