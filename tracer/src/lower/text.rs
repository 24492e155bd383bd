//! `sprintf` whose text a kernel handler itself needs, as a key or in a condition: pieces, put behind each other.
//!
//! Numbers are turned to text one at a time (`Inst::Format` of one conversion, which the code generator knows); strings
//! and literal text are appended as they are. What pads strings, or is rarer still, is refused.
//!
//! **Not here:** texts that are only printed: those are made later, in the user domain (`late`).

use tracer_common::format::{Conversion, ConversionKind, Format, Part, Size};
use tracer_common::ir::{Arg, Inst, StrOp, StrVar};

use crate::lower::body::Body;
use crate::sema::program::Expr;

impl<'p> Body<'_, 'p> {
    /// Makes the text of a format in kernel code.
    pub(super) fn kernel_text(&mut self, expr: &'p Expr, format: &Format, args: &'p [Expr], dest: StrVar) {
        let mut args = self.args(args).into_iter();
        let mut pieces = Vec::with_capacity(format.len());
        for part in format {
            let piece = match part {
                Part::Text(text) => StrOp::Lit(self.lower.module.string(text)),
                Part::Conversion(conversion) => match (args.next(), conversion.kind) {
                    (Some(Arg::Str(text)), ConversionKind::String) if is_plain(conversion) => text,
                    (Some(Arg::Long(number)), _) if conversion.is_padded_number() => {
                        let text = self.f.string(text_capacity(conversion));
                        let format = self.lower.module.format(vec![part.clone()]);
                        self.at(expr.span);
                        self.push(Inst::Format { dest: text, format, args: vec![Arg::Long(number)] });
                        StrOp::Var(text)
                    }
                    _ => {
                        let letter = conversion.kind.letter();
                        return self.unsupported(
                            expr.span,
                            &format!("this %{letter} in a sprintf() whose text is not only printed"),
                        );
                    }
                },
            };
            pieces.push(piece);
        }
        self.at(expr.span);
        let mut pieces = pieces.into_iter();
        let Some(first) = pieces.next() else {
            let value = StrOp::Lit(self.lower.module.string(b""));
            return self.push(Inst::StrCopy { dest, value });
        };
        if pieces.len() == 0 {
            return self.push(Inst::StrCopy { dest, value: first });
        }
        // The destination may be among the pieces.
        let text = self.f.string(self.capacity(expr));
        let mut left = first;
        for right in pieces {
            self.push(Inst::StrConcat { dest: text, left, right });
            left = StrOp::Var(text);
        }
        self.push(Inst::StrCopy { dest, value: left });
    }
}

fn is_plain(conversion: &Conversion) -> bool {
    conversion.width.is_none() && conversion.precision.is_none() && !conversion.alternate
}

/// Bytes of a number's text: 22 octal digits are the most, or the width; and the NUL.
fn text_capacity(conversion: &Conversion) -> u16 {
    match conversion.width {
        Some(Size::Fixed(width)) if width > 22 => width as u16 + 2,
        _ => 24,
    }
}
