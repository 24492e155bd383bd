//! Slices: elements of which only some keys are told. A helper visits the whole array, and a routine looks at each.
//!
//! The caller's memory holds what the routine finds, and behind it the keys that are told.

use super::super::storage::FRAME_KEY;
use super::super::vcode::{Base, Constant, Label, VReg};
use super::variance::Moments;
use super::{Memory, Result, Selector};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use alloc::format;
use alloc::string::String;
use tracer_common::ir::{Arg, GlobalId, Key, Ty, Var};
use tracer_common::layout::size_of;
use tracer_common::record::ErrorKind;
use tracer_common::stat::StatOp;

/// How many elements a routine found; also how many values these have.
const FOUND: u32 = 0;
/// What a number of them comes to.
const TOTAL: u32 = 8;
/// Where the keys are in the memory of slices.
const KEYS: u32 = 16;

/// Which keys of a slice are told, for the name of a routine.
pub(super) fn mask(keys: &[Key]) -> u32 {
    (0..).zip(keys).map(|(n, key)| u32::from(key.is_some()) << n).sum()
}

impl Selector<'_, '_> {
    /// Whether the kernel visits arrays.
    pub(super) fn can_visit(&self) -> Result {
        let features = &self.shared.target.features;
        if features.for_each_map_elem && features.bpf_loop {
            return Ok(());
        }
        self.kernel_lacks("visit an array", "5.17")
    }

    /// Bytes that the keys of a slice take in the frame.
    fn room_for_keys(&self, global: GlobalId) -> u32 {
        let size = self.shared.layout.globals[global.index()].key_size;
        if size > FRAME_KEY { 8 } else { size }
    }

    /// The same in the frame; large ones are elsewhere, and their address is there.
    fn wanted_in_frame(&mut self, to: Memory, global: GlobalId, keys: &[Key]) {
        if self.shared.layout.globals[global.index()].key_size > FRAME_KEY {
            let area = self.area();
            self.wanted(area, global, keys);
            if let super::Arg::Reg(address) = self.address(area) {
                self.store(Size::Dw, to, address);
            }
        } else {
            self.wanted(to, global, keys);
        }
    }

    /// Puts the keys that are told where a routine finds them; nothing for the others.
    pub(super) fn wanted(&mut self, to: Memory, global: GlobalId, keys: &[Key]) {
        for (n, key) in keys.iter().enumerate() {
            let at = to.at(self.shared.layout.globals[global.index()].keys[n]);
            match (key, self.shared.module.globals[global.index()].keys[n]) {
                (Some(Arg::Long(value)), _) => {
                    let value = self.source(*value);
                    self.store(Size::Dw, at, value);
                }
                (Some(Arg::Str(value)), Ty::Str(capacity)) => {
                    self.string_key(at, u32::from(capacity), *value);
                }
                _ => {}
            }
        }
    }

    /// In a routine: goes to `other` when an element's key is none of the slice.
    pub(super) fn compare_keys(
        &mut self,
        global: GlobalId,
        keys: &[Key],
        key: VReg,
        wanted: Memory,
        other: Label,
    ) {
        for (n, _) in keys.iter().enumerate().filter(|(_, key)| key.is_some()) {
            let from = self.shared.layout.globals[global.index()].keys[n];
            let size = size_of(self.shared.module.globals[global.index()].keys[n]);
            for at in (from..from + size).step_by(8) {
                let mine = self.load_from(Size::Dw, Memory { base: Base::Reg(key), off: at as i32 });
                let theirs = self.load_from(Size::Dw, wanted.at(at));
                self.jump_if(JumpOp::Ne, mine, theirs, other);
            }
        }
    }

    /// Calls a routine for each element of a slice; returns the memory where it notes what it finds. The first of its numbers
    /// begins with 0 unless one is given.
    fn each_of(
        &mut self,
        global: GlobalId,
        keys: &[Key],
        (name, first): (String, Option<VReg>),
        body: impl FnOnce(&mut Self, VReg, Memory) -> Result,
    ) -> Result<Memory> {
        self.can_visit()?;
        self.calls_back(1);
        let found = self.frame_temporary(KEYS + self.room_for_keys(global));
        let zero = self.unknown_zero();
        self.store(Size::Dw, found.at(FOUND), first.unwrap_or(zero));
        self.store(Size::Dw, found.at(TOTAL), zero);
        self.wanted_in_frame(found.at(KEYS), global, keys);
        let map = Constant::Map(self.map_of(global));
        let routine = self.routine(name, |s, [_, key, _, context]| {
            let memory = Memory { base: Base::Reg(context), off: 0 };
            let other = s.giving(0);
            let wanted = if s.shared.layout.globals[global.index()].key_size > FRAME_KEY {
                Memory { base: Base::Reg(s.load_from(Size::Dw, memory.at(KEYS))), off: 0 }
            } else {
                memory.at(KEYS)
            };
            s.compare_keys(global, keys, key, wanted, other);
            body(s, key, memory)
        })?;
        let context = self.address(found);
        self.call(Helper::ForEachMapElem, &[map.into(), routine.into(), context, 0i64.into()]);
        Ok(found)
    }

