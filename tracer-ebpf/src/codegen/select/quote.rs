//! A string as C would write it (`text_str`, `string_quoted`): what cannot be printed, and characters of UTF-8, by numbers.
//!
//! Loops as in `find`: of a number of rounds that the verifier knows, with no branches but their ends. A round writes a byte or a
//! character, whole or not at all.
//!
//! **Not here:** what the evaluator does, which is the same (`tracer::run::eval::quote`).

use super::super::vcode::{Base, Constant, VReg};
use super::find::Part;
use super::parse::area;
use super::{Memory, Selector};
use crate::isa::{AluOp, JumpOp, Size};
use alloc::vec::Vec;
use tracer_common::ir::{LongOp, StrOp, StrVar};

/// Bytes that a round may write behind its own.
const SLACK: u32 = 16;
/// `"...`
const DOTS: i64 = 0x2e2e_2e22;

/// What lies where in the area, of capacities.
#[derive(Clone, Copy)]
pub(in crate::codegen) struct Room {
    text: u32,
    dest: u32,
}

impl Room {
    pub(in crate::codegen) fn new(text: u32, dest: u32) -> Room {
        Room { text, dest }
    }

    /// The text.
    fn text(self) -> Part {
        (0, area(self.text))
    }

    /// What is made.
    fn made(self) -> Part {
        (self.text().1 + SLACK, self.dest.next_power_of_two())
    }

    /// Eight bytes that are free.
    fn free(self) -> u32 {
        let (offset, size) = self.made();
        offset + size + SLACK
    }

    /// Bytes of all.
    pub(in crate::codegen) fn size(self) -> u32 {
        self.free() + 8
    }
}

/// A byte as C would write it, with the length in the row's last byte.
fn row(byte: u8) -> [u8; 8] {
    let octal = |at: u32| b'0' + (byte >> (3 * at) & 7);
    let text: &[u8] = match byte {
        0x07 => b"\\a",
        0x08 => b"\\b",
        b'\t' => b"\\t",
        b'\n' => b"\\n",
        0x0b => b"\\v",
        0x0c => b"\\f",
        b'\r' => b"\\r",
        b'\\' => b"\\\\",
        b'"' => b"\\\"",
        0x20..0x7f => &[byte],
        _ => &[b'\\', octal(2), octal(1), octal(0)],
    };
    let mut row = [0; 8];
    row[..text.len()].copy_from_slice(text);
    row[7] = text.len() as u8;
    row
}

impl Selector<'_, '_> {
    /// A text in at most so many bytes, in quotation marks or not; text that does not fit then ends in `"...`.
    pub(super) fn quote(&mut self, dest: StrVar, text: StrOp, most: LongOp, marks: LongOp) {
        let (home, capacity) = (self.home(dest), self.capacity(dest));
        let room = Room::new(self.string_capacity(text), capacity);
        self.text_to_area(text, 0);
        let marks = self.is_set(marks);
        // Where the text must end; the same where dots follow.
        let top = self.most(most, capacity - 1);
        let short = self.reg();
        self.mov(short, top);
        self.less(top, marks, 2);
        self.less(short, marks, 5);
        for end in [top, short] {
            self.alu(AluOp::Add, end, marks);
        }
        let area = self.area();
        self.store(Size::B, area.at(room.made().0), i32::from(b'"'));
        let (at, to, kept) = (self.reg(), self.reg(), self.reg());
        self.constant(at, 0);
        self.mov(to, marks);
        self.mov(kept, marks);
        let (whole, cut, finish) = (self.block(false), self.block(false), self.block(false));
        let carried = [at, to, kept];
        let rounds = self.rounds(room.text, &carried, whole);
        let first = self.cell(Size::B, at, room.text());
        self.leave_unless(JumpOp::Ne, first, 0, whole);
        let (word, more, length, step) = self.written(room, at, first);
        let end = self.reg();
        self.mov(end, to);
        self.alu(AluOp::Add, end, length);
        self.leave_unless(JumpOp::Le, end, top, cut);
        self.set_cell(Size::Dw, to, room.made(), word);
        let (offset, size) = room.made();
        self.set_cell(Size::Dw, to, (offset + 8, size), more);
        self.alu(AluOp::Add, at, step);
        self.mov(to, end);
        // The end before which dots have room.
        let fits = self.reg();
        self.mov(fits, end);
        self.alu(AluOp::Sub, fits, short);
        self.below(fits, 1);
        self.alu(AluOp::Sub, end, kept);
        self.alu(AluOp::Mul, end, fits);
        self.alu(AluOp::Add, kept, end);
        self.again(rounds, whole);
        let tail = self.reg();
        self.at(cut);
        self.constant(tail, DOTS);
        self.alu(AluOp::Sub, kept, to);
        self.alu(AluOp::Mul, kept, marks);
        self.alu(AluOp::Add, to, kept);
        self.jump(finish);
        self.at(whole);
        self.constant(tail, i64::from(b'"'));
        self.jump(finish);
        self.at(finish);
        self.alu(AluOp::Mul, tail, marks);
        self.hide(to, room.free());
        self.set_cell(Size::Dw, to, room.made(), tail);
        let made = self.address(area.at(room.made().0));
        self.string_from(home, capacity, made);
    }

