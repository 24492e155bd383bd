//! What every program does first and last: session state, hit counter, scratch slot, locks.
//!
//! A scratch slot is claimed from this CPU's few by an atomic exchange, so that a program that preempts or interrupts
//! another never shares memory with it; where the kernel has no fetching atomics, a stack map is the pool.
//! Counters depend on no claim: hits = run + skipped.

use super::super::callback;
use super::super::liveness::Liveness;
use super::super::vcode::{Base, Constant, MACHINE, VInsn, VReg, VSrc};
use super::super::{LOCKS, SCRATCH, SCRATCH_POOL};
use super::array::ONLY_NEW;
use super::{Memory, Result, Selector, writes};
use crate::isa::{AluOp, AtomicOp, Helper, JumpOp, Reg, Size};
use crate::target::Stay;
use alloc::vec::Vec;
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Function, GlobalId, Inst, Var};
use tracer_common::layout::{MapKind, MapSpec};
use tracer_common::ledger::{self, Cell};
use tracer_common::manifest::{AttachPoint, ProgramKind};

/// Bytes before a scratch slot's memory: its claim word.
const CLAIM: u32 = 8;
/// Largest value of a per-CPU map.
const PER_CPU_LIMIT: u32 = 32 << 10;

impl Selector<'_, '_> {
    /// What every program does first: leaves where the session has ended, or is about another process. The current
    /// block goes on with the guard, or else with [`Self::enter`].
    pub(super) fn open(&mut self) {
        let needs_ctx = self.needs_ctx();
        if needs_ctx {
            self.mov(self.ctx, Reg::R1.into());
        }
        self.plain_exit = self.block(false);
        self.leave = self.plain_exit;
        self.aside(self.plain_exit, |s| {
            s.under_way(-1);
            s.push(VInsn::Exit(0));
        });
        // Before the session is looked at: who ends it sees the program or is seen by it.
        self.under_way(1);
        self.look_at_session();
    }

    /// The hit is one for the handler: counts it, and takes what the handler needs.
    pub(super) fn enter(&mut self) -> Result {
        self.count_hit();
        let locks = self.locks();
        if self.storage.scratch > 0 {
            self.claim()?;
        }
        if let Some(held) = self.lock_note() {
            self.store(Size::Dw, held, 0);
        } else if !locks.is_empty() {
            self.lock(&locks)?;
        }
        if self.function.blocks.iter().flat_map(|b| &b.insts).any(|(i, _)| matches!(i, Inst::Tick { .. })) {
            let ticks = self.reg();
            self.constant(ticks, 0);
            self.ticks = Some(ticks);
        }
        self.init_strings();
        self.release(&locks);
        self.leave = self.exit;
        Ok(())
    }

    /// Blocks that are made when something asked for them.
    pub(super) fn close(&mut self) {
        self.failure_block();
    }

    /// Whether the program itself looks at the process: a perf event can be limited to a thread, not to a process.
    fn is_filtered(&self) -> bool {
        matches!(self.entry.kind, ProgramKind::Uprobe | ProgramKind::Uretprobe)
            && !self.shared.target.features.uprobe_multi
    }

    /// The process of `process(PID)`: the places of one probe point, and so of one program, have the same.
    fn only(&self) -> Option<u32> {
        let first = self.shared.manifest.sites.get(*self.entry.sites.first()? as usize)?;
        match first.attach {
            AttachPoint::User { pid, .. } => pid,
            _ => None,
        }
    }

    /// Leaves when the probe is about one process and this is another.
    fn leave_others(&mut self, pid: u32) {
        let process = self.call_for(Helper::GetCurrentPidTgid, &[]);
        self.alu(AluOp::Rsh, process, 32);
        let ours = self.block(false);
        self.jump_if(JumpOp::Ne, process, pid as i32, self.plain_exit);
        self.jump(ours);
        self.at(ours);
    }

