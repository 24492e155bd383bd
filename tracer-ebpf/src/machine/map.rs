//! Maps: elements are regions that live as long as the machine, as RCU keeps them alive for a program's run.

use super::memory::{Kind, Memory};
use super::{Machine, Result};
use crate::object::RODATA;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use tracer_common::layout::{MapKind, MapSpec};

pub(super) const EEXIST: i64 = 17;
pub(super) const ENOENT: i64 = 2;
pub(super) const E2BIG: i64 = 7;

/// A map.
pub(super) struct Map {
    pub(super) spec: MapSpec,
    /// What a program holds to name it.
    pub(super) address: u64,
    /// Value addresses of each element; one, or one for each CPU.
    elements: BTreeMap<Vec<u8>, Vec<u64>>,
    /// Values of a stack map.
    pub(super) pushed: Vec<Vec<u8>>,
}

impl Map {
    pub(super) fn new(spec: &MapSpec, cpus: u32, rodata: &[u8], memory: &mut Memory) -> Map {
        let address = memory.add(Kind::Map, 0);
        let mut map = Map { spec: spec.clone(), address, elements: BTreeMap::new(), pushed: Vec::new() };
        if spec.name == RODATA {
            let value = memory.add_written(Kind::Constants, rodata);
            map.elements.insert(vec![0; 4], vec![value]);
        } else if matches!(spec.kind, MapKind::Array | MapKind::MappedArray | MapKind::PerCpuArray) {
            let zeros = vec![0; spec.value_size as usize];
            for index in 0..spec.max_entries {
                map.insert(&index.to_le_bytes(), &zeros, cpus, memory);
            }
        }
        map
    }

    fn insert(&mut self, key: &[u8], value: &[u8], cpus: u32, memory: &mut Memory) {
        let copies = if self.is_per_cpu() { cpus } else { 1 };
        let values = (0..copies).map(|_| memory.add_written(Kind::MapValue, value)).collect();
        self.elements.insert(key.to_vec(), values);
    }

    pub(super) fn is_per_cpu(&self) -> bool {
        matches!(self.spec.kind, MapKind::PerCpuArray | MapKind::PerCpuHash)
    }

    pub(super) fn is_hash(&self) -> bool {
        matches!(self.spec.kind, MapKind::Hash | MapKind::LruHash | MapKind::PerCpuHash)
    }

    /// The address of the first value, for direct references.
    pub(super) fn first(&self) -> Option<u64> {
        let direct = matches!(self.spec.kind, MapKind::Array | MapKind::MappedArray);
        self.elements.values().next().filter(|_| direct && self.spec.max_entries == 1).map(|values| values[0])
    }

    /// The elements that are there now.
    pub(super) fn snapshot(&self, cpu: u32) -> Vec<(Vec<u8>, u64)> {
        let keys = self.elements.keys();
        keys.filter_map(|key| Some((key.clone(), self.find(key, cpu)?))).collect()
    }

    pub(super) fn find(&self, key: &[u8], cpu: u32) -> Option<u64> {
        let values = self.elements.get(key)?;
        values.get(if self.is_per_cpu() { cpu as usize } else { 0 }).copied()
    }
}

impl Machine {
    /// The map that a program's argument names.
    pub(super) fn map_at(&self, address: u64) -> Result<usize> {
        self.maps.iter().position(|map| map.address == address).ok_or("the argument is not a map".into())
    }

    /// `bpf_map_update_elem`: 0 or an error. Only the running CPU's value of a per-CPU element is written; those of
    /// the others become 0 when the element is new.
    pub(super) fn update(&mut self, map: usize, key: &[u8], value: &[u8], flags: u64) -> Result<i64> {
        let (cpu, cpus) = (self.cpu, self.cpus);
        let map = &mut self.maps[map];
        match map.find(key, cpu) {
            Some(_) if flags == 1 => return Ok(-EEXIST),
            Some(address) => {
                self.memory.write(address, value)?;
                return Ok(0);
            }
            None if flags == 2 => return Ok(-ENOENT),
            None if !map.is_hash() => return Ok(-E2BIG),
            None if map.elements.len() >= map.spec.max_entries as usize => {
                if map.spec.kind != MapKind::LruHash {
                    return Ok(-E2BIG);
                }
                // Any element will do.
                map.elements.pop_first();
            }
            None => {}
        }
        let zeros = vec![0; value.len()];
        let fill = if map.is_per_cpu() { &zeros[..] } else { value };
        map.insert(key, fill, cpus, &mut self.memory);
        if let Some(address) = map.find(key, cpu) {
            self.memory.write(address, value)?;
        }
        Ok(0)
    }

    pub(super) fn delete(&mut self, map: usize, key: &[u8]) -> i64 {
        match self.maps[map].elements.remove(key) {
            Some(_) => 0,
            None => -ENOENT,
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.maps.iter().position(|map| map.spec.name == name)
    }

    /// The elements of a map, as userspace sees them: key, and one value for each CPU or one in all.
    pub fn elements(&self, name: &str) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let Some(map) = self.named(name).map(|index| &self.maps[index]) else { return Vec::new() };
        let size = map.spec.value_size as usize;
        let read = |address: &u64| self.memory.read(*address, size).unwrap_or_default();
        map.elements.iter().map(|(key, values)| (key.clone(), values.iter().map(read).collect())).collect()
    }

    /// The value of the first element of a map.
    pub fn value(&self, name: &str) -> Vec<u8> {
        self.elements(name)
            .into_iter()
            .next()
            .and_then(|(_, values)| values.into_iter().next())
            .unwrap_or_default()
    }

    /// Userspace writes an element; false where there is no room.
    pub fn set(&mut self, name: &str, key: &[u8], value: &[u8]) -> bool {
        self.named(name).is_some_and(|map| self.update(map, key, value, 0) == Ok(0))
    }

    /// Userspace writes bytes into the first value of a mapped array.
    pub fn poke(&mut self, name: &str, offset: u32, bytes: &[u8]) -> bool {
        let first = self.named(name).and_then(|map| self.maps[map].first());
        first.is_some_and(|address| self.memory.write(address + u64::from(offset), bytes).is_ok())
    }

    /// Userspace pushes onto a stack map.
    pub fn push(&mut self, name: &str, value: &[u8]) -> bool {
        let Some(map) = self.named(name).map(|index| &mut self.maps[index]) else { return false };
        map.pushed.push(value.to_vec());
        true
    }
}
