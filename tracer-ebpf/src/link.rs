//! A program and the functions it uses, put behind each other as the kernel takes them.
//!
//! The program comes first, so its slots stay what they were; each function that it reaches follows once. Calls and
//! addresses of functions become distances; references to maps are left, with their slots moved.
//!
//! **Not here:** file descriptors of maps (the loader), relocations of the ELF file (`object`).

use crate::asm::{Code, FuncRef, Reference};
use crate::isa::{Imm64, Insn};
use alloc::vec::Vec;

/// A linked program.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Linked {
    /// All of its code; the references that are left are to maps.
    pub code: Code,
    /// Functions with their first slots, in the order of the code.
    pub functions: Vec<(FuncRef, usize)>,
}

/// Links a program with those of the functions that it reaches.
pub fn link(program: &Code, functions: &[&Code]) -> Linked {
    let mut linked = Linked::default();
    let mut end = program.slots();
    let mut parts = alloc::vec![(0, program)];
    let mut at = 0;
    while let Some((_, code)) = parts.get(at).copied() {
        for (_, reference) in &code.references {
            if let Reference::Call(function) | Reference::Address(function) = reference
                && linked.functions.iter().all(|(known, _)| known != function)
            {
                let code = functions[function.0 as usize];
                linked.functions.push((*function, end));
                parts.push((end, code));
                end += code.slots();
            }
        }
        at += 1;
    }
    for (start, code) in parts {
        append(&mut linked, start, code);
    }
    linked
}

fn append(linked: &mut Linked, start: usize, code: &Code) {
    let mut references = code.references.iter().peekable();
    for ((slot, insn), origin) in code.insns.iter().zip(&code.origins) {
        let at = start + slot;
        let mut insn = *insn;
        if let Some((_, reference)) = references.next_if(|(place, _)| place == slot) {
            match reference {
                Reference::Call(function) => insn = Insn::CallLocal { off: linked.distance(at, *function) },
                Reference::Address(function) => {
                    if let Insn::LoadImm64 { value, .. } = &mut insn {
                        *value = Imm64::Func(linked.distance(at, *function));
                    }
                }
                Reference::Map(_) | Reference::MapValue(_) => linked.code.references.push((at, *reference)),
            }
        }
        linked.code.insns.push((at, insn));
        linked.code.origins.push(*origin);
    }
}

impl Linked {
    /// Slots from the one behind `from` to a function.
    fn distance(&self, from: usize, function: FuncRef) -> i32 {
        let start = self.functions.iter().find(|(known, _)| *known == function).map_or(0, |(_, slot)| *slot);
        start as i32 - from as i32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asm::Assembler;
    use crate::isa::Reg;

    fn code(build: impl FnOnce(&mut Assembler)) -> Code {
        let mut asm = Assembler::new();
        build(&mut asm);
        asm.push(Insn::Exit);
        asm.finish().expect("short code")
    }

    #[test]
    fn functions_follow_in_the_order_of_use_each_once() {
        let program = code(|asm| {
            asm.address(Reg::R2, FuncRef(2));
            asm.call(FuncRef(1));
            asm.call(FuncRef(1));
        });
        let unused = code(|_| {});
        let caller = code(|asm| asm.call(FuncRef(2)));
        let callee = code(|asm| {
            asm.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::Map(7) });
        });
        let linked = link(&program, &[&unused, &caller, &callee]);
        // Five slots of the program, three of function 2, two of function 1.
        assert_eq!(linked.functions, [(FuncRef(2), 5), (FuncRef(1), 8)]);
        let insn = |slot| linked.code.insns.iter().find(|(at, _)| *at == slot).map(|(_, insn)| *insn);
        // The kernel counts both from the slot behind the instruction's first.
        assert_eq!(insn(0), Some(Insn::LoadImm64 { dst: Reg::R2, value: Imm64::Func(4) }));
        assert_eq!(insn(2), Some(Insn::CallLocal { off: 5 }));
        assert_eq!(insn(3), Some(Insn::CallLocal { off: 4 }));
        assert_eq!(insn(8), Some(Insn::CallLocal { off: -4 }));
        assert_eq!(linked.code.references, [(5, Reference::Map(7))]);
        assert_eq!(linked.code.slots(), 10);
    }
}
