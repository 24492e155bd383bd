//! Stacks as text: addresses in hexadecimal, each followed by a blank, as SystemTap's `ubacktrace()` and `backtrace()`
//! give them.
//!
//! The text is made from its end, so that all digits of a number can be written at once: what is too much before a
//! number, the next one overwrites.
//!
//! Stacks of programs are walked by unwind tables where the kernel lets programs find what is mapped where
//! (`codegen::unwind`), else by frame pointers (`bpf_get_stack`).
//!
//! **Not here:** what the addresses are called (the user domain knows).

use super::super::unwind::{self, Begin, STATE, module};
use super::super::vcode::{Base, Constant, VInsn, VReg};
use super::{Memory, Result, Selector};
use crate::codegen::{CodegenError, Wanted};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use crate::target::Unwind;
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Inst, LongOp, Space, StrVar, StringId, Var};
use tracer_common::ledger::Cell;
use tracer_common::manifest::ProgramKind;
use tracer_common::record::USER_BITS;

/// `BPF_F_USER_STACK`; the low byte is how many frames are left out.
const USER_STACK: i64 = 1 << 8;
/// Offset of the stack pointer in `pt_regs` (x86-64).
const STACK_POINTER: i32 = 152;
/// Bytes of a number in the text, at most: `0x`, digits and a blank.
const NUMBER: u32 = 19;

/// Bytes that so many addresses have room in, with one more in front: a power of two, so that an offset in it can be
/// bounded by a mask.
fn room(frames: u32) -> u32 {
    ((frames + 1) * 8).next_power_of_two()
}

/// Bytes of the text: a power of two too.
fn text_size(frames: u32) -> u32 {
    ((frames + 1) * NUMBER + 24).next_power_of_two()
}

/// Bytes wanted of the scratch slot's area. Behind the text there is room for what an offset by mask could reach.
pub(crate) fn area_size(frames: u32) -> u32 {
    STATE + room(frames) + text_size(frames) + 24
}

/// Addresses that were taken.
struct Frames {
    area: Memory,
    /// Offset of the innermost.
    first: VReg,
    count: VReg,
}

impl Selector<'_, '_> {
    /// Frames of a stack, at most.
    fn depth(&self) -> u32 {
        self.shared.module.limits.backtrace
    }

    pub(super) fn stack(&mut self, space: Space, dest: StrVar) -> Result {
        let area = self.area();
        let text = area.at(STATE + room(self.depth()));
        let frames = self.frames(space, area)?;
        let left = frames.count;
        let (head, done) = (self.block(false), self.block(false));
        let position = self.reg();
        // Where the text ends: its NUL.
        let end = text_size(self.depth()) - 8;
        self.constant(position, i64::from(end));
        self.store(Size::B, text.at(end), 0);
        self.jump(head);
        self.at(head);
        // Below 1, not equal to 0: from that older verifiers learn nothing.
        self.jump_if(JumpOp::Lt, left, 1, done);
        self.alu(AluOp::Sub, left, 1);
        let address = self.frame(&frames, left);
        // Where code keeps something else in the frame pointer, the last of them are no addresses.
        if space == Space::User {
            let high = self.reg();
            self.mov(high, address);
            self.alu(AluOp::Rsh, high, USER_BITS as i32);
            self.jump_if(JumpOp::Ne, high, 0, head);
        }
        self.prepend(text, position, address);
        self.jump(head);
        self.at(done);
        let from = self.within(text, position);
        let from = self.address(from);
        let home = self.home(dest);
        self.string_from(home, self.capacity(dest), from);
        Ok(())
    }

    pub(super) fn frame_of(&mut self, space: Space, dest: Var, number: LongOp) -> Result {
        let area = self.area();
        let wanted = self.reg();
        self.set(wanted, number);
        let frames = self.frames(space, area)?;
        let count = frames.count;
        let dst = self.var(dest);
        self.constant(dst, 0);
        let done = self.block(false);
        self.jump_if(JumpOp::Ge, wanted, count, done);
        let address = self.frame(&frames, wanted);
        self.mov(dst, address);
        self.jump(done);
        self.at(done);
        Ok(())
    }

    /// Takes the addresses.
    fn frames(&mut self, space: Space, area: Memory) -> Result<Frames> {
        if space == Space::User
            && let Some(layout) = self.shared.target.unwind.clone()
        {
            return self.walk(&layout, area);
        }
        let area = area.at(STATE);
        let to = self.address(area.at(8));
        let flags = match (space, self.entry.kind) {
            (Space::User, _) => USER_STACK,
            // The first is this program; it says where it was called from only.
            (Space::Kernel, ProgramKind::RawTracepoint) => 1,
            (Space::Kernel, _) => 0,
        };
        let count =
            self.call_for(Helper::GetStack, &[self.ctx.into(), to, (self.depth() * 8).into(), flags.into()]);
        let read = self.block(false);
        self.jump_if(JumpOp::Sge, count, 0, read);
        self.constant(count, 0);
        self.jump(read);
        self.at(read);
        self.alu(AluOp::Rsh, count, 3);
        let first = self.reg();
        self.constant(first, 8);
        if space == Space::User && self.is_entry() {
            self.add_caller(area, count, first);
        }
        Ok(Frames { area, first, count })
    }

