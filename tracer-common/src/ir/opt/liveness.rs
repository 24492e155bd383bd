//! Which registers may be read later, at the entry of each block.
//!
//! An instruction that can raise may go to the catch block before it writes, so what the catch block reads is live
//! there.

use super::*;
use alloc::vec;

/// A set of registers: longs first, strings behind them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Registers {
    words: Vec<u64>,
    longs: u32,
}

impl Registers {
    fn new(function: &Function) -> Registers {
        let count = function.longs as usize + function.strings.len();
        Registers { words: vec![0; count.div_ceil(64)], longs: function.longs }
    }

    fn number(&self, register: Dest) -> usize {
        match register {
            Dest::Long(var) => var.index(),
            Dest::Str(var) => self.longs as usize + var.index(),
        }
    }

    pub(super) fn contains(&self, register: Dest) -> bool {
        let number = self.number(register);
        self.words.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    pub(super) fn insert(&mut self, register: Dest) {
        let number = self.number(register);
        if let Some(word) = self.words.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    fn remove(&mut self, register: Dest) {
        let number = self.number(register);
        if let Some(word) = self.words.get_mut(number / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    fn add(&mut self, other: &Registers) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }
}

/// What a step reads and writes.
struct Step {
    reads: Vec<Dest>,
    writes: Vec<Dest>,
}

impl Visitor for Step {
    fn read_long(&mut self, op: &LongOp) {
        if let LongOp::Var(var) = op {
            self.reads.push(Dest::Long(*var));
        }
    }
    fn read_str(&mut self, op: &StrOp) {
        if let StrOp::Var(var) = op {
            self.reads.push(Dest::Str(*var));
        }
    }
    fn write_long(&mut self, var: &Var) {
        self.writes.push(Dest::Long(*var));
    }
    fn write_str(&mut self, var: &StrVar) {
        self.writes.push(Dest::Str(*var));
    }
}

/// The registers that an instruction reads, and those that it writes.
pub(super) fn effects(inst: &Inst) -> (Vec<Dest>, Vec<Dest>) {
    let mut step = Step { reads: Vec::new(), writes: Vec::new() };
    inst.visit(&mut step);
    (step.reads, step.writes)
}

/// Live registers of a function.
pub(super) struct Liveness {
    /// At the entry of each block; empty when the function is too large to tell.
    entry: Vec<Registers>,
    known: bool,
}

impl Liveness {
    /// Computes it, by going over the blocks until nothing changes.
    pub(super) fn of(function: &Function) -> Liveness {
        // Above so many bits, the memory for the sets is out of proportion.
        const MOST: usize = 1 << 28;
        let registers = function.longs as usize + function.strings.len();
        if registers.saturating_mul(function.blocks.len()) > MOST {
            return Liveness { entry: Vec::new(), known: false };
        }
        let mut liveness =
            Liveness { entry: vec![Registers::new(function); function.blocks.len()], known: true };
        // Blocks whose entry may still grow, and those that must then be looked at again.
        let mut before = vec![Vec::new(); function.blocks.len()];
        for (number, block) in function.blocks.iter().enumerate() {
            for next in block.term.0.successors().chain(block.catch) {
                before[next.index()].push(number);
            }
        }
        let mut pending: Vec<usize> = (0..function.blocks.len()).collect();
        let mut waiting = vec![true; function.blocks.len()];
        while let Some(number) = pending.pop() {
            waiting[number] = false;
            let block = &function.blocks[number];
            let mut live = liveness.after(function, number);
            for (inst, _) in block.insts.iter().rev() {
                liveness.step(block, inst, &mut live);
            }
            if live != liveness.entry[number] {
                liveness.entry[number] = live;
                for earlier in &before[number] {
                    if !core::mem::replace(&mut waiting[*earlier], true) {
                        pending.push(*earlier);
                    }
                }
            }
        }
        liveness
    }

    /// Whether there was room to compute it.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// Live before the end of a block.
    pub(super) fn after(&self, function: &Function, number: usize) -> Registers {
        let block = &function.blocks[number];
        let mut live = Registers::new(function);
        for next in block.term.0.successors() {
            live.add(&self.entry[next.index()]);
        }
        let mut step = Step { reads: Vec::new(), writes: Vec::new() };
        block.term.0.visit(&mut step);
        for register in step.writes {
            live.remove(register);
        }
        for register in step.reads {
            live.insert(register);
        }
        if matches!(block.term.0, Term::Raise(_)) {
            self.add_catch(block, &mut live);
        }
        live
    }

    /// From live after an instruction to live before it.
    pub(super) fn step(&self, block: &BlockData, inst: &Inst, live: &mut Registers) {
        let (reads, writes) = effects(inst);
        for register in writes {
            live.remove(register);
        }
        for register in reads {
            live.insert(register);
        }
        if inst.can_raise() {
            self.add_catch(block, live);
        }
    }

    fn add_catch(&self, block: &BlockData, live: &mut Registers) {
        if let Some(catch) = block.catch {
            live.add(&self.entry[catch.index()]);
        }
    }

    /// The registers that may be read before they are written, parameters included.
    pub(super) fn at_entry(&self, function: &Function) -> Vec<Dest> {
        let longs = (0..function.longs).map(|n| Dest::Long(Var(n)));
        let strings = (0..function.strings.len() as u32).map(|n| Dest::Str(StrVar(n)));
        let entry = self.entry.first();
        longs.chain(strings).filter(|r| entry.is_none_or(|live| live.contains(*r))).collect()
    }
}
