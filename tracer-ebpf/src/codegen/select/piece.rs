//! `tokenize`: pieces of a string between separators, one after the other.
//!
//! The string, and how far it has been taken apart, lie in the scratch slot, and belong to one hit: each begins without a string.
//!
//! **Not here:** other strings that are taken apart (`parse`).

use super::super::vcode::VReg;
use super::Selector;
use super::parse::area;
use crate::isa::{AluOp, JumpOp, Size};
use tracer_common::ir::{StrOp, StrVar};

/// Whether each byte separates.
const TABLE: u32 = 256;

/// Bytes wanted of the area for separators of a capacity.
pub(in crate::codegen) fn separators_area(capacity: u32) -> u32 {
    TABLE + area(capacity)
}

impl Selector<'_, '_> {
    /// Where the string is, as an offset of the area.
    fn pieces(&self) -> u32 {
        self.storage.pieces.0 - self.storage.area.0
    }

    /// The number of the next byte.
    fn pieces_at(&self) -> super::Memory {
        self.area().at(self.pieces() + self.storage.pieces.1)
    }

    /// At a hit's begin there is no string.
    pub(super) fn no_pieces(&mut self) {
        if self.storage.pieces.1 > 0 {
            let (text, at) = (self.area().at(self.pieces()), self.pieces_at());
            self.store(Size::B, text, 0);
            self.store(Size::Dw, at, 0);
        }
    }

    /// Another string is to be taken apart.
    pub(super) fn begin_pieces(&mut self, text: StrOp) {
        self.text_to_area(text, self.pieces());
        let at = self.pieces_at();
        self.store(Size::Dw, at, 0);
    }

    /// The next piece that is not empty, or "".
    pub(super) fn next_piece(&mut self, dest: StrVar, separators: StrOp) {
        self.separators(separators);
        let (text, size) = (self.pieces(), self.storage.pieces.1);
        let place = self.pieces_at();
        let (at, begin, length) = (self.load_from(Size::Dw, place), self.reg(), self.reg());
        self.mov(begin, at);
        self.constant(length, 0);
        let done = self.block(false);
        let rounds = self.rounds(size, &[at, begin, length], done);
        let byte = self.cell(Size::B, at, (text, size));
        self.leave_unless(JumpOp::Ne, byte, 0, done);
        let separates = self.cell(Size::B, byte, (0, TABLE));
        self.alu(AluOp::Add, at, 1);
        let empty = self.is_zero(length);
        let ends: VReg = self.inverse(empty);
        self.alu(AluOp::And, ends, separates);
        self.leave_unless(JumpOp::Eq, ends, 0, done);
        self.alu(AluOp::Add, begin, separates);
        self.alu(AluOp::Add, length, 1);
        self.alu(AluOp::Sub, length, separates);
        self.again(rounds, done);
        self.at(done);
        self.store(Size::Dw, place, at);
        // The place is free while the piece is copied, but for what has just been stored: the text's size is that of its mask.
        self.part_of_pieces(dest, (begin, length), text, size);
    }

    fn part_of_pieces(&mut self, dest: StrVar, part: (VReg, VReg), text: u32, size: u32) {
        let place = self.pieces_at();
        let at = self.load_from(Size::Dw, place);
        self.part_of_area(dest, part, text, size);
        self.store(Size::Dw, place, at);
    }

    /// The table of separators, into the area.
    fn separators(&mut self, separators: StrOp) {
        let table = self.area();
        if let Some(literal) = self.literal(separators) {
            let mut bytes = [0u8; TABLE as usize];
            literal.iter().for_each(|byte| bytes[usize::from(*byte)] = 1);
            let (map, at) = self.shared.constant(&bytes);
            let to = self.address(table);
            let from = super::Constant::MapValue(map, at).into();
            return self.call(crate::isa::Helper::ProbeReadKernel, &[to, TABLE.into(), from]);
        }
        self.store_zeros(table, TABLE);
        self.text_to_area(separators, TABLE);
        let capacity = self.string_capacity(separators);
        let (at, one) = (self.reg(), self.reg());
        self.constant(at, 0);
        let done = self.block(false);
        let rounds = self.rounds(capacity, &[at], done);
        let byte = self.cell(Size::B, at, (TABLE, area(capacity)));
        self.leave_unless(JumpOp::Ne, byte, 0, done);
        self.constant(one, 1);
        self.set_cell(Size::B, byte, (0, TABLE), one);
        self.alu(AluOp::Add, at, 1);
        self.again(rounds, done);
        self.at(done);
    }
}
