//! Functions that helpers call back for each element of a map.
//!
//! They get the map in r1, the key in r2, the value in r3 and the caller's memory in r4, and return 0 to go on. They
//! are written by hand: they are short, and a frame of their own would cost the caller.

use super::{CodegenError, Shared};
use crate::asm::{Assembler, Code};
use crate::isa::{AluOp, AtomicOp, Helper, Imm64, Insn, JumpOp, Reg, Src};
use alloc::format;

/// Deletes every element.
pub(super) fn delete_each(shared: &mut Shared<'_>) -> Result<u32, CodegenError> {
    let mut asm = Assembler::new();
    // Map and key are where the helper wants them.
    asm.push(Insn::Call { helper: Helper::MapDeleteElem });
    done(&mut asm);
    let code = finish(asm)?;
    Ok(shared.function("delete_each".into(), || code))
}

/// Tries to take a lock, given a number of the try: ends the loop with the lock taken before try `tries`, or without.
pub(super) fn take(shared: &mut Shared<'_>, lock: u32, tries: u32) -> Result<u32, CodegenError> {
    let mut asm = Assembler::new();
    let end = asm.label();
    let number = |dst, value| Insn::Alu { op: AluOp::Mov, wide: true, dst, src: Src::Imm(value) };
    // The helper tells the number of rounds: all of them must not mean that the last one succeeded.
    asm.push(number(Reg::R0, 0));
    asm.jump_if(JumpOp::Ge, true, Reg::R1, tries as i32 - 1, end);
    asm.push(Insn::LoadImm64 { dst: Reg::R2, value: Imm64::MapValue { fd: 0, offset: lock } });
    asm.push(number(Reg::R1, 1));
    let (op, base) = (AtomicOp::Xchg, Reg::R2);
    asm.push(Insn::Atomic { op, fetch: true, wide: true, base, off: 0, src: Reg::R1 });
    asm.jump_if(JumpOp::Ne, true, Reg::R1, 0, end);
    asm.push(number(Reg::R0, 1));
    asm.bind(end);
    asm.push(Insn::Exit);
    let code = finish(asm)?;
    Ok(shared.function(format!("take_{lock}"), || code))
}

fn done(asm: &mut Assembler) {
    asm.push(Insn::Alu { op: AluOp::Mov, wide: true, dst: Reg::R0, src: Src::Imm(0) });
    asm.push(Insn::Exit);
}

fn finish(asm: Assembler) -> Result<Code, CodegenError> {
    asm.finish().map_err(|error| CodegenError::Limit(format!("{error}")))
}
