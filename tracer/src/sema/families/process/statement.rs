//! `.statement("func@file:lines")`, `.statement(0xADDRESS)`, `.nearest`, `.absolute`.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use super::module::code_mapping;
use super::pattern::{Lines, Pattern};
use super::scope::{CodeScope, SymbolScope};
use super::{Process, Program, candidate, ends, misplaced, number, text};
use crate::debuginfo::dwarf::{DebugInfo, Function, Instance, Line};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::family::Candidate;
use crate::syntax::ast::ProbePointComponent;

/// How far `.nearest` goes.
const NEAREST: u64 = 1 << 32;

impl Process<'_> {
    pub(super) fn statement(
        &self,
        program: &Program,
        what: &ProbePointComponent,
        rest: &[ProbePointComponent],
    ) -> Result<Vec<Candidate>, Diagnostic> {
        let (mut nearest, mut absolute) = (false, false);
        for component in rest {
            match &*component.name {
                "nearest" if !nearest => nearest = true,
                "absolute" if !absolute => absolute = true,
                _ => return Err(misplaced(component, "a statement")),
            }
        }
        if let Some(address) = number(what) {
            if absolute {
                return self.absolute(program, what, address);
            }
            return Ok(vec![at_address(program, what, address)?]);
        }
        if absolute {
            ends(rest, "a statement of a line")?;
        }
        let Some(written) = text(what) else {
            return Err(Diagnostic::error(
                Code::ProbePoint,
                what.span,
                "statement takes a place in quotes, or an address",
            )
            .hint("statement(\"function@file.c:12\"), statement(\"*@file.c:12\")"));
        };
        let pattern =
            Pattern::parse(&written).map_err(|why| Diagnostic::error(Code::ProbePoint, what.span, why))?;
        Lookup { program, pattern: &pattern, what, nearest }.resolve()
    }

    /// An address in the memory of a process.
    fn absolute(
        &self,
        program: &Program,
        what: &ProbePointComponent,
        address: u64,
    ) -> Result<Vec<Candidate>, Diagnostic> {
        let fail = |why: String| Diagnostic::error(Code::ProbePoint, what.span, why);
        let Some(pid) = program.pid else {
            return Err(fail("an absolute address means something only in process(PID)".to_owned())
                .hint("without .absolute, an address is as the file has it"));
        };
        let maps = self
            .world
            .read_text(Path::new(&format!("/proc/{pid}/maps")))
            .map_err(|error| fail(format!("cannot read what process {pid} has in memory: {error}")))?;
        for line in maps.lines() {
            let Some(mapping) = code_mapping(line) else { continue };
            let (low, high, offset, path) = mapping;
            if !(low <= address && address < high) {
                continue;
            }
            let file = self.in_process(pid, mapping).display().to_string();
            let module = self.module(&file, what.span)?;
            module.find_anywhere(self.world);
            let linked = module.elf.linked(address - low + offset).ok_or_else(|| {
                fail(format!("0x{address:x} is in {path}, but in no part of it that is loaded as code"))
            })?;
            let program = Program { module, pid: Some(pid), ..program.clone() };
            return Ok(vec![at_address(&program, what, linked)?]);
        }
        Err(fail(format!("process {pid} has no code of a file at 0x{address:x}")))
    }
}

/// The place of an address as linked.
fn at_address(program: &Program, what: &ProbePointComponent, address: u64) -> Result<Candidate, Diagnostic> {
    let module = &program.module;
    let Some(offset) = module.elf.code_offset(address) else {
        return Err(Diagnostic::error(
            Code::ProbePoint,
            what.span,
            format!("{} has no code at 0x{address:x}", module.path.display()),
        )
        .hint("addresses are those of the file, as nm and objdump show them"));
    };
    let point = format!("{}.statement(0x{address:x})", program.text);
    let instance = module.info().and_then(|info| info.instance_at(address));
    Ok(match instance {
        Some(instance) => {
            let name = instance.name.clone();
            let scope = CodeScope::at(module, instance, address);
            candidate(program, offset, point, &name, Rc::new(scope))
        }
        None => {
            let symbol = module.symbols().iter().rev().find(|s| s.address <= address);
            let name = symbol.map_or(String::new(), |symbol| symbol.name.clone());
            let scope = SymbolScope { module: module.clone(), name: name.clone() };
            candidate(program, offset, point, &name, Rc::new(scope))
        }
    })
}

struct Lookup<'p> {
    program: &'p Program,
    pattern: &'p Pattern,
    what: &'p ProbePointComponent,
    nearest: bool,
}

