//! The evaluator: runs user-domain IR.
//!
//! Handlers, continuations and everything they call run here, on [`Globals`] and a [`Host`] that stands for the
//! machine. No stack limit; fuel instead: MAXACTION_INTERRUPTIBLE statements, and a bound on instructions.
//! Verified IR is a precondition: what the verifier rules out panics as a bug.
//!
//! Rooms, in reading order: this file (entry point, frames, control flow), `step` (instructions), `string`
//! (string functions), `iterate` (foreach).

mod iterate;
mod step;
mod string;

use tracer_common::ir::{Arg, Block, Dest, FuncId, Inst, LongOp, Module, PlaceId, StrOp, Term};
use tracer_common::manifest::Site;
use tracer_common::record::{ErrorKind, error_text, near, overflow_text};

use crate::run::globals::{GlobalError, Globals};
use crate::run::output::sink::Sink;
use crate::run::value::Value;
use iterate::Iteration;

/// Instructions after which a handler that never ticks is ended too.
const FUEL: u64 = 1 << 32;

/// What the machine is to a user-domain handler.
pub trait Host {
    /// `pid()`: the tracer's own, in the user domain.
    fn pid(&mut self) -> i64;
    /// `tid()`.
    fn tid(&mut self) -> i64;
    /// `uid()`.
    fn uid(&mut self) -> i64;
    /// `gid()`.
    fn gid(&mut self) -> i64;
    /// `execname()`.
    fn execname(&mut self) -> Vec<u8>;
    /// `cpu()`.
    fn cpu(&mut self) -> i64;
    /// Nanoseconds of CLOCK_MONOTONIC.
    fn monotonic_ns(&mut self) -> i64;
    /// Nanoseconds since the epoch.
    fn realtime_ns(&mut self) -> i64;
    /// `target()`.
    fn target(&mut self) -> i64;
    /// `exit()`.
    fn exit(&mut self);
    /// Output.
    fn sink(&mut self) -> &mut dyn Sink;
}

/// An error that ended a handler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuntimeError {
    /// What went wrong: `division by 0`.
    pub message: String,
    /// Where; `error("…")` names no place.
    pub place: Option<PlaceId>,
}

impl RuntimeError {
    /// As SystemTap prints it: `division by 0 near operator '/' at t.stp:1:25`.
    pub fn text(&self, module: &Module) -> String {
        near(&self.message, self.place.and_then(|place| module.places.get(place.index())))
    }
}

/// The words for an error of the kernel side, with its argument.
pub fn kernel_error(module: &Module, kind: ErrorKind, argument: u64) -> String {
    error_text(module, kind, argument)
}

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
    actions: u64,
    fuel: u64,
    depth: u32,
}

/// How a function ended.
enum Ended {
    Returned(Option<Value>),
    /// `next`: the whole handler ends.
    Next,
}

