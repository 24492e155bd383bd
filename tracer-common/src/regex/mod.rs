//! Regular expressions of `=~`: POSIX extended patterns, compiled to an automaton when the script is translated.
//!
//! ```text
//! pattern bytes -> parse (tree) -> nfa (positions) -> dfa (byte ranges for each state) -> table
//! ```
//!
//! Invariants: a pattern of any content gives an automaton or a [`Mistake`] with its place, in bounded time and memory;
//! what it searches ends at the first NUL.
//!
//! **Not here:** the code that walks the automaton (`tracer_ebpf::codegen::select::regex`, the evaluator).

mod captures;
mod dfa;
mod nfa;
mod parse;
mod table;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

pub use captures::{Span, captures, groups};
use dfa::{Dfa, State};
pub use table::{DEAD, FOUND, Table};

/// Why a pattern has no automaton.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The byte of the pattern where it shows.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// The pattern that finds a text and nothing else.
pub fn literal(text: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(text.len());
    for byte in text {
        if b"\\.[]()*+?{}|^$".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern
}

/// Most positions of an automaton before it is made deterministic.
const MAX_POSITIONS: usize = 2000;
/// Most states.
const MAX_STATES: usize = 400;

impl Dfa {
    /// The automaton that finds a pattern anywhere in a string.
    fn new(pattern: &[u8]) -> Result<Dfa, Mistake> {
        dfa::determine(&nfa::build(&parse::parse(pattern)?.0, pattern.len())?, pattern.len())
    }
}
