//! The run cases of the code generator (`tracer-ebpf/tests/run`), in the kernel that is running.
//!
//! The kernel runs raw tracepoints on demand and nothing else, so that registers become words of a context here. What it
//! cannot be told (the process's id, its memory, the clock) ends a case.
//!
//! **Not here:** the evaluator and the machine (`tests/evaluator.rs`, `tracer-ebpf/tests/run.rs`).

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

use tracer::artifact::Artifact;
use tracer::run::globals::{Globals as _, empty};
use tracer::run::kernel::{Kernel, QuietRing};
use tracer::run::maps::MapGlobals;
use tracer::run::records::{self, Record};
use tracer::run::value::Value;
use tracer::source::SourceMap;
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{ContextKind, Domain, FuncId, GlobalId, GlobalTy, Inst, Module, Source, Space, opt};
use tracer_common::ledger::{Cell, NAMES};
use tracer_common::manifest::{Manifest, Program, ProgramKind};
use tracer_common::record::{ErrorKind, error_text};
use tracer_ebpf::compile::compile;
use tracer_ebpf::target::Target;
use xtask::differ::Place;

#[expect(dead_code, reason = "numbers of the task that the kernel cannot be told")]
#[path = "../../../tracer-ebpf/tests/steps/mod.rs"]
mod steps;

use steps::{Hit, Sent, Setting, Subject, same, wants_result};

#[test]
fn what_the_machine_does_the_kernel_does() {
    if !super::is_root() {
        return;
    }
    let Place::Kernel(target) = Place::kernel().expect("a kernel with BPF") else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tracer-ebpf/tests/run");
    let (mut count, mut failures) = (0, String::new());
    for (path, text) in steps::files(&folder) {
        match case(&text, &target) {
            Ok(steps) => count += steps,
            Err(message) => failures += &format!("{}: {message}\n", path.display()),
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(count > 500, "only {count} steps were run");
}

/// Runs a case; 0 steps where this kernel cannot.
fn case(text: &str, target: &Target) -> Result<usize, String> {
    let mut module = steps::module(text)?;
    if module.functions.iter().any(wants_result) {
        return Ok(0);
    }
    let used = as_words(&mut module)?;
    let is_program = |id: &FuncId| matches!(&module.functions[id.index()], f if f.domain == Domain::Kernel && f.context != ContextKind::None);
    let functions: Vec<FuncId> = (0..module.functions.len() as u32).map(FuncId).filter(is_program).collect();
    if text.contains("\n;: inlined") {
        opt::optimize(&mut module, &functions).map_err(|error| error.to_string())?;
    }
    let program = |(n, function): (usize, &FuncId)| Program {
        name: format!("p{n}"),
        function: *function,
        kind: ProgramKind::RawTracepoint,
        sites: vec![0],
        site_patches: Vec::new(),
    };
    let programs = functions.iter().enumerate().map(program).collect();
    let mut manifest = Manifest { programs, sites: steps::sites() };
    // What older kernels cannot do, the cases say; what this one cannot, the compiler.
    let Ok(object) = compile(&module, &mut manifest, target) else { return Ok(0) };
    let untold = untold(&module);
    let artifact = Artifact { module, manifest, object: Some(object), sources: SourceMap::default() };
    let (mut kernel, layout, maps) = Kernel::load(&artifact, target).map_err(|error| error.to_string())?;
    let locks = kernel.locks().map_err(|error| error.to_string())?;
    let ring = kernel.quiet_ring().map_err(|error| error.to_string())?;
    let globals =
        MapGlobals::new(&artifact.module, layout, maps, locks).map_err(|error| error.to_string())?;
    kernel.arm();
    let mut subject = Run {
        module: &artifact.module,
        functions,
        used,
        untold,
        kernel,
        ring,
        globals,
        sent: VecDeque::new(),
    };
    subject.set(&Setting::Comm(b"task"))?;
    let module = steps::module(text)?;
    steps::perform(text, &module, &mut subject)
}

/// Turns every program into one whose context has the registers that are used as words: which these are, in order.
fn as_words(module: &mut Module) -> Result<Vec<u8>, String> {
    let mut used: Vec<u8> = Vec::new();
    for function in &mut module.functions {
        if matches!(function.context, ContextKind::Registers | ContextKind::Perf) {
            function.context = ContextKind::Words;
        }
        for (inst, _) in function.blocks.iter_mut().flat_map(|block| &mut block.insts) {
            if let Inst::Context { source: source @ Source::Register(_), .. } = inst
                && let Source::Register(register) = *source
            {
                let known = used.iter().position(|n| *n == register);
                let n = known.unwrap_or_else(|| {
                    used.push(register);
                    used.len() - 1
                });
                *source = Source::Argument(n as u8);
            }
        }
    }
    if used.len() > 12 { Err("too many registers".into()) } else { Ok(used) }
}

/// Functions that ask for what a kernel cannot be told, themselves or through others.
fn untold(module: &Module) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    loop {
        let asks = |inst: &Inst| match inst {
            Inst::Load { .. } | Inst::Site { .. } | Inst::SiteText { .. } => true,
            Inst::CallFunction { function, .. } => found.contains(&function.index()),
            Inst::Call { intrinsic, .. } => matches!(
                intrinsic,
                Intrinsic::Pid
                    | Intrinsic::Tid
                    | Intrinsic::Uid
                    | Intrinsic::Gid
                    | Intrinsic::Cpu
                    | Intrinsic::TaskCurrent
                    | Intrinsic::MonotonicNs
                    | Intrinsic::RealtimeNs
                    | Intrinsic::UserStack
                    | Intrinsic::UserFrame
                    | Intrinsic::ModuleBase
                    | Intrinsic::ModuleNeeded
                    | Intrinsic::KernelStack
                    | Intrinsic::KernelFrame
                    | Intrinsic::UserString
                    | Intrinsic::UserStringN
                    | Intrinsic::KernelString
                    | Intrinsic::KernelStringN
                    | Intrinsic::UserBytes
                    | Intrinsic::KernelBytes
            ),
            _ => false,
        };
        let more: BTreeSet<usize> = (0..module.functions.len())
            .filter(|n| module.functions[*n].blocks.iter().flat_map(|b| &b.insts).any(|(inst, _)| asks(inst)))
            .collect();
        if more.len() == found.len() {
            return found;
        }
        found = more;
    }
}

struct Run<'a> {
    module: &'a Module,
    /// What each program runs.
    functions: Vec<FuncId>,
    /// The registers that are words of a context, in order.
    used: Vec<u8>,
    untold: BTreeSet<usize>,
    kernel: Kernel,
    ring: QuietRing,
    globals: MapGlobals<'a>,
    sent: VecDeque<Record>,
}

