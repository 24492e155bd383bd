//! A bucket of a histogram, over all CPUs.

use super::super::vcode::{Base, VReg};
use super::{Memory, Result, Selector};
use crate::isa::{AluOp, JumpOp, Size};
use tracer_common::ir::{Element, LongOp, Var};
use tracer_common::record::ErrorKind;
use tracer_common::stat::HistOp;

impl Selector<'_, '_> {
    /// The count of a bucket; an error without values, and where there is no such bucket.
    pub(super) fn bucket(&mut self, dest: Var, hist: HistOp, element: &Element, index: LongOp) -> Result {
        if !self.shared.target.features.lookup_percpu_elem {
            return self.kernel_lacks("read a statistic", "5.19");
        }
        let global = element.global;
        let layout = self.shared.layout.globals[global.index()].clone();
        let (Some(buckets), Some(count)) =
            layout.cell.map_or((None, None), |cell| (cell.buckets, cell.count))
        else {
            panic!("this is a bug: {global} does not keep what a bucket needs (lower::globals)")
        };
        let map = self.map_of(global);
        let key = self.statistic_key(global, &element.keys);
        let (seen, total, bucket) = (self.reg(), self.reg(), self.reg());
        self.constant(seen, 0);
        self.constant(total, 0);
        self.set(bucket, index);
        // An index that does not exist reads the first one, until it is known whether there are values at all.
        let most = hist.buckets() as i32;
        let fine = self.block(false);
        self.jump_if(JumpOp::Lt, bucket, most, fine);
        self.constant(bucket, 0);
        self.jump(fine);
        self.at(fine);
        self.alu(AluOp::Lsh, bucket, 3);
        self.each_cpu(map, key, |s, cell| {
            let memory = |reg: VReg, offset: u32| Memory { base: Base::Reg(reg), off: offset as i32 };
            let here = s.load_from(Size::Dw, memory(cell, count));
            s.alu(AluOp::Add, seen, here);
            let place = s.reg();
            s.mov(place, bucket);
            // Again, where older verifiers see it: the number may have waited in the frame.
            let near = s.block(false);
            s.jump_if(JumpOp::Le, place, (most - 1) * 8, near);
            s.constant(place, 0);
            s.jump(near);
            s.at(near);
            s.alu(AluOp::Add, place, cell);
            let here = s.load_from(Size::Dw, memory(place, buckets));
            s.alu(AluOp::Add, total, here);
        });
        self.raise_if(JumpOp::Eq, seen, 0, ErrorKind::Empty, global.0 as i32);
        let wanted = self.reg();
        self.set(wanted, index);
        self.raise_if(JumpOp::Ge, wanted, most, ErrorKind::HistogramIndex, 0);
        self.mov(self.var(dest), total);
        Ok(())
    }
}
