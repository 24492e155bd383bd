//! Run tests: every `.ir` file of `tests/run` is compiled for several kernels and run on the machine. The language of
//! their steps is in `steps`.

mod steps;

use std::collections::BTreeMap;
use std::path::Path;

use tracer_common::ir::{ContextKind, Domain, FuncId, GlobalId, Module, Source, Space, Ty, opt};
use tracer_common::layout::{Home, Layout};
use tracer_common::manifest::{Manifest, Program, ProgramKind};
use tracer_common::{ledger, record};
use tracer_ebpf::codegen;
use tracer_ebpf::machine::{self, Context, Machine};
use tracer_ebpf::object::Parts;
use tracer_ebpf::target::Target;

use steps::{Hit, Sent, Setting, Subject, Value, same, wants_result};

/// The result of a traced function of seven arguments follows them.
const RESULT: usize = 7;

#[test]
fn scripts_hold_on_every_kernel() {
    let mut failures = String::new();
    let mut count = 0;
    for (path, text) in steps::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run")) {
        let targets = text.lines().find_map(|line| line.strip_prefix(";: targets "));
        for release in targets.unwrap_or("5.10 6.1 6.12 6.18").split_whitespace() {
            let target = Target::preset(release).expect("a release");
            // Diagnostics add code wherever something is counted; nothing else may change.
            for (optimized, diagnostics) in [(false, false), (true, false), (true, true)] {
                let target = Target { diagnostics, ..target.clone() };
                match case(&text, &target, optimized) {
                    Ok(steps) => count += steps,
                    Err(message) => {
                        failures += &format!(
                            "{} for {release}, optimized: {optimized}, diagnostics: {diagnostics}: {message}\n",
                            path.display()
                        );
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(count > 100, "only {count} steps were run");
}

fn manifest(module: &Module) -> Manifest {
    let functions = module.functions.iter().enumerate();
    let programs = functions
        .filter(|(_, f)| f.domain == Domain::Kernel && f.context != ContextKind::None)
        .enumerate()
        .map(|(n, (id, function))| Program {
            name: format!("p{n}"),
            function: FuncId(id as u32),
            kind: match function.context {
                ContextKind::Words if wants_result(function) => ProgramKind::Fexit,
                ContextKind::Words => ProgramKind::RawTracepoint,
                ContextKind::Perf => ProgramKind::PerfEvent,
                ContextKind::Registers | ContextKind::None => ProgramKind::Uprobe,
            },
            sites: if wants_result(function) { vec![1] } else { vec![0, 1] },
            site_patches: Vec::new(),
        });
    Manifest { programs: programs.collect(), sites: steps::sites() }
}

/// The machine, and what the loader knows.
struct Loaded {
    module: Module,
    layout: Layout,
    manifest: Manifest,
    machine: Machine,
    cpus: u32,
    site_patches: Vec<Vec<u32>>,
    parts: Parts,
    site_texts: codegen::SiteTexts,
}

fn case(text: &str, target: &Target, optimized: bool) -> Result<usize, String> {
    let mut module = steps::module(text)?;
    let layout = Layout::new(&module);
    let manifest = manifest(&module);
    if optimized || text.contains("\n;: inlined") {
        let roots: Vec<FuncId> = manifest.programs.iter().map(|program| program.function).collect();
        opt::optimize(&mut module, &roots).map_err(|error| error.to_string())?;
    }
    let generated = codegen::generate(&module, &manifest, &layout, target)
        .map_err(|error| format!("codegen: {error}"))?;
    let parts = generated.parts(&manifest);
    let mut machine = Machine::new(&parts, target.cpus);
    machine.task.padded = target.features.isa_v4;
    machine.locks = layout.globals.iter().filter_map(|global| global.lock).collect();
    for number in 0..generated.pool {
        machine.push(codegen::SCRATCH_POOL, &number.to_le_bytes());
    }
    let mut loaded = Loaded {
        module: module.clone(),
        layout,
        manifest,
        machine,
        cpus: target.cpus,
        site_patches: generated.site_patches,
        parts,
        site_texts: generated.site_texts,
    };
    loaded.fill_sites();
    loaded.fill_scalars();
    steps::perform(text, &module, &mut loaded)
}

impl Loaded {
    /// The loader's part: texts of the sites.
    fn fill_sites(&mut self) {
        for (number, site) in self.manifest.sites.iter().enumerate() {
            let mut row = vec![0; self.site_texts.row as usize];
            for (fact, offset, capacity) in &self.site_texts.fields {
                let text = site.fact(*fact).as_bytes();
                let length = text.len().min(*capacity as usize - 1);
                row[*offset as usize..*offset as usize + length].copy_from_slice(&text[..length]);
            }
            self.machine.set(codegen::SITES, &(number as u32).to_le_bytes(), &row);
        }
    }

    /// The loader's part: initial values.
    fn fill_scalars(&mut self) {
        for (global, layout) in self.module.globals.iter().zip(&self.layout.globals) {
            if let (Home::Scalar { offset }, Some(init)) = (&layout.home, &global.init) {
                let bytes = match init {
                    tracer_common::ir::Init::Long(value) => value.to_le_bytes().to_vec(),
                    tracer_common::ir::Init::Str(text) => text.clone(),
                };
                self.machine.poke(tracer_common::layout::SCALARS, *offset, &bytes);
            }
        }
    }

    fn program(&self, function: FuncId) -> Result<usize, String> {
        self.manifest.programs.iter().position(|p| p.function == function).ok_or("not a program".into())
    }

    /// The loader's part: a copy of the program for a site.
    fn patch(&mut self, program: usize, site: u32) {
        for (slot, insn) in &self.parts.programs[program].code.insns {
            if self.site_patches[program].contains(&(*slot as u32))
                && let tracer_ebpf::isa::Insn::Alu { op, wide, dst, .. } = *insn
            {
                let src = tracer_ebpf::isa::Src::Imm(site as i32);
                self.machine.patch(program, *slot, tracer_ebpf::isa::Insn::Alu { op, wide, dst, src });
            }
        }
    }

    /// The values of an element, one for each CPU; none where it is missing.
    fn values(&self, global: GlobalId, keys: &[Value]) -> Result<Vec<Vec<u8>>, String> {
        let layout = &self.layout.globals[global.index()];
        let map = match layout.home {
            Home::Scalar { offset } => {
                return Ok(vec![
                    self.machine.value(tracer_common::layout::SCALARS)[offset as usize..].to_vec(),
                ]);
            }
            Home::StatScalar { map } | Home::Array { map } => &self.layout.maps[map as usize],
            Home::Evaluator => return Err("not shared".into()),
        };
        let mut key = vec![0; map.key_size as usize];
        for (value, at) in keys.iter().zip(&layout.keys) {
            let at = *at as usize;
            match value {
                Value::Long(value) => key[at..at + 8].copy_from_slice(&value.to_le_bytes()),
                Value::Str(text) => key[at..at + text.len()].copy_from_slice(text),
            }
        }
        let elements: BTreeMap<_, _> = self.machine.elements(&map.name).into_iter().collect();
        let found = elements.get(&key).cloned().unwrap_or_default();
        if layout.cell.is_some() && !found.is_empty() {
            same(found.len() as u32, self.cpus)?;
        }
        Ok(found)
    }
}

impl Subject for Loaded {
    fn lay_out(&mut self, space: Space, address: u64, bytes: &[u8]) {
        let space = match space {
            Space::Kernel => machine::Space::Kernel,
            Space::User => machine::Space::User,
        };
        self.machine.lay_out(space, address, bytes);
    }

    fn open(&mut self) {
        self.machine.poke(ledger::MAP, ledger::STATE, &[0; 4]);
    }

    fn ring(&mut self, room: usize) -> bool {
        self.machine.ring_room = room;
        true
    }

    fn has_cpus(&self) -> bool {
        true
    }

    fn set(&mut self, setting: &Setting<'_>) -> Result<(), String> {
        let task = &mut self.machine.task;
        match *setting {
            Setting::Comm(comm) => task.comm = comm.to_vec(),
            Setting::Stack(ref stack) => task.stack.clone_from(stack),
            Setting::Number("pid", value) => task.pid = value as u32,
            Setting::Number("tid", value) => task.tid = value as u32,
            Setting::Number("uid", value) => task.uid = value as u32,
            Setting::Number("gid", value) => task.gid = value as u32,
            Setting::Number("task", value) => task.address = value as u64,
            Setting::Number("cpu", value) => self.machine.cpu = value as u32,
            Setting::Number("clock", value) => self.machine.clock = value as u64 - self.machine.tick,
            Setting::Number(name, _) => return Err(format!("no such setting: {name}")),
        }
        Ok(())
    }

    fn run(&mut self, function: FuncId, hit: &Hit) -> Result<(), String> {
        let program = self.program(function)?;
        let is_words = self.module.functions[function.index()].context == ContextKind::Words;
        let mut words = vec![0u64; if is_words { 8 } else { 21 }];
        self.machine.arguments =
            (self.manifest.programs[program].kind == ProgramKind::Fexit).then_some(RESULT as u64);
        for (source, value) in &hit.context {
            let at = match source {
                Source::Result => RESULT,
                Source::Argument(n) => usize::from(*n),
                Source::Register(n) => {
                    let offset = Target::LINUX_6_1.arch.register_offset(*n).ok_or("no such register")?;
                    offset as usize / 8
                }
            };
            words[at] = *value;
        }
        self.machine.cookie = u64::from(hit.site);
        if !self.site_patches[program].is_empty() {
            self.patch(program, hit.site);
        }
        let context = if is_words { Context::Words(words) } else { Context::Registers(words) };
        match self.machine.run(program, &context) {
            Ok(0) => Ok(()),
            Ok(result) => Err(format!("the program returned {result}")),
            Err(fault) => {
                let listing = tracer_ebpf::isa::listing(&self.parts.programs[program].code.insns, |_| None);
                Err(format!("{fault}\n{listing}"))
            }
        }
    }

    fn sent(&mut self) -> Result<Option<Sent>, String> {
        if self.machine.records.is_empty() {
            return Ok(None);
        }
        let record = self.machine.records.remove(0);
        let id = u16::from_le_bytes([record[0], record[1]]);
        let site = u32::from_le_bytes([record[4], record[5], record[6], record[7]]);
        let mut bytes = record[record::HEADER as usize..].to_vec();
        Ok(Some(match id {
            record::EXIT => Sent::Exit,
            record::ERROR => {
                let (place, kind) =
                    record::split_error_word(long(&bytes, 0) as u64).ok_or("not an error word")?;
                let argument = long(&bytes, 8);
                let text = if kind == record::ErrorKind::Message {
                    bytes.drain(..16);
                    take_string(&mut bytes)?
                } else {
                    record::error_text(&self.module, kind, argument as u64).into_bytes()
                };
                Sent::Error { text, place, word: Some((kind, argument)) }
            }
            _ => {
                let types = &self.module.records.get(usize::from(id)).ok_or("no such record")?.fields;
                let field = |ty: &Ty| match ty {
                    Ty::Long => {
                        let value = long(&bytes, 0);
                        bytes.drain(..8);
                        Ok(Value::Long(value))
                    }
                    Ty::Str(_) => take_string(&mut bytes).map(Value::Str),
                };
                let fields = types.iter().map(field).collect::<Result<_, String>>()?;
                same(bytes.len(), 0)?;
                Sent::Record { id, site, fields }
            }
        }))
    }

    fn value(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<Value>, String> {
        let tracer_common::ir::GlobalTy::Value(ty) = self.module.globals[global.index()].ty else {
            return Err("a statistic".into());
        };
        Ok(self.values(global, keys)?.first().map(|bytes| match ty {
            Ty::Long => Value::Long(long(bytes, 0)),
            Ty::Str(_) => Value::Str(bytes.split(|b| *b == 0).next().unwrap_or(&[]).to_vec()),
        }))
    }

    fn statistic(
        &mut self,
        global: GlobalId,
        keys: &[Value],
        field: &str,
        bucket: usize,
    ) -> Result<Option<i64>, String> {
        let cell = self.layout.globals[global.index()].cell.clone().ok_or("no cell")?;
        let values = self.values(global, keys)?;
        let filled = |value: &&Vec<u8>| cell.count.is_none_or(|at| long(value, at as usize) != 0);
        let column = |at: Option<u32>| -> Result<Vec<i64>, String> {
            let at = at.ok_or("no such field")? as usize;
            Ok(values.iter().filter(filled).map(|value| long(value, at)).collect())
        };
        Ok(match field {
            // Asked of an element that is not there: no values, whatever is kept.
            "count" if values.is_empty() => None,
            "count" => Some(column(cell.count)?.iter().sum()),
            "sum" => Some(column(cell.sum)?.iter().fold(0i64, |a, b| a.wrapping_add(*b))),
            "min" => column(cell.min)?.into_iter().min(),
            "max" => column(cell.max)?.into_iter().max(),
            _ => Some(column(cell.buckets.map(|at| at + bucket as u32 * 8))?.iter().sum()),
        })
    }

    fn inserted(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<bool>, String> {
        let offset = self.layout.globals[global.index()].inserted.ok_or("not ordered")? as usize;
        Ok(Some(self.values(global, keys)?.iter().any(|value| long(value, offset) != 0)))
    }

    fn counter(&mut self, function: FuncId, name: &str) -> Result<Option<i64>, String> {
        let program = self.program(function)?;
        let cell = ledger::NAMES.iter().find(|(cell, text)| {
            text.replace(' ', "-") == name || format!("{cell:?}").eq_ignore_ascii_case(name)
        });
        let (cell, _) = cell.ok_or("no such cell")?;
        let at = ledger::offset(program as u32, *cell) as usize;
        Ok(Some(long(&self.machine.value(ledger::MAP), at)))
    }
}

/// A string field: its value, up to its length; the rest of its slot must be zero.
fn take_string(bytes: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
    let (length, slot) = (word(0), word(4));
    if !slot.is_multiple_of(8) || length >= slot.max(1) || bytes.len() < 8 + slot {
        return Err(format!("a string of {length} bytes in a slot of {slot}"));
    }
    let text: Vec<u8> = bytes.drain(..8 + slot).skip(8).collect();
    if text[length..].iter().any(|byte| *byte != 0) {
        return Err(format!("old bytes behind a string: {text:x?}"));
    }
    Ok(text[..length].to_vec())
}

fn long(bytes: &[u8], at: usize) -> i64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    i64::from_le_bytes(word)
}
