//! Expressions by precedence, weakest first: assignment, `?:`, the infix operators, prefix operators, `++`.
//!
//! As in C the bit operators bind weaker than comparison; `.` binds weaker than `+`; `in` and the regex matches
//! do not chain.

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{AssignOp, BinaryOp, CrementOp, Expr, ExprKind, Subscript, UnaryOp};
use crate::syntax::parser::{Parsed, Parser};
use crate::syntax::token::{Keyword, Op, TokenKind};

/// How strongly `in` binds: stronger than `&`, weaker than comparison.
pub(in crate::syntax) const IN_LEVEL: u8 = 6;
/// How strongly comparison and the regex matches bind.
pub(in crate::syntax) const COMPARE_LEVEL: u8 = 7;

/// How strongly an infix operator binds, from 1.
pub(in crate::syntax) fn level(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And => 2,
        BinaryOp::BitOr => 3,
        BinaryOp::BitXor => 4,
        BinaryOp::BitAnd => 5,
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
            COMPARE_LEVEL
        }
        BinaryOp::Shl | BinaryOp::Shr | BinaryOp::Ushr => 8,
        BinaryOp::Concat => 9,
        BinaryOp::Add | BinaryOp::Sub => 10,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 11,
    }
}

/// An infix position: an operator with its level, `in`, or a regex match.
enum Infix {
    Binary(BinaryOp),
    In,
    Regex { negated: bool },
}

