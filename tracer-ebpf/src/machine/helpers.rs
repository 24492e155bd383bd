//! The helpers that programs call.

use super::alu::{errno, size};
use super::memory::{Kind, Space};
use super::{Context, Machine, Result, Thread};
use crate::codegen::diagnostic::LOGS;
use crate::isa::Helper;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use tracer_common::layout::{MapKind, SCALARS};

const EFAULT: i64 = 14;
const EAGAIN: i64 = 11;
const EINVAL: i64 = 22;

/// Calls a helper; the result is what r0 holds afterwards, `None` for nothing.
pub(super) fn call(
    machine: &mut Machine,
    thread: &mut Thread,
    helper: Helper,
    args: &[u64; 5],
) -> Result<Option<u64>> {
    let [a, b, c, d, _] = *args;
    let m = machine;
    let task = &m.task;
    Ok(Some(match helper {
        Helper::MapLookupElem => {
            let (map, key) = m.map_and_key(a, b)?;
            m.maps[map].find(&key, m.cpu).unwrap_or(0)
        }
        Helper::MapLookupPercpuElem => {
            let (map, key) = m.map_and_key(a, b)?;
            m.maps[map].find(&key, c as u32).unwrap_or(0)
        }
        Helper::MapUpdateElem => {
            let (map, key) = m.map_and_key(a, b)?;
            let value = m.memory.read(c, m.maps[map].spec.value_size as usize)?;
            m.update(map, &key, &value, d)? as u64
        }
        Helper::MapDeleteElem => {
            let (map, key) = m.map_and_key(a, b)?;
            if !m.maps[map].is_hash() {
                return Err("a delete from an array".into());
            }
            m.delete(map, &key) as u64
        }
        Helper::MapPushElem => {
            let map = m.stack_at(a)?;
            let value = m.memory.read(b, m.maps[map].spec.value_size as usize)?;
            if m.maps[map].pushed.len() >= m.maps[map].spec.max_entries as usize {
                return Ok(Some(errno(super::map::E2BIG)));
            }
            m.maps[map].pushed.push(value);
            0
        }
        Helper::MapPopElem => {
            let map = m.stack_at(a)?;
            let zeros = vec![0; m.maps[map].spec.value_size as usize];
            m.memory.check_room(b, zeros.len())?;
            let popped = m.maps[map].pushed.pop();
            m.memory.write(b, popped.as_ref().unwrap_or(&zeros))?;
            if popped.is_some() { 0 } else { errno(super::map::ENOENT) }
        }
        Helper::KtimeGetNs | Helper::KtimeGetBootNs => {
            m.clock += m.tick;
            m.clock
        }
        Helper::GetSmpProcessorId => u64::from(m.cpu),
        Helper::GetPrandomU32 => 4,
        Helper::Jiffies64 => m.clock / 4_000_000,
        Helper::SendSignal if a == 0 || a > 64 => errno(EINVAL),
        Helper::SendSignal => 0,
        Helper::GetCurrentPidTgid => u64::from(task.pid) << 32 | u64::from(task.tid),
        Helper::GetCurrentUidGid => u64::from(task.gid) << 32 | u64::from(task.uid),
        Helper::GetCurrentTask => task.address,
        Helper::GetCurrentComm => {
            let mut name = task.comm.clone();
            let size = size(b)?;
            name.truncate(size.saturating_sub(1));
            name.push(0);
            // Kernels 6.0 to 6.2 write nothing behind the end.
            if task.padded {
                name.resize(size, 0);
            }
            m.memory.write(a, &name)?;
            0
        }
        Helper::GetAttachCookie => m.cookie,
        Helper::GetFuncIp => m.function,
        Helper::GetFuncArg => match m.arguments {
            Some(count) if b < count => {
                let word = m.memory.read(a + b * 8, 8)?;
                m.memory.write(c, &word)?;
                0
            }
            Some(_) => errno(EINVAL),
            None => return Err("arguments of a function where there is none".into()),
        },
        Helper::GetFuncRet => match m.arguments {
            Some(count) => {
                let word = m.memory.read(a + count * 8, 8)?;
                m.memory.write(b, &word)?;
                0
            }
            None => return Err("the result of a function where there is none".into()),
        },
        Helper::ProbeWriteUser => {
            let bytes = m.memory.read(b, size(c)?)?;
            if m.memory.write_user(a, &bytes) { 0 } else { errno(EFAULT) }
        }
        Helper::ProbeReadUser => m.probe_read(Space::User, a, b, c)?,
        Helper::CopyFromUser => {
            m.sleep(thread)?;
            m.memory.page_in(c, size(b)?);
            m.probe_read(Space::User, a, b, c)?
        }
        Helper::ProbeReadKernel => m.probe_read(Space::Kernel, a, b, c)?,
        Helper::ProbeReadUserStr => m.probe_read_str(Space::User, a, b, c)?,
        Helper::ProbeReadKernelStr => m.probe_read_str(Space::Kernel, a, b, c)?,
        Helper::RingbufOutput => {
            let ring = m.ring_at(a)?;
            let bytes = m.memory.read(b, size(c)?)?;
            if m.maps[ring].spec.name == LOGS {
                m.logs.push(bytes);
                return Ok(Some(0));
            }
            if !m.take_room(bytes.len()) {
                return Ok(Some(errno(EAGAIN)));
            }
            m.records.push(bytes);
            0
        }
        Helper::RingbufReserve => {
            m.ring_at(a)?;
            let size = size(b)?;
            if !m.take_room(size) {
                return Ok(Some(0));
            }
            let record = m.memory.add(Kind::Record, size);
            thread.reserved.push(record);
            thread.reserved_sizes.push(size);
            record
        }
        Helper::RingbufSubmit | Helper::RingbufDiscard => {
            let Some(index) = thread.reserved.iter().position(|record| *record == a) else {
                return Err("not a reserved record".into());
            };
            thread.reserved.remove(index);
            let size = thread.reserved_sizes.remove(index);
            if helper == Helper::RingbufSubmit {
                let bytes = m.memory.read(a, size)?;
                m.records.push(bytes);
            }
            m.memory.remove(a);
            return Ok(None);
        }
        Helper::ForEachMapElem => m.for_each(thread, a, b, c)?,
        Helper::Loop => m.rounds(thread, a, b, c)?,
        Helper::GetStackid => 7,
        Helper::GetStack => {
            let bytes: Vec<u8> = task.stack.iter().flat_map(|address| address.to_le_bytes()).collect();
            let told = bytes.len().min(size(c)?);
            m.memory.write(b, &bytes[..told])?;
            told as u64
        }
        Helper::TracePrintk
        | Helper::GetCurrentTaskBtf
        | Helper::TaskPtRegs
        | Helper::RingbufQuery
        | Helper::Snprintf
        | Helper::Strncmp
        | Helper::Other(_) => return Err(format!("helper {} is not emulated", helper.id())),
    }))
}

