//! `foreach` at the hit: a snapshot of the array, in the order that is asked for.
//!
//! A helper visits the array; a routine puts each element that matches into a map of entries, and its number with what
//! it is sorted by into a heap, another map. Each step of the loop takes the first of the heap: its cost is the
//! logarithm of the array's size, and a limit saves the rest. The program holds the array's lock (pass 3 sees to it), so
//! that both maps are its own.
//!
//! **Not here:** slices without a loop (`slice`), the evaluator's `foreach` (`tracer::run::eval::iterate`).

use super::super::vcode::{Base, Constant, Label, VReg};
use super::{Memory, Result, Selector};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use alloc::format;
use tracer_common::ir::{Dest, GlobalId, GlobalTy, Inst, Iter, Key, LongOp, SortBy, Term, Ty};
use tracer_common::layout::{MapKind, MapSpec, align8, size_of};
use tracer_common::stat::StatOp;

/// Elements in the heap.
const COUNT: u32 = 0;
/// Where in the heap an element is being put.
const POS: u32 = 8;
/// That element: what it is sorted by, then what decides between equals, and the number of its entry.
const ITEM: u32 = 16;
/// The key of a look-up.
const AT: u32 = 40;
/// The keys of a slice.
const KEYS: u32 = 48;

/// Words of an element of the heap.
const WORDS: u32 = 3;
/// Which of them is the entry's number.
const NUMBER: u32 = 16;

/// An iterator of the function.
#[derive(Clone, Copy)]
pub(super) struct Visit {
    global: GlobalId,
    /// The map of one element that holds what it knows.
    state: u32,
    /// Rounds that are left.
    left: VReg,
    heap: u32,
    entries: u32,
    /// Whether entries hold values.
    values: bool,
    /// The string that decides the order: where it is in an entry, its size, and whether smaller ones come first.
    text: Option<(u32, u32, bool)>,
}

impl Selector<'_, '_> {
    fn visit(&mut self, iter: Iter) -> Visit {
        if let Some((_, visit)) = self.visits.iter().find(|(known, _)| *known == iter) {
            return *visit;
        }
        let started =
            self.function.blocks.iter().flat_map(|block| &block.insts).find_map(|(inst, _)| match inst {
                Inst::Iterate { iter: i, global, sort, .. } if *i == iter => Some((*global, *sort)),
                _ => None,
            });
        let Some((global, sort)) = started else {
            panic!("this is a bug: {iter} visits no array (ir::verify)")
        };
        let with_value =
            |term: &Term| matches!(term, Term::IterNext { iter: i, value: Some(_), .. } if *i == iter);
        let layout = &self.shared.layout.globals[global.index()];
        let known = &self.shared.module.globals[global.index()];
        let text = sort.and_then(|(by, ascending)| {
            let (at, ty) = match (by, known.ty.clone()) {
                (SortBy::Key(n), _) => (layout.keys[usize::from(n)], known.keys[usize::from(n)]),
                (SortBy::Value, GlobalTy::Value(ty)) => (layout.key_size, ty),
                _ => return None,
            };
            matches!(ty, Ty::Str(_)).then(|| (at, size_of(ty), ascending))
        });
        let values = self.function.blocks.iter().any(|block| with_value(&block.term.0))
            || text.is_some_and(|(at, ..)| at >= layout.key_size);
        let size = layout.key_size + if values { align8(layout.value_size) } else { 0 };
        let most = self.shared.module.globals[global.index()].max_entries;
        let state = KEYS + layout.key_size;
        let mut array = |name: &str, value_size: u32, max_entries: u32| {
            let name = format!("{name}{}_{}", self.program, iter.0);
            let kind = MapKind::Array;
            let spec = MapSpec { name: name.clone(), kind, key_size: 4, value_size, max_entries };
            self.shared.map(&name, || spec)
        };
        let entries = array("visit", size, most);
        let heap = array("heap", 8 * WORDS, most);
        let state = array("state", state, 1);
        let visit = Visit { global, state, left: self.reg(), heap, entries, values, text };
        self.visits.push((iter, visit));
        visit
    }

    /// What an iterator knows.
    fn state(&mut self, visit: Visit) -> Memory {
        Memory { base: Base::Reg(self.known(Constant::MapValue(visit.state, 0))), off: 0 }
    }

    /// Levels of a heap with as many elements as the array may have.
    fn levels(&self, global: GlobalId) -> u32 {
        u32::BITS - self.shared.module.globals[global.index()].max_entries.leading_zeros() + 1
    }

    /// Whether equal elements keep the order of their insertion.
    fn is_stable(&self, global: GlobalId) -> bool {
        let layout = &self.shared.layout.globals[global.index()];
        layout.inserted.is_some() && layout.cell.is_none()
    }

