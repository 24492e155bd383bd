//! `.function("pattern")` and what may follow it.

use std::rc::Rc;

use super::pattern::{Lines, Pattern};
use super::scope::{CodeScope, SymbolScope};
use super::{Program, at_return, candidate, ends, misplaced, number, text};
use crate::debuginfo::demangle;
use crate::debuginfo::dwarf::{DebugInfo, Function, Inlined};
use crate::debuginfo::elf::Symbol;
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::glob::{glob_match, has_wildcards};
use crate::sema::family::Candidate;
use crate::syntax::ast::ProbePointComponent;

/// What follows `.function("…")`.
pub(super) enum Variant {
    /// Nothing: functions and inlined copies.
    Plain,
    /// `.call`, `.exported`: what has code of its own.
    Call { exported: bool },
    /// `.inline`
    Inline,
    /// `.return`
    Return,
    /// `.callee("x")`, `.callees(n)`: calls by the function, by those that it calls, so many levels deep.
    Callee(String, u64),
    /// `.label("x")`
    Label(String),
}

const VARIANTS: [&str; 7] = ["call", "return", "inline", "exported", "callee", "callees", "label"];

fn variant(rest: &[ProbePointComponent]) -> Result<Variant, Diagnostic> {
    let Some(first) = rest.first() else { return Ok(Variant::Plain) };
    let name = |component: &ProbePointComponent| {
        text(component).ok_or_else(|| {
            Diagnostic::error(
                Code::ProbePoint,
                component.span,
                format!("{} takes a name in quotes", component.name),
            )
        })
    };
    let (variant, used) = match &*first.name {
        "call" => (Variant::Call { exported: false }, 1),
        "exported" => match rest.get(1).map(|next| &*next.name) {
            Some("return") => (Variant::Return, 2),
            _ => (Variant::Call { exported: true }, 1),
        },
        "inline" => (Variant::Inline, 1),
        "return" => match rest.get(1) {
            // How many calls may be under way: there is no limit here.
            Some(next) if &*next.name == "maxactive" => (Variant::Return, 2),
            _ => (Variant::Return, 1),
        },
        "callee" => (Variant::Callee(name(first)?, 1), 1),
        "callees" if first.arg.is_none() => (Variant::Callee("*".to_owned(), 1), 1),
        "callees" => match number(first) {
            Some(levels @ 1..) => (Variant::Callee("*".to_owned(), levels), 1),
            _ => {
                let message = "callees takes the number of levels, 1 or more";
                return Err(Diagnostic::error(Code::ProbePoint, first.span, message));
            }
        },
        "label" => (Variant::Label(name(first)?), 1),
        other => {
            let diagnostic = misplaced(first, "a function");
            return Err(match suggest::hint(other, VARIANTS) {
                Some(hint) => diagnostic.hint(hint),
                None => diagnostic.hint(format!("there are: .{}", VARIANTS.join(", ."))),
            });
        }
    };
    ends(&rest[used..], &format!("function(…).{}", first.name))?;
    Ok(variant)
}

/// The places of `.function("…")`.
pub(super) fn resolve(
    program: &Program,
    what: &ProbePointComponent,
    rest: &[ProbePointComponent],
) -> Result<Vec<Candidate>, Diagnostic> {
    let variant = variant(rest)?;
    let Some(written) = text(what) else {
        return Err(Diagnostic::error(Code::ProbePoint, what.span, "function takes a name in quotes"));
    };
    let pattern =
        Pattern::parse(&written).map_err(|why| Diagnostic::error(Code::ProbePoint, what.span, why))?;
    let finder = Finder { program, pattern: &pattern, what };
    let Some(info) = program.module.info() else { return finder.by_symbol(&variant) };
    let found = match &variant {
        Variant::Plain => {
            let mut found = finder.calls(info, |_| true, "");
            found.extend(finder.inlined(info, ""));
            found
        }
        Variant::Call { exported: false } => finder.calls(info, |_| true, ".call"),
        Variant::Call { exported: true } => finder.calls(info, |f| info.is_exported(f), ".exported"),
        Variant::Inline => finder.inlined(info, ".inline"),
        Variant::Return => finder.returns(info),
        Variant::Callee(callee, levels) => return finder.callees(info, callee, *levels),
        Variant::Label(label) => return finder.labels(info, label),
    };
    if found.is_empty() { finder.nothing(info, &variant) } else { Ok(found) }
}

pub(super) struct Finder<'p> {
    pub(super) program: &'p Program,
    pub(super) pattern: &'p Pattern,
    pub(super) what: &'p ProbePointComponent,
}

