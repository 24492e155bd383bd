//! Guards to instructions.
//!
//! An address that is bad reads as 0, and so lets no hit through that it should not: a task that just loses its
//! memory is none of the program's.

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, CmpOp, Dest, Element, Inst, LongOp, Term, UpdateOp};

use crate::lower::body::Body;
use crate::lower::expr::global_id;
use crate::sema::program::{Access, Check, GlobalId, Guard};

impl<'p> Body<'_, 'p> {
    /// The guard of a handler, and what makes it begin; `begun` is the array of threads that passed.
    pub(super) fn guard(&mut self, guard: &'p Guard, begun: Option<GlobalId>) {
        if guard.steps.is_empty() {
            return;
        }
        let mut kept = vec![self.of_task(Intrinsic::TaskCurrent)];
        for step in &guard.steps {
            match step {
                Check::Keep(access) => {
                    let value = self.quietly(access, &kept);
                    kept.push(value);
                }
                Check::Test(access) => {
                    let value = self.quietly(access, &kept);
                    self.end_unless(value);
                }
            }
        }
        self.push(Inst::Enter);
        if let (Some(fresh), Some(begun)) = (&guard.fresh, begun) {
            self.fresh(fresh, &kept, begun);
        }
    }

    /// Goes on where something begins, and where the thread passes for the first time; notes the thread anyway.
    fn fresh(&mut self, begins: &'p Access, kept: &[LongOp], begun: GlobalId) {
        let thread = self.of_task(Intrinsic::Tid);
        let element = Element { global: global_id(begun), keys: vec![Arg::Long(thread)] };
        let passed = self.f.long();
        let (op, value) = (UpdateOp::Add, LongOp::Imm(1));
        self.push(Inst::Update { op, element, value, old: Some(passed), new: None });
        let left = LongOp::Var(passed);
        let first = self.make(|dest| Inst::Cmp { op: CmpOp::Eq, dest, left, right: LongOp::Imm(0) });
        let (new, known) = (self.f.block(), self.f.block());
        self.f.end(Term::Branch { condition: first, then: new, otherwise: known });
        self.f.switch_to(known);
        let begins = self.quietly(begins, kept);
        self.end_unless(begins);
        self.f.fall_to(new);
        self.f.switch_to(new);
    }

    /// A number of the current task.
    pub(super) fn of_task(&mut self, intrinsic: Intrinsic) -> LongOp {
        self.make(|dest| Inst::Call { intrinsic, dest: Some(Dest::Long(dest)), args: Vec::new() })
    }

    fn end_unless(&mut self, condition: LongOp) {
        let (bad, good) = (self.f.block(), self.f.block());
        self.f.end(Term::Branch { condition, then: good, otherwise: bad });
        self.f.switch_to(bad);
        self.f.end(Term::Next);
        self.f.switch_to(good);
    }
}
