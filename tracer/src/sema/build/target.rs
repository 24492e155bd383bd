//! Target expressions: what pass 2 found out about them, as typed expressions.

use std::sync::Arc;

use tracer_common::ir::SiteFact;

use super::{Body, Builder, Outcome, zero};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::family::dynamic_parts;
use crate::sema::program::{Access, Expr, ExprKind, Target, TargetValue, Ty};
use crate::syntax::ast::{self, TargetExpr, TargetRoot};
use crate::syntax::print::print_expr;

impl Builder<'_, '_> {
    pub(super) fn target(&mut self, expr: &ast::Expr, target: &TargetExpr) -> Expr {
        let span = expr.span;
        if let TargetRoot::Special(name) = &target.root {
            let fact = match &**name {
                "name" => Some(SiteFact::Name),
                "provider" | "system" => Some(SiteFact::Provider),
                _ => None,
            };
            if let Some(fact) = fact {
                return Expr { kind: ExprKind::Fact(fact), ty: Ty::Str, span };
            }
        }
        if self.dead > 0 {
            // What never runs may name what is not there.
            return zero(span);
        }
        let resolved = match self.outcomes.get(&expr.id) {
            Some(Outcome::Value(resolved)) => resolved.clone(),
            Some(Outcome::Missing(diagnostic)) => {
                if self.skip_badvars && diagnostic.code != Code::NoTargetVariables {
                    let text = print_expr(expr);
                    let message =
                        format!("{text} cannot be resolved and counts as 0: {}", diagnostic.message);
                    self.warn(Diagnostic::warning(Code::UnresolvedTarget, span, message));
                    return zero(span);
                }
                let diagnostic = (**diagnostic).clone();
                self.error(diagnostic);
                return zero(span);
            }
            Some(Outcome::Defined(_) | Outcome::Enumerator(_) | Outcome::Enumeration(_)) | None => {
                self.error(Diagnostic::error(
                    Code::NoTargetVariables,
                    span,
                    format!(
                        "{} has no meaning here: there is no traced code behind this handler",
                        print_expr(expr)
                    ),
                ));
                return zero(span);
            }
        };
        let indices = dynamic_parts(target).into_iter().map(|part| self.long(part)).collect();
        let text: Arc<str> = print_expr(expr).into();
        let ty = if matches!(resolved.value, TargetValue::Value(_)) { Ty::Long } else { Ty::Str };
        let value = match resolved.value {
            TargetValue::List { list: _, values } => {
                let count = self.lists.len() as u32;
                let list = *self.lists.entry(expr.id).or_insert(count);
                let values = if resolved.at_entry && !self.at_entry {
                    values
                        .into_iter()
                        .map(|value| value.map(|access| self.saved_access(access, &text, span)))
                        .collect()
                } else {
                    values
                };
                return Expr {
                    kind: ExprKind::Target(Target {
                        text,
                        value: TargetValue::List { list, values },
                        indices,
                    }),
                    ty,
                    span,
                };
            }
            value => value.with_accesses(&mut |access| self.with_saved(access, &text, span)),
        };
        let built = Expr { kind: ExprKind::Target(Target { text, value, indices }), ty, span };
        if resolved.at_entry && !self.at_entry {
            if self.body != (Body::Probe { saves: true }) {
                return self.unsupported(span, "a parameter in this kind of return probe");
            }
            return self.save(built, span);
        }
        built
    }

    /// An access whose parts of the entry are saved there.
    fn with_saved(&mut self, access: Access, text: &Arc<str>, span: crate::source::Span) -> Access {
        match access {
            Access::AtEntry(value) => self.saved_access(*value, text, span),
            Access::Entered(_) => access,
            other => other.with_parts(&mut |part| self.with_saved(part, text, span)),
        }
    }

    /// An access that reads what was saved at entry.
    fn saved_access(&mut self, access: Access, text: &Arc<str>, span: crate::source::Span) -> Access {
        let target = Target { text: text.clone(), value: TargetValue::Value(access), indices: Vec::new() };
        let built = Expr { kind: ExprKind::Target(target), ty: Ty::Long, span };
        match self.save(built, span).kind {
            ExprKind::Saved(n) => Access::Saved(n),
            _ => Access::Constant(0),
        }
    }
}
