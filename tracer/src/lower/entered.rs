//! What registers held at the entry of the call that a hit is in (`DW_OP_entry_value`).
//!
//! A program of its own runs at the first instruction of the function and keeps the registers that somebody asks for, in
//! one hidden array, keyed by process, canonical frame address, function and register. The frame address tells calls
//! that are under way apart: recursion needs no counting, and a coroutine may go on in another thread. What a call that
//! ended has left there is overwritten by the entry of the next one that has the same frame, so that nothing needs to
//! run at the return, and nothing is left wrong by `longjmp`. Elements that nobody asks for make room for others.
//!
//! A hit whose entry was not seen (the call began before the probes were armed, in another process, or too many others
//! since) is given up and counted; a list such as `$$vars` shows `?` instead.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{
    self, Arg, CmpOp, Dest, Domain, Element, GlobalId, GlobalTy, Inst, LongOp, Source, Term, Ty as IrTy, Var,
};
use tracer_common::manifest::{AttachPoint, ProgramKind, Site};

use crate::lower::body::Body;
use crate::lower::capacity::Owner;
use crate::lower::{Lower, context_of};
use crate::sema::program::{Access, Entered, ExprKind, Place, Probe, Target, TargetValue};
use crate::sema::target_var::WORD;
use crate::sema::walk;

/// Registers of calls that are remembered: three megabytes.
const REMEMBERED: u32 = 1 << 15;
/// DWARF's numbers.
const RSP: u8 = 7;
const RIP: u8 = 16;
/// The canonical frame address is above the return address, where the stack pointer is at the entry.
const RETURN_ADDRESS: i64 = 8;

/// What is kept at entries.
#[derive(Default)]
pub(super) struct Entries {
    array: Option<GlobalId>,
    /// Path, offset, process and register.
    kept: BTreeSet<(String, u64, Option<u32>, u8)>,
}

/// What a handler has of an entry.
pub(super) struct Known<'p> {
    of: &'p Entered,
    value: Var,
    unseen: Var,
}

/// What a probe asks for, each once, and whether it cannot do without.
fn asked(probe: &Probe) -> Vec<(&Entered, bool)> {
    fn parts<'p>(access: &'p Access, found: &mut Vec<&'p Entered>) {
        match access {
            Access::Entered(entered) => found.push(entered),
            _ => access.parts().for_each(|part| parts(part, found)),
        }
    }
    let mut all: Vec<(&Entered, bool)> = Vec::new();
    for target in targets(probe) {
        let needed = !matches!(target.value, TargetValue::List { .. });
        let mut found = Vec::new();
        target.value.accesses().into_iter().for_each(|access| parts(access, &mut found));
        for entered in found {
            match all.iter_mut().find(|(known, _)| *known == entered) {
                Some((_, known)) => *known |= needed,
                None => all.push((entered, needed)),
            }
        }
    }
    all
}

/// The target expressions of a probe's body.
pub(super) fn targets(probe: &Probe) -> Vec<&Target> {
    let mut targets: Vec<&Target> = Vec::new();
    walk::exprs(&probe.body, &mut |expr| match &expr.kind {
        ExprKind::Target(target) => targets.push(target),
        ExprKind::Assign { place: Place::Target(target), .. }
        | ExprKind::Modify { place: Place::Target(target), .. }
        | ExprKind::Append { place: Place::Target(target), .. }
        | ExprKind::Crement { place: Place::Target(target), .. } => targets.push(target),
        _ => {}
    });
    targets
}

impl<'p> Lower<'p> {
    /// Makes the programs that keep what a probe asks for, as far as no other probe's do.
    pub(super) fn keep_entries(&mut self, number: usize, probe: &'p Probe) {
        let mut functions: BTreeMap<u64, BTreeSet<u8>> = BTreeMap::new();
        for (entered, _) in asked(probe) {
            functions.entry(entered.offset).or_default().insert(entered.register);
        }
        let mut programs: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        for site in &probe.sites {
            let site = self.manifest.sites[*site as usize].clone();
            let AttachPoint::User { path, pid, .. } = site.attach.clone() else { continue };
            for (offset, registers) in &functions {
                let is_new =
                    |register: &u8| self.entries.kept.insert((path.clone(), *offset, pid, *register));
                let new: Vec<u8> = registers.iter().copied().filter(is_new).collect();
                if new.is_empty() {
                    continue;
                }
                let entry = Site {
                    attach: AttachPoint::User { path: path.clone(), offset: *offset, semaphore: None, pid },
                    probe_point: format!("entry of {}", site.probe_point),
                    is_entry: true,
                    variables: Vec::new(),
                    ..site.clone()
                };
                programs.entry(new).or_default().push(self.manifest.sites.len() as u32);
                self.manifest.sites.push(entry);
            }
        }
        for (registers, sites) in programs {
            self.keep_at_entry(number, probe, &registers, &sites);
        }
    }