impl Machine {
    fn map_and_key(&self, map: u64, key: u64) -> Result<(usize, Vec<u8>)> {
        let map = self.map_at(map)?;
        let spec = &self.maps[map].spec;
        if matches!(spec.kind, MapKind::RingBuf | MapKind::Stack | MapKind::StackTrace) {
            return Err("a map without keys".into());
        }
        Ok((map, self.memory.read(key, spec.key_size as usize)?))
    }

    fn stack_at(&self, map: u64) -> Result<usize> {
        let map = self.map_at(map)?;
        if self.maps[map].spec.kind == MapKind::Stack { Ok(map) } else { Err("not a stack map".into()) }
    }

    fn ring_at(&self, map: u64) -> Result<usize> {
        let map = self.map_at(map)?;
        if self.maps[map].spec.kind == MapKind::RingBuf { Ok(map) } else { Err("not a ring buffer".into()) }
    }

    /// Whether the program may sleep now.
    fn sleep(&mut self, thread: &Thread) -> Result {
        if !self.sleepable[thread.program] {
            return Err("a program sleeps that may not".into());
        }
        if thread.stays > 0 {
            return Err("a program sleeps that keeps its CPU".into());
        }
        if !thread.reserved.is_empty() {
            return Err("a program sleeps with a reserved record".into());
        }
        let scalars = if self.locks.is_empty() { Vec::new() } else { self.value(SCALARS) };
        if self.locks.iter().any(|at| scalars[*at as usize..*at as usize + 8] != [0; 8]) {
            return Err("a program sleeps with a lock".into());
        }
        self.sleeps += 1;
        Ok(())
    }

