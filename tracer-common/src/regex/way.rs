//! Where the groups of a pattern are, by automata with one state at a time: what eBPF walks.
//!
//! ```text
//! starts    backwards over the whole string: from which bytes something is found, the first of which counts
//! longest   forwards from there: where the longest ends
//! ways      backwards from that end: what may still come at each byte so that it is reached; the states are kept
//! groups    forwards, with those states: the preferred of the ways, and where it passes the marks of a group
//! ```
//!
//! A cell is the row of the next state in its lower half; the upper half says something of that state.
//! What is found is the same that `captures` finds.
//!
//! **Not here:** the walk (`tracer_ebpf::codegen::select::matched`).

use super::nfa::{Nfa, Position};
use super::parse::Bytes;
use super::{MAX_STATES, Mistake, nfa, parse};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The row of [`Ways::longest`] from which nothing more is found.
pub const NOTHING: u32 = 0xffff;
/// Most cells of a table.
const MAX_CELLS: usize = 1 << 15;
/// The position where a pattern is found.
const FOUND: usize = 0;

/// An automaton, and the cells of its two first states: in the midst of the string, and at its end (those that go backwards) or at its
/// beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    /// Rows, one behind the other, with a column for each kind of byte.
    pub cells: Vec<u32>,
    /// Of the first states.
    pub first: [u32; 2],
}

/// The automata of a pattern.
#[derive(Clone, Debug)]
pub struct Ways {
    /// The column of each byte.
    pub columns: Vec<u8>,
    /// Bit 16 of a cell: something is found from there, behind the beginning of the string; bit 17: at its beginning.
    pub starts: Walk,
    /// Bit 16 of a cell: what is found may end there, before the end of the string; bit 17: at its end.
    pub longest: Walk,
    /// The upper half of a cell is the number of its state.
    pub ways: Walk,
    /// For each group but the whole, rows of [`Ways::states`] cells. A cell is the next row, and whether the group begins (bit 16) or
    /// ends (bit 17) here. The first row is for a start behind the beginning of the string, the second for one there.
    pub groups: Vec<Vec<u32>>,
    /// States of `ways`.
    pub states: u32,
}

impl Ways {
    /// The automata of a pattern.
    pub fn new(pattern: &[u8]) -> Result<Ways, Mistake> {
        let (tree, groups) = parse::parse(pattern)?;
        let nfa = nfa::build_with_groups(&tree, pattern.len())?;
        Maker { nfa, end: pattern.len() }.make(groups)
    }
}

/// A state: whether it is at the first states' special place, and positions in ascending order.
type State = (bool, Vec<usize>);

struct Maker {
    nfa: Nfa,
    end: usize,
}

impl Maker {
    fn make(&self, groups: usize) -> Result<Ways, Mistake> {
        let (columns, kinds) = self.columns();
        let back = |state: &State, byte: u8, always: bool| {
            let mut next: Vec<usize> = always.then_some(FOUND).into_iter().collect();
            for (position, bytes, to) in self.takes() {
                if bytes.has(byte) && self.leads(to, false, state) {
                    next.push(position);
                }
            }
            (false, next)
        };
        let ends = [(false, alloc::vec![FOUND]), (true, alloc::vec![FOUND])];
        let flags = |one: bool, two: bool| u32::from(one) << 16 | u32::from(two) << 17;
        let first = self.nfa.first;
        let (starts, _) = self.determine(
            &kinds,
            ends.clone(),
            |s, byte| back(s, byte, true),
            |_, s| flags(self.leads(first, false, s), self.leads(first, true, s)),
        )?;
        let (ways, states) =
            self.determine(&kinds, ends, |s, byte| back(s, byte, false), |number, _| (number as u32) << 16)?;
        let begins = [(false, alloc::vec![first]), (true, alloc::vec![first])];
        let (mut longest, dead) = self.determine(
            &kinds,
            begins,
            |s, byte| (false, self.forward(s, byte)),
            |_, (start, entries)| {
                let found = |end| entries.iter().any(|e| self.closure(*e, *start, end).any(FOUND));
                flags(found(false), found(true))
            },
        )?;
        // Where nothing may follow, the walk ends.
        let width = kinds.len() as u32;
        let nothing = dead.iter().position(|(_, entries)| entries.is_empty()).map(|n| n as u32 * width);
        for cell in &mut longest.cells {
            if Some(*cell & 0xffff) == nothing {
                *cell = NOTHING;
            }
        }
        let groups = (1..=groups).map(|group| self.group(group, &states)).collect::<Result<_, _>>()?;
        Ok(Ways { columns, starts, longest, ways, groups, states: states.len() as u32 })
    }

