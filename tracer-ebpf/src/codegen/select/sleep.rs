//! Programs that may sleep: those of user code that read its memory, on kernels whose uprobes may (`bpf_copy_from_user`).
//!
//! A page that is not in memory is fetched where a read has failed, and only there: until then such a program is the same
//! as any other. It keeps its CPU and its scratch slot while it sleeps, so there are more slots for such programs; it
//! holds no reservation in the ring, because values are read before they are sent; and **it holds no lock**: locks are
//! taken as late as can be, before the first thing that others can see, and what is read after that does not sleep.
//!
//! Nobody can wait for such programs by a grace period, so they count themselves while they run
//! (`ledger::UNDER_WAY`).
//!
//! **Not here:** the lock itself (`entry`), which kernels can (`tracer::sys::features`).

use super::super::vcode::{VInsn, VReg};
use super::{Arg, Memory, Selector};
use crate::isa::{AluOp, AtomicOp, Helper, JumpOp, Size};
use alloc::vec;
use alloc::vec::Vec;
use tracer_common::intrinsic::{Effect, Intrinsic};
use tracer_common::ir::{Block, Function, GlobalId, Inst, Space};
use tracer_common::ledger;
use tracer_common::manifest::ProgramKind;

/// Scratch slots for each CPU where programs may sleep while they have one.
pub(in crate::codegen) const SLOTS: u32 = 16;

/// How a program sleeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::codegen) struct Sleep {
    /// Block and index of the instruction before which locks are taken; none where they are at the entry, or there are none.
    pub(super) locks: Option<(usize, usize)>,
    /// Blocks at whose beginning locks may be held.
    held: Vec<bool>,
}

impl Sleep {
    /// The plan for a program; none for one that never sleeps.
    pub(in crate::codegen) fn new(kind: ProgramKind, function: &Function, has_locks: bool) -> Option<Sleep> {
        if !matches!(kind, ProgramKind::Uprobe | ProgramKind::Uretprobe) {
            return None;
        }
        let count = function.blocks.len();
        let mut plan = Sleep { locks: None, held: vec![false; count] };
        if has_locks {
            if function.has_guard() {
                return None;
            }
            let (block, index) = Graph::new(function).lock_point(function)?;
            let mut work: Vec<usize> = exits(function, block).collect();
            while let Some(n) = work.pop() {
                if !core::mem::replace(&mut plan.held[n], true) {
                    work.extend(exits(function, n));
                }
            }
            plan.locks = Some((block, index));
        }
        let reads = function.blocks.iter().enumerate().any(|(b, block)| {
            block.insts.iter().enumerate().any(|(n, (inst, _))| reads_user(inst) && plan.is_free((b, n)))
        });
        reads.then_some(plan)
    }

    /// Whether no lock is held at an instruction.
    fn is_free(&self, at: (usize, usize)) -> bool {
        !self.held[at.0] && self.locks.is_none_or(|(block, index)| at.0 != block || at.1 < index)
    }
}

fn reads_user(inst: &Inst) -> bool {
    match inst {
        Inst::Load { space, .. } => *space == Space::User,
        Inst::Call { intrinsic, .. } => {
            matches!(intrinsic, Intrinsic::UserString | Intrinsic::UserStringN | Intrinsic::UserBytes)
        }
        _ => false,
    }
}

/// Whether others can see that an instruction was run, or it sees what others do: a handler that is given up for want of
/// a lock has done nothing of the kind.
fn is_seen(inst: &Inst) -> bool {
    match inst {
        Inst::Copy { .. }
        | Inst::Bin { .. }
        | Inst::Cmp { .. }
        | Inst::Extend { .. }
        | Inst::StrCopy { .. }
        | Inst::StrConcat { .. }
        | Inst::StrCmp { .. }
        | Inst::Context { .. }
        | Inst::Load { .. }
        | Inst::Site { .. }
        | Inst::SiteText { .. }
        | Inst::VarsText { .. }
        | Inst::Format { .. }
        | Inst::Caught { .. }
        | Inst::Tick { .. } => false,
        Inst::Call { intrinsic, .. } => intrinsic.effect() == Effect::Output,
        Inst::CallFunction { .. }
        | Inst::Get { .. }
        | Inst::Set { .. }
        | Inst::Update { .. }
        | Inst::Contains { .. }
        | Inst::Delete { .. }
        | Inst::Clear { .. }
        | Inst::Aggregate { .. }
        | Inst::Stat { .. }
        | Inst::Bucket { .. }
        | Inst::PrintHist { .. }
        | Inst::HistText { .. }
        | Inst::Print { .. }
        | Inst::Emit { .. }
        | Inst::Iterate { .. }
        | Inst::IterateHist { .. }
        | Inst::Enter => true,
    }
}

/// Blocks that may follow a block, by its end or by an error in it.
fn exits(function: &Function, block: usize) -> impl Iterator<Item = usize> {
    let block = &function.blocks[block];
    block.term.0.successors().chain(block.catch).map(Block::index)
}

