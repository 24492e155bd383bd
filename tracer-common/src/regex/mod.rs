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
mod way;

use alloc::vec::Vec;

pub use captures::{Span, captures, groups};
use dfa::{Dfa, State};
pub use table::{DEAD, FOUND, Table};
pub use way::{NOTHING, Walk, Ways};

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

/// Patterns as one string, for [`list`].
pub fn listed<'p>(patterns: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let mut text = Vec::new();
    for pattern in patterns {
        text.extend(alloc::format!("{}:", pattern.len()).into_bytes());
        text.extend(pattern);
    }
    text
}

/// The patterns of a string that [`listed`] made, each behind its length and a colon; what is no such string ends them.
pub fn list(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let colon = text.iter().position(|byte| *byte == b':')?;
        let length: usize = core::str::from_utf8(&text[..colon]).ok()?.parse().ok()?;
        let pattern = text.get(colon + 1..)?.get(..length)?;
        text = &text[colon + 1 + length..];
        Some(pattern)
    })
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
