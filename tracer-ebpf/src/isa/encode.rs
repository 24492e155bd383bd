//! Instruction to bytes.

use super::insn::{AluOp, AtomicOp, Endian, Imm64, Insn, JumpOp, Size, Src};
use super::op::*;
use alloc::vec::Vec;

/// Appends an instruction's slots, little-endian.
pub fn encode(insn: &Insn, out: &mut Vec<u8>) {
    match *insn {
        Insn::Alu { op, wide, dst, src } => {
            let (code, off) = alu(op);
            let class = if wide { BPF_ALU64 } else { BPF_ALU };
            match src {
                _ if op == AluOp::Neg => slot(out, class | code, dst.number(), 0, 0, 0),
                Src::Reg(src) => slot(out, class | code | BPF_X, dst.number(), src.number(), off, 0),
                Src::Imm(imm) => slot(out, class | code | BPF_K, dst.number(), 0, off, imm),
            }
        }
        Insn::MovSx { wide, bits, dst, src } => {
            let class = if wide { BPF_ALU64 } else { BPF_ALU };
            slot(out, class | BPF_MOV | BPF_X, dst.number(), src.number(), i16::from(bits), 0);
        }
        Insn::Endian { to, bits, dst } => {
            let code = match to {
                Endian::Little => BPF_ALU | BPF_END | BPF_TO_LE,
                Endian::Big => BPF_ALU | BPF_END | BPF_TO_BE,
                Endian::Swap => BPF_ALU64 | BPF_END,
            };
            slot(out, code, dst.number(), 0, 0, i32::from(bits));
        }
        Insn::Load { size: width, signed, dst, base, off } => {
            let mode = if signed { BPF_MEMSX } else { BPF_MEM };
            slot(out, BPF_LDX | mode | size(width), dst.number(), base.number(), off, 0);
        }
        Insn::Store { size: width, base, off, src } => match src {
            Src::Reg(src) => slot(out, BPF_STX | BPF_MEM | size(width), base.number(), src.number(), off, 0),
            Src::Imm(imm) => slot(out, BPF_ST | BPF_MEM | size(width), base.number(), 0, off, imm),
        },
        Insn::Atomic { op, fetch, wide, base, off, src } => {
            let width = if wide { BPF_DW } else { BPF_W };
            slot(out, BPF_STX | BPF_ATOMIC | width, base.number(), src.number(), off, atomic(op, fetch));
        }
        Insn::LoadImm64 { dst, value } => {
            let (src, low, high) = match value {
                Imm64::Value(value) => (0, value as u32 as i32, (value >> 32) as u32 as i32),
                Imm64::Map(fd) => (BPF_PSEUDO_MAP_FD, fd, 0),
                Imm64::MapValue { fd, offset } => (BPF_PSEUDO_MAP_VALUE, fd, offset as i32),
                Imm64::Func(off) => (BPF_PSEUDO_FUNC, off, 0),
            };
            slot(out, BPF_LD | BPF_DW | BPF_IMM, dst.number(), src, 0, low);
            slot(out, 0, 0, 0, 0, high);
        }
        Insn::Jump { off } => slot(out, BPF_JMP | BPF_JA, 0, 0, off, 0),
        Insn::JumpFar { off } => slot(out, BPF_JMP32 | BPF_JA, 0, 0, 0, off),
        Insn::JumpIf { op, wide, left, right, off } => {
            let class = if wide { BPF_JMP } else { BPF_JMP32 };
            match right {
                Src::Reg(right) => slot(out, class | jump(op) | BPF_X, left.number(), right.number(), off, 0),
                Src::Imm(imm) => slot(out, class | jump(op) | BPF_K, left.number(), 0, off, imm),
            }
        }
        Insn::MayGoto { off } => slot(out, BPF_JMP | BPF_JCOND, 0, 0, off, 0),
        Insn::Call { helper } => slot(out, BPF_JMP | BPF_CALL, 0, 0, 0, helper.id() as i32),
        Insn::CallLocal { off } => slot(out, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, off),
        Insn::CallKfunc { btf_id } => slot(out, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, btf_id),
        Insn::Exit => slot(out, BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    }
}

fn slot(out: &mut Vec<u8>, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
    out.extend([code, src << 4 | dst]);
    out.extend(off.to_le_bytes());
    out.extend(imm.to_le_bytes());
}

fn size(size: Size) -> u8 {
    match size {
        Size::B => BPF_B,
        Size::H => BPF_H,
        Size::W => BPF_W,
        Size::Dw => BPF_DW,
    }
}

/// The operation bits, and the offset field that marks signed division.
fn alu(op: AluOp) -> (u8, i16) {
    match op {
        AluOp::Add => (BPF_ADD, 0),
        AluOp::Sub => (BPF_SUB, 0),
        AluOp::Mul => (BPF_MUL, 0),
        AluOp::Div => (BPF_DIV, 0),
        AluOp::Sdiv => (BPF_DIV, 1),
        AluOp::Or => (BPF_OR, 0),
        AluOp::And => (BPF_AND, 0),
        AluOp::Lsh => (BPF_LSH, 0),
        AluOp::Rsh => (BPF_RSH, 0),
        AluOp::Neg => (BPF_NEG, 0),
        AluOp::Mod => (BPF_MOD, 0),
        AluOp::Smod => (BPF_MOD, 1),
        AluOp::Xor => (BPF_XOR, 0),
        AluOp::Mov => (BPF_MOV, 0),
        AluOp::Arsh => (BPF_ARSH, 0),
    }
}

fn jump(op: JumpOp) -> u8 {
    match op {
        JumpOp::Eq => BPF_JEQ,
        JumpOp::Ne => BPF_JNE,
        JumpOp::Gt => BPF_JGT,
        JumpOp::Ge => BPF_JGE,
        JumpOp::Lt => BPF_JLT,
        JumpOp::Le => BPF_JLE,
        JumpOp::Sgt => BPF_JSGT,
        JumpOp::Sge => BPF_JSGE,
        JumpOp::Slt => BPF_JSLT,
        JumpOp::Sle => BPF_JSLE,
        JumpOp::Set => BPF_JSET,
    }
}

fn atomic(op: AtomicOp, fetch: bool) -> i32 {
    let fetch = if fetch { BPF_FETCH } else { 0 };
    match op {
        AtomicOp::Add => i32::from(BPF_ADD) | fetch,
        AtomicOp::Or => i32::from(BPF_OR) | fetch,
        AtomicOp::And => i32::from(BPF_AND) | fetch,
        AtomicOp::Xor => i32::from(BPF_XOR) | fetch,
        AtomicOp::Xchg => BPF_XCHG,
        AtomicOp::Cmpxchg => BPF_CMPXCHG,
    }
}
