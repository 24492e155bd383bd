//! Bytes to instructions. Never panics: any byte string either decodes or says at which slot it does not.

use super::helper::Helper;
use super::insn::{AluOp, AtomicOp, Endian, Imm64, Insn, JumpOp, Size, Src};
use super::op::*;
use super::reg::Reg;
use alloc::vec::Vec;
use core::fmt;

/// Bytes that are no instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeError {
    /// Index of the slot.
    pub slot: usize,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no instruction at slot {}", self.slot)
    }
}

/// Decodes a program: each instruction with the index of its first slot.
pub fn decode(bytes: &[u8]) -> Result<Vec<(usize, Insn)>, DecodeError> {
    let mut slots = bytes.chunks(8).map(Slot::read).enumerate();
    let mut insns = Vec::with_capacity(bytes.len() / 8);
    while let Some((at, slot)) = slots.next() {
        let error = DecodeError { slot: at };
        let slot = slot.ok_or(error)?;
        let insn = if slot.code == BPF_LD | BPF_DW | BPF_IMM {
            let high = slots.next().and_then(|(_, high)| high).ok_or(error)?;
            load_imm64(slot, high)
        } else {
            one(slot)
        };
        insns.push((at, insn.ok_or(error)?));
    }
    Ok(insns)
}