/// The blocks of a function in reverse postorder, each with its immediate dominator (the algorithm of Cooper, Harvey
/// and Kennedy).
struct Graph {
    order: Vec<usize>,
    /// A block's place in `order`; none where it is not reached.
    rank: Vec<Option<usize>>,
    /// By rank.
    dominator: Vec<usize>,
}

impl Graph {
    fn new(function: &Function) -> Graph {
        let count = function.blocks.len();
        let (mut order, mut seen) = (Vec::with_capacity(count), vec![false; count]);
        let mut stack = vec![(0, exits(function, 0).collect::<Vec<_>>())];
        seen[0] = true;
        while let Some((block, left)) = stack.last_mut() {
            match left.pop() {
                Some(next) if !seen[next] => {
                    seen[next] = true;
                    stack.push((next, exits(function, next).collect()));
                }
                Some(_) => {}
                None => {
                    order.push(*block);
                    stack.pop();
                }
            }
        }
        order.reverse();
        let mut rank = vec![None; count];
        for (n, block) in order.iter().enumerate() {
            rank[*block] = Some(n);
        }
        let mut before = vec![Vec::new(); order.len()];
        for (n, block) in order.iter().enumerate() {
            for next in exits(function, *block).filter_map(|next| rank[next]) {
                before[next].push(n);
            }
        }
        let unknown = usize::MAX;
        let mut graph = Graph { dominator: vec![unknown; order.len()], order, rank };
        graph.dominator[0] = 0;
        let mut changed = true;
        while changed {
            changed = false;
            for (n, before) in before.iter().enumerate().skip(1) {
                let known = before.iter().copied().filter(|m| graph.dominator[*m] != unknown);
                let Some(found) = known.reduce(|a, b| graph.common(a, b)) else { continue };
                changed |= core::mem::replace(&mut graph.dominator[n], found) != found;
            }
        }
        graph
    }

    /// The nearest block, by rank, that dominates both.
    fn common(&self, mut a: usize, mut b: usize) -> usize {
        while a != b {
            if a > b {
                a = self.dominator[a];
            } else {
                b = self.dominator[b];
            }
        }
        a
    }

    /// Before which instruction locks are taken: one that every way to something that is seen leads through, once.
    fn lock_point(&self, function: &Function) -> Option<(usize, usize)> {
        let first = |block: usize| function.blocks[block].insts.iter().position(|(inst, _)| is_seen(inst));
        let seen = (0..self.order.len()).filter(|n| first(self.order[*n]).is_some());
        let mut point = seen.reduce(|a, b| self.common(a, b))?;
        while self.is_repeated(function, point) {
            if point == 0 {
                return None;
            }
            point = self.dominator[point];
        }
        let block = self.order[point];
        let index = match function.blocks[block].catch {
            // An error in the block may lead to what is seen elsewhere.
            Some(_) => 0,
            None => first(block).unwrap_or(function.blocks[block].insts.len()),
        };
        Some((block, index))
    }

    /// Whether a block can be reached from itself.
    fn is_repeated(&self, function: &Function, rank: usize) -> bool {
        let block = self.order[rank];
        let mut reached = vec![false; function.blocks.len()];
        let mut work: Vec<usize> = exits(function, block).collect();
        while let Some(n) = work.pop() {
            if n == block {
                return true;
            }
            if self.rank[n].is_some() && !core::mem::replace(&mut reached[n], true) {
                work.extend(exits(function, n));
            }
        }
        false
    }
}

impl Selector<'_, '_> {
    /// Whether a read of the current instruction may sleep.
    pub(super) fn may_sleep(&self) -> bool {
        self.sleep.as_ref().is_some_and(|sleep| sleep.is_free(self.position))
    }

    /// One program more or less is under way.
    pub(super) fn under_way(&mut self, change: i64) {
        if self.sleep.is_none() {
            return;
        }
        let map = self.shared.ledger();
        let base = self.known(super::Constant::MapValue(map, ledger::UNDER_WAY));
        let change = self.known(super::Constant::Number(change));
        self.push(VInsn::Atomic { op: AtomicOp::Add, fetch: false, base, off: 0, src: change });
    }

    /// After a read of user memory that `failed`, if it is not 0: reads again, sleeping.
    pub(super) fn fetch(&mut self, space: Space, failed: VReg, buffer: Memory, bytes: u32, at: VReg) {
        if space != Space::User || !self.may_sleep() {
            return;
        }
        let (absent, on) = (self.block(true), self.block(false));
        self.jump_if(JumpOp::Ne, failed, 0, absent);
        self.jump(on);
        self.aside(absent, |s| {
            let to = s.address(buffer);
            s.call(Helper::CopyFromUser, &[to, bytes.into(), at.into()]);
            s.mov(failed, VReg(0));
            s.jump(on);
        });
        self.at(on);
    }

