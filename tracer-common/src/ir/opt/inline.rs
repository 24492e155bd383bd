//! Puts the bodies of callees where they are called.
//!
//! A call splits its block: the first half copies the arguments into the callee's parameters, clears what the callee
//! reads before it writes (registers start as 0 and "" on each call), and jumps to the callee's blocks; these return
//! to the second half. Callee's blocks without a catch block get that of the call; places stay the callee's.
//! The callee's locks become locks of the caller.

use super::liveness::Liveness;
use super::*;
use crate::ir::parse::MAX_REGISTERS;

/// Inlines all calls of a function; what it calls must have no calls left.
pub(super) fn inline(module: &mut Module, id: FuncId) -> Result<(), OptError> {
    let calls =
        |block: &BlockData| block.insts.iter().any(|(inst, _)| matches!(inst, Inst::CallFunction { .. }));
    if !module.functions[id.index()].blocks.iter().any(calls) {
        return Ok(());
    }
    let empty = match module.strings.iter().position(Vec::is_empty) {
        Some(index) => StringId(index as u32),
        None => {
            module.strings.push(Vec::new());
            StringId(module.strings.len() as u32 - 1)
        }
    };
    let mut caller = module.functions[id.index()].clone();
    let too_large = || OptError::TooLarge { function: id, name: module.functions[id.index()].name.clone() };
    let mut size: usize = caller.blocks.iter().map(|block| block.insts.len() + 1).sum();
    let mut at = 0;
    while at < caller.blocks.len() {
        let call =
            caller.blocks[at].insts.iter().position(|(inst, _)| matches!(inst, Inst::CallFunction { .. }));
        if let Some(call) = call {
            let Inst::CallFunction { function, .. } = caller.blocks[at].insts[call].0 else { unreachable!() };
            let callee = &module.functions[function.index()];
            size += callee.blocks.iter().map(|block| block.insts.len() + 2).sum::<usize>();
            let registers = caller.longs.max(caller.strings.len() as u32)
                + callee.longs.max(callee.strings.len() as u32)
                + 1;
            if size > MAX_INSTS || registers > MAX_REGISTERS {
                return Err(too_large());
            }
            inline_call(&mut caller, at, call, callee, &module.strings, empty);
        }
        // The second half of a split block has come to the end of the list.
        at += 1;
    }
    module.functions[id.index()] = caller;
    Ok(())
}

fn inline_call(
    caller: &mut Function,
    at: usize,
    call: usize,
    callee: &Function,
    strings: &[Vec<u8>],
    empty: StringId,
) {
    let mut shift = Shift { longs: caller.longs, strings: caller.strings.len() as u32, iters: caller.iters };
    caller.longs += callee.longs;
    caller.strings.extend(&callee.strings);
    caller.iters += callee.iters;
    caller.locks.extend(&callee.locks);
    caller.locks.sort_unstable();
    caller.locks.dedup();
    let base = caller.blocks.len() as u32;
    let after = Block(base + callee.blocks.len() as u32);

    let block = &mut caller.blocks[at];
    let rest = block.insts.split_off(call + 1);
    let Some((Inst::CallFunction { dest, args, .. }, place)) = block.insts.pop() else { return };
    let term = core::mem::replace(&mut block.term, (Term::Jump(Block(base)), place));
    let catch = block.catch;
    for (param, arg) in callee.params.iter().zip(args) {
        block.insts.extend(copy(shift.dest(*param), arg).map(|inst| (inst, place)));
    }
    for register in Liveness::of(callee).at_entry(callee) {
        if !callee.params.contains(&register) {
            block.insts.push((clear(shift.dest(register), empty), place));
        }
    }

    for block in &callee.blocks {
        let mut insts = block.insts.clone();
        for (inst, _) in &mut insts {
            inst.visit_mut(&mut shift);
        }
        let (mut term, place) = block.term.clone();
        term.visit_mut(&mut shift);
        for_each_target(&mut term, |target| target.0 += base);
        if let Term::Return(value) = term {
            if let Some(dest) = dest {
                let result = ResultOf { ty: callee.result, value, empty };
                result.put(dest, caller, strings, |inst| insts.push((inst, place)));
            }
            term = Term::Jump(after);
        }
        let catch = block.catch.map(|own| Block(own.0 + base)).or(catch);
        caller.blocks.push(BlockData { catch, insts, term: (term, place) });
    }
    caller.blocks.push(BlockData { catch, insts: rest, term });
}