#[derive(Clone, Copy)]
struct Slot {
    code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Slot {
    fn read(bytes: &[u8]) -> Option<Slot> {
        let bytes: &[u8; 8] = bytes.try_into().ok()?;
        Some(Slot {
            code: bytes[0],
            dst: bytes[1] & 0xf,
            src: bytes[1] >> 4,
            off: i16::from_le_bytes([bytes[2], bytes[3]]),
            imm: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
    }

    fn dst(self) -> Option<Reg> {
        Reg::new(self.dst)
    }

    fn src(self) -> Option<Reg> {
        Reg::new(self.src)
    }

    /// The right operand of arithmetic and jumps.
    fn operand(self) -> Option<Src> {
        if self.code & BPF_X != 0 {
            (self.imm == 0).then_some(())?;
            self.src().map(Src::Reg)
        } else {
            (self.src == 0).then_some(Src::Imm(self.imm))
        }
    }
}

fn load_imm64(low: Slot, high: Slot) -> Option<Insn> {
    let clean = high.code == 0 && high.dst == 0 && high.src == 0 && high.off == 0 && low.off == 0;
    let value = match low.src {
        0 => Imm64::Value(u64::from(low.imm as u32) | u64::from(high.imm as u32) << 32),
        BPF_PSEUDO_MAP_FD if high.imm == 0 => Imm64::Map(low.imm),
        BPF_PSEUDO_MAP_VALUE => Imm64::MapValue { fd: low.imm, offset: high.imm as u32 },
        BPF_PSEUDO_FUNC if high.imm == 0 => Imm64::Func(low.imm),
        _ => return None,
    };
    clean.then_some(Insn::LoadImm64 { dst: low.dst()?, value })
}

fn one(slot: Slot) -> Option<Insn> {
    match slot.code & BPF_CLASS {
        BPF_ALU | BPF_ALU64 => alu(slot),
        BPF_JMP | BPF_JMP32 => jump(slot),
        BPF_LDX => {
            let signed = match slot.code & BPF_MODE {
                BPF_MEM => false,
                BPF_MEMSX => true,
                _ => return None,
            };
            (slot.imm == 0).then_some(())?;
            Some(Insn::Load { size: size(slot), signed, dst: slot.dst()?, base: slot.src()?, off: slot.off })
        }
        BPF_ST => {
            (slot.code & BPF_MODE == BPF_MEM && slot.src == 0).then_some(())?;
            Some(Insn::Store { size: size(slot), base: slot.dst()?, off: slot.off, src: Src::Imm(slot.imm) })
        }
        BPF_STX => match slot.code & BPF_MODE {
            BPF_MEM if slot.imm == 0 => Some(Insn::Store {
                size: size(slot),
                base: slot.dst()?,
                off: slot.off,
                src: slot.src()?.into(),
            }),
            BPF_ATOMIC => atomic(slot),
            _ => None,
        },
        _ => None,
    }
}

fn size(slot: Slot) -> Size {
    match slot.code & BPF_SIZE {
        BPF_B => Size::B,
        BPF_H => Size::H,
        BPF_W => Size::W,
        _ => Size::Dw,
    }
}

fn alu(slot: Slot) -> Option<Insn> {
    let wide = slot.code & BPF_CLASS == BPF_ALU64;
    let dst = slot.dst()?;
    if slot.code & BPF_OP == BPF_END {
        let to = match (wide, slot.code & BPF_X) {
            (false, BPF_TO_LE) => Endian::Little,
            (false, _) => Endian::Big,
            (true, 0) => Endian::Swap,
            (true, _) => return None,
        };
        let bits = u8::try_from(slot.imm).ok().filter(|bits| [16, 32, 64].contains(bits))?;
        return (slot.off == 0 && slot.src == 0).then_some(Insn::Endian { to, bits, dst });
    }
    let op = match (slot.code & BPF_OP, slot.off) {
        (BPF_ADD, 0) => AluOp::Add,
        (BPF_SUB, 0) => AluOp::Sub,
        (BPF_MUL, 0) => AluOp::Mul,
        (BPF_DIV, 0) => AluOp::Div,
        (BPF_DIV, 1) => AluOp::Sdiv,
        (BPF_OR, 0) => AluOp::Or,
        (BPF_AND, 0) => AluOp::And,
        (BPF_LSH, 0) => AluOp::Lsh,
        (BPF_RSH, 0) => AluOp::Rsh,
        (BPF_NEG, 0) if slot.code & BPF_X == 0 && slot.imm == 0 && slot.src == 0 => AluOp::Neg,
        (BPF_MOD, 0) => AluOp::Mod,
        (BPF_MOD, 1) => AluOp::Smod,
        (BPF_XOR, 0) => AluOp::Xor,
        (BPF_MOV, 0) => AluOp::Mov,
        (BPF_MOV, bits) if slot.code & BPF_X != 0 && slot.imm == 0 => {
            let bits = u8::try_from(bits).ok()?;
            let fits = matches!(bits, 8 | 16) || (wide && bits == 32);
            return fits.then_some(Insn::MovSx { wide, bits, dst, src: slot.src()? });
        }
        (BPF_ARSH, 0) => AluOp::Arsh,
        _ => return None,
    };
    Some(Insn::Alu { op, wide, dst, src: slot.operand()? })
}

fn jump(slot: Slot) -> Option<Insn> {
    let wide = slot.code & BPF_CLASS == BPF_JMP;
    let op = match slot.code & BPF_OP {
        BPF_JA if slot.code & BPF_X == 0 && slot.dst == 0 && slot.src == 0 => {
            return match wide {
                true => (slot.imm == 0).then_some(Insn::Jump { off: slot.off }),
                false => (slot.off == 0).then_some(Insn::JumpFar { off: slot.imm }),
            };
        }
        BPF_JCOND if wide && slot.code & BPF_X == 0 && slot.dst == 0 && slot.src == 0 && slot.imm == 0 => {
            return Some(Insn::MayGoto { off: slot.off });
        }
        BPF_CALL if wide && slot.code & BPF_X == 0 && slot.dst == 0 && slot.off == 0 => {
            return match slot.src {
                0 => Some(Insn::Call { helper: Helper::from_id(u32::try_from(slot.imm).ok()?) }),
                BPF_PSEUDO_CALL => Some(Insn::CallLocal { off: slot.imm }),
                BPF_PSEUDO_KFUNC_CALL => Some(Insn::CallKfunc { btf_id: slot.imm }),
                _ => None,
            };
        }
        BPF_EXIT if wide && slot.code & BPF_X == 0 => {
            let clean = slot.dst == 0 && slot.src == 0 && slot.off == 0 && slot.imm == 0;
            return clean.then_some(Insn::Exit);
        }
        BPF_JEQ => JumpOp::Eq,
        BPF_JNE => JumpOp::Ne,
        BPF_JGT => JumpOp::Gt,
        BPF_JGE => JumpOp::Ge,
        BPF_JLT => JumpOp::Lt,
        BPF_JLE => JumpOp::Le,
        BPF_JSGT => JumpOp::Sgt,
        BPF_JSGE => JumpOp::Sge,
        BPF_JSLT => JumpOp::Slt,
        BPF_JSLE => JumpOp::Sle,
        BPF_JSET => JumpOp::Set,
        _ => return None,
    };
    Some(Insn::JumpIf { op, wide, left: slot.dst()?, right: slot.operand()?, off: slot.off })
}

fn atomic(slot: Slot) -> Option<Insn> {
    let wide = match slot.code & BPF_SIZE {
        BPF_DW => true,
        BPF_W => false,
        _ => return None,
    };
    let plain = |op: u8| i32::from(op);
    let fetching = |op: u8| i32::from(op) | BPF_FETCH;
    let (op, fetch) = match slot.imm {
        imm if imm == plain(BPF_ADD) => (AtomicOp::Add, false),
        imm if imm == plain(BPF_OR) => (AtomicOp::Or, false),
        imm if imm == plain(BPF_AND) => (AtomicOp::And, false),
        imm if imm == plain(BPF_XOR) => (AtomicOp::Xor, false),
        imm if imm == fetching(BPF_ADD) => (AtomicOp::Add, true),
        imm if imm == fetching(BPF_OR) => (AtomicOp::Or, true),
        imm if imm == fetching(BPF_AND) => (AtomicOp::And, true),
        imm if imm == fetching(BPF_XOR) => (AtomicOp::Xor, true),
        BPF_XCHG => (AtomicOp::Xchg, true),
        BPF_CMPXCHG => (AtomicOp::Cmpxchg, true),
        _ => return None,
    };
    Some(Insn::Atomic { op, fetch, wide, base: slot.dst()?, off: slot.off, src: slot.src()? })
}
