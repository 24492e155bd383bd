//! The probe context, and reads of kernel and user memory.

use super::super::vcode::{Base, VInsn};
use super::super::{CodegenError, Wanted};
use super::{Memory, Result, Selector, long_dest};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{ContextKind, Dest, LongOp, OnFault, Source, Space, StrOp, Var, Width};
use tracer_common::ledger::{self, Cell};
use tracer_common::manifest::ProgramKind;
use tracer_common::record::{ErrorKind, NUMBERS};

/// Rows of the ledger whose header is within reach of an instruction's offset.
const NEAR: u32 = 30_000;

impl Selector<'_, '_> {
    pub(super) fn context(&mut self, dest: Var, source: Source, width: Width) -> Result {
        if matches!(self.entry.kind, ProgramKind::Fentry | ProgramKind::Fexit) {
            return self.of_function(dest, source, width);
        }
        let (offset, narrow) = match (source, self.function.context) {
            (Source::Register(number), ContextKind::Registers | ContextKind::Perf) => {
                match self.shared.target.arch.register_offset(number) {
                    Some(offset) => (i32::from(offset), true),
                    None => return self.unsupported(&alloc::format!("DWARF register {number}")),
                }
            }
            (Source::Argument(number), ContextKind::Words) => (i32::from(number) * 8, false),
            (source, context) => {
                panic!("this is a bug: {source:?} in a {context:?} context (pass 2; dump with -p3)")
            }
        };
        let dst = self.var(dest);
        let base = Base::Reg(self.ctx);
        // A narrow load of a saved register reads its low bytes; words may only be read whole.
        let size = match Size::from_bytes(u32::from(width.bytes)) {
            Some(size) if narrow && !width.signed => size,
            _ => Size::Dw,
        };
        self.push(VInsn::Load { size, dst, base, off: offset });
        if size == Size::Dw && width.bytes < 8 {
            self.extend(dst, width);
        }
        Ok(())
    }

    /// `register("edi")`: where the context has registers.
    pub(super) fn register_named(&mut self, dest: Option<Dest>, name: StrOp, signed: LongOp) -> Result {
        if !matches!(self.function.context, ContextKind::Registers | ContextKind::Perf) {
            self.raise(ErrorKind::Registers, 0);
            let dead = self.block(true);
            self.at(dead);
            return Ok(());
        }
        let Some(text) = self.literal(name) else {
            return self.unsupported("a register whose name is not a literal");
        };
        let Some((offset, bytes)) = self.shared.target.arch.register_named(text) else {
            let name = alloc::string::String::from_utf8_lossy(text).into_owned();
            return self.unsupported(&alloc::format!("a register {name}: there is none, so it"));
        };
        let Some(Dest::Long(dest)) = dest else { return Ok(()) };
        let dst = self.var(dest);
        // The whole word: some contexts allow no part of it.
        let within = offset % 8;
        self.push(VInsn::Load {
            size: Size::Dw,
            dst,
            base: Base::Reg(self.ctx),
            off: i32::from(offset - within),
        });
        if within != 0 {
            self.alu(AluOp::Rsh, dst, i32::from(within) * 8);
        }
        if bytes < 8 {
            self.extend(dst, Width { bytes, signed: signed != LongOp::Imm(0) });
        }
        Ok(())
    }

    /// A word of a trampoline's context, by helper: a word that is read directly would be a typed pointer for the
    /// verifier where the function takes one, and no number to calculate with.
    fn of_function(&mut self, dest: Var, source: Source, width: Width) -> Result {
        self.temporary = 0;
        let word = self.temporary(8);
        self.store(Size::Dw, word, 0);
        let (ctx, at) = (self.ctx, self.address(word));
        match source {
            Source::Argument(number) => {
                self.call(Helper::GetFuncArg, &[ctx.into(), i64::from(number).into(), at]);
            }
            Source::Result => self.call(Helper::GetFuncRet, &[ctx.into(), at]),
            Source::Register(number) => {
                panic!("this is a bug: register {number} in a trampoline's context (pass 3; dump with -p3)")
            }
        }
        let dst = self.var(dest);
        let size = match Size::from_bytes(u32::from(width.bytes)) {
            Some(size) if !width.signed => size,
            _ => Size::Dw,
        };
        let Memory { base, off } = word;
        self.push(VInsn::Load { size, dst, base, off });
        if size == Size::Dw && width.bytes < 8 {
            self.extend(dst, width);
        }
        Ok(())
    }

