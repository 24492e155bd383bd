//! Probes, probe aliases and probe points.
//!
//! Brace groups are expanded while they are read: `a.{b,c.d}` is two points.

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{Item, Name, Probe, ProbeAlias, ProbePoint, ProbePointComponent};
use crate::syntax::parser::{Failed, Parsed, Parser};
use crate::syntax::token::{Keyword, Op, TokenKind};
use crate::syntax::visit;

/// Points that the brace groups of one declaration may expand to.
const MAX_POINTS: usize = 4096;

impl Parser<'_> {
    /// `probe points { body }` or `probe name = points { body }`.
    pub(super) fn probe(&mut self) -> Parsed<Item> {
        let first = self.expect_keyword(Keyword::Probe)?;
        let doc = self.doc(first);
        let mut names: Vec<ProbePoint> = Vec::new();
        let mut epilogue_style = false;
        let points = loop {
            let mut points = self.points()?;
            if self.at(Op::Assign) || self.at(Op::AddAssign) {
                let Some(name) = (if points.len() == 1 { points.pop() } else { None }) else {
                    return Err(self.unexpected("'{' after a list of probe points"));
                };
                if name.optional || name.condition.is_some() {
                    let message = "the name of an alias takes no '?', '!' or condition";
                    self.tell(Diagnostic::error(Code::Syntax, name.span, message));
                }
                epilogue_style |= self.at(Op::AddAssign);
                self.advance();
                names.push(name);
                continue;
            }
            if !self.at(Op::OpenBrace) {
                return Err(self.unexpected("a probe point and '{'"));
            }
            break points;
        };
        let body = self.block()?;
        if names.is_empty() {
            return Ok(Item::Probe(Probe { points, body, doc, span: self.since(first) }));
        }
        let (mut prologue, mut epilogue) = (None, None);
        if epilogue_style {
            epilogue = Some(body);
        } else {
            prologue = Some(body);
        }
        if let Some(comma) = self.eat_span(Op::Comma) {
            if epilogue_style {
                let message = "an alias with both prologue and epilogue is defined with '=', not '+='";
                self.tell(Diagnostic::error(Code::Syntax, comma, message));
            }
            epilogue = Some(self.block()?);
        }
        let span = self.since(first);
        Ok(Item::Alias(ProbeAlias { names, points, prologue, epilogue, doc, span }))
    }

    /// `a.b, c ?`: ends before `{`, `=`, `+=` or `}`.
    fn points(&mut self) -> Parsed<Vec<ProbePoint>> {
        let mut points = Vec::new();
        loop {
            points.append(&mut self.deeper(Self::point)?);
            self.check_count(points.len())?;
            if self.eat(Op::Comma) {
                continue;
            }
            let ends = [Op::OpenBrace, Op::Assign, Op::AddAssign, Op::CloseBrace];
            if ends.iter().any(|op| self.at(*op)) {
                return Ok(points);
            }
            return Err(self.unexpected_behind_a_point(&points));
        }
    }

    fn unexpected_behind_a_point(&mut self, points: &[ProbePoint]) -> Failed {
        let mut diagnostic = self.unexpected_diagnostic("',' or '{' after a probe point");
        let last = points.last().and_then(|point| point.components.last());
        if let (Some(diagnostic), Some(last)) = (&mut diagnostic, last) {
            diagnostic.hints.push(match self.at(Op::Colon) {
                true => self.bpftrace(&last.name),
                false => "a handler stands in braces: probe POINT { ... }".to_owned(),
            });
        }
        self.fail(diagnostic)
    }

    /// `a.{b,c}("x").d ? if (cond)`.
    fn point(&mut self) -> Parsed<Vec<ProbePoint>> {
        let first = self.peek().span;
        let mut points: Vec<ProbePoint> = Vec::new();
        loop {
            let suffixes = self.component()?;
            if points.is_empty() {
                points = suffixes;
            } else {
                self.check_count(points.len() * suffixes.len())?;
                points = self.product(&points, &suffixes);
            }
            if !self.eat(Op::Dot) {
                break;
            }
            if let Some(early) = points.iter().find(|point| point.optional || point.condition.is_some()) {
                let message = "'?', '!' and conditions stand at the end of a probe point";
                let span = early.span;
                self.tell(Diagnostic::error(Code::Syntax, span, message));
            }
        }
        let optional = self.at(Op::Question);
        let sufficient = self.at(Op::Not);
        if optional || sufficient {
            let mark = self.advance().span;
            if points.iter().any(|point| point.optional) {
                self.tell(Diagnostic::error(Code::Syntax, mark, "'?' or '!' is given twice"));
            }
            for point in &mut points {
                point.optional = true;
                point.sufficient |= sufficient;
            }
        }
        if self.at_keyword(Keyword::If) {
            let mark = self.advance().span;
            self.expect(Op::OpenParen)?;
            let condition = self.expr()?;
            self.expect(Op::CloseParen)?;
            if points.iter().any(|point| point.condition.is_some()) {
                self.tell(Diagnostic::error(Code::Syntax, mark, "condition is given twice"));
            }
            for point in &mut points {
                point.condition = Some(visit::renumber(&condition, self.ids));
            }
            self.note_copies();
        }
        let span = self.since(first);
        for point in &mut points {
            point.span = span;
        }
        Ok(points)
    }

    /// Every beginning with every end.
    fn product(&mut self, beginnings: &[ProbePoint], ends: &[ProbePoint]) -> Vec<ProbePoint> {
        let mut product = Vec::with_capacity(beginnings.len() * ends.len());
        for beginning in beginnings {
            for end in ends {
                let components = beginning.components.iter().chain(&end.components).cloned().collect();
                let condition = end.condition.as_ref().map(|condition| visit::renumber(condition, self.ids));
                product.push(ProbePoint { components, condition, ..end.clone() });
            }
        }
        self.note_copies();
        product
    }

    /// `name`, `name("x")`, or `{a,b}`, which is several.
    fn component(&mut self) -> Parsed<Vec<ProbePoint>> {
        let first = self.peek();
        match first.kind {
            TokenKind::Op(Op::OpenBrace) => {
                self.advance();
                let points = self.points()?;
                self.expect(Op::CloseBrace)?;
                return Ok(points);
            }
            TokenKind::Ident | TokenKind::Keyword(_) | TokenKind::Op(Op::Star) => {}
            TokenKind::Str => {
                return Err(self.unexpected_with(
                    "a probe point",
                    "for a program write process(\"/path\").function(\"name\")",
                ));
            }
            _ => return Err(self.unexpected("a probe point")),
        }
        let name = self.component_name();
        let mut arg = None;
        if self.eat(Op::OpenParen) {
            match self.peek().kind {
                TokenKind::Op(Op::CloseParen) => {
                    let hint = format!("without an argument write {name} alone");
                    return Err(self.unexpected_with("a string or a number", hint));
                }
                TokenKind::Ident => {
                    let hint = format!("names stand in quotes: {name}(\"{}\")", self.text(self.peek()));
                    return Err(self.unexpected_with("a string or a number", hint));
                }
                TokenKind::Op(op) if op != Op::Minus => {
                    let hint = format!("paths, names and patterns stand in quotes: {name}(\"...\")");
                    return Err(self.unexpected_with("a string or a number", hint));
                }
                _ => {}
            }
            arg = Some(self.literal("a string or a number")?);
            self.expect(Op::CloseParen)?;
        }
        let span = self.since(first.span);
        let components = vec![ProbePointComponent { name, arg, span }];
        Ok(vec![ProbePoint { components, optional: false, sufficient: false, condition: None, span }])
    }

    /// Words and stars without space between them, as `sys_*read`.
    fn component_name(&mut self) -> Name {
        let token = self.advance();
        let mut text = self.text(token).to_owned();
        while !self.peek().spaced {
            match self.peek().kind {
                TokenKind::Ident | TokenKind::Keyword(_) | TokenKind::Number | TokenKind::Op(Op::Star) => {
                    let piece = self.advance();
                    text.push_str(self.text(piece));
                }
                _ => break,
            }
        }
        self.intern(&text)
    }

    fn check_count(&mut self, count: usize) -> Parsed<()> {
        if count <= MAX_POINTS {
            return Ok(());
        }
        let span: Span = self.peek().span;
        let message = format!("probe point expands to more than {MAX_POINTS} points");
        Err(self.fail(Some(Diagnostic::error(Code::Nesting, span, message))))
    }
}