    fn entered_array(&mut self) -> GlobalId {
        if let Some(array) = self.entries.array {
            return array;
        }
        let id = self.module.global(ir::Global {
            name: "@entered".to_owned(),
            keys: vec![IrTy::Long; 4],
            ty: GlobalTy::Value(IrTy::Long),
            init: None,
            max_entries: REMEMBERED,
            wrap: false,
            forgets: true,
            ordered: false,
            shared: true,
            print_at_end: None,
        });
        self.hidden.push(id);
        self.entries.array = Some(id);
        id
    }

    fn keep_at_entry(&mut self, number: usize, probe: &'p Probe, registers: &[u8], sites: &[u32]) {
        let global = self.entered_array();
        let kind = ProgramKind::Uprobe;
        let name = format!("entered.{}", self.manifest.programs.len());
        let mut body = Body::new(self, &name, Domain::Kernel, context_of(kind), Owner::Probe(number));
        body.at(probe.span);
        let register = |body: &mut Body<'_, '_>, number| {
            body.make(|dest| Inst::Context { dest, source: Source::Register(number), width: WORD })
        };
        let pid = body.process();
        let stack = register(&mut body, RSP);
        let cfa = body.bin(ir::BinOp::Add, stack, LongOp::Imm(RETURN_ADDRESS));
        let address = register(&mut body, RIP);
        for number in registers {
            let value = register(&mut body, *number);
            let keys = [pid, cfa, address, LongOp::Imm(i64::from(*number))].map(Arg::Long).to_vec();
            body.push(Inst::Set { element: Element { global, keys }, value: Arg::Long(value) });
        }
        let function = body.finish();
        self.program(function, kind, sites);
    }
}

impl<'p> Body<'_, 'p> {
    fn process(&mut self) -> LongOp {
        let pid = self.f.long();
        self.push(Inst::Call { intrinsic: Intrinsic::Pid, dest: Some(Dest::Long(pid)), args: Vec::new() });
        LongOp::Var(pid)
    }

    /// Takes what a probe asks for out of the array; ends the handler where something is not there that it needs.
    pub(super) fn load_entered(&mut self, probe: &'p Probe) {
        let asked = asked(probe);
        let Some(global) = self.lower.entries.array.filter(|_| !asked.is_empty()) else { return };
        self.at(probe.span);
        let pid = self.process();
        for (entered, needed) in asked {
            let cfa = self.quietly(&entered.cfa, &[]);
            let address = self.quietly(&entered.address, &[]);
            let register = LongOp::Imm(i64::from(entered.register));
            let keys: Vec<Arg> = [pid, cfa, address, register].map(Arg::Long).to_vec();
            let value = self.f.long();
            let element = Element { global, keys: keys.clone() };
            self.push(Inst::Get { dest: Dest::Long(value), element });
            // Asked after the value was read: had the element been given to somebody else meanwhile, the key would not be
            // there, as only the entry of this very call stores it.
            let seen = self.f.long();
            let keys = keys.into_iter().map(Some).collect();
            self.push(Inst::Contains { dest: seen, global, keys });
            if needed && !self.lower.program.skip_badvars {
                let (known, unknown) = (self.f.block(), self.f.block());
                self.f.end(Term::Branch { condition: LongOp::Var(seen), then: known, otherwise: unknown });
                self.f.switch_to(unknown);
                self.push(Inst::Call { intrinsic: Intrinsic::Unseen, dest: None, args: Vec::new() });
                self.f.end(Term::Return(None));
                self.f.switch_to(known);
            }
            let unseen = self.f.long();
            let (left, right) = (LongOp::Var(seen), LongOp::Imm(0));
            self.push(Inst::Cmp { op: CmpOp::Eq, dest: unseen, left, right });
            self.entered.push(Known { of: entered, value, unseen });
        }
    }

    /// A value of the entry, and a flag that is not 0 where it is not known.
    pub(super) fn entered(&self, entered: &Entered) -> (Var, Var) {
        match self.entered.iter().find(|known| known.of == entered) {
            Some(known) => (known.value, known.unseen),
            None => panic!("this is a bug: a value of the entry that the handler did not look up"),
        }
    }
}
