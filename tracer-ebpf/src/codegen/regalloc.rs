//! Register allocation: colouring of the interference graph, with moves as wishes.
//!
//! Ten colours, r0 to r9; a call takes r0 to r5 away from everything that lives across it. A register that is made by
//! one constant is made again where it is used instead of being kept (rematerialised) when colours run out; anything
//! else goes to an eight-byte slot of the frame. Rounds repeat until all registers have a colour.
//!
//! Reference: Briggs, Cooper, Torczon, "Improvements to graph coloring register allocation" (optimistic colouring).
//!
//! **Not here:** offsets in the frame (`frame`), code layout (`emit`).

use super::liveness::{Liveness, RegSet, backwards};
use super::share::share;
use super::vcode::{Base, Constant, MACHINE, Slot, SlotInfo, VCode, VInsn, VReg, VSrc};
use crate::isa::{AluOp, Reg, Size};
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

/// Gives up after so many rounds of spilling: each round only shortens lives, so this is never reached in practice.
const ROUNDS: usize = 40;

/// The colour of each register, or `None` when colouring does not end.
pub(crate) fn allocate(code: &mut VCode) -> Option<Vec<Reg>> {
    // Registers made by spilling are short-lived; spilling them again would not help.
    let mut unspillable = BTreeSet::new();
    let slots = code.slots.len();
    merge_blocks(code);
    fold_constants(code);
    for _ in 0..ROUNDS {
        remove_dead(code);
        let graph = Graph::new(code);
        match graph.colour(code, &unspillable) {
            Ok(colours) => {
                share(code, slots);
                return Some(colours);
            }
            Err(spills) => {
                let first_new = code.registers;
                spill(code, &spills);
                unspillable.extend((first_new..code.registers).map(VReg));
            }
        }
    }
    None
}

/// Appends blocks that are reached in one way only to the block that jumps to them.
fn merge_blocks(code: &mut VCode) {
    for block in &mut code.blocks {
        let end = |(insn, _): &(VInsn, _)| matches!(insn, VInsn::Jump { .. } | VInsn::Exit(_));
        if let Some(end) = block.insns.iter().position(end) {
            block.insns.truncate(end + 1);
        }
    }
    let mut ways = vec![0u32; code.blocks.len()];
    let mut reached = vec![false; code.blocks.len()];
    let mut work = vec![0];
    while let Some(n) = work.pop() {
        if core::mem::replace(&mut reached[n], true) {
            continue;
        }
        for next in code.blocks[n].successors() {
            ways[next.0 as usize] += 1;
            work.push(next.0 as usize);
        }
    }
    for (n, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
        while let Some((VInsn::Jump { to }, _)) = code.blocks[n].insns.last() {
            let next = to.0 as usize;
            let (here, there) = (&code.blocks[n], &code.blocks[next]);
            let alike = here.depth == there.depth && here.cold == there.cold;
            // Where cold code is to fall through, the branch to it must stay the last of its block.
            let to_cold = matches!(here.insns.iter().rev().nth(1), Some((VInsn::JumpIf { to, .. }, _))
                if code.blocks[to.0 as usize].cold && code.cold_falls_through(here));
            if to_cold || next == n || next == 0 || ways[next] != 1 || !alike {
                break;
            }
            let more = core::mem::take(&mut code.blocks[next].insns);
            code.blocks[n].insns.pop();
            code.blocks[n].insns.extend(more);
        }
    }
}

/// Puts constants that fit an instruction into it, where a register has one definition and that is a constant.
fn fold_constants(code: &mut VCode) {
    let mut known: Vec<Option<Option<i32>>> = vec![None; code.registers as usize];
    for (insn, _) in code.blocks.iter().flat_map(|block| &block.insns) {
        let value = match insn {
            VInsn::Constant { value: Constant::Number(n), .. } => i32::try_from(*n).ok(),
            _ => None,
        };
        insn.defs(|def| {
            let slot = &mut known[def.0 as usize];
            *slot = Some(if slot.is_none() { value } else { None });
        });
    }
    let fold = |src: &mut VSrc| {
        if let VSrc::Reg(reg) = src
            && reg.0 >= MACHINE
            && let Some(Some(imm)) = known[reg.0 as usize]
        {
            *src = VSrc::Imm(imm);
        }
    };
    for (insn, _) in code.blocks.iter_mut().flat_map(|block| &mut block.insns) {
        match insn {
            VInsn::Alu { op: AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, src, .. } => {
                fold(src);
                // A register is taken modulo 64 when the program runs; as a number, verifiers refuse more.
                if let VSrc::Imm(count) = src {
                    *count &= 63;
                }
            }
            // Nor do they take a division by the number 0, even where it is never reached.
            VInsn::Alu { op: AluOp::Div | AluOp::Mod, src, .. } => {
                let before = *src;
                fold(src);
                if *src == VSrc::Imm(0) {
                    *src = before;
                }
            }
            VInsn::Alu { src, .. } | VInsn::Store { src, .. } | VInsn::JumpIf { right: src, .. } => fold(src),
            VInsn::Move { dst, src } => {
                if src.0 >= MACHINE
                    && let Some(Some(imm)) = known[src.0 as usize]
                {
                    *insn = VInsn::Constant { dst: *dst, value: Constant::Number(i64::from(imm)) };
                }
            }
            _ => {}
        }
    }
}

