//! The run cases of the code generator (`tracer-ebpf/tests/run`), in the evaluator: what the machine does with the code that pass 4
//! makes of a kernel function, the evaluator does with the function itself.
//!
//! **Not here:** scripts, and the kernel (`differential.rs`).

#[path = "../../tracer-ebpf/tests/steps/mod.rs"]
mod steps;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use steps::{Hit, Sent, Setting, Subject, wants_result};
use tracer::run::eval::{self, Evaluator, Host};
use tracer::run::globals::{Globals as _, MemoryGlobals, empty};
use tracer::run::output::sink::{Kept, Sink};
use tracer::run::value::Value;
use tracer_common::ir::{FuncId, GlobalId, GlobalTy, Module, RecordId, Source, Space, opt};
use tracer_common::manifest::Site;

#[test]
fn what_the_machine_does_the_evaluator_does() {
    let mut failures = String::new();
    let mut count = 0;
    for (path, text) in steps::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tracer-ebpf/tests/run"))
    {
        for optimized in [false, true] {
            match case(&text, optimized) {
                Ok(steps) => count += steps,
                Err(message) => {
                    failures += &format!("{}, optimized: {optimized}: {message}\n", path.display());
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(count > 100, "only {count} steps were run");
}

/// Runs a case; 0 steps where it counts hits that are given up, which only programs do.
fn case(text: &str, optimized: bool) -> Result<usize, String> {
    if text.contains("call unseen()") {
        return Ok(0);
    }
    let mut module = steps::module(text)?;
    if optimized {
        let roots: Vec<FuncId> = (0..module.functions.len() as u32).map(FuncId).collect();
        opt::optimize(&mut module, &roots).map_err(|error| error.to_string())?;
    }
    let mut subject = Evaluated {
        module: &module,
        sites: steps::sites(),
        globals: MemoryGlobals::new(&module),
        world: World::new(),
    };
    steps::perform(text, &module, &mut subject)
}

struct Evaluated<'m> {
    module: &'m Module,
    sites: Vec<Site>,
    globals: MemoryGlobals,
    world: World,
}

/// What the evaluated function sees of the machine: the same as on the interpreter's, and as much time goes by.
struct World {
    numbers: BTreeMap<&'static str, i64>,
    comm: Vec<u8>,
    stack: Vec<u64>,
    context: Vec<(Source, u64)>,
    site: u32,
    memory: Vec<(Space, u64, Vec<u8>)>,
    sent: VecDeque<Sent>,
    closed: bool,
    errors: u32,
    sink: Kept,
    kept: eval::Kept,
}

const TICK: i64 = 1000;

impl World {
    fn new() -> World {
        let numbers = [("pid", 100), ("tid", 101), ("uid", 1000), ("gid", 1001), ("task", 0), ("cpu", 0)];
        World {
            numbers: numbers.into_iter().chain([("clock", 1_000_000)]).collect(),
            comm: b"task".to_vec(),
            stack: Vec::new(),
            context: Vec::new(),
            site: 0,
            memory: Vec::new(),
            sent: VecDeque::new(),
            closed: false,
            errors: 0,
            sink: Kept::default(),
            kept: eval::Kept::default(),
        }
    }
}

impl Host for World {
    fn pid(&mut self) -> i64 {
        self.numbers["pid"]
    }
    fn tid(&mut self) -> i64 {
        self.numbers["tid"]
    }
    fn uid(&mut self) -> i64 {
        self.numbers["uid"]
    }
    fn gid(&mut self) -> i64 {
        self.numbers["gid"]
    }
    fn execname(&mut self) -> Vec<u8> {
        self.comm.clone()
    }
    fn stack(&mut self, _space: Space) -> Vec<u64> {
        self.stack.clone()
    }
    fn cpu(&mut self) -> i64 {
        self.numbers["cpu"]
    }
    fn monotonic_ns(&mut self) -> i64 {
        let clock = self.numbers.get_mut("clock").expect("a clock");
        *clock += TICK;
        *clock
    }
    fn realtime_ns(&mut self) -> i64 {
        self.monotonic_ns()
    }
    fn target(&mut self) -> i64 {
        0
    }
    fn exit(&mut self) {
        self.closed = true;
        self.sent.push_back(Sent::Exit);
    }
    fn warn(&mut self, text: &[u8]) {
        self.sink.message(text);
    }
    fn sink(&mut self) -> &mut dyn Sink {
        &mut self.sink
    }
    fn kept(&mut self) -> &mut eval::Kept {
        &mut self.kept
    }
    fn task(&mut self) -> i64 {
        self.numbers["task"]
    }

    fn context(&mut self, source: Source) -> i64 {
        let found = self.context.iter().rev().find(|(set, _)| *set == source);
        found.map_or(0, |(_, value)| *value as i64)
    }

    fn read(&mut self, space: Space, address: u64, bytes: &mut [u8]) -> bool {
        let found = self.memory.iter().rev().find_map(|(at, start, held)| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            held.get(offset..offset.checked_add(bytes.len())?).filter(|_| *at == space)
        });
        if let Some(found) = found {
            bytes.copy_from_slice(found);
        }
        found.is_some()
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        let found = self.memory.iter_mut().rev().find_map(|(space, start, held)| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            held.get_mut(offset..offset.checked_add(bytes.len())?).filter(|_| *space == Space::User)
        });
        found.map(|found| found.copy_from_slice(bytes)).is_some()
    }

    fn emit(&mut self, record: RecordId, values: Vec<Value>) {
        let fields = values.into_iter().map(|value| match value {
            Value::Long(value) => steps::Value::Long(value),
            Value::Str(text) => steps::Value::Str(text),
        });
        self.sent.push_back(Sent::Record {
            id: record.index() as u16,
            site: self.site,
            fields: fields.collect(),
        });
    }
}

impl Subject for Evaluated<'_> {
    fn lay_out(&mut self, space: Space, address: u64, bytes: &[u8]) {
        self.world.memory.push((space, address, bytes.to_vec()));
    }

    fn open(&mut self) {
        self.world.closed = false;
    }

    fn ring(&mut self, room: usize) -> bool {
        // What fits into a ring buffer is for those that have one.
        room >= 1000
    }

    fn has_cpus(&self) -> bool {
        false
    }

    fn set(&mut self, setting: &Setting<'_>) -> Result<(), String> {
        match *setting {
            Setting::Comm(comm) => self.world.comm = comm.to_vec(),
            Setting::Stack(ref stack) => self.world.stack.clone_from(stack),
            Setting::Number(name, value) => {
                let value = if name == "clock" { value - TICK } else { value };
                let known = self.world.numbers.get_mut(name).ok_or(format!("no such setting: {name}"))?;
                *known = value;
            }
        }
        Ok(())
    }

    fn run(&mut self, function: FuncId, hit: &Hit) -> Result<(), String> {
        if self.world.closed {
            return Ok(());
        }
        self.world.context.clone_from(&hit.context);
        // A trampoline belongs to one function: its program has one site.
        let is_trampoline = wants_result(&self.module.functions[function.index()]);
        self.world.site = if is_trampoline { 1 } else { hit.site };
        let site = self.world.site;
        let mut evaluator =
            Evaluator::new(self.module, &self.sites, &mut self.globals, &mut self.world, site);
        if let Err(error) = evaluator.run(function, &[]) {
            let place = error.place.map_or(0, |place| place.index() as u32);
            self.world.sent.push_back(Sent::Error { text: error.message, place, word: None });
            self.world.errors += 1;
            self.world.closed |= self.world.errors > self.module.limits.errors;
        }
        Ok(())
    }

    fn sent(&mut self) -> Result<Option<Sent>, String> {
        Ok(self.world.sent.pop_front())
    }

    fn value(&mut self, global: GlobalId, keys: &[steps::Value]) -> Result<Option<steps::Value>, String> {
        let found = self.globals.get(global, &values(keys)).map_err(|error| error.to_string())?;
        let declared = &self.module.globals[global.index()];
        let unset = match declared.ty {
            GlobalTy::Value(ty) if declared.keys.is_empty() => Some(empty(ty)),
            GlobalTy::Value(_) | GlobalTy::Stats(_) => None,
        };
        Ok(found.or(unset).map(|value| match value {
            Value::Long(value) => steps::Value::Long(value),
            Value::Str(text) => steps::Value::Str(text),
        }))
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
            "min" => Some(cell.min).filter(|_| cell.count > 0),
            "max" => Some(cell.max).filter(|_| cell.count > 0),
            _ => cell.buckets.get(bucket).copied(),
        }))
    }

    fn inserted(&mut self, _: GlobalId, _: &[steps::Value]) -> Result<Option<bool>, String> {
        Ok(None)
    }

    fn counter(&mut self, _: FuncId, _: &str) -> Result<Option<i64>, String> {
        Ok(None)
    }
}

fn values(keys: &[steps::Value]) -> Vec<Value> {
    let value = |key: &steps::Value| match key {
        steps::Value::Long(value) => Value::Long(*value),
        steps::Value::Str(text) => Value::Str(text.clone()),
    };
    keys.iter().map(value).collect()
}
