//! Globals in BPF maps, and the router that sends each global to where it lives.
//!
//! Values are packed and unpacked by `tracer_common::layout`, which the code generator follows too. Per-CPU cells are
//! merged on reading. What a user-domain handler adds to a statistic is kept beside the maps and merged too: the
//! kernel side owns its per-CPU cells, and nobody else writes them.
//!
//! **Not here:** creating the maps (`kernel`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracer_common::ir::{GlobalId, GlobalTy, Module, Ty, UpdateOp};
use tracer_common::layout::{GlobalLayout, Home, Layout, align8};
use tracer_common::stat::{Cell, StatFields};

use crate::run::globals::{GlobalError, Globals, Item, MemoryGlobals, Row, apply};
use crate::run::value::Value;
use crate::sys::bpf_map::{BpfMap, Update};
use crate::sys::clock;
use crate::sys::map_view::MapView;

/// Tries of a lock in a row, and then with a sleep after each: a tenth of a second in all.
const SPINS: u32 = 1000;
const SLEEPS: u32 = 1000;
const SLEEP: Duration = Duration::from_micros(100);

/// Globals, wherever they are.
pub struct MapGlobals<'m> {
    module: &'m Module,
    layout: Layout,
    /// One for each of the layout's maps.
    maps: Vec<BpfMap>,
    scalars: Option<MapView>,
    /// Globals that kernel code does not touch.
    memory: MemoryGlobals,
    /// What user-domain handlers added to shared statistics.
    added: BTreeMap<(u32, Vec<Value>), Cell>,
    /// On kernels where locks are entries of a map, this map.
    locks: Option<BpfMap>,
    /// Locks that are held now.
    held: BTreeSet<u32>,
    /// How sorted `foreach`es left arrays: for each element its number in that order, and the time of its insertion.
    /// The kernel side writes elements all the time, so this cannot be written to the maps; an element that was
    /// deleted and inserted again has another time, and is the newest as it should be.
    sorted: BTreeMap<u32, BTreeMap<Vec<Value>, (u64, u64)>>,
}

