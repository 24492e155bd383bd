//! Checks a module; whoever makes one runs this, and a violation is a bug of the maker.
//!
//! Module:
//! - limits are in their ranges; literals hold no NUL and fit the largest string;
//! - widths and precisions of formats are sane; string capacities are 1..=4096 everywhere;
//! - initial values: only of scalars, of the right type, fitting; `max` is not 0; histograms have a sane number of
//!   buckets and statistics a sane shift; `wrap` and `ordered` only on arrays;
//! - a record's continuation exists, is a user function without result, and its parameters are the record's fields,
//!   at least as large; record numbers stay below the reserved ones;
//! - handlers name user functions without parameters and result.
//!
//! Functions:
//! - user functions have no context; parameters are different registers; there is an entry block;
//! - every register, block, iterator, literal, format, record, global, function and place exists; the numbers of
//!   registers are within [`MAX_REGISTERS`];
//! - locks are shared globals in ascending order;
//! - catch blocks exist, and no chain of catch blocks is a circle;
//! - kernel functions call no circle of functions, and only functions that want no other context;
//! - an iterator is started on every path to its use, always on the same array or histogram; `caught` stands only in
//!   blocks that some block names as its catch block;
//! - `enter` stands once, in a handler of the kernel domain; blocks before its block lead to it or end, nothing leads
//!   back, and what is before it only looks: numbers, and reads that cannot raise.
//!
//! Instructions:
//! - long and string registers where they belong: keys, values, arguments, results, fields, conversions of formats;
//! - the number of keys, arguments and fields; statistics are only aggregated, read by what they keep, iterated,
//!   cleared and deleted from, all other globals never;
//! - instructions and intrinsics in their domain; kernel functions touch only shared globals;
//! - registers of the hit in contexts that have registers, arguments in contexts made of words;
//! - `return` with a value only in functions with a result, and of its type; `iter_next` takes all keys.
//!
//! **Not here:** whether a register was written before it is read (all start as 0 or ""), and unreachable blocks:
//! both are legal. The manifest: see [`manifest`].

mod entity;
mod flow;
mod guard;
mod inst;
pub mod manifest;

pub(crate) use flow::{call_order, cycle_text};

use super::parse::MAX_REGISTERS;
use super::*;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Where something is in a module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Location {
    /// Nowhere in particular.
    Module,
    /// A literal.
    String(StringId),
    /// A format.
    Format(FormatId),
    /// A global.
    Global(GlobalId),
    /// A record.
    Record(RecordId),
    /// A user handler, by its index.
    Handler(u32),
    /// A function.
    Function(FuncId),
    /// A block.
    Block(FuncId, Block),
    /// An instruction, by its index; the block's end has the index after the last.
    Inst(FuncId, Block, u32),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Module => f.write_str("module"),
            Location::String(id) => write!(f, "{id}"),
            Location::Format(id) => write!(f, "{id}"),
            Location::Global(id) => write!(f, "{id}"),
            Location::Record(id) => write!(f, "{id}"),
            Location::Handler(number) => write!(f, "handler {number}"),
            Location::Function(function) => write!(f, "{function}"),
            Location::Block(function, block) => write!(f, "{function} {block}"),
            Location::Inst(function, block, inst) => write!(f, "{function} {block} #{inst}"),
        }
    }
}

/// A broken rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Where.
    pub at: Location,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// Largest capacity of a string.
pub const MAX_CAPACITY: u16 = 4096;
/// Most buckets of a histogram.
pub const MAX_BUCKETS: usize = 1 << 16;

/// Checks everything; all violations come back, in the order of the text.
pub fn verify(module: &Module) -> Result<(), Vec<Violation>> {
    let mut verifier = Verifier { module, at: Location::Module, violations: Vec::new() };
    verifier.entities();
    for number in 0..module.functions.len() {
        verifier.function(FuncId(number as u32));
    }
    verifier.calls();
    if verifier.violations.is_empty() { Ok(()) } else { Err(verifier.violations) }
}

/// One text for all violations, each with its instruction: for the panic of whoever made the module.
pub fn explain(module: &Module, violations: &[Violation]) -> String {
    let mut text = String::new();
    for violation in violations {
        let (name, inst) = match violation.at {
            Location::Inst(function, block, inst) => {
                let function = &module.functions[function.index()];
                let block = &function.blocks[block.index()];
                let inst = match block.insts.get(inst as usize) {
                    Some((inst, _)) => format!("{inst}"),
                    None => format!("{}", block.term.0),
                };
                (Some(&function.name), Some(inst))
            }
            Location::Function(function) | Location::Block(function, _) => {
                (Some(&module.functions[function.index()].name), None)
            }
            _ => (None, None),
        };
        text.push_str(&format!("{violation}"));
        if let Some(name) = name {
            text.push_str(&format!(" (in {name}"));
            if let Some(inst) = inst {
                text.push_str(&format!(": {inst}"));
            }
            text.push(')');
        }
        text.push('\n');
    }
    text
}

struct Verifier<'m> {
    module: &'m Module,
    /// What is being checked.
    at: Location,
    violations: Vec<Violation>,
}

impl<'m> Verifier<'m> {
    fn fail(&mut self, message: impl Into<String>) {
        self.violations.push(Violation { at: self.at, message: message.into() });
    }

    fn check(&mut self, holds: bool, message: &str) {
        if !holds {
            self.fail(message);
        }
    }

    /// An entry of a table of the module.
    fn entry<T>(&mut self, table: &'m [T], index: usize, name: impl fmt::Display) -> Option<&'m T> {
        let found = table.get(index);
        if found.is_none() {
            self.fail(format!("{name} does not exist"));
        }
        found
    }

    fn global(&mut self, id: GlobalId) -> Option<&'m Global> {
        self.entry(&self.module.globals, id.index(), id)
    }

    fn function_of(&mut self, id: FuncId) -> Option<&'m Function> {
        self.entry(&self.module.functions, id.index(), id)
    }

    fn place(&mut self, place: PlaceId) {
        self.entry(&self.module.places, place.index(), place);
    }

    fn ty(&mut self, ty: Ty) {
        if let Ty::Str(capacity) = ty {
            self.capacity(capacity);
        }
    }

    fn capacity(&mut self, capacity: u16) {
        if capacity == 0 || capacity > MAX_CAPACITY {
            self.fail(format!("string capacity {capacity} is not in 1..={MAX_CAPACITY}"));
        }
    }
}

/// Whether values of these types are of one kind, capacities aside.
fn same_kind(a: Ty, b: Ty) -> bool {
    matches!((a, b), (Ty::Long, Ty::Long) | (Ty::Str(_), Ty::Str(_)))
}

fn kind_name(ty: Ty) -> &'static str {
    match ty {
        Ty::Long => "long",
        Ty::Str(_) => "string",
    }
}

/// The kind of an operand; its capacity is not looked up.
fn kind_of(arg: &Arg) -> Ty {
    match arg {
        Arg::Long(_) => Ty::Long,
        Arg::Str(_) => Ty::Str(0),
    }
}

fn kind_of_dest(dest: &Dest) -> Ty {
    kind_of(&Arg::from(*dest))
}
