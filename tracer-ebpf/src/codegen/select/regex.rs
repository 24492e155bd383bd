//! The walk over the table of a regular expression.
//!
//! One loop with one counter that the verifier follows, whatever circles the automaton has: it reads a byte, its column and the next
//! row, and leaves for the two places that are no row. A string of n bytes costs the verifier n rounds of it.
//!
//! **Not here:** the table (`tracer_common::regex`).

use super::super::vcode::{Base, Constant, VInsn};
use super::Selector;
use crate::isa::{AluOp, JumpOp, Size};
use alloc::vec::Vec;
use tracer_common::ir::{StrOp, Var};
use tracer_common::regex::{FOUND, Table};

/// Cells that a column, which is a byte, can lead behind the last row.
const COLUMNS: usize = 256;

impl Selector<'_, '_> {
    /// 1 when the pattern occurs in the text, 0 otherwise.
    pub(super) fn search(&mut self, dest: Var, text: StrOp, pattern: StrOp) {
        let pattern =
            self.literal(pattern).expect("this is a bug: a pattern that is no literal (ir::verify)");
        let table = Table::new(pattern).expect("this is a bug: a pattern that is none (ir::verify)");
        let dest = self.var(dest);
        let Some(table) = table else { return self.constant(dest, 1) };
        if let Some(text) = self.literal(text) {
            let found = table.finds(text);
            return self.constant(dest, i64::from(found));
        }
        let (map, columns) = self.shared.constant(&table.columns);
        // The verifier knows no more of a column than that it is a byte.
        let padding = core::iter::repeat_n(0, COLUMNS);
        let cells: Vec<u8> = table.cells.iter().copied().chain(padding).flat_map(u16::to_le_bytes).collect();
        let (_, cells) = self.shared.constant(&cells);

        let (at, end) = (self.string_start(text), self.reg());
        self.constant(end, i64::from(self.string_capacity(text)));
        let columns = self.known(Constant::MapValue(map, columns));
        let cells = self.known(Constant::MapValue(map, cells));
        let row = self.reg();
        self.constant(row, 0);
        let (head, done) = (self.block(false), self.block(false));
        self.jump(head);
        self.at(head);
        let byte = self.reg();
        self.push(VInsn::Load { size: Size::B, dst: byte, base: Base::Reg(at), off: 0 });
        self.alu(AluOp::Add, byte, columns);
        self.push(VInsn::Load { size: Size::B, dst: byte, base: Base::Reg(byte), off: 0 });
        self.alu(AluOp::Add, row, byte);
        self.alu(AluOp::Lsh, row, 1);
        self.alu(AluOp::Add, row, cells);
        let next = self.reg();
        self.push(VInsn::Load { size: Size::H, dst: next, base: Base::Reg(row), off: 0 });
        self.mov(row, next);
        self.leave_unless(JumpOp::Le, row, i32::from(table.last), done);
        self.alu(AluOp::Add, at, 1);
        self.alu(AluOp::Sub, end, 1);
        self.jump_if(JumpOp::Ne, end, 0, head);
        self.jump(done);
        self.at(done);
        let yes = self.block(false);
        let result = self.reg();
        self.constant(result, 1);
        self.jump_if(JumpOp::Eq, row, i32::from(FOUND), yes);
        self.constant(result, 0);
        self.jump(yes);
        self.at(yes);
        self.mov(dest, result);
    }
}
