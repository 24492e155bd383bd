//! `process…`: programs and libraries, through DWARF, symbols and SDT notes.
//!
//! Source: stapprobes(3stap), "PROCESS", "SDT MARKERS".
//!
//! Rooms, in reading order: this file (which form), `module` (which file), `life` (begin, end, threads, system calls),
//! `function`, `callee`, `statement`, `mark`, `plt` (places in it), `pattern` (how functions and lines are written), `scope` (variables at a place), `file` (those of a whole file),
//! `thread_local` (the storage of a thread).

mod callee;
mod file;
mod function;
mod life;
mod mark;
mod module;
mod pattern;
mod plt;
mod scope;
mod statement;
mod thread_local;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use tracer_common::manifest::{AttachPoint, ProgramKind, Site};

use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::sema::families::Subject;
use crate::sema::families::kernel::KernelTypes;
use crate::sema::family::{Candidate, Door, Family, FileFound, TargetScope};
use crate::sema::program::{Guard, Trigger};
use crate::source::Span;
use crate::syntax::ast::{LiteralValue, ProbePointComponent};
use crate::world::World;
use module::Module;

/// The family.
pub(super) struct Process<'w> {
    /// The machine.
    pub world: &'w dyn World,
    /// What `process` alone stands for: the program of `-c` or `-x`.
    subject: Option<Subject>,
    /// The kernel's types.
    types: Rc<KernelTypes<'w>>,
    /// Files that were opened.
    modules: RefCell<HashMap<PathBuf, Rc<Module>>>,
}

/// One file of a probe point, and how it is written.
#[derive(Clone)]
struct Program {
    module: Rc<Module>,
    /// The only process in which its code is probed.
    pid: Option<u32>,
    /// Whose hits count, where its code runs in other programs too.
    guard: Guard,
    /// `process("/bin/x")`, `process("/bin/x").library("/lib/y")`.
    text: String,
}

impl<'w> Process<'w> {
    /// Nothing is opened yet.
    pub(super) fn new(
        world: &'w dyn World,
        subject: Option<Subject>,
        types: Rc<KernelTypes<'w>>,
    ) -> Process<'w> {
        Process { world, subject, types, modules: RefCell::default() }
    }
}

/// The text in a component's parentheses.
fn text(component: &ProbePointComponent) -> Option<String> {
    match &component.arg.as_ref()?.value {
        LiteralValue::Str(text) => text.as_str().map(str::to_owned),
        LiteralValue::Number(_) => None,
    }
}

/// The number in a component's parentheses.
fn number(component: &ProbePointComponent) -> Option<u64> {
    match &component.arg.as_ref()?.value {
        LiteralValue::Number(n) => Some(*n as u64),
        LiteralValue::Str(_) => None,
    }
}

/// A component that cannot be here.
fn misplaced(component: &ProbePointComponent, after: &str) -> Diagnostic {
    Diagnostic::error(Code::ProbePoint, component.span, format!("{after} has no .{}", component.name))
}

/// Nothing may follow.
fn ends(rest: &[ProbePointComponent], after: &str) -> Result<(), Diagnostic> {
    rest.first().map_or(Ok(()), |more| Err(misplaced(more, after)))
}

/// What there is of a process's life.
const LIFE: [&str; 4] = ["begin", "end", "thread", "syscall"];
const KINDS: [&str; 9] =
    ["function", "statement", "mark", "provider", "plt", "begin", "end", "thread", "syscall"];
/// What SystemTap has and eBPF has not, and why.
const REFUSED: [(&str, &str, &str); 2] = [
    (
        "insn",
        "a program is never stepped through: the kernel gives eBPF no hit for each instruction",
        "process(\"…\").statement(\"function@file:*\") has one for each line",
    ),
    (
        "data",
        "eBPF programs cannot be attached to watchpoints of a process",
        "process(\"…\").statement(\"…\")",
    ),
];