impl Finder<'_> {
    /// Functions that fit, by their names in the source; of those that do not, by the names of their symbols.
    pub(super) fn functions<'i>(&self, info: &'i DebugInfo) -> Vec<&'i Function> {
        let fits = |function: &&Function| {
            self.pattern.is_function(&function.name, || function.qualified()) && self.is_place(info, function)
        };
        let found: Vec<&Function> = info.functions().iter().filter(fits).collect();
        if !found.is_empty() || has_wildcards(&self.pattern.function) {
            return found;
        }
        let symbols = self.program.module.symbols().iter().filter(|s| s.name == self.pattern.function);
        symbols
            .filter_map(|symbol| info.function_at(symbol.address).filter(|f| f.low == symbol.address))
            .filter(|function| self.is_place(info, function))
            .collect()
    }

    /// Whether a function is in the file, and has the line, that the pattern asks for.
    fn is_place(&self, info: &DebugInfo, function: &Function) -> bool {
        if self.pattern.file.is_none() {
            return true;
        }
        let Some((path, declared)) = info.declared(function) else { return false };
        if !self.pattern.is_file(&path) {
            return false;
        }
        match &self.pattern.lines {
            None | Some(Lines::All) => true,
            Some(Lines::Relative(_)) => false,
            Some(Lines::These(ranges)) => {
                let lines = info.lines_of(function);
                let last = lines.iter().filter(|l| l.file == path).map(|l| l.line).max().unwrap_or(declared);
                ranges.iter().any(|(from, to)| *from <= last && declared <= *to)
            }
        }
    }

    fn calls(&self, info: &DebugInfo, wanted: impl Fn(&Function) -> bool, suffix: &str) -> Vec<Candidate> {
        self.functions(info)
            .into_iter()
            .filter(|function| wanted(function))
            .filter_map(|function| {
                let address = info.probe_address(function, &self.program.module.elf);
                self.at(info, function, address, suffix)
            })
            .collect()
    }

    /// A return probe replaces the return address, which is where it is only at the first instruction.
    fn returns(&self, info: &DebugInfo) -> Vec<Candidate> {
        self.functions(info)
            .into_iter()
            .filter_map(|function| {
                let offset = self.program.module.elf.file_offset(function.low)?;
                let scope = CodeScope::at_return(&self.program.module, info.entry_instance(function));
                let point = self.point(&declared(info, function), &function.name, ".return");
                Some(at_return(candidate(self.program, offset, point, &function.name, Rc::new(scope))))
            })
            .collect()
    }

    fn at(&self, info: &DebugInfo, function: &Function, address: u64, suffix: &str) -> Option<Candidate> {
        let offset = self.program.module.elf.file_offset(address)?;
        let scope = CodeScope::at(&self.program.module, info.entry_instance(function), address);
        let point = self.point(&declared(info, function), &function.name, suffix);
        let mut found = candidate(self.program, offset, point, &function.name, Rc::new(scope));
        found.site.is_entry = address == function.low;
        Some(found)
    }

    pub(super) fn point(&self, declared: &str, function: &str, suffix: &str) -> String {
        format!("{}.function(\"{function}{declared}\"){suffix}", self.program.text)
    }

    /// Inlined copies, where they are entered.
    fn inlined(&self, info: &DebugInfo, suffix: &str) -> Vec<Candidate> {
        // Reading every function's tree is worth it only when there may be copies.
        let name = self.pattern.function.rsplit("::").next().unwrap_or_default();
        if !info.inlinable().iter().any(|inlinable| glob_match(name, inlinable)) {
            return Vec::new();
        }
        let fits = |copy: &&Inlined| {
            self.pattern.is_function(&copy.name, || match copy.scope.as_str() {
                "" => copy.name.clone(),
                scope => format!("{scope}::{}", copy.name),
            })
        };
        let copies = info.inlined().iter().filter(fits);
        copies.filter_map(|copy| self.copy(info, copy, suffix)).collect()
    }

    pub(super) fn copy(&self, info: &DebugInfo, copy: &Inlined, suffix: &str) -> Option<Candidate> {
        let declared = info.declared_inlined(copy);
        if self.pattern.file.is_some()
            && !declared.as_ref().is_some_and(|(path, _)| self.pattern.is_file(path))
        {
            return None;
        }
        let offset = self.program.module.elf.file_offset(copy.low)?;
        let scope = CodeScope::at(&self.program.module, info.inlined_instance(copy), copy.low);
        let place = declared.map_or(String::new(), |(file, line)| format!("@{file}:{line}"));
        let point = self.point(&place, &copy.name, suffix);
        Some(candidate(self.program, offset, point, &copy.name, Rc::new(scope)))
    }

    fn labels(&self, info: &DebugInfo, label: &str) -> Result<Vec<Candidate>, Diagnostic> {
        let functions = self.functions(info);
        if functions.is_empty() {
            return self.nothing(info, &Variant::Plain);
        }
        let mut found = Vec::new();
        let mut known = Vec::new();
        for function in functions {
            for (name, address) in info.labels(function) {
                known.push(name.clone());
                let offset = self.program.module.elf.file_offset(address);
                let (true, Some(offset)) = (glob_match(label, &name), offset) else { continue };
                let instance = info.instance_at(address).unwrap_or_else(|| info.entry_instance(function));
                let scope = CodeScope::at(&self.program.module, instance, address);
                let suffix = format!(".label(\"{name}\")");
                let point = self.point(&declared(info, function), &function.name, &suffix);
                found.push(candidate(self.program, offset, point, &function.name, Rc::new(scope)));
            }
        }
        if found.is_empty() {
            let diagnostic = Diagnostic::error(
                Code::ProbePoint,
                self.what.span,
                format!("{} has no label {label}", self.pattern.function),
            );
            return Err(if known.is_empty() {
                diagnostic.hint("it has none that the compiler kept")
            } else {
                diagnostic.hint(format!("there are: {}", known.join(", ")))
            });
        }
        Ok(found)
    }

    /// Without debug information: symbols.
    fn by_symbol(&self, variant: &Variant) -> Result<Vec<Candidate>, Diagnostic> {
        let (suffix, is_return) = match variant {
            Variant::Plain => ("", false),
            Variant::Call { .. } => (".call", false),
            Variant::Return => (".return", true),
            Variant::Inline | Variant::Callee(..) | Variant::Label(_) => {
                return Err(self.no_debug_info("this form of function probe"));
            }
        };
        if self.pattern.file.is_some() {
            return Err(self.no_debug_info("a function in a file"));
        }
        let fits = |symbol: &&Symbol| self.is_symbol(symbol);
        let found: Vec<Candidate> = self
            .program
            .module
            .symbols()
            .iter()
            .filter(fits)
            .filter_map(|symbol| {
                let offset = self.program.module.elf.file_offset(symbol.address)?;
                let scope = SymbolScope { module: self.program.module.clone(), name: symbol.name.clone() };
                let point = self.point("", &symbol.name, suffix);
                let mut found = candidate(self.program, offset, point, &symbol.name, Rc::new(scope));
                if is_return {
                    return Some(at_return(found));
                }
                found.site.is_entry = true;
                Some(found)
            })
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let names: Vec<&str> = self.program.module.symbols().iter().map(|s| s.name.as_str()).collect();
        let (what, mut diagnostic) = (&self.pattern.function, self.no_function());
        if let Some(hint) = suggest::hint(what, names.iter().copied()) {
            diagnostic = diagnostic.hint(hint);
        }
        Err(diagnostic
            .hint(match names.len() {
                0 => "it is stripped: it has neither symbols nor debug information".to_owned(),
                n => format!("it has no debug information, only the names of {n} functions"),
            })
            .hint(format!("looked for debug information in {}", self.program.module.looked().join(", "))))
    }

    /// Whether a symbol fits, as it is or as the source has its name.
    fn is_symbol(&self, symbol: &Symbol) -> bool {
        let is_meant = |full: String| self.pattern.is_function(demangle::last(&full), || full.clone());
        glob_match(&self.pattern.function, &symbol.name)
            || demangle::qualified(&symbol.name).is_some_and(is_meant)
    }

    fn no_function(&self) -> Diagnostic {
        let place = self.pattern.file.as_ref().map_or(String::new(), |file| format!("@{file}"));
        Diagnostic::error(
            Code::ProbePoint,
            self.what.span,
            format!(
                "{} has no function {}{place}",
                self.program.module.path.display(),
                self.pattern.function
            ),
        )
    }

    fn no_debug_info(&self, what: &str) -> Diagnostic {
        Diagnostic::error(
            Code::NoDebugInfo,
            self.what.span,
            format!("{what} needs debug information, and {} has none", self.program.module.path.display()),
        )
        .hint(format!("looked in {}", self.program.module.looked().join(", ")))
        .hint("build it with -g, or install its debug package")
    }

    /// Nothing fits: what comes near.
    pub(super) fn nothing(&self, info: &DebugInfo, variant: &Variant) -> Result<Vec<Candidate>, Diagnostic> {
        // Files without debug information may be part of a program that has some.
        if self.pattern.file.is_none()
            && matches!(variant, Variant::Plain | Variant::Call { exported: false } | Variant::Return)
            && self.program.module.symbols().iter().any(|s| self.is_symbol(s))
        {
            return self.by_symbol(variant);
        }
        let mut diagnostic = self.no_function();
        if matches!(variant, Variant::Inline) {
            diagnostic.message.push_str(" that was inlined");
        }
        if let Some(file) = &self.pattern.file {
            let unplaced = Pattern { file: None, lines: None, ..self.pattern.clone() };
            let elsewhere = info
                .functions()
                .iter()
                .filter(|f| unplaced.is_function(&f.name, || f.qualified()))
                .find_map(|f| Some((f, info.declared(f)?)));
            if let Some((function, (path, line))) = elsewhere {
                return Err(diagnostic.hint(format!("{} is at {path}:{line}, not in {file}", function.name)));
            }
        }
        if !self.program.module.looked().is_empty() {
            diagnostic = diagnostic.hint(format!(
                "part of its debug information was not found: {}",
                self.program.module.looked().join(", ")
            ));
        }
        let mut names: Vec<&str> = self.program.module.symbols().iter().map(|s| s.name.as_str()).collect();
        names.extend(info.functions().iter().map(|f| f.name.as_str()));
        if let Some(hint) = suggest::hint(&self.pattern.function, names) {
            diagnostic = diagnostic.hint(hint);
        }
        Err(diagnostic)
    }
}

/// `@file:line`
pub(super) fn declared(info: &DebugInfo, function: &Function) -> String {
    info.declared(function).map_or(String::new(), |(file, line)| format!("@{file}:{line}"))
}
