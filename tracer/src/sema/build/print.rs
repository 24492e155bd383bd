//! The print family: every member becomes a format with arguments.

use tracer_common::format::{Conversion, ConversionKind, Format, Part, Size};
use tracer_common::ir::{BinOp, Space, Width};

use super::{Builder, counted, zero};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Access, Expr, ExprKind, Target, TargetValue, Ty};
use crate::source::Span;
use crate::syntax::ast::{self, PrintWhat};
use crate::syntax::format::{self as parsed, Count, Piece, Want};

/// Most bytes that `%m` and `%M` show.
const MEMORY: usize = 512;

impl Builder<'_, '_> {
    pub(super) fn print(&mut self, print: &ast::Print, span: Span) -> Expr {
        let ty = if print.to_string { Ty::Str } else { Ty::Long };
        let (mut format, args) = match &print.what {
            PrintWhat::Hist(hist) => {
                let Some((op, element)) = self.hist(hist) else { return zero(span) };
                let kind =
                    ExprKind::Hist { hist: op, element, newline: print.newline, to_string: print.to_string };
                return Expr { kind, ty, span };
            }
            PrintWhat::Plain(args) => self.plain(args, b""),
            PrintWhat::Delimited { delimiter, args } => self.plain(args, delimiter.as_bytes()),
            PrintWhat::Format { format, args, format_span } => {
                match self.formatted(format, *format_span, args) {
                    Some(done) => done,
                    None => return Expr { ty, ..zero(span) },
                }
            }
            PrintWhat::Char(arg) => {
                let arg = self.long(arg);
                (vec![Part::Conversion(Conversion::plain(ConversionKind::Character))], vec![arg])
            }
        };
        if print.newline {
            match format.last_mut() {
                Some(Part::Text(text)) => text.push(b'\n'),
                _ => format.push(Part::Text(b"\n".to_vec())),
            }
        }
        Expr { kind: ExprKind::Print { format, args, to_string: print.to_string }, ty, span }
    }

    fn plain(&mut self, args: &[ast::Expr], delimiter: &[u8]) -> (Format, Vec<Expr>) {
        let mut format = Format::new();
        let mut built = Vec::with_capacity(args.len());
        for (n, arg) in args.iter().enumerate() {
            if n > 0 && !delimiter.is_empty() {
                format.push(Part::Text(delimiter.to_vec()));
            }
            let value = self.expr(arg, None);
            let kind = match value.ty {
                Ty::Long => ConversionKind::Signed,
                Ty::Str => ConversionKind::String,
            };
            format.push(Part::Conversion(Conversion::plain(kind)));
            built.push(value);
        }
        (format, built)
    }

    fn formatted(
        &mut self,
        format: &parsed::Format,
        span: Span,
        args: &[ast::Expr],
    ) -> Option<(Format, Vec<Expr>)> {
        let wants = format.wants();
        if wants.len() != args.len() {
            self.error(Diagnostic::error(
                Code::Arity,
                span,
                format!(
                    "the format takes {}, {} given",
                    counted(&wants.len().to_string(), "argument"),
                    args.len()
                ),
            ));
            return None;
        }
        let mut built = Vec::with_capacity(args.len());
        for (want, arg) in wants.iter().zip(args) {
            let ty = match want {
                Want::Value(parsed::Conversion::Str) => Ty::Str,
                Want::Value(_) | Want::Width | Want::Precision => Ty::Long,
            };
            let before = self.errors.len();
            let value = self.expr(arg, Some(ty));
            match self.type_of(&value, arg) {
                // A value whose mistake was told already fits everywhere.
                Some(found) if found != ty && self.errors.len() == before => {
                    let mut diagnostic = Diagnostic::error(
                        Code::TypeConflict,
                        arg.span,
                        format!(
                            "the format wants a {} here, found a {}",
                            super::word(ty),
                            super::word(found)
                        ),
                    )
                    .label(span, "the format");
                    if let Some(place) = self.learned_at(&value) {
                        let known = format!("known as a {} from here", super::word(found));
                        diagnostic = diagnostic.label(place, known);
                    }
                    diagnostic = diagnostic.hint(if ty == Ty::Str {
                        "%d prints numbers"
                    } else {
                        "%s prints strings"
                    });
                    self.error(diagnostic);
                    built.push(Expr { kind: ExprKind::Number(0), ty, span: arg.span });
                }
                _ => built.push(Expr { ty, ..value }),
            }
        }
        self.memory(convert(format), built, span)
    }

