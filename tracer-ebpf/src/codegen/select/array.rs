//! Globals: scalars in the mapped block, arrays in hash maps.

use super::super::callback;
use super::super::vcode::{Base, Constant, VInsn, VReg};
use super::{FRAME_KEY, Memory, Result, Selector};
use crate::isa::{AluOp, AtomicOp, Helper, JumpOp, Size};
use alloc::format;
use tracer_common::ir::{Arg, Dest, Element, GlobalId, Key, LongOp, Ty, UpdateOp, Var};
use tracer_common::layout::{Home, align8};
use tracer_common::record::ErrorKind;

/// `BPF_NOEXIST`.
pub(super) const ONLY_NEW: i64 = 1;

/// How often a handler drops the oldest element to make room for one: another that runs at the same time may have
/// dropped that one too, and taken the room.
const EVICTIONS: i32 = 8;

impl Selector<'_, '_> {
    /// The address of a scalar.
    fn scalar(&mut self, global: GlobalId) -> Option<VReg> {
        match self.shared.layout.globals[global.index()].home {
            // The block of scalars is the first map.
            Home::Scalar { offset } => Some(self.known(Constant::MapValue(0, offset))),
            Home::Array { .. } | Home::StatScalar { .. } => None,
            Home::Evaluator => {
                panic!("this is a bug: kernel code touches {global}, which is not shared (lower::usage)")
            }
        }
    }

    pub(super) fn map_of(&self, global: GlobalId) -> u32 {
        match self.shared.layout.globals[global.index()].home {
            Home::Array { map } | Home::StatScalar { map } => map,
            Home::Scalar { .. } | Home::Evaluator => panic!("this is a bug: {global} has no map of its own"),
        }
    }

    /// Packs the keys of an element.
    pub(super) fn key(&mut self, global: GlobalId, keys: &[Arg]) -> Memory {
        let size = self.shared.layout.globals[global.index()].key_size;
        let placed = self.key_slots.iter().find(|(at, _)| *at == self.position).map(|(_, memory)| *memory);
        let memory = placed.unwrap_or_else(|| self.temporary(size));
        for (n, key) in keys.iter().enumerate() {
            let at = memory.at(self.shared.layout.globals[global.index()].keys[n]);
            match (key, self.shared.module.globals[global.index()].keys[n]) {
                (Arg::Long(value), Ty::Long) => {
                    let value = self.source(*value);
                    self.store(Size::Dw, at, value);
                }
                (Arg::Str(value), Ty::Str(capacity)) => self.string_key(at, u32::from(capacity), *value),
                (key, ty) => panic!("this is a bug: {key:?} as a key of type {ty} (ir::verify)"),
            }
        }
        memory
    }

    pub(super) fn find(&mut self, global: GlobalId, key: Memory) -> VReg {
        let map = Constant::Map(self.map_of(global));
        let key = self.address(key);
        self.call_for(Helper::MapLookupElem, &[map.into(), key])
    }

    pub(super) fn get(&mut self, dest: Dest, element: &Element) -> Result {
        if let Some(address) = self.scalar(element.global) {
            self.value_to(dest, address);
            return Ok(());
        }
        let key = self.key(element.global, &element.keys);
        let found = self.find(element.global, key);
        let done = self.block(false);
        match dest {
            Dest::Long(var) => {
                let result = self.reg();
                self.constant(result, 0);
                self.jump_if(JumpOp::Eq, found, 0, done);
                self.push(VInsn::Load { size: Size::Dw, dst: result, base: Base::Reg(found), off: 0 });
                self.jump(done);
                self.at(done);
                self.mov(self.var(var), result);
            }
            Dest::Str(var) => {
                let missing = self.block(false);
                self.jump_if(JumpOp::Eq, found, 0, missing);
                self.value_to(dest, found);
                self.jump(done);
                self.at(missing);
                self.make_empty(var);
                self.jump(done);
                self.at(done);
            }
        }
        Ok(())
    }

    /// Reads the value at an address into a register.
    fn value_to(&mut self, dest: Dest, address: VReg) {
        match dest {
            Dest::Long(var) => {
                let dst = self.var(var);
                self.push(VInsn::Load { size: Size::Dw, dst, base: Base::Reg(address), off: 0 });
            }
            Dest::Str(var) => {
                let home = self.home(var);
                self.string_from(home, self.capacity(var), address.into());
            }
        }
    }