    /// Leaves when the session is about one process and this is another.
    fn filter(&mut self, word: Memory) {
        let wanted = self.load_from(Size::Dw, word);
        let (ours, limited) = (self.block(false), self.block(true));
        self.jump_if(JumpOp::Ne, wanted, 0, limited);
        self.jump(ours);
        self.aside(limited, |s| {
            let process = s.call_for(Helper::GetCurrentPidTgid, &[]);
            s.alu(AluOp::Rsh, process, 32);
            s.jump_if(JumpOp::Ne, process, wanted, s.plain_exit);
            s.jump(ours);
        });
        self.at(ours);
    }

    fn look_at_session(&mut self) {
        let map = self.shared.ledger();
        let offset = ledger::offset(self.program, Cell::Hits);
        let row = self.known(Constant::MapValue(map, offset));
        self.row = Some(row);
        let state = self.header(ledger::STATE);
        let state = self.load_from(Size::W, state);
        self.jump_if(JumpOp::Ne, state, 0, self.plain_exit);
        if self.is_filtered() {
            match self.only() {
                Some(pid) => self.leave_others(pid),
                None => {
                    let word = self.header(ledger::FILTER);
                    self.filter(word);
                }
            }
        }
    }

    fn count_hit(&mut self) {
        let Some(row) = self.row else {
            panic!("this is a bug: a hit is counted before the program has begun")
        };
        let one = self.known(Constant::Number(1));
        self.push(VInsn::Atomic { op: AtomicOp::Add, fetch: false, base: row, off: 0, src: one });
    }

    fn claim(&mut self) -> Result {
        let stride = CLAIM + self.shared.scratch.next_multiple_of(8);
        let slots = self.shared.slots;
        let refused = self.block(true);
        self.aside(refused, |s| {
            s.count(Cell::SkippedNesting);
            s.jump(s.plain_exit);
        });
        let scratch = self.reg();
        if self.shared.target.features.atomics_fetch {
            if stride > PER_CPU_LIMIT {
                return Err(super::CodegenError::Limit(alloc::format!(
                    "the strings of a handler need {stride} bytes; lower MAXSTRINGLEN"
                )));
            }
            let map = self.shared.map(SCRATCH, || MapSpec {
                name: SCRATCH.into(),
                kind: MapKind::PerCpuArray,
                key_size: 4,
                value_size: stride,
                max_entries: slots,
            });
            // An element for each slot, not one with all: the verifier then sees one state, whichever was claimed.
            let number = self.reg();
            self.constant(number, 0);
            let (again, claimed) = (self.block(false), self.block(false));
            self.jump(again);
            self.at(again);
            let key = self.temporary(8);
            self.store(Size::W, key, number);
            let address = self.address(key);
            let base = self.call_for(Helper::MapLookupElem, &[Constant::Map(map).into(), address]);
            self.jump_if(JumpOp::Eq, base, 0, refused);
            let word = self.known(Constant::Number(1));
            self.push(VInsn::Atomic { op: AtomicOp::Xchg, fetch: true, base, off: 0, src: word });
            self.jump_if(JumpOp::Eq, word, 0, claimed);
            self.alu(AluOp::Add, number, 1);
            self.jump_if(JumpOp::Lt, number, slots as i32, again);
            self.jump(refused);
            self.at(claimed);
            self.mov(scratch, base);
            self.alu(AluOp::Add, scratch, CLAIM as i32);
        } else {
            let count = slots * self.shared.target.cpus;
            let pool = self.shared.map(SCRATCH_POOL, || MapSpec {
                name: SCRATCH_POOL.into(),
                kind: MapKind::Stack,
                key_size: 0,
                value_size: 4,
                max_entries: count,
            });
            let map = self.shared.map(SCRATCH, || MapSpec {
                name: SCRATCH.into(),
                kind: MapKind::Array,
                key_size: 4,
                value_size: stride,
                max_entries: count,
            });
            let number = self.temporary(8);
            let address = self.address(number);
            let failed = self.call_for(Helper::MapPopElem, &[Constant::Map(pool).into(), address]);
            self.jump_if(JumpOp::Ne, failed, 0, refused);
            let address = self.address(number);
            let base = self.call_for(Helper::MapLookupElem, &[Constant::Map(map).into(), address]);
            self.jump_if(JumpOp::Eq, base, 0, refused);
            // The slot's number waits in its claim word until it is given back.
            let taken = self.load_from(Size::W, number);
            self.store(Size::Dw, Memory { base: Base::Reg(base), off: 0 }, taken);
            self.mov(scratch, base);
            self.alu(AluOp::Add, scratch, CLAIM as i32);
        }
        self.scratch = Some(scratch);
        Ok(())
    }

