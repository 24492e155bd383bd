//! Values: literals, names, calls, `@operators`, the print family.
//!
//! To add an `@operator`: its word in `preprocess::AT_WORDS`, a kind in `ast`, an arm in [`Parser::at_operator`],
//! its text in `print`, its children in `visit`.

use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::source::Span;
use crate::syntax::ast::{Expr, ExprKind, Hist, HistOp, Ident, Indexable, Print, PrintWhat, StatOp};
use crate::syntax::format::Format;
use crate::syntax::parser::stmt::stat_op;
use crate::syntax::parser::{Parsed, Parser};
use crate::syntax::preprocess::AT_WORDS;
use crate::syntax::token::{Op, Token, TokenKind};

impl Parser<'_> {
    /// A value without what may follow it.
    pub(super) fn value(&mut self) -> Parsed<Expr> {
        let first = self.peek();
        match first.kind {
            TokenKind::Op(Op::OpenParen) => {
                self.advance();
                let inner = self.expr()?;
                self.expect(Op::CloseParen)?;
                Ok(inner)
            }
            TokenKind::Number => {
                let number = self.number("a number")?;
                self.node(ExprKind::Number(number), first.span)
            }
            TokenKind::Str => {
                let text = self.string("a string")?;
                let span = self.since(first.span);
                self.node(ExprKind::Str(text), span)
            }
            TokenKind::Embedded => {
                let code = self.embedded_code();
                self.node(ExprKind::Embedded(code.code), code.span)
            }
            TokenKind::AtWord => self.deeper(|parser| parser.at_operator(first)),
            TokenKind::Ident => self.deeper(|parser| parser.named(first)),
            _ => Err(self.unexpected("an expression")),
        }
    }

    /// A variable, an array element, a call or a print function.
    fn named(&mut self, first: Token) -> Parsed<Expr> {
        if let Some(form) = print_form(self.text(first)) {
            return self.print(first, form);
        }
        let var = self.ident("a name")?;
        if self.eat(Op::OpenParen) {
            let mut args = Vec::new();
            if !self.eat(Op::CloseParen) {
                self.args(&mut args)?;
            }
            let span = self.since(first.span);
            return self.node(ExprKind::Call { name: var, args }, span);
        }
        if self.at(Op::OpenBracket) {
            let id = self.fresh_id(1);
            let array = crate::syntax::ast::VarRef { id, name: var.name, span: var.span };
            return self.index(Indexable::Array(array), first.span);
        }
        self.node(ExprKind::Symbol(var.name), first.span)
    }

    /// `[keys]` after an array or a histogram.
    fn index(&mut self, base: Indexable, first: Span) -> Parsed<Expr> {
        self.expect(Op::OpenBracket)?;
        let keys = self.subscripts()?;
        let span = self.since(first);
        self.node(ExprKind::Index { base, keys }, span)
    }

    /// `a, b)`: at least one.
    fn args(&mut self, args: &mut Vec<Expr>) -> Parsed<()> {
        loop {
            args.push(self.expr()?);
            if self.eat(Op::CloseParen) {
                return Ok(());
            }
            if !self.eat(Op::Comma) {
                return Err(self.unexpected("',' or ')'"));
            }
        }
    }

    fn at_operator(&mut self, first: Token) -> Parsed<Expr> {
        if self.at_hist() {
            let hist = self.hist()?;
            if !self.at(Op::OpenBracket) {
                let diagnostic = Diagnostic::error(Code::Syntax, hist.span, "a histogram is no value")
                    .hint("print it with print(@hist_log(x)), or index it: @hist_log(x)[bucket]");
                return Err(self.fail(Some(diagnostic)));
            }
            return self.index(Indexable::Hist(Box::new(hist)), first.span);
        }
        let word = self.text(first).trim_start_matches('@').to_owned();
        if !self.is_operator(&word) {
            return Err(self.unknown_operator(first, &word));
        }
        if let Some(op) = stat_op(self.text(first)) {
            return self.stat(op, first.span);
        }
        self.advance();
        self.expect(Op::OpenParen)?;
        let kind = match &*word {
            "defined" => ExprKind::Defined(Box::new(self.expr()?)),
            "entry" => ExprKind::Entry(Box::new(self.expr()?)),
            "perf" => ExprKind::Perf(self.nonempty_string("a string with a counter's name")?),
            "enum" => ExprKind::Enum(self.nonempty_string("a string with an enumerator's name")?),
            "const" => ExprKind::Const(self.nonempty_string("a string with a C expression")?),
            "probewrite" => ExprKind::ProbeWrite(self.ident("a variable name")?),
            "kregister" | "uregister" => {
                ExprKind::Register { user: word.starts_with('u'), number: self.number("a register number")? }
            }
            "kderef" | "uderef" => {
                let size = self.number("a size in bytes")?;
                self.expect(Op::Comma)?;
                ExprKind::Deref { user: word.starts_with('u'), size, address: Box::new(self.expr()?) }
            }
            "enumname" => {
                let operand = Box::new(self.expr()?);
                let (mut type_name, mut module) = (None, None);
                if self.eat(Op::Comma) {
                    type_name = Some(self.nonempty_string("a string with a type name")?);
                    module = self.optional_module()?;
                }
                ExprKind::EnumName { operand, type_name, module }
            }
            _ => return Err(self.unknown_operator(first, &word)),
        };
        self.expect(Op::CloseParen)?;
        let span = self.since(first.span);
        self.node(kind, span)
    }

    /// Whether `@word` is an operator, in the version that the grammar is of.
    fn is_operator(&self, word: &str) -> bool {
        let since = match word {
            "const" | "variance" => "3.1",
            "kregister" | "uregister" | "kderef" | "uderef" => "4.0",
            "enum" => "5.5",
            "enumname" => "5.6",
            _ => "0",
        };
        AT_WORDS.contains(&word) && self.input.facts.has(since)
    }

    fn unknown_operator(&mut self, at: Token, word: &str) -> super::Failed {
        let mut diagnostic = Diagnostic::error(
            Code::UnknownOperator,
            at.span,
            format!("'@{word}' is neither an operator nor a macro"),
        );
        if let TokenKind::Op(Op::Assign | Op::OpenBracket) = self.peek_at(1).kind {
            let why = format!("variables have no @: global {word}; {word}[key]++, {word} <<< value");
            diagnostic.hints.push(why);
        }
        let known = AT_WORDS.iter().copied().chain(self.input.macro_names.iter().map(|name| &**name));
        let known: Vec<String> = known.map(|word| format!("@{word}")).collect();
        diagnostic.hints.extend(suggest::hint(&format!("@{word}"), known.iter().map(String::as_str)));
        if word.starts_with("prometheus_") || word.starts_with("json_output_") {
            let why = "it writes to a file in /proc, which only a kernel module can make: use printf";
            diagnostic.hints = vec![why.to_owned()];
        }
        self.fail(Some(diagnostic))
    }

    /// `@sum(x)`, `@variance(x, shift)`.
    fn stat(&mut self, op: StatOp, first: Span) -> Parsed<Expr> {
        self.advance();
        self.expect(Op::OpenParen)?;
        let operand = Box::new(self.expr()?);
        let mut shift = None;
        if self.at(Op::Comma) {
            if op != StatOp::Variance {
                return Err(self.unexpected_with("')'", format!("@{} takes one argument", op.word())));
            }
            self.advance();
            shift = Some(self.number("a number of bits to shift by")?);
        }
        self.expect(Op::CloseParen)?;
        let span = self.since(first);
        self.node(ExprKind::Stat { op, operand, shift }, span)
    }

    /// Whether a histogram starts here.
    pub(super) fn at_hist(&self) -> bool {
        matches!(self.text(self.peek()), "@hist_log" | "@hist_linear")
    }

    /// `@hist_log(x)` or `@hist_linear(x, low, high, width)`.
    pub(super) fn hist(&mut self) -> Parsed<Hist> {
        let first = self.advance();
        let linear = self.text(first) == "@hist_linear";
        self.expect(Op::OpenParen)?;
        let operand = self.expr()?;
        let mut op = HistOp::Log;
        if linear {
            let mut numbers = [0; 3];
            for (number, what) in
                numbers.iter_mut().zip(["the lowest value", "the highest value", "the bucket width"])
            {
                if !self.eat(Op::Comma) {
                    return Err(self.unexpected_with("','", "write @hist_linear(x, low, high, width)"));
                }
                *number = self.number(what)?;
            }
            let [low, high, width] = numbers;
            op = HistOp::Linear { low, high, width };
        }
        self.expect(Op::CloseParen)?;
        let height = self.heights.get(operand.id.0 as usize - self.first_id).copied().unwrap_or(1);
        let id = self.fresh_id(height.saturating_add(1));
        Ok(Hist { id, op, operand, span: self.since(first.span) })
    }

    fn print(&mut self, first: Token, form: PrintForm) -> Parsed<Expr> {
        let name: Ident = self.ident("a name")?;
        if !self.at(Op::OpenParen) {
            let hint = format!("{0} is a function: {0}(...)", name.name);
            return Err(self.unexpected_with("'('", hint));
        }
        self.advance();
        let what = match form.style {
            Style::Plain => self.print_plain(form.newline)?,
            Style::Char => {
                let value = Box::new(self.expr()?);
                self.expect(Op::CloseParen)?;
                PrintWhat::Char(value)
            }
            Style::Delimited => {
                let delimiter = self.string("a string to stand between the values")?;
                self.expect(Op::Comma)?;
                let first_value = self.expr()?;
                // With one value there is nothing to delimit.
                self.expect(Op::Comma)?;
                let mut args = vec![first_value];
                self.args(&mut args)?;
                PrintWhat::Delimited { delimiter, args }
            }
            Style::Format => self.print_format(&name)?,
        };
        let span = self.since(first.span);
        let print = Print { to_string: form.to_string, newline: form.newline, what, name };
        self.node(ExprKind::Print(Box::new(print)), span)
    }

    /// The arguments of `print` and `println`; a histogram is allowed only here, and only alone.
    fn print_plain(&mut self, newline: bool) -> Parsed<PrintWhat> {
        let mut args = Vec::new();
        if newline && self.eat(Op::CloseParen) {
            return Ok(PrintWhat::Plain(args));
        }
        if self.peek().kind == TokenKind::AtWord && self.at_hist() {
            let start = self.pos;
            let hist = self.hist()?;
            if self.eat(Op::CloseParen) {
                return Ok(PrintWhat::Hist(hist));
            }
            // An indexed histogram is a value like any other: read it again as one.
            self.pos = start;
        }
        self.args(&mut args)?;
        Ok(PrintWhat::Plain(args))
    }

    fn print_format(&mut self, name: &Ident) -> Parsed<PrintWhat> {
        let start = self.peek().span;
        if self.peek().kind != TokenKind::Str {
            let hint = format!("the format is a literal: {}(\"%s\", x)", name.name);
            return Err(self.unexpected_with("a string with the format", hint));
        }
        let text = self.string("a string with the format")?;
        let format_span = self.since(start);
        let format = match Format::parse(text.as_bytes()) {
            Ok(format) => format,
            Err(message) => {
                let diagnostic = Diagnostic::error(Code::Format, format_span, message)
                    .hint("directives are %d %i %u %x %X %o %c %s %p %b %m %M %%");
                self.tell(diagnostic);
                Format::default()
            }
        };
        let mut args = Vec::new();
        if self.eat(Op::CloseParen) {
            return Ok(PrintWhat::Format { format, format_span, args });
        }
        self.expect(Op::Comma)?;
        self.args(&mut args)?;
        Ok(PrintWhat::Format { format, format_span, args })
    }
}

/// What the name of a print function says.
#[derive(Clone, Copy)]
struct PrintForm {
    to_string: bool,
    newline: bool,
    style: Style,
}

#[derive(Clone, Copy)]
enum Style {
    Plain,
    Delimited,
    Format,
    Char,
}

/// `s`? `print` (`f` | `d`? `ln`?), or `print_char`.
fn print_form(name: &str) -> Option<PrintForm> {
    if name == "print_char" {
        return Some(PrintForm { to_string: false, newline: false, style: Style::Char });
    }
    let (to_string, rest) = match name.strip_prefix('s') {
        Some(rest) => (true, rest),
        None => (false, name),
    };
    let (newline, style) = match rest.strip_prefix("print")? {
        "" => (false, Style::Plain),
        "ln" => (true, Style::Plain),
        "d" => (false, Style::Delimited),
        "dln" => (true, Style::Delimited),
        "f" => (false, Style::Format),
        _ => return None,
    };
    Some(PrintForm { to_string, newline, style })
}
