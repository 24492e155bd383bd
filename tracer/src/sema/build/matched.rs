//! `matched(n)` and `ngroups()`: groups of the last `=~` that ran, in this body, in what called it or in what it called.
//!
//! In a program that asks for them, each search remembers the string that was searched and the pattern's number; what these numbers
//! stand for is known when all bodies are built, so pass 3 fills the patterns in.
//!
//! **Not here:** the search, the groups (`tracer_common::regex`), which searches remember (`lower::regex`).

use tracer_common::intrinsic::Intrinsic;

use super::Builder;
use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::sema::program::{Expr, ExprKind, Program, Ty};
use crate::sema::walk;
use crate::source::Span;
use crate::syntax::ast;

/// The words, and how many arguments they take.
pub(super) const WORDS: [(&str, usize); 2] = [("matched", 1), ("ngroups", 0)];

impl Builder<'_, '_> {
    /// `matched(n)` or `ngroups()`.
    pub(super) fn asked(&mut self, args: &[ast::Expr], span: Span) -> Expr {
        let of_search = |intrinsic: Intrinsic, ty| Expr {
            kind: ExprKind::Intrinsic { intrinsic, args: Vec::new() },
            ty,
            span,
        };
        let number = of_search(Intrinsic::SearchNumber, Ty::Long);
        let patterns = Expr { kind: ExprKind::Str(ast::Text::new(Vec::new())), ty: Ty::Str, span };
        let (intrinsic, args, ty) = match args {
            [group] => {
                let text = of_search(Intrinsic::SearchText, Ty::Str);
                (Intrinsic::Matched, vec![text, number, patterns, self.long(group)], Ty::Str)
            }
            _ => (Intrinsic::Ngroups, vec![number, patterns], Ty::Long),
        };
        Expr { kind: ExprKind::Intrinsic { intrinsic, args }, ty, span }
    }
}

/// Notes the patterns of a program that asks for groups. Asking where nothing is searched is a mistake.
pub(in crate::sema) fn find_searches(program: &mut Program, sink: &mut Sink) {
    let mut asked: Vec<(Span, Intrinsic)> = Vec::new();
    let mut searched: Vec<ast::Text> = Vec::new();
    let mut look = |e: &Expr| match &e.kind {
        ExprKind::Intrinsic { intrinsic: intrinsic @ (Intrinsic::Matched | Intrinsic::Ngroups), .. } => {
            asked.push((e.span, *intrinsic));
        }
        ExprKind::Match { pattern, .. } if !searched.contains(pattern) => searched.push(pattern.clone()),
        _ => {}
    };
    for body in program.functions.iter().map(|f| &f.body).chain(program.probes.iter().map(|p| &p.body)) {
        walk::exprs(body, &mut look);
    }
    if asked.is_empty() {
        return;
    }
    if searched.is_empty() {
        for (span, intrinsic) in asked {
            let what = format!("{} is about the last =~, and the script searches nothing", intrinsic.name());
            let diagnostic = Diagnostic::error(Code::Misplaced, span, what);
            sink.push(diagnostic.hint("a search is string =~ \"pattern\""));
        }
    }
    program.searched = searched;
}
