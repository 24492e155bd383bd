//! The script of a run case: comments of an `.ir` file that start with `;:`, in order. What runs them is a [`Subject`]: the machine,
//! which runs what the code generator makes of the file (`tests/run.rs`); the evaluator, which runs the file itself
//! (`tracer/tests/evaluator.rs`). So one file says what both must do.
//!
//! ```text
//! ;: targets 6.1 6.18               kernels, instead of all presets
//! ;: inlined                        only after the optimizer: there are calls
//! ;: user 0x1000 "text\x00"         memory of the process (or: kernel)
//! ;: ring 64                        room that is left in the ring buffer
//! ;: run f0 rdi=5 comm=bash cpu=1   a hit: registers, pid, tid, uid, gid, comm, cpu, site, clock; a0 a1 … (words);
//!                                   stack=1/2 the user stack's addresses;
//!                                   result, where the function asks for one: then a program of kind fexit
//! ;: g0 == 5                        a scalar; g1[5, "x"] == 1 an element; `missing` where there is none
//! ;: g2.count == 3                  count, sum, min, max or bucket N of a statistic, merged; g3[1].sum an element's
//! ;: record r0 (5, "x") site 1      the next record
//! ;: error division 3 arg 7         the next record: kind, place, argument; `error message "text"`
//! ;: exit                           the next record
//! ;: open                           the session runs again, after exit() or an error
//! ;: silence                        no record is left
//! ;: cell f0 hits 3                 a counter of the ledger
//! ;: cpus                           the rest is about statistics that each CPU keeps apart
//! ```
//!
//! **Not here:** what a subject is made of.

mod text;

use tracer_common::ir::{
    FuncId, Function, GlobalId, GlobalTy, Inst, Module, Source, Space, Ty, parse, verify,
};
use tracer_common::manifest::{AttachPoint, Site};
use tracer_common::record::{ErrorKind, error_text};

use text::{number, quoted, tokens};

/// Registers, by their DWARF numbers on x86-64.
const REGISTERS: [&str; 17] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rip",
];

/// A key, or what a plain global holds, or a field of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Long(i64),
    Str(Vec<u8>),
}

/// What a hit sent.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Sent {
    Record {
        id: u16,
        site: u32,
        fields: Vec<Value>,
    },
    /// An error that nothing caught. Records also say its kind and argument.
    Error {
        text: Vec<u8>,
        place: u32,
        word: Option<(ErrorKind, i64)>,
    },
    Exit,
}

/// One hit.
pub(crate) struct Hit {
    /// What the registers and words of the context hold that the case sets.
    pub(crate) context: Vec<(Source, u64)>,
    pub(crate) site: u32,
}

/// A counter of the task or of the world that `run` sets, and that stays.
pub(crate) enum Setting<'s> {
    Comm(&'s [u8]),
    /// Return addresses of the user stack.
    Stack(Vec<u64>),
    /// pid, tid, uid, gid, task (the address of its `task_struct`), cpu, clock.
    Number(&'s str, i64),
}

/// What runs a case.
pub(crate) trait Subject {
    fn lay_out(&mut self, space: Space, address: u64, bytes: &[u8]);
    /// The session runs again.
    fn open(&mut self);
    /// Bytes that the ring still takes; false where there is no ring, and then all up to the next `ring` is left out.
    fn ring(&mut self, room: usize) -> bool;
    /// Whether each CPU keeps its part of a statistic; if not, the rest is left out.
    fn has_cpus(&self) -> bool;
    fn set(&mut self, setting: &Setting<'_>) -> Result<(), String>;
    /// Whether a function asks for nothing that the subject cannot be told; else the case ends before it.
    fn can_run(&self, _: FuncId) -> bool {
        true
    }
    fn run(&mut self, function: FuncId, hit: &Hit) -> Result<(), String>;
    /// The oldest of what was sent and not yet looked at.
    fn sent(&mut self) -> Result<Option<Sent>, String>;
    /// A plain global; none where the element is not there.
    fn value(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<Value>, String>;
    /// `count`, `sum`, `min`, `max` or `bucket` of a statistic; none where there is no value.
    fn statistic(
        &mut self,
        global: GlobalId,
        keys: &[Value],
        field: &str,
        bucket: usize,
    ) -> Result<Option<i64>, String>;
    /// Whether an element knows when it was inserted; none where that is not for it to say.
    fn inserted(&mut self, global: GlobalId, keys: &[Value]) -> Result<Option<bool>, String>;
    /// A counter of the ledger; none where there is no ledger.
    fn counter(&mut self, function: FuncId, name: &str) -> Result<Option<i64>, String>;
}

/// The module of a case's text, verified.
pub(crate) fn module(text: &str) -> Result<Module, String> {
    let mut module = parse::module(text).map_err(|error| error.to_string())?;
    verify::verify(&module).map_err(|violations| verify::explain(&module, &violations))?;
    if !text.contains("limit MAXERRORS") {
        // Hits go on after an error, unless the case is about that.
        module.limits.errors = u32::MAX;
    }
    Ok(module)
}

/// The sites that programs are attached at.
pub(crate) fn sites() -> Vec<Site> {
    let site = |n: u32| Site {
        alias: format!("alias{n}"),
        function: format!("function{n}"),
        ..Site::new(AttachPoint::Session, format!("site number {n}"))
    };
    (0..2).map(site).collect()
}

/// Whether a function asks for the result of the one that it traces.
pub(crate) fn wants_result(function: &Function) -> bool {
    let result = |inst: &Inst| matches!(inst, Inst::Context { source: Source::Result, .. });
    function.blocks.iter().flat_map(|block| &block.insts).any(|(inst, _)| result(inst))
}

/// The files of run cases in a folder: path and text, in the order of their names.
pub(crate) fn files(folder: &std::path::Path) -> Vec<(std::path::PathBuf, String)> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder of cases").flatten().map(|e| e.path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a case"))).collect()
}

