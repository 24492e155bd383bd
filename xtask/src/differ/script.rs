//! A script in its two forms, and the passes that compile it.
//!
//! The *user* form runs the handler in `begin` probes, one for each hit; the *kernel* form in a probe point that exists
//! only here, `hit`: a raw tracepoint, which the kernel runs on demand. An `end` probe prints all globals.
//!
//! **Not here:** running them (`outcome`).

use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;

use tracer::artifact::Artifact;
use tracer::diagnostics::{Code, Diagnostic, Severity, Sink};
use tracer::driver::abilities;
use tracer::lower::{Abilities, Lowered, lower};
use tracer::sema;
use tracer::sema::families;
use tracer::sema::family::{Candidate, Family, Resolved, TargetScope};
use tracer::sema::library::Library;
use tracer::sema::program::{Access, TargetValue, Trigger};
use tracer::sema::target_var::{WORD, unknown};
use tracer::source::{SourceMap, Span};
use tracer::syntax::ast::{ExprIds, ProbePointComponent, TargetExpr, TargetRoot};
use tracer::syntax::{self, Facts, Macros};
use tracer_common::ir::verify;
use tracer_common::limits::Limits;
use tracer_common::manifest::{AttachPoint, ProgramKind, Site};
use tracer_ebpf::compile::compile;
use tracer_ebpf::target::Target;

/// A script for both domains.
#[derive(Clone, Debug)]
pub struct Script {
    /// Declarations.
    pub globals: String,
    /// Functions.
    pub functions: String,
    /// The handlers' statements; `number` and `thread` are the hit's.
    pub bodies: Vec<String>,
    /// Statements of the `end` probe.
    pub end: String,
    /// What hits them, in this order.
    pub hits: Vec<Hit>,
    /// MAXSTRINGLEN.
    pub string_len: u16,
}

/// A hit of one of the handlers.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// Which of them.
    pub handler: usize,
    /// Its `number`.
    pub number: i64,
    /// Its `thread`.
    pub thread: i64,
}

impl Hit {
    /// The words of its context.
    pub fn words(&self) -> [u64; 2] {
        [self.number as u64, self.thread as u64]
    }
}

/// Statements that any handler may run, in both domains.
const ACTIONS: u32 = 2000;

impl Script {
    /// The handlers in the user domain.
    pub fn user(&self) -> String {
        let mut probes = String::new();
        for (n, Hit { handler, number, thread }) in self.hits.iter().enumerate() {
            let _ = writeln!(
                probes,
                "probe begin({n}) {{\n  number = {number}; thread = {thread};\n{}}}",
                self.bodies[*handler]
            );
        }
        self.text(&probes)
    }

    /// The handlers in the kernel domain.
    pub fn kernel(&self) -> String {
        let mut probes = String::new();
        for body in &self.bodies {
            let _ = writeln!(probes, "probe hit {{\n  number = $number; thread = $thread;\n{body}}}");
        }
        self.text(&probes)
    }

    fn text(&self, probes: &str) -> String {
        format!("{}{}{probes}probe end {{\n{}}}\n", self.globals, self.functions, self.end)
    }

    /// The limits that it runs with.
    pub fn limits(&self) -> Limits {
        Limits {
            string_len: self.string_len,
            action: ACTIONS,
            action_interruptible: ACTIONS,
            errors: u32::MAX,
            ..Limits::STAP
        }
    }
}

/// Why a script was not compiled.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// Something that the kernel domain cannot do, and says so: a limit of the language's implementation.
    Unsupported(String),
    /// Anything else: a bug of the generator or of a pass.
    Wrong(String),
}

/// What a refusal begins with when pass 3 made IR that is wrong.
pub const UNVERIFIED: &str = "unverified: ";