impl<'m> MapGlobals<'m> {
    /// Takes the layout's maps, in its order, and writes initial values.
    pub fn new(
        module: &'m Module,
        layout: Layout,
        maps: Vec<BpfMap>,
        locks: Option<BpfMap>,
    ) -> io::Result<MapGlobals<'m>> {
        let scalars = match layout.maps.first() {
            Some(map) if map.name == tracer_common::layout::SCALARS => Some(MapView::new(&maps[0])?),
            _ => None,
        };
        let mut globals = MapGlobals {
            module,
            layout,
            maps,
            scalars,
            memory: MemoryGlobals::new(module),
            added: BTreeMap::new(),
            locks,
            held: BTreeSet::new(),
            sorted: BTreeMap::new(),
        };
        for (n, global) in module.globals.iter().enumerate() {
            let id = GlobalId(n as u32);
            let Some(init) = &global.init else { continue };
            let value = match init {
                tracer_common::ir::Init::Long(value) => Value::Long(*value),
                tracer_common::ir::Init::Str(bytes) => Value::Str(bytes.clone()),
            };
            if let Err(GlobalError::Io(error)) = globals.set(id, &[], value) {
                return Err(error);
            }
        }
        Ok(globals)
    }

    fn place(&self, global: GlobalId) -> &GlobalLayout {
        &self.layout.globals[global.index()]
    }

    fn fields(&self, global: GlobalId) -> StatFields {
        match self.module.globals[global.index()].ty {
            GlobalTy::Stats(fields) => fields,
            GlobalTy::Value(_) => StatFields::default(),
        }
    }

    fn value_type(&self, global: GlobalId) -> Ty {
        match self.module.globals[global.index()].ty {
            GlobalTy::Value(ty) => ty,
            GlobalTy::Stats(_) => Ty::Long,
        }
    }

    fn key(&self, global: GlobalId, keys: &[Value]) -> Vec<u8> {
        let place = self.place(global);
        let mut bytes = vec![0; place.key_size as usize];
        for (offset, key) in place.keys.iter().zip(keys) {
            pack(&mut bytes[*offset as usize..], key);
        }
        bytes
    }

    fn keys_of(&self, global: GlobalId, bytes: &[u8]) -> Vec<Value> {
        let types = &self.module.globals[global.index()].keys;
        types
            .iter()
            .zip(&self.place(global).keys)
            .map(|(ty, offset)| unpack(&bytes[*offset as usize..], *ty))
            .collect()
    }

    fn scalar(&self, global: GlobalId) -> Option<(&MapView, usize)> {
        match (&self.place(global).home, &self.scalars) {
            (Home::Scalar { offset }, Some(view)) => Some((view, *offset as usize)),
            _ => None,
        }
    }

    fn map(&self, global: GlobalId) -> Option<&BpfMap> {
        match self.place(global).home {
            Home::Array { map } | Home::StatScalar { map } => Some(&self.maps[map as usize]),
            Home::Scalar { .. } | Home::Evaluator => None,
        }
    }

    fn is_shared(&self, global: GlobalId) -> bool {
        self.place(global).home != Home::Evaluator
    }

    fn read_value(&self, global: GlobalId, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(map) = self.map(global) else { return Ok(None) };
        let mut value = vec![0; map.value_size()];
        Ok(map.lookup(key, &mut value)?.then_some(value))
    }

    /// The cells of all CPUs, and what user-domain handlers added, as one; with the earliest insertion.
    fn merged(&self, global: GlobalId, value: &[u8], added: Option<&Cell>) -> (Cell, u64) {
        let place = self.place(global);
        let stride = self.map(global).and_then(BpfMap::stride).unwrap_or(value.len().max(1));
        let mut cells = Vec::new();
        let mut inserted = u64::MAX;
        for cpu in value.chunks(stride) {
            cells.push(cell(cpu, place, &self.fields(global)));
            if let Some(offset) = place.inserted {
                let at = word(cpu, offset);
                if at > 0 {
                    inserted = inserted.min(at as u64);
                }
            }
        }
        cells.extend(added.cloned());
        let total = if let Home::StatScalar { .. } = place.home {
            Cell::total(&cells)
        } else {
            let mut total = Cell::default();
            for cell in &cells {
                total.merge(cell);
            }
            total
        };
        (total, inserted)
    }

    /// All elements of an array that lives in a map, with the times of their insertion.
    fn stamped(&self, global: GlobalId) -> io::Result<Vec<(u64, Row)>> {
        let Some(map) = self.map(global) else { return Ok(Vec::new()) };
        let entries = map.entries()?;
        let (key_size, value_size) = (map.key_size(), map.value_size());
        let place = self.place(global);
        let ty = self.value_type(global);
        let mut rows = Vec::with_capacity(entries.len);
        let mut seen = BTreeSet::new();
        for n in 0..entries.len {
            let key = &entries.keys[n * key_size..(n + 1) * key_size];
            let value = &entries.values[n * value_size..(n + 1) * value_size];
            let keys = self.keys_of(global, key);
            let (item, at) = if place.cell.is_some() {
                let added = self.added.get_key_value(&(global.0, keys.clone()));
                seen.extend(added.map(|(key, _)| key));
                let (cell, at) = self.merged(global, value, added.map(|(_, cell)| cell));
                (Item::Cell(cell), at)
            } else {
                let at = place.inserted.map_or(0, |offset| word(value, offset) as u64);
                (Item::Value(unpack(value, ty)), at)
            };
            rows.push((at, Row { keys, item }));
        }
        for (key, added) in self.added.iter().filter(|(key, _)| key.0 == global.0 && !seen.contains(key)) {
            rows.push((u64::MAX, Row { keys: key.1.clone(), item: Item::Cell(added.clone()) }));
        }
        Ok(rows)
    }

    /// One try; an error counts as a lock that is taken.
    fn try_lock(&self, global: GlobalId) -> bool {
        if let Some(map) = &self.locks {
            return map.update(&global.0.to_le_bytes(), &[0; 4], Update::Insert).is_ok();
        }
        match (&self.scalars, self.place(global).lock) {
            (Some(view), Some(word)) => view.word(word as usize).swap(1, Ordering::Acquire) == 0,
            // Nobody else knows of such a lock.
            _ => true,
        }
    }

    fn release(&self, global: GlobalId) {
        if let Some(map) = &self.locks {
            // Nobody but its holder removes it.
            let _ = map.delete(&global.0.to_le_bytes());
        } else if let (Some(view), Some(word)) = (&self.scalars, self.place(global).lock) {
            view.word(word as usize).store(0, Ordering::Release);
        }
    }

    /// `update` of a global in a map.
    fn update_shared(
        &mut self,
        op: UpdateOp,
        global: GlobalId,
        keys: &[Value],
        value: i64,
    ) -> Result<i64, GlobalError> {
        if let Some((view, offset)) = self.scalar(global) {
            let word = view.word(offset);
            let before = match op {
                UpdateOp::Add => word.fetch_add(value as u64, Ordering::Relaxed),
                UpdateOp::And => word.fetch_and(value as u64, Ordering::Relaxed),
                UpdateOp::Or => word.fetch_or(value as u64, Ordering::Relaxed),
                UpdateOp::Xor => word.fetch_xor(value as u64, Ordering::Relaxed),
            };
            return Ok(before as i64);
        }
        // The kernel has no atomic update of an element from outside; user-domain handlers run one at a time.
        let before = self.get(global, keys)?.map_or(0, |value| value.long());
        self.set(global, keys, Value::Long(apply(op, before, value)))?;
        Ok(before)
    }

    /// Waits for a lock, but not for long: its holder may have been preempted.
    fn wait_for(&self, global: GlobalId) -> bool {
        for round in 0..SPINS + SLEEPS {
            if self.try_lock(global) {
                return true;
            }
            if round >= SPINS {
                std::thread::sleep(SLEEP);
            }
        }
        false
    }

    fn scalar_key() -> [u8; 4] {
        [0; 4]
    }
}

