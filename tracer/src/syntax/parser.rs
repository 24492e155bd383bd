//! Tokens to the tree: one function per production, top-level declarations here, the rest in the rooms below.
//!
//! Productions return [`Parsed`]; a failure has told its diagnostic already and only has to be caught where
//! parsing can go on: at the next statement (`stmt`) or the next top-level declaration (here).
//!
//! Invariants: never panics and never recurses deeper than [`MAX_DEPTH`], neither here nor in whoever walks the
//! tree later: an expression's height is bounded as well as the parser's depth, since `a + b + c` grows a tall
//! tree without nesting. Stops after [`MAX_ERRORS`].
//!
//! **Not here:** any check that needs more than one file or a symbol table (`sema`).

mod expr;
mod probe;
mod stmt;
mod target;
mod value;

pub(super) use expr::{COMPARE_LEVEL, IN_LEVEL, level};

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::diagnostics::{Code, Diagnostic, Sink, suggest};
use crate::source::{FileId, SourceMap, Span};
use crate::syntax::ast::{
    Embedded, Expr, ExprId, ExprIds, ExprKind, File, Function, FunctionBody, Global, Hist, Ident, Item,
    Literal, LiteralValue, Name, Param, Text, TypeName, VarRef,
};
use crate::syntax::literal;
use crate::syntax::preprocess::junk_message;
use crate::syntax::token::{Junk, Keyword, Op, Token, TokenKind};
use crate::syntax::visit::{self, Visitor};

/// Nesting of statements and expressions together, and the height of an expression.
const MAX_DEPTH: u16 = 256;
/// Errors told per file.
const MAX_ERRORS: usize = 50;

/// What the parser reads.
pub(super) struct Input<'a> {
    pub(super) file: FileId,
    /// Ends with one end token.
    pub(super) tokens: &'a [Token],
    pub(super) comments: &'a [Span],
    pub(super) macro_names: &'a [Name],
    /// How many script arguments there are.
    pub(super) args: usize,
}

/// Parses a whole file.
pub(super) fn parse_file(sources: &SourceMap, input: Input<'_>, ids: &mut ExprIds, sink: &mut Sink) -> File {
    let first_id = ids.count();
    let mut parser = Parser {
        sources,
        sink,
        ids,
        input,
        pos: 0,
        depth: 0,
        first_id,
        heights: Vec::new(),
        names: HashSet::new(),
        in_function: false,
        errors: 0,
        globals: BTreeMap::new(),
    };
    let mut items = Vec::new();
    while !parser.at_end() {
        if parser.item(&mut items).is_err() {
            parser.recover_item();
        }
    }
    File { id: parser.input.file, items }
}

/// A production's result.
type Parsed<T> = Result<T, Failed>;

/// A diagnostic was told; the production has no result.
#[derive(Debug)]
struct Failed;

struct Parser<'a> {
    sources: &'a SourceMap,
    sink: &'a mut Sink,
    ids: &'a mut ExprIds,
    input: Input<'a>,
    pos: usize,
    depth: u16,
    /// The first id of this file; heights are indexed from there.
    first_id: usize,
    heights: Vec<u16>,
    names: HashSet<Name>,
    /// Inside a function's body: `return` is allowed.
    in_function: bool,
    errors: usize,
    /// Global and private variables of this file so far.
    globals: BTreeMap<Name, (Span, bool)>,
}

