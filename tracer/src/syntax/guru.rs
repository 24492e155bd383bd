//! What only guru mode may say: embedded C, and reading any address or register.
//!
//! **Not here:** assignment to target variables (`sema::target_var::written`), which types decide.

use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::source::Span;
use crate::syntax::ast::{Expr, ExprKind, File, FunctionBody};
use crate::syntax::visit::{self, Visitor};

/// Says where a script that runs without `-g` needs it. Embedded C is refused with it too, in pass 2.
pub fn refuse(file: &File, sink: &mut Sink) {
    let mut search = Search { sink };
    for code in file.embedded() {
        search.sink.push(embedded(code.span));
    }
    for function in file.functions() {
        match &function.body {
            FunctionBody::Block(block) => search.visit_block(block),
            FunctionBody::Embedded(code) => search.sink.push(embedded(code.span)),
        }
    }
    for probe in file.probes() {
        search.visit_block(&probe.body);
    }
    for alias in file.aliases() {
        for block in alias.prologue.iter().chain(&alias.epilogue) {
            search.visit_block(block);
        }
    }
}

/// The message for embedded C.
pub fn embedded(span: Span) -> Diagnostic {
    Diagnostic::error(Code::EmbeddedC, span, "embedded C cannot run on eBPF")
        .hint("look for a tapset function that does the job, or use $variables and @cast")
}

/// The message for reading any address.
pub fn any_address(span: Span) -> Diagnostic {
    Diagnostic::error(Code::NeedsGuru, span, "reading any address needs guru mode")
        .hint("add -g, or call kernel_int(), user_int() and their relatives")
}

struct Search<'s> {
    sink: &'s mut Sink,
}

impl Visitor for Search<'_> {
    fn visit_expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Embedded(_) => self.sink.push(embedded(expr.span)),
            ExprKind::Deref { .. } => self.sink.push(any_address(expr.span)),
            ExprKind::Register { .. } => self.sink.push(
                Diagnostic::error(Code::NeedsGuru, expr.span, "reading any register needs guru mode")
                    .hint("call register(\"rdi\") or u_register(\"edi\")"),
            ),
            _ => {}
        }
        visit::walk_expr(self, expr);
    }
}
