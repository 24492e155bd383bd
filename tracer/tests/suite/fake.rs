//! A traced program that exists on paper only: the probe points `hit("name")` and `hit("name").return`, so that
//! passes 2 to 4 can be tested without a kernel and without a compiler.
//!
//! Trampolines can be had for `quick` and `quicker`. Parameters are numbers in registers, except `node->p`, which
//! points to `{ value at 0, next at 8 }`.

use std::rc::Rc;

use tracer::diagnostics::{Code, Diagnostic};
use tracer::glob::glob_match;
use tracer::sema::family::{Candidate, Family, Resolved, TargetScope};
use tracer::sema::program::{Access, TargetValue, Trigger, Unlisted};
use tracer::sema::target_var::{WORD, unknown};
use tracer::source::Span;
use tracer::syntax::ast::{LiteralValue, PathStepKind, ProbePointComponent, TargetExpr, TargetRoot};
use tracer_common::ir::Space;
use tracer_common::manifest::{AttachPoint, ProgramKind, Site};

/// The functions and their parameters.
const FUNCTIONS: [(&str, &[&str]); 6] = [
    ("node", &["p"]),
    ("none", &[]),
    ("one", &["a"]),
    ("two", &["a", "b"]),
    ("quick", &["a", "b"]),
    ("quicker", &["a", "b"]),
];

/// DWARF numbers of the registers of parameters, and of the result.
const PARAMETERS: [u8; 2] = [5, 4];
const RESULT: u8 = 0;

/// The family.
pub(crate) struct Fake;

impl Family for Fake {
    fn resolve(
        &self,
        point: &[ProbePointComponent],
        span: Span,
    ) -> Option<Result<Vec<Candidate>, Diagnostic>> {
        if &*point[0].name != "hit" {
            return None;
        }
        Some(hits(point, span))
    }

    fn forms(&self) -> &'static [&'static str] {
        &["hit(string)", "hit(string).return"]
    }
}

fn hits(point: &[ProbePointComponent], span: Span) -> Result<Vec<Candidate>, Diagnostic> {
    let refuse = |message: &str| Err(Diagnostic::error(Code::ProbePoint, span, message));
    let Some(LiteralValue::Str(pattern)) = point[0].arg.as_ref().map(|arg| &arg.value) else {
        return refuse("hit takes a name");
    };
    let pattern = pattern.as_str().unwrap_or("");
    let is_return = match point.get(1) {
        None => false,
        Some(component) if &*component.name == "return" && point.len() == 2 => true,
        Some(_) => return refuse("hit has .return only"),
    };
    let found: Vec<Candidate> = FUNCTIONS
        .iter()
        .filter(|(name, _)| glob_match(pattern, name))
        .map(|(name, parameters)| candidate(name, parameters, is_return))
        .collect();
    if found.is_empty() { refuse(&format!("no function {pattern}")) } else { Ok(found) }
}

fn candidate(name: &'static str, parameters: &'static [&'static str], is_return: bool) -> Candidate {
    let suffix = if is_return { ".return" } else { "" };
    let trigger = Trigger::Kernel(if is_return { ProgramKind::Kretprobe } else { ProgramKind::Kprobe });
    let attach = AttachPoint::Kernel {
        symbol: name.to_owned(),
        offset: 0,
        btf: name.starts_with("quick").then_some(7),
    };
    let site = Site { function: name.to_owned(), ..Site::new(attach, format!("hit(\"{name}\"){suffix}")) };
    let scope = Rc::new(Scope { name, parameters, is_return });
    Candidate { entry: is_return.then_some(ProgramKind::Kprobe), ..Candidate::new(trigger, site, scope) }
}

struct Scope {
    name: &'static str,
    parameters: &'static [&'static str],
    is_return: bool,
}

impl Scope {
    fn names(&self) -> Vec<String> {
        let result = self.is_return.then_some("return");
        self.parameters.iter().copied().chain(result).map(str::to_owned).collect()
    }

    fn register(&self, name: &str) -> Option<(Access, bool)> {
        if name == "return" && self.is_return {
            return Some((Access::Register(RESULT, WORD), false));
        }
        let n = self.parameters.iter().position(|parameter| *parameter == name)?;
        Some((Access::Register(PARAMETERS[n], WORD), self.is_return))
    }
}

impl TargetScope for Scope {
    fn resolve(&self, target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        match &target.root {
            TargetRoot::Special(name) if &**name == "parms" => {
                let values = self
                    .parameters
                    .iter()
                    .map(|name| self.register(name).map(|(access, _)| access).ok_or(Unlisted::Unknown));
                Ok(Resolved {
                    value: TargetValue::List { list: 0, values: values.collect() },
                    names: self.parameters.iter().map(|name| (*name).to_owned()).collect(),
                    at_entry: self.is_return,
                })
            }
            TargetRoot::Variable(name) => {
                let Some((mut access, at_entry)) = self.register(name) else {
                    return Err(unknown(name, &self.names(), span, self.name));
                };
                for step in &target.path {
                    let offset = match &step.kind {
                        PathStepKind::Field(field) if &**field == "value" => 0,
                        PathStepKind::Field(field) if &**field == "next" => 8,
                        _ => {
                            let message = "no such member";
                            return Err(Diagnostic::error(Code::UnresolvedTarget, step.span, message));
                        }
                    };
                    let address = Box::new(access);
                    access = Access::Load { space: Space::Kernel, address, offset, width: WORD };
                }
                Ok(Resolved { value: TargetValue::Value(access), names: Vec::new(), at_entry })
            }
            _ => Err(Diagnostic::error(Code::UnresolvedTarget, span, "no such variable")),
        }
    }

    fn list(&self) -> Vec<String> {
        self.names().iter().map(|name| format!("${name}:long")).collect()
    }
}

/// Script functions have no target variables in the fake.
pub(crate) struct NoTypes;

impl TargetScope for NoTypes {
    fn resolve(&self, _target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        Err(Diagnostic::error(Code::NoDebugInfo, span, "the fake has no types"))
    }
}
