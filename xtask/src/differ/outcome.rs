//! What a script did, in words that are the same in every domain; and the ways to run it.
//!
//! **Not here:** the forms of a script (`script`).

use std::cell::RefCell;
use std::rc::Rc;

use tracer::artifact::Artifact;
use tracer::run::globals::MemoryGlobals;
use tracer::run::host::RealHost;
use tracer::run::output::sink::{Kept, Sink};
use tracer::run::session::Session;
use tracer::run::trial::trial;
use tracer_common::ir::{FuncId, opt};
use tracer_common::layout::{Home, Layout, SCALARS};
use tracer_common::ledger;
use tracer_ebpf::codegen;
use tracer_ebpf::machine::{Context, Machine};
use tracer_ebpf::target::Target;

use super::machine_globals::{self, Untouched};
use super::script::{Refusal, Script, build};

/// What a script printed and what went wrong in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Lines of output; those whose order means nothing are sorted, at the end.
    pub lines: Vec<String>,
    /// Messages of errors, without their places.
    pub errors: Vec<String>,
}

impl Outcome {
    /// Whether a handler was stopped by MAXACTION.
    pub fn ran_out(&self) -> bool {
        self.errors.iter().any(|error| error.contains("MAXACTION"))
    }
}

/// Why there is no outcome.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// It was not compiled.
    Refused(Refusal),
    /// It was compiled, and did what no program may do: the machine's fault, or the verifier's word.
    Bug(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

/// A sink that is looked into afterwards.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Kept>>);

impl Sink for Shared {
    fn print(&mut self, bytes: &[u8]) {
        self.0.borrow_mut().print(bytes);
    }
    fn message(&mut self, line: &[u8]) {
        self.0.borrow_mut().message(line);
    }
    fn flush(&mut self) -> bool {
        true
    }
}

impl Shared {
    fn outcome(&self) -> Outcome {
        let kept = self.0.borrow();
        let text = String::from_utf8_lossy(&kept.out).into_owned();
        let (mut sorted, mut lines): (Vec<String>, Vec<String>) =
            text.lines().map(str::to_owned).partition(|line| line.starts_with('#'));
        sorted.sort();
        lines.append(&mut sorted);
        let errors = kept.err.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        // The two forms have their operators at different places; the summary counts what both have listed.
        let plain = |line: String| line.split(" at ").next().unwrap_or_default().to_owned();
        Outcome { lines, errors: errors.map(plain).collect() }
    }
}

/// The user form, in the evaluator.
pub fn evaluate(script: &Script) -> Result<Outcome, Failure> {
    let artifact = build(&script.user(), &script.limits(), None)?;
    let sink = Shared::default();
    let mut globals = MemoryGlobals::new(&artifact.module);
    let mut session = Session::new(&artifact, &mut globals, RealHost::new(Box::new(sink.clone())));
    session.begin();
    session.end();
    Ok(sink.outcome())
}

/// The kernel form, in the kernel that is running.
pub fn in_kernel(script: &Script, target: &Target) -> Result<Outcome, Failure> {
    let artifact = build(&script.kernel(), &script.limits(), Some(target))?;
    let sink = Shared::default();
    let hits: Vec<_> = script.hits.iter().map(|hit| (hit.handler, hit.words().to_vec())).collect();
    trial(&artifact, target, &hits, Box::new(sink.clone())).map_err(|error| {
        let text = error.to_string();
        // A verifier follows so many jumps and instructions and no more; all else that it refuses is wrong code.
        if text.contains("too large for this kernel's verifier") {
            return Refusal::Unsupported("the handler is too large for this kernel's verifier".into()).into();
        }
        Failure::Bug(text)
    })?;
    Ok(sink.outcome())
}

/// The kernel form, in the userspace machine.
pub fn in_machine(script: &Script, target: &Target) -> Result<Outcome, Failure> {
    let artifact = build(&script.kernel(), &script.limits(), Some(target))?;
    let layout = Layout::new(&artifact.module);
    let mut machine = machine(&artifact, &layout, target)?;
    let sink = Shared::default();
    let mut exited = false;
    // Globals are those of the machine, and are read at the end: statements that moved have none.
    let mut none = Untouched::default();
    let mut session = Session::new(&artifact, &mut none, RealHost::new(Box::new(sink.clone())));
    for hit in &script.hits {
        let mut words = vec![0; 8];
        words[..2].copy_from_slice(&hit.words());
        match machine.run(hit.handler, &Context::Words(words)) {
            Ok(_) => {}
            Err(fault) => return Err(Failure::Bug(fault.to_string())),
        }
        for record in std::mem::take(&mut machine.records) {
            session.record(&record);
            exited |= session.host.exiting;
        }
    }
    let errors = session.errors;
    drop(session);
    if none.touched {
        return Err(Refusal::Unsupported(
            "a statement that moved touches globals: not in the machine".into(),
        )
        .into());
    }
    check_end(&machine, &layout, artifact.manifest.programs.len() as u32, exited)?;
    let mut globals = machine_globals::read(&artifact.module, &layout, &machine);
    let mut session = Session::new(&artifact, &mut globals, RealHost::new(Box::new(sink.clone())));
    session.errors = errors;
    session.end();
    Ok(sink.outcome())
}

/// Locks are given back, and nothing was lost or skipped.
fn check_end(machine: &Machine, layout: &Layout, programs: u32, exited: bool) -> Result<(), Failure> {
    let word = |map: &str, at: u32| {
        let bytes = machine.value(map);
        bytes.get(at as usize..at as usize + 8).map_or(0, |word| word.iter().fold(0, |a, b| a | *b))
    };
    for lock in layout.globals.iter().filter_map(|global| global.lock) {
        if word(SCALARS, lock) != 0 {
            return Err(Failure::Bug("a lock was not given back".into()));
        }
    }
    if !machine.elements(codegen::LOCKS).is_empty() {
        return Err(Failure::Bug("a lock was not given back".into()));
    }
    for program in 0..programs {
        for cell in [ledger::Cell::SkippedNesting, ledger::Cell::SkippedLock, ledger::Cell::Lost] {
            if word(ledger::MAP, ledger::offset(program, cell)) != 0 {
                return Err(Failure::Bug(format!("{cell:?} of program {program} is not 0")));
            }
        }
    }
    let state = word(ledger::MAP, ledger::STATE);
    if (state != 0) != exited {
        return Err(Failure::Bug("the session's state is wrong".into()));
    }
    Ok(())
}

/// The machine as a loader leaves it.
fn machine(artifact: &Artifact, layout: &Layout, target: &Target) -> Result<Machine, Failure> {
    let mut module = artifact.module.clone();
    let roots: Vec<FuncId> = artifact.manifest.programs.iter().map(|program| program.function).collect();
    opt::optimize(&mut module, &roots).map_err(|error| Failure::Bug(error.to_string()))?;
    let generated = codegen::generate(&module, &artifact.manifest, layout, target)
        .map_err(|error| Failure::Bug(error.to_string()))?;
    let mut machine = Machine::new(&generated.parts(&artifact.manifest), target.cpus);
    machine.fuel = 50_000_000;
    machine.ring_room = 1 << 28;
    machine.task.padded = target.features.isa_v4;
    for number in 0..generated.pool {
        machine.push(codegen::SCRATCH_POOL, &number.to_le_bytes());
    }
    for (global, layout) in artifact.module.globals.iter().zip(&layout.globals) {
        if let (Home::Scalar { offset }, Some(init)) = (&layout.home, &global.init) {
            let bytes = match init {
                tracer_common::ir::Init::Long(value) => value.to_le_bytes().to_vec(),
                tracer_common::ir::Init::Str(text) => text.clone(),
            };
            machine.poke(SCALARS, *offset, &bytes);
        }
    }
    Ok(machine)
}
