//! Spilled registers that are never wanted at the same time share a place in the frame: it has 512 bytes in all.
//!
//! **Not here:** what is spilled (`regalloc`), strings and keys, whose slots are read by address.

use super::liveness::RegSet;
use super::vcode::{Base, Slot, VCode, VInsn, VReg};
use alloc::vec;
use alloc::vec::Vec;

/// Gives the slots from `first` on, each of which holds one spilled register, as few places as do.
pub(crate) fn share(code: &mut VCode, first: usize) {
    let count = code.slots.len() - first;
    if count < 2 {
        return;
    }
    let neighbours = interference(code, first, count);
    let mut place: Vec<usize> = Vec::with_capacity(count);
    for (slot, others) in neighbours.iter().enumerate() {
        let taken = |wanted: &usize| {
            others.iter().any(|other| place.get(other.0 as usize).is_some_and(|at| at == wanted))
        };
        place.push((0..=slot).find(|at| !taken(at)).unwrap_or(slot));
    }
    for (insn, _) in code.blocks.iter_mut().flat_map(|block| &mut block.insns) {
        if let VInsn::Load { base: Base::Slot(slot), .. } | VInsn::Store { base: Base::Slot(slot), .. } = insn
            && let Some(n) = (slot.0 as usize).checked_sub(first)
        {
            *slot = Slot((first + place[n]) as u32);
        }
    }
    let used = place.iter().max().map_or(0, |last| last + 1);
    code.slots.truncate(first + used);
}

/// Which of the slots hold something that is still wanted while another is written.
fn interference(code: &VCode, first: usize, count: usize) -> Vec<RegSet> {
    let empty = || RegSet::new(count as u32);
    let mut before = vec![empty(); code.blocks.len()];
    let mut neighbours = vec![empty(); count];
    loop {
        let mut changed = false;
        for n in (0..code.blocks.len()).rev() {
            let mut live = empty();
            for (insn, _) in code.blocks[n].insns.iter().rev() {
                match insn {
                    VInsn::Jump { to } => live = before[to.0 as usize].clone(),
                    VInsn::JumpIf { to, .. } | VInsn::MayGoto { to } => {
                        live.union(&before[to.0 as usize]);
                    }
                    VInsn::Load { base: Base::Slot(slot), .. } if slot.0 as usize >= first => {
                        live.insert(VReg(slot.0 - first as u32));
                    }
                    VInsn::Store { base: Base::Slot(slot), .. } if slot.0 as usize >= first => {
                        let written = VReg(slot.0 - first as u32);
                        live.remove(written);
                        for other in live.iter() {
                            neighbours[written.0 as usize].insert(other);
                            neighbours[other.0 as usize].insert(written);
                        }
                    }
                    _ => {}
                }
            }
            changed |= before[n].union(&live);
        }
        if !changed {
            return neighbours;
        }
    }
}
