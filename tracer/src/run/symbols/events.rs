//! What tasks map, as the kernel tells it: files of programs that are gone when their addresses are named.
//!
//! Each CPU has its own records; their times say in which order things happened.
//!
//! Source: perf_event_open(2), `PERF_RECORD_MMAP2`, `_COMM`, `_FORK`.
//!
//! **Not here:** the memory that records come in (`sys::perf_ring`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::sys::perf_ring::PerfRing;
use crate::sys::process::possible_cpus;

/// Types of records.
const COMM: u32 = 3;
const FORK: u32 = 7;
const MMAP2: u32 = 10;
/// Of a new name: it comes from `execve`.
const EXEC: u16 = 1 << 13;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Event {
    /// Nanoseconds on the kernel's clock of perf events.
    pub(super) time: u64,
    /// The process that it happened to.
    pub(super) pid: i64,
    /// What.
    pub(super) change: Change,
}

/// What happened to a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It executes a new program: nothing that was mapped is there.
    Executes,
    /// It was made by another.
    Begins {
        /// The other.
        parent: i64,
    },
    /// A piece of a file with code.
    Maps {
        /// Where it begins.
        start: u64,
        /// Bytes.
        size: u64,
        /// Offset in the file.
        offset: u64,
        /// The file.
        path: PathBuf,
    },
}

/// Records of all CPUs.
pub(super) struct Events(Vec<PerfRing>);

impl Events {
    /// Of a process and the children that it will have, or of all. CPUs that are off have none; without any, processes are looked
    /// at when their addresses are named.
    pub(super) fn new(pid: Option<u32>) -> Events {
        let cpus = possible_cpus().unwrap_or(0);
        Events((0..cpus).filter_map(|cpu| PerfRing::mappings(pid, cpu).ok()).collect())
    }

    /// What happened since, in order.
    pub(super) fn take(&mut self) -> Vec<Event> {
        let mut records = Vec::new();
        self.0.iter_mut().for_each(|ring| ring.take(&mut records));
        let mut events: Vec<Event> = records.iter().filter_map(|record| decode(record)).collect();
        events.sort_by_key(|event| event.time);
        events
    }
}

/// A record: header, fields, and the time at its end.
fn decode(record: &[u8]) -> Option<Event> {
    let u16_at = |at: usize| Some(u16::from_ne_bytes(record.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let time = u64_at(record.len().checked_sub(8)?)?;
    let (first, second) = (i64::from(u32_at(8)?), i64::from(u32_at(12)?));
    let (pid, change) = match u32_at(0)? {
        COMM if u16_at(4)? & EXEC != 0 => (first, Change::Executes),
        // A thread of the same process shares everything.
        FORK if first != second => (first, Change::Begins { parent: second }),
        MMAP2 => {
            let name = record.get(72..record.len() - 8)?;
            let name = name.split(|byte| *byte == 0).next()?;
            if !name.starts_with(b"/") || name.starts_with(b"//anon") {
                return None;
            }
            let path = PathBuf::from(OsStr::from_bytes(name));
            (first, Change::Maps { start: u64_at(16)?, size: u64_at(24)?, offset: u64_at(32)?, path })
        }
        _ => return None,
    };
    Some(Event { time, pid, change })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, misc: u16, body: &[u8], time: u64) -> Vec<u8> {
        let size = (8 + body.len() + 8) as u16;
        [&kind.to_ne_bytes()[..], &misc.to_ne_bytes(), &size.to_ne_bytes(), body, &time.to_ne_bytes()]
            .concat()
    }

    #[test]
    fn records_say_what_happened() {
        let task = [7u32.to_ne_bytes(), 8u32.to_ne_bytes()].concat();
        let exec = record(COMM, EXEC, &[&task[..], b"name\0\0\0\0"].concat(), 5);
        assert_eq!(decode(&exec), Some(Event { time: 5, pid: 7, change: Change::Executes }));
        assert_eq!(decode(&record(COMM, 0, &[&task[..], b"name\0\0\0\0"].concat(), 5)), None);
        let numbers: Vec<u8> =
            [0x1000u64, 0x200, 0x3000, 0, 0, 0, 0].iter().flat_map(|n| n.to_ne_bytes()).collect();
        let map = record(MMAP2, 0, &[&task[..], &numbers, b"/lib/a\0\0"].concat(), 6);
        let change =
            Change::Maps { start: 0x1000, size: 0x200, offset: 0x3000, path: PathBuf::from("/lib/a") };
        assert_eq!(decode(&map), Some(Event { time: 6, pid: 7, change }));
        let fork = record(FORK, 0, &[&task[..], &[0; 16]].concat(), 7);
        assert_eq!(decode(&fork), Some(Event { time: 7, pid: 7, change: Change::Begins { parent: 8 } }));
    }

    #[test]
    fn short_records_are_none() {
        let map = record(MMAP2, 0, &[0; 72], 6);
        for size in 0..map.len() {
            assert_eq!(decode(&map[..size]), None);
        }
    }
}
