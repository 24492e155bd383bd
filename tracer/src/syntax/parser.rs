//! Tokens to the tree: one function per production, in the rooms below; here what they share.
//!
//! Productions return [`Parsed`]; a failure has told its diagnostic already and only has to be caught where
//! parsing can go on: at the next statement (`stmt`) or the next top-level declaration (`item`).
//!
//! Invariants: never panics and never recurses deeper than [`MAX_DEPTH`], neither here nor in whoever walks the
//! tree later: an expression's height is bounded as well as the parser's depth, since `a + b + c` grows a tall
//! tree without nesting. Stops after [`MAX_ERRORS`].
//!
//! **Not here:** any check that needs more than one file or a symbol table (`sema`).

mod expr;
mod item;
mod probe;
mod stmt;
mod target;
mod value;

pub(super) use expr::{COMPARE_LEVEL, IN_LEVEL, level};

use std::collections::{BTreeMap, HashSet};

use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::source::{FileId, SourceMap, Span};
use crate::syntax::ast::{
    Expr, ExprId, ExprIds, ExprKind, File, Hist, Ident, Literal, LiteralValue, Name, Text, VarRef,
};
use crate::syntax::condition::Facts;
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
    /// How many script arguments there are, and what version the grammar is of.
    pub(super) facts: &'a Facts,
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
            // Before 2.3, `\x` was an x.
            literal::parse_string(self.text(token), self.input.facts.has("2.3"), &mut value);
            if !self.input.facts.has("2.0") && self.comment_follows(token.span) {
                break;
            }
        }
        // As in C and in SystemTap, a string ends at its first NUL.
        if let Some(end) = value.iter().position(|byte| *byte == 0) {
            value.truncate(end);
        }
        Ok(Text::new(value))
    }

    /// Whether a comment stands between a token and the next one. Before 2.0, none stood between glued strings.
    fn comment_follows(&self, token: Span) -> bool {
        let next = self.peek().span;
        self.input.comments.iter().any(|comment| {
            comment.file == token.file
                && comment.file == next.file
                && comment.start >= token.end
                && comment.end <= next.start
        })
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

    /// Whether the next token is the first character of its line: a declaration, and not something inside of one.
    fn begins_line(&self) -> bool {
        let span = self.peek().span;
        let text = &self.sources.file(span.file).text[..span.start as usize];
        text.is_empty() || text.ends_with('\n')
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
                let message = junk_message(self.sources, token, self.input.facts.args.len());
                let diagnostic = Diagnostic::error(code, token.span, message);
                return Some(match text {
                    "'" | "`" => diagnostic.hint("strings are written with double quotes"),
                    "“" | "”" | "„" | "‘" | "’" => {
                        diagnostic.hint("quotes are the plain ones: \", not those of a text processor")
                    }
                    _ => diagnostic,
                });
            }
        };
        let diagnostic =
            Diagnostic::error(Code::Syntax, token.span, format!("expected {expected}, found {found}"));
        Some(match (token.kind, text) {
            (TokenKind::Ident, "and") => diagnostic.hint("and is written &&"),
            (TokenKind::Ident, "not") => {
                diagnostic.hint("not is written !, before what it turns around: !(x in a)")
            }
            (TokenKind::Ident, "or") => diagnostic.hint("or is written ||"),
            _ => diagnostic,
        })
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
