//! Tables of (instruction, bytes, text), checked in all directions.

use super::*;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const R0: Reg = Reg::R0;
const R1: Reg = Reg::R1;
const R2: Reg = Reg::R2;
const R6: Reg = Reg::R6;
const R10: Reg = Reg::R10;

fn alu(op: AluOp, wide: bool, dst: Reg, src: impl Into<Src>) -> Insn {
    Insn::Alu { op, wide, dst, src: src.into() }
}

fn jump(op: JumpOp, wide: bool, left: Reg, right: impl Into<Src>, off: i16) -> Insn {
    Insn::JumpIf { op, wide, left, right: right.into(), off }
}

fn atomic(op: AtomicOp, fetch: bool, wide: bool) -> Insn {
    Insn::Atomic { op, fetch, wide, base: R1, off: 8, src: R2 }
}

/// Those that LLVM 14 knows were compared with its disassembler; the newer ones follow RFC 9669.
fn table() -> Vec<(Insn, &'static str, &'static str)> {
    use AluOp::*;
    Vec::from([
        (alu(Mov, true, R1, 5), "b701000005000000", "r1 = 5"),
        (alu(Mov, true, R6, R1), "bf16000000000000", "r6 = r1"),
        (alu(Mov, false, R2, -1), "b4020000ffffffff", "w2 = -1"),
        (alu(Mov, false, R2, R1), "bc12000000000000", "w2 = w1"),
        (alu(Add, true, R2, -24), "07020000e8ffffff", "r2 += -24"),
        (alu(Add, false, R2, R1), "0c12000000000000", "w2 += w1"),
        (alu(Sub, true, R1, R2), "1f21000000000000", "r1 -= r2"),
        (alu(Mul, true, R1, 10), "270100000a000000", "r1 *= 10"),
        (alu(Div, true, R1, R2), "3f21000000000000", "r1 /= r2"),
        (alu(Sdiv, true, R1, R2), "3f21010000000000", "r1 s/= r2"),
        (alu(Or, true, R1, R2), "4f21000000000000", "r1 |= r2"),
        (alu(And, true, R1, 255), "57010000ff000000", "r1 &= 255"),
        (alu(Lsh, true, R1, 3), "6701000003000000", "r1 <<= 3"),
        (alu(Rsh, true, R0, 32), "7700000020000000", "r0 >>= 32"),
        (alu(Arsh, true, R1, R2), "cf21000000000000", "r1 s>>= r2"),
        (alu(Mod, true, R1, 67), "9701000043000000", "r1 %= 67"),
        (alu(Smod, true, R1, R2), "9f21010000000000", "r1 s%= r2"),
        (alu(Xor, false, R1, R2), "ac21000000000000", "w1 ^= w2"),
        (alu(Neg, true, R1, 0), "8701000000000000", "r1 = -r1"),
        (Insn::MovSx { wide: true, bits: 8, dst: R1, src: R2 }, "bf21080000000000", "r1 = (s8)r2"),
        (Insn::MovSx { wide: true, bits: 32, dst: R1, src: R2 }, "bf21200000000000", "r1 = (s32)r2"),
        (Insn::Endian { to: Endian::Big, bits: 16, dst: R1 }, "dc01000010000000", "r1 = be16 r1"),
        (Insn::Endian { to: Endian::Little, bits: 64, dst: R1 }, "d401000040000000", "r1 = le64 r1"),
        (Insn::Endian { to: Endian::Swap, bits: 32, dst: R1 }, "d701000020000000", "r1 = bswap32 r1"),
        (
            Insn::Load { size: Size::Dw, signed: false, dst: R1, base: R6, off: 8 },
            "7961080000000000",
            "r1 = *(u64 *)(r6 +8)",
        ),
        (
            Insn::Load { size: Size::B, signed: false, dst: R1, base: R10, off: -1 },
            "71a1ffff00000000",
            "r1 = *(u8 *)(r10 -1)",
        ),
        (
            Insn::Load { size: Size::H, signed: false, dst: R1, base: R10, off: -2 },
            "69a1feff00000000",
            "r1 = *(u16 *)(r10 -2)",
        ),
        (
            Insn::Load { size: Size::W, signed: true, dst: R1, base: R2, off: 0 },
            "8121000000000000",
            "r1 = *(s32 *)(r2 +0)",
        ),
        (
            Insn::Store { size: Size::Dw, base: R10, off: -8, src: Src::Reg(R1) },
            "7b1af8ff00000000",
            "*(u64 *)(r10 -8) = r1",
        ),
        (
            Insn::Store { size: Size::W, base: R10, off: -4, src: Src::Imm(7) },
            "620afcff07000000",
            "*(u32 *)(r10 -4) = 7",
        ),
        (
            Insn::Store { size: Size::B, base: R0, off: 3, src: Src::Imm(0) },
            "7200030000000000",
            "*(u8 *)(r0 +3) = 0",
        ),
        (atomic(AtomicOp::Add, false, true), "db21080000000000", "lock *(u64 *)(r1 +8) += r2"),
        (atomic(AtomicOp::Or, false, true), "db21080040000000", "lock *(u64 *)(r1 +8) |= r2"),
        (atomic(AtomicOp::And, false, false), "c321080050000000", "lock *(u32 *)(r1 +8) &= r2"),
        (atomic(AtomicOp::Xor, false, true), "db210800a0000000", "lock *(u64 *)(r1 +8) ^= r2"),
        (
            atomic(AtomicOp::Add, true, true),
            "db21080001000000",
            "r2 = atomic64_fetch_add((u64 *)(r1 +8), r2)",
        ),
        (atomic(AtomicOp::Or, true, false), "c321080041000000", "r2 = atomic_fetch_or((u32 *)(r1 +8), r2)"),
        (atomic(AtomicOp::Xchg, true, true), "db210800e1000000", "r2 = atomic64_xchg((u64 *)(r1 +8), r2)"),
        (
            atomic(AtomicOp::Cmpxchg, true, true),
            "db210800f1000000",
            "r0 = atomic64_cmpxchg((u64 *)(r1 +8), r0, r2)",
        ),
        (
            Insn::LoadImm64 { dst: R1, value: Imm64::Value(0x0102030405060708) },
            "18010000080706050000000004030201",
            "r1 = 0x102030405060708 ll",
        ),
        (
            Insn::LoadImm64 { dst: R1, value: Imm64::Map(3) },
            "18110000030000000000000000000000",
            "r1 = map[fd:3]",
        ),
        (
            Insn::LoadImm64 { dst: R1, value: Imm64::MapValue { fd: 3, offset: 16 } },
            "18210000030000000000000010000000",
            "r1 = map[fd:3]+16",
        ),
        (
            Insn::LoadImm64 { dst: R2, value: Imm64::Func(4) },
            "18420000040000000000000000000000",
            "r2 = func pc+4",
        ),
        (Insn::Jump { off: -3 }, "0500fdff00000000", "goto pc-3"),
        (Insn::JumpFar { off: 70000 }, "0600000070110100", "gotol pc+70000"),
        (jump(JumpOp::Eq, true, R0, 0, 5), "1500050000000000", "if r0 == 0x0 goto pc+5"),
        (jump(JumpOp::Ne, false, R2, 0, 5), "5602050000000000", "if w2 != 0x0 goto pc+5"),
        (jump(JumpOp::Gt, true, R1, R2, 1), "2d21010000000000", "if r1 > r2 goto pc+1"),
        (jump(JumpOp::Ge, true, R1, 16, 1), "3501010010000000", "if r1 >= 0x10 goto pc+1"),
        (jump(JumpOp::Lt, true, R1, R2, 1), "ad21010000000000", "if r1 < r2 goto pc+1"),
        (jump(JumpOp::Le, false, R1, R2, 1), "be21010000000000", "if w1 <= w2 goto pc+1"),
        (jump(JumpOp::Sgt, true, R1, R2, 1), "6d21010000000000", "if r1 s> r2 goto pc+1"),
        (jump(JumpOp::Sge, true, R1, R2, 1), "7d21010000000000", "if r1 s>= r2 goto pc+1"),
        (jump(JumpOp::Slt, true, R1, -1, 1), "c5010100ffffffff", "if r1 s< 0xffffffff goto pc+1"),
        (jump(JumpOp::Sle, true, R1, R2, 1), "dd21010000000000", "if r1 s<= r2 goto pc+1"),
        (jump(JumpOp::Set, true, R1, 1, 1), "4501010001000000", "if r1 & 0x1 goto pc+1"),
        (Insn::MayGoto { off: 2 }, "e500020000000000", "may_goto pc+2"),
        (
            Insn::Call { helper: Helper::GetCurrentPidTgid },
            "850000000e000000",
            "call 14#get_current_pid_tgid",
        ),
        (Insn::CallLocal { off: 9 }, "8510000009000000", "call pc+9"),
        (Insn::CallKfunc { btf_id: 77 }, "852000004d000000", "call kernel-function[77]"),
        (Insn::Exit, "9500000000000000", "exit"),
    ])
}