impl Run<'_> {
    fn program(&self, function: FuncId) -> Result<usize, String> {
        self.functions.iter().position(|known| *known == function).ok_or("not a program".into())
    }
}

impl Subject for Run<'_> {
    fn lay_out(&mut self, _: Space, _: u64, _: &[u8]) {}

    fn open(&mut self) {
        self.kernel.arm();
    }

    fn ring(&mut self, room: usize) -> bool {
        // The kernel's ring is as large as it is.
        room >= 1000
    }

    fn has_cpus(&self) -> bool {
        false
    }

    fn set(&mut self, setting: &Setting<'_>) -> Result<(), String> {
        match setting {
            Setting::Comm(comm) => {
                std::fs::write("/proc/thread-self/comm", comm).map_err(|error| error.to_string())
            }
            Setting::Number(..) | Setting::Stack(_) => Ok(()),
        }
    }

    fn can_run(&self, function: FuncId) -> bool {
        !self.untold.contains(&function.index())
    }

    fn run(&mut self, function: FuncId, hit: &Hit) -> Result<(), String> {
        let mut words = vec![0; 12];
        for (source, value) in &hit.context {
            let word = match source {
                Source::Register(register) => self.used.iter().position(|used| used == register),
                Source::Argument(n) => Some(usize::from(*n)),
                Source::Result => None,
            };
            // A register that no function reads may be set all the same.
            if let Some(word) = word.and_then(|n| words.get_mut(n)) {
                *word = *value;
            }
        }
        let program = self.program(function)?;
        self.kernel.hit(program, &words).map_err(|error| error.to_string())?;
        let (sent, module) = (&mut self.sent, self.module);
        let mut malformed = 0;
        self.ring.drain(|bytes| match records::decode(module, bytes) {
            // Of a stack's way into a file: nothing that a handler does.
            Some(Record::File { .. }) => {}
            Some(record) => sent.push_back(record),
            None => malformed += 1,
        });
        same(malformed, 0)
    }

    fn sent(&mut self) -> Result<Option<Sent>, String> {
        Ok(self.sent.pop_front().map(|record| match record {
            Record::Exit => Sent::Exit,
            Record::File { .. } => panic!("this is a bug: a record that was left out"),
            Record::Error { place, kind, argument, message, .. } => {
                let text = match kind {
                    ErrorKind::Message => message,
                    kind => error_text(self.module, kind, argument).into_bytes(),
                };
                Sent::Error { text, place, word: Some((kind, argument as i64)) }
            }
            Record::Values { record, site, values } => {
                Sent::Record { id: record, site, fields: values.into_iter().map(said).collect() }
            }
        }))
    }

    fn value(&mut self, global: GlobalId, keys: &[steps::Value]) -> Result<Option<steps::Value>, String> {
        let found = self.globals.get(global, &values(keys)).map_err(|error| error.to_string())?;
        let declared = &self.module.globals[global.index()];
        let unset = match declared.ty {
            GlobalTy::Value(ty) if declared.keys.is_empty() => Some(empty(ty)),
            GlobalTy::Value(_) | GlobalTy::Stats(_) => None,
        };
        Ok(found.or(unset).map(said))
    }

    fn statistic(
        &mut self,
        global: GlobalId,
        keys: &[steps::Value],
        field: &str,
        bucket: usize,
    ) -> Result<Option<i64>, String> {
        let cell = self.globals.cell(global, &values(keys)).map_err(|error| error.to_string())?;
        Ok(cell.and_then(|cell| match field {
            "count" => Some(cell.count),
            "sum" => Some(cell.sum),
            "min" => Some(cell.min),
            "max" => Some(cell.max),
            _ => cell.buckets.get(bucket).copied(),
        }))
    }

    fn inserted(&mut self, _: GlobalId, _: &[steps::Value]) -> Result<Option<bool>, String> {
        Ok(None)
    }

    fn counter(&mut self, function: FuncId, name: &str) -> Result<Option<i64>, String> {
        let wanted = |(cell, text): &&(Cell, &str)| {
            text.replace(' ', "-") == name || format!("{cell:?}").to_lowercase() == name
        };
        let (cell, _) = NAMES.iter().find(wanted).ok_or("no such cell")?;
        Ok(Some(self.kernel.counter(self.program(function)? as u32, *cell) as i64))
    }
}

fn said(value: Value) -> steps::Value {
    match value {
        Value::Long(value) => steps::Value::Long(value),
        Value::Str(text) => steps::Value::Str(text),
    }
}

fn values(keys: &[steps::Value]) -> Vec<Value> {
    let value = |key: &steps::Value| match key {
        steps::Value::Long(value) => Value::Long(*value),
        steps::Value::Str(text) => Value::Str(text.clone()),
    };
    keys.iter().map(value).collect()
}