    /// Writes a value to memory that holds one of the global's.
    fn value_from(&mut self, global: GlobalId, to: Memory, value: Arg) {
        match value {
            Arg::Long(value) => {
                let value = self.source(value);
                self.store(Size::Dw, to, value);
            }
            Arg::Str(value) => {
                let capacity = match self.shared.module.globals[global.index()].ty {
                    tracer_common::ir::GlobalTy::Value(Ty::Str(capacity)) => u32::from(capacity),
                    _ => panic!("this is a bug: a string for {global}, which holds none (ir::verify)"),
                };
                self.string_to(to, capacity, value);
            }
        }
    }

    pub(super) fn set_element(&mut self, element: &Element, value: Arg) -> Result {
        let global = element.global;
        if let Some(address) = self.scalar(global) {
            self.value_from(global, Memory { base: Base::Reg(address), off: 0 }, value);
            return Ok(());
        }
        let key = self.key(global, &element.keys);
        let layout = &self.shared.layout.globals[global.index()];
        let (size, inserted) = (layout.value_size, layout.inserted);
        let stored = align8(size) + if inserted.is_some() { 8 } else { 0 };
        let done = self.block(false);
        if inserted.is_some() {
            // Overwriting keeps the time of insertion.
            let found = self.find(global, key);
            let new = self.block(false);
            self.jump_if(JumpOp::Eq, found, 0, new);
            self.value_from(global, Memory { base: Base::Reg(found), off: 0 }, value);
            self.jump(done);
            self.at(new);
        }
        // A large value is built behind the key, which may be in the same area.
        let buffer = if stored > FRAME_KEY {
            self.area().at(align8(self.shared.layout.globals[global.index()].key_size))
        } else {
            self.temporary(stored)
        };
        if let Arg::Str(_) = value {
            self.store_zeros(buffer, align8(size));
        }
        self.value_from(global, buffer, value);
        if let Some(offset) = inserted {
            let now = self.call_for(Helper::KtimeGetNs, &[]);
            self.store(Size::Dw, buffer.at(offset), now);
        }
        let map = Constant::Map(self.map_of(global));
        let (key, buffer) = (self.address(key), self.address(buffer));
        let failed = self.reg();
        self.call(Helper::MapUpdateElem, &[map.into(), key, buffer, 0i64.into()]);
        self.mov(failed, VReg(0));
        if self.shared.module.globals[global.index()].wrap {
            let (full, room) = (self.block(true), self.block(false));
            self.jump_if(JumpOp::Ne, failed, 0, full);
            self.jump(room);
            let mut evicted = Ok(());
            self.aside(full, |s| {
                let (left, again) = (s.reg(), s.block(true));
                s.constant(left, i64::from(EVICTIONS));
                s.jump(again);
                s.at(again);
                evicted = s.evict(global);
                s.call(Helper::MapUpdateElem, &[map.into(), key, buffer, 0i64.into()]);
                s.mov(failed, VReg(0));
                s.jump_if(JumpOp::Eq, failed, 0, room);
                s.alu(AluOp::Sub, left, 1);
                s.jump_if(JumpOp::Ne, left, 0, again);
                s.jump(room);
            });
            evicted?;
            self.at(room);
        }
        self.refuse_if(failed, global);
        self.jump(done);
        self.at(done);
        Ok(())
    }

    /// An insert that failed is counted and raises.
    fn refuse_if(&mut self, failed: VReg, global: GlobalId) {
        let (refused, on) = (self.block(true), self.block(false));
        self.jump_if(JumpOp::Ne, failed, 0, refused);
        self.jump(on);
        self.aside(refused, |s| s.refuse(global));
        self.at(on);
    }

    pub(super) fn refuse(&mut self, global: GlobalId) {
        self.raise(ErrorKind::Overflow, global.0 as i32);
    }