impl Lookup<'_> {
    fn resolve(&self) -> Result<Vec<Candidate>, Diagnostic> {
        let fail = |why: String| Diagnostic::error(Code::ProbePoint, self.what.span, why);
        let module = &self.program.module;
        let Some(info) = module.info() else {
            return Err(Diagnostic::error(
                Code::NoDebugInfo,
                self.what.span,
                format!("lines need debug information, and {} has none", module.path.display()),
            )
            .hint(format!("looked in {}", module.looked().join(", ")))
            .hint("build it with -g, or install its debug package"));
        };
        let Some(lines) = &self.pattern.lines else {
            return self.entries(info);
        };
        let all = info.statements(|path| self.pattern.is_file(path));
        if all.is_empty() {
            let file = self.pattern.file.as_deref().unwrap_or_default();
            return Err(fail(format!("{} has no code of a file {file}", module.path.display())));
        }
        // In functions that fit.
        let mut places: Vec<(Line, Instance)> = Vec::new();
        for line in all {
            let instance =
                info.instance_named(line.address, |name| self.pattern.is_function(name, || name.to_owned()));
            let qualified = || {
                let instance = info.instance_at(line.address)?;
                let full = instance.function.qualified();
                self.pattern.is_function(&instance.function.name, || full).then_some(instance)
            };
            if let Some(instance) = instance.or_else(qualified) {
                places.push((line, instance));
            }
        }
        if places.is_empty() {
            return Err(fail(format!(
                "{} has no function {} in {}",
                module.path.display(),
                self.pattern.function,
                self.pattern.file.as_deref().unwrap_or("any file")
            )));
        }
        let wanted = |line: &Line, instance: &Instance| match lines {
            Lines::All => true,
            Lines::These(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&line.line)),
            Lines::Relative(by) => info
                .declared_instance(instance)
                .is_some_and(|(_, declared)| declared.checked_add(*by) == Some(line.line)),
        };
        let mut found: Vec<&(Line, Instance)> =
            places.iter().filter(|(line, instance)| wanted(line, instance)).collect();
        if found.is_empty() {
            let target = self.target(info, lines, &places);
            if !self.nearest {
                return Err(self.no_line(&places, target));
            }
            let distance = |line: u64| target.abs_diff(line);
            let best = places.iter().map(|(line, _)| distance(line.line)).min().unwrap_or(NEAREST);
            found = places.iter().filter(|(line, _)| distance(line.line) == best).collect();
            // Of two lines as near, the later one.
            let last = found.iter().map(|(line, _)| line.line).max();
            found.retain(|(line, _)| Some(line.line) == last);
        }
        // A line whose code is in several pieces begins where the first of them does, once in every copy of a function.
        let mut seen = BTreeSet::new();
        let candidates: Vec<Candidate> = found
            .into_iter()
            .filter(|(line, instance)| seen.insert((instance.key(), line.file.clone(), line.line)))
            .filter_map(|(line, instance)| self.candidate(line, instance))
            .collect();
        if candidates.is_empty() {
            return Err(fail(format!("{}: these lines have no code that is loaded", module.path.display())));
        }
        Ok(candidates)
    }

    /// `statement("func")`, `statement("func@file")`: where functions begin.
    fn entries(&self, info: &DebugInfo) -> Result<Vec<Candidate>, Diagnostic> {
        let is_there = |function: &&Function| {
            self.pattern.file.is_none()
                || info.declared(function).is_some_and(|(path, _)| self.pattern.is_file(&path))
        };
        let found: Vec<Candidate> = info
            .functions(|name, qualified| self.pattern.is_function(name, qualified))
            .iter()
            .filter(is_there)
            .filter_map(|function| {
                let address = info.probe_address(function, &self.program.module.elf);
                let declared = info.declared(function);
                let (file, line) =
                    declared.or_else(|| info.line_at(address).map(|line| (line.file, line.line)))?;
                self.candidate(&Line { address, file, line }, &info.entry_instance(function))
            })
            .collect();
        if found.is_empty() {
            let name = &self.pattern.function;
            let mut diagnostic = Diagnostic::error(
                Code::ProbePoint,
                self.what.span,
                format!("{} has no function {name}", self.program.module.path.display()),
            );
            if name.contains(':') || name.contains('.') {
                diagnostic = diagnostic.hint(format!("a place in a file is written with @: \"*@{name}\""));
            }
            return Err(diagnostic);
        }
        Ok(found)
    }

    fn candidate(&self, line: &Line, instance: &Instance) -> Option<Candidate> {
        let offset = self.program.module.elf.code_offset(line.address)?;
        let scope = CodeScope::at(&self.program.module, instance.clone(), line.address);
        let name = &instance.name;
        let shown = self.pattern.shown(name, || match instance.inlined {
            true => name.clone(),
            false => instance.function.qualified(),
        });
        let point = format!("{}.statement(\"{shown}@{}:{}\")", self.program.text, line.file, line.line);
        Some(candidate(self.program, offset, point, &shown, Rc::new(scope)))
    }

    /// The line that was asked for first.
    fn target(&self, info: &DebugInfo, lines: &Lines, places: &[(Line, Instance)]) -> u64 {
        match lines {
            Lines::These(ranges) => ranges.first().map_or(0, |(from, _)| *from),
            Lines::All => 0,
            Lines::Relative(by) => places
                .first()
                .and_then(|(_, instance)| info.declared_instance(instance))
                .map_or(*by, |(_, declared)| declared.saturating_add(*by)),
        }
    }

    fn no_line(&self, places: &[(Line, Instance)], target: u64) -> Diagnostic {
        let before = places.iter().map(|(l, _)| l.line).filter(|line| *line < target).max();
        let after = places.iter().map(|(l, _)| l.line).filter(|line| *line > target).min();
        let near: Vec<String> = before.into_iter().chain(after).map(|line| format!(":{line}")).collect();
        let file = self.pattern.file.as_deref().unwrap_or_default();
        let diagnostic = Diagnostic::error(
            Code::ProbePoint,
            self.what.span,
            format!("no code of {} belongs to {file}:{target}", self.pattern.function),
        );
        if near.is_empty() {
            return diagnostic;
        }
        diagnostic.hint(format!("the nearest lines are {}; .nearest takes the nearer", near.join(" and ")))
    }
}
