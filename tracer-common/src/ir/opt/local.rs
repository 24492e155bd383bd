//! Within a block: constants and copies are put where registers are read, what is constant is computed, and branches
//! that are decided become jumps.
//!
//! Invariant: an operand never becomes a register that the same instruction writes: code generators may keep the
//! simple case where results and operands differ.

use super::inline::capacity_of;
use super::*;
use crate::intrinsic::Intrinsic;
use alloc::collections::{BTreeMap, BTreeSet};

/// Propagates; tells whether anything changed.
pub(super) fn propagate(function: &mut Function, strings: &[Vec<u8>]) -> bool {
    let mut changed = false;
    for number in 0..function.blocks.len() {
        let mut insts = core::mem::take(&mut function.blocks[number].insts);
        let mut facts = Facts::default();
        for (inst, _) in &mut insts {
            let writes = writes(inst);
            changed |= facts.replace(|replace| inst.visit_mut(replace), &writes);
            if let Some(simpler) = simplify(inst, strings)
                && simpler != *inst
            {
                *inst = simpler;
                changed = true;
            }
            facts.learn(inst, &function.strings, strings);
        }
        let mut term = function.blocks[number].term.0.clone();
        changed |= facts.replace(|replace| term.visit_mut(replace), &[]);
        facts.decide(&mut term, &function.blocks);
        changed |= term != function.blocks[number].term.0;
        function.blocks[number].term.0 = term;
        function.blocks[number].insts = insts;
    }
    changed
}

fn writes(inst: &Inst) -> Vec<Dest> {
    liveness::effects(inst).1
}

/// What is known of registers at a point of a block.
#[derive(Default)]
struct Facts {
    longs: BTreeMap<Var, LongOp>,
    strings: BTreeMap<StrVar, StrOp>,
    /// Registers that tell whether another one is 0: `true` where they are 1 for 0.
    tests: BTreeMap<Var, (Var, bool)>,
    /// Registers that a fact mentions on its right side.
    sources: BTreeSet<Key>,
}

/// A register as a key of a map.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Long(Var),
    Str(StrVar),
}

impl From<Dest> for Key {
    fn from(dest: Dest) -> Key {
        match dest {
            Dest::Long(var) => Key::Long(var),
            Dest::Str(var) => Key::Str(var),
        }
    }
}

impl Facts {
    /// Lets an instruction read what its operands are known to be.
    fn replace(&self, visit: impl FnOnce(&mut Replace<'_>), writes: &[Dest]) -> bool {
        let mut replace = Replace { facts: self, writes, changed: false };
        visit(&mut replace);
        replace.changed
    }

    fn forget(&mut self, register: Dest) {
        match register {
            Dest::Long(var) => {
                self.longs.remove(&var);
                self.tests.remove(&var);
            }
            Dest::Str(var) => {
                self.strings.remove(&var);
            }
        }
        // Looking through all facts is worth it only where one mentions the register.
        if self.sources.remove(&register.into()) {
            match register {
                Dest::Long(var) => {
                    self.longs.retain(|_, value| *value != LongOp::Var(var));
                    self.tests.retain(|_, (tested, _)| *tested != var);
                }
                Dest::Str(var) => self.strings.retain(|_, value| *value != StrOp::Var(var)),
            }
        }
    }

    fn mention(&mut self, register: Dest) {
        self.sources.insert(register.into());
    }

    fn learn(&mut self, inst: &Inst, capacities: &[u16], strings: &[Vec<u8>]) {
        for register in writes(inst) {
            self.forget(register);
        }
        match inst {
            Inst::Copy { dest, value } if *value != LongOp::Var(*dest) => {
                self.longs.insert(*dest, *value);
                if let LongOp::Var(var) = value {
                    self.mention(Dest::Long(*var));
                }
            }
            Inst::StrCopy { dest, value } if *value != StrOp::Var(*dest) => {
                // A copy that may cut is another string.
                let room = capacities.get(dest.index()).map_or(0, |capacity| usize::from(*capacity));
                if capacity_of(value, capacities, strings) <= room {
                    self.strings.insert(*dest, *value);
                    if let StrOp::Var(var) = value {
                        self.mention(Dest::Str(*var));
                    }
                }
            }
            Inst::Cmp {
                op: op @ (CmpOp::Eq | CmpOp::Ne),
                dest,
                left: LongOp::Var(tested),
                right: LongOp::Imm(0),
            } if tested != dest => {
                self.tests.insert(*dest, (*tested, *op == CmpOp::Eq));
                self.mention(Dest::Long(*tested));
            }
            _ => {}
        }
    }

    /// Decides branches whose condition is known, here and in empty blocks behind a jump.
    fn decide(&self, term: &mut Term, blocks: &[BlockData]) {
        self.decide_one(term);
        for _ in 0..blocks.len() {
            let Term::Jump(to) = *term else { break };
            let Some(next) = blocks.get(to.index()) else { break };
            if !next.insts.is_empty() {
                break;
            }
            // Only a branch that becomes a jump is worth it: another one would be doubled.
            let Term::Branch { condition, .. } = &next.term.0 else { break };
            let known = match condition {
                LongOp::Imm(_) => true,
                LongOp::Var(var) => matches!(self.longs.get(var), Some(LongOp::Imm(_))),
            };
            if !known {
                break;
            }
            let mut ahead = next.term.0.clone();
            self.replace(|replace| ahead.visit_mut(replace), &[]);
            self.decide_one(&mut ahead);
            *term = ahead;
        }
    }

    fn decide_one(&self, term: &mut Term) {
        if let Term::Branch { condition: LongOp::Var(var), then, otherwise } = term
            && let Some((tested, for_zero)) = self.tests.get(var)
        {
            let (then, otherwise) = if *for_zero { (*otherwise, *then) } else { (*then, *otherwise) };
            *term = Term::Branch { condition: LongOp::Var(*tested), then, otherwise };
        }
        if let Term::Branch { condition: LongOp::Imm(value), then, otherwise } = *term {
            *term = Term::Jump(if value != 0 { then } else { otherwise });
        }
    }
}

/// Puts known values where registers are read.
struct Replace<'f> {
    facts: &'f Facts,
    /// Registers that the instruction writes.
    writes: &'f [Dest],
    changed: bool,
}

