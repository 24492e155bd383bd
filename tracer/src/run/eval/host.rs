//! What a handler sees of the machine.

use std::collections::BTreeMap;

use tracer_common::ir::{RecordId, Source, Space};
use tracer_common::regex::Table;
use tracer_common::symbol::Form;

use crate::run::output::sink::Sink;
use crate::run::value::Value;

/// Bytes of output that is neither committed nor discarded.
const SPECULATIVE: usize = 1 << 24;

/// What functions of the library keep from one handler to the next.
#[derive(Clone, Default, Debug)]
pub struct Kept {
    /// What is left of the text that `tokenize` takes apart.
    pub(super) pieces: Vec<u8>,
    /// The string that was searched last, and the number of the pattern that was found in it, or 0.
    pub(super) search: (Vec<u8>, i64),
    speculations: BTreeMap<i64, Vec<u8>>,
    /// Automata of the patterns that were searched for; none for one that is found everywhere.
    automata: BTreeMap<Vec<u8>, Option<Table>>,
}

impl Kept {
    /// Keeps output under a number. What is beyond [`SPECULATIVE`] bytes is lost, as it is in SystemTap.
    pub(super) fn speculate(&mut self, id: i64, text: &[u8]) {
        let held: usize = self.speculations.values().map(Vec::len).sum();
        if held + text.len() <= SPECULATIVE {
            self.speculations.entry(id).or_default().extend_from_slice(text);
        }
    }

    /// Whether a pattern, which is a literal of the script, occurs in a text.
    pub(super) fn finds(&mut self, pattern: &[u8], text: &[u8]) -> bool {
        if !self.automata.contains_key(pattern) {
            let table = Table::new(pattern).expect("this is a bug: a pattern that is none (ir::verify)");
            self.automata.insert(pattern.to_vec(), table);
        }
        self.automata[pattern].as_ref().is_none_or(|table| table.finds(text))
    }

    /// What was kept under a number, which is then forgotten.
    pub(super) fn take(&mut self, id: i64) -> Vec<u8> {
        self.speculations.remove(&id).unwrap_or_default()
    }
}

/// The machine, as handlers see it. What panics here belongs to hits, which the user domain has none of: only
/// tests that evaluate functions of the kernel domain provide it.
pub trait Host {
    /// `pid()`: the tracer's own, in the user domain.
    fn pid(&mut self) -> i64;
    /// `tid()`.
    fn tid(&mut self) -> i64;
    /// `uid()`.
    fn uid(&mut self) -> i64;
    /// `gid()`.
    fn gid(&mut self) -> i64;
    /// `execname()`.
    fn execname(&mut self) -> Vec<u8>;
    /// `cpu()`.
    fn cpu(&mut self) -> i64;
    /// Nanoseconds of CLOCK_MONOTONIC.
    fn monotonic_ns(&mut self) -> i64;
    /// Nanoseconds since the epoch.
    fn realtime_ns(&mut self) -> i64;
    /// `target()`.
    fn target(&mut self) -> i64;
    /// `exit()`.
    fn exit(&mut self);
    /// `warn()`.
    fn warn(&mut self, text: &[u8]);
    /// Output.
    fn sink(&mut self) -> &mut dyn Sink;

    /// Nanoseconds between two ticks of the kernel.
    fn tick_ns(&mut self) -> i64 {
        4_000_000
    }

    /// The kernel's count of ticks.
    fn jiffies(&mut self) -> i64 {
        0
    }

    /// Seconds that local time is behind UTC, and its name.
    fn time_zone(&mut self) -> (i64, Vec<u8>) {
        (0, b"UTC".to_vec())
    }

    /// What follows is about a hit of this process; of none, where it is 0.
    fn hit(&mut self, _pid: i64) {}

    /// What is told of an address of that process, or of the kernel.
    fn symbol(&mut self, _space: Space, address: u64, _form: Form) -> String {
        format!("{address:#x}")
    }

    /// The file that an address of that process is of, or the kernel's module.
    fn module_of(&mut self, _space: Space, _address: u64) -> Option<String> {
        None
    }

    /// 32 bits.
    fn random(&mut self) -> i64 {
        4
    }

    /// The cycle counter.
    fn cycles(&mut self) -> i64 {
        0
    }

    /// Starts a shell command.
    fn system(&mut self, command: &[u8]) {
        self.warn(&[b"cannot run ", command].concat());
    }

    /// The name of a process, empty where there is none.
    fn process_name(&mut self, _pid: i64) -> Vec<u8> {
        Vec::new()
    }

    /// Writes a line to the kernel's log, or to its trace when the level is below 0.
    fn kernel_log(&mut self, _level: i64, text: &[u8]) {
        self.warn(&[b"no kernel log for ", text].concat());
    }

    /// What is kept from one handler to the next.
    fn kept(&mut self) -> &mut Kept {
        panic!("this is a bug: a host that keeps nothing")
    }

    /// Return addresses of a stack, from the innermost.
    fn stack(&mut self, _space: Space) -> Vec<u64> {
        Vec::new()
    }

    /// A register or an argument of the hit, all 64 bits.
    fn context(&mut self, source: Source) -> i64 {
        panic!("this is a bug: {source:?} in the user domain (ir::verify)")
    }

    /// `task_current()`.
    fn task(&mut self) -> i64 {
        0
    }

    /// Fills bytes from memory; false when the address is bad.
    fn read(&mut self, _space: Space, _address: u64, _bytes: &mut [u8]) -> bool {
        false
    }

    /// Writes user memory; false when it cannot be written.
    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        panic!(
            "this is a bug: a write of {} bytes at {address:#x} in the user domain (ir::verify)",
            bytes.len()
        )
    }

    /// Sends a record.
    fn emit(&mut self, record: RecordId, values: Vec<Value>) {
        panic!("this is a bug: {record} with {values:?} in the user domain (ir::verify)")
    }
}
