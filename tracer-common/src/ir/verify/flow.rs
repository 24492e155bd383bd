//! Control flow: catch chains, iterators, the call graph.

use super::*;
use alloc::vec;

/// Most iterators of a function.
const MAX_ITERS: u32 = 1024;

impl Verifier<'_> {
    pub(super) fn flow(&mut self, id: FuncId, function: &Function) {
        self.catches(id, function);
        self.at = Location::Function(id);
        if function.iters > MAX_ITERS {
            return self.fail(format!("{} iterators are more than {MAX_ITERS}", function.iters));
        }
        for iter in 0..function.iters {
            self.iterator(id, function, Iter(iter));
        }
    }

    /// No chain of catch blocks is a circle; `caught` stands in catch blocks.
    fn catches(&mut self, id: FuncId, function: &Function) {
        let blocks = &function.blocks;
        let mut catches = vec![false; blocks.len()];
        // The walk that last came by; a walk ends where an earlier one was, so that all walks together are linear.
        let mut seen = vec![usize::MAX; blocks.len()];
        for start in 0..blocks.len() {
            let mut at = start;
            while let Some(catch) = blocks[at].catch {
                if seen[at] != usize::MAX {
                    if seen[at] == start {
                        self.at = Location::Block(id, Block(at as u32));
                        self.fail("the catch blocks form a circle");
                    }
                    break;
                }
                seen[at] = start;
                if catch.index() >= blocks.len() {
                    break;
                }
                at = catch.index();
                catches[at] = true;
            }
        }
        for (number, block) in blocks.iter().enumerate() {
            for (index, (inst, _)) in block.insts.iter().enumerate() {
                if matches!(inst, Inst::Caught { .. }) && !catches[number] {
                    self.at = Location::Inst(id, Block(number as u32), index as u32);
                    self.fail("no block names this one as its catch block");
                }
            }
        }
    }

    /// Every path to a use of the iterator starts it.
    fn iterator(&mut self, id: FuncId, function: &Function, iter: Iter) {
        let blocks = &function.blocks;
        let mut seen = vec![false; blocks.len()];
        let mut pending = vec![Block(0)];
        while let Some(number) = pending.pop() {
            let Some(block) = blocks.get(number.index()) else { continue };
            if core::mem::replace(&mut seen[number.index()], true) {
                continue;
            }
            // An error may leave the block before the iterator is started.
            pending.extend(block.catch);
            let starts = block.insts.iter().any(|(inst, _)| {
                matches!(inst, Inst::Iterate { iter: i, .. } | Inst::IterateHist { iter: i, .. } if *i == iter)
            });
            if starts {
                continue;
            }
            if matches!(block.term.0, Term::IterNext { iter: i, .. } if i == iter) {
                self.at = Location::Inst(id, number, block.insts.len() as u32);
                self.fail(format!("{iter} is not started on every path to here"));
            }
            pending.extend(block.term.0.successors());
        }
    }

    /// Kernel functions call no circle of functions.
    pub(super) fn calls(&mut self) {
        let kernel = |id: FuncId| {
            self.module.functions.get(id.index()).is_some_and(|function| function.domain == Domain::Kernel)
        };
        let roots = (0..self.module.functions.len() as u32).map(FuncId).filter(|id| kernel(*id));
        if let Err(cycle) = call_order(self.module, roots) {
            self.at = Location::Function(cycle[0]);
            self.fail(format!("kernel functions call a circle: {}", cycle_text(self.module, &cycle)));
        }
    }
}

/// The functions that the roots call, the roots included: callees before callers, each once. `Err` is a circle of
/// calls, from a function back to itself.
pub(crate) fn call_order(
    module: &Module,
    roots: impl Iterator<Item = FuncId>,
) -> Result<Vec<FuncId>, Vec<FuncId>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; module.functions.len()];
    let mut order = Vec::new();
    // Functions that are open, with the callees still to visit.
    let mut stack: Vec<(FuncId, Vec<FuncId>)> = Vec::new();
    for root in roots {
        if states.get(root.index()) == Some(&State::New) {
            states[root.index()] = State::Open;
            stack.push((root, callees(&module.functions[root.index()])));
        }
        while let Some((function, pending)) = stack.last_mut() {
            let Some(callee) = pending.pop() else {
                states[function.index()] = State::Done;
                order.push(*function);
                stack.pop();
                continue;
            };
            match states.get(callee.index()) {
                Some(State::New) => {
                    states[callee.index()] = State::Open;
                    stack.push((callee, callees(&module.functions[callee.index()])));
                }
                Some(State::Open) => {
                    let from = stack.iter().position(|(open, _)| *open == callee).unwrap_or(0);
                    let mut cycle: Vec<FuncId> = stack[from..].iter().map(|(open, _)| *open).collect();
                    cycle.push(callee);
                    return Err(cycle);
                }
                Some(State::Done) | None => {}
            }
        }
    }
    Ok(order)
}

/// `f1 (a) -> f2 (b) -> f1 (a)`
pub(crate) fn cycle_text(module: &Module, cycle: &[FuncId]) -> String {
    let mut text = String::new();
    for (n, id) in cycle.iter().enumerate() {
        let arrow = if n > 0 { " -> " } else { "" };
        text.push_str(&format!("{arrow}{id} ({})", module.functions[id.index()].name));
    }
    text
}

fn callees(function: &Function) -> Vec<FuncId> {
    let mut callees: Vec<FuncId> = function
        .blocks
        .iter()
        .flat_map(|block| &block.insts)
        .filter_map(|(inst, _)| match inst {
            Inst::CallFunction { function, .. } => Some(*function),
            _ => None,
        })
        .collect();
    callees.sort_unstable();
    callees.dedup();
    // The first is visited first.
    callees.reverse();
    callees
}
