//! An automaton as a table: what both domains walk.
//!
//! ```text
//! column = columns[byte]          the NUL that ends a string has a column of its own
//! row    = cells[row + column]    rows are known by their first cell; FOUND and DEAD end the walk
//! ```
//!
//! Invariant: every walk ends at a NUL at the latest, and every cell is a row's first, [`FOUND`] or [`DEAD`].

use super::{Dfa, Mistake};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The pattern has been found.
pub const FOUND: u16 = 0xffff;
/// It can no longer be found.
pub const DEAD: u16 = 0xfffe;

/// An automaton as a table. The walk begins with row 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// The column of each byte.
    pub columns: Vec<u8>,
    /// Cells, row after row.
    pub cells: Vec<u16>,
    /// The last row's first cell.
    pub last: u16,
}

impl Table {
    /// The table of a pattern; `None` stands for one that is found in every string.
    pub fn new(pattern: &[u8]) -> Result<Option<Table>, Mistake> {
        let dfa = Dfa::new(pattern)?;
        // Rows are for states that the walk goes on from.
        let mut rows = Vec::with_capacity(dfa.states.len());
        let mut count = 0;
        for state in &dfa.states {
            rows.push((!state.found).then_some(count));
            count += usize::from(!state.found);
        }
        if rows[0].is_none() {
            return Ok(None);
        }
        let walked: Vec<_> = dfa.states.iter().filter(|state| !state.found).collect();
        // What a byte does in every state; bytes that do the same share a column. States that come next, `usize::MAX` for none.
        let mut kinds: BTreeMap<Vec<usize>, u8> = BTreeMap::new();
        let mut columns = alloc::vec![0u8; 256];
        for byte in 1..=255u8 {
            let next = |state: &&super::State| {
                let range = state.ranges.iter().find(|range| range.from <= byte && byte <= range.to);
                range.map_or(usize::MAX, |range| range.next as usize)
            };
            let fresh = kinds.len() as u8 + 1;
            columns[usize::from(byte)] = *kinds.entry(walked.iter().map(next).collect()).or_insert(fresh);
        }
        let width = kinds.len() + 1;
        if (count - 1) * width >= usize::from(DEAD) {
            return Err(Mistake { at: pattern.len(), what: "the automaton of the pattern is too large" });
        }
        let mut cells = alloc::vec![DEAD; count * width];
        for (number, state) in walked.iter().enumerate() {
            if state.found_at_end {
                cells[number * width] = FOUND;
            }
        }
        for (next, column) in &kinds {
            for (number, next) in next.iter().enumerate().filter(|(_, next)| **next != usize::MAX) {
                let to = rows[*next].map_or(FOUND, |row| (row * width) as u16);
                cells[number * width + usize::from(*column)] = to;
            }
        }
        Ok(Some(Table { columns, cells, last: ((count - 1) * width) as u16 }))
    }

    /// Whether the pattern occurs in a text, which ends at its first NUL.
    pub fn finds(&self, text: &[u8]) -> bool {
        let mut row = 0;
        for byte in text.iter().copied().chain([0]) {
            row = self.cells[usize::from(row) + usize::from(self.columns[usize::from(byte)])];
            if row > self.last {
                break;
            }
        }
        row == FOUND
    }
}
