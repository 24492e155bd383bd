//! Target expressions: `$x->y[1]$`, `@cast(...)`, `@var(...)`, and script values that are followed by a path.

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{
    Expr, ExprKind, Name, PathStep, PathStepKind, Pretty, TargetExpr, TargetRoot, Text,
};
use crate::syntax::parser::{Parsed, Parser};
use crate::syntax::token::{Op, TokenKind};

impl Parser<'_> {
    /// A value with an optional `&` in front and an optional path behind.
    pub(super) fn target_value(&mut self) -> Parsed<Expr> {
        let address = self.eat_span(Op::And);
        let first = self.peek();
        let mut suffix_in_name = 0;
        let root = match first.kind {
            TokenKind::Ident if self.text(first).starts_with('$') => {
                let (root, dollars) = self.target_variable()?;
                suffix_in_name = dollars;
                root
            }
            TokenKind::AtWord if self.text(first) == "@cast" => self.deeper(Self::cast)?,
            TokenKind::AtWord if self.text(first) == "@var" => self.target_var()?,
            // Before 2.6, nothing but a target variable was followed by a path.
            _ if !self.input.facts.has("2.6") => match address {
                None => return self.value(),
                Some(_) => return Err(self.unexpected("@cast, @var or a $variable")),
            },
            _ => {
                let value = self.value()?;
                if address.is_none() && !self.at_path() {
                    return Ok(value);
                }
                if let (Some(address), ExprKind::Target(target)) = (address, &value.kind)
                    && target.address_of
                {
                    let message = "the address of an address cannot be taken";
                    return Err(self.fail(Some(Diagnostic::error(Code::Syntax, address, message))));
                }
                TargetRoot::Value(value)
            }
        };
        let root_span = self.since(first.span);
        let mut target =
            TargetExpr { root, root_span, path: Vec::new(), pretty: None, address_of: address.is_some() };
        if suffix_in_name > 0 {
            target.pretty = Some(self.pretty(suffix_in_name, root_span)?);
        } else {
            self.path(&mut target)?;
        }
        if target.pretty.is_some() && (self.at(Op::Arrow) || self.at(Op::OpenBracket)) {
            return Err(self.unexpected_with(
                "the end of the expression",
                "'$' and '$$' make text of the value: they come last",
            ));
        }
        let span = self.since(address.unwrap_or(first.span));
        self.node(ExprKind::Target(Box::new(target)), span)
    }

    /// Whether something follows that makes a plain value a target expression.
    fn at_path(&self) -> bool {
        self.at(Op::Arrow) || self.at(Op::OpenBracket) || self.at_pretty()
    }

    /// Whether a lone `$` or `$$` stands here.
    fn at_pretty(&self) -> bool {
        let token = self.peek();
        token.kind == TokenKind::Ident && self.text(token).bytes().all(|byte| byte == b'$')
    }

    /// `->field` and `[index]`, then `$` or `$$`.
    fn path(&mut self, target: &mut TargetExpr) -> Parsed<()> {
        while target.pretty.is_none() {
            let start = self.peek().span;
            if self.eat(Op::Arrow) {
                let token = self.peek();
                if !matches!(token.kind, TokenKind::Ident | TokenKind::Keyword(_)) {
                    return Err(self.unexpected("a member name after '->'"));
                }
                self.advance();
                let text = self.text(token);
                let member = text.trim_end_matches('$');
                let dollars = text.len() - member.len();
                if !member.is_empty() {
                    let member = self.sources.text(token.span).trim_end_matches('$');
                    let name: Name = self.intern(member);
                    target.path.push(PathStep { kind: PathStepKind::Field(name), span: self.since(start) });
                }
                if dollars > 0 {
                    target.pretty = Some(self.pretty(dollars, token.span)?);
                }
            } else if self.eat(Op::OpenBracket) {
                let index = self.expr()?;
                self.expect(Op::CloseBracket)?;
                target.path.push(PathStep { kind: PathStepKind::Index(index), span: self.since(start) });
            } else {
                break;
            }
        }
        if target.pretty.is_none() && self.at_pretty() {
            let token = self.advance();
            target.pretty = Some(self.pretty(self.text(token).len(), token.span)?);
        }
        Ok(())
    }

    fn pretty(&mut self, dollars: usize, span: Span) -> Parsed<Pretty> {
        match dollars {
            1 => Ok(Pretty::Shallow),
            2 => Ok(Pretty::Deep),
            _ => {
                let message = "a value is followed by '$' or '$$', not by more";
                Err(self.fail(Some(Diagnostic::error(Code::Syntax, span, message))))
            }
        }
    }

    /// `$name` or `$$name`, and how many dollars stand at its end.
    fn target_variable(&mut self) -> Parsed<(TargetRoot, usize)> {
        let token = self.peek();
        let text = self.sources.text(token.span);
        let front = text.len() - text.trim_start_matches('$').len();
        let name = text.trim_matches('$');
        if name.is_empty() || front > 2 {
            return Err(self.unexpected("a target variable such as $name"));
        }
        self.advance();
        let dollars = text.len() - front - name.len();
        let name = self.intern(name);
        Ok((if front == 1 { TargetRoot::Variable(name) } else { TargetRoot::Special(name) }, dollars))
    }

    /// `@cast(value, "type", "module")`.
    fn cast(&mut self) -> Parsed<TargetRoot> {
        self.advance();
        self.expect(Op::OpenParen)?;
        let operand = self.expr()?;
        self.expect(Op::Comma)?;
        let type_name = self.nonempty_string("a string with a type name")?;
        let module = self.optional_module()?;
        self.expect(Op::CloseParen)?;
        Ok(TargetRoot::Cast { operand, type_name, module })
    }

    /// `@var("name@unit", "module")`.
    fn target_var(&mut self) -> Parsed<TargetRoot> {
        self.advance();
        self.expect(Op::OpenParen)?;
        let text = self.nonempty_string("a string with a variable name")?;
        let module = self.optional_module()?;
        self.expect(Op::CloseParen)?;
        let bytes = text.as_bytes();
        let (name, unit) = match bytes.iter().position(|byte| *byte == b'@') {
            Some(at) => (Text::new(&bytes[..at]), Some(Text::new(&bytes[at + 1..]))),
            None => (text, None),
        };
        Ok(TargetRoot::Var { name, unit, module })
    }

    /// `, "module"`, if a comma stands here.
    pub(super) fn optional_module(&mut self) -> Parsed<Option<Text>> {
        if !self.eat(Op::Comma) {
            return Ok(None);
        }
        Ok(Some(self.string("a string with a module")?))
    }
}
