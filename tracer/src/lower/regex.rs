//! `=~` and `!~`.
//!
//! **Not here:** the automaton (`tracer_common::regex`) and the walk over it (pass 4, the evaluator).

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, CmpOp, Dest, Inst, LongOp, StrOp};

use crate::lower::body::Body;
use crate::sema::program::Expr;

impl<'p> Body<'_, 'p> {
    /// Whether a pattern occurs in a string, or does not.
    pub(super) fn search(
        &mut self,
        expr: &'p Expr,
        subject: &'p Expr,
        pattern: &[u8],
        negated: bool,
    ) -> LongOp {
        let text = self.string(subject);
        self.at(expr.span);
        let pattern = StrOp::Lit(self.lower.module.string(pattern));
        let found = self.make(|dest| Inst::Call {
            intrinsic: Intrinsic::Search,
            dest: Some(Dest::Long(dest)),
            args: vec![Arg::Str(text), Arg::Str(pattern)],
        });
        if !negated {
            return found;
        }
        self.make(|dest| Inst::Cmp { op: CmpOp::Eq, dest, left: found, right: LongOp::Imm(0) })
    }
}
