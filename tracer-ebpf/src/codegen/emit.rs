//! Virtual code with colours to machine instructions: frame offsets, block order, jump offsets.
//!
//! Blocks follow each other in depth-first order, hot paths first, so that most jumps become fall-throughs; a jump to
//! a block that only jumps goes straight to its end.
//!
//! **Not here:** which registers (`regalloc`), the object file (`crate::object`).

use super::CodegenError;
use super::vcode::{Base, Constant, Label, MACHINE, VCode, VInsn, VReg, VSrc};
use crate::asm::{self, Assembler, Code, FuncRef, Origin};
use crate::isa::{AluOp, AtomicOp, Endian, Helper, Imm64, Insn, JumpOp, Reg, Src};
use alloc::vec;
use alloc::vec::Vec;

/// The note of instructions whose constant is the site's number.
/// What the kernel keeps of `may_goto`'s budget and its time.
const BUDGET: u32 = 16;
const SITE: &str = "site";

/// Bytes of a program's frame.
const FRAME: u32 = 512;

/// The smallest frame that a kernel may give memory of a CPU, less what rounding and the verifier add to it.
const PRIVATE_FRAME: u32 = 32;

/// Turns coloured code into instructions, and says which slots hold the site's number. `shares_cpu`: whether the program
/// may run several times at once on one CPU.
pub(crate) fn emit(
    code: &VCode,
    colours: &[Reg],
    shares_cpu: bool,
) -> Result<(Code, Vec<u32>), CodegenError> {
    let mut asm = Assembler::new();
    let labels = code.blocks.iter().map(|_| asm.label()).collect();
    let held = [None; MACHINE as usize];
    let frame = frame_offsets(code)?;
    let depth = frame.iter().map(|at| at.unsigned_abs()).max().unwrap_or(0) + code.below;
    let mut emitter = Emitter { colours, frame, asm, labels, held };
    if shares_cpu && depth > PRIVATE_FRAME {
        emitter.keep_stack(code);
    }
    let order = layout(code);
    for (n, label) in order.iter().enumerate() {
        emitter.asm.bind(emitter.labels[label.0 as usize]);
        emitter.held = [None; MACHINE as usize];
        let insns = &code.blocks[label.0 as usize].insns;
        let mut at = 0;
        while let Some((insn, place)) = insns.get(at) {
            emitter.asm.origin(Origin { place: Some(*place), note: "" });
            // `if c goto next; goto other` is `if !c goto other`.
            match (insn, insns.get(at + 1)) {
                (VInsn::JumpIf { op, wide, left, right, to }, Some((VInsn::Jump { to: other }, _)))
                    if !code.blocks[label.0 as usize].ends_first
                        && Some(&follow(code, *to)) == order.get(n + 1)
                        && let Some(op) = op.negated() =>
                {
                    let turned = VInsn::JumpIf { op, wide: *wide, left: *left, right: *right, to: *other };
                    emitter.insn(&turned, code)?;
                    at += 2;
                }
                _ => {
                    emitter.insn(insn, code)?;
                    at += 1;
                }
            }
        }
    }
    let code = emitter
        .asm
        .finish()
        .map_err(|_| CodegenError::Limit("the handler is too large for one program".into()))?;
    let sites = code.insns.iter().zip(&code.origins).filter(|(_, origin)| origin.note == SITE);
    let sites = sites.map(|((slot, _), _)| *slot as u32).collect();
    Ok((code, sites))
}

impl Emitter<'_> {
    /// Keeps the program on the stack of its task.
    ///
    /// Since Linux 6.13 programs of the kprobe type have their larger frames in memory of the CPU, because no two of them
    /// run on one CPU at once. Those of uprobes do, where they sleep or are preempted, and nothing in the kernel looks
    /// for it: each would write into the other's frame. Programs with a tail call have no such memory. This one is never
    /// made, the verifier knows that, and takes it out.
    fn keep_stack(&mut self, code: &VCode) {
        let place = code.blocks.first().and_then(|block| block.insns.first()).map(|(_, place)| *place);
        self.asm.origin(Origin { place, note: "" });
        let begin = self.asm.label();
        self.asm.push(Insn::Alu { op: AluOp::Mov, wide: true, dst: Reg::R0, src: Src::Imm(0) });
        self.asm.jump_if(JumpOp::Eq, true, Reg::R0, 0, begin);
        self.asm.push(Insn::Call { helper: Helper::TAIL_CALL });
        self.asm.bind(begin);
    }
}