/// Runs the steps of a case; how many there were, or the first that failed.
pub(crate) fn perform(text: &str, module: &Module, subject: &mut dyn Subject) -> Result<usize, String> {
    let mut count = 0;
    let mut left_out = false;
    for (number, line) in text.lines().enumerate() {
        let Some(step) = line.strip_prefix(";: ") else { continue };
        let words = tokens(step);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = match words.as_slice() {
            ["targets", ..] | ["inlined"] => continue,
            ["ring", room] => text::number(room).map(|room| left_out = !subject.ring(room as usize)),
            ["cpus"] => {
                left_out = !subject.has_cpus();
                continue;
            }
            _ if left_out => continue,
            ["run", function, ..] if id(function, 'f').is_ok_and(|n| !subject.can_run(FuncId(n))) => break,
            words => Steps { module, subject }.step(words),
        };
        done.map_err(|error| format!("line {}: {step}: {error}", number + 1))?;
        count += 1;
    }
    Ok(count)
}

struct Steps<'s> {
    module: &'s Module,
    subject: &'s mut dyn Subject,
}

impl Steps<'_> {
    fn step(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["user", address, text] => {
                self.subject.lay_out(Space::User, number(address)? as u64, &quoted(text)?);
            }
            ["kernel", address, text] => {
                self.subject.lay_out(Space::Kernel, number(address)? as u64, &quoted(text)?);
            }
            ["open"] => self.subject.open(),
            ["run", function, rest @ ..] => self.hit(id(function, 'f')?, rest)?,
            ["silence"] => same(self.subject.sent()?, None)?,
            ["exit"] => same(self.next()?, Sent::Exit)?,
            ["record", record, "(", rest @ ..] => self.record(id(record, 'r')? as u16, rest)?,
            ["error", rest @ ..] => self.error(rest)?,
            ["cell", function, name, value] => {
                if let Some(found) = self.subject.counter(FuncId(id(function, 'f')?), name)? {
                    same(found, number(value)?)?;
                }
            }
            [global, rest @ ..] if global.starts_with('g') => self.global(id(global, 'g')?, rest)?,
            _ => return Err("no such step".into()),
        }
        Ok(())
    }

    fn hit(&mut self, function: u32, settings: &[&str]) -> Result<(), String> {
        let mut hit = Hit { context: Vec::new(), site: 0 };
        for setting in settings {
            let (name, value) = setting.split_once('=').ok_or("a setting is name=value")?;
            if name == "comm" {
                self.subject.set(&Setting::Comm(value.as_bytes()))?;
                continue;
            }
            if name == "stack" {
                let addresses = value.split('/').map(|address| number(address).map(|n| n as u64));
                self.subject.set(&Setting::Stack(addresses.collect::<Result<_, _>>()?))?;
                continue;
            }
            let value = number(value)?;
            let argument = name.strip_prefix('a').and_then(|n| n.parse().ok());
            let register = REGISTERS.iter().position(|register| *register == name);
            match (name, argument, register) {
                ("site", ..) => hit.site = value as u32,
                ("result", ..) => hit.context.push((Source::Result, value as u64)),
                (_, Some(n), _) => hit.context.push((Source::Argument(n), value as u64)),
                (_, _, Some(n)) => hit.context.push((Source::Register(n as u8), value as u64)),
                _ => self.subject.set(&Setting::Number(name, value))?,
            }
        }
        self.subject.run(FuncId(function), &hit)
    }

    fn next(&mut self) -> Result<Sent, String> {
        self.subject.sent()?.ok_or("there is no record".into())
    }

    fn record(&mut self, wanted: u16, rest: &[&str]) -> Result<(), String> {
        let (id, site, found) = match self.next()? {
            Sent::Record { id, site, fields } => (id, site, fields),
            other => return Err(format!("found {other:?}")),
        };
        same(id, wanted)?;
        let end = rest.iter().position(|t| *t == ")").ok_or("no end")?;
        let wanted: Vec<&str> = rest[..end].iter().copied().filter(|t| *t != ",").collect();
        let types = &self.module.records[usize::from(id)].fields;
        same(found, values(&wanted, types)?)?;
        match &rest[end + 1..] {
            [] => Ok(()),
            ["site", wanted] => same(i64::from(site), number(wanted)?),
            _ => Err("site N follows".into()),
        }
    }

    fn error(&mut self, rest: &[&str]) -> Result<(), String> {
        let (found, place, word) = match self.next()? {
            Sent::Error { text, place, word } => (text, place, word),
            other => return Err(format!("found {other:?}")),
        };
        let (name, at, argument) = match rest {
            ["message", text] => return same(found, quoted(text)?),
            [name, at] => (name, at, None),
            [name, at, "arg", argument] => (name, at, Some(number(argument)?)),
            _ => return Err("a kind and a place follow".into()),
        };
        same(i64::from(place), number(at)?)?;
        let kind = ErrorKind::ALL.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name));
        let kind = kind.ok_or("no such kind")?;
        if let Some((found, said)) = word {
            same(found, kind)?;
            same(said, argument.unwrap_or(said))?;
        }
        let mut wanted = error_text(self.module, kind, argument.unwrap_or(0) as u64);
        if let (None, Some((before, _))) = (argument, kind.around_address()) {
            wanted.truncate(before.len());
        }
        if found.starts_with(wanted.as_bytes()) {
            Ok(())
        } else {
            Err(format!("found {:?}, wanted {wanted:?}", String::from_utf8_lossy(&found)))
        }
    }

    fn global(&mut self, global: u32, rest: &[&str]) -> Result<(), String> {
        let declared = self.module.globals.get(global as usize).ok_or("no such global")?;
        let global = GlobalId(global);
        let (keys, rest) = match rest {
            ["[", rest @ ..] => {
                let end = rest.iter().position(|t| *t == "]").ok_or("no ]")?;
                let keys: Vec<&str> = rest[..end].iter().copied().filter(|t| *t != ",").collect();
                (values(&keys, &declared.keys)?, &rest[end + 1..])
            }
            _ => (Vec::new(), rest),
        };
        match (rest, &declared.ty) {
            (["==", "missing"], GlobalTy::Value(_)) => same(self.subject.value(global, &keys)?, None),
            (["==", "missing"], GlobalTy::Stats(_)) => {
                same(self.subject.statistic(global, &keys, "count", 0)?.unwrap_or(0), 0)
            }
            (["==", value], GlobalTy::Value(ty)) => {
                let wanted = values(&[*value], &[*ty])?.pop();
                same(self.subject.value(global, &keys)?, wanted)
            }
            ([".", "inserted"], _) => match self.subject.inserted(global, &keys)? {
                Some(inserted) => same(inserted, true),
                None => Ok(()),
            },
            ([".", "bucket", index, "==", value], GlobalTy::Stats(_)) => {
                let found = self.subject.statistic(global, &keys, "bucket", number(index)? as usize)?;
                same(found.unwrap_or(0), number(value)?)
            }
            ([".", field @ ("count" | "sum"), "==", value], GlobalTy::Stats(_)) => {
                same(self.subject.statistic(global, &keys, field, 0)?.unwrap_or(0), number(value)?)
            }
            ([".", field @ ("min" | "max"), "==", value], GlobalTy::Stats(_)) => {
                same(self.subject.statistic(global, &keys, field, 0)?, Some(number(value)?))
            }
            _ => Err("no such comparison".into()),
        }
    }
}

fn id(text: &str, letter: char) -> Result<u32, String> {
    text.strip_prefix(letter).and_then(|n| n.parse().ok()).ok_or(format!("{letter} and a number"))
}

fn values(texts: &[&str], types: &[Ty]) -> Result<Vec<Value>, String> {
    same(texts.len(), types.len())?;
    let value = |(text, ty): (&&str, &Ty)| match ty {
        Ty::Long => number(text).map(Value::Long),
        Ty::Str(_) => quoted(text).map(Value::Str),
    };
    texts.iter().zip(types).map(value).collect()
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("found {found:?}, wanted {wanted:?}")) }
}
