//! `foreach` in a kernel handler: whether it runs at the hit, or moves to the user domain.
//!
//! It moves when it only prints: visiting an array costs the traced program time. It runs at the hit when the handler
//! goes on with what it found (locals, `next`, `return`), when it changes globals, when the handler then changes what it
//! reads (`foreach (k in a) …; delete a`), and in functions, of which nobody knows what they are called for.
//! What runs at the hit holds the array's lock ([`visited`]), and whoever removes elements takes it too.
//!
//! **Not here:** how the kernel visits an array (`tracer_ebpf`), what moving means (`late`).

use std::collections::BTreeSet;

use crate::diagnostics::{Code, Diagnostic};
use crate::lower::body::{Body, is_used_outside};
use crate::lower::usage::Touches;
use crate::lower::{Abilities, late};
use crate::sema::program::{
    ExprKind, Foreach, FunctionId, GlobalTy, Iterated, Place, Program, SortBy, Stmt, StmtKind,
};
use crate::sema::walk;
use crate::source::Span;

/// Whose body a `foreach` stands in.
#[derive(Clone, Copy)]
pub(super) enum Owner<'p> {
    /// A handler.
    Handler(&'p [Stmt]),
    /// A function of the script or the library.
    Function,
}

/// Whether eBPF can visit what a `foreach` visits, in the order that it asks for.
pub(super) fn can_be_made(program: &Program, abilities: Abilities, foreach: &Foreach) -> bool {
    let global = match &foreach.over {
        Iterated::Array { global, .. } => global,
        // Bucket after bucket: there is no order but theirs.
        Iterated::Hist { .. } => return abilities.reads_statistics && foreach.sort.is_none(),
    };
    let global = &program.globals[global.0 as usize];
    let numbers = abilities.reads_statistics;
    let sorted = match (foreach.sort, &global.ty) {
        (None, GlobalTy::Value(_)) => true,
        // When an element of a statistic was inserted, each CPU knows for itself.
        (None, GlobalTy::Stats(_)) => abilities.reads_statistics,
        (Some((SortBy::Key(_), _)), _) | (Some((SortBy::Value, _)), GlobalTy::Value(_)) => true,
        (Some((SortBy::Value, _)), GlobalTy::Stats(_)) => numbers,
        (Some((SortBy::Stat(_), _)), _) => numbers,
    };
    abilities.visits_arrays && sorted
}

/// Whether a `foreach` of a kernel handler runs at the hit.
pub(super) fn at_the_hit(program: &Program, abilities: Abilities, owner: Owner<'_>, stmt: &Stmt) -> bool {
    if !late::runs(program, abilities, stmt) {
        return false;
    }
    let Owner::Handler(body) = owner else { return true };
    decides(body, stmt).is_some() || keeps_a_key(body, stmt) || {
        let inside = Touches::of(program, std::slice::from_ref(stmt));
        let mut later = Vec::new();
        after(body, stmt, &mut later);
        inside.changes() || later.iter().any(|part| inside.reads_what_changes(&Touches::of(program, part)))
    }
}

/// The arrays that are visited at the hit, by a handler or what it calls.
pub(super) fn visited(program: &Program, abilities: Abilities, body: &[Stmt]) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut work = vec![(Owner::Handler(body), body)];
    while let Some((owner, body)) = work.pop() {
        walk::stmts(body, &mut |stmt| {
            if let StmtKind::Foreach(foreach) = &stmt.kind
                && let Iterated::Array { global, .. } = &foreach.over
                && at_the_hit(program, abilities, owner, stmt)
            {
                found.insert(global.0);
            }
        });
        walk::exprs(body, &mut |e| {
            if let ExprKind::Call { function: FunctionId(n), .. } = &e.kind
                && seen.insert(*n)
            {
                work.push((Owner::Function, &program.functions[*n as usize].body));
            }
        });
    }
    found
}