    /// `%m` and `%M`: the bytes are read at the hit, and printed where the record arrives.
    fn memory(&mut self, format: Format, args: Vec<Expr>, span: Span) -> Option<(Format, Vec<Expr>)> {
        let mut built = Vec::with_capacity(args.len());
        let mut args = args.into_iter();
        for part in &format {
            let Part::Conversion(conversion) = part else { continue };
            for size in [conversion.width, conversion.precision] {
                if size == Some(Size::Argument) {
                    built.extend(args.next());
                }
            }
            let value = args.next()?;
            if !matches!(conversion.kind, ConversionKind::Memory | ConversionKind::MemoryHex) {
                built.push(value);
                continue;
            }
            let letter = conversion.kind.letter();
            if conversion.precision == Some(Size::Argument) || conversion.bytes() > MEMORY {
                let what = format!("%{letter} of a number of bytes that is not known, or beyond {MEMORY},");
                self.unsupported(span, &what);
                return None;
            }
            let is_simple =
                matches!(value.kind, ExprKind::Number(_) | ExprKind::Local(_) | ExprKind::Target(_));
            if conversion.values() > 1 && !is_simple {
                self.error(
                    Diagnostic::error(
                        Code::Unsupported,
                        value.span,
                        format!("%{letter} of more than 8 bytes needs an address that is a variable"),
                    )
                    .hint("assign it to a variable first"),
                );
                return None;
            }
            let space = if conversion.alternate { Space::User } else { Space::Kernel };
            for word in 0..conversion.values() {
                let bytes = conversion.bytes().saturating_sub(8 * word).min(8);
                let target = Target {
                    text: format!("%{letter}").into(),
                    value: TargetValue::Value(word_of_memory(space, 8 * word, bytes)),
                    indices: vec![value.clone()],
                };
                built.push(Expr { kind: ExprKind::Target(target), ty: Ty::Long, span: value.span });
            }
        }
        Some((format, built))
    }
}

/// At most 8 bytes of memory behind an address, the first one lowest, in as few reads as there are powers of two.
fn word_of_memory(space: Space, from: usize, bytes: usize) -> Access {
    let mut word = None;
    let mut done = 0;
    for size in [8, 4, 2, 1].into_iter().filter(|size| bytes & size != 0) {
        let read = Access::Load {
            space,
            address: Box::new(Access::Dynamic(0)),
            offset: (from + done) as i32,
            width: Width { bytes: size as u8, signed: false },
        };
        word = Some(match word {
            None => read,
            Some(before) => {
                let shift = Box::new(Access::Constant(8 * done as i64));
                let above = Access::Binary(BinOp::Shl, Box::new(read), shift);
                Access::Binary(BinOp::Or, Box::new(before), Box::new(above))
            }
        });
        done += size;
    }
    word.unwrap_or(Access::Constant(0))
}

/// A parsed format in the contract's terms.
fn convert(format: &parsed::Format) -> Format {
    let size = |count: Option<Count>| match count {
        None => None,
        Some(Count::Argument) => Some(Size::Argument),
        Some(Count::Fixed(n)) => Some(Size::Fixed(n)),
    };
    format
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => Part::Text(text.as_bytes().to_vec()),
            Piece::Directive(directive) => Part::Conversion(Conversion {
                kind: match directive.conversion {
                    parsed::Conversion::Decimal => ConversionKind::Signed,
                    parsed::Conversion::Unsigned => ConversionKind::Unsigned,
                    parsed::Conversion::HexLower => ConversionKind::HexLower,
                    parsed::Conversion::HexUpper => ConversionKind::HexUpper,
                    parsed::Conversion::Octal => ConversionKind::Octal,
                    parsed::Conversion::Pointer => ConversionKind::Pointer,
                    parsed::Conversion::Char => ConversionKind::Character,
                    parsed::Conversion::Str => ConversionKind::String,
                    parsed::Conversion::Binary => ConversionKind::Binary,
                    parsed::Conversion::Memory => ConversionKind::Memory,
                    parsed::Conversion::MemoryHex => ConversionKind::MemoryHex,
                },
                left: directive.flags.left,
                zero: directive.flags.zero,
                plus: directive.flags.plus,
                space: directive.flags.space,
                alternate: directive.flags.alternate,
                width: size(directive.width),
                precision: size(directive.precision),
            }),
        })
        .collect()
}