    /// Looks up key 0 of an array map.
    pub(super) fn lookup_first(&mut self, map: u32) -> VReg {
        let key = self.temporary(8);
        self.store(Size::W, key, 0);
        let address = self.address(key);
        self.call_for(Helper::MapLookupElem, &[Constant::Map(map).into(), address])
    }

    /// What [`locks`] says of this function.
    pub(super) fn locks(&self) -> Vec<GlobalId> {
        locks(self.function, &self.shared.fragile)
    }

    /// The kernel functions that keep the program on its CPU while it holds locks: who waits for a lock on the same CPU
    /// waits for nothing. Programs of the kernel are not preempted anyway.
    fn stay(&self) -> Option<Stay> {
        let preempted = matches!(self.entry.kind, ProgramKind::Uprobe | ProgramKind::Uretprobe);
        self.shared.target.stay.filter(|_| preempted)
    }

    pub(super) fn lock(&mut self, locks: &[GlobalId]) -> Result {
        if let Some(stay) = self.stay() {
            self.push(VInsn::CallKernel { btf_id: stay.begin });
        }
        for (n, global) in locks.iter().enumerate() {
            let (again, retry) = (self.block(false), self.block(true));
            let (taken, failed) = (self.block(false), self.block(true));
            let left = self.reg();
            let loops = self.shared.target.features.bpf_loop;
            if !loops {
                self.constant(left, i64::from(self.tries()));
            }
            self.jump(again);
            self.at(again);
            let refused = self.try_lock(*global);
            // What follows the lock is verified before the next try, and only once: a verifier that put it off would
            // have to remember it for each try.
            self.jump_if(JumpOp::Ne, refused, 0, retry);
            self.jump(taken);
            let address = if loops { Some(self.taker(*global)?) } else { None };
            self.aside(retry, |s| {
                if let Some(function) = address {
                    let tries = s.patience();
                    let arguments = [i64::from(tries).into(), function.into(), 0i64.into(), 0i64.into()];
                    let rounds = s.call_for(Helper::Loop, &arguments);
                    s.jump_if(JumpOp::Lt, rounds, tries as i32, taken);
                } else {
                    s.alu(AluOp::Sub, left, 1);
                    s.jump_if(JumpOp::Ne, left, 0, again);
                }
                s.jump(failed);
            });
            let held: Vec<_> = locks[..n].to_vec();
            self.aside(failed, |s| {
                s.count(Cell::SkippedLock);
                s.unlock(&held);
                s.leave_cpu();
                s.release_scratch();
                s.jump(s.plain_exit);
            });
            self.at(taken);
        }
        Ok(())
    }

    /// The function that waits for a lock.
    fn taker(&mut self, global: GlobalId) -> Result<Constant> {
        let lock = self.lock_offset(global);
        let tries = self.patience();
        Ok(Constant::Function(callback::take(self.shared, lock, tries)?))
    }

    /// Tries of `bpf_loop`, which are short: together most of a millisecond. SystemTap waits up to ten times as long,
    /// which holds up the traced program for longer than a lock is held without being preempted.
    fn patience(&self) -> u32 {
        self.shared.module.limits.trylock.saturating_mul(64).clamp(2, 1 << 22)
    }

    fn tries(&self) -> u32 {
        let tries = self.shared.module.limits.trylock;
        // A call for each try, and a verifier that follows each.
        if self.shared.target.features.atomics_fetch { tries } else { tries.min(100) }
    }

