//! `@variance`: mean and sum of squared deviations in this CPU's cell; reading joins the cells of all CPUs.
//!
//! An update is several loads and stores, so handlers that use such a statistic take its lock (pass 3 sees to it).
//! Rounding is that of `tracer_common::stat`, which is that of SystemTap.

use super::super::vcode::{Base, VReg};
use super::{Memory, Selector};
use crate::isa::{AluOp, JumpOp, Size};
use tracer_common::ir::LongOp;
use tracer_common::layout::CellLayout;
use tracer_common::record::ErrorKind;

/// Count, sum, mean and squares of one or several cells.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    pub(super) count: VReg,
    pub(super) sum: VReg,
    pub(super) mean: VReg,
    pub(super) squares: VReg,
}

/// Whether cells are joined around the mean of all, or one after the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    /// A scalar.
    AtOnce,
    /// An element of an array.
    InTurn,
}

impl Selector<'_, '_> {
    /// Welford's step, after the value was counted.
    pub(super) fn deviate(&mut self, base: VReg, cell: &CellLayout, shift: u8, value: LongOp) {
        let (Some(count), Some(at)) = (cell.count, cell.variance) else {
            panic!("this is a bug: a cell with a variance has a count (layout)")
        };
        let memory = |offset: u32| Memory { base: Base::Reg(base), off: offset as i32 };
        let shifted = self.reg();
        self.set(shifted, value);
        self.alu(AluOp::Lsh, shifted, i32::from(shift));
        let count = self.load_from(Size::Dw, memory(count));
        let (first, after) = (self.block(false), self.block(false));
        self.jump_if(JumpOp::Eq, count, 1, first);
        let mean = self.load_from(Size::Dw, memory(at));
        let (deviation, part) = (self.reg(), self.reg());
        self.mov(deviation, shifted);
        self.alu(AluOp::Sub, deviation, mean);
        self.mov(part, deviation);
        self.quotient(part, count);
        self.alu(AluOp::Add, mean, part);
        self.store(Size::Dw, memory(at), mean);
        self.alu(AluOp::Sub, shifted, mean);
        self.alu(AluOp::Mul, deviation, shifted);
        let squares = self.load_from(Size::Dw, memory(at + 8));
        self.alu(AluOp::Add, squares, deviation);
        self.store(Size::Dw, memory(at + 8), squares);
        self.jump(after);
        self.at(first);
        self.store(Size::Dw, memory(at), shifted);
        self.store(Size::Dw, memory(at + 8), 0);
        self.jump(after);
        self.at(after);
    }

    /// The variance of the cells of all CPUs.
    pub(super) fn variance(
        &mut self,
        dst: VReg,
        (map, key): (u32, Memory),
        cell: &CellLayout,
        (shift, join): (u8, Join),
        global: i32,
    ) {
        let total = if join == Join::AtOnce {
            let total = self.no_moments();
            self.each_cpu(map, key, |s, base| {
                let here = s.moments(base, cell);
                s.alu(AluOp::Add, total.count, here.count);
                s.alu(AluOp::Add, total.sum, here.sum);
            });
            self.raise_if(JumpOp::Eq, total.count, 0, ErrorKind::Empty, global);
            self.mean(total, shift);
            self.each_cpu(map, key, |s, base| {
                let here = s.moments(base, cell);
                let on = s.block(false);
                s.jump_if(JumpOp::Eq, here.count, 0, on);
                s.spread(total, here);
                s.jump(on);
                s.at(on);
            });
            self.degrees(total);
            total
        } else {
            let total = self.joined_cells((map, key), cell, shift);
            self.raise_if(JumpOp::Eq, total.count, 0, ErrorKind::Empty, global);
            total
        };
        let variance = self.shown_variance(total, shift);
        self.mov(dst, variance);
    }

    /// The variance of what was joined, without the shift of its values.
    pub(super) fn shown_variance(&mut self, total: Moments, shift: u8) -> VReg {
        let variance = self.variance_of(total);
        self.alu(AluOp::Arsh, variance, (2 * i32::from(shift)).min(63));
        variance
    }

    /// The cells of all CPUs, joined two at a time.
    pub(super) fn joined_cells(
        &mut self,
        (map, key): (u32, Memory),
        cell: &CellLayout,
        shift: u8,
    ) -> Moments {
        let total = self.no_moments();
        self.each_cpu(map, key, |s, base| {
            let here = s.moments(base, cell);
            s.join(total, here, shift);
        });
        total
    }

