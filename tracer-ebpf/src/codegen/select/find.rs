//! A string in another that is known only at the hit: `isinstr`, `strpos`, `str_replace`.
//!
//! The needle becomes a table (Knuth, Morris, Pratt), so that a search looks at each byte at most twice. A row is four bytes: the
//! needle's byte, and above it where the row is that a mismatch falls back to, as an offset. Of a literal the table is a constant.
//!
//! All loops here have a number of rounds that the verifier knows, and inside a round nothing but their ends is decided by a
//! branch: what a comparison says is a number, 0 or 1, that is added or multiplied. A branch that comes back would have verifiers
//! follow each of its ways through all rounds that are left. Offsets are masked, so what they lead into has a power of
//! two as its size.
//!
//! **Not here:** needles that are literals where only their presence counts (`regex`), what an area has room for (`Room`, which
//! `storage` asks).

use super::super::vcode::{Base, Constant, Label, VInsn, VReg, VSrc};
use super::{Memory, Selector};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use alloc::vec::Vec;
use tracer_common::ir::{StrOp, StrVar, Var};

/// Bytes of a row.
const ROW: u32 = 4;

/// What lies where in the area, of capacities.
#[derive(Clone, Copy)]
pub(in crate::codegen) struct Room {
    text: u32,
    needle: u32,
    with: u32,
    dest: u32,
}

impl Room {
    /// For a search.
    pub(in crate::codegen) fn search(text: u32, needle: u32) -> Room {
        Room { text, needle, with: 0, dest: 0 }
    }

    /// For a search with replacements.
    pub(in crate::codegen) fn replace(text: u32, needle: u32, with: u32, dest: u32) -> Room {
        Room { text, needle, with, dest }
    }

    /// The text.
    fn text(self) -> Part {
        (0, self.text.next_power_of_two().max(8))
    }

    /// The table.
    fn table(self) -> Part {
        behind(self.text(), self.needle * ROW)
    }

    /// The needle, where it is not known.
    fn bytes(self) -> Part {
        behind(self.table(), self.needle)
    }

    /// How much of the text is to be replaced at each of its places: two bytes for each.
    fn marks(self) -> Part {
        behind(self.bytes(), 2 * self.text().1)
    }

    /// The replacement.
    fn with(self) -> Part {
        behind(self.marks(), self.with + 1)
    }

    /// What is made, with one byte more than there is room for.
    fn made(self) -> Part {
        behind(self.with(), self.dest + 1)
    }

    /// Bytes of all.
    pub(in crate::codegen) fn size(self) -> u32 {
        let (offset, size) = if self.dest == 0 { self.bytes() } else { self.made() };
        offset + size
    }
}

/// A part of at least so many bytes.
fn behind((offset, size): Part, bytes: u32) -> Part {
    (offset + size, bytes.next_power_of_two().max(8))
}

/// A part of the area: its offset, and its size, a power of two.
pub(super) type Part = (u32, u32);

/// A loop.
pub(super) struct Rounds {
    head: Label,
    /// Rounds left, where they are counted.
    left: Option<VReg>,
}

impl Selector<'_, '_> {
    /// Where the needle begins in the text, or -1; `whether` instead 1 or 0.
    pub(super) fn occurrence(&mut self, dest: Var, text: StrOp, needle: StrOp, whether: bool) {
        let room = Room::search(self.string_capacity(text), self.string_capacity(needle));
        self.text_to_area(text, 0);
        self.table_of(room, needle);
        let (at, row) = (self.reg(), self.reg());
        self.constant(at, 0);
        self.constant(row, 0);
        let (found, missing, done) = (self.block(false), self.block(false), self.block(false));
        let carried = [at, row];
        let rounds = self.rounds(2 * room.text, &carried, missing);
        let cell = self.cell(Size::W, row, room.table());
        let wanted = self.low_byte(cell);
        self.leave_unless(JumpOp::Ne, wanted, 0, found);
        let byte = self.cell(Size::B, at, room.text());
        self.leave_unless(JumpOp::Ne, byte, 0, missing);
        let same = self.same(byte, wanted);
        self.advance((at, row), cell, same);
        self.again(rounds, missing);
        self.at(missing);
        let result = self.reg();
        self.constant(result, if whether { 0 } else { -1 });
        self.jump(done);
        self.at(found);
        if whether {
            self.constant(result, 1);
        } else {
            self.alu(AluOp::Rsh, row, 2);
            self.mov(result, at);
            self.alu(AluOp::Sub, result, row);
            self.hide(result, 0);
        }
        self.jump(done);
        self.at(done);
        let dest = self.var(dest);
        self.mov(dest, result);
    }