    /// What is written for the byte or character at a place: eight bytes, those behind them, how many count, and how many bytes
    /// of the text they stand for.
    fn written(&mut self, room: Room, at: VReg, first: VReg) -> (VReg, VReg, VReg, VReg) {
        let mut table = Vec::with_capacity(256 * 8);
        (0..=255).for_each(|byte| table.extend(row(byte)));
        let (map, rows) = self.shared.constant(&table);
        let place = self.known(Constant::MapValue(map, rows));
        let byte = self.reg();
        self.mov(byte, first);
        self.alu(AluOp::Lsh, byte, 3);
        self.alu(AluOp::Add, place, byte);
        let word = self.load_from(Size::Dw, Memory { base: Base::Reg(place), off: 0 });
        let length = self.reg();
        self.mov(length, word);
        self.alu(AluOp::Rsh, length, 56);
        self.alu(AluOp::Lsh, word, 8);
        self.alu(AluOp::Rsh, word, 8);
        // A character of two, three or four bytes, the first of which begins with as many ones.
        let (number, step) = (self.reg(), self.reg());
        self.constant(number, 0);
        self.constant(step, 0);
        let (sum, valid) = (self.reg(), self.reg());
        self.mov(sum, first);
        self.constant(valid, 1);
        let mut large = valid;
        for (bytes, least, most) in [(2, 0x80, 0x7ff), (3, 0x800, 0xffff), (4, 0x1_0000, 0x10_ffff)] {
            let (offset, size) = room.text();
            let next = self.cell(Size::B, at, (offset + bytes - 1, size));
            self.alu(AluOp::Xor, next, 0x80);
            let follows = self.reg();
            self.mov(follows, next);
            self.below(follows, 0x40);
            self.alu(AluOp::And, valid, follows);
            self.alu(AluOp::Lsh, sum, 6);
            self.alu(AluOp::Or, sum, next);
            // The bits of the first byte that tell the length are taken off.
            let (begins, value) = (self.reg(), self.reg());
            self.mov(begins, first);
            let lead = 0xf00 >> bytes & 0xff;
            self.alu(AluOp::Sub, begins, lead);
            self.mov(value, sum);
            self.alu(AluOp::Sub, value, lead << (6 * (bytes - 1)));
            self.below_unsigned(begins, 0x80 >> bytes);
            self.alu(AluOp::And, begins, valid);
            let in_range = self.reg();
            self.mov(in_range, value);
            self.alu(AluOp::Sub, in_range, least);
            self.below_unsigned(in_range, most - least + 1);
            self.alu(AluOp::And, begins, in_range);
            if bytes == 3 {
                // Halves of UTF-16 are no characters.
                let halves = self.reg();
                self.mov(halves, value);
                self.alu(AluOp::Sub, halves, 0xd800);
                self.below_unsigned(halves, 0x800);
                self.alu(AluOp::Xor, halves, 1);
                self.alu(AluOp::And, begins, halves);
            }
            self.alu(AluOp::Mul, value, begins);
            self.alu(AluOp::Add, number, value);
            let steps = self.reg();
            self.mov(steps, begins);
            self.alu(AluOp::Mul, steps, bytes as i32 - 1);
            self.alu(AluOp::Add, step, steps);
            large = begins;
        }
        let is_character = self.is_zero(step);
        self.alu(AluOp::Xor, is_character, 1);
        self.alu(AluOp::Add, step, 1);
        let digits = self.hexadecimal(number, 0, b'A');
        let more = self.reg();
        self.mov(more, digits);
        self.alu(AluOp::Rsh, more, 48);
        // `\u` and the last four digits, or `\U` and all eight.
        let shift = self.reg();
        self.mov(shift, large);
        self.alu(AluOp::Xor, shift, 1);
        self.alu(AluOp::Lsh, shift, 5);
        self.alu(AluOp::Rsh, digits, shift);
        self.alu(AluOp::Lsh, digits, 16);
        let letter = self.reg();
        self.mov(letter, large);
        self.alu(AluOp::Mul, letter, -0x2000);
        self.alu(AluOp::Add, letter, i32::from(u16::from_le_bytes(*b"\\u")));
        self.alu(AluOp::Or, digits, letter);
        // One of the two.
        let wide = self.reg();
        self.mov(wide, large);
        self.alu(AluOp::Lsh, wide, 2);
        self.alu(AluOp::Add, wide, 6);
        for (mine, other) in [(word, digits), (length, wide)] {
            self.alu(AluOp::Sub, other, mine);
            self.alu(AluOp::Mul, other, is_character);
            self.alu(AluOp::Add, mine, other);
        }
        (word, more, length, step)
    }

