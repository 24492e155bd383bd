//! Trees to automata that may be in several positions at once.
//!
//! **Not here:** one state instead of several positions (`dfa`).

use super::parse::{Bytes, Tree};
use super::{MAX_POSITIONS, Mistake};
use alloc::vec::Vec;

/// One position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Position {
    /// To the next one over a byte.
    Take(Bytes, usize),
    /// To both at once.
    Both(usize, usize),
    /// On, at the beginning of the string only.
    Start(usize),
    /// On, at the end of the string only.
    End(usize),
    /// On; where a group begins (even numbers) or ends is here.
    Mark(usize, usize),
    /// The pattern is found.
    Found,
}

/// Positions; the search starts at `first`.
pub(super) struct Nfa {
    pub(super) positions: Vec<Position>,
    pub(super) first: usize,
}

/// `end` is where a pattern that is too large is said to be.
pub(super) fn build(tree: &Tree, end: usize) -> Result<Nfa, Mistake> {
    Builder { positions: alloc::vec![Position::Found], end, marks: false }.finish(tree)
}

/// As [`build`], with positions that tell where groups are.
pub(super) fn build_with_groups(tree: &Tree, end: usize) -> Result<Nfa, Mistake> {
    Builder { positions: alloc::vec![Position::Found], end, marks: true }.finish(tree)
}

struct Builder {
    positions: Vec<Position>,
    end: usize,
    marks: bool,
}

impl Builder {
    fn finish(mut self, tree: &Tree) -> Result<Nfa, Mistake> {
        let first = self.before(tree, 0)?;
        Ok(Nfa { positions: self.positions, first })
    }

    fn push(&mut self, position: Position) -> Result<usize, Mistake> {
        if self.positions.len() >= MAX_POSITIONS {
            return Err(Mistake { at: self.end, what: "the pattern is too large" });
        }
        self.positions.push(position);
        Ok(self.positions.len() - 1)
    }

    /// The position from which a tree leads to `next`.
    fn before(&mut self, tree: &Tree, next: usize) -> Result<usize, Mistake> {
        match tree {
            Tree::Empty => Ok(next),
            Tree::Bytes(bytes) => self.push(Position::Take(*bytes, next)),
            Tree::Start => self.push(Position::Start(next)),
            Tree::End => self.push(Position::End(next)),
            Tree::Group(inner, number) if self.marks => {
                let close = self.push(Position::Mark(2 * number + 1, next))?;
                let inside = self.before(inner, close)?;
                self.push(Position::Mark(2 * number, inside))
            }
            Tree::Group(inner, _) => self.before(inner, next),
            Tree::Sequence(parts) => {
                let mut next = next;
                for part in parts.iter().rev() {
                    next = self.before(part, next)?;
                }
                Ok(next)
            }
            Tree::Either(branches) => {
                let mut all = None;
                for branch in branches.iter().rev() {
                    let one = self.before(branch, next)?;
                    all = Some(match all {
                        None => one,
                        Some(others) => self.push(Position::Both(one, others))?,
                    });
                }
                Ok(all.unwrap_or(next))
            }
            Tree::Repeat(inner, least, most) => {
                let mut next = next;
                match most {
                    None => {
                        let again = self.push(Position::Both(next, next))?;
                        let inside = self.before(inner, again)?;
                        self.positions[again] = Position::Both(inside, next);
                        next = again;
                    }
                    Some(most) => {
                        let after = next;
                        for _ in *least..*most {
                            let inside = self.before(inner, next)?;
                            next = self.push(Position::Both(inside, after))?;
                        }
                    }
                }
                for _ in 0..*least {
                    next = self.before(inner, next)?;
                }
                Ok(next)
            }
        }
    }
}