impl VisitorMut for Replace<'_> {
    fn read_long(&mut self, op: &mut LongOp) {
        if let LongOp::Var(var) = op
            && let Some(value) = self.facts.longs.get(var)
            && !matches!(value, LongOp::Var(var) if self.writes.contains(&Dest::Long(*var)))
        {
            *op = *value;
            self.changed = true;
        }
    }
    fn read_str(&mut self, op: &mut StrOp) {
        if let StrOp::Var(var) = op
            && let Some(value) = self.facts.strings.get(var)
            && !matches!(value, StrOp::Var(var) if self.writes.contains(&Dest::Str(*var)))
        {
            *op = *value;
            self.changed = true;
        }
    }
}

/// A simpler instruction with the same effect.
fn simplify(inst: &Inst, strings: &[Vec<u8>]) -> Option<Inst> {
    let text = |op: &StrOp| match op {
        StrOp::Lit(id) => strings.get(id.index()).map(Vec::as_slice),
        StrOp::Var(_) => None,
    };
    let copy = |dest: &Var, value: LongOp| Some(Inst::Copy { dest: *dest, value });
    match inst {
        Inst::Bin { op, dest, left: LongOp::Imm(left), right: LongOp::Imm(right) } => {
            op.apply(*left, *right).and_then(|value| copy(dest, LongOp::Imm(value)))
        }
        // Constants go to the right, where machines have them.
        Inst::Bin {
            op: op @ (BinOp::Add | BinOp::Mul | BinOp::And | BinOp::Or | BinOp::Xor),
            dest,
            left: left @ LongOp::Imm(_),
            right: right @ LongOp::Var(_),
        } => Some(Inst::Bin { op: *op, dest: *dest, left: *right, right: *left }),
        Inst::Bin { op, dest, left, right: LongOp::Imm(right) } => match (op, right) {
            (BinOp::Add | BinOp::Sub | BinOp::Or | BinOp::Xor | BinOp::Shl | BinOp::Sar | BinOp::Shr, 0)
            | (BinOp::Mul | BinOp::Div, 1)
            | (BinOp::And, -1) => copy(dest, *left),
            (BinOp::Mul | BinOp::And, 0) | (BinOp::Rem, 1 | -1) => copy(dest, LongOp::Imm(0)),
            _ => None,
        },
        Inst::Cmp { op, dest, left: LongOp::Imm(left), right: LongOp::Imm(right) } => {
            copy(dest, LongOp::Imm(op.apply(left, right).into()))
        }
        Inst::Cmp { op, dest, left, right } if left == right => {
            copy(dest, LongOp::Imm(op.apply(&0, &0).into()))
        }
        Inst::Extend { dest, value: LongOp::Imm(value), width } => {
            copy(dest, LongOp::Imm(width.apply(*value)))
        }
        Inst::Extend { dest, value, width: Width { bytes: 8, .. } } => copy(dest, *value),
        Inst::StrCmp { op, dest, left, right } => {
            let equal = left == right;
            let known = match (text(left), text(right)) {
                (Some(left), Some(right)) => Some(op.apply(left, right)),
                _ => equal.then(|| op.apply(&0, &0)),
            };
            known.and_then(|value| copy(dest, LongOp::Imm(value.into())))
        }
        Inst::StrConcat { dest, left, right } => match (text(left), text(right)) {
            (Some(b""), _) => Some(Inst::StrCopy { dest: *dest, value: *right }),
            (_, Some(b"")) => Some(Inst::StrCopy { dest: *dest, value: *left }),
            _ => None,
        },
        Inst::Call { intrinsic: Intrinsic::Strlen, dest: Some(Dest::Long(dest)), args } => {
            match args.as_slice() {
                [Arg::Str(op)] => text(op).and_then(|text| copy(dest, LongOp::Imm(text.len() as i64))),
                _ => None,
            }
        }
        _ => None,
    }
}