    /// The element, inserted with zeros when it is not there. Two hits that insert at once both find the one element.
    pub(super) fn find_or_insert(&mut self, global: GlobalId, keys: &[Arg]) -> Result<VReg> {
        let key = self.key(global, keys);
        let layout = &self.shared.layout.globals[global.index()];
        let (size, inserted, per_cpu) = (align8(layout.value_size), layout.inserted, layout.cell.is_some());
        let stored = size + if inserted.is_some() { 8 } else { 0 };
        // A small shared element is inserted with its time; others get theirs when they are found without one.
        let stamped = !per_cpu && stored <= 32;
        // One look-up serves both: find; when it is missing, insert and find again; when it is missing then, the
        // array is full.
        let missed = self.reg();
        self.constant(missed, 0);
        let (again, insert, full, on) =
            (self.block(false), self.block(true), self.block(true), self.block(false));
        self.jump(again);
        self.at(again);
        let found = self.find(global, key);
        self.jump_if(JumpOp::Ne, found, 0, on);
        self.jump(insert);
        let wraps = self.shared.module.globals[global.index()].wrap;
        let mut evicted = Ok(());
        self.aside(insert, |s| {
            let tries = if wraps { 1 + EVICTIONS } else { 1 };
            s.jump_if(JumpOp::Eq, missed, tries, full);
            if wraps {
                // Each failure makes room.
                let room = s.block(true);
                s.jump_if(JumpOp::Eq, missed, 0, room);
                evicted = s.evict(global);
                s.jump(room);
                s.at(room);
            }
            s.alu(AluOp::Add, missed, 1);
            let value = if let (Some(offset), true) = (inserted, stamped) {
                let buffer = s.temporary(stored);
                s.store_bytes(buffer, b"", size);
                let now = s.call_for(Helper::KtimeGetNs, &[]);
                s.store(Size::Dw, buffer.at(offset), now);
                s.address(buffer)
            } else {
                let (map, at) = s.shared.constant(&alloc::vec![0; stored as usize]);
                Constant::MapValue(map, at).into()
            };
            let map = Constant::Map(s.map_of(global));
            let place = s.address(key);
            s.call(Helper::MapUpdateElem, &[map.into(), place, value, ONLY_NEW.into()]);
            s.jump(again);
            s.aside(full, |s| s.refuse(global));
        });
        evicted?;
        self.at(on);
        if let (Some(offset), false) = (inserted, stamped) {
            self.stamp(found, offset);
        }
        Ok(found)
    }

    /// Notes when an element was inserted, unless that is known.
    fn stamp(&mut self, element: VReg, offset: u32) {
        let at = Memory { base: Base::Reg(element), off: offset as i32 };
        let known = self.load_from(Size::Dw, at);
        let on = self.block(true);
        self.jump_if(JumpOp::Ne, known, 0, on);
        let now = self.call_for(Helper::KtimeGetNs, &[]);
        self.store(Size::Dw, at, now);
        self.jump(on);
        self.at(on);
    }

    pub(super) fn update(
        &mut self,
        op: UpdateOp,
        element: &Element,
        value: LongOp,
        old: Option<Var>,
        new: Option<Var>,
    ) -> Result {
        let base = match self.scalar(element.global) {
            Some(address) => address,
            None => self.find_or_insert(element.global, &element.keys)?,
        };
        let (atomic, alu) = match op {
            UpdateOp::Add => (AtomicOp::Add, AluOp::Add),
            UpdateOp::And => (AtomicOp::And, AluOp::And),
            UpdateOp::Or => (AtomicOp::Or, AluOp::Or),
            UpdateOp::Xor => (AtomicOp::Xor, AluOp::Xor),
        };
        let fetching = self.shared.target.features.atomics_fetch;
        let wanted = old.is_some() || new.is_some();
        if !fetching && self.shared.fragile.contains(&element.global) {
            // The handler holds the global's lock (`entry`).
            let memory = Memory { base: Base::Reg(base), off: 0 };
            let before = self.load_from(Size::Dw, memory);
            let after = self.reg();
            self.mov(after, before);
            let operand = self.source(value);
            self.alu(alu, after, operand);
            self.store(Size::Dw, memory, after);
            for (var, value) in [(new, after), (old, before)] {
                if let Some(var) = var {
                    self.mov(self.var(var), value);
                }
            }
            return Ok(());
        }
        let operand = self.reg();
        self.set(operand, value);
        self.push(VInsn::Atomic { op: atomic, fetch: wanted, base, off: 0, src: operand });
        if let Some(new) = new {
            let result = self.reg();
            self.mov(result, operand);
            let again = self.source(value);
            self.alu(alu, result, again);
            self.mov(self.var(new), result);
        }
        if let Some(old) = old {
            self.mov(self.var(old), operand);
        }
        Ok(())
    }

    pub(super) fn full_key(&mut self, global: GlobalId, keys: &[Key]) -> Memory {
        let keys: alloc::vec::Vec<Arg> = keys.iter().flatten().copied().collect();
        self.key(global, &keys)
    }

