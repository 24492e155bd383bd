//! `matched(n)` and `ngroups()`: groups of the last `=~` of the same body.
//!
//! A body that asks for them keeps, at each of its searches, the string that was searched and the pattern, in two locals that no script
//! can name; `matched` looks for the groups in them when it is evaluated. So they work in both domains, and late.
//!
//! **Not here:** the search, the groups (`tracer_common::regex`).

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::CmpOp;

use super::Builder;
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Expr, ExprKind, LocalId, Place, Ty};
use crate::source::Span;
use crate::syntax::ast;
use crate::syntax::visit::{Visitor, walk_expr};

/// The words, and how many arguments they take.
pub(super) const WORDS: [(&str, usize); 2] = [("matched", 1), ("ngroups", 0)];

/// The string that was searched.
const TEXT: &str = "the text that was searched";
/// `/` and the pattern when it was found.
const PATTERN: &str = "the pattern that was found";

/// Whether the searches of a body must keep what they found.
pub(super) fn keeps_searches<'a>(
    conditions: &[&ast::Expr],
    blocks: impl IntoIterator<Item = &'a ast::Block>,
) -> bool {
    let mut found = Searches::default();
    conditions.iter().for_each(|condition| found.visit_expr(condition));
    blocks.into_iter().for_each(|block| found.visit_block(block));
    found.searches && found.asks
}

/// What a body has of searches.
#[derive(Default)]
struct Searches {
    searches: bool,
    asks: bool,
}

impl Visitor for Searches {
    fn visit_expr(&mut self, expr: &ast::Expr) {
        match &expr.kind {
            ast::ExprKind::Regex { .. } => self.searches = true,
            ast::ExprKind::Call { name, args } => {
                self.asks |= WORDS.contains(&(&*name.name, args.len()));
            }
            _ => {}
        }
        walk_expr(self, expr);
    }
}

impl Builder<'_, '_> {
    fn hidden(&mut self, name: &str, span: Span) -> LocalId {
        let id = self.local(&name.into());
        self.learn_local(id, Ty::Str, span);
        self.assigned.insert(id);
        id
    }

    /// `subject =~ pattern`, keeping both.
    pub(super) fn kept_search(
        &mut self,
        subject: Expr,
        pattern: &ast::Text,
        negated: bool,
        span: Span,
    ) -> ExprKind {
        let (text, found) = (self.hidden(TEXT, span), self.hidden(PATTERN, span));
        let string = |bytes: Vec<u8>| Expr { kind: ExprKind::Str(ast::Text::new(bytes)), ty: Ty::Str, span };
        let assign = |to, value| {
            let kind = ExprKind::Assign { place: Place::Local(to), value: Box::new(value) };
            Box::new(Expr { kind, ty: Ty::Str, span })
        };
        // Both branches are comparisons whose result is known: what counts is the assignment inside.
        let keep = |value: Vec<u8>, op| {
            let (left, right) = (assign(found, string(value)), Box::new(string(Vec::new())));
            Box::new(Expr { kind: ExprKind::Compare { op, left, right }, ty: Ty::Long, span })
        };
        let search =
            ExprKind::Match { subject: assign(text, subject), pattern: pattern.clone(), negated: false };
        let (yes, no) = if negated { (CmpOp::Eq, CmpOp::Ne) } else { (CmpOp::Ne, CmpOp::Eq) };
        ExprKind::Ternary {
            cond: Box::new(Expr { kind: search, ty: Ty::Long, span }),
            then: keep([b"/", pattern.as_bytes()].concat(), yes),
            otherwise: keep(b"-".to_vec(), no),
        }
    }

    /// `matched(n)` or `ngroups()`.
    pub(super) fn asked(&mut self, name: &ast::Ident, args: &[ast::Expr], span: Span) -> Expr {
        if !self.keeps_searches {
            let what = format!("{} is about the last =~ of the same handler or function", name.name);
            self.error(
                Diagnostic::error(Code::Misplaced, span, what)
                    .hint("there is none: search here, or pass the result as an argument"),
            );
        }
        let (text, found) = (self.hidden(TEXT, span), self.hidden(PATTERN, span));
        let local = |id| Expr { kind: ExprKind::Local(id), ty: Ty::Str, span };
        let (intrinsic, args, ty) = match args {
            [number] => (Intrinsic::Matched, vec![local(text), local(found), self.long(number)], Ty::Str),
            _ => (Intrinsic::Ngroups, vec![local(found)], Ty::Long),
        };
        Expr { kind: ExprKind::Intrinsic { intrinsic, args }, ty, span }
    }
}