    /// Adds a cell to others.
    fn join(&mut self, total: Moments, here: Moments, shift: u8) {
        let (first, on) = (self.block(false), self.block(false));
        self.jump_if(JumpOp::Eq, here.count, 0, on);
        self.jump_if(JumpOp::Eq, total.count, 0, first);
        let before = Moments { count: self.reg(), sum: total.sum, mean: self.reg(), squares: self.reg() };
        self.mov(before.count, total.count);
        self.mov(before.mean, total.mean);
        self.mov(before.squares, total.squares);
        self.alu(AluOp::Add, total.count, here.count);
        self.alu(AluOp::Add, total.sum, here.sum);
        self.mean(total, shift);
        self.constant(total.squares, 0);
        self.spread(total, before);
        self.spread(total, here);
        self.degrees(total);
        self.jump(on);
        self.at(first);
        self.mov(total.count, here.count);
        self.mov(total.sum, here.sum);
        self.mov(total.mean, here.mean);
        self.mov(total.squares, here.squares);
        self.jump(on);
        self.at(on);
    }

    fn no_moments(&mut self) -> Moments {
        let total = Moments { count: self.reg(), sum: self.reg(), mean: self.reg(), squares: self.reg() };
        for zero in [total.count, total.sum, total.mean, total.squares] {
            self.constant(zero, 0);
        }
        total
    }

    fn moments(&mut self, base: VReg, cell: &CellLayout) -> Moments {
        let (Some(count), Some(sum), Some(at)) = (cell.count, cell.sum, cell.variance) else {
            panic!("this is a bug: a cell with a variance has a count and a sum (layout)")
        };
        let mut load =
            |offset: u32| self.load_from(Size::Dw, Memory { base: Base::Reg(base), off: offset as i32 });
        Moments { count: load(count), sum: load(sum), mean: load(at), squares: load(at + 8) }
    }

    /// The mean that the sum gives.
    pub(super) fn mean(&mut self, total: Moments, shift: u8) {
        self.mov(total.mean, total.sum);
        self.alu(AluOp::Lsh, total.mean, i32::from(shift));
        self.quotient(total.mean, total.count);
    }

    /// Adds what a cell varies, in itself and around the mean of all.
    pub(super) fn spread(&mut self, total: Moments, cell: Moments) {
        let (apart, around) = (self.reg(), self.reg());
        self.mov(apart, cell.mean);
        self.alu(AluOp::Sub, apart, total.mean);
        self.mov(around, cell.count);
        self.alu(AluOp::Mul, around, apart);
        self.alu(AluOp::Mul, around, apart);
        self.alu(AluOp::Add, total.squares, around);
        let inside = self.variance_of(cell);
        let degrees = self.reg();
        self.mov(degrees, cell.count);
        self.alu(AluOp::Sub, degrees, 1);
        self.alu(AluOp::Mul, inside, degrees);
        self.alu(AluOp::Add, total.squares, inside);
    }

    /// Drops of the squares what the division by the degrees of freedom leaves over.
    pub(super) fn degrees(&mut self, total: Moments) {
        let degrees = self.reg();
        self.mov(degrees, total.count);
        self.alu(AluOp::Sub, degrees, 1);
        self.quotient(total.squares, degrees);
        self.alu(AluOp::Mul, total.squares, degrees);
    }

    /// Squares by degrees of freedom; 0 for less than two values.
    fn variance_of(&mut self, cell: Moments) -> VReg {
        let (result, degrees, few) = (self.reg(), self.reg(), self.block(false));
        self.constant(result, 0);
        self.jump_if(JumpOp::Slt, cell.count, 2, few);
        self.mov(result, cell.squares);
        self.mov(degrees, cell.count);
        self.alu(AluOp::Sub, degrees, 1);
        self.quotient(result, degrees);
        self.jump(few);
        self.at(few);
        result
    }

    /// `value /= by`, towards zero; the divisor is not negative. Division by 0 gives 0, as the instruction does.
    pub(super) fn quotient(&mut self, value: VReg, by: VReg) {
        let sign = self.reg();
        self.mov(sign, value);
        self.alu(AluOp::Arsh, sign, 63);
        self.alu(AluOp::Xor, value, sign);
        self.alu(AluOp::Sub, value, sign);
        self.alu(AluOp::Div, value, by);
        self.alu(AluOp::Xor, value, sign);
        self.alu(AluOp::Sub, value, sign);
    }
}
