//! Strings that are taken apart: the number that one begins with (`strtol`), the words of a list.
//!
//! Loops as in `find`: of a number of rounds that the verifier knows, with no branches but their ends.
//!
//! **Not here:** what a group of a pattern is (`regex`).

use super::super::vcode::{Base, Constant, VInsn, VReg};
use super::{Memory, Selector};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use alloc::vec::Vec;
use tracer_common::ir::{LongOp, StrOp, StrVar, Var};
use tracer_common::layout::align8;

/// Of a byte that is no hexadecimal digit.
const NO_DIGIT: u8 = 0xff;

/// Bytes wanted of the area for a text of a capacity.
pub(in crate::codegen) fn area(capacity: u32) -> u32 {
    capacity.next_power_of_two().max(8)
}

impl Selector<'_, '_> {
    /// The number that a text begins with, as `simple_strtoll` of the kernel reads it.
    pub(super) fn strtol(&mut self, dest: Var, text: StrOp, base: LongOp) {
        let capacity = self.string_capacity(text);
        let area = area(capacity);
        self.text_to_area(text, 0);
        let digits: Vec<u8> =
            (0..=255u8).map(|byte| char::from(byte).to_digit(16).map_or(NO_DIGIT, |d| d as u8)).collect();
        let (map, digits) = self.shared.constant(&digits);
        let digits = self.known(Constant::MapValue(map, digits));
        let at = self.reg();
        self.constant(at, 0);
        let sign = self.cell(Size::B, at, (0, area));
        let minus = self.is_byte(sign, b'-');
        self.mov(at, minus);
        let first = self.cell(Size::B, at, (0, area));
        let zero = self.is_byte(first, b'0');
        let second = self.cell(Size::B, at, (1, area));
        self.alu(AluOp::Or, second, i32::from(b'x' ^ b'X'));
        // 0x, and whether a digit follows.
        let hex = self.is_byte(second, b'x');
        self.alu(AluOp::And, hex, zero);
        let base = match base {
            LongOp::Imm(base) if base as u32 != 0 => {
                let known = self.reg();
                self.constant(known, i64::from(base as u32));
                if base as u32 != 16 {
                    self.constant(hex, 0);
                }
                known
            }
            _ => {
                let third = self.cell(Size::B, at, (2, area));
                let follows = self.digit_of(digits, third);
                self.below(follows, 16);
                self.alu(AluOp::And, follows, hex);
                // 10, 8 with a zero before it, 16 with more.
                let found = self.reg();
                self.alu(AluOp::Lsh, zero, 1);
                self.alu(AluOp::Lsh, follows, 3);
                self.constant(found, 10);
                self.alu(AluOp::Sub, found, zero);
                self.alu(AluOp::Add, found, follows);
                match base {
                    LongOp::Imm(_) => {}
                    LongOp::Var(var) => {
                        let told = self.reg();
                        self.push(VInsn::Move32 { dst: told, src: self.var(var) });
                        let fine = self.block(false);
                        self.jump_if(JumpOp::Eq, told, 0, fine);
                        self.mov(found, told);
                        self.jump(fine);
                        self.at(fine);
                    }
                }
                let is_hex = self.reg();
                self.mov(is_hex, found);
                self.alu(AluOp::Xor, is_hex, 16);
                let is_hex = self.is_zero(is_hex);
                self.alu(AluOp::And, hex, is_hex);
                found
            }
        };
        self.alu(AluOp::Lsh, hex, 1);
        self.alu(AluOp::Add, at, hex);
        let value = self.reg();
        self.constant(value, 0);
        let done = self.block(false);
        let rounds = self.rounds(capacity, &[at, value], done);
        let byte = self.cell(Size::B, at, (0, area));
        let digit = self.digit_of(digits, byte);
        self.leave_unless(JumpOp::Lt, digit, 16, done);
        self.leave_unless(JumpOp::Lt, digit, base, done);
        self.alu(AluOp::Mul, value, base);
        self.alu(AluOp::Add, value, digit);
        self.alu(AluOp::Add, at, 1);
        self.again(rounds, done);
        self.at(done);
        self.hide(value, 0);
        let sign = self.reg();
        self.constant(sign, 0);
        self.alu(AluOp::Sub, sign, minus);
        self.alu(AluOp::Xor, value, sign);
        self.alu(AluOp::Sub, value, sign);
        let dest = self.var(dest);
        self.mov(dest, value);
    }

