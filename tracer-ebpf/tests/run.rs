//! Run tests: every `.ir` file of `tests/run` is compiled for several kernels and run on the machine. Comments that
//! start with `;:` are the script of the test, in order:
//!
//! ```text
//! ;: targets 6.1 6.18               kernels, instead of all presets
//! ;: inlined                        only after the optimizer: there are calls
//! ;: user 0x1000 "text\x00"         memory of the process (or: kernel)
//! ;: ring 64                        room that is left in the ring buffer
//! ;: run f0 rdi=5 comm=bash cpu=1   a hit: registers, pid, tid, uid, gid, comm, cpu, site, clock; a0 a1 … (words);
//!                                   result, where the function asks for one: then a program of kind fexit
//! ;: g0 == 5                        a scalar; g1[5, "x"] == 1 an element; `missing` where there is none
//! ;: g2.count == 3                  count, sum, min, max or bucket N of a statistic, merged; g3[1].sum an element's
//! ;: record r0 (5, "x") site 1      the next record
//! ;: error division 3 arg 7         the next record: kind, place, argument; `error message "text"`
//! ;: exit                           the next record
//! ;: open                           the session runs again, after exit() or an error
//! ;: silence                        no record is left
//! ;: cell f0 hits 3                 a counter of the ledger
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use tracer_common::ir::{
    ContextKind, Domain, FuncId, Function, GlobalTy, Inst, Module, Source, Ty, opt, parse, verify,
};
use tracer_common::layout::{Home, Layout};
use tracer_common::manifest::{AttachPoint, Manifest, Program, ProgramKind, Site};
use tracer_common::{ledger, record};
use tracer_ebpf::codegen;
use tracer_ebpf::machine::{Context, Machine, Space};
use tracer_ebpf::object::Parts;
use tracer_ebpf::target::Target;

const REGISTERS: [&str; 17] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rip",
];