    /// How many bytes may be made: a number that is told, or all there is room for where it is none of these.
    fn most(&mut self, most: LongOp, room: u32) -> VReg {
        let room = room.max(1);
        let number = self.reg();
        match most {
            LongOp::Imm(most) => {
                let told = u32::try_from(most).ok().filter(|most| (1..=room).contains(most));
                self.constant(number, told.unwrap_or(room));
            }
            LongOp::Var(_) => {
                self.set(number, most);
                self.alu(AluOp::Sub, number, 1);
                self.at_most(number, room - 1, room - 1);
                self.alu(AluOp::Add, number, 1);
            }
        }
        number
    }

    /// Takes so much off a number where a bit is set, down to 0.
    fn less(&mut self, number: VReg, bit: VReg, by: i32) {
        let (off, negative) = (self.reg(), self.reg());
        self.mov(off, bit);
        self.alu(AluOp::Mul, off, by);
        self.alu(AluOp::Sub, number, off);
        self.mov(negative, number);
        self.alu(AluOp::Arsh, negative, 63);
        self.alu(AluOp::Xor, negative, -1);
        self.alu(AluOp::And, number, negative);
    }

    /// 1 where a number is not 0.
    fn is_set(&mut self, number: LongOp) -> VReg {
        let (bit, negative) = (self.reg(), self.reg());
        self.set(bit, number);
        self.mov(negative, bit);
        self.alu(AluOp::Neg, negative, 0);
        self.alu(AluOp::Or, bit, negative);
        self.alu(AluOp::Rsh, bit, 63);
        bit
    }

    /// 1 where a small number, which may be negative, is not and is below another, in its place.
    fn below_unsigned(&mut self, number: VReg, most: i32) {
        let negative = self.reg();
        self.mov(negative, number);
        self.alu(AluOp::Rsh, negative, 63);
        self.alu(AluOp::Xor, negative, 1);
        self.below(number, most);
        self.alu(AluOp::And, number, negative);
    }
}