    pub(super) fn iterate(
        &mut self,
        iter: Iter,
        keys: &[Key],
        sort: Option<(SortBy, bool)>,
        limit: Option<LongOp>,
    ) -> Result {
        let visit = self.visit(iter);
        let global = visit.global;
        self.can_visit()?;
        self.calls_back(3);
        let state = self.state(visit);
        self.store(Size::Dw, state.at(COUNT), 0);
        self.wanted(state.at(KEYS), global, keys);
        // The limit may be a number that the loop changes.
        let most = limit.map(|limit| {
            let most = self.reg();
            self.set(most, limit);
            most
        });
        let collect = self.collector(iter, visit, keys, sort)?;
        let map = Constant::Map(self.map_of(global));
        self.call(Helper::ForEachMapElem, &[map.into(), collect.into(), 0i64.into(), 0i64.into()]);
        let count = self.load_from(Size::Dw, state.at(COUNT));
        self.mov(visit.left, count);
        if let Some(most) = most {
            let on = self.block(false);
            self.jump_if(JumpOp::Sle, visit.left, most, on);
            self.mov(visit.left, most);
            self.jump(on);
            self.at(on);
        }
        Ok(())
    }

    pub(super) fn iter_next(
        &mut self,
        iter: Iter,
        (keys, value): (&[Dest], Option<Dest>),
        body: Label,
        done: Label,
    ) -> Result {
        let visit = self.visit(iter);
        let (state, global) = (self.state(visit), visit.global);
        self.jump_if(JumpOp::Sle, visit.left, 0, done);
        self.alu(AluOp::Sub, visit.left, 1);
        // The maps have an element for each number below the count: this never happens, and ends the handler.
        let gone = self.block(true);
        self.aside(gone, |s| s.jump(s.exit));
        self.store(Size::Dw, state.at(AT), 0);
        let first = self.element_at(visit.heap, state.at(AT), gone);
        let number = self.load_from(Size::Dw, first.at(NUMBER));
        // The last of the heap is put in anew, from its top.
        let count = self.load_from(Size::Dw, state.at(COUNT));
        self.alu(AluOp::Sub, count, 1);
        self.store(Size::Dw, state.at(COUNT), count);
        let last = self.element_at(visit.heap, state.at(COUNT), gone);
        self.copy_words(state.at(ITEM), last, WORDS);
        self.store(Size::Dw, state.at(POS), 0);
        let sift = self.down(visit)?;
        let levels = self.levels(global);
        self.call(Helper::Loop, &[levels.into(), sift.into(), 0i64.into(), 0i64.into()]);
        let place = self.element_at(visit.heap, state.at(POS), gone);
        self.copy_words(place, state.at(ITEM), WORDS);
        self.store(Size::Dw, state.at(AT), number);
        let entry = self.element_at(visit.entries, state.at(AT), gone);
        let layout = &self.shared.layout.globals[global.index()];
        let (offsets, key_size) = (layout.keys.clone(), layout.key_size);
        let fields = offsets.into_iter().zip(keys.iter().copied());
        for (offset, dest) in fields.chain(value.map(|dest| (key_size, dest))) {
            match dest {
                Dest::Long(var) => {
                    let value = self.load_from(Size::Dw, entry.at(offset));
                    self.mov(self.var(var), value);
                }
                Dest::Str(var) => {
                    let (home, from) = (self.home(var), self.address(entry.at(offset)));
                    self.string_from(home, self.capacity(var), from);
                }
            }
        }
        self.jump(body);
        Ok(())
    }

    /// The element of an array map whose number is in memory.
    fn element_at(&mut self, map: u32, number: Memory, missing: Label) -> Memory {
        let number = self.address(number);
        let found = self.call_for(Helper::MapLookupElem, &[Constant::Map(map).into(), number]);
        self.jump_if(JumpOp::Eq, found, 0, missing);
        Memory { base: Base::Reg(found), off: 0 }
    }

    fn copy_words(&mut self, to: Memory, from: Memory, words: u32) {
        for at in (0..words * 8).step_by(8) {
            let word = self.load_from(Size::Dw, from.at(at));
            self.store(Size::Dw, to.at(at), word);
        }
    }

