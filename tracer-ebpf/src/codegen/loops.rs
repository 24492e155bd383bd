//! Loops of the script, in the shape that the target's verifier gets through.
//!
//! * With `may_goto`, a loop is verified until its state repeats, a round or two. For that, no number that changes from
//!   round to round may be known: each is added to a zero that comes from memory before the loop begins.
//! * Without, the verifier follows each round up to `MAXACTION`, and remembers every branch that it has not taken, at
//!   most 8192. So inside loops cold code falls through: it is followed to its end at once, and forgotten.
//!
//! The statement counter (`Tick`) ends every loop in either case; `may_goto`'s own budget is far larger.
//!
//! **Not here:** what a loop does (`select`), block order (`emit`, which reads [`VBlock::depth`] and `cold`).

use super::liveness::{Liveness, RegSet};
use super::vcode::{Base, Constant, Label, MACHINE, VBlock, VCode, VInsn, VReg};
use crate::isa::{AluOp, Size};
use alloc::vec;
use alloc::vec::Vec;

/// A loop as selection knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loop {
    /// Its first block.
    pub(crate) head: Label,
    /// Where to go when the kernel's budget is used up.
    pub(crate) out: Label,
}

/// Puts a `may_goto` at each loop's head, and hides from the verifier what numbers enter it. `zero` is the address
/// of a word that is 0.
pub(crate) fn converge(code: &mut VCode, loops: &[Loop], zero: Constant) {
    if loops.is_empty() {
        return;
    }
    let mut liveness = Liveness::new(code);
    for each in loops {
        let members = members(code, each.head);
        let changed = changed(code, &members);
        let live = &liveness.before[each.head.0 as usize];
        let carried: Vec<VReg> =
            live.iter().filter(|reg| reg.0 >= MACHINE && changed.contains(*reg)).collect();
        let Some((_, place)) = code.blocks[each.head.0 as usize].insns.first().cloned() else { continue };
        let before = Label(code.blocks.len() as u32);
        for (n, block) in code.blocks.iter_mut().enumerate() {
            if members[n] {
                continue;
            }
            for (insn, _) in &mut block.insns {
                match insn {
                    VInsn::Jump { to } | VInsn::JumpIf { to, .. } | VInsn::MayGoto { to }
                        if *to == each.head =>
                    {
                        *to = before;
                    }
                    _ => {}
                }
            }
        }
        let mut insns = Vec::new();
        let (address, unknown) = (code.register(), code.register());
        if !carried.is_empty() {
            insns.push(VInsn::Constant { dst: address, value: zero });
            insns.push(VInsn::Load { size: Size::Dw, dst: unknown, base: Base::Reg(address), off: 0 });
        }
        for dst in carried {
            insns.push(VInsn::Alu { op: AluOp::Add, wide: true, dst, src: unknown.into() });
        }
        insns.push(VInsn::Jump { to: each.head });
        let head = &mut code.blocks[each.head.0 as usize];
        head.insns.insert(0, (VInsn::MayGoto { to: each.out }, place));
        let depth = head.depth.saturating_sub(1);
        let insns = insns.into_iter().map(|insn| (insn, place)).collect();
        code.blocks.push(VBlock { insns, depth, cold: false, ends_first: false });
        liveness.update(code, [each.head.0 as usize, before.0 as usize]);
    }
}

/// The blocks of the loop with this head: those that reach a jump back to it without passing it. A jump back comes
/// from a block that is only reached through the head.
fn members(code: &VCode, head: Label) -> Vec<bool> {
    let count = code.blocks.len();
    let head = head.0 as usize;
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (n, block) in code.blocks.iter().enumerate() {
        block.successors().for_each(|next| before[next.0 as usize].push(n));
    }
    // What is reached from the entry when the head is closed is not behind it.
    let mut open = vec![false; count];
    let mut work = vec![0];
    while let Some(n) = work.pop() {
        if n != head && !core::mem::replace(&mut open[n], true) {
            work.extend(code.blocks[n].successors().map(|next| next.0 as usize));
        }
    }
    let mut members = vec![false; count];
    members[head] = true;
    let mut work: Vec<usize> = before[head].iter().copied().filter(|n| !open[*n]).collect();
    while let Some(n) = work.pop() {
        if !core::mem::replace(&mut members[n], true) {
            work.extend(&before[n]);
        }
    }
    members
}

/// Registers that the loop writes.
fn changed(code: &VCode, members: &[bool]) -> RegSet {
    let mut changed = RegSet::new(code.registers);
    let inside = code.blocks.iter().zip(members).filter(|(_, member)| **member);
    for (insn, _) in inside.flat_map(|(block, _)| &block.insns) {
        insn.defs(|reg| changed.insert(reg));
    }
    changed
}
