//! Recursion in kernel code, where functions are put in line: a function that recurses is made once for each depth.
//!
//! A call beyond MAXNESTING raises, as everywhere. A function that calls itself at several places doubles with each
//! depth: it is made less deep, and the error says so.
//!
//! **Not here:** recursion in the user domain, which the evaluator counts.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::ir::Domain;

use crate::lower::body::Body;
use crate::sema::program::{Expr, ExprKind, FunctionId, Program};
use crate::sema::walk;

/// As many copies as there may be of one function.
const COPIES: u32 = 32;

/// Functions that lead to themselves.
pub(super) struct Recursion {
    /// Functions from which a circle is reached; how deep calls of them may be.
    deep: BTreeMap<u32, u32>,
}

impl Recursion {
    pub(super) fn new(program: &Program, nesting: u32) -> Recursion {
        let calls: Vec<Vec<u32>> = program
            .functions
            .iter()
            .map(|function| {
                let mut calls = Vec::new();
                walk::exprs(&function.body, &mut |e| {
                    if let ExprKind::Call { function, .. } = &e.kind {
                        calls.push(function.0);
                    }
                });
                calls
            })
            .collect();
        let reached = |from: u32| {
            let mut seen = BTreeSet::new();
            let mut work = calls[from as usize].clone();
            while let Some(next) = work.pop() {
                if seen.insert(next) {
                    work.extend(&calls[next as usize]);
                }
            }
            seen
        };
        let reach: Vec<BTreeSet<u32>> = (0..calls.len() as u32).map(reached).collect();
        let recurses = |n: u32| reach[n as usize].contains(&n);
        // The most places from which one function of a circle calls into the circle.
        let ways = |n: u32| {
            let circle = |other: &&u32| recurses(**other) && reach[**other as usize].contains(&n);
            calls[n as usize].iter().filter(circle).count() as u32
        };
        let mut deep = BTreeMap::new();
        for n in 0..calls.len() as u32 {
            let circle: Vec<u32> =
                reach[n as usize].iter().copied().chain([n]).filter(|other| recurses(*other)).collect();
            if circle.is_empty() {
                continue;
            }
            let most = circle.iter().map(|other| ways(*other)).max().unwrap_or(1);
            let levels = if most > 1 { COPIES.ilog(most) } else { nesting };
            deep.insert(n, levels.min(nesting));
        }
        Recursion { deep }
    }
}

impl<'p> Body<'_, 'p> {
    /// The depth of a call from here, 0 where nobody counts; `None` when it is too deep, and raises.
    pub(super) fn depth_of_call(&mut self, expr: &'p Expr, function: FunctionId) -> Option<u32> {
        let deepest = match self.lower.recursion.deep.get(&function.0) {
            Some(deepest) if self.domain == Domain::Kernel => *deepest,
            _ => return Some(0),
        };
        let depth = self.depth + 1;
        if depth <= deepest {
            return Some(depth);
        }
        let message = if deepest == self.lower.limits.nesting {
            "MAXNESTING exceeded".into()
        } else {
            let name = &self.lower.program.functions[function.0 as usize].name;
            format!("{name}() calls itself more than {deepest} deep, for which a kernel handler has no room")
        };
        self.at(expr.span);
        let message = tracer_common::ir::StrOp::Lit(self.lower.module.string(message.as_bytes()));
        self.f.end(tracer_common::ir::Term::Raise(message));
        let dead = self.f.block();
        self.f.switch_to(dead);
        None
    }
}