    pub(super) fn load(
        &mut self,
        dest: Var,
        space: Space,
        address: LongOp,
        offset: i32,
        width: Width,
        on_fault: OnFault,
    ) -> Result {
        self.load_or(dest, (space, ErrorKind::read_fault(space)), (address, offset), width, on_fault)
    }

    /// A number at a kernel address, whose fault has a text of its own.
    pub(super) fn kernel_number(&mut self, dest: Var, address: LongOp, which: i64) -> Result {
        let Some((kind, width)) = NUMBERS.get(which as usize) else {
            panic!("this is a bug: a kernel number of no kind (ir::verify)")
        };
        self.load_or(dest, (Space::Kernel, *kind), (address, 0), *width, OnFault::Raise)
    }

    fn load_or(
        &mut self,
        dest: Var,
        (space, fault): (Space, ErrorKind),
        (address, offset): (LongOp, i32),
        width: Width,
        on_fault: OnFault,
    ) -> Result {
        let Some(size) = Size::from_bytes(u32::from(width.bytes)) else {
            panic!("this is a bug: a read of {} bytes (ir::verify)", width.bytes)
        };
        let from = self.read(address);
        let at = if offset == 0 {
            from
        } else {
            let at = self.reg();
            self.mov(at, from);
            self.alu(AluOp::Add, at, offset);
            at
        };
        let buffer = self.temporary(8);
        let to = self.address(buffer);
        let failed = self.call_for(reader(space), &[to, u32::from(width.bytes).into(), at.into()]);
        self.fetch(space, failed, buffer, u32::from(width.bytes), at);
        let dst = self.var(dest);
        match on_fault {
            OnFault::Raise => {
                self.raise_if(JumpOp::Ne, failed, 0, fault, at);
                self.push(VInsn::Load { size, dst, base: buffer.base, off: buffer.off });
            }
            // The helper zeroes what it could not read.
            OnFault::Zero => self.push(VInsn::Load { size, dst, base: buffer.base, off: buffer.off }),
            OnFault::Flag(flag) => {
                let flag = self.var(flag);
                let good = self.block(false);
                self.constant(flag, 0);
                self.push(VInsn::Load { size, dst, base: buffer.base, off: buffer.off });
                self.jump_if(JumpOp::Eq, failed, 0, good);
                self.constant(flag, 1);
                self.count(Cell::Faults);
                self.jump(good);
                self.at(good);
            }
        }
        if width.signed {
            self.extend(dst, width);
        }
        Ok(())
    }

    /// Writes the low bytes of a number to user memory.
    pub(super) fn write_user(&mut self, address: LongOp, value: LongOp, bytes: i64) -> Result {
        if !self.shared.target.features.probe_write_user {
            let what = "write memory of the program";
            return Err(CodegenError::Kernel { place: self.place, what, wanted: Wanted::Open });
        }
        let Some(size) = u32::try_from(bytes).ok().and_then(Size::from_bytes) else {
            panic!("this is a bug: a write of {bytes} bytes (pass 3; dump with -p3)")
        };
        let (at, value) = (self.read(address), self.read(value));
        let buffer = self.temporary(8);
        self.store(size, buffer, value);
        let from = self.address(buffer);
        let failed = self.call_for(Helper::ProbeWriteUser, &[at.into(), from, bytes.into()]);
        self.raise_if(JumpOp::Ne, failed, 0, ErrorKind::UserWriteFault, at);
        Ok(())
    }

    /// Sends a signal to the current process, with the helper's answer.
    pub(super) fn send_signal(&mut self, signal: LongOp, dest: Option<Dest>) {
        let signal = self.read(signal);
        let answer = self.call_for(Helper::SendSignal, &[signal.into()]);
        if let Some(var) = long_dest(Intrinsic::SendSignal, dest) {
            self.mov(self.var(var), answer);
        }
    }

    /// The word of the ledger's header at an offset, by way of the program's row where that is near enough.
    pub(super) fn header(&mut self, offset: u32) -> Memory {
        let row = ledger::offset(self.program, Cell::Hits);
        match self.row {
            Some(base) if row <= NEAR => Memory { base: Base::Reg(base), off: offset as i32 - row as i32 },
            _ => {
                let map = self.shared.ledger();
                let base = self.known(super::Constant::MapValue(map, offset));
                Memory { base: Base::Reg(base), off: 0 }
            }
        }
    }
}

pub(super) fn reader(space: Space) -> Helper {
    match space {
        Space::Kernel => Helper::ProbeReadKernel,
        Space::User => Helper::ProbeReadUser,
    }
}