    /// Whether an array has an element of the slice.
    pub(super) fn contains_slice(&mut self, dest: Var, global: GlobalId, keys: &[Key]) -> Result {
        let name = format!("find_{}_{:x}", global.0, mask(keys));
        let found = self.each_of(global, keys, (name, None), |s, _, memory| {
            let known = s.load_from(Size::Dw, memory.at(FOUND));
            s.alu(AluOp::Add, known, 1);
            s.store(Size::Dw, memory.at(FOUND), known);
            s.give(1);
            Ok(())
        })?;
        let result = self.load_from(Size::Dw, found.at(FOUND));
        self.mov(self.var(dest), result);
        Ok(())
    }

    /// Deletes the elements of a slice.
    pub(super) fn delete_slice(&mut self, global: GlobalId, keys: &[Key]) -> Result {
        let map = Constant::Map(self.map_of(global));
        let name = format!("delete_{}_{:x}", global.0, mask(keys));
        self.each_of(global, keys, (name, None), |s, key, _| {
            s.call(Helper::MapDeleteElem, &[map.into(), key.into()]);
            s.give(0);
            Ok(())
        })?;
        Ok(())
    }

    /// A number of all values of a slice.
    pub(super) fn stat_slice(&mut self, dest: Var, op: StatOp, global: GlobalId, keys: &[Key]) -> Result {
        if op == StatOp::Variance {
            return self.variance_slice(dest, global, keys);
        }
        let (seen, total) = self.sum_of_slice(op, global, keys)?;
        match op {
            StatOp::Count => self.mov(self.var(dest), seen),
            StatOp::Sum => self.mov(self.var(dest), total),
            _ => {
                self.raise_if(JumpOp::Eq, seen, 0, ErrorKind::Empty, global.0 as i32);
                if op == StatOp::Avg {
                    self.quotient(total, seen);
                }
                self.mov(self.var(dest), total);
            }
        }
        Ok(())
    }

    /// How many values a slice has, and what a number asks for of all of them.
    fn sum_of_slice(&mut self, op: StatOp, global: GlobalId, keys: &[Key]) -> Result<(VReg, VReg)> {
        let map = self.map_of(global);
        let name = format!("stat{}_{}_{:x}", op as u32, global.0, mask(keys));
        let found = self.each_of(global, keys, (name, None), |s, key, memory| {
            let seen = s.load_from(Size::Dw, memory.at(FOUND));
            let total = s.load_from(Size::Dw, memory.at(TOTAL));
            s.add_cells(op, global, (map, Memory { base: Base::Reg(key), off: 0 }), (seen, total));
            s.store(Size::Dw, memory.at(FOUND), seen);
            s.store(Size::Dw, memory.at(TOTAL), total);
            s.give(0);
            Ok(())
        })?;
        let seen = self.load_from(Size::Dw, found.at(FOUND));
        let total = self.load_from(Size::Dw, found.at(TOTAL));
        Ok((seen, total))
    }

    /// The variance of all values of a slice, around the mean of all: the order of its elements does not matter.
    fn variance_slice(&mut self, dest: Var, global: GlobalId, keys: &[Key]) -> Result {
        let (map, shift) = (self.map_of(global), self.shift(global));
        let (count, sum) = self.sum_of_slice(StatOp::Avg, global, keys)?;
        self.raise_if(JumpOp::Eq, count, 0, ErrorKind::Empty, global.0 as i32);
        let total = Moments { count, sum, mean: self.reg(), squares: self.reg() };
        self.mean(total, shift);
        let name = format!("variance_{}_{:x}", global.0, mask(keys));
        let found = self.each_of(global, keys, (name, Some(total.mean)), |s, key, memory| {
            let cell = s.cell_of(global);
            let here = s.joined_cells((map, Memory { base: Base::Reg(key), off: 0 }), &cell, shift);
            let empty = s.giving(0);
            s.jump_if(JumpOp::Eq, here.count, 0, empty);
            let (mean, squares) =
                (s.load_from(Size::Dw, memory.at(FOUND)), s.load_from(Size::Dw, memory.at(TOTAL)));
            s.spread(Moments { mean, squares, ..here }, here);
            s.store(Size::Dw, memory.at(TOTAL), squares);
            s.give(0);
            Ok(())
        })?;
        let squares = self.load_from(Size::Dw, found.at(TOTAL));
        let total = Moments { squares, ..total };
        self.degrees(total);
        let variance = self.shown_variance(total, shift);
        self.mov(self.var(dest), variance);
        Ok(())
    }
}
