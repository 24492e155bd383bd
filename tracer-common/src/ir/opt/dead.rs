//! Removes instructions whose results nobody reads, and registers that no instruction names.
//!
//! On the way, `v5 = add …; v1 = copy v5` becomes `v1 = add …` where `v5` is not read again.

use super::liveness::{Liveness, Registers, effects};
use super::*;
use alloc::vec;

/// Removes what is dead; tells whether anything was.
pub(super) fn remove(function: &mut Function) -> bool {
    let liveness = Liveness::of(function);
    if !liveness.is_known() {
        return false;
    }
    let mut changed = false;
    for number in 0..function.blocks.len() {
        let mut live = liveness.after(function, number);
        let mut insts = core::mem::take(&mut function.blocks[number].insts);
        let mut kept = Vec::with_capacity(insts.len());
        while let Some((inst, place)) = insts.pop() {
            let (_, writes) = effects(&inst);
            let dead = is_removable(&inst) && !writes.iter().any(|register| live.contains(*register));
            if dead || copies_itself(&inst) {
                changed = true;
                continue;
            }
            if let Some((previous, _)) = insts.last_mut()
                && put_directly(previous, &inst, &live, &function.strings)
            {
                changed = true;
                continue;
            }
            liveness.step(&function.blocks[number], &inst, &mut live);
            kept.push((inst, place));
        }
        kept.reverse();
        function.blocks[number].insts = kept;
    }
    changed
}

/// Whether an instruction does nothing but write its results.
fn is_removable(inst: &Inst) -> bool {
    let quiet = match inst {
        Inst::Copy { .. }
        | Inst::Bin { .. }
        | Inst::Cmp { .. }
        | Inst::Extend { .. }
        | Inst::StrCopy { .. }
        | Inst::StrConcat { .. }
        | Inst::StrCmp { .. }
        | Inst::Context { .. }
        | Inst::Load { .. }
        | Inst::Site { .. }
        | Inst::SiteText { .. }
        | Inst::VarsText { .. }
        | Inst::Get { .. }
        | Inst::Contains { .. }
        | Inst::Stat { .. }
        | Inst::Caught { .. } => true,
        Inst::Call { intrinsic, .. } => !intrinsic.has_effect(),
        Inst::CallFunction { .. }
        | Inst::Set { .. }
        | Inst::Update { .. }
        | Inst::Delete { .. }
        | Inst::Clear { .. }
        | Inst::Aggregate { .. }
        | Inst::Bucket { .. }
        | Inst::PrintHist { .. }
        | Inst::HistText { .. }
        | Inst::Format { .. }
        | Inst::Print { .. }
        | Inst::Emit { .. }
        | Inst::Iterate { .. }
        | Inst::IterateHist { .. }
        | Inst::Enter
        | Inst::Tick { .. } => false,
    };
    quiet && !inst.can_raise()
}

fn copies_itself(inst: &Inst) -> bool {
    match inst {
        Inst::Copy { dest, value } => *value == LongOp::Var(*dest),
        Inst::StrCopy { dest, value } => *value == StrOp::Var(*dest),
        _ => false,
    }
}

/// Lets the instruction before a copy write where the copy would; `live` is what is live after the copy.
fn put_directly(previous: &mut Inst, inst: &Inst, live: &Registers, capacities: &[u16]) -> bool {
    let (from, to) = match inst {
        Inst::Copy { dest, value: LongOp::Var(from) } => (Dest::Long(*from), Dest::Long(*dest)),
        Inst::StrCopy { dest, value: StrOp::Var(from) } => {
            // A copy between capacities may cut.
            if capacities.get(from.index()) != capacities.get(dest.index()) {
                return false;
            }
            (Dest::Str(*from), Dest::Str(*dest))
        }
        _ => return false,
    };
    let (reads, writes) = effects(previous);
    // An instruction that raises leaves its result unspecified, and a catch block may read the other register.
    if live.contains(from) || writes != [from] || previous.can_raise() {
        return false;
    }
    // Where the result is also an operand, only the forms `v1 = add v1, …` and `s1 = concat s1, …` are made.
    let appends = match (&*previous, to) {
        (Inst::Bin { left, right, .. }, Dest::Long(to)) => {
            *left == LongOp::Var(to) && *right != LongOp::Var(to)
        }
        (Inst::StrConcat { left, right, .. }, Dest::Str(to)) => {
            *left == StrOp::Var(to) && *right != StrOp::Var(to)
        }
        _ => false,
    };
    if reads.contains(&to) && !appends {
        return false;
    }
    previous.visit_mut(&mut Redirect(to));
    true
}