impl Parser<'_> {
    /// Any expression.
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.deeper(Self::assignment)
    }

    /// `target = value`, right associative. Whether the left side can be assigned to is checked later.
    fn assignment(&mut self) -> Parsed<Expr> {
        let left = self.ternary()?;
        let TokenKind::Op(token) = self.peek().kind else { return Ok(left) };
        let op = match token {
            Op::Assign => AssignOp::Set,
            Op::Accumulate => AssignOp::Accumulate,
            Op::AddAssign => AssignOp::Compound(BinaryOp::Add),
            Op::SubAssign => AssignOp::Compound(BinaryOp::Sub),
            Op::MulAssign => AssignOp::Compound(BinaryOp::Mul),
            Op::DivAssign => AssignOp::Compound(BinaryOp::Div),
            Op::ModAssign => AssignOp::Compound(BinaryOp::Mod),
            Op::ShlAssign => AssignOp::Compound(BinaryOp::Shl),
            Op::ShrAssign => AssignOp::Compound(BinaryOp::Shr),
            Op::AndAssign => AssignOp::Compound(BinaryOp::BitAnd),
            Op::XorAssign => AssignOp::Compound(BinaryOp::BitXor),
            Op::OrAssign => AssignOp::Compound(BinaryOp::BitOr),
            Op::ConcatAssign => AssignOp::Compound(BinaryOp::Concat),
            _ => return Ok(left),
        };
        let op_span = self.advance().span;
        let right = self.expr()?;
        let span = left.span.to(right.span);
        self.node(ExprKind::Assign { op, op_span, left: Box::new(left), right: Box::new(right) }, span)
    }

    /// `cond ? then : otherwise`; the last part is no assignment since 4.0.
    fn ternary(&mut self) -> Parsed<Expr> {
        let cond = self.binary(1)?;
        if !self.eat(Op::Question) {
            return Ok(cond);
        }
        let then = self.expr()?;
        self.expect(Op::Colon)?;
        let otherwise = match self.input.facts.has("4.0") {
            true => self.deeper(Self::ternary)?,
            false => self.expr()?,
        };
        let span = cond.span.to(otherwise.span);
        let kind =
            ExprKind::Ternary { cond: Box::new(cond), then: Box::new(then), otherwise: Box::new(otherwise) };
        self.node(kind, span)
    }

    /// Infix operators that bind at least this strongly.
    fn binary(&mut self, least: u8) -> Parsed<Expr> {
        let bracketed = least <= IN_LEVEL && self.at(Op::OpenBracket);
        let mut left = if bracketed { self.bracketed_in()? } else { self.unary()? };
        // What does not chain lowers this below its own level.
        let mut most = if bracketed { IN_LEVEL - 1 } else { u8::MAX };
        while let Some((infix, level)) = self.infix() {
            if level < least || level > most {
                break;
            }
            let op_span = self.advance().span;
            // What is left behind a right operand binds no stronger than this operator.
            most = most.min(level);
            left = match infix {
                Infix::Binary(op) => {
                    let right = self.deeper(|parser| parser.binary(level + 1))?;
                    let span = left.span.to(right.span);
                    if let (BinaryOp::Concat, ExprKind::Number(_), ExprKind::Number(_)) =
                        (op, &left.kind, &right.kind)
                        && (left.span.end, op_span.end) == (op_span.start, right.span.start)
                    {
                        let message = "numbers are whole: there are none with a fraction";
                        let hint = "count in a smaller unit: ms for s, us for ms";
                        return Err(
                            self.fail(Some(Diagnostic::error(Code::Number, span, message).hint(hint)))
                        );
                    }
                    let kind = ExprKind::Binary { op, op_span, left: Box::new(left), right: Box::new(right) };
                    self.node(kind, span)?
                }
                Infix::In => {
                    most = level - 1;
                    self.in_array(vec![Subscript::Value(left)], None)?
                }
                Infix::Regex { negated } => {
                    most = level - 1;
                    let pattern_start = self.peek().span;
                    let pattern = self.string("a string with the pattern")?;
                    let pattern_span = self.since(pattern_start);
                    let span = left.span.to(pattern_span);
                    self.node(ExprKind::Regex { negated, left: Box::new(left), pattern, pattern_span }, span)?
                }
            };
        }
        Ok(left)
    }

    /// The infix operator that stands here.
    fn infix(&self) -> Option<(Infix, u8)> {
        let op = match self.peek().kind {
            TokenKind::Keyword(Keyword::In) => return Some((Infix::In, IN_LEVEL)),
            TokenKind::Op(op) => op,
            _ => return None,
        };
        let op = match op {
            Op::Match => return Some((Infix::Regex { negated: false }, COMPARE_LEVEL)),
            Op::NotMatch => return Some((Infix::Regex { negated: true }, COMPARE_LEVEL)),
            Op::OrOr => BinaryOp::Or,
            Op::AndAnd => BinaryOp::And,
            Op::Or => BinaryOp::BitOr,
            Op::Xor => BinaryOp::BitXor,
            Op::And => BinaryOp::BitAnd,
            Op::Eq => BinaryOp::Eq,
            Op::Ne => BinaryOp::Ne,
            Op::Lt => BinaryOp::Lt,
            Op::Le => BinaryOp::Le,
            Op::Gt => BinaryOp::Gt,
            Op::Ge => BinaryOp::Ge,
            Op::Shl => BinaryOp::Shl,
            Op::Shr => BinaryOp::Shr,
            Op::Ushr => BinaryOp::Ushr,
            Op::Dot => BinaryOp::Concat,
            Op::Plus => BinaryOp::Add,
            Op::Minus => BinaryOp::Sub,
            Op::Star => BinaryOp::Mul,
            Op::Slash => BinaryOp::Div,
            Op::Percent => BinaryOp::Mod,
            _ => return None,
        };
        Some((Infix::Binary(op), level(op)))
    }

    /// `[a, *] in array`. A single value in brackets without `in` is that value.
    fn bracketed_in(&mut self) -> Parsed<Expr> {
        let open = self.expect(Op::OpenBracket)?;
        let mut keys = self.subscripts()?;
        if self.at_keyword(Keyword::In) {
            self.advance();
            return self.in_array(keys, Some(open));
        }
        match keys.pop() {
            Some(Subscript::Value(only)) if keys.is_empty() => Ok(only),
            _ => Err(self.unexpected_with("'in'", "a list of keys is used as [a, b] in array")),
        }
    }

    /// After `in`.
    fn in_array(&mut self, keys: Vec<Subscript>, open: Option<Span>) -> Parsed<Expr> {
        let base = self.indexable()?;
        let first = open.unwrap_or_else(|| match keys.first() {
            Some(Subscript::Value(key)) => key.span,
            Some(Subscript::Any(span)) => *span,
            None => base.span(),
        });
        let span = self.since(first);
        self.node(ExprKind::In { keys, base }, span)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let op = match self.peek().kind {
            TokenKind::Op(Op::Plus) => UnaryOp::Plus,
            TokenKind::Op(Op::Minus) => UnaryOp::Neg,
            TokenKind::Op(Op::Not) => UnaryOp::Not,
            TokenKind::Op(Op::Tilde) => UnaryOp::BitNot,
            _ => return self.crement(),
        };
        let first = self.advance().span;
        let operand = self.deeper(Self::unary)?;
        let span = first.to(operand.span);
        self.node(ExprKind::Unary { op, operand: Box::new(operand) }, span)
    }

    /// `++x`, `x--`. Whether the operand can be changed is checked later.
    fn crement(&mut self) -> Parsed<Expr> {
        let first = self.peek().span;
        if let Some(op) = self.crement_op() {
            let operand = self.target_value()?;
            let span = first.to(operand.span);
            return self.node(ExprKind::Crement { op, prefix: true, operand: Box::new(operand) }, span);
        }
        let operand = self.target_value()?;
        match self.crement_op() {
            Some(op) => {
                let span = self.since(operand.span);
                self.node(ExprKind::Crement { op, prefix: false, operand: Box::new(operand) }, span)
            }
            None => Ok(operand),
        }
    }

    /// Takes `++` or `--`.
    fn crement_op(&mut self) -> Option<CrementOp> {
        let op = match self.peek().kind {
            TokenKind::Op(Op::Inc) => CrementOp::Inc,
            TokenKind::Op(Op::Dec) => CrementOp::Dec,
            _ => return None,
        };
        self.advance();
        Some(op)
    }
}
