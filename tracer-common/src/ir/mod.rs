//! The intermediate representation: what pass 3 makes, what the code generator compiles and the evaluator runs.
//!
//! A [`Function`] is a control-flow graph over two kinds of mutable virtual registers: `v3` holds a long (64 bits,
//! two's complement, wrapping), `s2` holds a string of a capacity known at compile time. There is no SSA: locals
//! of a script are registers, and both consumers do better with that. All registers start as 0 and "".
//!
//! **Errors are control flow.** An instruction that can raise ([`Inst::can_raise`]) leaves its block for the
//! block's `catch` block; without one the error ends the handler and is reported with the instruction's place.
//!
//! **Records and continuations.** A kernel function prints nothing. [`Inst::Emit`] sends the values of a
//! [`RecordDef`]; the evaluator then runs the record's *continuation*, a user-domain function whose parameters are
//! the record's fields, in the order in which the records were sent. Late evaluation of `printf` arguments and
//! statement blocks that the kernel cannot run are both this one mechanism.
//!
//! **Sites.** A program is shared by all probe points whose code is the same; what differs (names, line) is looked
//! up by the site's index: [`Inst::SiteText`] in both domains, [`Inst::VarsText`] in continuations.
//!
//! Rooms, in reading order: `entities` (numbers that print as text), `inst`, `module`, `builder`,
//! `visit`, `words`, `arith`, `print`, `parse`, `verify`, `opt`.
//! The text form is specified in docs/ir.md.

mod entities;
mod inst;
mod module;

mod arith;
mod builder;
mod visit;
mod words;

pub mod opt;
pub mod parse;
pub mod print;
pub mod verify;

pub use builder::{FunctionBuilder, ModuleBuilder};
pub use entities::*;
pub use inst::*;
pub use module::*;
pub use visit::{Registers, Visitor, VisitorMut};
