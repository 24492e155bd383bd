//! The lower layer of the preprocessor: definitions and uses of macros.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostics::{Code, Diagnostic};
use crate::source::{FileId, Span};
use crate::syntax::ast::Name;
use crate::syntax::preprocess::{AT_WORDS, Activation, Argument, Expander, Macro};
use crate::syntax::token::{Junk, Op, Token, TokenKind};

/// Tokens that all macros of one file may expand to.
const MAX_EXPANSION: usize = 200_000;
/// Macros inside macros.
const MAX_NESTING: usize = 64;
/// Bytes of macro bodies copied for their uses; past that, places point to the definition.
const MAX_COPIED: usize = 1 << 24;

impl Expander<'_> {
    /// The next token with macros expanded.
    pub(super) fn next_expanded(&mut self) -> Token {
        loop {
            let token = self.next_raw();
            if token.kind != TokenKind::AtWord {
                return token;
            }
            let name: Name = self.sources.text(token.span).trim_start_matches('@').into();
            let result = if &*name == "define" {
                self.define(token).inspect_err(|_| self.skip_definition(token))
            } else if let Some((definition, bindings)) = self.find_macro(&name) {
                self.expand(token, &name, definition, bindings)
            } else {
                return token;
            };
            if let Err(reported) = result {
                return reported;
            }
        }
    }

    /// The next token as it stands; bodies that are read to their end are left.
    pub(super) fn next_raw(&mut self) -> Token {
        loop {
            if let Some(token) = self.next_here() {
                return token;
            }
            self.stack.pop();
        }
    }

    /// The next token of the innermost body, if there is one. The text itself ends in an end token, for ever.
    fn next_here(&mut self) -> Option<Token> {
        let Some(activation) = self.stack.last_mut() else {
            let token = self.input[self.pos.min(self.input.len() - 1)];
            self.pos += 1;
            return Some(token);
        };
        let token = activation.tokens.get(activation.cursor).copied();
        activation.cursor += 1;
        token
    }

    /// After `@define`.
    fn define(&mut self, at: Token) -> Result<(), Token> {
        if !self.stack.is_empty() {
            self.stack.clear();
            return Err(self.report(Code::Macro, at.span, "'@define' inside a macro"));
        }
        let name_token = self.next_raw();
        let name: Name = self.sources.text(name_token.span).into();
        if name_token.kind != TokenKind::Ident {
            return Err(self.expected(Code::Macro, "a macro name", name_token));
        }
        let mut params = Vec::new();
        let mut token = self.next_raw();
        if token.kind == TokenKind::Op(Op::OpenParen) {
            loop {
                let param = self.next_raw();
                if param.kind != TokenKind::Ident {
                    return Err(self.expected(Code::Macro, "a parameter name", param));
                }
                params.push(self.sources.text(param.span).into());
                let separator = self.next_raw();
                match separator.kind {
                    TokenKind::Op(Op::Comma) => {}
                    TokenKind::Op(Op::CloseParen) => break,
                    _ => return Err(self.expected(Code::Macro, "',' or ')'", separator)),
                }
            }
            token = self.next_raw();
        }
        if token.kind != TokenKind::Op(Op::CondOpen) {
            return Err(self.expected(Code::Macro, "'%(' before the macro's body", token));
        }
        let mut body = Vec::new();
        let mut depth = 0_usize;
        loop {
            let token = self.next_raw();
            match token.kind {
                TokenKind::End => {
                    return Err(self.report(Code::Macro, name_token.span, "macro is not closed by '%)'"));
                }
                TokenKind::Op(Op::CondOpen) => depth += 1,
                TokenKind::Op(Op::CondClose) if depth > 0 => depth -= 1,
                TokenKind::Op(Op::CondClose) => break,
                _ => {}
            }
            body.push(token);
        }
        if &*name == "define" {
            return Err(self.report(Code::Macro, name_token.span, "'@define' cannot be redefined"));
        }
        if let Some(first) = self.local.get(&name) {
            let first = first.span;
            self.sink.push(
                Diagnostic::error(Code::Macro, name_token.span, format!("macro '@{name}' is defined twice"))
                    .label(first, "first defined here"),
            );
            return Ok(());
        }
        if AT_WORDS.contains(&&*name) {
            self.sink.push(Diagnostic::warning(
                Code::Macro,
                name_token.span,
                format!("macro hides the operator '@{name}'"),
            ));
        }
        let definition = Macro { params, body: body.into(), span: name_token.span, library: false };
        self.local.insert(name, Arc::new(definition));
        Ok(())
    }

    /// After a mistake in a definition: drops its body, if that starts on the same line.
    fn skip_definition(&mut self, at: Token) {
        let line = self.sources.line_column(at.span).line;
        let from = self.pos;
        loop {
            let token = self.input[self.pos.min(self.input.len() - 1)];
            let on_line =
                token.span.file == at.span.file && self.sources.line_column(token.span).line == line;
            if token.kind == TokenKind::End || !on_line {
                // No body to drop: what stands here may be sound.
                self.pos = from;
                return;
            }
            self.pos += 1;
            if token.kind == TokenKind::Op(Op::CondOpen) {
                break;
            }
        }
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next_raw().kind {
                TokenKind::Op(Op::CondOpen) => depth += 1,
                TokenKind::Op(Op::CondClose) => depth -= 1,
                TokenKind::End => return,
                _ => {}
            }
        }
    }

    /// What `@name` stands for here: a parameter, a macro of this file, a macro of the library.
    fn find_macro(&self, name: &Name) -> Option<(Arc<Macro>, Option<Argument>)> {
        let here = self.stack.last();
        if let Some(argument) = here.and_then(|here| here.bindings.get(name)) {
            let stand_in = Macro {
                params: Vec::new(),
                body: argument.tokens.clone(),
                span: Span::new(FileId(0), 0, 0),
                library: argument.library,
            };
            return Some((Arc::new(stand_in), Some(argument.clone())));
        }
        let local = if here.is_some_and(|here| here.library) { None } else { self.local.get(name) };
        Some((local.or_else(|| self.library.table.get(name))?.clone(), None))
    }

    /// A use of a macro: reads its arguments and starts reading its body.
    fn expand(
        &mut self,
        at: Token,
        name: &Name,
        definition: Arc<Macro>,
        argument: Option<Argument>,
    ) -> Result<(), Token> {
        if self.stack.len() >= MAX_NESTING {
            self.stack.clear();
            return Err(self.report(Code::Macro, at.span, format!("macro '@{name}' expands without end")));
        }
        self.expanded += definition.body.len() + 1;
        if self.expanded > MAX_EXPANSION {
            self.stack.clear();
            self.conditionals.clear();
            self.pos = self.input.len() - 1;
            return Err(self.report(Code::Macro, at.span, "macros expand to too much text"));
        }
        if let Some(argument) = argument {
            self.stack.push(Activation {
                tokens: argument.tokens,
                cursor: 0,
                bindings: argument.bindings,
                library: argument.library,
            });
            return Ok(());
        }
        let bindings = if definition.params.is_empty() {
            Arc::new(BTreeMap::new())
        } else {
            Arc::new(self.arguments(at, name, &definition)?)
        };
        let tokens = self.copy_body(&definition, at.span);
        self.stack.push(Activation { tokens, cursor: 0, bindings, library: definition.library });
        Ok(())
    }

    /// `(a, b)` after the name of a macro that takes parameters.
    fn arguments(
        &mut self,
        at: Token,
        name: &Name,
        definition: &Macro,
    ) -> Result<BTreeMap<Name, Argument>, Token> {
        let count = definition.params.len();
        let (bindings, library) = match self.stack.last() {
            Some(here) => (here.bindings.clone(), here.library),
            None => (Arc::new(BTreeMap::new()), false),
        };
        let wrong = |found: &str| format!("macro '@{name}' takes {count} argument{}, {found}", plural(count));
        let before = (self.stack.last().map_or(0, |here| here.cursor), self.pos);
        let open = self.next_here();
        if open.map(|token| token.kind) != Some(TokenKind::Op(Op::OpenParen)) {
            // Leave what was found to whoever reads on.
            match self.stack.last_mut() {
                Some(here) => here.cursor = before.0,
                None => self.pos = before.1,
            }
            return Err(self.report(Code::Macro, at.span, wrong("found none")));
        }
        let mut given: Vec<Vec<Token>> = vec![Vec::new()];
        let mut depth = 0_usize;
        loop {
            let Some(token) = self.next_here().filter(|token| token.kind != TokenKind::End) else {
                return Err(self.report(
                    Code::Macro,
                    at.span,
                    format!("arguments of macro '@{name}' are not closed by ')'"),
                ));
            };
            match token.kind {
                TokenKind::Op(Op::OpenParen | Op::OpenBracket) => depth += 1,
                TokenKind::Op(Op::CloseParen | Op::CloseBracket) if depth > 0 => depth -= 1,
                TokenKind::Op(Op::CloseParen) => break,
                TokenKind::Op(Op::Comma) if depth == 0 => {
                    given.push(Vec::new());
                    continue;
                }
                _ => {}
            }
            if let Some(last) = given.last_mut() {
                last.push(token);
            }
        }
        if given.len() != count {
            let message = wrong(&format!("found {}", given.len()));
            self.sink.push(
                Diagnostic::error(Code::Macro, at.span, message).label(definition.span, "defined here"),
            );
            return Err(Token { kind: TokenKind::Junk(Junk::Reported), ..at });
        }
        let arguments = given.into_iter().map(|tokens| Argument {
            tokens: tokens.into(),
            bindings: bindings.clone(),
            library,
        });
        Ok(definition.params.iter().cloned().zip(arguments).collect())
    }

    /// The body under a text of its own that came from the use.
    fn copy_body(&mut self, definition: &Macro, origin: Span) -> Arc<[Token]> {
        let body = &definition.body;
        let (Some(first), Some(last)) = (body.first(), body.last()) else { return body.clone() };
        let source = first.span.file;
        if body.iter().any(|token| token.span.file != source) {
            return body.clone();
        }
        let file = self.sources.file(source);
        let text = file.text.clone();
        let (start, end) = (first.span.start as usize, last.span.end as usize);
        let start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        let end =
            text.get(end..).and_then(|after| after.find('\n')).map_or(text.len(), |newline| end + newline);
        self.copied += end - start;
        if self.copied > MAX_COPIED {
            return body.clone();
        }
        let (name, line) = (file.name.clone(), file.line_column(start as u32).line);
        let copy = self.sources.add_piece(name, &text[start..end], Some(origin), line);
        let moved =
            |span: Span| Span { file: copy, start: span.start - start as u32, end: span.end - start as u32 };
        body.iter().map(|token| Token { span: moved(token.span), ..*token }).collect()
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