    pub(super) fn contains(&mut self, dest: Var, global: GlobalId, keys: &[Key]) -> Result {
        if keys.iter().any(Option::is_none) {
            return self.contains_slice(dest, global, keys);
        }
        let key = self.full_key(global, keys);
        let found = self.find(global, key);
        let result = self.reg();
        self.constant(result, 1);
        let done = self.block(false);
        self.jump_if(JumpOp::Ne, found, 0, done);
        self.constant(result, 0);
        self.jump(done);
        self.at(done);
        self.mov(self.var(dest), result);
        Ok(())
    }

    pub(super) fn delete(&mut self, global: GlobalId, keys: &[Key]) -> Result {
        if keys.iter().any(Option::is_none) {
            return self.delete_slice(global, keys);
        }
        let key = self.full_key(global, keys);
        let map = Constant::Map(self.map_of(global));
        let key = self.address(key);
        self.call(Helper::MapDeleteElem, &[map.into(), key]);
        Ok(())
    }

    pub(super) fn clear(&mut self, global: GlobalId) -> Result {
        let map = match self.shared.layout.globals[global.index()].home {
            Home::Array { map } => return self.clear_array(map),
            Home::StatScalar { map } => return self.clear_statistic(global, map),
            Home::Scalar { .. } | Home::Evaluator => self.scalar(global),
        };
        let Some(address) = map else { return Ok(()) };
        let memory = Memory { base: Base::Reg(address), off: 0 };
        match self.shared.module.globals[global.index()].ty {
            tracer_common::ir::GlobalTy::Value(Ty::Str(_)) => self.store(Size::B, memory, 0),
            _ => self.store(Size::Dw, memory, 0),
        }
        Ok(())
    }

    fn clear_array(&mut self, map: u32) -> Result {
        if !self.shared.target.features.for_each_map_elem {
            return self.kernel_lacks("delete a whole array", "5.13");
        }
        let function = Constant::Function(callback::delete_each(self.shared)?);
        let map = Constant::Map(map);
        self.call(Helper::ForEachMapElem, &[map.into(), function.into(), 0i64.into(), 0i64.into()]);
        Ok(())
    }

    /// Drops the oldest element of a full array that wraps.
    fn evict(&mut self, global: GlobalId) -> Result {
        let layout = self.shared.layout.globals[global.index()].clone();
        let (key_size, Some(inserted)) = (layout.key_size, layout.inserted) else {
            panic!("this is a bug: array {global} wraps but does not know what is oldest (lower::usage)")
        };
        if !self.shared.target.features.for_each_map_elem {
            return self.kernel_lacks("insert into an array that wraps", "5.13");
        }
        if layout.cell.is_some() && !self.shared.target.features.lookup_percpu_elem {
            return self.kernel_lacks("insert into an array of statistics that wraps", "5.19");
        }
        self.calls_back(1);
        // Its time, at first the largest number, and then its key, or where that is.
        let is_large = key_size > FRAME_KEY;
        let found = self.frame_temporary(8 + if is_large { 8 } else { key_size });
        self.store(Size::Dw, found, -1);
        let oldest = if is_large {
            let oldest = self.area().at(align8(key_size) + align8(layout.value_size) + 8);
            if let super::Arg::Reg(address) = self.address(oldest) {
                self.store(Size::Dw, found.at(8), address);
            }
            oldest
        } else {
            self.store_bytes(found.at(8), b"", key_size);
            found.at(8)
        };
        let map = Constant::Map(self.map_of(global));
        let routine = self.routine(format!("oldest_{}", global.0), |s, [_, key, value, context]| {
            let memory = |reg| Memory { base: Base::Reg(reg), off: 0 };
            let newer = s.giving(0);
            let time = if layout.cell.is_some() {
                s.first_seen(global, key, inserted)
            } else {
                s.load_from(Size::Dw, memory(value).at(inserted))
            };
            let best = s.load_from(Size::Dw, memory(context));
            s.jump_if(JumpOp::Ge, time, best, newer);
            s.store(Size::Dw, memory(context), time);
            let to = if is_large {
                memory(s.load_from(Size::Dw, memory(context).at(8)))
            } else {
                memory(context).at(8)
            };
            s.copy_field(to, memory(key), key_size);
            s.give(0);
            Ok(())
        })?;
        let address = self.address(found);
        self.call(Helper::ForEachMapElem, &[map.into(), routine.into(), address, 0i64.into()]);
        let key = self.address(oldest);
        self.call(Helper::MapDeleteElem, &[map.into(), key]);
        Ok(())
    }
}