    /// After a read of a user string whose `length` is negative where it failed: fetches one page after the other, as
    /// long as the string goes on, and reads again.
    pub(super) fn fetch_string(
        &mut self,
        space: Space,
        length: VReg,
        home: Memory,
        capacity: u32,
        size: Arg,
        from: VReg,
    ) {
        if space != Space::User || !self.may_sleep() {
            return;
        }
        let page_size = self.shared.target.page_size;
        let (absent, on) = (self.block(true), self.block(false));
        self.jump_if(JumpOp::Slt, length, 0, absent);
        self.jump(on);
        self.aside(absent, |s| {
            let page = s.reg();
            s.mov(page, from);
            let pages = (capacity - 1).div_ceil(page_size) + 1;
            for n in 0..pages {
                if n > 0 {
                    s.alu(AluOp::And, page, -(page_size as i32));
                    s.alu(AluOp::Add, page, page_size as i32);
                }
                let byte = s.temporary(8);
                let to = s.address(byte);
                let failed = s.call_for(Helper::CopyFromUser, &[to, 1i64.into(), page.into()]);
                s.jump_if(JumpOp::Ne, failed, 0, on);
                let to = s.address(home);
                s.call(Helper::ProbeReadUserStr, &[to, size, from.into()]);
                s.mov(length, VReg(0));
                if n + 1 < pages {
                    s.jump_if(JumpOp::Sge, length, 0, on);
                }
            }
            s.jump(on);
        });
        self.at(on);
    }

    /// Memory in which a program that takes its locks late notes that it has.
    pub(super) fn lock_note(&mut self) -> Option<Memory> {
        self.sleep.as_ref()?.locks?;
        if self.held.is_none() {
            self.held = Some(self.slot(8));
        }
        self.held
    }

    /// Takes the locks, where this is the place.
    pub(super) fn lock_late(&mut self, block: usize, index: usize) -> super::Result {
        if self.sleep.as_ref().and_then(|sleep| sleep.locks) != Some((block, index)) {
            return Ok(());
        }
        let locks = self.locks();
        self.temporary = 0;
        self.lock(&locks)?;
        self.temporary = 0;
        if let Some(held) = self.lock_note() {
            self.store(Size::Dw, held, 1);
        }
        Ok(())
    }

    /// Gives the locks back at the end, where they were taken.
    pub(super) fn unlock_late(&mut self, locks: &[GlobalId]) {
        let Some(held) = self.lock_note() else {
            if !locks.is_empty() {
                self.unlock(locks);
                self.leave_cpu();
            }
            return;
        };
        let (taken, on) = (self.block(false), self.block(false));
        let word = self.load_from(Size::Dw, held);
        self.jump_if(JumpOp::Ne, word, 0, taken);
        self.jump(on);
        self.aside(taken, |s| {
            s.unlock(locks);
            s.leave_cpu();
            s.jump(on);
        });
        self.at(on);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use tracer_common::ir::parse;

    fn plan(blocks: &str) -> Option<(usize, usize)> {
        let text = format!(
            "global g0 n: long, shared
             record r0 (long) -> f1
             place @0 0:0..1 \"here\"
             function f0 handler kernel registers {{\n{blocks}\n}}
             function f1 (v0) {{\nb0:\n return\n}}\n"
        );
        let module = parse::module(&text).expect("a module");
        Sleep::new(ProgramKind::Uprobe, &module.functions[0], true).and_then(|sleep| sleep.locks)
    }

    #[test]
    fn locks_come_before_what_is_seen() {
        let read = "v0 = load user 16, u64 @0";
        assert_eq!(plan(&format!("b0:\n{read}\nset g0, v0\nreturn")), Some((0, 1)));
        // On one of two ways, and behind both.
        let branch = format!("b0:\n{read}\nbranch v0, b1, b2\nb1:\nset g0, v0\njump b2\nb2:\n");
        assert_eq!(plan(&format!("{branch}return")), Some((1, 0)));
        assert_eq!(plan(&format!("{branch}emit r0 v0\nreturn")), Some((0, 1)));
    }

    #[test]
    fn locks_are_taken_once() {
        let head = "b0:\nv0 = load user 16, u64 @0\njump b1\nb1:\nset g0, v0\n";
        assert_eq!(plan(&format!("{head}branch v0, b1, b2\nb2:\nreturn")), Some((0, 1)));
        // Nothing is read before: such a program does not sleep.
        assert_eq!(plan("b0:\nset g0, 1\nv0 = load user 16, u64 @0\nreturn"), None);
    }

    #[test]
    fn errors_that_are_caught_lead_to_what_is_seen() {
        let blocks = "b0 catch b1:\nv0 = load user 16, u64 @0\nset g0, v0\nreturn\nb1:\nset g0, 1\nreturn";
        assert_eq!(plan(blocks), None);
    }
}
