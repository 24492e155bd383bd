//! `timer.profile[.tick]` and `perf.type(t).config(c)…`: samples on every CPU.
//!
//! An event of one program (`.process("x")`) is counted on every CPU as well; the handler runs when the program does.
//!
//! Source: stapprobes(3stap), "TIMERS", "PERF".

use std::path::Path;
use std::rc::Rc;

use tracer_common::manifest::{AttachPoint, ProgramKind, Sampling, Site};

use super::kernel::KernelTypes;
use super::session::{JIFFY, NoTargets};
use super::task::Task;
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::family::{Candidate, Family};
use crate::sema::point;
use crate::sema::program::{Guard, Trigger};
use crate::source::Span;
use crate::syntax::ast::{LiteralValue, ProbePointComponent};
use crate::world::World;

/// The software clock: `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_CPU_CLOCK`; it counts nanoseconds.
const CLOCK: (u32, u64) = (1, 0);
/// Events between two samples, unless the script says.
const PERIOD: u64 = 1_000_000;

/// The family.
pub(super) struct Perf<'w> {
    /// The machine.
    pub world: &'w dyn World,
    /// The kernel's types.
    pub types: Rc<KernelTypes<'w>>,
    /// What `.process` alone stands for.
    pub subject: Option<String>,
}

impl Family for Perf<'_> {
    fn resolve(
        &self,
        point: &[ProbePointComponent],
        span: Span,
    ) -> Option<Result<Vec<Candidate>, Diagnostic>> {
        match (&*point[0].name, &*point.get(1)?.name) {
            ("timer", "profile") => Some(profile(point)),
            ("perf", "type") => Some(self.event(point, span)),
            _ => None,
        }
    }

    fn forms(&self) -> &'static [&'static str] {
        &[
            "perf.type(number).config(number)",
            "perf.type(number).config(number).hz(number)",
            "perf.type(number).config(number).process",
            "perf.type(number).config(number).process(string)",
            "perf.type(number).config(number).sample(number)",
            "timer.profile",
            "timer.profile.tick",
        ]
    }
}

fn refuse(component: &ProbePointComponent, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Code::ProbePoint, component.span, message.into())
}

/// The number in a component's parentheses.
fn number(component: &ProbePointComponent) -> Result<u64, Diagnostic> {
    let value = component.arg.as_ref().map(|literal| &literal.value);
    let Some(LiteralValue::Number(number)) = value else {
        return Err(refuse(component, format!(".{} takes a number", component.name)));
    };
    u64::try_from(*number).map_err(|_| refuse(component, format!(".{} cannot be negative", component.name)))
}

fn positive(component: &ProbePointComponent) -> Result<u64, Diagnostic> {
    match number(component)? {
        0 => Err(refuse(component, format!(".{} must be positive", component.name))),
        number => Ok(number),
    }
}

fn profile(point: &[ProbePointComponent]) -> Result<Vec<Candidate>, Diagnostic> {
    let period = match point.get(2) {
        None => PERIOD,
        Some(tick) if &*tick.name == "tick" && tick.arg.is_none() && point.len() == 3 => JIFFY as u64,
        Some(other) => {
            let other = point.get(3).unwrap_or(other);
            return Err(refuse(other, format!("timer.profile has no .{}", other.name))
                .hint("there are: timer.profile, timer.profile.tick, timer.profile.freq.hz(number)"));
        }
    };
    let (kind, config) = CLOCK;
    Ok(vec![candidate(point, kind, config, Sampling::Period(period), Guard::default())])
}

impl Perf<'_> {
    fn event(&self, point: &[ProbePointComponent], span: Span) -> Result<Vec<Candidate>, Diagnostic> {
        let kind = u32::try_from(number(&point[1])?)
            .map_err(|_| refuse(&point[1], "there is no such type of event"))?;
        let Some(config) = point.get(2).filter(|component| &*component.name == "config") else {
            return Err(Diagnostic::error(
                Code::ProbePoint,
                span,
                "which event? .config(number) must follow",
            ));
        };
        let config = number(config)?;
        let mut sampling = Sampling::Period(PERIOD);
        let mut guard = Guard::default();
        for component in &point[3..] {
            match &*component.name {
                "sample" => sampling = Sampling::Period(positive(component)?),
                "hz" => sampling = Sampling::Frequency(positive(component)?),
                "process" if guard.steps.is_empty() => guard = self.process(component)?,
                "counter" => {
                    let message = ".counter is not supported yet: a handler cannot read a counter";
                    return Err(Diagnostic::error(Code::Unsupported, component.span, message));
                }
                other => {
                    return Err(refuse(component, format!("an event has no .{other}"))
                        .hint("there are: sample(number), hz(number), process(\"path\")"));
                }
            }
        }
        Ok(vec![candidate(point, kind, config, sampling, guard)])
    }

    /// Whether the current task runs the program that is meant.
    fn process(&self, component: &ProbePointComponent) -> Result<Guard, Diagnostic> {
        let span = component.span;
        let name = match component.arg.as_ref().map(|literal| &literal.value) {
            Some(LiteralValue::Str(text)) => text.as_str().map(str::to_owned),
            Some(LiteralValue::Number(_)) => None,
            None => self.subject.clone(),
        };
        let Some(name) = name else {
            return Err(Diagnostic::error(Code::ProbePoint, span, "which program?")
                .hint("process(\"/path/of/program\"), or run with -c COMMAND or -x PID"));
        };
        let found = self.world.find_program(&name);
        let Some(path) = found.and_then(|path| self.world.canonicalize(Path::new(&path)).ok()) else {
            return Err(Diagnostic::error(Code::NoFile, span, format!("no such program: {name}")));
        };
        let btf = self.types.get(span)?;
        let mut guard = Guard::default();
        Task { btf: &btf, span }.runs(&mut guard, self.world, &path)?;
        Ok(guard)
    }
}

fn candidate(
    point: &[ProbePointComponent],
    kind: u32,
    config: u64,
    sampling: Sampling,
    guard: Guard,
) -> Candidate {
    let site = Site::new(AttachPoint::Perf { kind, config, sampling }, point::text(point));
    let trigger = Trigger::Kernel(ProgramKind::PerfEvent);
    Candidate { guard, ..Candidate::new(trigger, site, Rc::new(NoTargets)) }
}
