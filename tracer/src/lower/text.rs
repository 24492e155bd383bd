//! `sprintf` whose text a kernel handler itself needs, as a key or in a condition: pieces, put behind each other.
//!
//! Numbers are turned to text one at a time (`Inst::Format` of one conversion, which the code generator knows); strings
//! and literal text are appended as they are. What is missing to a width is cut off a literal of blanks, by `substr`; a
//! precision is a `substr` too, or zeros before the digits. So every step is an instruction that both domains have, and
//! the rules are those of `run::output::format`.
//!
//! **Not here:** texts that are only printed: those are made later, in the user domain (`late`).

use tracer_common::format::{Conversion, ConversionKind, Format, Part, Size};
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, BinOp, Block, CmpOp, Dest, Inst, LongOp, StrOp, StrVar, Term};

use crate::lower::body::Body;
use crate::sema::program::Expr;

/// Bytes of a number's digits: 22 octal ones are the most; and the NUL.
const DIGITS: u16 = 24;

impl<'p> Body<'_, 'p> {
    /// Makes the text of a format in kernel code.
    pub(super) fn kernel_text(&mut self, expr: &'p Expr, format: &Format, args: &'p [Expr], dest: StrVar) {
        if let Some(letter) = refused(format) {
            let what = format!("this %{letter} in a sprintf() whose text is not only printed");
            return self.unsupported(expr.span, &what);
        }
        let mut args = self.args(args).into_iter();
        let mut pieces = Vec::with_capacity(format.len());
        let capacity = self.capacity(expr);
        // Where the text is, and what goes on with it, when a NUL has ended it.
        let mut end = None;
        for part in format {
            self.at(expr.span);
            match part {
                Part::Text(text) => pieces.push(StrOp::Lit(self.lower.module.string(text))),
                Part::Conversion(conversion) => {
                    let mut size = |size: Option<Size>| {
                        size.map(|size| match size {
                            Size::Fixed(n) => LongOp::Imm(i64::from(n)),
                            Size::Argument => match args.next() {
                                Some(Arg::Long(n)) => n,
                                Some(Arg::Str(_)) | None => LongOp::Imm(0),
                            },
                        })
                    };
                    let (width, precision) = (size(conversion.width), size(conversion.precision));
                    match args.next() {
                        Some(Arg::Str(text)) => {
                            self.text_piece(conversion, width, precision, text, &mut pieces);
                        }
                        Some(Arg::Long(number)) if conversion.is_padded_number() => {
                            pieces.push(self.digits(part.clone(), number, conversion.width));
                        }
                        Some(Arg::Long(number)) if conversion.kind == ConversionKind::Character => {
                            let end = *end.get_or_insert_with(|| (self.f.string(capacity), self.f.block()));
                            self.character(conversion, width, number, &mut pieces, end);
                        }
                        Some(Arg::Long(number)) => {
                            self.number_piece(conversion, width, precision, number, &mut pieces);
                        }
                        None => {}
                    }
                }
            }
        }
        self.at(expr.span);
        // The destination may be among the pieces.
        let value = match end {
            None => {
                let text = (pieces.len() > 1).then(|| self.f.string(capacity));
                self.joined(pieces, text)
            }
            Some((text, after)) => {
                self.joined_in(text, pieces);
                self.f.end(Term::Jump(after));
                self.f.switch_to(after);
                StrOp::Var(text)
            }
        };
        self.push(Inst::StrCopy { dest, value });
    }

    /// Strings behind each other; several of them in `text`.
    fn joined(&mut self, pieces: Vec<StrOp>, text: Option<StrVar>) -> StrOp {
        let mut pieces = pieces.into_iter();
        let Some(mut left) = pieces.next() else { return StrOp::Lit(self.lower.module.string(b"")) };
        for (right, dest) in pieces.zip(std::iter::repeat(text).flatten()) {
            self.push(Inst::StrConcat { dest, left, right });
            left = StrOp::Var(dest);
        }
        left
    }

    /// Strings behind each other, in a string that may be the first of them.
    fn joined_in(&mut self, text: StrVar, pieces: Vec<StrOp>) {
        let value = self.joined(pieces, Some(text));
        if value != StrOp::Var(text) {
            self.push(Inst::StrCopy { dest: text, value });
        }
    }

    /// What `Inst::Format` makes of a number.
    fn digits(&mut self, part: Part, number: LongOp, width: Option<Size>) -> StrOp {
        let capacity = match width {
            Some(Size::Fixed(width)) => DIGITS.max(width as u16 + 2),
            Some(Size::Argument) | None => DIGITS,
        };
        let dest = self.f.string(capacity);
        let format = self.lower.module.format(vec![part]);
        self.push(Inst::Format { dest, format, args: vec![Arg::Long(number)] });
        StrOp::Var(dest)
    }

    fn text_piece(
        &mut self,
        conversion: &Conversion,
        width: Option<LongOp>,
        precision: Option<LongOp>,
        text: StrOp,
        pieces: &mut Vec<StrOp>,
    ) {
        let text = match precision {
            Some(most) => {
                let capacity = self.capacity_of(text);
                self.part(text, most, capacity)
            }
            None => text,
        };
        self.filled(conversion.left, width, text, pieces);
    }

    /// `%c`: one byte; a 0 ends the text, whatever comes behind it.
    fn character(
        &mut self,
        conversion: &Conversion,
        width: Option<LongOp>,
        number: LongOp,
        pieces: &mut Vec<StrOp>,
        (text, after): (StrVar, Block),
    ) {
        let plain =
            Conversion { left: false, zero: false, width: None, precision: None, ..conversion.clone() };
        let byte = self.digits(Part::Conversion(plain), number, None);
        let blanks = width.map(|width| self.fill(b' ', width, byte, Some(LongOp::Imm(1))));
        let (before, behind) = if conversion.left { (None, blanks) } else { (blanks, None) };
        pieces.extend(before);
        pieces.push(byte);
        self.joined_in(text, std::mem::take(pieces));
        let condition = self.bin(BinOp::And, number, LongOp::Imm(255));
        let on = self.f.block();
        self.f.end(Term::Branch { condition, then: on, otherwise: after });
        self.f.switch_to(on);
        pieces.push(StrOp::Var(text));
        pieces.extend(behind);
    }

    /// Sign or prefix, zeros up to the precision, digits, and blanks or zeros up to the width.
    fn number_piece(
        &mut self,
        conversion: &Conversion,
        width: Option<LongOp>,
        precision: Option<LongOp>,
        number: LongOp,
        pieces: &mut Vec<StrOp>,
    ) {
        let (prefix, magnitude) = match conversion.kind {
            ConversionKind::Signed => self.sign(conversion, number),
            ConversionKind::Pointer => (self.literal(b"0x"), number),
            ConversionKind::HexLower if conversion.alternate => (self.literal(b"0x"), number),
            ConversionKind::HexUpper if conversion.alternate => (self.literal(b"0X"), number),
            ConversionKind::Octal if conversion.alternate => (self.literal(b"0"), number),
            _ => (self.literal(b""), number),
        };
        let kind = match conversion.kind {
            ConversionKind::Signed => ConversionKind::Unsigned,
            ConversionKind::Pointer => ConversionKind::HexLower,
            kind => kind,
        };
        let mut digits = self.digits(Part::Conversion(Conversion::plain(kind)), magnitude, None);
        if let Some(least) = precision {
            let zeros = self.fill(b'0', least, digits, None);
            digits = self.both(zeros, digits);
        }
        // After another flag a 0 belongs to the width.
        let Conversion { left, zero, plus, space, alternate, .. } = *conversion;
        if zero && !(left || plus || space || alternate) {
            let body = self.both(prefix, digits);
            let zeros = width.map(|width| self.fill(b'0', width, body, None));
            pieces.push(prefix);
            pieces.extend(zeros);
            return pieces.push(digits);
        }
        let body = self.both(prefix, digits);
        self.filled(left, width, body, pieces);
    }

    /// The sign of a number as text, and the number without it.
    fn sign(&mut self, conversion: &Conversion, number: LongOp) -> (StrOp, LongOp) {
        let positive: &[u8] = match (conversion.plus, conversion.space) {
            (true, _) => b"+",
            (false, true) => b" ",
            (false, false) => b"",
        };
        let (sign, magnitude) = (self.f.string(8), self.f.long());
        let LongOp::Var(condition) =
            self.make(|dest| Inst::Cmp { op: CmpOp::Lt, dest, left: number, right: LongOp::Imm(0) })
        else {
            return (self.literal(positive), number);
        };
        let (minus, plus, after) = (self.f.block(), self.f.block(), self.f.block());
        self.f.end(Term::Branch { condition: LongOp::Var(condition), then: minus, otherwise: plus });
        self.f.switch_to(minus);
        let value = self.literal(b"-");
        self.push(Inst::StrCopy { dest: sign, value });
        self.push(Inst::Bin { op: BinOp::Sub, dest: magnitude, left: LongOp::Imm(0), right: number });
        self.f.end(Term::Jump(after));
        self.f.switch_to(plus);
        let value = self.literal(positive);
        self.push(Inst::StrCopy { dest: sign, value });
        self.push(Inst::Copy { dest: magnitude, value: number });
        self.f.end(Term::Jump(after));
        self.f.switch_to(after);
        (StrOp::Var(sign), LongOp::Var(magnitude))
    }

    /// A text with the blanks that it lacks to a width, on one side.
    fn filled(&mut self, left: bool, width: Option<LongOp>, text: StrOp, pieces: &mut Vec<StrOp>) {
        let Some(width) = width else { return pieces.push(text) };
        let blanks = self.fill(b' ', width, text, None);
        pieces.extend(if left { [text, blanks] } else { [blanks, text] });
    }

    /// As many of one character as a text lacks to a width; its length may be known.
    fn fill(&mut self, with: u8, width: LongOp, text: StrOp, length: Option<LongOp>) -> StrOp {
        let most = usize::from(self.lower.limits.string_len) - 1;
        let most = match width {
            LongOp::Imm(n) => usize::try_from(n).unwrap_or(0).min(most),
            LongOp::Var(_) => most,
        };
        let length = length.unwrap_or_else(|| {
            let args = vec![Arg::Str(text)];
            self.make(|dest| Inst::Call { intrinsic: Intrinsic::Strlen, dest: Some(Dest::Long(dest)), args })
        });
        let lacks = self.bin(BinOp::Sub, width, length);
        let row = self.literal(&vec![with; most]);
        self.part(row, lacks, most as u16 + 1)
    }

    /// The first bytes of a text.
    fn part(&mut self, text: StrOp, most: LongOp, capacity: u16) -> StrOp {
        let dest = self.f.string(capacity);
        let args = vec![Arg::Str(text), Arg::Long(LongOp::Imm(0)), Arg::Long(most)];
        self.push(Inst::Call { intrinsic: Intrinsic::Substr, dest: Some(Dest::Str(dest)), args });
        StrOp::Var(dest)
    }

    fn both(&mut self, left: StrOp, right: StrOp) -> StrOp {
        let capacity = self.capacity_of(left).saturating_add(self.capacity_of(right));
        let dest = self.f.string(capacity.min(self.lower.limits.string_len));
        self.push(Inst::StrConcat { dest, left, right });
        StrOp::Var(dest)
    }

    pub(super) fn literal(&mut self, text: &[u8]) -> StrOp {
        StrOp::Lit(self.lower.module.string(text))
    }

    fn capacity_of(&self, text: StrOp) -> u16 {
        match text {
            StrOp::Var(var) => self.f.capacity(var),
            StrOp::Lit(id) => self.lower.module.text(id).len() as u16 + 1,
        }
    }
}

/// Whether kernel code can make the text of a format.
pub(super) fn can_be_made(format: &Format) -> bool {
    refused(format).is_none()
}

/// The letter of the first conversion that kernel code cannot make: bytes that are no text, and texts that are quoted.
fn refused(format: &Format) -> Option<char> {
    format.iter().find_map(|part| {
        let Part::Conversion(conversion) = part else { return None };
        let refused = match conversion.kind {
            ConversionKind::Binary | ConversionKind::Memory | ConversionKind::MemoryHex => true,
            ConversionKind::String | ConversionKind::Character => conversion.alternate,
            ConversionKind::Signed
            | ConversionKind::Unsigned
            | ConversionKind::HexLower
            | ConversionKind::HexUpper
            | ConversionKind::Octal
            | ConversionKind::Pointer => false,
        };
        refused.then(|| conversion.kind.letter())
    })
}
