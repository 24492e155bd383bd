//! Target variables: access trees to instructions.

use std::collections::BTreeMap;

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, BinOp, CmpOp, Dest, Inst, LongOp, OnFault, Source, Var};

use crate::lower::body::Body;
use crate::lower::entered::targets;
use crate::sema::families::argument_number;
use crate::sema::program::{Access, Probe, Target};

/// What bad addresses do.
enum Faults {
    Raise,
    /// They read as 0, and nobody is told.
    Zero,
    /// They read as 0; the registers say whether there were any.
    Flag(Vec<Var>),
}

impl<'p> Body<'_, 'p> {
    /// The value of an access; a bad address raises, or with `--skip-badvars` reads as 0.
    pub(super) fn access(&mut self, access: &'p Access, target: &'p Target) -> LongOp {
        // Faults are counted with their flags.
        let mut faults = match self.lower.program.skip_badvars {
            true => Faults::Flag(Vec::new()),
            false => Faults::Raise,
        };
        let indices = self.indices(target);
        self.tree(access, &indices, &mut faults)
    }

    /// The value of an access, and a flag that is not 0 when an address was bad; no flag when nothing can fault.
    pub(super) fn access_or_flag(
        &mut self,
        access: &'p Access,
        target: &'p Target,
    ) -> (LongOp, Option<LongOp>) {
        let indices = self.indices(target);
        let mut faults = Faults::Flag(Vec::new());
        let value = self.tree(access, &indices, &mut faults);
        let Faults::Flag(flags) = faults else { return (value, None) };
        let flag = flags.into_iter().map(LongOp::Var).reduce(|all, flag| self.bin(BinOp::Or, all, flag));
        (value, flag)
    }

    /// The value of an address of a target variable; a bad one on the way to it raises.
    pub(super) fn address_of(&mut self, address: &'p Access, target: &'p Target) -> LongOp {
        let indices = self.indices(target);
        self.tree(address, &indices, &mut Faults::Raise)
    }

    /// The value of an access of a guard; a bad address reads as 0.
    pub(super) fn quietly(&mut self, access: &'p Access, kept: &[LongOp]) -> LongOp {
        self.tree(access, kept, &mut Faults::Zero)
    }

    /// Where a file is loaded in the process of the hit.
    fn module_base(&mut self, path: &'p str, faults: &mut Faults) -> LongOp {
        let base = match self.modules.iter().find(|(known, _)| *known == path) {
            Some((_, base)) => *base,
            None => self.find_module(path),
        };
        match faults {
            Faults::Raise => {
                let args = vec![Arg::Str(self.literal(path.as_bytes())), Arg::Long(base)];
                self.push(Inst::Call { intrinsic: Intrinsic::ModuleNeeded, dest: None, args });
            }
            Faults::Zero => {}
            Faults::Flag(flags) => {
                let missing = self.f.long();
                self.push(Inst::Cmp { op: CmpOp::Eq, dest: missing, left: base, right: LongOp::Imm(0) });
                flags.push(missing);
            }
        }
        base
    }

    fn find_module(&mut self, path: &str) -> LongOp {
        let path = self.literal(path.as_bytes());
        self.make(|dest| Inst::Call {
            intrinsic: Intrinsic::ModuleBase,
            dest: Some(Dest::Long(dest)),
            args: vec![Arg::Str(path)],
        })
    }

    /// Finds the files that a handler asks for more than once: what it asks for once may be behind a condition.
    pub(super) fn find_modules(&mut self, probe: &'p Probe) {
        fn parts<'a>(access: &'a Access, found: &mut BTreeMap<&'a str, usize>) {
            if let Access::Module(path) = access {
                *found.entry(path).or_default() += 1;
            }
            access.parts().for_each(|part| parts(part, found));
        }
        let mut found = BTreeMap::new();
        for target in targets(probe) {
            target.value.accesses().into_iter().for_each(|access| parts(access, &mut found));
        }
        self.at(probe.span);
        for (path, times) in found {
            if times > 1 {
                let base = self.find_module(path);
                self.modules.push((path, base));
            }
        }
    }

    fn indices(&mut self, target: &'p Target) -> Vec<LongOp> {
        target.indices.iter().map(|index| self.kept_long(index)).collect()
    }

    fn tree(&mut self, access: &'p Access, indices: &[LongOp], faults: &mut Faults) -> LongOp {
        match access {
            Access::Constant(value) => LongOp::Imm(*value),
            Access::Register(number, width) => {
                let source = match self.by_trampoline {
                    false => Source::Register(*number),
                    true => argument_number(*number).map_or(Source::Result, Source::Argument),
                };
                self.make(|dest| Inst::Context { dest, source, width: *width })
            }
            Access::Argument(number, width) => {
                self.make(|dest| Inst::Context { dest, source: Source::Argument(*number), width: *width })
            }
            Access::Load { space, address, offset, width } => {
                let address = self.tree(address, indices, faults);
                let on_fault = match faults {
                    Faults::Raise => OnFault::Raise,
                    Faults::Zero => OnFault::Zero,
                    Faults::Flag(flags) => {
                        let flag = self.f.long();
                        flags.push(flag);
                        OnFault::Flag(flag)
                    }
                };
                self.make(|dest| Inst::Load {
                    dest,
                    space: *space,
                    address,
                    offset: *offset,
                    width: *width,
                    on_fault,
                })
            }
            Access::Binary(op, left, right) => {
                let left = self.tree(left, indices, faults);
                let right = self.tree(right, indices, faults);
                self.bin(*op, left, right)
            }
            Access::Compare(op, left, right) => {
                let left = self.tree(left, indices, faults);
                let right = self.tree(right, indices, faults);
                self.make(|dest| Inst::Cmp { op: *op, dest, left, right })
            }
            Access::Extend(value, width) => {
                let value = self.tree(value, indices, faults);
                self.make(|dest| Inst::Extend { dest, value, width: *width })
            }
            Access::Module(path) => self.module_base(path, faults),
            Access::Task => self.of_task(Intrinsic::TaskCurrent),
            Access::ThreadPointer => panic!("this is a bug: pass 2 left the thread pointer as it was"),
            Access::Entered(entered) => {
                let (value, unseen) = self.entered(entered);
                if let Faults::Flag(flags) = faults {
                    flags.push(unseen);
                }
                LongOp::Var(value)
            }
            Access::Dynamic(n) => indices[*n as usize],
            Access::AtEntry(_) => {
                panic!("this is a bug: pass 2 left a value of the entry that it did not save")
            }
            Access::Saved(n) => match self.saved.get(*n) {
                Some(Dest::Long(var)) => LongOp::Var(*var),
                _ => panic!("this is a bug: a value saved at entry that pass 3 did not load"),
            },
        }
    }
}
