//! Which registers are live where: backward dataflow over blocks, with bit sets.

use super::vcode::{VCode, VInsn, VReg};
use alloc::vec;
use alloc::vec::Vec;

/// A set of registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RegSet {
    words: Vec<u64>,
}

impl RegSet {
    pub(crate) fn new(registers: u32) -> RegSet {
        RegSet { words: vec![0; registers.div_ceil(64) as usize] }
    }

    pub(crate) fn insert(&mut self, reg: VReg) {
        self.words[reg.0 as usize / 64] |= 1 << (reg.0 % 64);
    }

    pub(crate) fn remove(&mut self, reg: VReg) {
        self.words[reg.0 as usize / 64] &= !(1 << (reg.0 % 64));
    }

    pub(crate) fn contains(&self, reg: VReg) -> bool {
        self.words[reg.0 as usize / 64] >> (reg.0 % 64) & 1 == 1
    }

    /// Adds all of another set; whether anything was new.
    pub(crate) fn union(&mut self, other: &RegSet) -> bool {
        let mut grew = false;
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            grew |= *theirs & !*mine != 0;
            *mine |= theirs;
        }
        grew
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = VReg> + '_ {
        self.words.iter().enumerate().flat_map(|(n, word)| {
            let mut rest = *word;
            core::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    VReg(n as u32 * 64 + bit)
                })
            })
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// Registers that are live before each block.
pub(crate) struct Liveness {
    pub(crate) before: Vec<RegSet>,
}

/// Takes an instruction backwards over a set: what is live after it becomes what is live before it.
pub(crate) fn step(live: &mut RegSet, insn: &VInsn) {
    insn.defs(|reg| live.remove(reg));
    insn.uses(|reg| live.insert(reg));
}

impl Liveness {
    /// Computes it for all blocks. A conditional jump in the middle of a block makes what its target wants live there;
    /// joining that at the block's end would be too early for registers defined after the jump, so it is done in place.
    pub(crate) fn new(code: &VCode) -> Liveness {
        let mut live = Liveness { before: Vec::new() };
        live.update(code, 0..code.blocks.len());
        live
    }

    /// What is live after some blocks have changed so that they want more than they did, with blocks and registers that
    /// are new.
    pub(crate) fn update(&mut self, code: &VCode, changed: impl IntoIterator<Item = usize>) {
        let before = &mut self.before;
        before.resize(code.blocks.len(), RegSet::new(code.registers));
        before.iter_mut().for_each(|set| set.words.resize(code.registers.div_ceil(64) as usize, 0));
        let mut from: Vec<Vec<usize>> = vec![Vec::new(); code.blocks.len()];
        for (n, block) in code.blocks.iter().enumerate() {
            block.successors().for_each(|next| from[next.0 as usize].push(n));
        }
        // Blocks that may want more than is known, because one that they lead to does.
        let mut stale = vec![false; code.blocks.len()];
        changed.into_iter().for_each(|block| stale[block] = true);
        let mut live = RegSet::new(code.registers);
        while stale.contains(&true) {
            for n in (0..code.blocks.len()).rev() {
                if !core::mem::take(&mut stale[n]) {
                    continue;
                }
                live.words.fill(0);
                for (insn, _) in code.blocks[n].insns.iter().rev() {
                    backwards(&mut live, insn, before);
                }
                if before[n].union(&live) {
                    from[n].iter().for_each(|block| stale[*block] = true);
                }
            }
        }
    }
}

/// The same with jumps: what their targets want becomes live.
pub(crate) fn backwards(live: &mut RegSet, insn: &VInsn, before: &[RegSet]) {
    match insn {
        VInsn::Jump { to } => live.words.copy_from_slice(&before[to.0 as usize].words),
        VInsn::JumpIf { to, .. } | VInsn::MayGoto { to } => {
            live.union(&before[to.0 as usize]);
            step(live, insn);
        }
        _ => step(live, insn),
    }
}