    /// Every occurrence replaced, from left to right.
    pub(super) fn replace(&mut self, dest: StrVar, [text, needle, with]: [StrOp; 3]) {
        let (home, capacity) = (self.home(dest), self.capacity(dest));
        let capacities = [text, needle, with].map(|op| self.string_capacity(op));
        let room = Room::replace(capacities[0], capacities[1], capacities[2], capacity);
        self.text_to_area(text, 0);
        self.text_to_area(with, room.with().0);
        self.table_of(room, needle);
        let area = self.area();
        self.store_zeros(area.at(room.marks().0), room.marks().1);
        self.mark(room);
        let length = self.put(room);
        let made = self.address(area.at(room.made().0));
        self.string_from(home, capacity, made);
        self.count_cut(JumpOp::Ge, length, capacity);
    }

    /// Writes at the beginning of each occurrence how long it is. An empty needle occurs nowhere.
    fn mark(&mut self, room: Room) {
        let (at, row) = (self.reg(), self.reg());
        self.constant(at, 0);
        self.constant(row, 0);
        let done = self.block(false);
        let empty = self.cell(Size::W, row, room.table());
        let first = self.low_byte(empty);
        self.jump_if(JumpOp::Eq, first, 0, done);
        let carried = [at, row];
        let rounds = self.rounds(3 * room.text, &carried, done);
        let cell = self.cell(Size::W, row, room.table());
        let wanted = self.low_byte(cell);
        let whole = self.is_zero(wanted);
        let byte = self.cell(Size::B, at, room.text());
        // The text's end, but for an occurrence that ends there.
        let left = self.reg();
        self.mov(left, byte);
        self.alu(AluOp::Or, left, whole);
        self.leave_unless(JumpOp::Ne, left, 0, done);
        // Where what is found so far begins, and how long it is when it is whole.
        let (begin, length) = (self.reg(), self.reg());
        self.mov(length, row);
        self.alu(AluOp::Rsh, length, 2);
        self.mov(begin, at);
        self.alu(AluOp::Sub, begin, length);
        self.alu(AluOp::Lsh, begin, 1);
        self.alu(AluOp::Mul, length, whole);
        self.set_cell(Size::H, begin, room.marks(), length);
        let goes_on = self.inverse(whole);
        let same = self.same(byte, wanted);
        self.alu(AluOp::And, same, goes_on);
        // After a whole one the search begins anew, without a step.
        self.advance((at, row), cell, same);
        self.alu(AluOp::Mul, row, goes_on);
        self.again(rounds, done);
        self.at(done);
    }

    /// Copies the text, and the replacement where something is marked; how many bytes there were, one more than fit at most.
    fn put(&mut self, room: Room) -> VReg {
        // In `with` the number of the byte that comes next and one more; 0 while the text is copied.
        let (at, with, to) = (self.reg(), self.reg(), self.reg());
        for reg in [at, with, to] {
            self.constant(reg, 0);
        }
        let done = self.block(false);
        let carried = [at, with, to];
        let rounds = self.rounds(2 * room.text + room.dest, &carried, done);
        self.leave_unless(JumpOp::Lt, to, room.dest as i32, done);
        let copies = self.is_zero(with);
        let twice = self.reg();
        self.mov(twice, at);
        self.alu(AluOp::Lsh, twice, 1);
        let marked = self.cell(Size::H, twice, room.marks());
        self.alu(AluOp::Mul, marked, copies);
        // Of the two bytes that come next, the one of what is copied.
        let byte = self.cell(Size::B, with, (room.with().0 - 1, room.with().1));
        let other = self.cell(Size::B, at, room.text());
        self.alu(AluOp::Sub, other, byte);
        self.alu(AluOp::Mul, other, copies);
        self.alu(AluOp::Add, byte, other);
        let end = self.reg();
        self.mov(end, byte);
        self.alu(AluOp::Add, end, with);
        self.leave_unless(JumpOp::Ne, end, 0, done);
        self.set_cell(Size::B, to, room.made(), byte);
        let begins = self.is_zero(marked);
        let ends = self.is_zero(byte);
        let goes_on = self.inverse(ends);
        // A byte was put unless an occurrence begins here, or a replacement ends.
        let step = self.reg();
        self.mov(step, begins);
        self.alu(AluOp::And, step, goes_on);
        self.alu(AluOp::Add, to, step);
        // In the text: over the occurrence, or one byte.
        self.mov(step, marked);
        self.alu(AluOp::Add, step, begins);
        self.alu(AluOp::Mul, step, copies);
        self.alu(AluOp::Add, at, step);
        // In the replacement: the next byte, or none, or the first.
        let inside = self.inverse(copies);
        self.alu(AluOp::And, inside, goes_on);
        self.alu(AluOp::Add, with, 1);
        self.alu(AluOp::Mul, with, inside);
        self.alu(AluOp::Xor, begins, 1);
        self.alu(AluOp::Add, with, begins);
        self.again(rounds, done);
        self.at(done);
        self.hide(to, 0);
        let zero = self.reg();
        self.constant(zero, 0);
        self.set_cell(Size::B, to, room.made(), zero);
        to
    }