/// Collects what a handler may still run after a statement; whether that was found.
fn after<'p>(body: &'p [Stmt], wanted: &Stmt, later: &mut Vec<&'p [Stmt]>) -> bool {
    for (n, stmt) in body.iter().enumerate() {
        let found = std::ptr::eq(stmt, wanted)
            || match &stmt.kind {
                StmtKind::Block(inner) => after(inner, wanted, later),
                StmtKind::If { then, otherwise, .. } => {
                    after(then, wanted, later) || after(otherwise, wanted, later)
                }
                StmtKind::Loop { body: inner, .. } => again(stmt, inner, wanted, later),
                StmtKind::Foreach(foreach) => again(stmt, &foreach.body, wanted, later),
                StmtKind::Try { body: inner, handler, .. } => {
                    let in_body = after(inner, wanted, later);
                    if in_body {
                        later.push(handler);
                    }
                    in_body || after(handler, wanted, later)
                }
                StmtKind::Expr(_)
                | StmtKind::Return(_)
                | StmtKind::Next
                | StmtKind::Break
                | StmtKind::Continue
                | StmtKind::Clear(_)
                | StmtKind::Delete { .. } => false,
            };
        if found {
            later.push(&body[n + 1..]);
            return true;
        }
    }
    false
}

/// The same in a loop, which may run again as a whole.
fn again<'p>(round: &'p Stmt, body: &'p [Stmt], wanted: &Stmt, later: &mut Vec<&'p [Stmt]>) -> bool {
    let found = after(body, wanted, later);
    if found {
        later.push(std::slice::from_ref(round));
    }
    found
}

/// Whether a variable of a loop is used beside it: it keeps the last key.
fn keeps_a_key(body: &[Stmt], stmt: &Stmt) -> bool {
    let StmtKind::Foreach(foreach) = &stmt.kind else { return false };
    foreach.keys.iter().chain(&foreach.value).any(|local| is_used_outside(body, *local, stmt))
}

/// What a statement decides for the code after it, if anything.
fn decides(body: &[Stmt], stmt: &Stmt) -> Option<(Span, String)> {
    let mut problem = None;
    let mut loops = Vec::new();
    walk::stmts(std::slice::from_ref(stmt), &mut |inner| {
        let why = match &inner.kind {
            StmtKind::Return(_) => Some("returns from"),
            StmtKind::Next => Some("leaves"),
            _ => None,
        };
        if let Some(why) = why {
            problem.get_or_insert((inner.span, format!("this statement {why} the handler")));
        }
        if let StmtKind::Foreach(foreach) = &inner.kind {
            loops.extend(foreach.keys.iter().copied());
            loops.extend(foreach.value);
        }
    });
    walk::exprs(std::slice::from_ref(stmt), &mut |e| {
        if let ExprKind::Assign { place: Place::Local(local), .. }
        | ExprKind::Modify { place: Place::Local(local), .. }
        | ExprKind::Append { place: Place::Local(local), .. }
        | ExprKind::Crement { place: Place::Local(local), .. } = &e.kind
            && is_used_outside(body, *local, stmt)
            && !loops.contains(local)
        {
            problem.get_or_insert((e.span, "this assignment is read after it by the handler".into()));
        }
    });
    problem
}

/// Why a statement cannot move: what moves must not decide anything for the code after it.
pub(super) fn cannot_move(body: &Body<'_, '_>, stmt: &Stmt) -> Option<Diagnostic> {
    let (span, why) = decides(body.body(), stmt)?;
    let (program, abilities) = (body.lower.program, body.lower.abilities);
    let message = "this statement cannot run in a kernel-domain handler";
    let diagnostic = Diagnostic::error(Code::Unsupported, stmt.span, message).label(span, why);
    let hint = match &stmt.kind {
        StmtKind::Foreach(_) if !abilities.visits_arrays => {
            "Linux 6.9 and newer let a handler visit an array; here, print inside the loop only, or do this in a timer or end probe"
        }
        StmtKind::Foreach(foreach) if !can_be_made(program, abilities, foreach) => match &foreach.over {
            Iterated::Array { .. } => {
                "this kernel lets no handler read statistics of other processors; do this in a timer or end probe"
            }
            Iterated::Hist { .. } => {
                "buckets can be visited in their own order; else do this in a timer or end probe"
            }
        },
        _ => {
            "something in it is not to be had in eBPF: print inside the loop only, or do this in a timer or end probe"
        }
    };
    Some(diagnostic.hint(hint))
}
