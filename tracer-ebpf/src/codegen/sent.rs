//! Numbers that wait for a record, and nobody else asks for: where there are many, they wait in the scratch slot.
//!
//! What a handler sends of a large structure is read number by number before the record is written. The frame has 512
//! bytes for all that waits.

use alloc::vec;
use alloc::vec::Vec;
use tracer_common::ir::{Arg, Function, Inst, LongOp, Var, Visitor};

/// As many numbers of a record may wait in registers and in the frame.
const FEW: usize = 20;

/// Offset in the scratch slot, from `first` on, of each long register that waits there.
pub(crate) fn homes(function: &Function, first: u32) -> (Vec<Option<u32>>, u32) {
    let count = function.longs as usize;
    let mut homes = vec![None; count];
    // Iterators make functions of their own of what is inside, which share registers with the rest.
    if function.iters > 0 {
        return (homes, first);
    }
    let mut uses = Uses { reads: vec![0; count], early: vec![false; count], entered: !function.has_guard() };
    let mut sent = vec![0u32; count];
    let mut largest = 0;
    for block in &function.blocks {
        for (inst, _) in &block.insts {
            uses.entered |= *inst == Inst::Enter;
            inst.visit(&mut uses);
            if let Inst::Emit { values, .. } = inst {
                let longs = values.iter().filter_map(number);
                largest = largest.max(longs.clone().count());
                longs.for_each(|var| sent[var.index()] += 1);
            }
        }
        block.term.0.visit(&mut uses);
    }
    if largest <= FEW {
        return (homes, first);
    }
    let mut at = first;
    for (n, home) in homes.iter_mut().enumerate() {
        if sent[n] > 0 && sent[n] == uses.reads[n] && !uses.early[n] {
            *home = Some(at);
            at += 8;
        }
    }
    (homes, at)
}

/// The long registers that an instruction writes.
pub(crate) fn written(inst: &Inst) -> Vec<Var> {
    struct Writes(Vec<Var>);
    impl Visitor for Writes {
        fn write_long(&mut self, var: &Var) {
            self.0.push(*var);
        }
    }
    let mut writes = Writes(Vec::new());
    inst.visit(&mut writes);
    writes.0
}

fn number(value: &Arg) -> Option<Var> {
    match value {
        Arg::Long(LongOp::Var(var)) => Some(*var),
        Arg::Long(LongOp::Imm(_)) | Arg::Str(_) => None,
    }
}

struct Uses {
    reads: Vec<u32>,
    /// Written before there is a scratch slot.
    early: Vec<bool>,
    entered: bool,
}

impl Visitor for Uses {
    fn read_long(&mut self, op: &LongOp) {
        if let LongOp::Var(var) = op {
            self.reads[var.index()] += 1;
        }
    }

    fn write_long(&mut self, var: &Var) {
        self.early[var.index()] |= !self.entered;
    }
}
