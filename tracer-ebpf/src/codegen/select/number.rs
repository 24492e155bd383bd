//! `Inst::Format` of one number: digits from the last to the first, into a buffer of the frame.
//!
//! Every digit has its own place and its own exit, so that no address depends on a value: verifiers before 5.12 know
//! nothing of a stack that is written at a variable offset.
//!
//! **Not here:** other formats (pass 3 takes them apart, or refuses them).

use super::super::vcode::{Label, VInsn, VReg};
use super::{Arg, Memory, Result, Selector};
use crate::isa::{AluOp, JumpOp, Size};
use tracer_common::format::{Conversion, ConversionKind, Part, Size as Width, WIDEST_NUMBER};
use tracer_common::ir::{Arg as Value, FormatId, StrVar};

/// Bytes of the buffer: a sign, the characters and the NUL.
const BUFFER: u32 = WIDEST_NUMBER + 2;
/// Bytes of a number with its sign and NUL.
pub(super) const DECIMAL: u32 = 22;
/// Where the NUL stands.
const LAST: u32 = BUFFER - 1;

impl Selector<'_, '_> {
    pub(super) fn format_number(&mut self, dest: StrVar, format: FormatId, args: &[Value]) -> Result {
        let (Some(conversion), [Value::Long(number)]) =
            (single(&self.shared.module.formats[format.index()]), args)
        else {
            return self.unsupported("sprintf() other than for printing");
        };
        if conversion.kind == ConversionKind::Character {
            let (number, home) = (self.source(*number), self.home(dest));
            let byte = self.temporary(8);
            self.store(Size::Dw, byte, 0);
            self.store(Size::B, byte, number);
            let from = self.address(byte);
            self.string_from(home, self.capacity(dest), from);
            return Ok(());
        }
        let (base, digits) = match conversion.kind {
            ConversionKind::Signed | ConversionKind::Unsigned => (10, 20),
            ConversionKind::Octal => (8, 22),
            _ => (16, 16),
        };
        let width = match conversion.width {
            Some(Width::Fixed(width)) => width,
            Some(Width::Argument) | None => 0,
        };
        let value = self.reg();
        self.set(value, *number);
        let negative = (conversion.kind == ConversionKind::Signed).then(|| self.magnitude(value));
        let upper = conversion.kind == ConversionKind::HexUpper;
        let start = self.digits_from_last(value, (base, digits, upper), (width, conversion.zero), negative);
        let home = self.home(dest);
        self.string_from(home, self.capacity(dest), start.into());
        Ok(())
    }

    /// The address of a number as decimal text, in the frame; at most [`DECIMAL`] bytes.
    pub(super) fn decimal(&mut self, number: VReg) -> VReg {
        let value = self.reg();
        self.mov(value, number);
        let negative = self.magnitude(value);
        self.digits_from_last(value, (10, 20, false), (0, false), Some(negative))
    }

    /// Writes at most so many digits, and what stands before them; where the text starts.
    fn digits_from_last(
        &mut self,
        value: VReg,
        (base, digits, upper): (i32, u32, bool),
        padding: (u32, bool),
        negative: Option<VReg>,
    ) -> VReg {
        let buffer = self.temporary(BUFFER);
        self.store(Size::B, buffer.at(LAST), 0);
        let (start, done) = (self.reg(), self.block(false));
        for digit in 0..digits {
            let at = LAST - 1 - digit;
            let character = self.digit(value, base, upper);
            self.store(Size::B, buffer.at(at), character);
            let more = (digit + 1 < digits).then(|| self.block(false));
            if let Some(more) = more {
                self.jump_if(JumpOp::Ne, value, 0, more);
            }
            self.finish(buffer, at, padding, negative, (start, done));
            if let Some(more) = more {
                self.at(more);
            }
        }
        self.at(done);
        start
    }

    /// Makes a value positive, as an unsigned number; a register that is not 0 where it was negative.
    fn magnitude(&mut self, value: VReg) -> VReg {
        let negative = self.reg();
        self.mov(negative, value);
        self.alu(AluOp::Arsh, negative, 63);
        self.alu(AluOp::Xor, value, negative);
        self.alu(AluOp::Sub, value, negative);
        negative
    }

    /// Takes the last digit off a value, as a character.
    fn digit(&mut self, value: VReg, base: i32, upper: bool) -> VReg {
        let digit = self.reg();
        self.mov(digit, value);
        if base == 10 {
            self.alu(AluOp::Mod, digit, 10);
            self.alu(AluOp::Div, value, 10);
        } else {
            self.alu(AluOp::And, digit, base - 1);
            self.alu(AluOp::Rsh, value, if base == 16 { 4 } else { 3 });
        }
        if base == 16 {
            // 9 - digit is negative for letters.
            let letter = self.reg();
            self.constant(letter, 9);
            self.alu(AluOp::Sub, letter, digit);
            self.alu(AluOp::Rsh, letter, 63);
            self.alu(AluOp::Mul, letter, i32::from(if upper { b'A' } else { b'a' }) - i32::from(b'0') - 10);
            self.alu(AluOp::Add, digit, letter);
        }
        self.alu(AluOp::Add, digit, i32::from(b'0'));
        digit
    }

    /// Behind the first digit, at `at`: sign, padding, and where the text starts.
    fn finish(
        &mut self,
        buffer: Memory,
        at: u32,
        (width, zero): (u32, bool),
        negative: Option<VReg>,
        (start, done): (VReg, Label),
    ) {
        let wide = LAST - width;
        let minus = negative.map(|negative| {
            let minus = self.block(false);
            self.jump_if(JumpOp::Ne, negative, 0, minus);
            minus
        });
        self.pad(buffer, wide..at, zero);
        self.begin(buffer, at.min(wide), start);
        self.jump(done);
        let Some(minus) = minus else { return };
        self.at(minus);
        // Zeros stand behind the sign, blanks before it.
        let sign = if zero { wide.min(at - 1) } else { at - 1 };
        if zero {
            self.pad(buffer, sign + 1..at, true);
        } else {
            self.pad(buffer, wide..sign, false);
        }
        self.store(Size::B, buffer.at(sign), i32::from(b'-'));
        self.begin(buffer, sign.min(wide), start);
        self.jump(done);
    }

    fn pad(&mut self, buffer: Memory, range: core::ops::Range<u32>, zero: bool) {
        for at in range {
            self.store(Size::B, buffer.at(at), i32::from(if zero { b'0' } else { b' ' }));
        }
    }

    fn begin(&mut self, buffer: Memory, at: u32, start: VReg) {
        match self.address(buffer.at(at)) {
            Arg::Reg(address) => self.mov(start, address),
            Arg::Constant(value) => self.push(VInsn::Constant { dst: start, value }),
        }
    }
}

/// The one conversion that a format consists of, when it is a number that needs no more than padding, or one character.
fn single(format: &[Part]) -> Option<&Conversion> {
    match format {
        [Part::Conversion(conversion)]
            if conversion.is_padded_number() || conversion.is_plain_character() =>
        {
            Some(conversion)
        }
        _ => None,
    }
}
