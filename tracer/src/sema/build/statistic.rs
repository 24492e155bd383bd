//! Statistics: extractors and histograms.

use tracer_common::stat::{HistOp, StatOp};

use super::{Builder, zero};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Element, Expr, ExprKind, GlobalId, Ty};
use crate::sema::symbols::Node;
use crate::source::Span;
use crate::syntax::ast;

/// The statistic operator of the contract.
pub(super) fn stat_op(op: ast::StatOp) -> StatOp {
    match op {
        ast::StatOp::Count => StatOp::Count,
        ast::StatOp::Sum => StatOp::Sum,
        ast::StatOp::Min => StatOp::Min,
        ast::StatOp::Max => StatOp::Max,
        ast::StatOp::Avg => StatOp::Avg,
        ast::StatOp::Variance => StatOp::Variance,
    }
}

impl Builder<'_, '_> {
    pub(super) fn extract(
        &mut self,
        op: ast::StatOp,
        operand: &ast::Expr,
        shift: Option<i64>,
        span: Span,
    ) -> Expr {
        let Some((global, keys)) = self.statistic(operand) else { return zero(span) };
        let noted = self.symbols.globals[global.0 as usize].extract(
            stat_op(op),
            shift.unwrap_or(0).clamp(0, 62) as u8,
            span,
        );
        self.note(global, noted);
        Expr { kind: ExprKind::Stat { op: stat_op(op), global, keys }, ty: Ty::Long, span }
    }

    pub(super) fn note(&mut self, global: GlobalId, noted: Result<bool, Diagnostic>) {
        match noted {
            Ok(news) => self.news(news, Node::Global(global)),
            Err(diagnostic) => self.error(diagnostic),
        }
    }

    /// The statistic that an extractor looks at.
    fn statistic(&mut self, operand: &ast::Expr) -> Option<(GlobalId, Vec<Option<Expr>>)> {
        let (name, keys, span): (&ast::Name, &[ast::Subscript], Span) = match &operand.kind {
            ast::ExprKind::Symbol(name) => (name, &[], operand.span),
            ast::ExprKind::Index { base: ast::Indexable::Array(array), keys } => {
                (&array.name, keys, operand.span)
            }
            _ => {
                self.error(Diagnostic::error(
                    Code::NotAssignable,
                    operand.span,
                    "an extractor takes a statistic: a global or an element of one",
                ));
                return None;
            }
        };
        let global = self.array(&ast::VarRef { id: operand.id, name: name.clone(), span })?;
        if !self.learn_arity(global, keys.len(), span) {
            return None;
        }
        self.reads(global);
        let info = &mut self.symbols.globals[global.0 as usize];
        if let Some(place) = info.value.place() {
            let name = info.decl.name.name.clone();
            self.error(
                Diagnostic::error(Code::TypeConflict, span, format!("{name} is no statistic"))
                    .label(place, "used as a plain value here")
                    .hint(format!("values go into a statistic with {name} <<< value")),
            );
            return None;
        }
        let keys = self.subscripts(global, keys);
        Some((global, keys))
    }

    /// A histogram with the statistic that it is of.
    pub(super) fn hist(&mut self, hist: &ast::Hist) -> Option<(HistOp, Element)> {
        let op = match hist.op {
            ast::HistOp::Log => HistOp::Log,
            ast::HistOp::Linear { low, high, width } => HistOp::Linear { low, high, width },
        };
        if let HistOp::Linear { low, high, width } = op {
            let problem = if width <= 0 {
                Some("the width of a bucket must be positive")
            } else if low > high {
                Some("the first bucket must not start after the last")
            } else if (high as i128 - low as i128) / width as i128 > 4000 {
                Some("this histogram has more than 4000 buckets")
            } else {
                None
            };
            if let Some(problem) = problem {
                self.error(Diagnostic::error(Code::Histogram, hist.span, problem));
                return None;
            }
        }
        let (global, keys) = self.statistic(&hist.operand)?;
        let keys: Option<Vec<Expr>> = keys.into_iter().collect();
        let Some(keys) = keys else {
            self.error(Diagnostic::error(Code::Misplaced, hist.span, "a histogram is of one element"));
            return None;
        };
        let noted = self.symbols.globals[global.0 as usize].histogram(op, hist.span);
        self.note(global, noted);
        Some((op, Element { global, keys, span: hist.span }))
    }
}