    fn too_large(&self) -> Mistake {
        Mistake { at: self.end, what: "the automaton of the pattern's groups is too large" }
    }

    fn takes(&self) -> impl Iterator<Item = (usize, &Bytes, usize)> {
        self.nfa.positions.iter().enumerate().filter_map(|(n, position)| match position {
            Position::Take(bytes, to) => Some((n, bytes, *to)),
            _ => None,
        })
    }

    /// The column of each byte, and one byte of each column.
    fn columns(&self) -> (Vec<u8>, Vec<u8>) {
        let mut known: BTreeMap<Vec<bool>, u8> = BTreeMap::new();
        let mut kinds = Vec::new();
        let mut columns = alloc::vec![0u8; 256];
        for byte in 1..=255u8 {
            let of: Vec<bool> = self.takes().map(|(_, bytes, _)| bytes.has(byte)).collect();
            columns[usize::from(byte)] = *known.entry(of).or_insert_with(|| {
                kinds.push(byte);
                kinds.len() as u8 - 1
            });
        }
        (columns, kinds)
    }

    /// Takes, and the end, that are reached from a position, the preferred first, each with the marks on the way.
    fn closure(&self, from: usize, start: bool, end: bool) -> Closure {
        let mut seen = alloc::vec![false; self.nfa.positions.len()];
        let mut reached = Vec::new();
        let mut ways = alloc::vec![(from, Vec::new())];
        while let Some((position, mut marks)) = ways.pop() {
            if core::mem::replace(&mut seen[position], true) {
                continue;
            }
            match self.nfa.positions[position] {
                Position::Take(..) | Position::Found => reached.push((position, marks)),
                Position::Both(first, second) => {
                    ways.push((second, marks.clone()));
                    ways.push((first, marks));
                }
                Position::Mark(mark, to) => {
                    marks.push(mark);
                    ways.push((to, marks));
                }
                Position::Start(to) if start => ways.push((to, marks)),
                Position::End(to) if end => ways.push((to, marks)),
                Position::Start(_) | Position::End(_) => {}
            }
        }
        Closure(reached)
    }

    /// Whether a position leads on in a state of those that go backwards.
    fn leads(&self, from: usize, start: bool, (end, members): &State) -> bool {
        self.closure(from, start, *end).0.iter().any(|(position, _)| members.binary_search(position).is_ok())
    }

    fn forward(&self, (start, entries): &State, byte: u8) -> Vec<usize> {
        let mut next = Vec::new();
        for entry in entries {
            for (position, _) in self.closure(*entry, *start, false).0 {
                if let Position::Take(bytes, to) = self.nfa.positions[position]
                    && bytes.has(byte)
                {
                    next.push(to);
                }
            }
        }
        next.sort_unstable();
        next.dedup();
        next
    }

