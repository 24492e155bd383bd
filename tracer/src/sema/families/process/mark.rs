//! `.mark("name")` and `.provider("provider").mark("name")`.

use std::rc::Rc;

use tracer_common::ir::{Space, Width};
use tracer_common::manifest::AttachPoint;

use super::{Program, candidate, ends, text};
use crate::debuginfo::operand::{self, Argument};
use crate::debuginfo::sdt;
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::glob::glob_match;
use crate::sema::family::{Candidate, Resolved, TargetScope};
use crate::sema::program::{Access, TargetValue, Unlisted};
use crate::sema::target_var::{At, Moved, plus, start, unknown};
use crate::source::Span;
use crate::syntax::ast::{ProbePointComponent, TargetExpr, TargetRoot};
use crate::world::World;

/// The places of marks.
pub(super) fn resolve(
    world: &dyn World,
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
        return marks(world, program, None, &first, what.span);
    }
    match rest.first().map(|next| (&*next.name, text(next))) {
        Some(("mark", Some(pattern))) => {
            ends(&rest[1..], "a mark")?;
            marks(world, program, Some(&first), &pattern, what.span)
        }
        _ => Err(Diagnostic::error(Code::ProbePoint, what.span, "a provider needs a mark")
            .hint("process(\"…\").provider(\"…\").mark(\"…\")")),
    }
}

fn marks(
    world: &dyn World,
    program: &Program,
    provider: Option<&str>,
    pattern: &str,
    span: Span,
) -> Result<Vec<Candidate>, Diagnostic> {
    let module = &program.module;
    let all = sdt::marks(&module.elf);
    let mut found = Vec::new();
    // DTrace writes `-` for what C must call `__`.
    let is_named = |name: &str| glob_match(pattern, name) || glob_match(pattern, &name.replace("__", "-"));
    for mark in
        all.iter().filter(|m| is_named(&m.name) && provider.is_none_or(|p| glob_match(p, &m.provider)))
    {
        let Some(offset) = module.elf.file_offset(mark.address) else { continue };
        let counter = mark.semaphore.and_then(|address| module.elf.file_offset(address));
        let moved = if module.elf.is_moved() { Moved::Hit(mark.address) } else { Moved::No };
        let arguments = mark.args.iter().map(|text| {
            let found = operand::argument(text, &|name| module.variable(world, name))
                .and_then(|a| access(&a, &moved));
            found.map_err(|why| format!("{text}: {why}"))
        });
        let scope = MarkScope { name: mark.name.clone(), arguments: arguments.collect() };
        let provider = provider.map_or(String::new(), |_| format!(".provider(\"{}\")", mark.provider));
        let point = format!("{}{provider}.mark(\"{}\")", program.text, mark.name);
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
        } else {
            let names = all.iter().map(|m| m.name.as_str());
            let hint = suggest::hint(pattern, names.clone()).unwrap_or_else(|| {
                let names: std::collections::BTreeSet<&str> = names.collect();
                let some: Vec<&str> = names.iter().copied().take(6).collect();
                let more = if names.len() > some.len() { ", ..." } else { "" };
                format!("there are: {}{more}", some.join(", "))
            });
            diagnostic = diagnostic.hint(hint);
        }
        return Err(diagnostic);
    }
    Ok(found)
}

/// How to read an argument.
fn access(argument: &Argument, moved: &Moved) -> Result<Access, String> {
    let width = Width { bytes: argument.bytes, signed: argument.signed };
    Ok(match start(&argument.location, moved)? {
        At::Value(value) if width.bytes == 8 => value,
        At::Value(value) => Access::Extend(Box::new(value), width),
        At::Memory(address, offset) => match i32::try_from(offset) {
            Ok(offset) => Access::Load { space: Space::User, address: Box::new(address), offset, width },
            Err(_) => Access::Load {
                space: Space::User,
                address: Box::new(plus(address, offset)),
                offset: 0,
                width,
            },
        },
        At::Pieces(..) | At::Pointer(_) => return Err("it is in pieces".to_owned()),
    })
}

/// Arguments of a mark.
struct MarkScope {
    name: String,
    /// How to read each, or why it cannot be read.
    arguments: Vec<Result<Access, String>>,
}

impl TargetScope for MarkScope {
    fn resolve(&self, target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        let count = self.arguments.len();
        let names: Vec<String> = (1..=count).map(|n| format!("arg{n}")).collect();
        match &target.root {
            TargetRoot::Special(name) if matches!(&**name, "parms" | "vars") => {
                let values = self
                    .arguments
                    .iter()
                    .map(|argument| argument.clone().map_err(|_| Unlisted::Unknown))
                    .collect();
                let names = names.iter().map(|name| format!("${name}")).collect();
                Ok(Resolved { value: TargetValue::List { list: 0, values }, names, at_entry: false })
            }
            TargetRoot::Variable(name) => {
                let n = name
                    .strip_prefix("arg")
                    .and_then(|n| n.parse::<usize>().ok())
                    .filter(|n| (1..=count).contains(n));
                let Some(n) = n else {
                    return Err(unknown(name, &names, span, &format!("mark {}", self.name)));
                };
                let access = self.arguments[n - 1].clone().map_err(|why| {
                    let message = format!("argument {n} of mark {} cannot be read: {why}", self.name);
                    Diagnostic::error(Code::UnresolvedTarget, span, message)
                })?;
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
        (1..=self.arguments.len()).map(|n| format!("$arg{n}:long")).collect()
    }
}
