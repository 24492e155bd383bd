//! The evaluator: runs IR of the user domain.
//!
//! Handlers, continuations and everything they call run here, on [`Globals`] and a [`Host`] that stands for the
//! machine. No stack limit; fuel instead: MAXACTION_INTERRUPTIBLE statements, and a bound on instructions.
//! Verified IR is a precondition: what the verifier rules out panics as a bug.
//!
//! Functions of the kernel domain run too, on a host that has a context and memory: tests compare this room with the
//! code that pass 4 makes of the same IR.
//!
//! Rooms, in reading order: this file (entry point, frames, control flow), `host`, `error`, `step` (instructions),
//! `intrinsic`, `string` (string functions), `quote`, `wide` (UTF-16 and UTF-32), `float`, `iterate` (foreach).

mod error;
mod float;
mod host;
mod intrinsic;
mod iterate;
mod quote;
mod step;
mod string;
mod symbol;
#[cfg(test)]
mod tests;
mod wide;

pub use error::RuntimeError;
pub use host::{Host, Kept};

use tracer_common::ir::{Arg, Block, Dest, Domain, FuncId, Function, GlobalId, Inst};
use tracer_common::ir::{LongOp, Module, PlaceId, StrOp, Term, Ty};
use tracer_common::manifest::Site;
use tracer_common::record::overflow_text;

use crate::run::globals::{GlobalError, Globals, empty};
use crate::run::value::Value;
use iterate::Iteration;

/// Instructions that a handler may run for each statement that it may run: a bound for what never ticks.
const FUEL: u64 = 1024;

/// Everything a handler can touch.
pub struct Evaluator<'e> {
    /// The code.
    pub module: &'e Module,
    /// Facts about sites.
    pub sites: &'e [Site],
    /// The globals.
    pub globals: &'e mut dyn Globals,
    /// The machine.
    pub host: &'e mut dyn Host,
    /// The site that was hit.
    pub site: u32,
    /// Strings that were cut to their capacity.
    pub truncated: u64,
    /// Statements that are left.
    actions: u64,
    /// Instructions that are left.
    fuel: u64,
}

/// One call: registers, and where it is.
struct Frame<'e> {
    function: &'e Function,
    block: Block,
    /// The instruction that comes next.
    next: usize,
    longs: Vec<i64>,
    strings: Vec<Vec<u8>>,
    iters: Vec<Iteration>,
    caught: Vec<u8>,
}

/// What a call does after a run of instructions.
enum Flow {
    /// Goes on in another block.
    Goto(Block),
    /// Calls a function.
    Call(FuncId, Vec<Value>),
    /// Ends.
    Return(Option<Value>),
    /// `next`: the whole handler ends.
    Next,
}

