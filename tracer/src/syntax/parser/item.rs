//! Top-level declarations: variables, functions, embedded code; and the comments above them.

use std::sync::Arc;

use crate::diagnostics::{Code, Diagnostic, foreign, suggest};
use crate::source::Span;
use crate::syntax::ast::{Embedded, Function, FunctionBody, Global, Ident, Item, Param, TypeName};
use crate::syntax::parser::{Failed, Parsed, Parser};
use crate::syntax::token::{Keyword, Op, TokenKind};

impl Parser<'_> {
    pub(super) fn item(&mut self, items: &mut Vec<Item>) -> Parsed<()> {
        let first = self.peek();
        match first.kind {
            TokenKind::Keyword(Keyword::Probe) => items.push(self.probe()?),
            TokenKind::Keyword(Keyword::Global) => {
                self.advance();
                self.globals(items, first.span, false)?;
            }
            TokenKind::Keyword(Keyword::Function) => {
                self.advance();
                items.push(Item::Function(self.function(first.span, false)?));
            }
            TokenKind::Keyword(Keyword::Private) => {
                self.advance();
                match self.peek().kind {
                    TokenKind::Keyword(Keyword::Function) => {
                        self.advance();
                        items.push(Item::Function(self.function(first.span, true)?));
                    }
                    TokenKind::Keyword(Keyword::Global) => {
                        self.advance();
                        self.globals(items, first.span, true)?;
                    }
                    TokenKind::Ident => self.globals(items, first.span, true)?,
                    _ => {
                        return Err(
                            self.unexpected("'function', 'global' or a variable name after 'private'")
                        );
                    }
                }
            }
            TokenKind::Embedded => items.push(Item::Embedded(self.embedded_code())),
            _ => return Err(self.unexpected_item()),
        }
        Ok(())
    }

    /// What stands at top level is no declaration.
    fn unexpected_item(&mut self) -> Failed {
        let (first, second) = (self.peek(), self.peek_at(1));
        let mut diagnostic = self.unexpected_diagnostic("'probe', 'global', 'private', 'function' or '%{'");
        if let Some(diagnostic) = &mut diagnostic {
            let hint = match (first.kind, second.kind) {
                (TokenKind::Op(Op::Semi), _) => Some("a declaration ends without ';'".to_owned()),
                (TokenKind::Op(Op::CloseBrace), _) => Some("there is one '}' too many above".to_owned()),
                (TokenKind::Ident, TokenKind::Op(Op::Colon)) => Some(self.bpftrace(self.text(first))),
                (TokenKind::Ident, TokenKind::Ident)
                    if ["func", "fn", "def", "sub", "proc"].contains(&self.text(first)) =>
                {
                    Some("a function is written: function name(parameter) { ... }".to_owned())
                }
                (TokenKind::Ident, TokenKind::Op(Op::OpenBrace | Op::Dot | Op::OpenParen)) => {
                    let name = self.text(first);
                    let name =
                        if ["BEGIN", "END"].contains(&name) { name.to_lowercase() } else { name.to_owned() };
                    Some(format!("a probe begins with that word: probe {name}"))
                }
                (TokenKind::Ident, _) => {
                    suggest::hint(self.text(first), ["probe", "global", "private", "function"])
                }
                _ => None,
            };
            if let Some(hint) = hint {
                diagnostic.hints.push(hint);
            }
        }
        self.fail(diagnostic)
    }

    /// What a probe of bpftrace is here.
    pub(super) fn bpftrace(&self, provider: &str) -> String {
        let point = foreign::probe(provider).unwrap_or("kernel.function(\"NAME\")");
        format!("this looks like bpftrace; here a probe is written: probe {point} {{ ... }}")
    }

    /// `a%[100], b = 5;` after `global` or `private`.
    pub(super) fn globals(&mut self, items: &mut Vec<Item>, first: Span, private: bool) -> Parsed<()> {
        let doc = self.doc(first);
        loop {
            let name = self.ident("a variable name")?;
            self.declare(&name, private);
            let wrap = self.eat(Op::Percent);
            let mut size = None;
            if let Some(open) = self.eat_span(Op::OpenBracket) {
                if self.at(Op::CloseBracket) {
                    let message = "expected an array size, found ']'";
                    let diagnostic = Diagnostic::error(Code::Syntax, self.peek().span, message)
                        .hint("an array needs no brackets: its keys are known from its first use");
                    return Err(self.fail(Some(diagnostic)));
                }
                let number = self.number("an array size")?;
                match u32::try_from(number).ok().filter(|size| (1..=i32::MAX as u32).contains(size)) {
                    Some(number) => size = Some(number),
                    None => {
                        let span = self.since(open);
                        self.tell(Diagnostic::error(
                            Code::Number,
                            span,
                            "array size must be from 1 to 2147483647",
                        ));
                    }
                }
                self.expect(Op::CloseBracket)?;
            }
            let mut init = None;
            if let Some(equals) = self.eat_span(Op::Assign) {
                if !matches!(self.peek().kind, TokenKind::Str | TokenKind::Number | TokenKind::Op(Op::Minus))
                {
                    let hint = "other values are assigned in a probe begin";
                    return Err(self.unexpected_with("a number or a string as initial value", hint));
                }
                init = Some(self.literal("a number or a string as initial value")?);
                if wrap || size.is_some() {
                    let message = "an array cannot have an initial value";
                    self.tell(Diagnostic::error(Code::Syntax, self.since(equals), message));
                }
            }
            let span = self.since(name.span);
            items.push(Item::Global(Global { name, private, wrap, size, init, doc: doc.clone(), span }));
            if self.eat(Op::Semi) || !self.eat(Op::Comma) {
                return Ok(());
            }
        }
    }

    /// Notes a variable of this file, once.
    fn declare(&mut self, name: &Ident, private: bool) {
        let Some((first, was_private)) = self.globals.insert(name.name.clone(), (name.span, private)) else {
            return;
        };
        let message = if private == was_private {
            format!("variable '{}' is declared twice", name.name)
        } else {
            format!("variable '{}' is declared both global and private", name.name)
        };
        self.tell(Diagnostic::error(Code::Duplicate, name.span, message).label(first, "first declared here"));
    }

    /// After `function`.
    fn function(&mut self, first: Span, private: bool) -> Parsed<Function> {
        let doc = self.doc(first);
        let name = match self.peek().kind {
            // A function may be called like a type; nothing else may.
            TokenKind::Keyword(Keyword::Long | Keyword::Str) => {
                let token = self.advance();
                Ident { name: self.name(token), span: token.span }
            }
            _ => self.ident("a function name")?,
        };
        let returns = self.type_annotation()?;
        if !self.at(Op::OpenParen) {
            let hint = match (&*name.name, self.peek().kind) {
                ("long" | "string", TokenKind::Ident) => "a type follows the name: function f:long (x)",
                _ => "parameters stand in parentheses, also when there are none: function f() { ... }",
            };
            return Err(self.unexpected_with("'('", hint));
        }
        self.advance();
        let params = self.params()?;
        let mut priority = None;
        if let Some(colon) = self.eat_span(Op::Colon) {
            let number = self.number("a priority")?;
            if number < 1 {
                let message = "priority must be 1 or more";
                self.tell(Diagnostic::error(Code::Number, self.since(colon), message));
            }
            priority = Some(number);
        }
        let body = if self.peek().kind == TokenKind::Embedded {
            FunctionBody::Embedded(self.embedded_code())
        } else {
            self.in_function = true;
            let block = self.block();
            self.in_function = false;
            FunctionBody::Block(block?)
        };
        Ok(Function { name, private, returns, params, priority, body, doc, span: self.since(first) })
    }

    /// `x, s:string)`.
    fn params(&mut self) -> Parsed<Vec<Param>> {
        let mut params: Vec<Param> = Vec::new();
        if self.eat(Op::CloseParen) {
            return Ok(params);
        }
        loop {
            let name = match self.peek().kind {
                TokenKind::Keyword(Keyword::Long | Keyword::Str) => {
                    return Err(self.unexpected_with("a parameter name", "a type follows the name: x:long"));
                }
                _ => self.ident("a parameter name")?,
            };
            if let Some(first) = params.iter().find(|param| param.name.name == name.name) {
                let message = format!("parameter '{}' is declared twice", name.name);
                let first = first.name.span;
                self.tell(
                    Diagnostic::error(Code::Duplicate, name.span, message)
                        .label(first, "first declared here"),
                );
            }
            let ty = self.type_annotation()?;
            params.push(Param { name, ty });
            if self.eat(Op::CloseParen) {
                return Ok(params);
            }
            if !self.eat(Op::Comma) {
                if self.peek().kind == TokenKind::Ident {
                    return Err(self.unexpected_with("',' or ')'", "a type follows the name: x:long"));
                }
                return Err(self.unexpected("',' or ')'"));
            }
        }
    }

    /// `:long` or `:string`, if a colon stands here.
    pub(super) fn type_annotation(&mut self) -> Parsed<Option<TypeName>> {
        if !self.eat(Op::Colon) {
            return Ok(None);
        }
        let ty = match self.peek().kind {
            TokenKind::Keyword(Keyword::Long) => TypeName::Long,
            TokenKind::Keyword(Keyword::Str) => TypeName::Str,
            _ => return Err(self.unexpected("'long' or 'string'")),
        };
        self.advance();
        Ok(Some(ty))
    }

    /// `%{ ... %}`, which is the current token.
    pub(super) fn embedded_code(&mut self) -> Embedded {
        let token = self.advance();
        let text = self.text(token);
        let code = text.strip_prefix("%{").and_then(|text| text.strip_suffix("%}")).unwrap_or(text);
        Embedded { code: code.into(), span: token.span }
    }

    /// After an error between declarations: goes to the next keyword that starts one.
    pub(super) fn recover_item(&mut self) {
        self.depth = 0;
        self.in_function = false;
        while !self.at_end() {
            match self.peek().kind {
                TokenKind::Keyword(keyword) if keyword.starts_item() && !self.after_dot() => return,
                TokenKind::Embedded if self.pos > 0 => return,
                _ => self.pos += 1,
            }
        }
    }

    /// Whether the current token is a component or a member, where keywords are names.
    pub(super) fn after_dot(&self) -> bool {
        self.pos
            .checked_sub(1)
            .and_then(|before| self.input.tokens.get(before))
            .is_some_and(|before| matches!(before.kind, TokenKind::Op(Op::Dot | Op::Arrow)))
    }

    /// The comment that stands right above a declaration, without its marks.
    pub(super) fn doc(&self, declaration: Span) -> Option<Arc<str>> {
        let text = &*self.sources.file(declaration.file).text;
        let mut until = declaration.start;
        let mut lines: Vec<&str> = Vec::new();
        let before = self.input.comments.partition_point(|comment| comment.end <= until);
        for comment in self.input.comments[..before].iter().rev() {
            let gap = text.get(comment.end as usize..until as usize)?;
            let line_start = text.get(..comment.start as usize)?.rfind('\n').map_or(0, |newline| newline + 1);
            let alone = text.get(line_start..comment.start as usize)?.trim().is_empty();
            let adjacent = gap.trim().is_empty() && gap.matches('\n').count() <= 1;
            if comment.file != declaration.file || !alone || !adjacent {
                break;
            }
            let comment_text = self.sources.text(*comment);
            if let Some(block) = comment_text.strip_prefix("/*") {
                // A block comment counts alone; below it line comments may follow.
                if lines.is_empty() {
                    lines.extend(block.trim_end_matches('/').trim_matches('*').lines().rev().map(|line| {
                        let line = line.trim();
                        let line = line.strip_prefix('*').unwrap_or(line);
                        line.strip_prefix(' ').unwrap_or(line)
                    }));
                }
                break;
            }
            let line = comment_text.trim_start_matches(['/', '#']).trim_end();
            lines.push(line.strip_prefix(' ').unwrap_or(line));
            until = comment.start;
        }
        let doc = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        let doc = doc.trim_matches('\n').trim_end();
        (!doc.is_empty() && !doc.starts_with('!')).then(|| doc.into())
    }
}
