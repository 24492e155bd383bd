//! `matched(n)` and `ngroups()`: groups of what was searched for last, by four walks over the string (`tracer_common::regex::Ways`).
//!
//! What was searched, and which pattern was found in it, lie in the scratch slot and belong to one hit: a function sees what its caller
//! searched, and the caller what the function did.
//!
//! **Not here:** the automata, the search itself (`regex`).

use super::super::vcode::{Base, Constant, Label, VInsn, VReg};
use super::parse::area;
use super::{Memory, Result, Selector};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use alloc::vec::Vec;
use tracer_common::ir::{LongOp, StrOp, StrVar, Var};
use tracer_common::record::ErrorKind;
use tracer_common::regex::{self, NOTHING, Walk, Ways};

/// Bytes of the number of the pattern that was found, before the string.
pub(in crate::codegen) const NUMBER: u32 = 8;

/// Bytes wanted of the area to look for groups in a string of a capacity: the string, a state for each of its bytes, a number.
pub(in crate::codegen) fn groups_area(capacity: u32) -> u32 {
    3 * area(capacity) + 16
}

/// Where a walk's tables are, and how many cells they have room for.
struct Table {
    map: u32,
    cells: u32,
    size: u32,
}

/// What looks for the groups of one pattern.
struct Groups {
    columns: Constant,
    text: u32,
    /// The string's length.
    length: VReg,
    begin: VReg,
    end: VReg,
}

impl Selector<'_, '_> {
    fn searched(&self) -> Memory {
        self.area().at(self.storage.searched.0 - self.storage.area.0)
    }

    /// At a hit's begin nothing was searched.
    pub(super) fn nothing_searched(&mut self) {
        if self.storage.searched.1 > 0 {
            let memory = self.searched();
            self.store(Size::Dw, memory, 0);
            self.store(Size::B, memory.at(NUMBER), 0);
        }
    }

    /// Remembers a search: the string, and the number of the pattern when it was found, 0 otherwise.
    pub(super) fn keep_search(&mut self, text: StrOp, number: LongOp) {
        let memory = self.searched();
        let number = self.source(number);
        self.store(Size::Dw, memory, number);
        let (to, from) = (self.address(memory.at(NUMBER)), self.string_address(text));
        let capacity = self.string_capacity(text);
        self.call(Helper::ProbeReadKernelStr, &[to, capacity.into(), from]);
    }

    pub(super) fn search_number(&mut self, dest: Var) {
        let memory = self.searched();
        let number = self.load_from(Size::Dw, memory);
        let dest = self.var(dest);
        self.mov(dest, number);
    }

    pub(super) fn search_text(&mut self, dest: StrVar) {
        let (home, capacity) = (self.home(dest), self.capacity(dest));
        let memory = self.searched();
        let from = self.address(memory.at(NUMBER));
        self.string_from(home, capacity, from);
    }

    /// The patterns that numbers stand for, 1 for the first.
    fn patterns(&self, patterns: StrOp) -> Vec<Vec<u8>> {
        let patterns =
            self.literal(patterns).expect("this is a bug: patterns that are no literal (ir::verify)");
        regex::list(patterns).map(<[u8]>::to_vec).collect()
    }

    /// How many groups the pattern has that was found.
    pub(super) fn ngroups(&mut self, dest: Var, number: LongOp, patterns: StrOp) {
        let number = self.read(number);
        let (result, done) = (self.reg(), self.block(false));
        for (n, pattern) in self.patterns(patterns).iter().enumerate() {
            let next = self.block(false);
            self.jump_if(JumpOp::Ne, number, n as i32 + 1, next);
            let groups = regex::groups(pattern).expect("this is a bug: a pattern that is none (ir::verify)");
            self.constant(result, groups as i64 + 1);
            self.jump(done);
            self.at(next);
        }
        self.raise(ErrorKind::NoGroups, 0);
        self.at(done);
        let dest = self.var(dest);
        self.mov(dest, result);
    }

