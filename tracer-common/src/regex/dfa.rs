//! Automata with one state at a time.
//!
//! Invariant: the ranges of a state are ascending, do not touch when they lead to the same state, and leave out bytes
//! after which nothing can be found any more.
//!
//! **Not here:** positions (`nfa`).

use super::nfa::{Nfa, Position};
use super::{MAX_STATES, Mistake};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Bytes that lead from one state to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    /// The first byte; never 0.
    pub(super) from: u8,
    /// The last.
    pub(super) to: u8,
    /// The state after it.
    pub(super) next: u32,
}

/// A state of the search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    /// The pattern has been found, whatever follows: no ranges.
    pub(super) found: bool,
    /// The pattern has been found if the string ends here.
    pub(super) found_at_end: bool,
    /// Where bytes lead; a byte in no range ends the search in vain.
    pub(super) ranges: Vec<Range>,
}

/// An automaton; state 0 is the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Dfa {
    /// The states.
    pub(super) states: Vec<State>,
}

/// What the tests hold tables against.
#[cfg(test)]
impl Dfa {
    /// Whether the pattern occurs in a text, which ends at its first NUL.
    pub(super) fn finds(&self, text: &[u8]) -> bool {
        let mut state = &self.states[0];
        for byte in text.iter().copied().take_while(|b| *b != 0) {
            if state.found {
                return true;
            }
            let Some(range) = state.ranges.iter().find(|r| r.from <= byte && byte <= r.to) else {
                return false;
            };
            state = &self.states[range.next as usize];
        }
        state.found_at_end
    }
}

/// `end` is where a pattern that is too large is said to be.
pub(super) fn determine(nfa: &Nfa, end: usize) -> Result<Dfa, Mistake> {
    let mut known: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
    let mut sets: Vec<Vec<usize>> = Vec::new();
    let mut states = Vec::new();
    let first = closure(nfa, &[nfa.first], true, false);
    // What holds at the beginning of the string does not when the search comes back.
    if !nfa.positions.iter().any(|p| matches!(p, Position::Start(_))) {
        known.insert(first.clone(), 0);
    }
    sets.push(first);
    let mut number = |set: Vec<usize>, sets: &mut Vec<Vec<usize>>| {
        if let Some(n) = known.get(&set) {
            return Ok(*n);
        }
        if sets.len() >= MAX_STATES {
            return Err(Mistake { at: end, what: "the automaton of the pattern has too many states" });
        }
        let n = sets.len() as u32;
        known.insert(set.clone(), n);
        sets.push(set);
        Ok(n)
    };
    let mut done = 0;
    while done < sets.len() {
        let set = sets[done].clone();
        let found = set.contains(&0);
        let found_at_end = closure(nfa, &set, done == 0, true).contains(&0);
        let mut ranges: Vec<Range> = Vec::new();
        if !found {
            let mut after: BTreeMap<Vec<usize>, Option<u32>> = BTreeMap::new();
            for byte in 1..=255u8 {
                // The search may also begin after this byte.
                let mut next: Vec<usize> = alloc::vec![nfa.first];
                for position in &set {
                    if let Position::Take(bytes, to) = nfa.positions[*position]
                        && bytes.has(byte)
                    {
                        next.push(to);
                    }
                }
                next.sort_unstable();
                next.dedup();
                let to = match after.get(&next) {
                    Some(known) => *known,
                    None => {
                        let closed = closure(nfa, &next, false, false);
                        // A set without positions finds nothing any more.
                        let to = if closed.is_empty() { None } else { Some(number(closed, &mut sets)?) };
                        after.insert(next, to);
                        to
                    }
                };
                let Some(to) = to else { continue };
                match ranges.last_mut() {
                    Some(last) if last.next == to && last.to == byte - 1 => last.to = byte,
                    _ => ranges.push(Range { from: byte, to: byte, next: to }),
                }
            }
        }
        states.push(State { found, found_at_end: found || found_at_end, ranges });
        done += 1;
    }
    Ok(Dfa { states })
}

/// The positions that wait for a byte or for the end, or have found the pattern.
fn closure(nfa: &Nfa, from: &[usize], at_start: bool, at_end: bool) -> Vec<usize> {
    let mut seen = alloc::vec![false; nfa.positions.len()];
    let mut work = from.to_vec();
    let mut set = Vec::new();
    while let Some(n) = work.pop() {
        if core::mem::replace(&mut seen[n], true) {
            continue;
        }
        match nfa.positions[n] {
            Position::Take(..) | Position::Found => set.push(n),
            Position::Both(one, other) => work.extend([one, other]),
            Position::Mark(_, next) => work.push(next),
            Position::Start(next) => {
                if at_start {
                    work.push(next);
                }
            }
            Position::End(next) => {
                if at_end {
                    work.push(next);
                } else {
                    set.push(n);
                }
            }
        }
    }
    set.sort_unstable();
    set
}
