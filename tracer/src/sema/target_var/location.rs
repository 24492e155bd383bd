//! Locations to accesses: where a walk starts.

use std::sync::Arc;

use tracer_common::ir::{BinOp, CmpOp, Space, Width};

use crate::debuginfo::model::{Entry, LocOp, Location, Relation};
use crate::sema::program::Access;
use crate::sema::target_var::pretty::further;
use crate::sema::target_var::{At, WORD, load, plus};

/// How far a module was moved when it was loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Moved {
    /// Not at all: addresses are as linked.
    No,
    /// As far as the instruction pointer, which would be here.
    Hit(u64),
    /// As far as the instruction pointer at the function's entry, which would be here: at the return, it is the
    /// caller's.
    Entry(u64),
    /// It is another file than the one that is probed: it is where its code is in the process, of which this much is before
    /// its beginning (the address as linked less the offset).
    Elsewhere(Arc<str>, u64),
}

impl Moved {
    /// Where an address as linked is now.
    pub fn address(&self, linked: u64) -> Access {
        // The instruction pointer, minus where it was linked, is how far the module moved.
        match self {
            Moved::No => Access::Constant(linked as i64),
            Moved::Hit(at) => plus(Access::Register(16, WORD), linked.wrapping_sub(*at) as i64),
            Moved::Entry(at) => {
                let pointer = Access::AtEntry(Box::new(Access::Register(16, WORD)));
                plus(pointer, linked.wrapping_sub(*at) as i64)
            }
            Moved::Elsewhere(path, before) => {
                plus(Access::Module(path.clone()), linked.wrapping_sub(*before) as i64)
            }
        }
    }
}

/// What a location means where the module is loaded.
pub trait Loaded {
    /// How far it was moved.
    fn moved(&self) -> Moved;
    /// The address of its thread-local storage in the current thread.
    fn thread_local(&self) -> Result<Access, String>;
    /// What a register held at the entry of the function.
    fn entered(&self, register: u8, entry: &Entry) -> Result<Access, String>;
}

/// Where only addresses can be meant.
impl Loaded for Moved {
    fn moved(&self) -> Moved {
        self.clone()
    }

    fn thread_local(&self) -> Result<Access, String> {
        Err("its location uses thread-local storage".to_owned())
    }

    fn entered(&self, _register: u8, _entry: &Entry) -> Result<Access, String> {
        Err("its location uses a value of a function's entry".to_owned())
    }
}

/// A location as the start of a walk.
pub fn start(location: &Location, loaded: &dyn Loaded) -> Result<At, String> {
    match location {
        Location::Register(register) => Ok(At::Value(Access::Register(*register, WORD))),
        Location::Value(steps) => Ok(At::Value(match run(steps, loaded)? {
            // The variable is nowhere, and what its value is computed from is no place of it to assign to.
            value @ Access::Load { .. } => {
                Access::Binary(BinOp::Or, Box::new(value), Box::new(Access::Constant(0)))
            }
            value => value,
        })),
        Location::Memory(steps) => Ok(match run(steps, loaded)? {
            Access::Binary(BinOp::Add, address, offset) => match *offset {
                Access::Constant(offset) => At::Memory(*address, offset),
                other => At::Memory(Access::Binary(BinOp::Add, address, Box::new(other)), 0),
            },
            address => At::Memory(address, 0),
        }),
        Location::Pieces(pieces) => {
            let mut all = Vec::with_capacity(pieces.len());
            for (piece, bytes) in pieces {
                let at = match piece {
                    Some(piece) => Some(start(piece, loaded)?),
                    None => None,
                };
                all.push((at, *bytes));
            }
            Ok(At::Pieces(all, 0))
        }
        Location::Pointer(to, offset) => Ok(At::Pointer(Box::new(further(&start(to, loaded)?, *offset)))),
    }
}

/// Nodes of an access: an expression that copies its operands over and over grows without bound.
const NODES: usize = 512;

fn nodes(access: &Access) -> usize {
    1 + match access {
        // The function's address is no operand.
        Access::Entered(entered) => nodes(&entered.cfa),
        _ => access.parts().map(nodes).sum(),
    }
}

