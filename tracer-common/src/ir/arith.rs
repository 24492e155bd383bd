//! The arithmetic of longs: what the optimizer computes, and what the evaluator and emitted code must match.

use super::*;

impl BinOp {
    /// The result; `None` for a division by zero.
    pub fn apply(self, left: i64, right: i64) -> Option<i64> {
        Some(match self {
            BinOp::Add => left.wrapping_add(right),
            BinOp::Sub => left.wrapping_sub(right),
            BinOp::Mul => left.wrapping_mul(right),
            BinOp::Div if right == 0 => return None,
            BinOp::Div => left.wrapping_div(right),
            BinOp::Rem if right == 0 => return None,
            BinOp::Rem => left.wrapping_rem(right),
            BinOp::And => left & right,
            BinOp::Or => left | right,
            BinOp::Xor => left ^ right,
            // The wrapping shifts take the count modulo 64.
            BinOp::Shl => left.wrapping_shl(right as u32),
            BinOp::Sar => left.wrapping_shr(right as u32),
            BinOp::Shr => (left as u64).wrapping_shr(right as u32) as i64,
        })
    }
}

impl CmpOp {
    /// The result, for longs or for strings as bytes.
    pub fn apply<T: Ord + ?Sized>(self, left: &T, right: &T) -> bool {
        match self {
            CmpOp::Eq => left == right,
            CmpOp::Ne => left != right,
            CmpOp::Lt => left < right,
            CmpOp::Le => left <= right,
            CmpOp::Gt => left > right,
            CmpOp::Ge => left >= right,
        }
    }
}

impl Width {
    /// The low bytes of a value, extended to 64 bits.
    pub fn apply(self, value: i64) -> i64 {
        match (self.bytes, self.signed) {
            (1, true) => i64::from(value as i8),
            (1, false) => i64::from(value as u8),
            (2, true) => i64::from(value as i16),
            (2, false) => i64::from(value as u16),
            (4, true) => i64::from(value as i32),
            (4, false) => i64::from(value as u32),
            _ => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges() {
        assert_eq!(BinOp::Div.apply(i64::MIN, -1), Some(i64::MIN));
        assert_eq!(BinOp::Rem.apply(i64::MIN, -1), Some(0));
        assert_eq!(BinOp::Div.apply(-7, 2), Some(-3));
        assert_eq!(BinOp::Rem.apply(-7, 3), Some(-1));
        assert_eq!(BinOp::Div.apply(1, 0), None);
        assert_eq!(BinOp::Rem.apply(1, 0), None);
        assert_eq!(BinOp::Shl.apply(1, 65), Some(2));
        assert_eq!(BinOp::Shl.apply(1, -1), Some(i64::MIN));
        assert_eq!(BinOp::Sar.apply(-8, 1), Some(-4));
        assert_eq!(BinOp::Shr.apply(-1, 63), Some(1));
        assert_eq!(BinOp::Shr.apply(-1, 64), Some(-1));
        assert!(CmpOp::Lt.apply(&-1i64, &0) && !CmpOp::Lt.apply(&b"b"[..], &b"a\xff"[..]));
        assert!(CmpOp::Gt.apply(&b"\xff"[..], &b"a"[..]) && CmpOp::Lt.apply(&b""[..], &b"a"[..]));
        for (width, expected) in Width::ALL.iter().zip([
            0x88,
            0x9988,
            0xfffe_9988,
            -0x1_6678,
            -0x78,
            -0x6678,
            -0x1_6678,
            -0x1_6678,
        ]) {
            assert_eq!(width.0.apply(-0x1_6678), expected, "{}", width.1);
        }
    }
}
