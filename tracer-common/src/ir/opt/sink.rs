//! Moves numbers of the current task down to where they are first wanted: one that waits is in the way of the helpers
//! that are called meanwhile, which is a register saved for each.
//!
//! Only what stays the same while a handler runs is moved (`Intrinsic::is_steady`), within its block, and not past
//! what may leave for the block's catch block.

use super::liveness::effects;
use super::*;

/// Sinks what can be sunk.
pub(super) fn sink(function: &mut Function) {
    for block in &mut function.blocks {
        for n in (0..block.insts.len()).rev() {
            let Some(var) = steady(&block.insts[n].0) else { continue };
            let named = |inst: &Inst| {
                let (reads, writes) = effects(inst);
                reads.contains(&var) || writes.contains(&var)
            };
            let stops = |inst: &Inst| named(inst) || block.catch.is_some() && inst.can_raise();
            let next = block.insts[n + 1..].iter().position(|(inst, _)| stops(inst));
            // Without a reader in the block, it is some other block's, or the terminator's.
            if let Some(distance) = next {
                block.insts[n..=n + distance].rotate_left(1);
            }
        }
    }
}

/// The register of a number that may be moved.
fn steady(inst: &Inst) -> Option<Dest> {
    match inst {
        Inst::Call { intrinsic, dest: Some(dest @ Dest::Long(_)), .. } if intrinsic.is_steady() => {
            Some(*dest)
        }
        _ => None,
    }
}