/// Offset from the frame pointer of every slot.
fn frame_offsets(code: &VCode) -> Result<Vec<i32>, CodegenError> {
    let temporaries = code.slots.iter().filter_map(|s| s.temporary.map(|at| at + s.size)).max().unwrap_or(0);
    let mut depth = temporaries;
    let mut offsets = Vec::with_capacity(code.slots.len());
    for slot in &code.slots {
        match slot.temporary {
            Some(at) => offsets.push(-((temporaries - at) as i32)),
            None => {
                depth += slot.size;
                offsets.push(-(depth as i32));
            }
        }
    }
    let may_go =
        code.blocks.iter().flat_map(|b| &b.insns).any(|(insn, _)| matches!(insn, VInsn::MayGoto { .. }));
    let allowed = FRAME - code.below - if may_go { BUDGET } else { 0 };
    if depth > allowed {
        return Err(CodegenError::Limit(alloc::format!(
            "the handler needs {depth} bytes of stack, the kernel allows {allowed}"
        )));
    }
    Ok(offsets)
}

/// The order of blocks: depth first along fall-throughs, cold ones last.
fn layout(code: &VCode) -> Vec<Label> {
    let mut placed = vec![false; code.blocks.len()];
    let mut order = Vec::with_capacity(code.blocks.len());
    let mut hot = vec![Label(0)];
    let mut cold = Vec::new();
    while let Some(label) = hot.pop().or_else(|| cold.pop()) {
        let label = follow(code, label);
        if placed[label.0 as usize] {
            continue;
        }
        placed[label.0 as usize] = true;
        order.push(label);
        let block = &code.blocks[label.0 as usize];
        // Conditional targets first, the final jump last, so that it is taken next.
        let inline = code.cold_falls_through(block);
        let mut beside = None;
        for next in block.successors() {
            let next = follow(code, next);
            let is_cold = code.blocks[next.0 as usize].cold;
            if is_cold && inline {
                hot.extend(beside.replace(next));
            } else if is_cold && !block.cold {
                cold.push(next);
            } else {
                hot.push(next);
            }
        }
        hot.extend(beside);
    }
    order
}

/// Through blocks that only jump. Stops after as many steps as there are blocks: an empty endless loop.
fn follow(code: &VCode, mut label: Label) -> Label {
    for _ in 0..code.blocks.len() {
        match code.blocks[label.0 as usize].insns.as_slice() {
            [(VInsn::Jump { to }, _)] => label = *to,
            _ => break,
        }
    }
    label
}

struct Emitter<'a> {
    colours: &'a [Reg],
    frame: Vec<i32>,
    asm: Assembler,
    labels: Vec<asm::Label>,
    /// Constants that registers hold since earlier in the block.
    held: [Option<Constant>; MACHINE as usize],
}