    /// The n-th word, from 1, of a list with single blanks; "" where there is none.
    pub(super) fn word(&mut self, dest: StrVar, text: StrOp, number: LongOp) {
        let capacity = self.string_capacity(text);
        self.text_to_area(text, 0);
        let wanted = self.reg();
        self.set(wanted, number);
        // What is negative is very large; no list has so many words.
        self.at_most(wanted, capacity, capacity + 1);
        let (at, word, begin, length) = (self.reg(), self.reg(), self.reg(), self.reg());
        for (reg, value) in [(at, 0), (word, 1), (begin, 0), (length, 0)] {
            self.constant(reg, value);
        }
        let done = self.block(false);
        let carried = [at, word, begin, length];
        let rounds = self.rounds(capacity, &carried, done);
        self.leave_unless(JumpOp::Le, word, wanted, done);
        let byte = self.cell(Size::B, at, (0, area(capacity)));
        self.leave_unless(JumpOp::Ne, byte, 0, done);
        let blank = self.is_byte(byte, b' ');
        let here = self.same(word, wanted);
        let before = self.inverse(here);
        let text = self.inverse(blank);
        self.alu(AluOp::And, here, text);
        self.alu(AluOp::Add, begin, before);
        self.alu(AluOp::Add, length, here);
        self.alu(AluOp::Add, word, blank);
        self.alu(AluOp::Add, at, 1);
        self.again(rounds, done);
        self.at(done);
        self.part_of_area(dest, (begin, length), 0, capacity);
    }

    /// The first words of a list with single blanks, all of them for 0, without a blank behind the last.
    pub(super) fn first_words(&mut self, dest: StrVar, text: StrOp, number: LongOp) {
        let capacity = self.string_capacity(text);
        self.text_to_area(text, 0);
        let wanted = self.reg();
        self.set(wanted, number);
        self.alu(AluOp::Sub, wanted, 1);
        self.at_most(wanted, capacity, capacity);
        let (at, word, begin, length) = (self.reg(), self.reg(), self.reg(), self.reg());
        for reg in [at, word, begin, length] {
            self.constant(reg, 0);
        }
        let done = self.block(false);
        let carried = [at, word, begin, length];
        let rounds = self.rounds(capacity, &carried, done);
        self.leave_unless(JumpOp::Le, word, wanted, done);
        let byte = self.cell(Size::B, at, (0, area(capacity)));
        self.leave_unless(JumpOp::Ne, byte, 0, done);
        self.alu(AluOp::Add, at, 1);
        let blank = self.is_byte(byte, b' ');
        self.alu(AluOp::Add, word, blank);
        // Behind the last byte that is no blank.
        let longer = self.reg();
        self.mov(longer, at);
        self.alu(AluOp::Sub, longer, length);
        self.alu(AluOp::Xor, blank, 1);
        self.alu(AluOp::Mul, longer, blank);
        self.alu(AluOp::Add, length, longer);
        self.again(rounds, done);
        self.at(done);
        self.part_of_area(dest, (begin, length), 0, capacity);
    }