/// Makes an instruction write to another register.
struct Redirect(Dest);

impl VisitorMut for Redirect {
    fn write_long(&mut self, var: &mut Var) {
        if let Dest::Long(to) = self.0 {
            *var = to;
        }
    }
    fn write_str(&mut self, var: &mut StrVar) {
        if let Dest::Str(to) = self.0 {
            *var = to;
        }
    }
}

/// Gives the registers and iterators that are still named new numbers, without gaps, in the old order.
pub(super) fn compact(function: &mut Function) {
    let mut used = Used {
        longs: vec![false; function.longs as usize],
        strings: vec![false; function.strings.len()],
        iters: vec![false; function.iters as usize],
    };
    for param in &function.params {
        match param {
            Dest::Long(var) => used.write_long(var),
            Dest::Str(var) => used.write_str(var),
        }
    }
    for block in &function.blocks {
        block.insts.iter().for_each(|(inst, _)| inst.visit(&mut used));
        block.term.0.visit(&mut used);
    }
    let mut capacities = core::mem::take(&mut function.strings);
    let mut keep = used.strings.iter();
    capacities.retain(|_| keep.next().is_none_or(|used| *used));
    function.strings = capacities;
    let mut renumber = Renumber {
        longs: numbers(&used.longs),
        strings: numbers(&used.strings),
        iters: numbers(&used.iters),
    };
    function.longs = count(&used.longs);
    function.iters = count(&used.iters);
    for param in &mut function.params {
        match param {
            Dest::Long(var) => renumber.write_long(var),
            Dest::Str(var) => renumber.write_str(var),
        }
    }
    for block in &mut function.blocks {
        block.insts.iter_mut().for_each(|(inst, _)| inst.visit_mut(&mut renumber));
        block.term.0.visit_mut(&mut renumber);
    }
}

fn count(used: &[bool]) -> u32 {
    used.iter().filter(|used| **used).count() as u32
}

/// The new number of each register.
fn numbers(used: &[bool]) -> Vec<u32> {
    let mut next = 0;
    used.iter()
        .map(|used| {
            let number = next;
            next += u32::from(*used);
            number
        })
        .collect()
}

/// Registers that are named.
struct Used {
    longs: Vec<bool>,
    strings: Vec<bool>,
    iters: Vec<bool>,
}

fn mark(used: &mut [bool], number: usize) {
    if let Some(used) = used.get_mut(number) {
        *used = true;
    }
}

impl Visitor for Used {
    fn read_long(&mut self, op: &LongOp) {
        if let LongOp::Var(var) = op {
            mark(&mut self.longs, var.index());
        }
    }
    fn read_str(&mut self, op: &StrOp) {
        if let StrOp::Var(var) = op {
            mark(&mut self.strings, var.index());
        }
    }
    fn write_long(&mut self, var: &Var) {
        mark(&mut self.longs, var.index());
    }
    fn write_str(&mut self, var: &StrVar) {
        mark(&mut self.strings, var.index());
    }
    fn iter(&mut self, iter: &Iter) {
        mark(&mut self.iters, iter.index());
    }
}

struct Renumber {
    longs: Vec<u32>,
    strings: Vec<u32>,
    iters: Vec<u32>,
}

fn renumbered(numbers: &[u32], number: &mut u32) {
    if let Some(new) = numbers.get(*number as usize) {
        *number = *new;
    }
}

impl VisitorMut for Renumber {
    fn read_long(&mut self, op: &mut LongOp) {
        if let LongOp::Var(var) = op {
            renumbered(&self.longs, &mut var.0);
        }
    }
    fn read_str(&mut self, op: &mut StrOp) {
        if let StrOp::Var(var) = op {
            renumbered(&self.strings, &mut var.0);
        }
    }
    fn write_long(&mut self, var: &mut Var) {
        renumbered(&self.longs, &mut var.0);
    }
    fn write_str(&mut self, var: &mut StrVar) {
        renumbered(&self.strings, &mut var.0);
    }
    fn iter(&mut self, iter: &mut Iter) {
        renumbered(&self.iters, &mut iter.0);
    }
}
