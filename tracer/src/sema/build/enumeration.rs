//! `@enum` and `@enumname`.
//!
//! **Not here:** finding the constants (`resolve`).

use std::sync::Arc;

use tracer_common::format::{Conversion, ConversionKind, Part};
use tracer_common::ir::CmpOp;

use super::{Builder, Outcome};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Expr, ExprKind, Place, Ty};
use crate::syntax::ast;

/// Constants of an enumeration whose names a handler can tell apart: one comparison each.
const MOST: usize = 256;

impl Builder<'_, '_> {
    /// `@enum("NAME")`
    pub(super) fn enumerator(&mut self, expr: &ast::Expr) -> Expr {
        let value = match self.outcomes.get(&expr.id) {
            Some(Outcome::Enumerator(value)) => *value,
            _ => {
                self.not_found(expr);
                0
            }
        };
        Expr { kind: ExprKind::Number(value), ty: Ty::Long, span: expr.span }
    }

    /// `@enumname(x, "type")`: the name of a constant, else the number as text.
    pub(super) fn enumerator_name(&mut self, expr: &ast::Expr, operand: &ast::Expr) -> Expr {
        let span = expr.span;
        let node = |kind, ty| Expr { kind, ty, span };
        let value = self.long(operand);
        let constants = match self.outcomes.get(&expr.id) {
            Some(Outcome::Enumeration(constants)) => constants.clone(),
            _ => {
                self.not_found(expr);
                Vec::new()
            }
        };
        if constants.len() > MOST {
            let message = format!("an enumeration of {} constants; the limit is {MOST}", constants.len());
            self.error(Diagnostic::error(Code::Unsupported, span, message));
        }
        // No script can write this name; the value is taken once, by the first comparison.
        let local = self.local(&Arc::from(format!("@enumname {}", span.start)));
        self.learn_local(local, Ty::Long, span);
        self.assigned.insert(local);
        let again = || node(ExprKind::Local(local), Ty::Long);
        let mut taken =
            node(ExprKind::Assign { place: Place::Local(local), value: Box::new(value) }, Ty::Long);
        // Of several names of a number the first counts.
        let mut known: Vec<&(String, i64)> = Vec::new();
        for constant in constants.iter().take(MOST) {
            if known.iter().all(|(_, value)| *value != constant.1) {
                known.push(constant);
            }
        }
        let format = vec![Part::Conversion(Conversion::plain(ConversionKind::Signed))];
        let number = if known.is_empty() { std::mem::replace(&mut taken, again()) } else { again() };
        let mut text = node(ExprKind::Print { format, args: vec![number], to_string: true }, Ty::Str);
        for (n, (name, value)) in known.iter().enumerate().rev() {
            let left = if n == 0 { std::mem::replace(&mut taken, again()) } else { again() };
            let right = Box::new(node(ExprKind::Number(*value), Ty::Long));
            let cond = ExprKind::Compare { op: CmpOp::Eq, left: Box::new(left), right };
            let ternary = ExprKind::Ternary {
                cond: Box::new(node(cond, Ty::Long)),
                then: Box::new(node(ExprKind::Str(ast::Text::from(name.as_str())), Ty::Str)),
                otherwise: Box::new(text),
            };
            text = node(ternary, Ty::Str);
        }
        text
    }

    fn not_found(&mut self, expr: &ast::Expr) {
        if self.dead > 0 {
            return;
        }
        if let Some(Outcome::Missing(diagnostic)) = self.outcomes.get(&expr.id) {
            let diagnostic = (**diagnostic).clone();
            self.error(diagnostic);
        }
    }
}
