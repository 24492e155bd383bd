//! The assembler: labels, references to maps and functions, and where each instruction comes from.
//!
//! Map references are ordinary [`Imm64::Map`] and [`Imm64::MapValue`] operands whose "file descriptor" is the map's
//! index in the object; [`Code::references`] lists them, and `object` turns them into relocations. References to
//! functions are by [`FuncRef`] and are resolved when the object is written.
//!
//! **Not here:** choosing instructions (`codegen`).

use crate::isa::{Imm64, Insn, JumpOp, Reg, Src, encode};
use alloc::vec::Vec;
use core::fmt;
use tracer_common::ir::PlaceId;

/// A place in the code, bound once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Label(u32);

/// A subprogram of the object, by index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FuncRef(pub u32);

/// Why an instruction is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Origin {
    /// The place in the script, for instructions that do what the script says.
    pub place: Option<PlaceId>,
    /// What the instruction is for, where the place does not tell.
    pub note: &'static str,
}

/// What an instruction refers to outside its function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reference {
    /// A map, by index.
    Map(u32),
    /// A byte of the first value of a map, by index.
    MapValue(u32),
    /// A subprogram that is called.
    Call(FuncRef),
    /// A subprogram whose address is taken.
    Address(FuncRef),
}

/// File, line and column at the end of `operator '/' at t.stp:1:25`.
pub(crate) fn position(text: &str) -> (&str, u32, u32) {
    let place = text.rsplit(' ').next().unwrap_or("");
    let mut pieces = place.rsplitn(3, ':');
    let (column, line, file) = (pieces.next(), pieces.next(), pieces.next());
    match (file, line.and_then(|n| n.parse().ok()), column.and_then(|n| n.parse().ok())) {
        (Some(file), Some(line), Some(column)) => (file, line, column),
        _ => ("script", 0, 0),
    }
}

/// A finished function.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Code {
    /// Its instructions, each with its first slot.
    pub insns: Vec<(usize, Insn)>,
    /// Where each instruction comes from.
    pub origins: Vec<Origin>,
    /// References, each with the slot that makes it.
    pub references: Vec<(usize, Reference)>,
}

impl Code {
    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.insns.last().map_or(0, |(slot, insn)| slot + insn.slots())
    }

    /// The bytes; references hold map indices and unresolved calls.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.slots() * 8);
        for (_, insn) in &self.insns {
            encode(insn, &mut out);
        }
        out
    }
}

/// Why code could not be assembled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AsmError {
    /// A jump reaches further than its offset field.
    JumpRange,
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AsmError::JumpRange => f.write_str("a jump reaches further than 32767 instructions"),
        }
    }
}

enum Item {
    Insn(Insn),
    Jump(Label),
    JumpIf { op: JumpOp, wide: bool, left: Reg, right: Src, to: Label },
    MayGoto(Label),
    Call(FuncRef),
    Address(Reg, FuncRef),
}

/// Collects instructions; [`Assembler::finish`] resolves labels.
#[derive(Default)]
pub struct Assembler {
    items: Vec<(Item, Origin)>,
    /// Item index of each label.
    labels: Vec<Option<usize>>,
    origin: Origin,
}

impl Assembler {
    /// An empty function.
    pub fn new() -> Assembler {
        Assembler::default()
    }