    /// A group of a string in which the pattern of that number was found.
    pub(super) fn matched(
        &mut self,
        dest: StrVar,
        text: StrOp,
        (number, patterns): (LongOp, StrOp),
        group: LongOp,
    ) -> Result {
        let capacity = self.string_capacity(text);
        let (to, from) = (self.area(), self.string_address(text));
        let to = self.address(to);
        let length = self.call_for(Helper::ProbeReadKernelStr, &[to, capacity.into(), from]);
        self.alu(AluOp::Sub, length, 1);
        let (begin, end, copy) = (self.reg(), self.reg(), self.block(false));
        self.constant(begin, 0);
        self.constant(end, 0);
        let number = self.read(number);
        for (n, pattern) in self.patterns(patterns).iter().enumerate() {
            let next = self.block(false);
            self.jump_if(JumpOp::Ne, number, n as i32 + 1, next);
            let Ok(ways) = Ways::new(pattern) else {
                return self.unsupported("matched() of a pattern that makes so large an automaton");
            };
            let (map, columns) = self.shared.constant(&ways.columns);
            let columns = Constant::MapValue(map, columns);
            self.groups(&ways, &Groups { columns, text: capacity, length, begin, end }, group, copy);
            self.at(next);
        }
        let wanted = self.source(group);
        self.raise(ErrorKind::GroupOfFailed, wanted);
        self.at(copy);
        self.alu(AluOp::Sub, end, begin);
        self.part_of_area(dest, (begin, end), 0, capacity);
        Ok(())
    }

    /// Begin and end of the group that is asked for; goes to `found`, or raises.
    fn groups(&mut self, ways: &Ways, of: &Groups, group: LongOp, found: Label) {
        self.first_start(&ways.starts, of);
        self.longest_end(&ways.longest, of);
        match group {
            LongOp::Imm(0) => return self.jump(found),
            LongOp::Imm(n) if n < 0 || n as usize > ways.groups.len() => {
                let wanted = self.source(group);
                return self.raise(ErrorKind::GroupMissing, wanted);
            }
            LongOp::Imm(n) => {
                self.keep_ways(&ways.ways, of);
                self.one_group(&ways.groups[n as usize - 1], ways.states, of);
                return self.jump(found);
            }
            LongOp::Var(_) => {}
        }
        let wanted = self.read(group);
        self.jump_if(JumpOp::Eq, wanted, 0, found);
        self.keep_ways(&ways.ways, of);
        for (n, rows) in ways.groups.iter().enumerate() {
            let next = self.block(false);
            self.jump_if(JumpOp::Ne, wanted, n as i32 + 1, next);
            self.one_group(rows, ways.states, of);
            self.jump(found);
            self.at(next);
        }
        self.raise(ErrorKind::GroupMissing, wanted);
    }

    /// From where something is found, looking back from the end.
    fn first_start(&mut self, walk: &Walk, of: &Groups) {
        let table = self.table(&walk.cells);
        let (at, cell) = (self.reg(), self.reg());
        self.mov(at, of.length);
        self.mov(of.begin, of.length);
        self.constant(cell, walk.first[1]);
        let done = self.block(false);
        let size = area(of.text);
        let rounds = self.rounds(of.text, &[at, of.begin, cell], done);
        let first = self.is_zero(at);
        self.note(of.begin, at, cell, first);
        self.leave_unless(JumpOp::Ne, at, 0, done);
        self.alu(AluOp::Sub, at, 1);
        let byte = self.cell(Size::B, at, (0, size));
        self.next(&table, of.columns, cell, byte);
        self.again(rounds, done);
        self.at(done);
        self.hide(of.begin, 3 * size);
    }

    /// Where the longest of what begins there ends.
    fn longest_end(&mut self, walk: &Walk, of: &Groups) {
        let table = self.table(&walk.cells);
        let (at, cell) = (self.reg(), self.reg());
        let size = area(of.text);
        self.mov(at, of.begin);
        self.mov(of.end, at);
        self.one_of_two(cell, at, walk.first);
        let done = self.block(false);
        let rounds = self.rounds(of.text, &[at, of.end, cell], done);
        let byte = self.cell(Size::B, at, (0, size));
        let last = self.is_zero(byte);
        self.note(of.end, at, cell, last);
        self.leave_unless(JumpOp::Ne, byte, 0, done);
        let row = self.reg();
        self.mov(row, cell);
        self.alu(AluOp::And, row, NOTHING as i32);
        self.leave_unless(JumpOp::Ne, row, NOTHING as i32, done);
        self.next(&table, of.columns, cell, byte);
        self.alu(AluOp::Add, at, 1);
        self.again(rounds, done);
        self.at(done);
        self.hide(of.end, 3 * size);
    }

    /// Keeps the states of the way back, from the end to the begin.
    fn keep_ways(&mut self, walk: &Walk, of: &Groups) {
        let table = self.table(&walk.cells);
        let (at, cell) = (self.reg(), self.reg());
        let size = area(of.text);
        // Which of the two first states: whether the end is the string's.
        self.mov(at, of.length);
        self.alu(AluOp::Sub, at, of.end);
        self.one_of_two(cell, at, walk.first);
        self.mov(at, of.end);
        let done = self.block(false);
        let rounds = self.rounds(of.text, &[at, cell], done);
        let (twice, state) = (self.reg(), self.reg());
        self.mov(twice, at);
        self.alu(AluOp::Lsh, twice, 1);
        self.mov(state, cell);
        self.alu(AluOp::Rsh, state, 16);
        self.set_cell(Size::H, twice, (size, 2 * size), state);
        self.leave_unless(JumpOp::Ne, at, of.begin, done);
        self.alu(AluOp::Sub, at, 1);
        let byte = self.cell(Size::B, at, (0, size));
        self.next(&table, of.columns, cell, byte);
        self.again(rounds, done);
        self.at(done);
    }