    /// After a byte was the same (1) or not (0): a step in the text unless something less long may still begin before it, and the
    /// row of what is found now.
    fn advance(&mut self, (at, row): (VReg, VReg), cell: VReg, same: VReg) {
        let step = self.is_zero(row);
        self.alu(AluOp::Or, step, same);
        self.alu(AluOp::Add, at, step);
        self.next_row(row, cell, same);
    }

    /// `row = same ? row + 1 : where the cell falls back to`
    fn next_row(&mut self, row: VReg, cell: VReg, same: VReg) {
        self.alu(AluOp::Rsh, cell, 8);
        self.alu(AluOp::Add, row, ROW as i32);
        self.alu(AluOp::Sub, row, cell);
        self.alu(AluOp::Mul, row, same);
        self.alu(AluOp::Add, row, cell);
    }

    /// The table of a needle, into the area.
    fn table_of(&mut self, room: Room, needle: StrOp) {
        let area = self.area();
        if let Some(needle) = self.literal(needle) {
            let table = rows(needle);
            let (map, at) = self.shared.constant(&table);
            let to = self.address(area.at(room.table().0));
            let from = Constant::MapValue(map, at).into();
            return self.call(Helper::ProbeReadKernel, &[to, (table.len() as u32).into(), from]);
        }
        self.text_to_area(needle, room.bytes().0);
        // `at` counts bytes, `to` rows; `row` is that of what begins the needle and ends here, `kept` the one of this byte's row.
        let (at, to, row, kept) = (self.reg(), self.reg(), self.reg(), self.reg());
        let first = self.load_from(Size::B, area.at(room.bytes().0));
        self.store(Size::W, area.at(room.table().0), first);
        let done = self.block(false);
        self.jump_if(JumpOp::Eq, first, 0, done);
        self.constant(at, 1);
        self.constant(to, ROW);
        self.constant(row, 0);
        self.constant(kept, 0);
        let carried = [at, to, row, kept];
        let rounds = self.rounds(2 * room.needle, &carried, done);
        let byte = self.cell(Size::B, at, room.bytes());
        let full = self.reg();
        self.mov(full, kept);
        self.alu(AluOp::Lsh, full, 8);
        self.alu(AluOp::Or, full, byte);
        self.set_cell(Size::W, to, room.table(), full);
        self.leave_unless(JumpOp::Ne, byte, 0, done);
        let cell = self.cell(Size::W, row, room.table());
        let other = self.low_byte(cell);
        let same = self.same(byte, other);
        let step = self.is_zero(row);
        self.alu(AluOp::Or, step, same);
        self.next_row(row, cell, same);
        let change = self.reg();
        self.mov(change, row);
        self.alu(AluOp::Sub, change, kept);
        self.alu(AluOp::Mul, change, step);
        self.alu(AluOp::Add, kept, change);
        self.alu(AluOp::Add, at, step);
        self.alu(AluOp::Lsh, step, 2);
        self.alu(AluOp::Add, to, step);
        self.again(rounds, done);
        self.at(done);
    }

    // ---- tools

    /// Copies a string to an offset of the area.
    pub(super) fn text_to_area(&mut self, text: StrOp, offset: u32) {
        let to = self.area().at(offset);
        let (to, from) = (self.address(to), self.string_address(text));
        let capacity = self.string_capacity(text);
        self.call(Helper::ProbeReadKernelStr, &[to, capacity.into(), from]);
    }

