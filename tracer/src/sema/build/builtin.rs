//! Operators and calls that are not about variables: numbers in memory, buckets of histograms, intrinsics.

use tracer_common::intrinsic::{Intrinsic, Kind};
use tracer_common::ir::{Space, Width};

use super::{Builder, counted, zero};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Access, Expr, ExprKind, Target, TargetValue, Ty};
use crate::source::Span;
use crate::syntax::ast;
use crate::syntax::guru;
use crate::syntax::print::print_expr;

impl Builder<'_, '_> {
    /// `@kderef(size, address)`, `@uderef(size, address)`: an unsigned number in memory.
    pub(super) fn deref(&mut self, user: bool, size: i64, address: &ast::Expr, whole: &ast::Expr) -> Expr {
        let span = whole.span;
        if !self.guru && !(self.is_library)(self.file) {
            self.error(guru::any_address(span));
            return zero(span);
        }
        let Some(width) = u8::try_from(size).ok().filter(|size| matches!(size, 1 | 2 | 4 | 8)) else {
            self.error(Diagnostic::error(Code::Arity, span, "numbers in memory have 1, 2, 4 or 8 bytes"));
            return zero(span);
        };
        let access = Access::Load {
            space: if user { Space::User } else { Space::Kernel },
            address: Box::new(Access::Dynamic(0)),
            offset: 0,
            width: Width { bytes: width, signed: false },
        };
        let target = Target {
            text: print_expr(whole).into(),
            value: TargetValue::Value(access),
            indices: vec![self.long(address)],
        };
        Expr { kind: ExprKind::Target(target), ty: Ty::Long, span }
    }

    /// `@hist_log(x)[n]`
    pub(super) fn bucket(&mut self, hist: &ast::Hist, keys: &[ast::Subscript], span: Span) -> Expr {
        let Some((op, element)) = self.hist(hist) else { return zero(span) };
        let [ast::Subscript::Value(index)] = keys else {
            self.error(Diagnostic::error(Code::Arity, span, "a histogram has one index"));
            return zero(span);
        };
        let index = Box::new(self.long(index));
        Expr { kind: ExprKind::Bucket { hist: op, element, index }, ty: Ty::Long, span }
    }

    /// `__builtin_…()`, which only the library may call.
    pub(super) fn intrinsic(
        &mut self,
        intrinsic: Intrinsic,
        args: &[ast::Expr],
        name: Span,
        span: Span,
    ) -> Expr {
        if !(self.is_library)(self.file) {
            self.error(
                Diagnostic::error(
                    Code::UnknownFunction,
                    name,
                    format!("__builtin_{} is for tapsets only", intrinsic.name()),
                )
                .hint("call the tapset function instead"),
            );
            return zero(span);
        }
        if intrinsic.args().len() != args.len() {
            self.error(Diagnostic::error(
                Code::Arity,
                span,
                format!(
                    "__builtin_{}() takes {}",
                    intrinsic.name(),
                    counted(&intrinsic.args().len().to_string(), "argument")
                ),
            ));
            return zero(span);
        }
        let args = intrinsic
            .args()
            .iter()
            .zip(args)
            .map(|(kind, arg)| self.typed(arg, if *kind == Kind::Long { Ty::Long } else { Ty::Str }))
            .collect();
        let ty = if intrinsic.result() == Some(Kind::Str) { Ty::Str } else { Ty::Long };
        Expr { kind: ExprKind::Intrinsic { intrinsic, args }, ty, span }
    }
}
