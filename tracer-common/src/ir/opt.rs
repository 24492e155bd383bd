//! Makes functions smaller before code is generated: IR in, IR out.
//!
//! ```text
//! callees before callers:  inline -> simplify
//! simplify, until nothing changes:
//!     local   constants and copies within a block, folding, branches that are decided
//!     blocks  jumps through empty blocks, blocks that nothing reaches, blocks with one way in and one way to it
//!     dead    results that nobody reads, copies that need not be, registers that are gone
//! sink        numbers of the current task to where they are first wanted
//! ```
//! Invariants: the order of what raises, writes or sends is the same before and after; so are all values, and the
//! place of each error. What is counted may get less: a string that nobody reads is not cut. Afterwards no root calls
//! a function, and a module that passed `verify` still does.
//! **Not here:** anything that knows the target: that is the code generator's.

mod blocks;
mod dead;
mod inline;
mod liveness;
mod local;
mod sink;

use super::verify::{call_order, cycle_text};
use super::*;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Most instructions of a function after inlining.
pub const MAX_INSTS: usize = 1 << 18;

/// Why functions cannot be inlined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OptError {
    /// Functions call each other in a circle; from one function back to itself.
    Recursion {
        /// The circle.
        cycle: Vec<FuncId>,
        /// `f1 (function.a) -> f2 (function.b) -> f1 (function.a)`
        text: String,
    },
    /// With all that it calls, a function is too large.
    TooLarge {
        /// The function.
        function: FuncId,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for OptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptError::Recursion { text, .. } => write!(f, "functions of a kernel handler recurse: {text}"),
            OptError::TooLarge { name, .. } => {
                write!(f, "{name} and the functions that it calls have more than {MAX_INSTS} instructions")
            }
        }
    }
}

impl core::error::Error for OptError {}

/// Inlines and simplifies the roots, which are kernel functions; user functions among them are left as they are.
/// What the roots call is simplified too, and stays in the module.
pub fn optimize(module: &mut Module, roots: &[FuncId]) -> Result<(), OptError> {
    let kernel = |id: &FuncId| module.functions.get(id.index()).is_some_and(|f| f.domain == Domain::Kernel);
    let order = call_order(module, roots.iter().copied().filter(kernel)).map_err(|cycle| {
        let text = cycle_text(module, &cycle);
        OptError::Recursion { cycle, text }
    })?;
    for id in order {
        // Dead calls are not worth inlining.
        simplify(module, id);
        inline::inline(module, id)?;
        simplify(module, id);
        sink::sink(&mut module.functions[id.index()]);
    }
    Ok(())
}

fn simplify(module: &mut Module, id: FuncId) {
    // Each round makes the function smaller or stops; the bound is for rounds that only move things.
    const MOST: usize = 20;
    let function = &mut module.functions[id.index()];
    for _ in 0..MOST {
        let mut changed = local::propagate(function, &module.strings);
        changed |= blocks::clean(function);
        changed |= dead::remove(function);
        if !changed {
            break;
        }
    }
    dead::compact(function);
}

/// Whether a block may be left for its catch block.
fn block_raises(block: &BlockData) -> bool {
    matches!(block.term.0, Term::Raise(_)) || block.insts.iter().any(|(inst, _)| inst.can_raise())
}
