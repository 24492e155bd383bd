//! Assignment to target variables: `-g`.
//!
//! The address is computed once, so `$a[i++] += 2` advances `i` once.

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, BinOp, Inst, LongOp, OnFault, Space, Width};

use crate::lower::body::Body;
use crate::sema::program::{Target, TargetValue};
use crate::source::Span;

/// Memory that is written.
pub(super) struct TargetPlace {
    address: LongOp,
    width: Width,
    /// Of a bit field: bits below it, and its own.
    bits: Option<(u8, u8)>,
    /// Whether that has a sign.
    signed: bool,
    span: Span,
}

impl<'p> Body<'_, 'p> {
    pub(super) fn target_place(&mut self, target: &'p Target, span: Span) -> TargetPlace {
        if !self.is_kernel() {
            self.unsupported(
                span,
                &format!("assigning to {} where the handler is finished later", target.text),
            );
        }
        let TargetValue::Value(access) = &target.value else {
            panic!("this is a bug: an assignment to {}, which is a text (pass 2)", target.text)
        };
        let written = match access.written() {
            Ok(written) => written,
            Err(why) => panic!("this is a bug: an assignment to {}: {why} (pass 2)", target.text),
        };
        let address = self.address_of(written.address, target);
        self.at(span);
        let address = self.bin(BinOp::Add, address, LongOp::Imm(i64::from(written.offset)));
        TargetPlace { address, width: written.width, bits: written.bits, signed: written.signed, span }
    }

    fn memory(&mut self, place: &TargetPlace, width: Width) -> LongOp {
        let address = place.address;
        self.at(place.span);
        self.make(|dest| Inst::Load {
            dest,
            space: Space::User,
            address,
            offset: 0,
            width,
            on_fault: OnFault::Raise,
        })
    }

    pub(super) fn read_target(&mut self, place: &TargetPlace) -> LongOp {
        let value = self.memory(place, place.width);
        let Some((below, bits)) = place.bits else { return value };
        let up = self.bin(BinOp::Shl, value, LongOp::Imm(64 - i64::from(below) - i64::from(bits)));
        let down = if place.signed { BinOp::Sar } else { BinOp::Shr };
        self.bin(down, up, LongOp::Imm(64 - i64::from(bits)))
    }

    pub(super) fn write_target(&mut self, place: &TargetPlace, value: LongOp) {
        let value = match place.bits {
            None => value,
            Some((below, bits)) => {
                let ones = if bits >= 64 { -1 } else { (1 << bits) - 1 };
                let around = self.memory(place, Width { signed: false, ..place.width });
                let kept = self.bin(BinOp::And, around, LongOp::Imm(!(ones << below)));
                let cut = self.bin(BinOp::And, value, LongOp::Imm(ones));
                let placed = self.bin(BinOp::Shl, cut, LongOp::Imm(i64::from(below)));
                self.bin(BinOp::Or, kept, placed)
            }
        };
        self.at(place.span);
        let args = vec![
            Arg::Long(place.address),
            Arg::Long(value),
            Arg::Long(LongOp::Imm(i64::from(place.width.bytes))),
        ];
        self.push(Inst::Call { intrinsic: Intrinsic::UserWrite, dest: None, args });
    }
}