fn word(bytes: &[u8], offset: u32) -> i64 {
    let at = offset as usize;
    bytes.get(at..at + 8).and_then(|w| w.try_into().ok()).map_or(0, i64::from_le_bytes)
}

/// What one CPU's bytes of a statistic say.
pub fn cell(bytes: &[u8], place: &GlobalLayout, fields: &StatFields) -> Cell {
    let Some(layout) = &place.cell else { return Cell::default() };
    let get = |offset: Option<u32>| offset.map_or(0, |offset| word(bytes, offset));
    let buckets: Vec<i64> = match (layout.buckets, fields.hist) {
        (Some(first), Some(hist)) => (0..hist.buckets() as u32).map(|n| word(bytes, first + n * 8)).collect(),
        _ => Vec::new(),
    };
    // Where the count is not kept, the buckets or the sum tell whether there was anything.
    let count = match layout.count {
        Some(offset) => word(bytes, offset),
        None if !buckets.is_empty() => buckets.iter().sum(),
        None => i64::from(get(layout.sum) != 0),
    };
    Cell {
        count,
        sum: get(layout.sum),
        min: get(layout.min),
        max: get(layout.max),
        mean: get(layout.variance),
        m2: get(layout.variance.map(|offset| offset + 8)),
        shift: fields.variance.unwrap_or(0),
        buckets,
    }
}

fn pack(to: &mut [u8], value: &Value) {
    match value {
        Value::Long(number) => to[..8].copy_from_slice(&number.to_le_bytes()),
        Value::Str(bytes) => {
            let room = bytes.len().min(to.len().saturating_sub(1));
            to[..room].copy_from_slice(&bytes[..room]);
        }
    }
}

fn unpack(from: &[u8], ty: Ty) -> Value {
    match ty {
        Ty::Long => Value::Long(word(from, 0)),
        Ty::Str(capacity) => {
            let bytes = &from[..usize::from(capacity).min(from.len())];
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            Value::Str(bytes[..end].to_vec())
        }
    }
}

/// `E2BIG`: the kernel's word for a full hash.
fn full(error: io::Error) -> GlobalError {
    match error.raw_os_error() {
        Some(code) if code == crate::sys::bpf_map::FULL => GlobalError::Overflow,
        _ => GlobalError::Io(error),
    }
}

