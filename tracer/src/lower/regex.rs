//! `=~` and `!~`.
//!
//! **Not here:** the automaton (`tracer_common::regex`) and the walk over it (pass 4, the evaluator).

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, BinOp, CmpOp, Dest, Inst, LongOp, StrOp};
use tracer_common::regex;

use crate::lower::body::Body;
use crate::sema::program::Expr;
use crate::syntax::ast::Text;

impl<'p> Body<'_, 'p> {
    /// `=~` or `!~`: in a program that asks for groups, what was searched is remembered.
    pub(super) fn matches(
        &mut self,
        expr: &'p Expr,
        subject: &'p Expr,
        pattern: &'p Text,
        negated: bool,
    ) -> LongOp {
        let Some(number) = self.lower.program.searched.iter().position(|known| known == pattern) else {
            return self.search(expr, subject, pattern.as_bytes(), negated);
        };
        let text = self.string(subject);
        let found = self.search_in(expr, text, pattern.as_bytes());
        let number = self.bin(BinOp::Mul, found, LongOp::Imm(number as i64 + 1));
        let args = vec![Arg::Str(text), Arg::Long(number)];
        self.push(Inst::Call { intrinsic: Intrinsic::KeepSearch, dest: None, args });
        if negated { self.inverse(found) } else { found }
    }

    /// Fills in the patterns that numbers of searches stand for.
    pub(super) fn fill_patterns(&mut self, intrinsic: Intrinsic, args: &mut [Arg]) {
        let at = match intrinsic {
            Intrinsic::Matched => 2,
            Intrinsic::Ngroups => 1,
            _ => return,
        };
        let patterns = regex::listed(self.lower.program.searched.iter().map(Text::as_bytes));
        args[at] = Arg::Str(StrOp::Lit(self.lower.module.string(&patterns)));
    }

    /// Whether a pattern occurs in a string, or does not.
    pub(super) fn search(
        &mut self,
        expr: &'p Expr,
        subject: &'p Expr,
        pattern: &[u8],
        negated: bool,
    ) -> LongOp {
        let text = self.string(subject);
        let found = self.search_in(expr, text, pattern);
        if negated { self.inverse(found) } else { found }
    }

    fn inverse(&mut self, found: LongOp) -> LongOp {
        self.make(|dest| Inst::Cmp { op: CmpOp::Eq, dest, left: found, right: LongOp::Imm(0) })
    }

    fn search_in(&mut self, expr: &'p Expr, text: StrOp, pattern: &[u8]) -> LongOp {
        self.at(expr.span);
        let pattern = StrOp::Lit(self.lower.module.string(pattern));
        self.make(|dest| Inst::Call {
            intrinsic: Intrinsic::Search,
            dest: Some(Dest::Long(dest)),
            args: vec![Arg::Str(text), Arg::Str(pattern)],
        })
    }
}