    fn take_room(&mut self, size: usize) -> bool {
        match self.ring_room.checked_sub(size.next_multiple_of(8) + 8) {
            Some(room) => {
                self.ring_room = room;
                true
            }
            None => false,
        }
    }

    /// Calls a function of the program for each element that was there at the start; returns how many.
    fn for_each(&mut self, thread: &Thread, map: u64, function: u64, context: u64) -> Result<u64> {
        let index = self.map_at(map)?;
        let mut count = 0;
        for (key, value) in self.maps[index].snapshot(self.cpu) {
            let key = self.memory.add_written(Kind::Constants, &key);
            let mut callee = self.start(thread.program, &Context::Words(Vec::new()));
            callee.pc = function as usize;
            callee.regs[1..5].copy_from_slice(&[Some(map), Some(key), Some(value), Some(context)]);
            count += 1;
            loop {
                match self.step(&mut callee).map_err(|fault| format!("{fault}"))? {
                    None => {}
                    Some(0) => break,
                    Some(1) => return Ok(count),
                    Some(other) => return Err(format!("a callback returned {other}")),
                }
            }
        }
        Ok(count)
    }

    fn rounds(&mut self, thread: &Thread, rounds: u64, function: u64, context: u64) -> Result<u64> {
        for round in 0..rounds {
            let mut callee = self.start(thread.program, &Context::Words(Vec::new()));
            let stack = callee.regs[10].map_or(0, |end| end - super::STACK);
            callee.pc = function as usize;
            callee.regs[1..3].copy_from_slice(&[Some(round), Some(context)]);
            let result = loop {
                if let Some(result) = self.step(&mut callee).map_err(|fault| format!("{fault}"))? {
                    break result;
                }
            };
            self.memory.remove(stack);
            match result {
                0 => {}
                1 => return Ok(round + 1),
                other => return Err(format!("a callback returned {other}")),
            }
        }
        Ok(rounds)
    }

    fn probe_read(&mut self, space: Space, to: u64, length: u64, from: u64) -> Result<u64> {
        let length = size(length)?;
        self.memory.check_room(to, length)?;
        let found = self.memory.probe(space, from, length)?;
        let zeros = vec![0; length];
        self.memory.write(to, found.as_ref().unwrap_or(&zeros))?;
        Ok(if found.is_some() { 0 } else { errno(EFAULT) })
    }

    /// Copies to the NUL and no further: what lies after it keeps its state.
    fn probe_read_str(&mut self, space: Space, to: u64, length: u64, from: u64) -> Result<u64> {
        let length = size(length)?;
        self.memory.check_room(to, length)?;
        let mut text = Vec::new();
        while text.len() < length {
            match self.memory.probe(space, from + text.len() as u64, 1)? {
                Some(byte) => text.extend(byte),
                None => {
                    self.memory.write(to, &vec![0; length])?;
                    return Ok(errno(EFAULT));
                }
            }
            if text.ends_with(&[0]) {
                break;
            }
        }
        let full = text.len() == length;
        if let Some(last) = text.last_mut().filter(|_| full) {
            *last = 0;
        }
        self.memory.write(to, &text)?;
        Ok(text.len() as u64)
    }
}
