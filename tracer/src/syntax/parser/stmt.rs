//! Statements.
//!
//! A statement that fails is dropped, and parsing goes on at the next one in its block.

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{
    Block, Foreach, Hist, Indexable, Sort, SortBy, StatOp, Stmt, StmtKind, Subscript, VarRef,
};
use crate::syntax::parser::{Parsed, Parser};
use crate::syntax::token::{Keyword, Op, TokenKind};

impl Parser<'_> {
    /// `{ statements }`.
    pub(super) fn block(&mut self) -> Parsed<Block> {
        self.deeper(Self::block_inner)
    }

    fn block_inner(&mut self) -> Parsed<Block> {
        let open = self.expect(Op::OpenBrace)?;
        let mut stmts = Vec::new();
        loop {
            if self.eat(Op::CloseBrace) {
                return Ok(Block { stmts, span: self.since(open) });
            }
            if self.at_keyword(Keyword::Global) && !self.begins_line() {
                let first = self.advance().span;
                let message = "globals are declared outside of handlers and functions";
                self.tell(Diagnostic::error(Code::Syntax, first, message).hint("move this before the probe"));
                self.globals(&mut Vec::new(), first, false)?;
                continue;
            }
            if self.at_end() || self.at_item() {
                // Once for the innermost block: the ones around it are not closed either.
                let diagnostic = self.unexpected_diagnostic("'}'").map(|mut diagnostic| {
                    diagnostic.code = Code::Unclosed;
                    diagnostic.label(open, "this block is not closed")
                });
                return Err(self.fail(diagnostic));
            }
            let before = self.pos;
            match self.stmt() {
                Ok(stmt) => stmts.push(stmt),
                Err(failed) => {
                    self.recover_stmt(before);
                    if self.at_end() || self.at_item() {
                        return Err(failed);
                    }
                }
            }
        }
    }

    /// Whether a top-level declaration starts here: then a block is not closed.
    fn at_item(&self) -> bool {
        matches!(self.peek().kind, TokenKind::Keyword(keyword) if keyword.starts_item()) && !self.after_dot()
    }

    /// After an error inside a statement: goes behind its `;`, to the `}` of its block, to what looks like the next
    /// statement, or to a top-level declaration.
    fn recover_stmt(&mut self, start: usize) {
        // What the failed statement opened and did not close before it failed.
        let mut braces = 0_usize;
        let mut parens = 0_usize;
        for token in &self.input.tokens[start..self.pos] {
            match token.kind {
                TokenKind::Op(Op::OpenBrace) => braces += 1,
                TokenKind::Op(Op::CloseBrace) => braces = braces.saturating_sub(1),
                TokenKind::Op(Op::OpenParen | Op::OpenBracket) => parens += 1,
                TokenKind::Op(Op::CloseParen | Op::CloseBracket) => parens = parens.saturating_sub(1),
                _ => {}
            }
        }
        while !self.at_end() && !self.at_item() {
            match self.peek().kind {
                TokenKind::Op(Op::OpenBrace) => braces += 1,
                TokenKind::Op(Op::CloseBrace) => {
                    if braces == 0 {
                        return;
                    }
                    braces -= 1;
                    if braces == 0 {
                        self.advance();
                        return;
                    }
                }
                TokenKind::Op(Op::Semi) if braces == 0 => {
                    self.advance();
                    return;
                }
                TokenKind::Keyword(keyword)
                    if keyword.starts_stmt() && braces == 0 && self.pos > start && !self.after_dot() =>
                {
                    return;
                }
                TokenKind::Ident | TokenKind::AtWord
                    if braces == 0
                        && self.pos > start
                        && self.starts_line()
                        && (parens == 0 || self.at_assignment()) =>
                {
                    return;
                }
                TokenKind::Op(Op::OpenParen | Op::OpenBracket) => parens += 1,
                TokenKind::Op(Op::CloseParen | Op::CloseBracket) => parens = parens.saturating_sub(1),
                _ => {}
            }
            self.advance();
        }
    }

    /// Whether the current token is the first on its line.
    fn starts_line(&self) -> bool {
        let (before, here) = (self.input.tokens[self.pos.saturating_sub(1)].span, self.peek().span);
        let between = Span { file: here.file, start: before.end.min(here.start), end: here.start };
        before.file != here.file || self.sources.text(between).contains('\n')
    }

    /// Whether `name =` stands here.
    fn at_assignment(&self) -> bool {
        matches!(
            self.peek_at(1).kind,
            TokenKind::Op(Op::Assign | Op::AddAssign | Op::Accumulate | Op::ConcatAssign)
        )
    }

    fn stmt(&mut self) -> Parsed<Stmt> {
        self.deeper(Self::stmt_inner)
    }

    fn stmt_inner(&mut self) -> Parsed<Stmt> {
        let first = self.peek();
        let kind = match first.kind {
            TokenKind::Op(Op::Semi) => {
                self.advance();
                return Ok(Stmt { kind: StmtKind::Null, span: first.span });
            }
            TokenKind::Op(Op::OpenBrace) => return self.finish(first.span, Self::block_stmt),
            TokenKind::Keyword(Keyword::If) => return self.finish(first.span, Self::if_stmt),
            TokenKind::Keyword(Keyword::While) => return self.finish(first.span, Self::while_stmt),
            TokenKind::Keyword(Keyword::For) => return self.finish(first.span, Self::for_stmt),
            TokenKind::Keyword(Keyword::Foreach) => return self.finish(first.span, Self::foreach_stmt),
            TokenKind::Keyword(Keyword::Try) => return self.finish(first.span, Self::try_stmt),
            TokenKind::Keyword(Keyword::Return) => self.return_stmt()?,
            TokenKind::Keyword(Keyword::Delete) => {
                self.advance();
                StmtKind::Delete(self.expr()?)
            }
            TokenKind::Keyword(Keyword::Next) => {
                self.advance();
                StmtKind::Next
            }
            TokenKind::Keyword(Keyword::Break) => {
                self.advance();
                StmtKind::Break
            }
            TokenKind::Keyword(Keyword::Continue) => {
                self.advance();
                StmtKind::Continue
            }
            TokenKind::Keyword(Keyword::Else) => {
                return Err(self.unexpected_with("a statement", "this 'else' has no 'if'"));
            }
            TokenKind::Keyword(Keyword::Long | Keyword::Str) => {
                let hint = "local variables are not declared: assign to them, their type is inferred";
                return Err(self.unexpected_with("a statement", hint));
            }
            TokenKind::Ident
            | TokenKind::AtWord
            | TokenKind::Number
            | TokenKind::Str
            | TokenKind::Embedded => StmtKind::Expr(self.expr()?),
            TokenKind::Op(
                Op::OpenParen
                | Op::OpenBracket
                | Op::Plus
                | Op::Minus
                | Op::Not
                | Op::Tilde
                | Op::Inc
                | Op::Dec
                | Op::And,
            ) => StmtKind::Expr(self.expr()?),
            TokenKind::Keyword(_) | TokenKind::Op(_) | TokenKind::Junk(_) | TokenKind::End => {
                return Err(self.unexpected("a statement"));
            }
        };
        let span = self.since(first.span);
        self.eat(Op::Semi);
        Ok(Stmt { kind, span })
    }

    /// A statement that ends with another one takes no `;` of its own.
    fn finish(
        &mut self,
        first: Span,
        production: impl FnOnce(&mut Self) -> Parsed<StmtKind>,
    ) -> Parsed<Stmt> {
        let kind = production(self)?;
        Ok(Stmt { kind, span: self.since(first) })
    }

    fn block_stmt(&mut self) -> Parsed<StmtKind> {
        Ok(StmtKind::Block(self.block()?))
    }

    fn if_stmt(&mut self) -> Parsed<StmtKind> {
        self.advance();
        self.open("if (condition) { ... }")?;
        let cond = self.expr()?;
        self.expect(Op::CloseParen)?;
        let then = Box::new(self.stmt()?);
        let mut otherwise = None;
        if self.at_keyword(Keyword::Else) {
            self.advance();
            otherwise = Some(Box::new(self.stmt()?));
        }
        Ok(StmtKind::If { cond, then, otherwise })
    }

    /// `(` of a statement that is written like this.
    fn open(&mut self, form: &str) -> Parsed<()> {
        if self.eat(Op::OpenParen) { Ok(()) } else { Err(self.unexpected_with("'('", form)) }
    }

    fn while_stmt(&mut self) -> Parsed<StmtKind> {
        self.advance();
        self.open("while (condition) { ... }")?;
        let cond = self.expr()?;
        self.expect(Op::CloseParen)?;
        Ok(StmtKind::While { cond, body: Box::new(self.stmt()?) })
    }

    fn for_stmt(&mut self) -> Parsed<StmtKind> {
        self.advance();
        self.open("for (i = 0; i < 10; i++) { ... }, or foreach (key in array) { ... }")?;
        let init = if self.at(Op::Semi) { None } else { Some(self.expr()?) };
        if init.is_some() && self.at(Op::CloseParen) {
            return Err(self.unexpected_with("';'", "to visit an array write foreach (key in array)"));
        }
        self.expect(Op::Semi)?;
        let cond = if self.at(Op::Semi) { None } else { Some(self.expr()?) };
        self.expect(Op::Semi)?;
        let step = if self.at(Op::CloseParen) { None } else { Some(self.expr()?) };
        self.expect(Op::CloseParen)?;
        Ok(StmtKind::For { init, cond, step, body: Box::new(self.stmt()?) })
    }

    fn return_stmt(&mut self) -> Parsed<StmtKind> {
        let span = self.advance().span;
        if !self.in_function {
            let diagnostic = Diagnostic::error(Code::Syntax, span, "'return' outside a function")
                .hint("to leave a probe handler write next");
            self.tell(diagnostic);
        }
        if self.at(Op::Semi) || self.at(Op::CloseBrace) {
            return Ok(StmtKind::Return(None));
        }
        if matches!(self.peek().kind, TokenKind::Keyword(_)) {
            return Err(self.unexpected_with("a value or ';'", "without a value write return;"));
        }
        Ok(StmtKind::Return(Some(self.expr()?)))
    }

    fn try_stmt(&mut self) -> Parsed<StmtKind> {
        self.advance();
        let body = self.block()?;
        self.expect_keyword(Keyword::Catch)?;
        let mut var = None;
        if self.eat(Op::OpenParen) {
            var = Some(self.var_ref("a variable for the message")?);
            self.expect(Op::CloseParen)?;
        }
        Ok(StmtKind::Try { body, var, handler: self.block()? })
    }

    /// `foreach (value = [a+, b] in array[*, x] @sum- limit n) body`.
    fn foreach_stmt(&mut self) -> Parsed<StmtKind> {
        self.advance();
        self.open("foreach (key in array) { ... }")?;
        let mut sort = None;
        let mut value = None;
        let mut keys: Vec<VarRef> = Vec::new();
        if !self.at(Op::OpenBracket) {
            let var = self.var_ref("a variable or '['")?;
            let mark = self.sort_mark(SortBy::Key(0));
            if self.eat(Op::Assign) {
                value = Some(var);
                sort = mark.map(|mark| Sort { by: SortBy::Value, ..mark });
            } else {
                keys.push(var);
                sort = mark;
            }
        }
        if keys.is_empty() {
            let bracketed = self.eat(Op::OpenBracket);
            loop {
                keys.push(self.var_ref("a key variable")?);
                let mark = self.sort_mark(SortBy::Key(keys.len() - 1));
                self.add_sort(&mut sort, mark);
                if !bracketed {
                    break;
                }
                if self.eat(Op::CloseBracket) {
                    break;
                }
                if !self.eat(Op::Comma) {
                    return Err(self.unexpected("',' or ']'"));
                }
            }
        }
        if self.at(Op::Comma) {
            return Err(self.unexpected_with("'in'", "several keys stand in brackets: [a, b] in array"));
        }
        self.expect_keyword(Keyword::In)?;
        let base = self.indexable()?;
        let slice = if self.eat(Op::OpenBracket) { Some(self.subscripts()?) } else { None };
        let mark = self.stat_sort_mark()?;
        self.add_sort(&mut sort, mark);
        let mark = self.sort_mark(SortBy::Value);
        self.add_sort(&mut sort, mark);
        let mut limit = None;
        if self.at_keyword(Keyword::Limit) {
            self.advance();
            limit = Some(self.expr()?);
        }
        self.expect(Op::CloseParen)?;
        let body = self.stmt()?;
        Ok(StmtKind::Foreach(Box::new(Foreach { value, keys, base, slice, sort, limit, body })))
    }

    /// `+` or `-` as a sort mark, if one stands here.
    fn sort_mark(&mut self, by: SortBy) -> Option<Sort> {
        let ascending = self.at(Op::Plus);
        if !ascending && !self.at(Op::Minus) {
            return None;
        }
        let span = self.advance().span;
        Some(Sort { by, ascending, span })
    }

    /// `@sum-`, if it stands here.
    fn stat_sort_mark(&mut self) -> Parsed<Option<Sort>> {
        let at = self.peek();
        if at.kind != TokenKind::AtWord {
            return Ok(None);
        }
        let Some(op) = stat_op(self.text(at)) else {
            return Err(self.unexpected("a statistic such as @count to sort by"));
        };
        self.advance();
        match self.sort_mark(SortBy::Stat(op)) {
            Some(mark) => Ok(Some(Sort { span: at.span.to(mark.span), ..mark })),
            None => Err(self.unexpected("'+' or '-' to sort by a statistic")),
        }
    }

    fn add_sort(&mut self, sort: &mut Option<Sort>, mark: Option<Sort>) {
        let Some(mark) = mark else { return };
        match sort {
            None => *sort = Some(mark),
            Some(first) => {
                let diagnostic = Diagnostic::error(Code::Syntax, mark.span, "second sort mark in a foreach")
                    .label(first.span, "first one here");
                self.tell(diagnostic);
            }
        }
    }

    /// An array or a histogram.
    pub(super) fn indexable(&mut self) -> Parsed<Indexable> {
        if self.peek().kind == TokenKind::AtWord && self.at_hist() {
            let hist: Hist = self.hist()?;
            return Ok(Indexable::Hist(Box::new(hist)));
        }
        if self.peek().kind == TokenKind::AtWord && stat_op(self.text(self.peek())).is_some() {
            let operator = self.text(self.peek()).to_owned();
            let hint = format!("what sorts stands behind the array: foreach (key in array {operator}-)");
            return Err(self.unexpected_with("an array", hint));
        }
        Ok(Indexable::Array(self.var_ref("an array")?))
    }

    /// `x, *]` after `[`.
    pub(super) fn subscripts(&mut self) -> Parsed<Vec<Subscript>> {
        let mut subscripts = Vec::new();
        loop {
            let any = self.eat_span(Op::Star);
            subscripts.push(match any {
                Some(span) => Subscript::Any(span),
                None => Subscript::Value(self.expr()?),
            });
            if self.eat(Op::CloseBracket) {
                return Ok(subscripts);
            }
            if !self.eat(Op::Comma) {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }
}

/// The statistic behind `@count` and so on.
pub(super) fn stat_op(word: &str) -> Option<StatOp> {
    Some(match word {
        "@count" => StatOp::Count,
        "@sum" => StatOp::Sum,
        "@min" => StatOp::Min,
        "@max" => StatOp::Max,
        "@avg" => StatOp::Avg,
        "@variance" => StatOp::Variance,
        _ => return None,
    })
}
