//! What a handler sees of the machine.

use tracer_common::ir::{RecordId, Source, Space};

use crate::run::output::sink::Sink;
use crate::run::value::Value;

/// The machine, as handlers see it. What has a body here belongs to hits, which the user domain has none of: only
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

    /// A register or an argument of the hit, all 64 bits.
    fn context(&mut self, source: Source) -> i64 {
        panic!("this is a bug: {source:?} in the user domain (ir::verify)")
    }

    /// `task_current()`.
    fn task(&mut self) -> i64 {
        panic!("this is a bug: task_current in the user domain (ir::verify)")
    }

    /// Fills bytes from memory; false when the address is bad.
    fn read(&mut self, space: Space, address: u64, bytes: &mut [u8]) -> bool {
        panic!(
            "this is a bug: a read of {} bytes at {space:?} {address:#x} in the user domain (ir::verify)",
            bytes.len()
        )
    }

    /// Sends a record.
    fn emit(&mut self, record: RecordId, values: Vec<Value>) {
        panic!("this is a bug: {record} with {values:?} in the user domain (ir::verify)")
    }
}
