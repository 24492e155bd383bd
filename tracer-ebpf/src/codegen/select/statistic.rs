//! `<<<`: this CPU's cell of a statistic.
//!
//! Additions are atomic instructions: shorter than load, add, store, and right even when another program interrupts
//! this one on the same CPU.

use super::super::vcode::{Base, VInsn, VReg};
use super::{Memory, Result, Selector};
use crate::isa::{AluOp, AtomicOp, JumpOp, Size};
use tracer_common::ir::{Element, GlobalTy, LongOp};
use tracer_common::layout::Home;
use tracer_common::stat::{HistOp, LOG_BUCKETS, LOG_ZERO, linear_buckets};

impl Selector<'_, '_> {
    pub(super) fn aggregate(&mut self, element: &Element, value: LongOp) -> Result {
        let global = element.global;
        let layout = &self.shared.layout.globals[global.index()];
        let Some(cell) = layout.cell.clone() else {
            panic!("this is a bug: <<< on {global}, which is no statistic (ir::verify)")
        };
        let GlobalTy::Stats(fields) = self.shared.module.globals[global.index()].ty else {
            panic!("this is a bug: {global} has a cell but is no statistic")
        };
        if fields.variance.is_some() {
            return self.unsupported("@variance");
        }
        let after = self.block(false);
        let base = match layout.home {
            Home::StatScalar { map } => {
                let base = self.lookup_first(map);
                self.jump_if(JumpOp::Eq, base, 0, after);
                base
            }
            _ => self.find_or_insert(global, &element.keys),
        };
        if let (Some(_), Some(count)) = (cell.min.or(cell.max), cell.count) {
            self.extremes(base, &cell, count, value);
        }
        if let Some(sum) = cell.sum {
            let src = self.reg();
            self.set(src, value);
            self.push(VInsn::Atomic { op: AtomicOp::Add, fetch: false, base, off: sum as i32, src });
        }
        if let Some(count) = cell.count {
            self.add_one(base, count);
        }
        if let (Some(buckets), Some(hist)) = (cell.buckets, fields.hist) {
            let index = match hist {
                HistOp::Log => self.log_bucket(value),
                HistOp::Linear { low, high, width } => self.linear_bucket(value, low, high, width),
            };
            self.alu(AluOp::Lsh, index, 3);
            self.alu(AluOp::Add, index, base);
            self.add_one(index, buckets);
        }
        self.jump(after);
        self.at(after);
        Ok(())
    }

    fn add_one(&mut self, base: VReg, offset: u32) {
        let src = self.known(super::Constant::Number(1));
        self.push(VInsn::Atomic { op: AtomicOp::Add, fetch: false, base, off: offset as i32, src });
    }

    /// Minimum and maximum: the first value sets both.
    fn extremes(&mut self, base: VReg, cell: &tracer_common::layout::CellLayout, count: u32, value: LongOp) {
        let value = self.read(value);
        let memory = |offset: u32| Memory { base: Base::Reg(base), off: offset as i32 };
        let (first, on) = (self.block(false), self.block(false));
        let seen = self.load_from(Size::Dw, memory(count));
        self.jump_if(JumpOp::Eq, seen, 0, first);
        for (offset, op) in [(cell.min, JumpOp::Sle), (cell.max, JumpOp::Sge)] {
            let Some(offset) = offset else { continue };
            let next = self.block(false);
            let known = self.load_from(Size::Dw, memory(offset));
            self.jump_if(op, known, value, next);
            self.store(Size::Dw, memory(offset), value);
            self.jump(next);
            self.at(next);
        }
        self.jump(on);
        self.at(first);
        for offset in [cell.min, cell.max].into_iter().flatten() {
            self.store(Size::Dw, memory(offset), value);
        }
        self.jump(on);
        self.at(on);
    }

    /// The bucket of `@hist_log`, as `stat::log_bucket`: the number of bits by halving, counted up from zero for
    /// positive values and down for negative ones.
    fn log_bucket(&mut self, value: LongOp) -> VReg {
        let rest = self.reg();
        self.set(rest, value);
        let index = self.reg();
        self.constant(index, 0);
        let (negative, magnitude, counted) = (self.block(false), self.block(false), self.block(false));
        let sign = self.reg();
        self.constant(sign, 0);
        self.jump_if(JumpOp::Slt, rest, 0, negative);
        self.jump_if(JumpOp::Eq, rest, 0, counted);
        self.jump(magnitude);
        self.at(negative);
        self.alu(AluOp::Neg, rest, 0);
        self.constant(sign, 1);
        self.jump(magnitude);
        self.at(magnitude);
        for bits in [32, 16, 8, 4, 2, 1] {
            let small = self.block(false);
            if bits == 32 {
                let upper = self.reg();
                self.mov(upper, rest);
                self.alu(AluOp::Rsh, upper, 32);
                self.jump_if(JumpOp::Eq, upper, 0, small);
                self.mov(rest, upper);
            } else {
                self.jump_if(JumpOp::Lt, rest, 1i32 << bits, small);
                if bits > 1 {
                    self.alu(AluOp::Rsh, rest, bits);
                }
            }
            self.alu(AluOp::Add, index, bits);
            self.jump(small);
            self.at(small);
        }
        self.alu(AluOp::Add, index, 1);
        let positive = self.block(false);
        self.jump_if(JumpOp::Eq, sign, 0, positive);
        self.alu(AluOp::Neg, index, 0);
        self.jump(positive);
        self.at(positive);
        self.jump(counted);
        self.at(counted);
        self.alu(AluOp::Add, index, LOG_ZERO as i32);
        self.bound(index, LOG_BUCKETS as i32 - 1);
        index
    }

    /// The bucket of `@hist_linear`, as `stat::linear_bucket`.
    fn linear_bucket(&mut self, value: LongOp, low: i64, high: i64, width: i64) -> VReg {
        let last = linear_buckets(low, high, width) as i32 - 1;
        let index = self.reg();
        self.set(index, value);
        let (under, done) = (self.block(false), self.block(false));
        let low = self.source(LongOp::Imm(low));
        self.jump_if(JumpOp::Slt, index, low, under);
        self.alu(AluOp::Sub, index, low);
        if width != 1 {
            let width = self.source(LongOp::Imm(width));
            self.alu(AluOp::Div, index, width);
        }
        self.alu(AluOp::Add, index, 1);
        self.bound(index, last);
        self.jump(done);
        self.at(under);
        self.constant(index, 0);
        self.jump(done);
        self.at(done);
        index
    }

    /// Makes an index at most `last`, as the verifier must see.
    fn bound(&mut self, index: VReg, last: i32) {
        let fine = self.block(false);
        self.jump_if(JumpOp::Le, index, last, fine);
        self.constant(index, last);
        self.jump(fine);
        self.at(fine);
    }
}