    /// Takes them by unwind tables.
    fn walk(&mut self, layout: &Unwind, state: Memory) -> Result<Frames> {
        let insts = self.function.blocks.iter().flat_map(|block| &block.insts);
        let walks = insts.filter(|(inst, _)| {
            matches!(inst, Inst::Call { intrinsic: Intrinsic::UserStack | Intrinsic::UserFrame, .. })
        });
        if !self.shared.target.features.bpf_loop && walks.count() as u32 * self.depth() > unwind::FOLLOWED {
            self.kernel_lacks("walk that many frames in a handler", "5.17")?;
        }
        let begin = match self.entry.kind {
            ProgramKind::Uprobe | ProgramKind::Uretprobe => Begin::Given,
            _ => Begin::Task,
        };
        if begin == Begin::Given {
            let registers =
                [(7, unwind::RSP), (6, unwind::RBP), (3, unwind::RBX), (10, unwind::R10), (16, unwind::PC)];
            for (register, to) in registers {
                let Some(off) = self.shared.target.arch.register_offset(register) else {
                    panic!("this is a bug: a register that the machine does not have")
                };
                let value = self.reg();
                self.push(VInsn::Load {
                    size: Size::Dw,
                    dst: value,
                    base: Base::Reg(self.ctx),
                    off: off.into(),
                });
                self.store(Size::Dw, state.at(to as u32), value);
            }
        }
        self.store(Size::Dw, state.at(unwind::IS_ENTRY as u32), i32::from(self.is_entry()));
        let function = unwind::walk(self.shared, layout, begin)?;
        self.code.below = self.code.below.max(unwind::FRAMES);
        let count = self.call_function(function, state);
        // It never is more; the verifier does not know.
        self.alu(AluOp::And, count, (self.depth() + 1).next_power_of_two() as i32 - 1);
        let (whole, cut) = (self.block(false), self.block(true));
        let flag = self.load_from(Size::Dw, state.at(unwind::CUT as u32));
        self.jump_if(JumpOp::Ne, flag, 0, cut);
        self.jump(whole);
        self.aside(cut, |s| {
            s.count(Cell::CutStacks);
            s.jump(whole);
        });
        self.at(whole);
        let first = self.reg();
        self.constant(first, 0);
        Ok(Frames { area: state.at(STATE), first, count })
    }

    /// Where a file is loaded.
    pub(super) fn module_base(&mut self, dest: Var, path: StringId) -> Result {
        let Some(layout) = self.shared.target.unwind.clone() else {
            let (place, wanted) = (self.place, Wanted::Types);
            return Err(CodegenError::Kernel { place, what: "find where another file is loaded", wanted });
        };
        let number = path.index() as i32;
        let state = self.area();
        self.store(Size::Dw, state.at(module::NUMBER as u32), number);
        let function = module::base(self.shared, &layout)?;
        self.code.below = self.code.below.max(unwind::FRAMES);
        let base = self.call_function(function, state);
        self.mov(self.var(dest), base);
        Ok(())
    }

    /// Whether the program is hit at the first instructions of functions only.
    fn is_entry(&self) -> bool {
        let mut sites = self.entry.sites.iter();
        self.entry.kind == ProgramKind::Uprobe
            && sites.all(|site| self.shared.manifest.sites[*site as usize].is_entry)
    }

    /// Before a function has set its frame pointer, the frames are its caller's: the return address is on top of the
    /// stack. Some kernels know that, and of some functions only (x86, since 6.12).
    fn add_caller(&mut self, area: Memory, count: VReg, first: VReg) {
        let (done, missing) = (self.block(false), self.block(false));
        let stack = self.reg();
        self.push(VInsn::Load { size: Size::Dw, dst: stack, base: Base::Reg(self.ctx), off: STACK_POINTER });
        self.temporary = 0;
        let buffer = self.temporary(8);
        let to = self.address(buffer);
        let failed = self.call_for(Helper::ProbeReadUser, &[to, 8i64.into(), stack.into()]);
        self.jump_if(JumpOp::Ne, failed, 0, done);
        self.jump_if(JumpOp::Lt, count, 1, done);
        let caller = self.load_from(Size::Dw, buffer);
        self.jump_if(JumpOp::Lt, count, 2, missing);
        let known = self.load_from(Size::Dw, area.at(16));
        self.jump_if(JumpOp::Eq, known, caller, done);
        self.jump(missing);
        self.at(missing);
        let innermost = self.load_from(Size::Dw, area.at(8));
        self.store(Size::Dw, area, innermost);
        self.store(Size::Dw, area.at(8), caller);
        self.constant(first, 0);
        self.alu(AluOp::Add, count, 1);
        self.jump(done);
        self.at(done);
    }