impl Family for Process<'_> {
    fn resolve(
        &self,
        point: &[ProbePointComponent],
        span: Span,
    ) -> Option<Result<Vec<Candidate>, Diagnostic>> {
        (&*point[0].name == "process").then(|| self.process(point, span))
    }

    fn file(&self, door: &Door<'_>, name: Option<&str>, span: Span) -> FileFound {
        self.file_scope(door, name, span)
    }

    fn forms(&self) -> &'static [&'static str] {
        &[
            "process.function(string)",
            "process.mark(string)",
            "process.statement(string)",
            "process(number).function(string)",
            "process(number).statement(number).absolute",
            "process.begin",
            "process.end",
            "process.syscall",
            "process.syscall.return",
            "process.thread.begin",
            "process.thread.end",
            "process(string).begin",
            "process(string).end",
            "process(string).syscall",
            "process(string).syscall.return",
            "process(string).thread.begin",
            "process(string).thread.end",
            "process(string).function(string)",
            "process(string).function(string).call",
            "process(string).function(string).callee(string)",
            "process(string).function(string).callees",
            "process(string).function(string).callees(number)",
            "process(string).function(string).exported",
            "process(string).function(string).inline",
            "process(string).function(string).label(string)",
            "process(string).function(string).return",
            "process(string).library(string).function(string)",
            "process(string).library(string).function(string).call",
            "process(string).library(string).function(string).return",
            "process(string).library(string).mark(string)",
            "process(string).library(string).plt",
            "process(string).library(string).plt(string)",
            "process(string).library(string).plt(string).return",
            "process(string).library(string).provider(string).mark(string)",
            "process(string).library(string).statement(string)",
            "process(string).mark(string)",
            "process(string).plt",
            "process(string).plt.return",
            "process(string).plt(string)",
            "process(string).plt(string).return",
            "process(string).provider(string).mark(string)",
            "process(string).statement(number)",
            "process(string).statement(string)",
            "process(string).statement(string).nearest",
        ]
    }
}

impl Process<'_> {
    fn process(&self, point: &[ProbePointComponent], span: Span) -> Result<Vec<Candidate>, Diagnostic> {
        // The life of all processes, where none is told.
        if point[0].arg.is_none()
            && self.subject.is_none()
            && let Some(what) = point.get(1).filter(|what| what.arg.is_none() && LIFE.contains(&&*what.name))
        {
            return self.life(None, what, &point[2..]);
        }
        let mut programs = self.programs(&point[0])?;
        let mut rest = &point[1..];
        if let Some(library) = rest.first().filter(|next| &*next.name == "library") {
            programs = self.libraries(&programs, library)?;
            rest = &rest[1..];
        }
        let Some(what) = rest.first() else {
            return Err(Diagnostic::error(Code::ProbePoint, span, "what of the process?").hint(
                "process(\"…\").function(\"…\"), process(\"…\").statement(\"…\"), process(\"…\").mark(\"…\")",
            ));
        };
        let many = programs.len() > 1;
        let mut found = Vec::new();
        let mut problem = None;
        for program in &programs {
            match self.places(program, what, &rest[1..]) {
                Ok(places) => found.extend(places),
                // Of several programs, some may lack it.
                Err(diagnostic) if many => problem = Some(diagnostic),
                Err(diagnostic) => return Err(diagnostic),
            }
        }
        match problem {
            Some(diagnostic) if found.is_empty() => Err(diagnostic),
            _ => Ok(found),
        }
    }

    fn places(
        &self,
        program: &Program,
        what: &ProbePointComponent,
        rest: &[ProbePointComponent],
    ) -> Result<Vec<Candidate>, Diagnostic> {
        if matches!(&*what.name, "function" | "statement") {
            program.module.find_anywhere(self.world);
        }
        match &*what.name {
            "function" => function::resolve(program, what, rest),
            "statement" => self.statement(program, what, rest),
            "plt" => plt::resolve(program, what, rest),
            "mark" | "provider" => mark::resolve(self.world, program, what, rest),
            life if what.arg.is_none() && LIFE.contains(&life) => self.life(Some(program), what, rest),
            other => {
                if let Some((name, why, instead)) = REFUSED.iter().find(|(name, ..)| *name == other) {
                    let message = format!("process(\"…\").{name}: {why}");
                    return Err(Diagnostic::error(Code::Unsupported, what.span, message).hint(*instead));
                }
                let diagnostic =
                    Diagnostic::error(Code::ProbePoint, what.span, format!("a process has no .{other}"));
                Err(match suggest::hint(other, KINDS) {
                    Some(hint) => diagnostic.hint(hint),
                    None => diagnostic.hint(format!("there are: {}", KINDS.join(", "))),
                })
            }
        }
    }
}

/// A place without more facts.
fn candidate(
    program: &Program,
    offset: u64,
    probe_point: String,
    function: &str,
    scope: Rc<dyn TargetScope>,
) -> Candidate {
    let attach = AttachPoint::User {
        path: program.module.path.display().to_string(),
        offset,
        semaphore: None,
        pid: program.pid,
    };
    let site = Site { function: function.to_owned(), ..Site::new(attach, probe_point) };
    let guard = program.guard.clone();
    Candidate { guard, ..Candidate::new(Trigger::Kernel(ProgramKind::Uprobe), site, scope) }
}

/// The same place at the function's return.
fn at_return(mut candidate: Candidate) -> Candidate {
    candidate.trigger = Trigger::Kernel(ProgramKind::Uretprobe);
    candidate.entry = Some(ProgramKind::Uprobe);
    candidate
}
