//! `=~` and `!~`: the automaton of the pattern as one loop over the bytes of the string.
//!
//! The state is a number and the loop has one head, whatever circles the automaton has: that is the shape of loop that
//! verifiers get through. The loop ends at the string's capacity at the latest.
//!
//! **Not here:** the automaton (`tracer_common::regex`).

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, BinOp, Block, CmpOp, Dest, Inst, LongOp, StrOp, Term, Var};
use tracer_common::regex::{Dfa, State};

use crate::lower::body::Body;
use crate::sema::program::Expr;

/// The registers and blocks of one search.
struct Search {
    state: Var,
    byte: LongOp,
    head: Block,
    yes: Block,
    no: Block,
}

impl<'p> Body<'_, 'p> {
    /// Whether a pattern occurs in a string.
    pub(super) fn search(
        &mut self,
        expr: &'p Expr,
        subject: &'p Expr,
        pattern: &[u8],
        negated: bool,
    ) -> LongOp {
        let text = self.string(subject);
        self.at(expr.span);
        let dfa = Dfa::new(pattern).expect("this is a bug: pass 2 lets only regular expressions through");
        if dfa.states[0].found {
            return LongOp::Imm(i64::from(!negated));
        }
        let capacity = i64::from(self.capacity(subject));
        let (dest, state, index) = (self.f.long(), self.f.long(), self.f.long());
        let head = self.f.block();
        let (inside, some, ended) = (self.f.block(), self.f.block(), self.f.block());
        let (yes, no, after) = (self.f.block(), self.f.block(), self.f.block());
        self.push(Inst::Copy { dest: state, value: LongOp::Imm(0) });
        self.push(Inst::Copy { dest: index, value: LongOp::Imm(0) });
        self.f.end(Term::Jump(head));

        self.f.switch_to(head);
        let within = self.compare(CmpOp::Lt, LongOp::Var(index), capacity);
        self.f.end(Term::Branch { condition: within, then: inside, otherwise: ended });

        self.f.switch_to(inside);
        let byte = self.byte_at(text, index);
        self.push(Inst::Bin { op: BinOp::Add, dest: index, left: LongOp::Var(index), right: LongOp::Imm(1) });
        let end = self.compare(CmpOp::Eq, byte, 0);
        self.f.end(Term::Branch { condition: end, then: ended, otherwise: some });

        let search = Search { state, byte, head, yes, no };
        self.f.switch_to(some);
        let states: Vec<usize> = (0..dfa.states.len()).filter(|n| !dfa.states[*n].found).collect();
        self.by_state(&dfa.states, &states, &search);
        self.f.switch_to(ended);
        self.by_end(&dfa.states, 0, &search);

        for (block, value) in [(yes, !negated), (no, negated)] {
            self.f.switch_to(block);
            self.push(Inst::Copy { dest, value: LongOp::Imm(i64::from(value)) });
            self.f.end(Term::Jump(after));
        }
        self.f.switch_to(after);
        LongOp::Var(dest)
    }

    fn byte_at(&mut self, text: StrOp, index: Var) -> LongOp {
        let args = vec![Arg::Str(text), Arg::Long(LongOp::Var(index))];
        self.make(|dest| Inst::Call { intrinsic: Intrinsic::Stringat, dest: Some(Dest::Long(dest)), args })
    }

    fn compare(&mut self, op: CmpOp, left: LongOp, right: i64) -> LongOp {
        self.make(|dest| Inst::Cmp { op, dest, left, right: LongOp::Imm(right) })
    }

    /// Ends the block: on to what the state does with the byte.
    fn by_state(&mut self, all: &[State], states: &[usize], search: &Search) {
        let [one] = states else {
            let (low, high) = states.split_at(states.len() / 2);
            let Some(first) = high.first() else { return self.f.end(Term::Jump(search.no)) };
            let (below, above) = (self.f.block(), self.f.block());
            let condition = self.compare(CmpOp::Lt, LongOp::Var(search.state), *first as i64);
            self.f.end(Term::Branch { condition, then: below, otherwise: above });
            self.f.switch_to(below);
            self.by_state(all, low, search);
            self.f.switch_to(above);
            return self.by_state(all, high, search);
        };
        // Every byte that a string can hold, with the place to go to: neighbours lead to different places.
        let mut targets: Vec<(u32, Block)> = Vec::new();
        let mut known: Vec<(u32, Block)> = Vec::new();
        let mut byte = 1;
        for range in &all[*one].ranges {
            if u32::from(range.from) > byte {
                targets.push((byte, search.no));
            }
            let to = if all[range.next as usize].found {
                search.yes
            } else if range.next as usize == *one {
                search.head
            } else if let Some((_, block)) = known.iter().find(|(next, _)| *next == range.next) {
                *block
            } else {
                let block = self.f.block();
                known.push((range.next, block));
                block
            };
            if targets.last().is_none_or(|(_, last)| *last != to) {
                targets.push((u32::from(range.from), to));
            }
            byte = u32::from(range.to) + 1;
        }
        if byte < 256 {
            targets.push((byte, search.no));
        }
        self.by_byte(&targets, search);
        for (next, block) in known {
            self.f.switch_to(block);
            self.push(Inst::Copy { dest: search.state, value: LongOp::Imm(i64::from(next)) });
            self.f.end(Term::Jump(search.head));
        }
    }

    /// Ends the block: to the last target that begins at or before the byte.
    fn by_byte(&mut self, targets: &[(u32, Block)], search: &Search) {
        let [(_, only)] = targets else {
            let (low, high) = targets.split_at(targets.len() / 2);
            let Some((first, _)) = high.first() else { return self.f.end(Term::Jump(search.no)) };
            let (below, above) = (self.f.block(), self.f.block());
            let condition = self.compare(CmpOp::Lt, search.byte, i64::from(*first));
            self.f.end(Term::Branch { condition, then: below, otherwise: above });
            self.f.switch_to(below);
            self.by_byte(low, search);
            self.f.switch_to(above);
            return self.by_byte(high, search);
        };
        self.f.end(Term::Jump(*only));
    }

    /// Ends the block: whether the string may end in the state; `first` is the number of the first of these states.
    fn by_end(&mut self, states: &[State], first: usize, search: &Search) {
        let Some(state) = states.first() else { return self.f.end(Term::Jump(search.no)) };
        if states.iter().all(|other| other.found_at_end == state.found_at_end) {
            let to = if state.found_at_end { search.yes } else { search.no };
            return self.f.end(Term::Jump(to));
        }
        let half = states.len() / 2;
        let (below, above) = (self.f.block(), self.f.block());
        let condition = self.compare(CmpOp::Lt, LongOp::Var(search.state), (first + half) as i64);
        self.f.end(Term::Branch { condition, then: below, otherwise: above });
        self.f.switch_to(below);
        self.by_end(&states[..half], first, search);
        self.f.switch_to(above);
        self.by_end(&states[half..], first + half, search);
    }
}