// Declarations.
impl Parser<'_> {
    fn item(&mut self, items: &mut Vec<Item>) -> Parsed<()> {
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
                (TokenKind::Ident, TokenKind::Op(Op::Colon)) => {
                    Some("this looks like bpftrace; here a probe is written: probe kprobe.function(\"name\") { ... }".to_owned())
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

    /// `a%[100], b = 5;` after `global` or `private`.
    fn globals(&mut self, items: &mut Vec<Item>, first: Span, private: bool) -> Parsed<()> {
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
    fn type_annotation(&mut self) -> Parsed<Option<TypeName>> {
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
    fn embedded_code(&mut self) -> Embedded {
        let token = self.advance();
        let text = self.text(token);
        let code = text.strip_prefix("%{").and_then(|text| text.strip_suffix("%}")).unwrap_or(text);
        Embedded { code: code.into(), span: token.span }
    }

    /// After an error between declarations: goes to the next keyword that starts one.
    fn recover_item(&mut self) {
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
    fn after_dot(&self) -> bool {
        self.pos
            .checked_sub(1)
            .and_then(|before| self.input.tokens.get(before))
            .is_some_and(|before| matches!(before.kind, TokenKind::Op(Op::Dot | Op::Arrow)))
    }

    /// The comment that stands right above a declaration, without its marks.
    fn doc(&self, declaration: Span) -> Option<Arc<str>> {
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

// Tokens.
impl Parser<'_> {
    fn peek(&self) -> Token {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Token {
        self.input.tokens[(self.pos + ahead).min(self.input.tokens.len() - 1)]
    }

    /// Takes the current token; the end stays.
    fn advance(&mut self) -> Token {
        let token = self.peek();
        self.pos = (self.pos + 1).min(self.input.tokens.len() - 1);
        token
    }

    fn at_end(&self) -> bool {
        self.peek().kind == TokenKind::End
    }

    fn at(&self, op: Op) -> bool {
        self.peek().kind == TokenKind::Op(op)
    }

    fn at_keyword(&self, keyword: Keyword) -> bool {
        self.peek().kind == TokenKind::Keyword(keyword)
    }

    fn eat(&mut self, op: Op) -> bool {
        self.eat_span(op).is_some()
    }

    fn eat_span(&mut self, op: Op) -> Option<Span> {
        self.at(op).then(|| self.advance().span)
    }

    fn expect(&mut self, op: Op) -> Parsed<Span> {
        match self.eat_span(op) {
            Some(span) => Ok(span),
            None => Err(self.unexpected(&op.to_string())),
        }
    }

    fn expect_keyword(&mut self, keyword: Keyword) -> Parsed<Span> {
        if self.at_keyword(keyword) {
            Ok(self.advance().span)
        } else {
            Err(self.unexpected(&keyword.to_string()))
        }
    }

    /// From the start of a construct to the last token taken.
    fn since(&self, start: Span) -> Span {
        start.to(self.input.tokens[self.pos.saturating_sub(1)].span)
    }

    fn text(&self, token: Token) -> &str {
        self.sources.text(token.span)
    }

    fn name(&mut self, token: Token) -> Name {
        let sources = self.sources;
        self.intern(sources.text(token.span))
    }

    /// One allocation per distinct name.
    fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.names.get(text) {
            return name.clone();
        }
        let name: Name = text.into();
        self.names.insert(name.clone());
        name
    }

    fn ident(&mut self, what: &str) -> Parsed<Ident> {
        if self.peek().kind != TokenKind::Ident {
            return Err(self.unexpected(what));
        }
        let token = self.advance();
        Ok(Ident { name: self.name(token), span: token.span })
    }

    fn var_ref(&mut self, what: &str) -> Parsed<VarRef> {
        let ident = self.ident(what)?;
        let id = self.fresh_id(1);
        Ok(VarRef { id, name: ident.name, span: ident.span })
    }

    /// A string or a number, with a minus sign perhaps.
    fn literal(&mut self, what: &str) -> Parsed<Literal> {
        let first = self.peek();
        let value = match first.kind {
            TokenKind::Str => LiteralValue::Str(self.string(what)?),
            TokenKind::Number | TokenKind::Op(Op::Minus) => LiteralValue::Number(self.number(what)?),
            _ => return Err(self.unexpected(what)),
        };
        Ok(Literal { value, span: self.since(first.span) })
    }

    /// A number, with a minus sign perhaps.
    fn number(&mut self, what: &str) -> Parsed<i64> {
        let first = self.peek();
        let negative = self.eat(Op::Minus);
        if self.peek().kind != TokenKind::Number {
            return Err(self.unexpected(what));
        }
        let token = self.advance();
        let text = self.text(token);
        let parsed = if negative { literal::parse_negative(text) } else { literal::parse_number(text) };
        parsed.map_err(|message| {
            let span = self.since(first.span);
            self.fail(Some(Diagnostic::error(Code::Number, span, message)))
        })
    }

    /// A string literal and those that follow it, glued.
    fn string(&mut self, what: &str) -> Parsed<Text> {
        if self.peek().kind != TokenKind::Str {
            return Err(self.unexpected(what));
        }
        let mut value = Vec::new();
        while self.peek().kind == TokenKind::Str {
            let token = self.advance();
            literal::parse_string(self.text(token), &mut value);
        }
        Ok(Text::new(value))
    }

    /// A string literal with something in it.
    fn nonempty_string(&mut self, what: &str) -> Parsed<Text> {
        let first = self.peek().span;
        let text = self.string(what)?;
        if text.is_empty() {
            let message = format!("expected {what}, found an empty string");
            self.tell(Diagnostic::error(Code::Syntax, self.since(first), message));
        }
        Ok(text)
    }
}

// Nodes and their bounds.
impl Parser<'_> {
    fn fresh_id(&mut self, height: u16) -> ExprId {
        self.heights.push(height);
        self.ids.fresh()
    }

    /// An expression node; fails when it is too tall.
    fn node(&mut self, kind: ExprKind, span: Span) -> Parsed<Expr> {
        let mut expr = Expr { id: ExprId(u32::MAX), kind, span };
        let mut tallest = Tallest { heights: &self.heights, first_id: self.first_id, height: 0 };
        visit::walk_expr(&mut tallest, &expr);
        let height = tallest.height + 1;
        if height > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        expr.id = self.fresh_id(height);
        Ok(expr)
    }

    /// Counts ids that copying a subtree took. A copy is as tall as its original, which passed.
    fn note_copies(&mut self) {
        self.heights.resize(self.ids.count() - self.first_id, MAX_DEPTH);
    }

    /// Runs a production one level deeper.
    fn deeper<T>(&mut self, production: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.too_deep(self.peek().span));
        }
        self.depth += 1;
        let result = production(self);
        self.depth -= 1;
        result
    }

    fn too_deep(&mut self, span: Span) -> Failed {
        let message = format!("nested too deeply: at most {MAX_DEPTH} levels");
        self.fail(Some(Diagnostic::error(Code::Nesting, span, message)))
    }
}

/// The height of the tallest direct child.
struct Tallest<'a> {
    heights: &'a [u16],
    first_id: usize,
    height: u16,
}

impl Tallest<'_> {
    fn note(&mut self, id: ExprId) {
        let height = (id.0 as usize).checked_sub(self.first_id).and_then(|idx| self.heights.get(idx));
        self.height = self.height.max(height.copied().unwrap_or(1));
    }
}

