//! A moment as `asctime` of C writes it (`ctime`): `Tue Nov 14 22:13:20 2023`.
//!
//! What 32 bits hold, and nothing else is converted, is between 1901 and 2038: there every fourth year has a leap day.
//!
//! **Not here:** what the evaluator does, which is the same (`tracer::run::eval::string`).

use super::super::vcode::{Base, Constant, VReg};
use super::{Memory, Result, Selector};
use crate::isa::{AluOp, JumpOp, Size};
use alloc::vec::Vec;
use tracer_common::ir::{LongOp, StrVar};
use tracer_common::record::ErrorKind;

/// Days from 1 March 1900, a Thursday, to 1970: leap days come last in years that begin so.
const BEFORE: i32 = 25_508;
/// Bytes of the text, with its NUL.
const TEXT: u32 = 25;
/// Names of three letters, in steps of four bytes.
const WEEKDAYS: &[u8] = b"Thu Fri Sat Sun Mon Tue Wed ";
const MONTHS: &[u8] = b"Mar Apr May Jun Jul Aug Sep Oct Nov Dec Jan Feb ";

impl Selector<'_, '_> {
    pub(super) fn ctime(&mut self, dest: StrVar, seconds: LongOp) -> Result {
        let day = self.reg();
        self.set(day, seconds);
        self.raise_if(JumpOp::Sgt, day, i32::MAX, ErrorKind::TimeFuture, 0);
        self.raise_if(JumpOp::Slt, day, i32::MIN, ErrorKind::TimePast, 0);
        let shift = self.known(Constant::Number(i64::from(BEFORE) * 86_400));
        self.alu(AluOp::Add, day, shift);
        let second = self.split(day, 86_400);
        let text = self.temporary(TEXT.next_multiple_of(8));
        let mut weekday = self.reg();
        self.mov(weekday, day);
        weekday = self.split(weekday, 7);
        self.name(text, WEEKDAYS, weekday);
        // The year, from March on, and the day in it.
        self.alu(AluOp::Lsh, day, 2);
        self.alu(AluOp::Add, day, 3);
        let of_year = self.split(day, 1461);
        let year = day;
        self.alu(AluOp::Rsh, of_year, 2);
        // The month, from March on, and the day in it.
        let month = self.reg();
        self.mov(month, of_year);
        self.alu(AluOp::Mul, month, 5);
        self.alu(AluOp::Add, month, 2);
        self.alu(AluOp::Div, month, 153);
        let before = self.reg();
        self.mov(before, month);
        self.alu(AluOp::Mul, before, 153);
        self.alu(AluOp::Add, before, 2);
        self.alu(AluOp::Div, before, 5);
        let of_month = of_year;
        self.alu(AluOp::Sub, of_month, before);
        self.alu(AluOp::Add, of_month, 1);
        let next = self.reg();
        self.mov(next, month);
        self.alu(AluOp::Add, next, -10);
        self.alu(AluOp::Rsh, next, 63);
        self.alu(AluOp::Xor, next, 1);
        self.alu(AluOp::Add, year, next);
        self.alu(AluOp::Add, year, 1900);
        self.name(text.at(4), MONTHS, month);
        // A day below 10 has a blank before it: that is '0' - ' ' less.
        let tens = self.reg();
        self.mov(tens, of_month);
        self.two_digits(text.at(8), tens, b' ');
        self.alu(AluOp::Add, of_month, -10);
        self.alu(AluOp::Rsh, of_month, 63);
        self.alu(AluOp::Mul, of_month, i32::from(b'0' - b' '));
        let first = self.load_from(Size::B, text.at(8));
        self.alu(AluOp::Sub, first, of_month);
        self.store(Size::B, text.at(8), first);
        let minute = second;
        let second = self.split(minute, 60);
        let hour = minute;
        let minute = self.split(hour, 60);
        self.two_digits(text.at(11), hour, b':');
        self.two_digits(text.at(14), minute, b':');
        self.two_digits(text.at(17), second, b' ');
        let century = year;
        let year = self.split(century, 100);
        self.two_digits(text.at(20), century, b' ');
        self.two_digits(text.at(22), year, 0);
        let home = self.home(dest);
        let from = self.address(text);
        self.string_from(home, self.capacity(dest), from);
        Ok(())
    }

    /// Divides a number that is not negative, and returns what is left over.
    fn split(&mut self, number: VReg, by: i32) -> VReg {
        let rest = self.reg();
        self.mov(rest, number);
        self.alu(AluOp::Mod, rest, by);
        self.alu(AluOp::Div, number, by);
        rest
    }

    /// One of these names, and a blank.
    fn name(&mut self, to: Memory, names: &[u8], number: VReg) {
        let mut table = Vec::from(names);
        // As many rows as the mask lets through.
        table.resize((names.len() / 4).next_power_of_two() * 4, b'?');
        let (map, at) = self.shared.constant(&table);
        let place = self.known(Constant::MapValue(map, at));
        let row = self.reg();
        self.mov(row, number);
        self.alu(AluOp::And, row, (table.len() / 4) as i32 - 1);
        self.alu(AluOp::Lsh, row, 2);
        self.alu(AluOp::Add, place, row);
        let name = self.load_from(Size::W, Memory { base: Base::Reg(place), off: 0 });
        self.store(Size::W, to, name);
    }

    /// A number below 100, and what follows it.
    fn two_digits(&mut self, to: Memory, number: VReg, then: u8) {
        let ones = self.split(number, 10);
        for (n, digit) in [number, ones].into_iter().enumerate() {
            self.alu(AluOp::Add, digit, i32::from(b'0'));
            self.store(Size::B, to.at(n as u32), digit);
        }
        self.store(Size::B, to.at(2), i32::from(then));
    }
}