/// Removes instructions whose results nobody reads.
fn remove_dead(code: &mut VCode) {
    loop {
        let liveness = Liveness::new(code);
        let mut removed = false;
        for block in &mut code.blocks {
            let mut live = RegSet::new(code.registers);
            let mut kept = Vec::with_capacity(block.insns.len());
            for (insn, place) in block.insns.drain(..).rev() {
                let mut wanted = !insn.is_pure();
                insn.defs(|reg| wanted |= live.contains(reg));
                if wanted {
                    backwards(&mut live, &insn, &liveness.before);
                    kept.push((insn, place));
                } else {
                    removed = true;
                }
            }
            kept.reverse();
            block.insns = kept;
        }
        if !removed {
            break;
        }
    }
}

struct Graph {
    neighbours: Vec<RegSet>,
    /// Pairs that a move would like to have the same colour.
    moves: Vec<Vec<VReg>>,
    /// Uses and definitions, weighted by loop depth.
    weight: Vec<u64>,
    /// Made by one constant only.
    constant: Vec<Option<Constant>>,
    used: Vec<bool>,
}

impl Graph {
    fn new(code: &VCode) -> Graph {
        let count = code.registers as usize;
        let mut graph = Graph {
            neighbours: vec![RegSet::new(code.registers); count],
            moves: vec![Vec::new(); count],
            weight: vec![0; count],
            constant: vec![None; count],
            used: vec![false; count],
        };
        let mut definitions = vec![0u32; count];
        let liveness = Liveness::new(code);
        for block in &code.blocks {
            let cost = 10u64.pow(block.depth.min(4)) * if block.cold { 1 } else { 4 };
            let mut live = RegSet::new(code.registers);
            for (insn, _) in block.insns.iter().rev() {
                // What is live after the instruction.
                match insn {
                    VInsn::Jump { .. } => {}
                    VInsn::JumpIf { to, .. } | VInsn::MayGoto { to } => {
                        live.union(&liveness.before[to.0 as usize]);
                    }
                    _ => {}
                }
                let moved = if let VInsn::Move { src, .. } = insn { Some(*src) } else { None };
                insn.defs(|def| {
                    graph.used[def.0 as usize] = true;
                    graph.weight[def.0 as usize] += cost;
                    definitions[def.0 as usize] += 1;
                    for other in live.iter() {
                        if other != def && Some(other) != moved {
                            graph.neighbours[def.0 as usize].insert(other);
                            graph.neighbours[other.0 as usize].insert(def);
                        }
                    }
                });
                // Machine registers that one instruction writes together also exclude each other's holders.
                insn.uses(|reg| {
                    graph.used[reg.0 as usize] = true;
                    graph.weight[reg.0 as usize] += cost;
                });
                if let VInsn::Move { dst, src } = insn {
                    graph.moves[dst.0 as usize].push(*src);
                    graph.moves[src.0 as usize].push(*dst);
                }
                if let VInsn::Constant { dst, value } = insn {
                    graph.constant[dst.0 as usize] = Some(*value);
                }
                backwards(&mut live, insn, &liveness.before);
            }
        }
        for (n, count) in definitions.iter().enumerate() {
            if *count != 1 {
                graph.constant[n] = None;
            }
        }
        graph
    }