impl Emitter<'_> {
    fn reg(&self, reg: VReg) -> Reg {
        if reg.0 < MACHINE { reg.machine().unwrap_or(Reg::R0) } else { self.colours[reg.0 as usize] }
    }

    fn src(&self, src: VSrc) -> Src {
        match src {
            VSrc::Reg(reg) => Src::Reg(self.reg(reg)),
            VSrc::Imm(imm) => Src::Imm(imm),
        }
    }

    fn base(&self, base: Base, off: i32) -> Result<(Reg, i16), CodegenError> {
        let (reg, off) = match base {
            Base::Reg(reg) => (self.reg(reg), off),
            Base::Slot(slot) => (Reg::FRAME, self.frame[slot.0 as usize] + off),
        };
        match i16::try_from(off) {
            Ok(off) => Ok((reg, off)),
            Err(_) => Err(CodegenError::Limit("a record, key or value is larger than 32 kB".into())),
        }
    }

    fn mov(&mut self, wide: bool, dst: Reg, src: Src) {
        self.asm.push(Insn::Alu { op: AluOp::Mov, wide, dst, src });
    }

    fn insn(&mut self, insn: &VInsn, code: &VCode) -> Result<(), CodegenError> {
        if let VInsn::Constant { dst, value } = insn {
            let held = &mut self.held[self.colours[dst.0 as usize].index()];
            if held.replace(*value) == Some(*value) {
                return Ok(());
            }
        } else {
            insn.defs(|reg| self.held[self.colours[reg.0 as usize].index()] = None);
        }
        match insn {
            VInsn::Move { dst, src } => {
                let (dst, src) = (self.reg(*dst), self.reg(*src));
                if dst != src {
                    self.mov(true, dst, src.into());
                }
            }
            VInsn::Move32 { dst, src } => {
                let (dst, src) = (self.reg(*dst), self.reg(*src));
                self.mov(false, dst, src.into());
            }
            VInsn::SignExtend { bits, dst, src } => {
                let (dst, src) = (self.reg(*dst), self.reg(*src));
                self.asm.push(Insn::MovSx { wide: true, bits: *bits, dst, src });
            }
            VInsn::BigEndian { dst } => {
                self.asm.push(Insn::Endian { to: Endian::Big, bits: 64, dst: self.reg(*dst) });
            }
            VInsn::Constant { dst, value } => self.constant(self.reg(*dst), *value),
            VInsn::Alu { op, wide, dst, src } => {
                let insn = Insn::Alu { op: *op, wide: *wide, dst: self.reg(*dst), src: self.src(*src) };
                self.asm.push(insn);
            }
            VInsn::Load { size, dst, base, off } => {
                let (base, off) = self.base(*base, *off)?;
                let dst = self.reg(*dst);
                self.asm.push(Insn::Load { size: *size, signed: false, dst, base, off });
            }
            VInsn::Store { size, base, off, src } => {
                let (base, off) = self.base(*base, *off)?;
                let src = self.src(*src);
                self.asm.push(Insn::Store { size: *size, base, off, src });
            }
            VInsn::Atomic { op, fetch, base, off, src } => {
                let (base, off) = self.base(Base::Reg(*base), *off)?;
                let src = self.reg(*src);
                let fetch = *fetch || matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
                self.asm.push(Insn::Atomic { op: *op, fetch, wide: true, base, off, src });
            }
            VInsn::CallKernel { btf_id } => self.asm.push(Insn::CallKfunc { btf_id: *btf_id }),
            VInsn::Call { helper } => self.asm.push(Insn::Call { helper: *helper }),
            VInsn::CallFunction { function } => self.asm.call(FuncRef(*function)),
            VInsn::Jump { to } => {
                let to = self.labels[follow(code, *to).0 as usize];
                self.asm.jump(to);
            }
            VInsn::JumpIf { op, wide, left, right, to } => {
                let to = self.labels[follow(code, *to).0 as usize];
                self.asm.jump_if(*op, *wide, self.reg(*left), self.src(*right), to);
            }
            VInsn::MayGoto { to } => {
                let to = self.labels[follow(code, *to).0 as usize];
                self.asm.may_goto(to);
            }
            VInsn::Exit(result) => {
                self.mov(false, Reg::R0, Src::Imm(*result));
                self.asm.push(Insn::Exit);
            }
        }
        Ok(())
    }

    fn constant(&mut self, dst: Reg, value: Constant) {
        match value {
            Constant::Number(n) => match (i32::try_from(n), u32::try_from(n)) {
                (Ok(imm), _) => self.mov(true, dst, Src::Imm(imm)),
                // A 32-bit move clears the upper half.
                (Err(_), Ok(low)) => self.mov(false, dst, Src::Imm(low as i32)),
                (Err(_), Err(_)) => self.asm.push(Insn::LoadImm64 { dst, value: Imm64::Value(n as u64) }),
            },
            Constant::Map(map) => {
                self.asm.push(Insn::LoadImm64 { dst, value: Imm64::Map(map as i32) });
            }
            Constant::MapValue(map, offset) => {
                self.asm.push(Insn::LoadImm64 { dst, value: Imm64::MapValue { fd: map as i32, offset } });
            }
            Constant::Function(function) => self.asm.address(dst, FuncRef(function)),
            Constant::Site => {
                self.asm.origin(Origin { place: None, note: SITE });
                self.mov(false, dst, Src::Imm(0));
            }
            Constant::Frame(slot, off) => {
                self.mov(true, dst, Src::Reg(Reg::FRAME));
                let off = self.frame[slot.0 as usize] + off;
                if off != 0 {
                    self.asm.push(Insn::Alu { op: AluOp::Add, wide: true, dst, src: Src::Imm(off) });
                }
            }
        }
    }
}