#[test]
fn bytes_and_text_both_ways() {
    for (insn, hex, text) in table() {
        let mut bytes = Vec::new();
        encode(&insn, &mut bytes);
        let found: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, hex, "bytes of {text}");
        assert_eq!(bytes.len(), insn.slots() * 8, "slots of {text}");
        assert_eq!(format!("{}", Text(&insn)), text);
        assert_eq!(decode(&bytes), Ok(Vec::from([(0, insn)])), "decoding {text}");
    }
}

#[test]
fn bytes_that_are_no_instruction() {
    for hex in [
        "1801000001000000",                 // half of a two-slot load
        "18010000010000000100000000000000", // second slot with an opcode
        "b70b000000000000",                 // register 11
        "bf16000001000000",                 // register source with a constant
        "dc01000011000000",                 // 17-bit byte order
        "db21080002000000",                 // no such atomic
        "00000000000000",                   // seven bytes
        "9501000000000000",                 // exit with a register
    ] {
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        assert_eq!(decode(&bytes), Err(DecodeError { slot: 0 }), "{hex}");
    }
}

#[test]
fn every_opcode_decodes_or_refuses_and_round_trips() {
    for code in 0..=255u8 {
        for (regs, off, imm) in
            [(0x21u8, 0i16, 0i32), (0x01, 0, 16), (0x00, 4, 0), (0x21, 8, 0xe1), (0x10, 0, 3)]
        {
            let mut bytes = Vec::from([code, regs]);
            bytes.extend(off.to_le_bytes());
            bytes.extend(imm.to_le_bytes());
            bytes.extend([0; 8]);
            let size = if code == op::BPF_LD | op::BPF_DW | op::BPF_IMM { 16 } else { 8 };
            if let Ok(insns) = decode(&bytes[..size]) {
                let mut again = Vec::new();
                encode(&insns[0].1, &mut again);
                assert_eq!(again, &bytes[..size], "{}", Text(&insns[0].1));
            }
        }
    }
}

#[test]
fn helpers_are_sorted_and_named_once() {
    for pair in Helper::ALL.windows(2) {
        assert!(pair[0].id() < pair[1].id());
        assert_ne!(pair[0].name(), pair[1].name());
    }
    for helper in Helper::ALL {
        assert_eq!(Helper::from_id(helper.id()), *helper);
        assert!(helper.arity() <= 5);
    }
}