    /// Begins a loop of at most so many rounds, which changes these numbers.
    ///
    /// With `may_goto`, a verifier follows two rounds, if no number is known that changes (`codegen::loops`); without, all of them.
    pub(super) fn rounds(&mut self, count: u32, carried: &[VReg], done: Label) -> Rounds {
        let may_goto = self.shared.target.features.may_goto;
        let left = (!may_goto).then(|| self.reg());
        if let Some(left) = left {
            self.constant(left, count);
        } else {
            let zero = self.unknown_zero();
            for number in carried {
                self.alu(AluOp::Add, *number, zero);
            }
        }
        let head = self.block(false);
        self.code.blocks[head.0 as usize].depth = self.code.blocks[self.current.0 as usize].depth + 1;
        self.jump(head);
        self.at(head);
        if may_goto {
            self.push(VInsn::MayGoto { to: done });
        }
        Rounds { head, left }
    }

    /// Ends a round.
    pub(super) fn again(&mut self, rounds: Rounds, done: Label) {
        let Some(left) = rounds.left else { return self.jump(rounds.head) };
        self.alu(AluOp::Sub, left, 1);
        self.jump_if(JumpOp::Ne, left, 0, rounds.head);
        self.jump(done);
    }

    /// Leaves a loop unless this holds.
    pub(super) fn leave_unless(&mut self, op: JumpOp, left: VReg, right: impl Into<VSrc>, to: Label) {
        let stay = self.block(false);
        self.code.blocks[stay.0 as usize].depth = self.code.blocks[self.current.0 as usize].depth;
        self.code.blocks[self.current.0 as usize].ends_first = true;
        self.jump_if(op, left, right, stay);
        self.jump(to);
        self.at(stay);
    }

    /// Makes a number, which a loop left, one of which verifiers know nothing: what comes behind the loop is then the same for them
    /// after each round, and they look at it once. These bytes of the area are free.
    pub(super) fn hide(&mut self, number: VReg, offset: u32) {
        let area = self.area().at(offset);
        self.store(Size::Dw, area, number);
        self.push(VInsn::Load { size: Size::Dw, dst: number, base: area.base, off: area.off });
    }

    /// What lies in the area at a number, in a part with this offset and size. The number is masked here: one that waits in the frame
    /// has no bounds any more for verifiers before 5.11.
    pub(super) fn cell(&mut self, size: Size, number: VReg, part: Part) -> VReg {
        let (memory, dst) = self.area_at(number, part);
        self.push(VInsn::Load { size, dst, base: memory.base, off: memory.off });
        dst
    }

    pub(super) fn set_cell(&mut self, size: Size, number: VReg, part: Part, value: VReg) {
        let (memory, _) = self.area_at(number, part);
        self.store(size, memory, value);
    }

    fn area_at(&mut self, number: VReg, (offset, size): Part) -> (Memory, VReg) {
        let area = self.area();
        let Base::Reg(base) = area.base else {
            panic!("this is a bug: the area is in the frame (storage::Storage)")
        };
        let at = self.reg();
        self.mov(at, number);
        self.alu(AluOp::And, at, size as i32 - 1);
        self.alu(AluOp::Add, at, base);
        (Memory { base: Base::Reg(at), off: area.off + offset as i32 }, at)
    }

    fn low_byte(&mut self, cell: VReg) -> VReg {
        let byte = self.reg();
        self.mov(byte, cell);
        self.alu(AluOp::And, byte, 0xff);
        byte
    }

    /// 1 where two small numbers are the same, 0 otherwise.
    pub(super) fn same(&mut self, left: VReg, right: VReg) -> VReg {
        let dst = self.reg();
        self.mov(dst, left);
        self.alu(AluOp::Xor, dst, right);
        self.below(dst, 1);
        dst
    }

    /// 1 where a small number is 0, 0 otherwise.
    pub(super) fn is_zero(&mut self, number: VReg) -> VReg {
        let dst = self.reg();
        self.mov(dst, number);
        self.below(dst, 1);
        dst
    }

    /// 1 for 0 and 0 for 1.
    pub(super) fn inverse(&mut self, bit: VReg) -> VReg {
        let dst = self.reg();
        self.mov(dst, bit);
        self.alu(AluOp::Xor, dst, 1);
        dst
    }
}

/// The table of a needle that is known: a row for each byte and for the end.
fn rows(needle: &[u8]) -> Vec<u8> {
    let mut back: Vec<usize> = alloc::vec![0, 0];
    for at in 1..needle.len() {
        let mut row = back[at];
        while row > 0 && needle[row] != needle[at] {
            row = back[row];
        }
        back.push(if needle[row] == needle[at] { row + 1 } else { 0 });
    }
    let bytes = needle.iter().copied().chain([0]);
    bytes
        .zip(back)
        .flat_map(|(byte, back)| (u32::from(byte) | (back as u32 * ROW) << 8).to_le_bytes())
        .collect()
}