    /// From the begin to the end of what is found, along the preferred way, to where it passes a group's marks last.
    fn one_group(&mut self, rows: &[u32], states: u32, of: &Groups) {
        let table = self.table(rows);
        let (at, row, begin, end) = (self.reg(), self.reg(), self.reg(), self.reg());
        let size = area(of.text);
        self.mov(at, of.begin);
        self.one_of_two(row, at, [0, states]);
        self.constant(begin, 0);
        self.constant(end, 0);
        let done = self.block(false);
        let carried = [at, row, begin, end];
        let rounds = self.rounds(of.text, &carried, done);
        let twice = self.reg();
        self.mov(twice, at);
        self.alu(AluOp::Lsh, twice, 1);
        let state = self.cell(Size::H, twice, (size, 2 * size));
        self.alu(AluOp::And, row, 0xffff);
        self.alu(AluOp::Add, row, state);
        self.look_up(&table, row);
        for (mark, bit) in [(begin, 16), (end, 17)] {
            let passes = self.reg();
            self.mov(passes, row);
            self.alu(AluOp::Rsh, passes, bit);
            self.alu(AluOp::And, passes, 1);
            self.move_to(mark, at, passes);
        }
        self.leave_unless(JumpOp::Ne, at, of.end, done);
        self.alu(AluOp::Add, at, 1);
        self.again(rounds, done);
        self.at(done);
        self.hide(begin, 3 * size);
        self.hide(end, 3 * size);
        self.mov(of.begin, begin);
        self.mov(of.end, end);
    }

    // ---- tools

    /// A table among the constants, with room for what a mask lets through.
    fn table(&mut self, cells: &[u32]) -> Table {
        let size = cells.len().next_power_of_two();
        let bytes: Vec<u8> = cells
            .iter()
            .copied()
            .chain(core::iter::repeat_n(0, size - cells.len()))
            .flat_map(u32::to_le_bytes)
            .collect();
        let (map, cells) = self.shared.constant(&bytes);
        Table { map, cells, size: size as u32 }
    }

    /// The cell of that number, in its place.
    fn look_up(&mut self, table: &Table, number: VReg) {
        self.alu(AluOp::And, number, table.size as i32 - 1);
        self.alu(AluOp::Lsh, number, 2);
        let base = self.known(Constant::MapValue(table.map, table.cells));
        self.alu(AluOp::Add, base, number);
        self.push(VInsn::Load { size: Size::W, dst: number, base: Base::Reg(base), off: 0 });
    }

    /// The cell that a byte leads to, in the place of the one before.
    fn next(&mut self, table: &Table, columns: Constant, cell: VReg, byte: VReg) {
        let at = self.known(columns);
        self.alu(AluOp::Add, at, byte);
        let column = self.load_from(Size::B, Memory { base: Base::Reg(at), off: 0 });
        self.alu(AluOp::And, cell, 0xffff);
        self.alu(AluOp::Add, cell, column);
        self.look_up(table, cell);
    }

    /// `to = at` where a cell says so: its bit 17 where `special` is 1, else its bit 16.
    fn note(&mut self, to: VReg, at: VReg, cell: VReg, special: VReg) {
        let (bit, count) = (self.reg(), self.reg());
        self.mov(bit, cell);
        self.mov(count, special);
        self.alu(AluOp::Add, count, 16);
        self.alu(AluOp::Rsh, bit, count);
        self.alu(AluOp::And, bit, 1);
        self.move_to(to, at, bit);
    }

    /// `to = at` where `here` is 1.
    fn move_to(&mut self, to: VReg, at: VReg, here: VReg) {
        let way = self.reg();
        self.mov(way, at);
        self.alu(AluOp::Sub, way, to);
        self.alu(AluOp::Mul, way, here);
        self.alu(AluOp::Add, to, way);
    }

    /// The second of two where a small number is 0, else the first.
    fn one_of_two(&mut self, dst: VReg, number: VReg, [first, second]: [u32; 2]) {
        let zero = self.is_zero(number);
        self.mov(dst, zero);
        self.alu(AluOp::Mul, dst, second as i32 - first as i32);
        self.alu(AluOp::Add, dst, first as i32);
    }
}