/// Runs the steps of a location on accesses instead of numbers.
fn run(steps: &[LocOp], loaded: &dyn Loaded) -> Result<Access, String> {
    let mut stack: Vec<Access> = Vec::new();
    let empty = || "a location that takes more than it made".to_owned();
    for step in steps {
        if stack.last().is_some_and(|top| nodes(top) > NODES) {
            return Err("its location is a very long expression".to_owned());
        }
        let binary = match step {
            LocOp::Const(n) => {
                stack.push(Access::Constant(*n));
                continue;
            }
            LocOp::Register(register, offset) => {
                stack.push(plus(Access::Register(*register, WORD), *offset));
                continue;
            }
            LocOp::Entered(register, entry) => {
                stack.push(loaded.entered(*register, entry)?);
                continue;
            }
            LocOp::Address(address) => {
                stack.push(loaded.moved().address(*address));
                continue;
            }
            LocOp::ThreadLocal => {
                let offset = stack.pop().ok_or_else(empty)?;
                let base = loaded.thread_local()?;
                stack.push(match offset {
                    Access::Constant(offset) => plus(base, offset),
                    offset => Access::Binary(BinOp::Add, Box::new(base), Box::new(offset)),
                });
                continue;
            }
            LocOp::Deref(bytes) => {
                let address = stack.pop().ok_or_else(empty)?;
                stack.push(load(Space::User, address, 0, Width { bytes: *bytes, signed: false }));
                continue;
            }
            LocOp::Neg => {
                let value = stack.pop().ok_or_else(empty)?;
                stack.push(Access::Binary(BinOp::Sub, Box::new(Access::Constant(0)), Box::new(value)));
                continue;
            }
            LocOp::Not => {
                let value = stack.pop().ok_or_else(empty)?;
                stack.push(Access::Binary(BinOp::Xor, Box::new(value), Box::new(Access::Constant(-1))));
                continue;
            }
            LocOp::Pick(n) => {
                let index = stack.len().checked_sub(1 + usize::from(*n)).ok_or_else(empty)?;
                stack.push(stack[index].clone());
                continue;
            }
            LocOp::Swap => {
                let top = stack.len();
                if top < 2 {
                    return Err(empty());
                }
                stack.swap(top - 1, top - 2);
                continue;
            }
            LocOp::Drop => {
                stack.pop().ok_or_else(empty)?;
                continue;
            }
            LocOp::Extend(bytes, signed) => {
                let value = stack.pop().ok_or_else(empty)?;
                stack.push(Access::Extend(Box::new(value), Width { bytes: *bytes, signed: *signed }));
                continue;
            }
            LocOp::Compare(relation) => {
                let (right, left) = (stack.pop().ok_or_else(empty)?, stack.pop().ok_or_else(empty)?);
                let op = match relation {
                    Relation::Equal => CmpOp::Eq,
                    Relation::Unequal => CmpOp::Ne,
                    Relation::Less => CmpOp::Lt,
                    Relation::LessOrEqual => CmpOp::Le,
                    Relation::Greater => CmpOp::Gt,
                    Relation::GreaterOrEqual => CmpOp::Ge,
                };
                stack.push(Access::Compare(op, Box::new(left), Box::new(right)));
                continue;
            }
            LocOp::Add => BinOp::Add,
            LocOp::Sub => BinOp::Sub,
            LocOp::Mul => BinOp::Mul,
            LocOp::And => BinOp::And,
            LocOp::Or => BinOp::Or,
            LocOp::Xor => BinOp::Xor,
            LocOp::Shl => BinOp::Shl,
            LocOp::Shr => BinOp::Shr,
            LocOp::Sar => BinOp::Sar,
        };
        let (right, left) = (stack.pop().ok_or_else(empty)?, stack.pop().ok_or_else(empty)?);
        stack.push(match (binary, left, right) {
            (BinOp::Add, Access::Binary(BinOp::Add, base, inner), Access::Constant(more)) => match *inner {
                Access::Constant(known) => plus(*base, known.wrapping_add(more)),
                other => Access::Binary(
                    BinOp::Add,
                    Box::new(Access::Binary(BinOp::Add, base, Box::new(other))),
                    Box::new(Access::Constant(more)),
                ),
            },
            (BinOp::Add, left, Access::Constant(more)) => plus(left, more),
            (op, left, right) => Access::Binary(op, Box::new(left), Box::new(right)),
        });
    }
    stack.pop().ok_or_else(empty)
}