/// Registers of one call.
struct Frame {
    longs: Vec<i64>,
    strings: Vec<Vec<u8>>,
    iters: Vec<Iteration>,
    caught: String,
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
        Evaluator { module, sites, globals, host, site, truncated: 0, actions: 0, fuel: FUEL, depth: 0 }
    }

    /// Runs a handler or a continuation.
    pub fn run(&mut self, function: FuncId, args: &[Value]) -> Result<(), RuntimeError> {
        self.actions = 0;
        self.fuel = FUEL;
        self.depth = 0;
        self.call(function, args).map(|_| ())
    }

    fn call(&mut self, id: FuncId, args: &[Value]) -> Result<Ended, RuntimeError> {
        let module = self.module;
        let function = &module.functions[id.index()];
        let mut frame = Frame {
            longs: vec![0; function.longs as usize],
            strings: vec![Vec::new(); function.strings.len()],
            iters: (0..function.iters).map(|_| Iteration::default()).collect(),
            caught: String::new(),
        };
        for (dest, value) in function.params.iter().zip(args) {
            self.store(&mut frame, &function.strings, *dest, value.clone());
        }
        let mut block = Block(0);
        loop {
            let data = &function.blocks[block.index()];
            match self.block(&mut frame, &function.strings, block, function) {
                Ok(Flow::Goto(next)) => block = next,
                Ok(Flow::End(ended)) => return Ok(ended),
                Err(error) => match data.catch {
                    Some(catch) => {
                        frame.caught = error.message;
                        block = catch;
                    }
                    None => return Err(error),
                },
            }
        }
    }

    fn block(
        &mut self,
        frame: &mut Frame,
        capacities: &[u16],
        block: Block,
        function: &tracer_common::ir::Function,
    ) -> Result<Flow, RuntimeError> {
        let data = &function.blocks[block.index()];
        for (inst, place) in &data.insts {
            self.fuel = self.fuel.saturating_sub(1);
            if self.fuel == 0 {
                return Err(self.error("MAXACTION exceeded", *place));
            }
            if let Inst::CallFunction { function, dest, args } = inst {
                if self.depth >= self.module.limits.nesting {
                    return Err(self.error("MAXNESTING exceeded", *place));
                }
                let args: Vec<Value> = args.iter().map(|arg| self.arg(frame, *arg)).collect();
                self.depth += 1;
                let ended = self.call(*function, &args);
                self.depth -= 1;
                match ended? {
                    Ended::Next => return Ok(Flow::End(Ended::Next)),
                    Ended::Returned(value) => {
                        if let (Some(dest), Some(value)) = (dest, value) {
                            self.store(frame, capacities, *dest, value);
                        }
                    }
                }
                continue;
            }
            self.step(frame, capacities, inst, *place)?;
        }
        let (term, _) = &data.term;
        Ok(match term {
            Term::Jump(to) => Flow::Goto(*to),
            Term::Branch { condition, then, otherwise } => {
                Flow::Goto(if self.long(frame, *condition) != 0 { *then } else { *otherwise })
            }
            Term::Return(value) => Flow::End(Ended::Returned(value.map(|value| self.arg(frame, value)))),
            Term::Raise(message) => {
                let message = String::from_utf8_lossy(&self.string(frame, *message)).into_owned();
                return Err(RuntimeError { message, place: None });
            }
            Term::Next => Flow::End(Ended::Next),
            Term::IterNext { iter, keys, value, body, done } => {
                let Some((row_keys, row_value)) = frame.iters[iter.index()].next() else {
                    return Ok(Flow::Goto(*done));
                };
                for (dest, key) in keys.iter().zip(row_keys) {
                    self.store(frame, capacities, *dest, key);
                }
                if let Some(dest) = value {
                    self.store(frame, capacities, *dest, row_value);
                }
                Flow::Goto(*body)
            }
        })
    }

    fn long(&self, frame: &Frame, op: LongOp) -> i64 {
        match op {
            LongOp::Var(var) => frame.longs[var.index()],
            LongOp::Imm(value) => value,
        }
    }

    fn string(&self, frame: &Frame, op: StrOp) -> Vec<u8> {
        match op {
            StrOp::Var(var) => frame.strings[var.index()].clone(),
            StrOp::Lit(id) => self.module.strings[id.index()].clone(),
        }
    }

    fn arg(&self, frame: &Frame, arg: Arg) -> Value {
        match arg {
            Arg::Long(op) => Value::Long(self.long(frame, op)),
            Arg::Str(op) => Value::Str(self.string(frame, op)),
        }
    }

    /// Writes a register; strings are cut to its capacity.
    fn store(&mut self, frame: &mut Frame, capacities: &[u16], dest: Dest, value: Value) {
        match (dest, value) {
            (Dest::Long(var), Value::Long(value)) => frame.longs[var.index()] = value,
            (Dest::Str(var), Value::Str(mut bytes)) => {
                let room = usize::from(capacities[var.index()]) - 1;
                if bytes.len() > room {
                    bytes.truncate(room);
                    self.truncated += 1;
                }
                // A NUL ends a string, as it does in the kernel.
                if let Some(nul) = bytes.iter().position(|byte| *byte == 0) {
                    bytes.truncate(nul);
                }
                frame.strings[var.index()] = bytes;
            }
            (dest, value) => panic!("this is a bug: {value:?} into {dest} (ir::verify)"),
        }
    }

    fn error(&self, message: &str, place: PlaceId) -> RuntimeError {
        RuntimeError { message: message.to_owned(), place: Some(place) }
    }

    fn global_error(
        &self,
        error: GlobalError,
        global: tracer_common::ir::GlobalId,
        place: PlaceId,
    ) -> RuntimeError {
        let message = match error {
            GlobalError::Overflow => {
                let global = &self.module.globals[global.index()];
                overflow_text(global.max_entries, &self.module.limits)
            }
            GlobalError::Io(_) => error.to_string(),
        };
        RuntimeError { message, place: Some(place) }
    }
}

enum Flow {
    Goto(Block),
    End(Ended),
}