/// What a callee returns, in the caller's registers.
struct ResultOf {
    ty: Option<Ty>,
    value: Option<Arg>,
    empty: StringId,
}

impl ResultOf {
    fn put(self, dest: Dest, caller: &mut Function, strings: &[Vec<u8>], mut push: impl FnMut(Inst)) {
        let Some(value) = self.value else { return push(clear(dest, self.empty)) };
        if let (Dest::Str(var), Arg::Str(op), Some(Ty::Str(capacity))) = (dest, value, self.ty) {
            // Returning cuts to the capacity of the result, which may be less than both ends have.
            let held = capacity_of(&op, &caller.strings, strings);
            if held > usize::from(capacity) && caller.strings[var.index()] > capacity {
                let between = StrVar(caller.strings.len() as u32);
                caller.strings.push(capacity);
                push(Inst::StrCopy { dest: between, value: op });
                return push(Inst::StrCopy { dest: var, value: StrOp::Var(between) });
            }
        }
        copy(dest, value).into_iter().for_each(push);
    }
}

/// Bytes that a string operand can have, its NUL included.
pub(super) fn capacity_of(op: &StrOp, registers: &[u16], strings: &[Vec<u8>]) -> usize {
    match op {
        StrOp::Var(var) => registers.get(var.index()).copied().map_or(usize::MAX, usize::from),
        StrOp::Lit(id) => strings.get(id.index()).map_or(usize::MAX, |bytes| bytes.len() + 1),
    }
}

fn copy(dest: Dest, value: Arg) -> Option<Inst> {
    match (dest, value) {
        (Dest::Long(dest), Arg::Long(value)) => Some(Inst::Copy { dest, value }),
        (Dest::Str(dest), Arg::Str(value)) => Some(Inst::StrCopy { dest, value }),
        // The verifier refuses such calls.
        _ => None,
    }
}

fn clear(dest: Dest, empty: StringId) -> Inst {
    match dest {
        Dest::Long(dest) => Inst::Copy { dest, value: LongOp::Imm(0) },
        Dest::Str(dest) => Inst::StrCopy { dest, value: StrOp::Lit(empty) },
    }
}

/// Applies a change to each block that a term names.
pub(super) fn for_each_target(term: &mut Term, mut change: impl FnMut(&mut Block)) {
    match term {
        Term::Jump(to) => change(to),
        Term::Branch { then, otherwise, .. } => {
            change(then);
            change(otherwise);
        }
        Term::IterNext { body, done, .. } => {
            change(body);
            change(done);
        }
        Term::Return(_) | Term::Raise(_) | Term::Next => {}
    }
}

/// Moves a callee's registers behind the caller's.
struct Shift {
    longs: u32,
    strings: u32,
    iters: u32,
}

impl Shift {
    fn dest(&self, dest: Dest) -> Dest {
        match dest {
            Dest::Long(var) => Dest::Long(Var(var.0 + self.longs)),
            Dest::Str(var) => Dest::Str(StrVar(var.0 + self.strings)),
        }
    }
}

impl VisitorMut for Shift {
    fn read_long(&mut self, op: &mut LongOp) {
        if let LongOp::Var(var) = op {
            var.0 += self.longs;
        }
    }
    fn read_str(&mut self, op: &mut StrOp) {
        if let StrOp::Var(var) = op {
            var.0 += self.strings;
        }
    }
    fn write_long(&mut self, var: &mut Var) {
        var.0 += self.longs;
    }
    fn write_str(&mut self, var: &mut StrVar) {
        var.0 += self.strings;
    }
    fn iter(&mut self, iter: &mut Iter) {
        iter.0 += self.iters;
    }
}