impl Visitor for Tallest<'_> {
    fn visit_expr(&mut self, expr: &Expr) {
        self.note(expr.id);
    }

    fn visit_hist(&mut self, hist: &Hist) {
        self.note(hist.id);
    }
}

// Errors.
impl Parser<'_> {
    /// The current token does not fit.
    fn unexpected(&mut self, expected: &str) -> Failed {
        let diagnostic = self.unexpected_diagnostic(expected);
        self.fail(diagnostic)
    }

    fn unexpected_with(&mut self, expected: &str, hint: impl Into<String>) -> Failed {
        let diagnostic = self.unexpected_diagnostic(expected).map(|diagnostic| diagnostic.hint(hint));
        self.fail(diagnostic)
    }

    /// `expected X, found Y`, or what is wrong with a junk token; nothing if that was told already.
    fn unexpected_diagnostic(&mut self, expected: &str) -> Option<Diagnostic> {
        let token = self.peek();
        let text = self.text(token);
        let found = match token.kind {
            TokenKind::Ident | TokenKind::AtWord => format!("'{text}'"),
            TokenKind::Keyword(keyword) => format!("keyword {keyword}"),
            TokenKind::Number => format!("number {text}"),
            TokenKind::Str => "a string".to_owned(),
            TokenKind::Embedded => "embedded code".to_owned(),
            TokenKind::Op(op) => op.to_string(),
            TokenKind::End => "end of file".to_owned(),
            TokenKind::Junk(junk) => {
                let code = match junk {
                    Junk::Reported => return None,
                    Junk::UnclosedString | Junk::UnclosedEmbedded => Code::Unclosed,
                    Junk::MissingArgument | Junk::NestedArgument => Code::ScriptArgument,
                    Junk::Character => Code::Syntax,
                };
                let message = junk_message(self.sources, token, self.input.args);
                let diagnostic = Diagnostic::error(code, token.span, message);
                return Some(if text == "'" {
                    diagnostic.hint("strings are written with double quotes")
                } else {
                    diagnostic
                });
            }
        };
        Some(Diagnostic::error(Code::Syntax, token.span, format!("expected {expected}, found {found}")))
    }

    /// Tells a diagnostic, unless it was told already, and fails.
    fn fail(&mut self, diagnostic: Option<Diagnostic>) -> Failed {
        if let Some(diagnostic) = diagnostic {
            self.tell(diagnostic);
        }
        Failed
    }

    /// Tells a diagnostic and goes on. After too many the rest of the file is not looked at.
    fn tell(&mut self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
        self.errors += 1;
        if self.errors >= MAX_ERRORS {
            self.pos = self.input.tokens.len() - 1;
        }
    }
}
