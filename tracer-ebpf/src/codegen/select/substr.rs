//! `substr`: a part of a string, copied by the kernel's reader, which stops at the NUL by itself.
//!
//! **Not here:** other copies (`string`).

use super::super::vcode::Base;
use super::Selector;
use crate::isa::{AluOp, Helper, JumpOp, Size};
use tracer_common::ir::{LongOp, StrOp, StrVar};
use tracer_common::layout::align8;

impl Selector<'_, '_> {
    /// At most `length` bytes from `start` on; "" where either is out of range.
    pub(super) fn substr(&mut self, dest: StrVar, text: StrOp, start: LongOp, length: LongOp) {
        let (home, capacity) = (self.home(dest), self.capacity(dest));
        let measured = self.measure(text);
        let (none, done) = (self.block(false), self.block(false));
        // A frame is read whole, so it is written whole; where the string is taken from itself, that has been done, and the reader
        // copies forwards.
        if let (Base::Slot(_), false) = (home.base, text == StrOp::Var(dest)) {
            self.store_bytes(home, b"", align8(capacity));
        }
        let position = self.reg();
        self.set(position, start);
        // Against a constant first: from a comparison of two unknowns older verifiers learn nothing.
        self.jump_if(JumpOp::Ge, position, self.string_capacity(text) as i32, none);
        self.jump_if(JumpOp::Ge, position, measured, none);
        let size = self.reg();
        self.set(size, length);
        self.jump_if(JumpOp::Sle, size, 0, none);
        self.alu(AluOp::Add, size, 1);
        let from = self.string_start(text);
        self.alu(AluOp::Add, position, from);
        self.at_most(size, capacity, capacity);
        let to = self.address(home);
        self.call(Helper::ProbeReadKernelStr, &[to, size.into(), position.into()]);
        self.jump(done);
        self.at(none);
        self.store(Size::B, home, 0);
        self.jump(done);
        self.at(done);
    }
}
