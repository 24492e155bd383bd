//! Arithmetic, as RFC 9669 says: division by 0 gives 0, modulo by 0 the dividend, shift counts wrap.

use super::Result;
use crate::isa::{AluOp, Endian};
use alloc::string::ToString;

pub(super) fn alu(op: AluOp, wide: bool, left: u64, right: u64) -> Result<u64> {
    if wide { Ok(alu64(op, left, right)) } else { alu32(op, left as u32, right as u32).map(u64::from) }
}

fn alu64(op: AluOp, left: u64, right: u64) -> u64 {
    let (sleft, sright) = (left as i64, right as i64);
    let count = (right & 63) as u32;
    match op {
        AluOp::Add => left.wrapping_add(right),
        AluOp::Sub => left.wrapping_sub(right),
        AluOp::Mul => left.wrapping_mul(right),
        AluOp::Div => left.checked_div(right).unwrap_or(0),
        AluOp::Sdiv => {
            if right == 0 {
                0
            } else {
                sleft.wrapping_div(sright) as u64
            }
        }
        AluOp::Or => left | right,
        AluOp::And => left & right,
        AluOp::Lsh => left << count,
        AluOp::Rsh => left >> count,
        AluOp::Neg => left.wrapping_neg(),
        AluOp::Mod => left.checked_rem(right).unwrap_or(left),
        AluOp::Smod => {
            if right == 0 {
                left
            } else {
                sleft.wrapping_rem(sright) as u64
            }
        }
        AluOp::Xor => left ^ right,
        AluOp::Mov => right,
        AluOp::Arsh => (sleft >> count) as u64,
    }
}

fn alu32(op: AluOp, left: u32, right: u32) -> Result<u32> {
    let (sleft, sright) = (left as i32, right as i32);
    let count = right & 31;
    Ok(match op {
        AluOp::Div => left.checked_div(right).unwrap_or(0),
        AluOp::Mod => left.checked_rem(right).unwrap_or(left),
        AluOp::Sdiv if right == 0 => 0,
        AluOp::Sdiv => sleft.wrapping_div(sright) as u32,
        AluOp::Smod if right == 0 => left,
        AluOp::Smod => sleft.wrapping_rem(sright) as u32,
        AluOp::Lsh => left << count,
        AluOp::Rsh => left >> count,
        AluOp::Arsh => (sleft >> count) as u32,
        AluOp::Add
        | AluOp::Sub
        | AluOp::Mul
        | AluOp::Or
        | AluOp::And
        | AluOp::Neg
        | AluOp::Xor
        | AluOp::Mov => alu64(op, left.into(), right.into()) as u32,
    })
}

pub(super) fn sign_extend(wide: bool, bits: u8, value: u64) -> u64 {
    let unused = 64 - u32::from(bits);
    let value = ((value << unused) as i64 >> unused) as u64;
    if wide { value } else { u64::from(value as u32) }
}

pub(super) fn endian(to: Endian, bits: u8, value: u64) -> u64 {
    let cut = if bits == 64 { value } else { value & ((1 << bits) - 1) };
    match to {
        Endian::Little => cut,
        Endian::Big | Endian::Swap => cut.swap_bytes() >> (64 - u32::from(bits)),
    }
}

/// The error of a helper: a small negative number as the kernel returns it.
pub(super) fn errno(number: i64) -> u64 {
    -number as u64
}

/// A size argument.
pub(super) fn size(value: u64) -> Result<usize> {
    if value > 1 << 20 { Err("a size that is negative or too large".to_string()) } else { Ok(value as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corner_cases() {
        assert_eq!(alu(AluOp::Div, true, 7, 0), Ok(0));
        assert_eq!(alu(AluOp::Mod, true, 7, 0), Ok(7));
        assert_eq!(alu(AluOp::Sdiv, true, i64::MIN as u64, -1i64 as u64), Ok(i64::MIN as u64));
        assert_eq!(alu(AluOp::Add, false, u64::MAX, 1), Ok(0), "the upper half is cleared");
        assert_eq!(alu(AluOp::Arsh, true, -8i64 as u64, 65), Ok(-4i64 as u64));
        assert_eq!(sign_extend(true, 8, 0x180), -128i64 as u64);
        assert_eq!(endian(Endian::Big, 16, 0xaa_1234), 0x3412);
    }
}