    /// A colour for every register, or those to spill.
    fn colour(
        &self,
        code: &VCode,
        unspillable: &BTreeSet<VReg>,
    ) -> Result<Vec<Reg>, Vec<(VReg, Option<Constant>)>> {
        let count = code.registers;
        let mut degree: Vec<usize> = self.neighbours.iter().map(RegSet::len).collect();
        let mut left: BTreeSet<VReg> =
            (MACHINE..count).map(VReg).filter(|r| self.used[r.0 as usize]).collect();
        let mut stack = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let easy = left.iter().copied().find(|r| degree[r.0 as usize] < MACHINE as usize);
            let next = easy.unwrap_or_else(|| {
                // The cheapest to spill for what it frees.
                left.iter()
                    .copied()
                    .min_by_key(|r| {
                        let n = r.0 as usize;
                        let fixed = unspillable.contains(r);
                        let price = if self.constant[n].is_some() { 1 } else { self.weight[n] };
                        (fixed, price * 1000 / (degree[n] as u64 + 1))
                    })
                    .expect("this is a bug: an empty set is not empty")
            });
            left.remove(&next);
            for other in self.neighbours[next.0 as usize].iter() {
                degree[other.0 as usize] = degree[other.0 as usize].saturating_sub(1);
            }
            stack.push(next);
        }
        let mut colours: Vec<Option<Reg>> = (0..count).map(|n| VReg(n).machine()).collect();
        let mut spills = Vec::new();
        while let Some(reg) = stack.pop() {
            match self.pick(reg, &colours) {
                Some(colour) => colours[reg.0 as usize] = Some(colour),
                None => spills.push((reg, self.constant[reg.0 as usize])),
            }
        }
        if spills.is_empty() {
            Ok(colours.into_iter().map(|c| c.unwrap_or(Reg::R0)).collect())
        } else if spills.iter().all(|(r, _)| unspillable.contains(r)) {
            // Take the pressure off a long-lived neighbour instead.
            let (stuck, _) = spills[0];
            let victim = self.neighbours[stuck.0 as usize]
                .iter()
                .filter(|r| r.0 >= MACHINE && !unspillable.contains(r))
                .min_by_key(|r| self.weight[r.0 as usize]);
            Err(victim.map(|v| (v, self.constant[v.0 as usize])).into_iter().collect())
        } else {
            spills.retain(|(r, _)| !unspillable.contains(r));
            Err(spills)
        }
    }

    /// A free colour: one that a move asks for, else one that no call takes away from short lives.
    fn pick(&self, reg: VReg, colours: &[Option<Reg>]) -> Option<Reg> {
        let mut free = [true; MACHINE as usize];
        for other in self.neighbours[reg.0 as usize].iter() {
            if let Some(colour) = colours[other.0 as usize] {
                free[colour.index()] = false;
            }
        }
        let wished = self.moves[reg.0 as usize].iter().filter_map(|other| colours[other.0 as usize]);
        let mut wishes: Vec<Reg> = wished.filter(|colour| free[colour.index()]).collect();
        // What most moves ask for.
        wishes.sort_by_key(|colour| {
            let count = self.moves[reg.0 as usize]
                .iter()
                .filter(|other| colours[other.0 as usize] == Some(*colour))
                .count();
            core::cmp::Reverse(count)
        });
        if let Some(colour) = wishes.first() {
            return Some(*colour);
        }
        // Else one that no neighbour still to come asks for.
        let mut asked = [false; MACHINE as usize];
        for other in self.neighbours[reg.0 as usize].iter().filter(|n| colours[n.0 as usize].is_none()) {
            for colour in self.moves[other.0 as usize].iter().filter_map(|m| colours[m.0 as usize]) {
                asked[colour.index()] = true;
            }
        }
        let all = || (0..MACHINE as u8).filter_map(Reg::new).filter(|colour| free[colour.index()]);
        all().find(|colour| !asked[colour.index()]).or_else(|| all().next())
    }
}

/// Rewrites the code so that the registers live in memory, or are made again, between their uses.
fn spill(code: &mut VCode, spills: &[(VReg, Option<Constant>)]) {
    for (reg, constant) in spills {
        let slot = match constant {
            Some(_) => None,
            None => {
                code.slots.push(SlotInfo { size: 8, temporary: None });
                Some(Slot(code.slots.len() as u32 - 1))
            }
        };
        let mut blocks = core::mem::take(&mut code.blocks);
        for block in &mut blocks {
            let mut insns = Vec::with_capacity(block.insns.len() + 8);
            for (mut insn, place) in block.insns.drain(..) {
                let (mut reads, mut writes) = (false, false);
                insn.uses(|r| reads |= r == *reg);
                insn.defs(|r| writes |= r == *reg);
                if !reads && !writes {
                    insns.push((insn, place));
                    continue;
                }
                if writes && constant.is_some() {
                    // The only definition of a constant: nobody needs it here.
                    continue;
                }
                let fresh = code.register();
                if reads {
                    let reload = match (constant, slot) {
                        (Some(value), _) => VInsn::Constant { dst: fresh, value: *value },
                        (None, Some(slot)) => {
                            VInsn::Load { size: Size::Dw, dst: fresh, base: Base::Slot(slot), off: 0 }
                        }
                        (None, None) => unreachable_slot(),
                    };
                    insns.push((reload, place));
                }
                let rename = |r: VReg| if r == *reg { fresh } else { r };
                insn.map(rename, rename);
                insns.push((insn, place));
                if let (true, Some(slot)) = (writes, slot) {
                    insns.push((
                        VInsn::Store { size: Size::Dw, base: Base::Slot(slot), off: 0, src: fresh.into() },
                        place,
                    ));
                }
            }
            block.insns = insns;
        }
        code.blocks = blocks;
    }
}

fn unreachable_slot() -> VInsn {
    panic!("this is a bug: a spilled register has neither a constant nor a slot")
}