/// Passes 1 to 3.
pub fn translate(text: &str, limits: &Limits, abilities: Abilities) -> Result<(Lowered, SourceMap), Refusal> {
    let facts = Facts::example();
    let (mut sources, mut sink, mut ids) = (SourceMap::default(), Sink::default(), ExprIds::default());
    let file = sources.add("script", text, None);
    let macros = Macros::default();
    let tree = syntax::parse(&mut sources, file, &mut ids, &facts, &macros, &mut sink);
    check(&sink, &sources)?;
    let mut library = Library::embedded();
    let families: Vec<Box<dyn Family>> = vec![Box::new(families::Session), Box::new(Hits)];
    let input = sema::Input {
        library: &mut library,
        families: &families,
        globals_scope: &Words,
        facts: &facts,
        macros: &macros,
        settings: &[],
        guru: false,
        skip_badvars: false,
        suppress_errors: false,
        listing: false,
    };
    let program = sema::elaborate(vec![tree], input, &mut sources, &mut ids, &mut sink);
    check(&sink, &sources)?;
    let lowered = lower(&program, limits, abilities, &sources, &mut sink);
    check(&sink, &sources)?;
    verify::verify(&lowered.module).map_err(|violations| {
        Refusal::Wrong(format!("{UNVERIFIED}{}", verify::explain(&lowered.module, &violations)))
    })?;
    Ok((lowered, sources))
}

/// All passes; without a target there must be nothing for the kernel.
pub fn build(text: &str, limits: &Limits, target: Option<&Target>) -> Result<Artifact, Refusal> {
    let abilities = target.map_or(Abilities::ALL, abilities);
    let (mut lowered, sources) = translate(text, limits, abilities)?;
    let object = match target {
        None => None,
        Some(target) => Some(
            compile(&lowered.module, &mut lowered.manifest, target)
                .map_err(|error| Refusal::Unsupported(error.to_string()))?,
        ),
    };
    Ok(Artifact { module: lowered.module, manifest: lowered.manifest, object, sources })
}

fn check(sink: &Sink, sources: &SourceMap) -> Result<(), Refusal> {
    let errors: Vec<Diagnostic> =
        sink.all().iter().filter(|found| found.severity == Severity::Error).cloned().collect();
    let Some(first) = errors.first() else { return Ok(()) };
    if matches!(first.code, Code::Unsupported | Code::KernelLimit) {
        let why = first.labels.first().map_or(String::new(), |label| format!(": {}", label.message));
        return Err(Refusal::Unsupported(format!("{}{why}", first.message)));
    }
    let style = tracer::diagnostics::render::Style { color: false };
    Err(Refusal::Wrong(tracer::diagnostics::render::render_all(sources, &errors, 2, style)))
}

/// The family of the probe point `hit`.
struct Hits;

impl Family for Hits {
    fn resolve(
        &self,
        point: &[ProbePointComponent],
        _span: Span,
    ) -> Option<Result<Vec<Candidate>, Diagnostic>> {
        if &*point[0].name != "hit" {
            return None;
        }
        let site = Site { function: "hit".to_owned(), ..Site::new(AttachPoint::Session, "hit") };
        let trigger = Trigger::Kernel(ProgramKind::RawTracepoint);
        Some(Ok(vec![Candidate::new(trigger, site, Rc::new(Words))]))
    }

    fn forms(&self) -> &'static [&'static str] {
        &["hit"]
    }
}

/// The words of its context by name.
struct Words;

impl TargetScope for Words {
    fn resolve(&self, target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        let names = ["number", "thread"];
        let found = match &target.root {
            TargetRoot::Variable(name) => names.iter().position(|known| *known == &**name),
            _ => None,
        };
        let Some(n) = found else {
            return Err(unknown("this", &names.map(str::to_owned), span, "hit"));
        };
        let value = TargetValue::Value(Access::Argument(n as u8, WORD));
        Ok(Resolved { value, names: Vec::new(), at_entry: false })
    }
}

/// Writes a script's forms beside each other, for whoever looks into a failure.
pub fn save(script: &Script, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("user.stp"), script.user())?;
    std::fs::write(folder.join("kernel.stp"), script.kernel())
}