    /// The n-th address.
    fn frame(&mut self, frames: &Frames, number: VReg) -> VReg {
        let offset = self.reg();
        self.mov(offset, number);
        self.alu(AluOp::Lsh, offset, 3);
        self.alu(AluOp::Add, offset, frames.first);
        self.alu(AluOp::And, offset, room(self.depth()) as i32 - 1);
        let from = self.within(frames.area, offset);
        self.load_from(Size::Dw, from)
    }

    /// Memory at an offset that is known only when it runs.
    pub(super) fn within(&mut self, memory: Memory, offset: VReg) -> Memory {
        let Base::Reg(base) = memory.base else { panic!("this is a bug: an area that is in the frame") };
        let at = self.reg();
        self.mov(at, base);
        self.alu(AluOp::Add, at, offset);
        Memory { base: Base::Reg(at), ..memory }
    }

    /// Writes a number before the text, and a blank behind it.
    fn prepend(&mut self, text: Memory, position: VReg, number: VReg) {
        self.alu(AluOp::Sub, position, 17);
        self.alu(AluOp::And, position, text_size(self.depth()) as i32 - 1);
        let to = self.within(text, position);
        let (high, low) = (self.reg(), self.reg());
        self.mov(high, number);
        self.alu(AluOp::Rsh, high, 32);
        self.push(VInsn::Move32 { dst: low, src: number });
        for (half, at) in [(high, 0), (low, 8)] {
            self.digits_of(half);
            self.store(Size::Dw, to.at(at), half);
        }
        self.store(Size::B, to.at(16), i32::from(b' '));
        let zeros = self.leading_zeros(number);
        self.alu(AluOp::Add, position, zeros);
        self.alu(AluOp::Sub, position, 2);
        self.alu(AluOp::And, position, text_size(self.depth()) as i32 - 1);
        let to = self.within(text, position);
        self.store(Size::B, to, i32::from(b'0'));
        self.store(Size::B, to.at(1), i32::from(b'x'));
    }

    /// Turns 32 bits into their eight digits, in the order of memory.
    fn digits_of(&mut self, value: VReg) {
        let spread = self.reg();
        for (shift, mask) in
            [(16, 0x0000_ffff_0000_ffff), (8, 0x00ff_00ff_00ff_00ff), (4, 0x0f0f_0f0f_0f0f_0f0f_i64)]
        {
            self.mov(spread, value);
            self.alu(AluOp::Lsh, spread, shift);
            self.alu(AluOp::Or, value, spread);
            self.masked(value, mask);
        }
        // 1 in each byte that is a letter.
        let letters = self.reg();
        self.mov(letters, value);
        let six = self.known(Constant::Number(0x0606_0606_0606_0606));
        self.alu(AluOp::Add, letters, six);
        self.alu(AluOp::Rsh, letters, 4);
        self.masked(letters, 0x0101_0101_0101_0101);
        self.alu(AluOp::Mul, letters, i32::from(b'a') - i32::from(b'0') - 10);
        self.alu(AluOp::Add, value, letters);
        let zeros = self.known(Constant::Number(0x3030_3030_3030_3030));
        self.alu(AluOp::Add, value, zeros);
        self.push(VInsn::BigEndian { dst: value });
    }

    fn masked(&mut self, value: VReg, mask: i64) {
        let mask = self.known(Constant::Number(mask));
        self.alu(AluOp::And, value, mask);
    }

    /// How many of 16 digits are zeros before the first that is not, at most 15.
    pub(super) fn leading_zeros(&mut self, number: VReg) -> VReg {
        let (rest, zeros) = (self.reg(), self.reg());
        self.mov(rest, number);
        self.constant(zeros, 0);
        for digits in [8, 4, 2, 1] {
            // 1 where that many are all zeros.
            let empty = self.reg();
            self.mov(empty, rest);
            self.alu(AluOp::Rsh, empty, 64 - 4 * digits);
            self.alu(AluOp::Sub, empty, 1);
            self.alu(AluOp::Rsh, empty, 63);
            self.alu(AluOp::Mul, empty, digits);
            self.alu(AluOp::Add, zeros, empty);
            self.alu(AluOp::Lsh, empty, 2);
            self.alu(AluOp::Lsh, rest, empty);
        }
        zeros
    }
}