    /// One try: 0 when the lock was free and is ours.
    fn try_lock(&mut self, global: GlobalId) -> VReg {
        if let Some(word) = self.lock_word(global) {
            let base = self.known(word);
            let old = self.known(Constant::Number(1));
            self.push(VInsn::Atomic { op: AtomicOp::Xchg, fetch: true, base, off: 0, src: old });
            return old;
        }
        // Of several that insert the same key at once, one does not find it there.
        let (map, key) = self.lock_entry(global);
        self.call_for(Helper::MapUpdateElem, &[map, key, key, ONLY_NEW.into()])
    }

    /// The word of a global's lock; none where locks are entries of a map.
    fn lock_word(&mut self, global: GlobalId) -> Option<Constant> {
        if !self.shared.target.features.atomics_fetch {
            return None;
        }
        Some(Constant::MapValue(0, self.lock_offset(global)))
    }

    /// Where in the scalars the word of a global's lock is.
    fn lock_offset(&self, global: GlobalId) -> u32 {
        let Some(lock) = self.shared.layout.globals[global.index()].lock else {
            panic!("this is a bug: a lock without a word (layout::Layout)")
        };
        lock
    }

    fn lock_entry(&mut self, global: GlobalId) -> (super::Arg, super::Arg) {
        let count = self.shared.module.globals.len() as u32;
        let map = self.shared.map(LOCKS, || MapSpec {
            name: LOCKS.into(),
            kind: MapKind::Hash,
            key_size: 4,
            value_size: 4,
            max_entries: count,
        });
        self.temporary = 0;
        let key = self.temporary(8);
        self.store(Size::W, key, global.0 as i32);
        let key = self.address(key);
        (Constant::Map(map).into(), key)
    }

    /// Locks are given back: the program may be preempted again.
    pub(super) fn leave_cpu(&mut self) {
        if let Some(stay) = self.stay() {
            self.push(VInsn::CallKernel { btf_id: stay.end });
        }
    }

    pub(super) fn unlock(&mut self, locks: &[GlobalId]) {
        for global in locks.iter().rev() {
            if let Some(word) = self.lock_word(*global) {
                let base = self.known(word);
                self.store(Size::Dw, Memory { base: Base::Reg(base), off: 0 }, 0);
            } else {
                let (map, key) = self.lock_entry(*global);
                self.call(Helper::MapDeleteElem, &[map, key]);
            }
        }
    }

    fn release_scratch(&mut self) {
        let Some(scratch) = self.scratch else { return };
        let claim = Memory { base: Base::Reg(scratch), off: -(CLAIM as i32) };
        if self.shared.target.features.atomics_fetch {
            self.store(Size::Dw, claim, 0);
        } else {
            let pool = self.shared.maps.iter().position(|m| m.name == SCRATCH_POOL);
            let pool = Constant::Map(pool.map_or(0, |n| n as u32));
            let number = self.load_from(Size::W, claim);
            self.temporary = 0;
            let value = self.temporary(8);
            self.store(Size::Dw, value, number);
            let value = self.address(value);
            self.call(Helper::MapPushElem, &[pool.into(), value, 0i64.into()]);
        }
    }

    /// The block that all paths through the handler end in.
    fn release(&mut self, locks: &[GlobalId]) {
        let exit = self.exit;
        self.aside(exit, |s| {
            s.unlock_late(locks);
            s.release_scratch();
            s.jump(s.plain_exit);
        });
    }

    fn needs_ctx(&self) -> bool {
        let mut needs = self.uses_site() && !self.site_is_constant();
        for (inst, _) in self.function.blocks.iter().flat_map(|b| &b.insts) {
            needs |= match inst {
                Inst::Call { intrinsic, .. } => *intrinsic == Intrinsic::Register || intrinsic.takes_stack(),
                _ => matches!(inst, Inst::Context { .. }),
            };
        }
        needs
    }