impl Globals for MapGlobals<'_> {
    fn get(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<Value>, GlobalError> {
        if !self.is_shared(global) {
            return self.memory.get(global, keys);
        }
        let ty = self.value_type(global);
        if let Some((view, offset)) = self.scalar(global) {
            return Ok(Some(match ty {
                Ty::Long => Value::Long(view.load(offset) as i64),
                Ty::Str(capacity) => {
                    let mut bytes = vec![0; align8(u32::from(capacity)) as usize];
                    view.read(offset, &mut bytes);
                    unpack(&bytes, ty)
                }
            }));
        }
        let key = self.key(global, keys);
        Ok(self.read_value(global, &key)?.map(|value| unpack(&value, ty)))
    }

    fn set(&mut self, global: GlobalId, keys: &[Value], value: Value) -> Result<(), GlobalError> {
        if !self.is_shared(global) {
            return self.memory.set(global, keys, value);
        }
        if let Some((view, offset)) = self.scalar(global) {
            match value {
                Value::Long(number) => view.store(offset, number as u64),
                Value::Str(_) => {
                    let Ty::Str(capacity) = self.value_type(global) else { return Ok(()) };
                    let mut bytes = vec![0; align8(u32::from(capacity)) as usize];
                    pack(&mut bytes[..usize::from(capacity)], &value);
                    view.write(offset, &bytes);
                }
            }
            return Ok(());
        }
        let key = self.key(global, keys);
        let Some(map) = self.map(global) else { return Ok(()) };
        let place = self.place(global);
        let mut bytes = vec![0; map.value_size()];
        pack(&mut bytes[..place.value_size as usize], &value);
        if let Some(offset) = place.inserted {
            let known = self.read_value(global, &key)?.map(|old| word(&old, offset)).filter(|at| *at > 0);
            let at = known.unwrap_or_else(clock::monotonic_ns);
            bytes[offset as usize..offset as usize + 8].copy_from_slice(&at.to_le_bytes());
        }
        map.update(&key, &bytes, Update::Any).map_err(full)
    }

    fn update(
        &mut self,
        op: UpdateOp,
        global: GlobalId,
        keys: &[Value],
        value: i64,
    ) -> Result<i64, GlobalError> {
        if !self.is_shared(global) {
            return self.memory.update(op, global, keys, value);
        }
        // Where kernel code has no atomic instruction for it either, it takes the lock for each update.
        let alone = self.locks.is_some() && !self.held.contains(&global.0) && self.wait_for(global);
        let before = self.update_shared(op, global, keys, value);
        if alone {
            self.release(global);
        }
        before
    }

    fn contains(&mut self, global: GlobalId, keys: &[Value]) -> Result<bool, GlobalError> {
        if !self.is_shared(global) {
            return self.memory.contains(global, keys);
        }
        let key = self.key(global, keys);
        Ok(self.read_value(global, &key)?.is_some() || self.added.contains_key(&(global.0, keys.to_vec())))
    }

    fn delete(&mut self, global: GlobalId, keys: &[Value]) -> Result<(), GlobalError> {
        if !self.is_shared(global) {
            return self.memory.delete(global, keys);
        }
        self.added.remove(&(global.0, keys.to_vec()));
        let key = self.key(global, keys);
        if let Some(map) = self.map(global) {
            map.delete(&key)?;
        }
        Ok(())
    }

    fn clear(&mut self, global: GlobalId) -> Result<(), GlobalError> {
        if !self.is_shared(global) {
            return self.memory.clear(global);
        }
        self.added.retain(|(id, _), _| *id != global.0);
        self.sorted.remove(&global.0);
        if let Some((view, offset)) = self.scalar(global) {
            match self.value_type(global) {
                Ty::Long => view.store(offset, 0),
                Ty::Str(capacity) => view.write(offset, &vec![0; align8(u32::from(capacity)) as usize]),
            }
            return Ok(());
        }
        match (&self.place(global).home, self.map(global)) {
            (Home::StatScalar { .. }, Some(map)) => {
                map.update(&Self::scalar_key(), &vec![0; map.value_size()], Update::Any)?;
            }
            (_, Some(map)) => map.clear()?,
            (_, None) => {}
        }
        Ok(())
    }

    fn aggregate(&mut self, global: GlobalId, keys: &[Value], value: i64) -> Result<(), GlobalError> {
        if !self.is_shared(global) {
            return self.memory.aggregate(global, keys, value);
        }
        let fields = self.fields(global);
        self.added.entry((global.0, keys.to_vec())).or_default().add(value, &fields);
        Ok(())
    }

    fn cell(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<Cell>, GlobalError> {
        if !self.is_shared(global) {
            return self.memory.cell(global, keys);
        }
        let key = match self.place(global).home {
            Home::StatScalar { .. } => Self::scalar_key().to_vec(),
            _ => self.key(global, keys),
        };
        let added = self.added.get(&(global.0, keys.to_vec()));
        Ok(match self.read_value(global, &key)? {
            Some(value) => Some(self.merged(global, &value, added).0),
            None => added.cloned(),
        })
    }

    fn rows(&mut self, global: GlobalId) -> Result<Vec<Row>, GlobalError> {
        if !self.is_shared(global) {
            return self.memory.rows(global);
        }
        let mut rows = self.stamped(global)?;
        if self.place(global).inserted.is_some() {
            let sorted = self.sorted.get(&global.0);
            rows.sort_by_cached_key(|(at, row)| {
                let left = sorted.and_then(|left| left.get(&row.keys)).filter(|(_, known)| known == at);
                (left.map_or(u64::MAX, |(number, _)| *number), *at)
            });
        }
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    fn lock(&mut self, globals: &[GlobalId]) -> bool {
        for (n, global) in globals.iter().enumerate() {
            if !self.wait_for(*global) {
                self.unlock(&globals[..n]);
                return false;
            }
            self.held.insert(global.0);
        }
        true
    }

    fn unlock(&mut self, globals: &[GlobalId]) {
        for global in globals.iter().rev() {
            if self.held.remove(&global.0) {
                self.release(*global);
            }
        }
    }

    fn reorder(&mut self, global: GlobalId, keys: Vec<Vec<Value>>) -> Result<(), GlobalError> {
        if !self.is_shared(global) {
            return self.memory.reorder(global, keys);
        }
        let times: BTreeMap<Vec<Value>, u64> =
            self.stamped(global)?.into_iter().map(|(at, row)| (row.keys, at)).collect();
        let left = keys.into_iter().zip(0..).filter_map(|(keys, number)| {
            let at = *times.get(&keys)?;
            Some((keys, (number, at)))
        });
        self.sorted.insert(global.0, left.collect());
        Ok(())
    }
}