    /// The routine that puts an element of the array into entries and heap.
    fn collector(
        &mut self,
        iter: Iter,
        visit: Visit,
        keys: &[Key],
        sort: Option<(SortBy, bool)>,
    ) -> Result<Constant> {
        let up = self.up(visit)?;
        let (block, inst) = self.position;
        let name = format!("collect{}_{}_{block}_{inst}", self.program, iter.0);
        let global = visit.global;
        let levels = self.levels(global);
        let layout = self.shared.layout.globals[global.index()].clone();
        self.routine(name, |s, [_, key, value, _]| {
            let state = s.state(visit);
            let at = |reg| Memory { base: Base::Reg(reg), off: 0 };
            let (skip, full) = (s.giving(0), s.giving(1));
            s.compare_keys(global, keys, key, state.at(KEYS), skip);
            let entry = s.element_at(visit.entries, state.at(COUNT), full);
            s.copy_field(entry, at(key), layout.key_size);
            if visit.values {
                s.copy_field(entry.at(layout.key_size), at(value), align8(layout.value_size));
            }
            let (first, second) = s.order(global, (key, value), sort)?;
            s.store(Size::Dw, state.at(ITEM), first);
            s.store(Size::Dw, state.at(ITEM + 8), second);
            let count = s.load_from(Size::Dw, state.at(COUNT));
            s.store(Size::Dw, state.at(ITEM + NUMBER), count);
            s.store(Size::Dw, state.at(POS), count);
            s.call(Helper::Loop, &[levels.into(), up.into(), 0i64.into(), 0i64.into()]);
            let place = s.element_at(visit.heap, state.at(POS), full);
            s.copy_words(place, state.at(ITEM), WORDS);
            let count = s.load_from(Size::Dw, state.at(COUNT));
            s.alu(AluOp::Add, count, 1);
            s.store(Size::Dw, state.at(COUNT), count);
            s.give(0);
            Ok(())
        })
    }

    /// Copies a key or a value; large ones by one call.
    pub(super) fn copy_field(&mut self, to: Memory, from: Memory, size: u32) {
        if size <= 64 {
            return self.copy_words(to, from, size / 8);
        }
        let (to, from) = (self.address(to), self.address(from));
        self.call(Helper::ProbeReadKernel, &[to, size.into(), from]);
    }

    /// In a routine: the two numbers that an element is sorted by, ascending.
    fn order(
        &mut self,
        global: GlobalId,
        (key, value): (VReg, VReg),
        sort: Option<(SortBy, bool)>,
    ) -> Result<(VReg, VReg)> {
        let layout = self.shared.layout.globals[global.index()].clone();
        let memory = |reg, offset: u32| Memory { base: Base::Reg(reg), off: offset as i32 };
        let inserted = match layout.inserted {
            Some(offset) if layout.cell.is_none() => self.load_from(Size::Dw, memory(value, offset)),
            Some(offset) if sort.is_none() => self.first_seen(global, key, offset),
            _ => self.known(Constant::Number(0)),
        };
        let Some((by, ascending)) = sort else {
            let zero = self.known(Constant::Number(0));
            return Ok((inserted, zero));
        };
        let number = match by {
            SortBy::Key(n) => {
                let n = usize::from(n);
                match self.shared.module.globals[global.index()].keys[n] {
                    Ty::Long => self.load_from(Size::Dw, memory(key, layout.keys[n])),
                    Ty::Str(_) => self.first_word(memory(key, layout.keys[n])),
                }
            }
            SortBy::Value => match self.shared.module.globals[global.index()].ty {
                GlobalTy::Value(Ty::Long) => self.load_from(Size::Dw, memory(value, 0)),
                GlobalTy::Value(Ty::Str(_)) => self.first_word(memory(value, 0)),
                GlobalTy::Stats(_) => self.number_of(StatOp::Count, global, key),
            },
            SortBy::Stat(op) => self.number_of(op, global, key),
        };
        if !ascending {
            self.alu(AluOp::Xor, number, -1);
        }
        Ok((number, inserted))
    }

    /// In a routine: a number of a statistic; 0 without values.
    fn number_of(&mut self, op: StatOp, global: GlobalId, key: VReg) -> VReg {
        let map = self.map_of(global);
        if op == StatOp::Variance {
            let (cell, shift) = (self.cell_of(global), self.shift(global));
            let total = self.joined_cells((map, Memory { base: Base::Reg(key), off: 0 }), &cell, shift);
            return self.shown_variance(total, shift);
        }
        let (seen, total) = (self.reg(), self.reg());
        self.constant(seen, 0);
        self.constant(total, 0);
        self.add_cells(op, global, (map, Memory { base: Base::Reg(key), off: 0 }), (seen, total));
        match op {
            StatOp::Count => return seen,
            StatOp::Avg => self.quotient(total, seen),
            _ => {}
        }
        total
    }

    /// In a routine: when an element of a statistic was first inserted, by any CPU.
    pub(super) fn first_seen(&mut self, global: GlobalId, key: VReg, offset: u32) -> VReg {
        let (map, first) = (self.map_of(global), self.reg());
        self.constant(first, i64::MAX);
        self.each_cpu(map, Memory { base: Base::Reg(key), off: 0 }, |s, cell| {
            let on = s.block(false);
            let here = s.load_from(Size::Dw, Memory { base: Base::Reg(cell), off: offset as i32 });
            s.jump_if(JumpOp::Eq, here, 0, on);
            s.jump_if(JumpOp::Sge, here, first, on);
            s.mov(first, here);
            s.jump(on);
            s.at(on);
        });
        first
    }