    /// Whether the number of the site is wanted: by the script, or in the header of a record.
    fn uses_site(&self) -> bool {
        let sends = |inst: &Inst| match inst {
            Inst::Emit { .. } | Inst::Site { .. } | Inst::SiteText { .. } => true,
            Inst::Call { intrinsic, .. } => *intrinsic == Intrinsic::Exit,
            _ => false,
        };
        self.function.blocks.iter().any(|block| {
            block.insts.iter().any(|(inst, _)| sends(inst))
                || matches!(block.term.0, tracer_common::ir::Term::Raise(_))
        })
    }

    /// Whether the program knows its site without asking: it has one, or the number is patched in.
    fn site_is_constant(&self) -> bool {
        let features = &self.shared.target.features;
        let cookie = match self.entry.kind {
            ProgramKind::Uprobe
            | ProgramKind::Uretprobe
            | ProgramKind::Kprobe
            | ProgramKind::Kretprobe
            | ProgramKind::PerfEvent => features.attach_cookie,
            // They have one site each.
            ProgramKind::Fentry | ProgramKind::Fexit => false,
            ProgramKind::RawTracepoint => features.attach_cookie_raw_tracepoint,
        };
        self.entry.sites.len() == 1 || !cookie
    }

    /// The site's number as an operand: asked for where it is wanted, which is mostly on paths that are seldom taken.
    pub(super) fn site(&mut self) -> VSrc {
        match self.entry.sites.as_slice() {
            [site] => VSrc::Imm(*site as i32),
            _ if self.site_is_constant() => VSrc::Reg(self.known(Constant::Site)),
            _ => {
                let ctx = self.ctx;
                VSrc::Reg(self.call_for(Helper::GetAttachCookie, &[ctx.into()]))
            }
        }
    }

    pub(super) fn site_into(&mut self, dst: VReg) {
        match self.site() {
            VSrc::Imm(site) => self.constant(dst, site),
            VSrc::Reg(site) => self.mov(dst, site),
        }
    }

    /// Makes strings empty that may be read before they are written, and what `tokenize` and `matched` go on with.
    fn init_strings(&mut self) {
        self.no_pieces();
        self.nothing_searched();
        for var in super::string::read_before_written(self.function) {
            self.make_empty(var);
        }
        // What a way through the handler does not write is 0, not what another handler left.
        for var in (0..self.function.longs).map(Var) {
            if let Some(home) = self.waiting(var) {
                self.store(Size::Dw, home, 0);
            }
        }
    }

    /// Sets registers to 0 that may be read before they are written.
    pub(super) fn initialise(&mut self) {
        let liveness = Liveness::new(&self.code);
        let wanted: Vec<VReg> = liveness.before[0].iter().filter(|reg| reg.0 >= MACHINE).collect();
        let place = self.place;
        let at = self.code.blocks[0]
            .insns
            .iter()
            .position(|(insn, _)| !matches!(insn, VInsn::Move { src, .. } if src.0 < MACHINE));
        for dst in wanted {
            let insn = VInsn::Constant { dst, value: Constant::Number(0) };
            self.code.blocks[0].insns.insert(at.unwrap_or(0), (insn, place));
        }
    }

    /// Counts statements against MAXACTION.
    pub(super) fn tick(&mut self, count: u32) {
        let Some(ticks) = self.ticks else { return };
        self.alu(AluOp::Add, ticks, count as i32);
        let limit = self.shared.module.limits.action.min(i32::MAX as u32) as i32;
        // As in SystemTap, no script catches this one: a loop in a catch block would never end.
        let catch = self.catch.take();
        self.raise_if(JumpOp::Gt, ticks, limit, tracer_common::record::ErrorKind::Action, 0);
        self.catch = catch;
    }
}

/// The globals that must not change under a handler, in ascending order; `fragile` ones not where it writes them.
pub(in crate::codegen) fn locks(function: &Function, fragile: &[GlobalId]) -> Vec<GlobalId> {
    let written = function.blocks.iter().flat_map(|b| &b.insts).filter_map(|(inst, _)| writes(inst));
    let fragile = written.filter(|global| fragile.contains(global));
    let mut locks: Vec<GlobalId> = function.locks.iter().copied().chain(fragile).collect();
    locks.sort();
    locks.dedup();
    locks
}
