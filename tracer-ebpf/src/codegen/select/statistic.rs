//! `<<<`: this CPU's cell of a statistic; extracted numbers: the cells of all CPUs.
//!
//! Additions are atomic instructions: shorter than load, add, store, and right even when another program interrupts
//! this one on the same CPU.

use super::super::vcode::{Base, Constant, VInsn, VReg};
use super::variance::Join;
use super::{Memory, Result, Selector};
use crate::isa::{AluOp, AtomicOp, Helper, JumpOp, Size};
use alloc::vec::Vec;
use tracer_common::ir::{Arg, Element, GlobalId, GlobalTy, Key, LongOp, Var};
use tracer_common::layout::{CellLayout, Home};
use tracer_common::record::ErrorKind;
use tracer_common::stat::{HistOp, LOG_BUCKETS, LOG_ZERO, StatOp, linear_buckets};

/// Every pattern of six bits once; with seven, also the product of 0 differs from all others.
const DE_BRUIJN: u64 = 0x03f7_9d71_b4cb_0a89;

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
        let after = self.block(false);
        let base = match layout.home {
            Home::StatScalar { map } => {
                let base = self.lookup_first(map);
                self.jump_if(JumpOp::Eq, base, 0, after);
                base
            }
            _ => self.find_or_insert(global, &element.keys)?,
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
        if let Some(shift) = fields.variance {
            self.deviate(base, &cell, shift, value);
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

    /// Runs code for the cell of each CPU that has one; the code may not leave the loop.
    pub(super) fn each_cpu(&mut self, map: u32, key: Memory, body: impl FnOnce(&mut Self, VReg)) {
        let cpu = self.reg();
        self.constant(cpu, 0);
        let (again, next, done) = (self.block(false), self.block(false), self.block(false));
        self.jump(again);
        self.at(again);
        let key = self.address(key);
        let map = Constant::Map(map);
        let cell = self.call_for(Helper::MapLookupPercpuElem, &[map.into(), key, cpu.into()]);
        self.jump_if(JumpOp::Eq, cell, 0, next);
        body(self, cell);
        self.jump(next);
        self.at(next);
        self.alu(AluOp::Add, cpu, 1);
        self.jump_if(JumpOp::Lt, cpu, self.shared.target.cpus as i32, again);
        self.jump(done);
        self.at(done);
    }

    /// The key of a statistic's cells: that of its element, or the only one of a map with one entry.
    pub(super) fn statistic_key(&mut self, global: GlobalId, keys: &[Arg]) -> Memory {
        if !matches!(self.shared.layout.globals[global.index()].home, Home::StatScalar { .. }) {
            return self.key(global, keys);
        }
        let key = self.temporary(8);
        self.store(Size::W, key, 0);
        key
    }

    /// An extracted number: the cells of all CPUs together.
    pub(super) fn stat(&mut self, dest: Var, op: StatOp, global: GlobalId, keys: &[Key]) -> Result {
        if !self.shared.target.features.lookup_percpu_elem {
            return self.kernel_lacks("read a statistic", "5.19");
        }
        if keys.iter().any(Option::is_none) {
            return self.stat_slice(dest, op, global, keys);
        }
        let layout = self.shared.layout.globals[global.index()].clone();
        let Some(cell) = layout.cell else {
            panic!("this is a bug: a number of {global}, which is no statistic (ir::verify)")
        };
        let map = self.map_of(global);
        let keys: Vec<Arg> = keys.iter().flatten().copied().collect();
        let key = self.statistic_key(global, &keys);
        if op == StatOp::Variance {
            let shift = self.shift(global);
            let join = if keys.is_empty() { Join::AtOnce } else { Join::InTurn };
            let dst = self.var(dest);
            self.variance(dst, (map, key), &cell, (shift, join), global.0 as i32);
            return Ok(());
        }
        let (seen, total) = (self.reg(), self.reg());
        self.constant(seen, 0);
        self.constant(total, 0);
        self.add_cells(op, global, (map, key), (seen, total));
        let dst = self.var(dest);
        match op {
            StatOp::Count => self.mov(dst, seen),
            StatOp::Sum => self.mov(dst, total),
            _ => {
                self.raise_if(JumpOp::Eq, seen, 0, ErrorKind::Empty, global.0 as i32);
                if op == StatOp::Avg {
                    self.quotient(total, seen);
                }
                self.mov(dst, total);
            }
        }
        Ok(())
    }

    /// How the values of a statistic are shifted for its variance.
    pub(super) fn shift(&self, global: GlobalId) -> u8 {
        let GlobalTy::Stats(fields) = &self.shared.module.globals[global.index()].ty else {
            panic!("this is a bug: a number of {global}, which is no statistic (ir::verify)")
        };
        fields.variance.unwrap_or(0)
    }

    pub(super) fn cell_of(&self, global: GlobalId) -> CellLayout {
        let Some(cell) = self.shared.layout.globals[global.index()].cell.clone() else {
            panic!("this is a bug: a number of {global}, which is no statistic (ir::verify)")
        };
        cell
    }

    /// Adds the cells of all CPUs to what was seen before: how many values, and what the number asks for.
    pub(super) fn add_cells(
        &mut self,
        op: StatOp,
        global: GlobalId,
        (map, key): (u32, Memory),
        (seen, total): (VReg, VReg),
    ) {
        let cell = self.cell_of(global);
        let (count, extreme) = match op {
            StatOp::Count => (cell.count, None),
            StatOp::Sum | StatOp::Avg => (cell.count.filter(|_| op == StatOp::Avg), cell.sum),
            StatOp::Min => (cell.count, cell.min),
            StatOp::Max => (cell.count, cell.max),
            StatOp::Variance => (cell.count, cell.variance),
        };
        if (op != StatOp::Sum && count.is_none()) || (op != StatOp::Count && extreme.is_none()) {
            panic!("this is a bug: {global} does not keep what {op:?} needs (sema)");
        }
        self.each_cpu(map, key, |s, cell| {
            let memory = |offset: u32| Memory { base: Base::Reg(cell), off: offset as i32 };
            let on = s.block(false);
            let here = count.map(|offset| s.load_from(Size::Dw, memory(offset)));
            if let Some(offset) = extreme {
                if let Some(here) = here {
                    s.jump_if(JumpOp::Eq, here, 0, on);
                }
                let value = s.load_from(Size::Dw, memory(offset));
                match op {
                    StatOp::Min | StatOp::Max => {
                        let take = s.block(false);
                        let keep = s.block(false);
                        s.jump_if(JumpOp::Eq, seen, 0, take);
                        let better = if op == StatOp::Min { JumpOp::Sle } else { JumpOp::Sge };
                        s.jump_if(better, total, value, keep);
                        s.jump(take);
                        s.at(take);
                        s.mov(total, value);
                        s.jump(keep);
                        s.at(keep);
                    }
                    _ => s.alu(AluOp::Add, total, value),
                }
            }
            if let Some(here) = here {
                s.alu(AluOp::Add, seen, here);
            }
            s.jump(on);
            s.at(on);
        });
    }

    /// Forgets all values of a statistic that is no array.
    pub(super) fn clear_statistic(&mut self, global: GlobalId, map: u32) -> Result {
        if !self.shared.target.features.lookup_percpu_elem {
            return self.kernel_lacks("delete a statistic", "5.19");
        }
        let size = self.shared.layout.globals[global.index()].value_size;
        let key = self.statistic_key(global, &[]);
        self.each_cpu(map, key, |s, cell| s.store_zeros(Memory { base: Base::Reg(cell), off: 0 }, size));
        Ok(())
    }

    fn add_one(&mut self, base: VReg, offset: u32) {
        let src = self.known(Constant::Number(1));
        self.push(VInsn::Atomic { op: AtomicOp::Add, fetch: false, base, off: offset as i32, src });
    }

    /// Minimum and maximum: the first value sets both.
    fn extremes(&mut self, base: VReg, cell: &CellLayout, count: u32, value: LongOp) {
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

    /// The bucket of `@hist_log`, as `stat::log_bucket`, without a branch: branches would double the verifier's work
    /// with every bit, and again with every further `<<<` of the handler.
    ///
    /// All bits below the highest are set, then a multiplication brings a number that tells the 65 cases apart into
    /// the upper seven bits (a de Bruijn sequence), and a table of constants turns it into the number of bits.
    fn log_bucket(&mut self, value: LongOp) -> VReg {
        let (bits, sign) = (self.reg(), self.reg());
        self.set(bits, value);
        self.mov(sign, bits);
        self.alu(AluOp::Arsh, sign, 63);
        self.alu(AluOp::Xor, bits, sign);
        self.alu(AluOp::Sub, bits, sign);
        for shift in [1, 2, 4, 8, 16, 32] {
            let upper = self.reg();
            self.mov(upper, bits);
            self.alu(AluOp::Rsh, upper, shift);
            self.alu(AluOp::Or, bits, upper);
        }
        let sequence = self.known(Constant::Number(DE_BRUIJN as i64));
        self.alu(AluOp::Mul, bits, sequence);
        self.alu(AluOp::Rsh, bits, 57);
        let mut table = [0u8; 128];
        for count in 0..=64u32 {
            let filled = u64::MAX.checked_shr(64 - count).unwrap_or(0);
            table[(filled.wrapping_mul(DE_BRUIJN) >> 57) as usize] = count as u8;
        }
        let (map, at) = self.shared.constant(&table);
        let place = self.known(Constant::MapValue(map, at));
        self.alu(AluOp::Add, place, bits);
        let index = self.load_from(Size::B, Memory { base: Base::Reg(place), off: 0 });
        self.alu(AluOp::Xor, index, sign);
        self.alu(AluOp::Sub, index, sign);
        self.alu(AluOp::Add, index, LOG_ZERO as i32);
        self.alu(AluOp::And, index, LOG_BUCKETS as i32 - 1);
        index
    }

    /// The bucket of `@hist_linear`, as `stat::linear_bucket`.
    fn linear_bucket(&mut self, value: LongOp, low: i64, high: i64, width: i64) -> VReg {
        let last = linear_buckets(low, high, width) as i32 - 1;
        let index = self.reg();
        self.set(index, value);
        let (under, done) = (self.block(false), self.block(false));
        let from = self.source(LongOp::Imm(low));
        self.jump_if(JumpOp::Slt, index, from, under);
        if low != 0 {
            self.alu(AluOp::Sub, index, from);
        }
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