impl<'e> Evaluator<'e> {
    /// An evaluator at a site.
    pub fn new(
        module: &'e Module,
        sites: &'e [Site],
        globals: &'e mut dyn Globals,
        host: &'e mut dyn Host,
        site: u32,
    ) -> Evaluator<'e> {
        Evaluator { module, sites, globals, host, site, truncated: 0, actions: 0, fuel: 0 }
    }

    /// Runs a handler or a continuation, with one value for each of its parameters.
    pub fn run(&mut self, function: FuncId, args: &[Value]) -> Result<(), RuntimeError> {
        let limits = &self.module.limits;
        self.actions = u64::from(match self.module.functions[function.index()].domain {
            Domain::Kernel => limits.action,
            Domain::User => limits.action_interruptible,
        });
        self.fuel = (self.actions + 1) * FUEL;
        // Calls are kept here and not on this process's own stack, so that no recursion of a script can exhaust it.
        let mut calls = vec![self.frame(function, args)];
        while let Some(frame) = calls.last_mut() {
            match self.advance(frame) {
                Ok(Flow::Goto(block)) => frame.goto(block),
                Ok(Flow::Call(function, args)) => {
                    let place = frame.place();
                    if calls.len() > self.module.limits.nesting as usize {
                        unwind(&mut calls, RuntimeError::new("MAXNESTING exceeded", place))?;
                    } else {
                        calls.push(self.frame(function, &args));
                    }
                }
                Ok(Flow::Return(value)) => {
                    let result = frame.function.result;
                    calls.pop();
                    if let (Some(caller), Some(ty)) = (calls.last_mut(), result) {
                        self.returned(caller, value, ty);
                    }
                }
                Ok(Flow::Next) => return Ok(()),
                Err(error) => unwind(&mut calls, error)?,
            }
        }
        Ok(())
    }

    fn frame(&mut self, function: FuncId, args: &[Value]) -> Frame<'e> {
        let function = &self.module.functions[function.index()];
        let mut frame = Frame {
            function,
            block: Block(0),
            next: 0,
            longs: vec![0; function.longs as usize],
            strings: vec![Vec::new(); function.strings.len()],
            iters: (0..function.iters).map(|_| Iteration::default()).collect(),
            caught: Vec::new(),
        };
        for (dest, value) in function.params.iter().zip(args) {
            self.store(&mut frame, *dest, value.clone());
        }
        frame
    }

    /// Runs a call up to the end of its block, or to a call of another function.
    fn advance(&mut self, frame: &mut Frame<'e>) -> Result<Flow, RuntimeError> {
        let data = &frame.function.blocks[frame.block.index()];
        while let Some((inst, place)) = data.insts.get(frame.next) {
            frame.next += 1;
            self.burn(*place)?;
            if let Inst::CallFunction { function, args, .. } = inst {
                return Ok(Flow::Call(*function, args.iter().map(|arg| self.arg(frame, *arg)).collect()));
            }
            self.step(frame, inst, *place)?;
        }
        let (term, place) = &data.term;
        self.burn(*place)?;
        Ok(match term {
            Term::Jump(to) => Flow::Goto(*to),
            Term::Branch { condition, then, otherwise } => {
                Flow::Goto(if self.long(frame, *condition) != 0 { *then } else { *otherwise })
            }
            Term::Return(value) => Flow::Return(value.map(|value| self.arg(frame, value))),
            Term::Raise(message) => return Err(RuntimeError::new(self.string(frame, *message), *place)),
            Term::Next => Flow::Next,
            Term::IterNext { iter, keys, value, body, done } => {
                let Some((row_keys, row_value)) = frame.iters[iter.index()].next() else {
                    return Ok(Flow::Goto(*done));
                };
                for (dest, key) in keys.iter().zip(row_keys) {
                    self.store(frame, *dest, key);
                }
                if let Some(dest) = value {
                    self.store(frame, *dest, row_value);
                }
                Flow::Goto(*body)
            }
        })
    }

    /// Puts a function's result where its caller wants it.
    fn returned(&mut self, caller: &mut Frame<'e>, value: Option<Value>, ty: Ty) {
        if let Some((Inst::CallFunction { dest: Some(dest), .. }, _)) = caller.last() {
            let value = value.unwrap_or_else(|| empty(ty));
            let value = self.fit(value, ty);
            self.store(caller, *dest, value);
        }
    }

    /// Counts an instruction.
    fn burn(&mut self, place: PlaceId) -> Result<(), RuntimeError> {
        match self.fuel.checked_sub(1) {
            Some(left) => {
                self.fuel = left;
                Ok(())
            }
            None => Err(RuntimeError::out_of_actions(place)),
        }
    }

    fn long(&self, frame: &Frame<'_>, op: LongOp) -> i64 {
        match op {
            LongOp::Var(var) => frame.longs[var.index()],
            LongOp::Imm(value) => value,
        }
    }

    fn string(&self, frame: &Frame<'_>, op: StrOp) -> Vec<u8> {
        match op {
            StrOp::Var(var) => frame.strings[var.index()].clone(),
            StrOp::Lit(id) => self.module.strings[id.index()].clone(),
        }
    }

    fn arg(&self, frame: &Frame<'_>, arg: Arg) -> Value {
        match arg {
            Arg::Long(op) => Value::Long(self.long(frame, op)),
            Arg::Str(op) => Value::Str(self.string(frame, op)),
        }
    }

    /// Writes a register; strings are cut to its capacity.
    fn store(&mut self, frame: &mut Frame<'_>, dest: Dest, value: Value) {
        match (dest, value) {
            (Dest::Long(var), Value::Long(value)) => frame.longs[var.index()] = value,
            (Dest::Str(var), value @ Value::Str(_)) => {
                if let Value::Str(bytes) = self.fit(value, Ty::Str(frame.function.strings[var.index()])) {
                    frame.strings[var.index()] = bytes;
                }
            }
            (dest, value) => panic!("this is a bug: {value:?} into {dest} (ir::verify)"),
        }
    }

    /// A string as a place of a capacity holds it: up to its first NUL, cut, and the cut counted.
    fn fit(&mut self, value: Value, ty: Ty) -> Value {
        match (value, ty) {
            (Value::Str(mut bytes), Ty::Str(capacity)) => {
                if let Some(nul) = bytes.iter().position(|byte| *byte == 0) {
                    bytes.truncate(nul);
                }
                let room = usize::from(capacity).saturating_sub(1);
                if bytes.len() > room {
                    bytes.truncate(room);
                    self.truncated += 1;
                }
                Value::Str(bytes)
            }
            (value, _) => value,
        }
    }

    fn global_error(&self, error: GlobalError, global: GlobalId, place: PlaceId) -> RuntimeError {
        let message = match error {
            GlobalError::Overflow => {
                let global = &self.module.globals[global.index()];
                overflow_text(global.max_entries, &self.module.limits)
            }
            GlobalError::Io(_) => error.to_string(),
        };
        RuntimeError::new(message, place)
    }
}

impl<'e> Frame<'e> {
    fn goto(&mut self, block: Block) {
        (self.block, self.next) = (block, 0);
    }

    /// The instruction that ran last.
    fn last(&self) -> Option<&'e (Inst, PlaceId)> {
        self.function.blocks[self.block.index()].insts.get(self.next.checked_sub(1)?)
    }

    /// Its place.
    fn place(&self) -> PlaceId {
        self.last().map_or(self.function.blocks[self.block.index()].term.1, |(_, place)| *place)
    }
}

/// Leaves calls until one catches the error; `Err` when none does.
fn unwind(calls: &mut Vec<Frame<'_>>, mut error: RuntimeError) -> Result<(), RuntimeError> {
    while let Some(frame) = calls.last_mut() {
        if let Some(catch) = frame.function.blocks[frame.block.index()].catch
            && error.can_be_caught
        {
            frame.caught = error.message;
            frame.goto(catch);
            return Ok(());
        }
        calls.pop();
        if let Some(caller) = calls.last() {
            error.calls.push(caller.place());
        }
    }
    Err(error)
}
