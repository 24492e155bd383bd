//! Values saved at a function's entry for its return probe: `@entry(…)` and parameters in `.return` probes.
//!
//! A program of its own runs at the entry of the same sites and stores each value in a hidden array, keyed by thread,
//! site and depth of recursion; the return probe takes them out again. Both share their sites, so that the site's
//! number matches. A trampoline at the exit still knows the arguments, so that those alone need no such program.
//!
//! A hit whose entry was not seen (the call began before the probes were armed) finds depth 0 and is left alone: the
//! handler does not run, as in stap.

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{
    self, Arg, Dest, Domain, Element, GlobalId, GlobalTy, Inst, LongOp, Term, Ty as IrTy, UpdateOp,
};
use tracer_common::manifest::ProgramKind;

use crate::lower::body::Body;
use crate::lower::capacity::Owner;
use crate::lower::{Lower, by_trampoline, context_of};
use crate::sema::program::{Access, ExprKind, Probe, Target, TargetValue, Ty};

/// The hidden arrays of one return probe.
pub(super) struct Saved {
    depth: GlobalId,
    values: Vec<(GlobalId, IrTy)>,
}

impl<'p> Lower<'p> {
    /// Makes the entry program of a return probe, if it saves anything.
    pub(super) fn entry_probe(&mut self, number: usize, probe: &'p Probe, trampoline: bool) -> Option<Saved> {
        let kind = probe.entry.filter(|_| !probe.saved.is_empty())?;
        let kind = if trampoline { by_trampoline(kind) } else { kind };
        let depth = self.hidden_array(format!("@entry.{number}.depth"), 2, IrTy::Long);
        let values: Vec<(GlobalId, IrTy)> = probe
            .saved
            .iter()
            .enumerate()
            .map(|(n, saved)| {
                let ty = match saved.ty {
                    Ty::Long => IrTy::Long,
                    Ty::Str => IrTy::Str(self.capacities.expr(Owner::Probe(number), saved)),
                };
                (self.hidden_array(format!("@entry.{number}.{n}"), 3, ty), ty)
            })
            .collect();
        self.store_at_entry(number, probe, kind, depth, &values);
        Some(Saved { depth, values })
    }

    fn hidden_array(&mut self, name: String, keys: usize, ty: IrTy) -> GlobalId {
        let id = self.module.global(ir::Global {
            name,
            keys: vec![IrTy::Long; keys],
            ty: GlobalTy::Value(ty),
            init: None,
            max_entries: self.limits.map_entries.max(10_240),
            wrap: false,
            forgets: false,
            ordered: false,
            shared: true,
            print_at_end: None,
        });
        self.hidden.push(id);
        id
    }

    fn store_at_entry(
        &mut self,
        number: usize,
        probe: &'p Probe,
        kind: ProgramKind,
        depth: GlobalId,
        values: &[(GlobalId, IrTy)],
    ) {
        let mut body = Body::new(
            self,
            &format!("entry.{number}"),
            Domain::Kernel,
            context_of(kind),
            Owner::Probe(number),
        );
        body.at(probe.span);
        body.guard(&probe.guard, None);
        let keys = body.thread_and_site();
        let level = body.f.long();
        body.push(Inst::Update {
            op: UpdateOp::Add,
            element: Element { global: depth, keys: keys.clone() },
            value: LongOp::Imm(1),
            old: None,
            new: Some(level),
        });
        for (saved, (global, _)) in probe.saved.iter().zip(values) {
            let value = body.arg(saved);
            let mut keys = keys.clone();
            keys.push(Arg::Long(LongOp::Var(level)));
            body.push(Inst::Set { element: Element { global: *global, keys }, value });
        }
        let function = body.finish();
        self.program(function, kind, &probe.sites);
    }
}

/// Whether all that a return probe saves at the entry are arguments of the function themselves.
pub(super) fn saves_arguments_only(probe: &Probe) -> bool {
    fn plain(access: &Access) -> bool {
        match access {
            Access::Constant(_) | Access::Register(..) => true,
            Access::Extend(value, _) => plain(value),
            Access::Binary(_, left, right) | Access::Compare(_, left, right) => plain(left) && plain(right),
            Access::Argument(..)
            | Access::Module(_)
            | Access::Task
            | Access::ThreadPointer
            | Access::Load { .. }
            | Access::Dynamic(_)
            | Access::Saved(_)
            | Access::Entered(_)
            | Access::AtEntry(_) => false,
        }
    }
    probe.saved.iter().all(|saved| {
        matches!(&saved.kind, ExprKind::Target(Target { value: TargetValue::Value(access), .. }) if plain(access))
    })
}

impl<'p> Body<'_, 'p> {
    /// In a return probe by trampoline: what would have been saved is there.
    fn load_arguments(&mut self, probe: &'p Probe) {
        for saved in &probe.saved {
            let value = self.long(saved);
            let var = self.f.long();
            self.push(Inst::Copy { dest: var, value });
            self.saved.push(Dest::Long(var));
        }
    }

    fn thread_and_site(&mut self) -> Vec<Arg> {
        let tid = self.f.long();
        self.push(Inst::Call { intrinsic: Intrinsic::Tid, dest: Some(Dest::Long(tid)), args: Vec::new() });
        let site = self.f.long();
        self.push(Inst::Site { dest: site });
        vec![Arg::Long(LongOp::Var(tid)), Arg::Long(LongOp::Var(site))]
    }

    /// In a return probe: takes the saved values out of their arrays, into registers.
    pub(super) fn load_saved(&mut self, probe: &'p Probe, saved: Option<&Saved>) {
        self.at(probe.span);
        let Some(saved) = saved else { return self.load_arguments(probe) };
        let keys = self.thread_and_site();
        let depth = Element { global: saved.depth, keys: keys.clone() };
        let level = self.f.long();
        self.push(Inst::Get { dest: Dest::Long(level), element: depth.clone() });
        let (known, unknown) = (self.f.block(), self.f.block());
        self.f.end(Term::Branch { condition: LongOp::Var(level), then: known, otherwise: unknown });
        self.f.switch_to(unknown);
        self.f.end(Term::Return(None));
        self.f.switch_to(known);
        for (global, ty) in &saved.values {
            let mut keys = keys.clone();
            keys.push(Arg::Long(LongOp::Var(level)));
            let dest = self.f.dest(*ty);
            self.push(Inst::Get { dest, element: Element { global: *global, keys: keys.clone() } });
            self.push(Inst::Delete { global: *global, keys: keys.into_iter().map(Some).collect() });
            self.saved.push(dest);
        }
        let (last, more, after) = (self.f.block(), self.f.block(), self.f.block());
        let is_last = self.make(|dest| Inst::Cmp {
            op: ir::CmpOp::Le,
            dest,
            left: LongOp::Var(level),
            right: LongOp::Imm(1),
        });
        self.f.end(Term::Branch { condition: is_last, then: last, otherwise: more });
        self.f.switch_to(last);
        self.push(Inst::Delete { global: depth.global, keys: keys.iter().copied().map(Some).collect() });
        self.f.end(Term::Jump(after));
        self.f.switch_to(more);
        self.push(Inst::Update {
            op: UpdateOp::Add,
            element: depth,
            value: LongOp::Imm(-1),
            old: None,
            new: None,
        });
        self.f.end(Term::Jump(after));
        self.f.switch_to(after);
    }
}