    /// Goes to `yes` when an element of the heap comes before another, else to `no`.
    fn before(&mut self, visit: Visit, one: Memory, other: Memory, (yes, no): (Label, Label)) {
        let (mine, theirs) = (self.load_from(Size::Dw, one), self.load_from(Size::Dw, other));
        self.jump_if(JumpOp::Slt, mine, theirs, yes);
        let is_stable = self.is_stable(visit.global);
        if is_stable || visit.text.is_some() {
            self.jump_if(JumpOp::Sgt, mine, theirs, no);
        }
        if let Some((at, size, ascending)) = visit.text
            && size > 8
        {
            let equal = self.block(false);
            let texts = [one, other].map(|item| {
                let entry = self.element_at(visit.entries, item.at(NUMBER), no);
                let place = self.reg();
                if let Base::Reg(entry) = entry.base {
                    self.mov(place, entry);
                }
                self.alu(AluOp::Add, place, at as i32);
                place
            });
            let (mine, theirs) = self.first_difference((texts[0], texts[1]), size, equal);
            self.by_first_byte(mine, theirs);
            self.jump_if(if ascending { JumpOp::Lt } else { JumpOp::Gt }, mine, theirs, yes);
            self.jump(no);
            self.at(equal);
        }
        if is_stable {
            let (mine, theirs) = (self.load_from(Size::Dw, one.at(8)), self.load_from(Size::Dw, other.at(8)));
            self.jump_if(JumpOp::Slt, mine, theirs, yes);
        }
        self.jump(no);
    }

    /// The routine that moves the free place of the heap up, until the element may stand there.
    fn up(&mut self, visit: Visit) -> Result<Constant> {
        self.routine(format!("up_{}", visit.heap), |s, _| {
            let state = s.state(visit);
            let (end, on) = (s.giving(1), s.block(false));
            let pos = s.load_from(Size::Dw, state.at(POS));
            s.jump_if(JumpOp::Eq, pos, 0, end);
            s.alu(AluOp::Sub, pos, 1);
            s.alu(AluOp::Rsh, pos, 1);
            s.store(Size::Dw, state.at(AT), pos);
            let parent = s.element_at(visit.heap, state.at(AT), end);
            s.before(visit, state.at(ITEM), parent, (on, end));
            s.at(on);
            s.move_into_place(visit, parent, state, end);
            Ok(())
        })
    }

    /// The routine that moves the free place of the heap down.
    fn down(&mut self, visit: Visit) -> Result<Constant> {
        self.routine(format!("down_{}", visit.heap), |s, _| {
            let state = s.state(visit);
            let end = s.giving(1);
            let child = s.load_from(Size::Dw, state.at(POS));
            s.alu(AluOp::Lsh, child, 1);
            s.alu(AluOp::Add, child, 1);
            let count = s.load_from(Size::Dw, state.at(COUNT));
            s.jump_if(JumpOp::Ge, child, count, end);
            s.store(Size::Dw, state.at(AT), child);
            let best = s.reg();
            let left = s.element_at(visit.heap, state.at(AT), end);
            let Base::Reg(left_reg) = left.base else { return Ok(()) };
            s.mov(best, left_reg);
            let (chosen, choose, take) = (s.block(false), s.block(false), s.block(false));
            s.alu(AluOp::Add, child, 1);
            s.jump_if(JumpOp::Ge, child, count, chosen);
            s.store(Size::Dw, state.at(AT), child);
            let right = s.element_at(visit.heap, state.at(AT), end);
            s.before(visit, right, left, (take, choose));
            s.at(take);
            let Base::Reg(right_reg) = right.base else { return Ok(()) };
            s.mov(best, right_reg);
            s.jump(chosen);
            s.at(choose);
            s.alu(AluOp::Sub, child, 1);
            s.store(Size::Dw, state.at(AT), child);
            s.jump(chosen);
            s.at(chosen);
            let best = Memory { base: Base::Reg(best), off: 0 };
            let on = s.block(false);
            s.before(visit, best, state.at(ITEM), (on, end));
            s.at(on);
            s.move_into_place(visit, best, state, end);
            Ok(())
        })
    }

    /// In a routine: moves an element, whose number is in `AT`, to the free place; its own is free then.
    fn move_into_place(&mut self, visit: Visit, from: Memory, state: Memory, end: Label) {
        let to = self.element_at(visit.heap, state.at(POS), end);
        self.copy_words(to, from, WORDS);
        let number = self.load_from(Size::Dw, state.at(AT));
        self.store(Size::Dw, state.at(POS), number);
        self.give(0);
    }
}
