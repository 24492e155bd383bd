//! Instruction to text, as the kernel's verifier log prints it.

use super::insn::{AluOp, AtomicOp, Endian, Imm64, Insn, JumpOp, Size, Src};
use super::reg::Reg;
use alloc::string::String;
use core::fmt::{self, Write};

/// An instruction that prints itself.
pub struct Text<'a>(pub &'a Insn);

/// Prints a program, one instruction on a line with its slot number and the annotation for that slot.
pub fn listing(insns: &[(usize, Insn)], mut note: impl FnMut(usize) -> Option<String>) -> String {
    let mut out = String::new();
    for (slot, insn) in insns {
        let text = match note(*slot) {
            Some(note) => writeln!(out, "{slot:4}: {:<50} ; {note}", alloc::format!("{}", Text(insn))),
            None => writeln!(out, "{slot:4}: {}", Text(insn)),
        };
        // Writing to a String cannot fail.
        let _ = text;
    }
    out
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            Insn::Alu { op: AluOp::Neg, wide, dst, .. } => {
                let dst = Half(wide, dst);
                write!(f, "{dst} = -{dst}")
            }
            Insn::Alu { op, wide, dst, src } => {
                write!(f, "{} {} {}", Half(wide, dst), alu(op), Operand(wide, src, false))
            }
            Insn::MovSx { wide, bits, dst, src } => {
                write!(f, "{} = (s{bits}){}", Half(wide, dst), Half(wide, src))
            }
            Insn::Endian { to, bits, dst } => {
                let to = match to {
                    Endian::Little => "le",
                    Endian::Big => "be",
                    Endian::Swap => "bswap",
                };
                write!(f, "{dst} = {to}{bits} {dst}")
            }
            Insn::Load { size, signed, dst, base, off } => {
                write!(f, "{dst} = *({}{} *)({base} {off:+})", if signed { 's' } else { 'u' }, bits(size))
            }
            Insn::Store { size, base, off, src } => {
                write!(f, "*(u{} *)({base} {off:+}) = {}", bits(size), Operand(true, src, false))
            }
            Insn::Atomic { op, fetch, wide, base, off, src } => atomic(f, op, fetch, wide, (base, off), src),
            Insn::LoadImm64 { dst, value } => match value {
                Imm64::Value(value) => write!(f, "{dst} = {value:#x} ll"),
                Imm64::Map(fd) => write!(f, "{dst} = map[fd:{fd}]"),
                Imm64::MapValue { fd, offset } => write!(f, "{dst} = map[fd:{fd}]+{offset}"),
                Imm64::Func(off) => write!(f, "{dst} = func pc{off:+}"),
            },
            Insn::Jump { off } => write!(f, "goto pc{off:+}"),
            Insn::JumpFar { off } => write!(f, "gotol pc{off:+}"),
            Insn::JumpIf { op, wide, left, right, off } => {
                write!(
                    f,
                    "if {} {} {} goto pc{off:+}",
                    Half(wide, left),
                    jump(op),
                    Operand(wide, right, true)
                )
            }
            Insn::MayGoto { off } => write!(f, "may_goto pc{off:+}"),
            Insn::Call { helper } => match helper.name() {
                Some(name) => write!(f, "call {}#{name}", helper.id()),
                None => write!(f, "call {}", helper.id()),
            },
            Insn::CallLocal { off } => write!(f, "call pc{off:+}"),
            Insn::CallKfunc { btf_id } => write!(f, "call kernel-function[{btf_id}]"),
            Insn::Exit => f.write_str("exit"),
        }
    }
}

/// `r1` or `w1`.
struct Half(bool, Reg);

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.0 { 'r' } else { 'w' }, self.1.number())
    }
}

/// A register or a constant: decimal in arithmetic, hexadecimal in comparisons.
struct Operand(bool, Src, bool);

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.1, self.2) {
            (Src::Reg(reg), _) => Half(self.0, reg).fmt(f),
            (Src::Imm(imm), false) => write!(f, "{imm}"),
            (Src::Imm(imm), true) => write!(f, "{imm:#x}"),
        }
    }
}

fn bits(size: Size) -> u32 {
    size.bytes() * 8
}

fn alu(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div => "/=",
        AluOp::Sdiv => "s/=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::Lsh => "<<=",
        AluOp::Rsh => ">>=",
        AluOp::Neg => "= -",
        AluOp::Mod => "%=",
        AluOp::Smod => "s%=",
        AluOp::Xor => "^=",
        AluOp::Mov => "=",
        AluOp::Arsh => "s>>=",
    }
}

fn jump(op: JumpOp) -> &'static str {
    match op {
        JumpOp::Eq => "==",
        JumpOp::Ne => "!=",
        JumpOp::Gt => ">",
        JumpOp::Ge => ">=",
        JumpOp::Lt => "<",
        JumpOp::Le => "<=",
        JumpOp::Sgt => "s>",
        JumpOp::Sge => "s>=",
        JumpOp::Slt => "s<",
        JumpOp::Sle => "s<=",
        JumpOp::Set => "&",
    }
}

fn atomic(
    f: &mut fmt::Formatter<'_>,
    op: AtomicOp,
    fetch: bool,
    wide: bool,
    (base, off): (Reg, i16),
    src: Reg,
) -> fmt::Result {
    let width = if wide { 64 } else { 32 };
    let place = alloc::format!("(u{width} *)({base} {off:+})");
    let (sign, word) = match op {
        AtomicOp::Add => ("+=", "add"),
        AtomicOp::Or => ("|=", "or"),
        AtomicOp::And => ("&=", "and"),
        AtomicOp::Xor => ("^=", "xor"),
        AtomicOp::Xchg => return write!(f, "{src} = atomic{}_xchg({place}, {src})", kernel(wide)),
        AtomicOp::Cmpxchg => return write!(f, "r0 = atomic{}_cmpxchg({place}, r0, {src})", kernel(wide)),
    };
    if fetch {
        write!(f, "{src} = atomic{}_fetch_{word}({place}, {src})", kernel(wide))
    } else {
        write!(f, "lock *{place} {sign} {src}")
    }
}

fn kernel(wide: bool) -> &'static str {
    if wide { "64" } else { "" }
}