#[test]
fn scripts_hold_on_every_kernel() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder of cases").flatten().map(|e| e.path()).collect();
    files.sort();
    let mut failures = String::new();
    let mut steps = 0;
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a case");
        let targets = text.lines().find_map(|line| line.strip_prefix(";: targets "));
        for release in targets.unwrap_or("5.10 6.1 6.12 6.18").split_whitespace() {
            let target = Target::preset(release).expect("a release");
            // Diagnostics add code wherever something is counted; nothing else may change.
            for (optimized, diagnostics) in [(false, false), (true, false), (true, true)] {
                let target = Target { diagnostics, ..target.clone() };
                match case(&text, &target, optimized) {
                    Ok(count) => steps += count,
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
    assert!(steps > 100, "only {steps} steps were run");
}

fn manifest(module: &Module) -> Manifest {
    let site = |n: u32| Site {
        attach: AttachPoint::Session,
        probe_point: format!("site number {n}"),
        alias: format!("alias{n}"),
        function: format!("function{n}"),
        name: String::new(),
        provider: String::new(),
        variables: Vec::new(),
    };
    let is_program = |f: &Function| f.domain == Domain::Kernel && f.context != ContextKind::None;
    let programs = module.functions.iter().enumerate().filter(|(_, f)| is_program(f)).enumerate().map(
        |(n, (id, function))| Program {
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
        },
    );
    Manifest { programs: programs.collect(), sites: (0..2).map(site).collect() }
}

fn wants_result(function: &Function) -> bool {
    let result = |inst: &Inst| matches!(inst, Inst::Context { source: Source::Result, .. });
    function.blocks.iter().flat_map(|block| &block.insts).any(|(inst, _)| result(inst))
}

struct Case {
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
    let mut module = parse::module(text).map_err(|error| error.to_string())?;
    verify::verify(&module).map_err(|violations| verify::explain(&module, &violations))?;
    if !text.contains("limit MAXERRORS") {
        // Hits go on after an error, unless the case is about that.
        module.limits.errors = u32::MAX;
    }
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
    for number in 0..generated.pool {
        machine.push(codegen::SCRATCH_POOL, &number.to_le_bytes());
    }
    let mut case = Case {
        module,
        layout,
        manifest,
        machine,
        cpus: target.cpus,
        site_patches: generated.site_patches,
        parts,
        site_texts: generated.site_texts,
    };
    case.fill_sites();
    case.fill_scalars();
    let mut count = 0;
    for (number, line) in text.lines().enumerate() {
        let Some(step) = line.strip_prefix(";: ") else { continue };
        if step.starts_with("targets") || step == "inlined" {
            continue;
        }
        case.step(step).map_err(|error| format!("line {}: {step}: {error}", number + 1))?;
        count += 1;
    }
    Ok(count)
}

impl Case {
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

    fn step(&mut self, step: &str) -> Result<(), String> {
        let tokens = tokens(step);
        let words: Vec<&str> = tokens.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["user", address, text] => {
                self.machine.lay_out(Space::User, number(address)? as u64, &quoted(text)?);
            }
            ["kernel", address, text] => {
                self.machine.lay_out(Space::Kernel, number(address)? as u64, &quoted(text)?);
            }
            ["open"] => {
                self.machine.poke(ledger::MAP, ledger::STATE, &[0; 4]);
            }
            ["ring", room] => self.machine.ring_room = number(room)? as usize,
            ["run", function, rest @ ..] => self.hit(function, rest)?,
            ["silence"] => match self.machine.records.first() {
                None => {}
                Some(record) => return Err(format!("there is a record: {record:x?}")),
            },
            ["exit"] => {
                let (id, _, _) = self.next_record()?;
                same(id, record::EXIT)?;
            }
            ["record", id, "(", rest @ ..] => self.record(id, rest)?,
            ["error", rest @ ..] => self.error(rest)?,
            ["cell", function, name, value] => {
                let program = self.program(function)?;
                let cell = ledger::NAMES.iter().find(|(cell, text)| {
                    text.replace(' ', "-") == *name || format!("{cell:?}").to_lowercase() == *name
                });
                let (cell, _) = cell.ok_or("no such cell")?;
                let at = ledger::offset(program as u32, *cell) as usize;
                same(long(&self.machine.value(ledger::MAP), at), number(value)?)?;
            }
            [global, rest @ ..] if global.starts_with('g') => self.global(global, rest)?,
            _ => return Err("no such step".into()),
        }
        Ok(())
    }

    fn program(&self, function: &str) -> Result<usize, String> {
        let id = function.strip_prefix('f').and_then(|n| n.parse().ok()).ok_or("no function")?;
        self.manifest.programs.iter().position(|p| p.function == FuncId(id)).ok_or("not a program".into())
    }

    fn hit(&mut self, function: &str, settings: &[&str]) -> Result<(), String> {
        let program = self.program(function)?;
        let context = self.module.functions[self.manifest.programs[program].function.index()].context;
        let mut words = vec![0u64; if context == ContextKind::Words { 8 } else { 21 }];
        self.machine.arguments = (self.manifest.programs[program].kind == ProgramKind::Fexit).then_some(7);
        let mut site = 0;
        for setting in settings {
            let (name, value) = setting.split_once('=').ok_or("a setting is name=value")?;
            if name == "comm" {
                self.machine.task.comm = value.as_bytes().to_vec();
                continue;
            }
            let value = number(value)?;
            match name {
                "pid" => self.machine.task.pid = value as u32,
                "tid" => self.machine.task.tid = value as u32,
                "uid" => self.machine.task.uid = value as u32,
                "gid" => self.machine.task.gid = value as u32,
                "task" => self.machine.task.address = value as u64,
                "cpu" => self.machine.cpu = value as u32,
                "clock" => self.machine.clock = value as u64 - self.machine.tick,
                "site" => site = value,
                // A function of seven arguments: its result follows them.
                "result" => words[7] = value as u64,
                _ if context == ContextKind::Words => {
                    let n: usize =
                        name.strip_prefix('a').and_then(|n| n.parse().ok()).ok_or("no such setting")?;
                    words[n] = value as u64;
                }
                _ => {
                    let n = REGISTERS.iter().position(|r| *r == name).ok_or("no such setting")?;
                    let offset = Target::LINUX_6_1.arch.register_offset(n as u8).ok_or("no such register")?;
                    words[offset as usize / 8] = value as u64;
                }
            }
        }
        self.machine.cookie = site as u64;
        if !self.site_patches[program].is_empty() {
            self.patch(program, site);
        }
        let context = match context {
            ContextKind::Words => Context::Words(words),
            _ => Context::Registers(words),
        };
        match self.machine.run(program, &context) {
            Ok(0) => Ok(()),
            Ok(result) => Err(format!("the program returned {result}")),
            Err(fault) => Err(format!("{fault}\n{}", self.listing(program))),
        }
    }

    /// The loader's part: a copy of the program for a site.
    fn patch(&mut self, program: usize, site: i64) {
        for (slot, insn) in &self.parts.programs[program].code.insns {
            if self.site_patches[program].contains(&(*slot as u32))
                && let tracer_ebpf::isa::Insn::Alu { op, wide, dst, .. } = *insn
            {
                let src = tracer_ebpf::isa::Src::Imm(site as i32);
                self.machine.patch(program, *slot, tracer_ebpf::isa::Insn::Alu { op, wide, dst, src });
            }
        }
    }

    fn listing(&self, program: usize) -> String {
        tracer_ebpf::isa::listing(&self.parts.programs[program].code.insns, |_| None)
    }

    fn next_record(&mut self) -> Result<(u16, u32, Vec<u8>), String> {
        if self.machine.records.is_empty() {
            return Err("there is no record".into());
        }
        let bytes = self.machine.records.remove(0);
        let id = u16::from_le_bytes([bytes[0], bytes[1]]);
        let site = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        Ok((id, site, bytes[record::HEADER as usize..].to_vec()))
    }

    fn record(&mut self, id: &str, rest: &[&str]) -> Result<(), String> {
        let id: u16 = id.strip_prefix('r').and_then(|n| n.parse().ok()).ok_or("no record")?;
        let (found, site, mut bytes) = self.next_record()?;
        if found == record::ERROR {
            return Err(format!("an error came: {:?}", record::split_error_word(long(&bytes, 0) as u64)));
        }
        same(found, id)?;
        let end = rest.iter().position(|t| *t == ")").ok_or("no end")?;
        let wanted: Vec<&str> = rest[..end].iter().copied().filter(|t| *t != ",").collect();
        let fields = self.module.records[id as usize].fields.clone();
        same(wanted.len(), fields.len())?;
        for (ty, wanted) in fields.iter().zip(wanted) {
            match ty {
                Ty::Long => {
                    same(long(&bytes, 0), number(wanted)?)?;
                    bytes.drain(..8);
                }
                Ty::Str(_) => same(take_string(&mut bytes)?, quoted(wanted)?)?,
            }
        }
        same(bytes.len(), 0)?;
        match &rest[end + 1..] {
            [] => Ok(()),
            ["site", wanted] => same(i64::from(site), number(wanted)?),
            _ => Err("site N follows".into()),
        }
    }

    fn error(&mut self, rest: &[&str]) -> Result<(), String> {
        let (found, _, mut bytes) = self.next_record()?;
        same(found, record::ERROR)?;
        let (place, kind) = record::split_error_word(long(&bytes, 0) as u64).ok_or("not an error word")?;
        let name = format!("{kind:?}").to_lowercase();
        match rest {
            ["message", text] => {
                same(name.as_str(), "message")?;
                bytes.drain(..16);
                same(take_string(&mut bytes)?, quoted(text)?)
            }
            [wanted, at, rest @ ..] => {
                same(name.as_str(), *wanted)?;
                same(i64::from(place), number(at)?)?;
                match rest {
                    [] => Ok(()),
                    ["arg", value] => same(long(&bytes, 8), number(value)?),
                    _ => Err("arg N follows".into()),
                }
            }
            _ => Err("a kind and a place follow".into()),
        }
    }

    fn global(&mut self, global: &str, rest: &[&str]) -> Result<(), String> {
        let id: usize = global.strip_prefix('g').and_then(|n| n.parse().ok()).ok_or("no global")?;
        let layout = self.layout.globals[id].clone();
        let ty = self.module.globals[id].ty.clone();
        let (keys, rest) = match rest {
            ["[", rest @ ..] => {
                let end = rest.iter().position(|t| *t == "]").ok_or("no ]")?;
                let keys: Vec<&str> = rest[..end].iter().copied().filter(|t| *t != ",").collect();
                (keys, &rest[end + 1..])
            }
            _ => (Vec::new(), rest),
        };
        let values = self.values(id, &keys)?;
        match (rest, &ty) {
            (["==", "missing"], _) => same(values.len(), 0),
            (["==", value], GlobalTy::Value(Ty::Long)) => {
                let found = values.first().ok_or("there is no such element")?;
                same(long(found, 0), number(value)?)
            }
            (["==", value], GlobalTy::Value(Ty::Str(_))) => {
                let found = values.first().ok_or("there is no such element")?;
                let found: Vec<u8> = found.split(|b| *b == 0).next().unwrap_or(&[]).to_vec();
                same(found, quoted(value)?)
            }
            ([".", "inserted"], _) => {
                let offset = layout.inserted.ok_or("not ordered")? as usize;
                let stamped = values.iter().any(|value| long(value, offset) != 0);
                same(stamped, true)
            }
            ([".", field, rest @ ..], GlobalTy::Stats(_)) => {
                let cell = layout.cell.ok_or("no cell")?;
                let number_of = |rest: &[&str]| match rest {
                    ["==", value] => number(value),
                    _ => Err("== N follows".to_string()),
                };
                let filled = |value: &&Vec<u8>| cell.count.is_none_or(|at| long(value, at as usize) != 0);
                let column = |at: Option<u32>| -> Result<Vec<i64>, String> {
                    let at = at.ok_or("no such field")? as usize;
                    Ok(values.iter().filter(filled).map(|value| long(value, at)).collect())
                };
                match *field {
                    "count" => same(column(cell.count)?.iter().sum(), number_of(rest)?),
                    "sum" => {
                        same(column(cell.sum)?.iter().fold(0i64, |a, b| a.wrapping_add(*b)), number_of(rest)?)
                    }
                    "min" => same(column(cell.min)?.into_iter().min(), Some(number_of(rest)?)),
                    "max" => same(column(cell.max)?.into_iter().max(), Some(number_of(rest)?)),
                    "bucket" => {
                        let [index, rest @ ..] = rest else { return Err("bucket N == M".into()) };
                        let at = cell.buckets.ok_or("no histogram")? + number(index)? as u32 * 8;
                        same(column(Some(at))?.iter().sum(), number_of(rest)?)
                    }
                    _ => Err("no such field".into()),
                }
            }
            _ => Err("no such comparison".into()),
        }
    }

    /// The values of an element, one for each CPU; none where it is missing.
    fn values(&self, id: usize, keys: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let layout = &self.layout.globals[id];
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
        for ((text, ty), at) in keys.iter().zip(&self.module.globals[id].keys).zip(&layout.keys) {
            let at = *at as usize;
            match ty {
                Ty::Long => key[at..at + 8].copy_from_slice(&number(text)?.to_le_bytes()),
                Ty::Str(_) => {
                    let text = quoted(text)?;
                    key[at..at + text.len()].copy_from_slice(&text);
                }
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

fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("found {found:?}, wanted {wanted:?}")) }
}

fn number(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    value.map(|v| (v as i64).wrapping_mul(sign)).map_err(|_| format!("{text} is not a number"))
}

/// The bytes of `"text\x00"`.
fn quoted(text: &str) -> Result<Vec<u8>, String> {
    let inner =
        text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).ok_or(format!("{text} is not quoted"))?;
    let mut out = Vec::new();
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match (bytes.next(), bytes.next(), bytes.next()) {
            (Some(b'x'), Some(high), Some(low)) => {
                let hex = [high, low];
                let hex = std::str::from_utf8(&hex).map_err(|e| e.to_string())?;
                out.push(u8::from_str_radix(hex, 16).map_err(|e| e.to_string())?);
            }
            _ => return Err("only \\xHH is known".into()),
        }
    }
    Ok(out)
}

/// Words, quoted strings, and brackets, commas and dots of their own.
fn tokens(step: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut inside = false;
    for c in step.chars() {
        match c {
            '"' => {
                word.push(c);
                inside = !inside;
            }
            _ if inside => word.push(c),
            ' ' | '[' | ']' | '(' | ')' | ',' | '.' => {
                if !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
                if c != ' ' {
                    out.push(c.to_string());
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}
