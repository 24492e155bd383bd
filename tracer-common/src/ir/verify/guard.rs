//! Guards: what stands before `enter`.
//!
//! **Not here:** what is right everywhere in a function (`inst`).

use super::*;

impl Verifier<'_> {
    pub(super) fn guard(&mut self, id: FuncId, function: &Function) {
        let enters: Vec<(usize, usize)> = places(function).collect();
        let Some((first, at)) = enters.first().copied() else { return };
        self.at = Location::Inst(id, Block(first as u32), at as u32);
        if enters.len() > 1 {
            self.fail("a handler begins once");
        }
        if function.domain == Domain::User || !function.params.is_empty() || function.result.is_some() {
            self.fail("only a handler of the kernel domain has a guard");
        }
        for (number, block) in function.blocks.iter().enumerate() {
            let end = block.insts.len();
            self.at = Location::Inst(id, Block(number as u32), end as u32);
            let is_guard = number < first;
            if block
                .term
                .0
                .successors()
                .any(|to| if is_guard { to.index() > first } else { to.index() <= first })
            {
                self.fail("what leads from the guard to the handler, or back, is not `enter` alone");
            }
            let guard = &block.insts[..if is_guard {
                end
            } else if number == first {
                at
            } else {
                0
            }];
            for (index, (inst, _)) in guard.iter().enumerate() {
                if !looks(inst) {
                    self.at = Location::Inst(id, Block(number as u32), index as u32);
                    self.fail("a guard only looks at the hit: numbers, and reads that cannot raise");
                }
            }
            if is_guard && matches!(block.term.0, Term::Raise(_) | Term::IterNext { .. }) {
                self.fail("a guard only looks at the hit: it goes on, or ends it");
            }
        }
    }
}

/// Where a function has `enter`.
fn places(function: &Function) -> impl Iterator<Item = (usize, usize)> {
    function.blocks.iter().enumerate().flat_map(|(number, block)| {
        let enters = block.insts.iter().enumerate().filter(|(_, (inst, _))| *inst == Inst::Enter);
        enters.map(move |(index, _)| (number, index))
    })
}

/// Whether an instruction neither changes nor takes anything.
fn looks(inst: &Inst) -> bool {
    let plain = match inst {
        Inst::Copy { .. }
        | Inst::Bin { .. }
        | Inst::Cmp { .. }
        | Inst::Extend { .. }
        | Inst::Context { .. }
        | Inst::Load { .. } => true,
        Inst::Call { intrinsic, dest, args } => {
            !intrinsic.has_effect()
                && !matches!(dest, Some(Dest::Str(_)))
                && args.iter().all(|arg| matches!(arg, Arg::Long(_)))
        }
        _ => false,
    };
    plain && !inst.can_raise()
}
