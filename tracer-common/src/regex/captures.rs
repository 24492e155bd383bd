//! Where the groups of a pattern are, in a string in which it is found.
//!
//! What is found begins as far to the left as it can, and is then as long as it can be. Where that leaves a choice, what comes first
//! counts: the first branch, the repetition that takes more. (SystemTap 5.6 agrees but for repetitions that could be empty:
//! it has `(a*)(ab)*(b*)` take "aa", "ab" and "bb" from "aaabbb", not "aaa", "" and "bbb".)
//!
//! **Not here:** whether anything is found, which the automaton tells sooner.

use super::nfa::{Nfa, Position};
use super::{Mistake, nfa, parse};
use alloc::vec::Vec;

/// Where something begins and ends.
pub type Span = (usize, usize);

/// The groups of a pattern in a text, which ends at its first NUL: the whole first, `None` for a group that takes no part. `None` when
/// the pattern is not found.
pub fn captures(pattern: &[u8], text: &[u8]) -> Result<Option<Vec<Option<Span>>>, Mistake> {
    let (tree, groups) = parse::parse(pattern)?;
    let nfa = nfa::build_with_groups(&tree, pattern.len())?;
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let found = (0..=text.len()).find_map(|from| {
        let to = walk(&nfa, text, from, None, groups)?.1;
        walk(&nfa, text, from, Some(to), groups)
    });
    Ok(found.map(|(marks, _)| marks.chunks_exact(2).map(|pair| Some((pair[0]?, pair[1]?))).collect()))
}

/// How many groups a pattern has.
pub fn groups(pattern: &[u8]) -> Result<usize, Mistake> {
    parse::parse(pattern).map(|(_, groups)| groups)
}

type Marks = Vec<Option<usize>>;

/// Walks all ways at once, the preferred first. Without `wanted`, the longest that is found; with it, the preferred way to that end.
fn walk(nfa: &Nfa, text: &[u8], from: usize, wanted: Option<usize>, groups: usize) -> Option<(Marks, usize)> {
    let mut best = None;
    let mut ways = alloc::vec![(nfa.first, alloc::vec![None; 2 * (groups + 1)])];
    for at in from..=text.len() {
        let mut seen = alloc::vec![false; nfa.positions.len()];
        let mut next = Vec::new();
        // Depth first, so that what is preferred comes first.
        ways.reverse();
        while let Some((position, mut marks)) = ways.pop() {
            if core::mem::replace(&mut seen[position], true) {
                continue;
            }
            match nfa.positions[position] {
                Position::Take(bytes, to) => {
                    if text.get(at).is_some_and(|byte| bytes.has(*byte)) {
                        next.push((to, marks));
                    }
                }
                Position::Both(first, second) => {
                    ways.push((second, marks.clone()));
                    ways.push((first, marks));
                }
                Position::Mark(mark, to) => {
                    marks[mark] = Some(at);
                    ways.push((to, marks));
                }
                Position::Start(to) if at == 0 => ways.push((to, marks)),
                Position::End(to) if at == text.len() => ways.push((to, marks)),
                Position::Start(_) | Position::End(_) => {}
                Position::Found => {
                    if wanted.is_none_or(|wanted| wanted == at) {
                        (marks[0], marks[1]) = (Some(from), Some(at));
                        best = Some((marks, at));
                        if wanted.is_some() {
                            return best;
                        }
                    }
                }
            }
        }
        if next.is_empty() {
            break;
        }
        ways = next;
    }
    best
}