    /// All states that are reached from the first two, as cells and as themselves.
    fn determine(
        &self,
        kinds: &[u8],
        first: [State; 2],
        step: impl Fn(&State, u8) -> State,
        told: impl Fn(usize, &State) -> u32,
    ) -> Result<(Walk, Vec<State>), Mistake> {
        let mut states: Vec<State> = first.to_vec();
        let mut known: BTreeMap<State, usize> = first.into_iter().zip(0..).collect();
        let mut next = Vec::new();
        let mut done = 0;
        while done < states.len() {
            if states.len() > MAX_STATES || states.len() * kinds.len() > MAX_CELLS {
                return Err(self.too_large());
            }
            for byte in kinds {
                let state = step(&states[done], *byte);
                let number = *known.entry(state).or_insert_with_key(|state| {
                    states.push(state.clone());
                    states.len() - 1
                });
                next.push(number);
            }
            done += 1;
        }
        let cells: Vec<u32> = states
            .iter()
            .enumerate()
            .map(|(number, state)| (number * kinds.len()) as u32 | told(number, state))
            .collect();
        let first = [cells[0], cells[1]];
        Ok((Walk { cells: next.into_iter().map(|number| cells[number]).collect(), first }, states))
    }

    /// The rows of a group: for each position that a way comes to.
    fn group(&self, group: usize, states: &[State]) -> Result<Vec<u32>, Mistake> {
        let mut sources = alloc::vec![(self.nfa.first, false), (self.nfa.first, true)];
        for (_, _, to) in self.takes() {
            if !sources[2..].contains(&(to, false)) {
                sources.push((to, false));
            }
        }
        if sources.len() * states.len() > MAX_CELLS {
            return Err(self.too_large());
        }
        let mut cells = Vec::with_capacity(sources.len() * states.len());
        for (from, start) in &sources {
            for (end, members) in states {
                let reached = self.closure(*from, *start, *end).0;
                let way = reached.into_iter().find(|(position, _)| members.binary_search(position).is_ok());
                let (position, marks) = way.unwrap_or((FOUND, Vec::new()));
                let row = match self.nfa.positions[position] {
                    Position::Take(_, to) => sources[2..].iter().position(|s| s.0 == to).unwrap_or(0) + 2,
                    _ => 0,
                };
                let passes = |mark: usize| u32::from(marks.contains(&mark));
                cells.push(
                    (row * states.len()) as u32 | passes(2 * group) << 16 | passes(2 * group + 1) << 17,
                );
            }
        }
        Ok(cells)
    }
}

struct Closure(Vec<(usize, Vec<usize>)>);

impl Closure {
    fn any(&self, wanted: usize) -> bool {
        self.0.iter().any(|(position, _)| *position == wanted)
    }
}

#[cfg(test)]
impl Ways {
    /// As eBPF walks them.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Option<super::Span>> {
        let column = |at: usize| usize::from(self.columns[usize::from(text[at])]);
        let next = |walk: &Walk, cell: u32, at: usize| walk.cells[(cell & 0xffff) as usize + column(at)];
        let (mut cell, mut from) = (self.starts.first[1], text.len());
        for at in (0..=text.len()).rev() {
            if cell & if at == 0 { 1 << 17 } else { 1 << 16 } != 0 {
                from = at;
            }
            if at > 0 {
                cell = next(&self.starts, cell, at - 1);
            }
        }
        let (mut cell, mut to) = (self.longest.first[usize::from(from == 0)], from);
        for at in from..=text.len() {
            if cell & if at == text.len() { 1 << 17 } else { 1 << 16 } != 0 {
                to = at;
            }
            if cell & 0xffff == NOTHING || at == text.len() {
                break;
            }
            cell = next(&self.longest, cell, at);
        }
        let mut kept = alloc::vec![0; text.len() + 1];
        let mut cell = self.ways.first[usize::from(to == text.len())];
        kept[to] = cell >> 16;
        for at in (from..to).rev() {
            cell = next(&self.ways, cell, at);
            kept[at] = cell >> 16;
        }
        let mut found = alloc::vec![Some((from, to))];
        for group in &self.groups {
            let (mut begin, mut end) = (None, None);
            let mut row = if from == 0 { self.states } else { 0 };
            for (at, state) in kept.iter().enumerate().take(to + 1).skip(from) {
                let cell = group[(row + state) as usize];
                if cell & 1 << 16 != 0 {
                    begin = Some(at);
                }
                if cell & 1 << 17 != 0 {
                    end = Some(at);
                }
                row = cell & 0xffff;
            }
            found.push(begin.zip(end));
        }
        found
    }
}
