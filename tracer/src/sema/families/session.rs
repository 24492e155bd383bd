//! `begin`, `end`, `error`, `never`, `timer.*`: handlers of the user domain.
//!
//! Source: stapprobes(3stap), "BEGIN/END/ERROR", "NEVER", "TIMERS".

use std::rc::Rc;

use tracer_common::manifest::{AttachPoint, Site};

use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::sema::family::{Candidate, Family, Resolved, TargetScope};
use crate::sema::point;
use crate::sema::program::Trigger;
use crate::source::Span;
use crate::syntax::ast::{LiteralValue, ProbePointComponent, TargetExpr};

/// The family.
pub struct Session;

/// Nothing is traced: no target variables.
pub struct NoTargets;

impl TargetScope for NoTargets {
    fn resolve(&self, _target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        Err(Diagnostic::error(
            Code::NoTargetVariables,
            span,
            "there are no target variables here: this handler does not run in a traced program",
        ))
    }
}

/// A jiffy: Debian's kernels tick 250 times a second.
pub(super) const JIFFY: i64 = 4_000_000;

/// Words of `timer.*` and their nanoseconds.
const UNITS: [(&str, i64); 9] = [
    ("jiffies", JIFFY),
    ("ms", 1_000_000),
    ("msec", 1_000_000),
    ("ns", 1),
    ("nsec", 1),
    ("s", 1_000_000_000),
    ("sec", 1_000_000_000),
    ("us", 1000),
    ("usec", 1000),
];

impl Family for Session {
    fn resolve(
        &self,
        point: &[ProbePointComponent],
        span: Span,
    ) -> Option<Result<Vec<Candidate>, Diagnostic>> {
        let trigger = match &*point[0].name {
            "begin" => order(point).map(Trigger::Begin),
            "end" => order(point).map(Trigger::End),
            "error" => order(point).map(Trigger::Error),
            "never" => order(point).map(|_| Trigger::Never),
            // Those are the kernel's (`perf`).
            "timer" if point.get(1).is_some_and(|unit| &*unit.name == "profile") => return None,
            "timer" => timer(point, span),
            "procfs" => Err(Diagnostic::error(
                Code::Unsupported,
                span,
                "procfs needs a kernel module: nothing else can make files in /proc",
            )
            .hint("print to a file with -o, from a timer or an end probe")),
            _ => return None,
        };
        Some(trigger.map(|trigger| {
            let site = Site::new(AttachPoint::Session, point::text(point));
            vec![Candidate::new(trigger, site, Rc::new(NoTargets))]
        }))
    }

    fn forms(&self) -> &'static [&'static str] {
        &[
            "begin",
            "begin(number)",
            "end",
            "end(number)",
            "error",
            "error(number)",
            "never",
            "timer.hz(number)",
            "timer.jiffies(number)",
            "timer.ms(number)",
            "timer.ns(number)",
            "timer.s(number)",
            "timer.us(number)",
        ]
    }
}

fn number(component: &ProbePointComponent) -> Result<Option<i64>, Diagnostic> {
    match &component.arg {
        None => Ok(None),
        Some(literal) => match &literal.value {
            LiteralValue::Number(n) => Ok(Some(*n)),
            LiteralValue::Str(_) => Err(Diagnostic::error(
                Code::ProbePoint,
                literal.span,
                format!("{} takes a number", component.name),
            )),
        },
    }
}

/// The sequence number of `begin(n)` and its like.
fn order(point: &[ProbePointComponent]) -> Result<i64, Diagnostic> {
    if let Some(more) = point.get(1) {
        return Err(Diagnostic::error(
            Code::ProbePoint,
            more.span,
            format!("{} has no .{}", point[0].name, more.name),
        ));
    }
    Ok(number(&point[0])?.unwrap_or(0))
}

fn timer(point: &[ProbePointComponent], span: Span) -> Result<Trigger, Diagnostic> {
    let Some(unit) = point.get(1) else {
        return Err(Diagnostic::error(Code::ProbePoint, span, "a timer needs a period")
            .hint("timer.s(1), timer.ms(100), timer.us(500)"));
    };
    let nanoseconds = match UNITS.iter().find(|(word, _)| **word == *unit.name) {
        Some((_, nanoseconds)) => Some(*nanoseconds),
        None if &*unit.name == "hz" => None,
        None => {
            let mut diagnostic =
                Diagnostic::error(Code::ProbePoint, unit.span, format!("no timer.{}", unit.name));
            let words = UNITS.iter().map(|(word, _)| *word).chain(["hz", "profile"]);
            diagnostic = diagnostic.hint(
                suggest::hint(&unit.name, words.clone())
                    .unwrap_or_else(|| format!("there are: {}", words.collect::<Vec<_>>().join(", "))),
            );
            return Err(diagnostic);
        }
    };
    let Some(count) = number(unit)? else {
        return Err(Diagnostic::error(
            Code::ProbePoint,
            unit.span,
            format!("timer.{0} needs a number: timer.{0}(10)", unit.name),
        ));
    };
    let (low, high) = (1, 1_000_000_000_000);
    if !(low..=high).contains(&count) {
        return Err(Diagnostic::error(Code::ProbePoint, unit.span, "the period must be positive"));
    }
    let period = match nanoseconds {
        Some(nanoseconds) => count.saturating_mul(nanoseconds) as u64,
        None => (1_000_000_000 / count) as u64,
    };
    let randomize = match point.get(2) {
        None => 0,
        Some(component) if &*component.name == "randomize" && nanoseconds.is_some() => {
            let Some(amount) = number(component)? else {
                return Err(Diagnostic::error(Code::ProbePoint, component.span, "randomize needs a number"));
            };
            amount.max(0).saturating_mul(nanoseconds.unwrap_or(1)) as u64
        }
        Some(component) => {
            return Err(Diagnostic::error(
                Code::ProbePoint,
                component.span,
                format!("a timer has no .{}", component.name),
            )
            .hint("randomize(n) may follow"));
        }
    };
    Ok(Trigger::Timer { period: period.max(1), randomize: randomize.min(period) })
}
