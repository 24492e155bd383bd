//! `.mark("name")` and `.provider("provider").mark("name")`.

use std::rc::Rc;

use tracer_common::ir::{Space, Width};
use tracer_common::manifest::AttachPoint;

use super::{Program, candidate, ends, text};
use crate::debuginfo::sdt::{self, Mark};
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::glob::glob_match;
use crate::sema::family::{Candidate, Resolved, TargetScope};
use crate::sema::program::{Access, TargetValue};
use crate::sema::target_var::{At, Moved, start, unknown};
use crate::source::Span;
use crate::syntax::ast::{ProbePointComponent, TargetExpr, TargetRoot};

/// The places of marks.
pub(super) fn resolve(
    program: &Program,
    what: &ProbePointComponent,
    rest: &[ProbePointComponent],
) -> Result<Vec<Candidate>, Diagnostic> {
    let Some(first) = text(what) else {
        return Err(Diagnostic::error(
            Code::ProbePoint,
            what.span,
            format!("{} takes a name in quotes", what.name),
        ));
    };
    if &*what.name == "mark" {
        ends(rest, "a mark")?;
        return marks(program, "*", &first, what.span);
    }
    match rest.first().map(|next| (&*next.name, text(next))) {
        Some(("mark", Some(pattern))) => {
            ends(&rest[1..], "a mark")?;
            marks(program, &first, &pattern, what.span)
        }
        _ => Err(Diagnostic::error(Code::ProbePoint, what.span, "a provider needs a mark")
            .hint("process(\"…\").provider(\"…\").mark(\"…\")")),
    }
}

fn marks(program: &Program, provider: &str, pattern: &str, span: Span) -> Result<Vec<Candidate>, Diagnostic> {
    let module = &program.module;
    let all = sdt::marks(&module.elf);
    let mut found = Vec::new();
    for mark in all.iter().filter(|m| glob_match(pattern, &m.name) && glob_match(provider, &m.provider)) {
        let Some(offset) = module.elf.file_offset(mark.address) else { continue };
        let counter = mark.semaphore.and_then(|address| module.elf.file_offset(address));
        let scope = MarkScope { mark: mark.clone(), is_moved: module.elf.is_moved() };
        let point = format!("{}.provider(\"{}\").mark(\"{}\")", program.text, mark.provider, mark.name);
        let mut place = candidate(program, offset, point, "", Rc::new(scope));
        place.site.name.clone_from(&mark.name);
        place.site.provider.clone_from(&mark.provider);
        if let AttachPoint::User { semaphore, .. } = &mut place.site.attach {
            *semaphore = counter;
        }
        found.push(place);
    }
    if found.is_empty() {
        let mut diagnostic = Diagnostic::error(
            Code::ProbePoint,
            span,
            format!("{} has no mark {pattern}", module.path.display()),
        );
        if all.is_empty() {
            diagnostic = diagnostic.hint("it has no marks at all");
        } else if let Some(hint) = suggest::hint(pattern, all.iter().map(|m| m.name.as_str())) {
            diagnostic = diagnostic.hint(hint);
        }
        return Err(diagnostic);
    }
    Ok(found)
}

/// Arguments of a mark.
struct MarkScope {
    mark: Mark,
    is_moved: bool,
}

impl MarkScope {
    fn argument(&self, n: usize) -> Option<Access> {
        let argument = self.mark.args.get(n)?.as_ref()?;
        let moved = if self.is_moved { Moved::Hit(self.mark.address) } else { Moved::No };
        let at = start(&argument.location, moved).ok()?;
        let width = Width { bytes: argument.bytes, signed: argument.signed };
        Some(match at {
            At::Value(value) if width.bytes == 8 => value,
            At::Value(value) => Access::Extend(Box::new(value), width),
            At::Memory(address, offset) => Access::Load {
                space: Space::User,
                address: Box::new(address),
                offset: i32::try_from(offset).ok()?,
                width,
            },
            At::Pieces(..) => return None,
        })
    }
}

impl TargetScope for MarkScope {
    fn resolve(&self, target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        let count = self.mark.args.len();
        let names: Vec<String> = (1..=count).map(|n| format!("arg{n}")).collect();
        match &target.root {
            TargetRoot::Special(name) if matches!(&**name, "parms" | "vars") => {
                let values = (0..count).map(|n| self.argument(n)).collect();
                Ok(Resolved { value: TargetValue::List { list: 0, values }, names, at_entry: false })
            }
            TargetRoot::Variable(name) => {
                let n = name
                    .strip_prefix("arg")
                    .and_then(|n| n.parse::<usize>().ok())
                    .filter(|n| (1..=count).contains(n));
                let Some(n) = n else {
                    return Err(unknown(name, &names, span, &format!("mark {}", self.mark.name)));
                };
                let Some(access) = self.argument(n - 1) else {
                    return Err(Diagnostic::error(
                        Code::UnresolvedTarget,
                        span,
                        format!("argument {n} of mark {} has a form that cannot be read", self.mark.name),
                    ));
                };
                if let Some(step) = target.path.first() {
                    return Err(Diagnostic::error(
                        Code::UnresolvedTarget,
                        step.span,
                        "arguments of marks have no types: they cannot be followed",
                    ));
                }
                Ok(Resolved { value: TargetValue::Value(access), names: Vec::new(), at_entry: false })
            }
            _ => Err(Diagnostic::error(
                Code::UnresolvedTarget,
                span,
                format!("marks have only $arg1 to $arg{count}, $$name and $$vars"),
            )),
        }
    }

    fn list(&self) -> Vec<String> {
        (1..=self.mark.args.len()).map(|n| format!("$arg{n}:long")).collect()
    }
}