    /// The number of a word in a list with single blanks, from 1; 0 when it is not there.
    pub(super) fn word_number(&mut self, dest: Var, text: StrOp, wanted: StrOp) {
        let (capacity, size) = (self.string_capacity(text), self.string_capacity(wanted));
        self.text_to_area(text, 0);
        self.text_to_area(wanted, area(capacity));
        let (at, inside, word, alike) = (self.reg(), self.reg(), self.reg(), self.reg());
        for (reg, value) in [(at, 0), (inside, 0), (word, 1), (alike, 1)] {
            self.constant(reg, value);
        }
        let (found, missing, done) = (self.block(false), self.block(false), self.block(false));
        let carried = [at, inside, word, alike];
        let rounds = self.rounds(capacity, &carried, missing);
        let byte = self.cell(Size::B, at, (0, area(capacity)));
        let other = self.cell(Size::B, inside, (area(capacity), area(size)));
        let last = self.is_zero(byte);
        let ends = self.is_byte(byte, b' ');
        self.alu(AluOp::Or, ends, last);
        let same = self.same(byte, other);
        // At a word's end: whether all of it was the same, and no more is wanted.
        let whole = self.is_zero(other);
        self.alu(AluOp::And, whole, ends);
        self.alu(AluOp::And, whole, alike);
        self.leave_unless(JumpOp::Eq, whole, 0, found);
        self.leave_unless(JumpOp::Ne, byte, 0, missing);
        self.alu(AluOp::Add, word, ends);
        self.alu(AluOp::And, alike, same);
        self.alu(AluOp::Or, alike, ends);
        self.alu(AluOp::Xor, ends, 1);
        self.alu(AluOp::Add, inside, 1);
        self.alu(AluOp::Mul, inside, ends);
        self.alu(AluOp::Add, at, 1);
        self.again(rounds, missing);
        self.at(missing);
        self.constant(word, 0);
        self.jump(done);
        self.at(found);
        self.jump(done);
        self.at(done);
        self.hide(word, 0);
        let dest = self.var(dest);
        self.mov(dest, word);
    }

    /// Copies a part of the text that is at `offset` of the area: so many bytes from the first number on. Eight bytes behind the
    /// text are free.
    pub(super) fn part_of_area(
        &mut self,
        dest: StrVar,
        (begin, length): (VReg, VReg),
        offset: u32,
        text: u32,
    ) {
        let (home, capacity) = (self.home(dest), self.capacity(dest));
        if let Base::Slot(_) = home.base {
            self.store_zeros(home, align8(capacity));
        }
        self.hide(begin, offset + area(text));
        self.hide(length, offset + area(text));
        let source = self.area().at(offset);
        let from = match self.address(source) {
            super::Arg::Reg(reg) => reg,
            super::Arg::Constant(value) => self.known(value),
        };
        let at = self.reg();
        self.mov(at, begin);
        self.alu(AluOp::And, at, area(text) as i32 - 1);
        self.alu(AluOp::Add, at, from);
        let size = self.reg();
        self.mov(size, length);
        self.alu(AluOp::Add, size, 1);
        self.at_most(size, capacity, capacity);
        let to = self.address(home);
        self.call(Helper::ProbeReadKernelStr, &[to, size.into(), at.into()]);
        if text > capacity {
            self.count_cut(JumpOp::Ge, length, capacity);
        }
    }

    fn digit_of(&mut self, digits: VReg, byte: VReg) -> VReg {
        let at = self.reg();
        self.mov(at, digits);
        self.alu(AluOp::Add, at, byte);
        self.load_from(Size::B, Memory { base: Base::Reg(at), off: 0 })
    }

    /// 1 where a byte is that one.
    pub(super) fn is_byte(&mut self, byte: VReg, wanted: u8) -> VReg {
        let dst = self.reg();
        self.mov(dst, byte);
        self.alu(AluOp::Xor, dst, i32::from(wanted));
        self.below(dst, 1);
        dst
    }

    /// 1 where a small number is below another, in its place.
    pub(super) fn below(&mut self, number: VReg, most: i32) {
        self.alu(AluOp::Sub, number, most);
        self.alu(AluOp::Rsh, number, 63);
    }
}