    /// A new label, to be bound later.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() as u32 - 1)
    }

    /// Binds a label to the next instruction.
    pub fn bind(&mut self, label: Label) {
        debug_assert!(self.labels[label.0 as usize].is_none(), "this is a bug: a label is bound twice");
        self.labels[label.0 as usize] = Some(self.items.len());
    }

    /// The origin of the instructions that follow.
    pub fn origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Appends an instruction.
    pub fn push(&mut self, insn: Insn) {
        self.items.push((Item::Insn(insn), self.origin));
    }

    /// Appends a jump.
    pub fn jump(&mut self, to: Label) {
        self.items.push((Item::Jump(to), self.origin));
    }

    /// Appends a conditional jump.
    pub fn jump_if(&mut self, op: JumpOp, wide: bool, left: Reg, right: impl Into<Src>, to: Label) {
        self.items.push((Item::JumpIf { op, wide, left, right: right.into(), to }, self.origin));
    }

    /// Appends a `may_goto`.
    pub fn may_goto(&mut self, to: Label) {
        self.items.push((Item::MayGoto(to), self.origin));
    }

    /// Appends a call of a subprogram.
    pub fn call(&mut self, function: FuncRef) {
        self.items.push((Item::Call(function), self.origin));
    }

    /// Loads the address of a subprogram.
    pub fn address(&mut self, dst: Reg, function: FuncRef) {
        self.items.push((Item::Address(dst, function), self.origin));
    }

    /// Resolves labels. A jump to the instruction that follows it is left out.
    pub fn finish(mut self) -> Result<Code, AsmError> {
        self.drop_empty_jumps();
        let mut slots = Vec::with_capacity(self.items.len() + 1);
        let mut next = 0;
        for (item, _) in &self.items {
            slots.push(next);
            next += match item {
                Item::Insn(insn) => insn.slots(),
                Item::Address(..) => 2,
                Item::Jump(_) | Item::JumpIf { .. } | Item::MayGoto(_) | Item::Call(_) => 1,
            };
        }
        slots.push(next);
        let mut code = Code::default();
        for (index, (item, origin)) in self.items.iter().enumerate() {
            let slot = slots[index];
            let distance = |to: &Label| -> Result<i16, AsmError> {
                let Some(item) = self.labels[to.0 as usize] else {
                    unreachable!("this is a bug: a label is used but not bound")
                };
                i16::try_from(slots[item] as i64 - slot as i64 - 1).map_err(|_| AsmError::JumpRange)
            };
            let insn = match item {
                Item::Insn(insn) => {
                    if let Insn::LoadImm64 { value, .. } = insn {
                        match value {
                            Imm64::Map(map) => code.references.push((slot, Reference::Map(*map as u32))),
                            Imm64::MapValue { fd, .. } => {
                                code.references.push((slot, Reference::MapValue(*fd as u32)));
                            }
                            Imm64::Value(_) | Imm64::Func(_) => {}
                        }
                    }
                    *insn
                }
                Item::Jump(to) => Insn::Jump { off: distance(to)? },
                Item::JumpIf { op, wide, left, right, to } => {
                    Insn::JumpIf { op: *op, wide: *wide, left: *left, right: *right, off: distance(to)? }
                }
                Item::MayGoto(to) => Insn::MayGoto { off: distance(to)? },
                Item::Call(function) => {
                    code.references.push((slot, Reference::Call(*function)));
                    Insn::CallLocal { off: -1 }
                }
                Item::Address(dst, function) => {
                    code.references.push((slot, Reference::Address(*function)));
                    Insn::LoadImm64 { dst: *dst, value: Imm64::Func(0) }
                }
            };
            code.insns.push((slot, insn));
            code.origins.push(*origin);
        }
        Ok(code)
    }

    fn drop_empty_jumps(&mut self) {
        loop {
            let empty = |(index, (item, _)): (usize, &(Item, Origin))| match item {
                Item::Jump(to) => self.labels[to.0 as usize] == Some(index + 1),
                Item::Insn(_)
                | Item::JumpIf { .. }
                | Item::MayGoto(_)
                | Item::Call(_)
                | Item::Address(..) => false,
            };
            let Some(index) = self.items.iter().enumerate().position(empty) else { return };
            self.items.remove(index);
            for label in self.labels.iter_mut().flatten() {
                if *label > index {
                    *label -= 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{AluOp, Text};
    use alloc::format;

    #[test]
    fn labels_and_references() {
        let mut asm = Assembler::new();
        let (end, again) = (asm.label(), asm.label());
        asm.bind(again);
        asm.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::MapValue { fd: 2, offset: 8 } });
        asm.jump_if(JumpOp::Eq, true, Reg::R1, 0, end);
        asm.jump(again);
        asm.bind(end);
        asm.push(Insn::Alu { op: AluOp::Mov, wide: true, dst: Reg::R0, src: Src::Imm(0) });
        asm.push(Insn::Exit);
        let code = asm.finish().unwrap();
        let text: Vec<_> = code.insns.iter().map(|(slot, insn)| format!("{slot} {}", Text(insn))).collect();
        assert_eq!(
            text,
            ["0 r1 = map[fd:2]+8", "2 if r1 == 0x0 goto pc+1", "3 goto pc-4", "4 r0 = 0", "5 exit"]
        );
        assert_eq!(code.references, [(0, Reference::MapValue(2))]);
        assert_eq!(code.slots(), 6);
        assert_eq!(code.bytes().len(), 48);
    }

    #[test]
    fn a_jump_to_the_next_instruction_goes_away() {
        let mut asm = Assembler::new();
        let (a, b) = (asm.label(), asm.label());
        asm.jump(a);
        asm.bind(a);
        asm.jump(b);
        asm.bind(b);
        asm.push(Insn::Exit);
        assert_eq!(asm.finish().unwrap().insns, [(0, Insn::Exit)]);
    }

    #[test]
    fn far_jumps_are_refused() {
        let mut asm = Assembler::new();
        let end = asm.label();
        asm.jump(end);
        for _ in 0..40_000 {
            asm.push(Insn::Alu { op: AluOp::Mov, wide: true, dst: Reg::R0, src: Src::Imm(0) });
        }
        asm.bind(end);
        asm.push(Insn::Exit);
        assert_eq!(asm.finish(), Err(AsmError::JumpRange));
    }

    #[test]
    fn positions() {
        assert_eq!(position("operator '/' at t.stp:1:25"), ("t.stp", 1, 25));
        assert_eq!(position("identifier 'a' at /x/y.stp:12:3"), ("/x/y.stp", 12, 3));
        assert_eq!(position("nowhere"), ("script", 0, 0));
        assert_eq!(position(""), ("script", 0, 0));
    }
}
