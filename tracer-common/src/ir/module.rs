//! Functions, globals, records, handlers: the whole product of pass 3.

use super::entities::*;
use super::inst::{Inst, Term};
use crate::format::Format;
use crate::limits::Limits;
use crate::stat::StatFields;
use alloc::string::String;
use alloc::vec::Vec;

/// Where code runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Domain {
    /// Compiled to eBPF.
    Kernel,
    /// Run by the evaluator.
    User,
}

/// What the BPF context argument of a kernel function is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContextKind {
    /// None: user domain.
    None,
    /// `struct pt_regs`: kprobes and uprobes.
    Registers,
    /// An array of 64-bit words: raw tracepoints, fentry, fexit.
    Words,
    /// `struct bpf_perf_event_data`, which begins with the registers.
    Perf,
}

/// A place in a source text, for messages.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Index of the text in the session's source map.
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// As messages print it: `operator '/' at t.stp:1:25`.
    pub text: String,
}

/// A basic block.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BlockData {
    /// Where errors raised in this block go; `None` ends the handler.
    pub catch: Option<Block>,
    /// Steps, each with its place.
    pub insts: Vec<(Inst, PlaceId)>,
    /// The end, with its place.
    pub term: (Term, PlaceId),
}

/// A function: a handler, a script function in one domain, or a continuation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Function {
    /// For dumps: `probe.3`, `function.max`, `continuation.0`.
    pub name: String,
    /// Where it runs.
    pub domain: Domain,
    /// What its context is.
    pub context: ContextKind,
    /// Registers that receive the arguments.
    pub params: Vec<Dest>,
    /// What it returns.
    pub result: Option<Ty>,
    /// Number of long registers.
    pub longs: u32,
    /// Capacity of each string register.
    pub strings: Vec<u16>,
    /// Number of iterators.
    pub iters: u32,
    /// Globals that must not change under the function: read, tested and written together. The kernel side takes
    /// their locks at entry, in this (ascending) order, or skips the hit.
    pub locks: Vec<GlobalId>,
    /// Blocks; the first is the entry.
    pub blocks: Vec<BlockData>,
}

impl Function {
    /// Whether something stands before the handler that may end the hit: see [`Inst::Enter`].
    pub fn has_guard(&self) -> bool {
        self.blocks.iter().flat_map(|block| &block.insts).any(|(inst, _)| *inst == Inst::Enter)
    }
}

/// What a global holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum GlobalTy {
    /// Long or string.
    Value(Ty),
    /// A statistic that keeps these fields.
    Stats(StatFields),
}

/// An initial value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Init {
    /// Of a long.
    Long(i64),
    /// Of a string.
    Str(Vec<u8>),
}

/// A global scalar or array.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Global {
    /// The script's name.
    pub name: String,
    /// Types of the keys; empty for a scalar.
    pub keys: Vec<Ty>,
    /// What it, or an element of it, holds.
    pub ty: GlobalTy,
    /// Initial value of a scalar.
    pub init: Option<Init>,
    /// Most elements.
    pub max_entries: u32,
    /// `%`: an insert into a full array drops the oldest insertion.
    pub wrap: bool,
    /// An insert into a full array may drop any element that nobody asked for lately: what is missing counts as never
    /// stored.
    pub forgets: bool,
    /// Whether the order of insertion can be seen by the script.
    pub ordered: bool,
    /// Whether kernel functions touch it; if not, it lives in the evaluator alone.
    pub shared: bool,
    /// Written but never read: printed when the session ends, in the order of these numbers.
    pub print_at_end: Option<u32>,
}

/// A message from a kernel function to its continuation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RecordDef {
    /// Types of its fields.
    pub fields: Vec<Ty>,
    /// User-domain function that runs when the record arrives; one parameter for each field.
    pub continuation: FuncId,
}

/// When a user-domain handler runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum When {
    /// `begin(n)`, before the probes are armed, in ascending order.
    Begin(i64),
    /// `end(n)`, after the probes are gone, unless the session ended by an error.
    End(i64),
    /// `error(n)`, instead of `end` when the session ended by an error.
    Error(i64),
    /// `timer.*`: every so many nanoseconds.
    Timer {
        /// The period.
        period: u64,
        /// `.randomize(n)`: at most so many nanoseconds more or less.
        randomize: u64,
    },
    /// Never, but typed: `never`.
    Never,
}

/// A user-domain handler with its trigger.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UserHandler {
    /// When it runs.
    pub when: When,
    /// Its code: no parameters, no result.
    pub function: FuncId,
    /// Its site, for `pp()`: index into `manifest::Manifest::sites`.
    pub site: u32,
}

/// Everything that passes 1 to 3 know of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    /// Limits that the code was made for.
    pub limits: Limits,
    /// Globals.
    pub globals: Vec<Global>,
    /// String literals, without their NUL: bytes, since scripts may say `"\xff"`.
    pub strings: Vec<Vec<u8>>,
    /// Formats.
    pub formats: Vec<Format>,
    /// Records.
    pub records: Vec<RecordDef>,
    /// Source places.
    pub places: Vec<Place>,
    /// Functions of both domains.
    pub functions: Vec<Function>,
    /// The user-domain handlers, in the script's order. Kernel handlers are named by the manifest's programs.
    pub handlers: Vec<UserHandler>,
}
