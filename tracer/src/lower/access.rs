//! Target variables: access trees to instructions.

use tracer_common::format::Part;
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, BinOp, Dest, Inst, LongOp, OnFault, Source, Space, StrOp, Ty as IrTy, Var};

use crate::lower::body::Body;
use crate::sema::families::argument_number;
use crate::sema::program::{Access, Expr, ExprKind, PrettyPart, Target, TargetValue};

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

    /// Captures the values of a pretty-printed variable. Numbers come with a fault flag, texts as strings.
    pub(super) fn pretty_parts(&mut self, parts: &'p [PrettyPart], target: &'p Target) -> Vec<(Arg, IrTy)> {
        let mut captured = Vec::new();
        for part in parts {
            match part {
                PrettyPart::Text(_) => {}
                PrettyPart::Number(access, _) => {
                    let (value, flag) = self.access_or_flag(access, target);
                    captured.push((Arg::Long(value), IrTy::Long));
                    captured.push((Arg::Long(flag.unwrap_or(LongOp::Imm(0))), IrTy::Long));
                }
                PrettyPart::Text8(space, access) => {
                    let address = self.access(access, target);
                    let intrinsic = match space {
                        Space::User => Intrinsic::UserString,
                        Space::Kernel => Intrinsic::KernelString,
                    };
                    let capacity = self.lower.limits.string_len;
                    let dest = self.f.string(capacity);
                    self.push(Inst::Call {
                        intrinsic,
                        dest: Some(Dest::Str(dest)),
                        args: vec![Arg::Long(address)],
                    });
                    captured.push((Arg::Str(StrOp::Var(dest)), IrTy::Str(capacity)));
                }
            }
        }
        captured
    }

    /// The text of a pretty-printed variable from its captured values.
    pub(super) fn pretty_text(&mut self, expr: &'p Expr, values: Vec<Arg>) -> StrOp {
        let ExprKind::Target(Target { value: TargetValue::Pretty { parts }, .. }) = &expr.kind else {
            panic!("this is a bug: pretty parts were captured for something else");
        };
        let text = self.f.string(self.lower.limits.string_len);
        let mut values = values.into_iter();
        for part in parts {
            let right = match part {
                PrettyPart::Text(literal) => StrOp::Lit(self.lower.module.string(literal.as_bytes())),
                PrettyPart::Number(_, format) => {
                    let (value, flag) = (values.next(), values.next());
                    self.number_or_question_mark(value, flag, format)
                }
                PrettyPart::Text8(..) => match values.next() {
                    Some(Arg::Str(value)) => value,
                    _ => panic!("this is a bug: a pretty part lost its text"),
                },
            };
            self.push(Inst::StrConcat { dest: text, left: StrOp::Var(text), right });
        }
        StrOp::Var(text)
    }

    fn number_or_question_mark(&mut self, value: Option<Arg>, flag: Option<Arg>, format: &[Part]) -> StrOp {
        let (Some(value), Some(Arg::Long(flag))) = (value, flag) else {
            panic!("this is a bug: a pretty part lost its number");
        };
        let dest = self.f.string(32);
        let (bad, good, after) = (self.f.block(), self.f.block(), self.f.block());
        self.f.end(tracer_common::ir::Term::Branch { condition: flag, then: bad, otherwise: good });
        self.f.switch_to(bad);
        let unknown = StrOp::Lit(self.lower.module.string(b"?"));
        self.push(Inst::StrCopy { dest, value: unknown });
        self.f.end(tracer_common::ir::Term::Jump(after));
        self.f.switch_to(good);
        let format = self.lower.module.format(format.to_vec());
        self.push(Inst::Format { dest, format, args: vec![value] });
        self.f.end(tracer_common::ir::Term::Jump(after));
        self.f.switch_to(after);
        StrOp::Var(dest)
    }
}
