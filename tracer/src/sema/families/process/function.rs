//! `.function("pattern")` and what may follow it.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::pattern::{Lines, Pattern};
use super::scope::{CodeScope, SymbolScope};
use super::{Program, at_return, candidate, ends, misplaced, number, text};
use crate::debuginfo::demangle;
use crate::debuginfo::dwarf::{DebugInfo, Function, Inlined, Label};
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
            found.extend(finder.undescribed(info, &variant));
            found
        }
        Variant::Call { exported: false } => {
            let mut found = finder.calls(info, |_| true, ".call");
            found.extend(finder.undescribed(info, &variant));
            found
        }
        Variant::Call { exported: true } => finder.calls(info, |f| info.is_exported(f), ".exported"),
        Variant::Inline => finder.inlined(info, ".inline"),
        Variant::Return => {
            let mut found = finder.returns(info);
            found.extend(finder.undescribed(info, &variant));
            found
        }
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
    pub(super) fn functions(&self, info: &DebugInfo) -> Vec<Function> {
        let mut found = info.functions(|name, qualified| self.pattern.is_function(name, qualified));
        found.retain(|function| self.is_place(info, function));
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
                let address = info.probe_address(&function, &self.program.module.elf);
                self.at(info, &function, address, suffix)
            })
            .collect()
    }

    /// A return probe replaces the return address, which is where it is only at the first instruction.
    fn returns(&self, info: &DebugInfo) -> Vec<Candidate> {
        self.functions(info)
            .into_iter()
            .filter(|function| self.returns_normally(function.low))
            .filter_map(|function| {
                let offset = self.program.module.elf.file_offset(function.low)?;
                let scope = CodeScope::at_return(&self.program.module, info.entry_instance(&function));
                let point = self.point(info, &function, ".return");
                let name = self.shown(&function);
                Some(at_return(candidate(self.program, offset, point, &name, Rc::new(scope))))
            })
            .collect()
    }

    /// Whether a function's return address is where a return probe takes it from, and puts another: else the program
    /// would lose what is there.
    fn returns_normally(&self, address: u64) -> bool {
        self.program.module.is_called(address)
    }

    /// Symbols of what debug information does not tell of, such as assembler code: part of all functions.
    fn undescribed(&self, info: &DebugInfo, variant: &Variant) -> Vec<Candidate> {
        if !has_wildcards(&self.pattern.function) || self.pattern.file.is_some() {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        let symbols = self.program.module.symbols().iter();
        symbols
            .filter(|symbol| self.is_symbol(symbol) && !info.has_function_at(symbol.address))
            .filter(|symbol| seen.insert(symbol.address))
            .filter_map(|symbol| self.at_symbol(symbol, variant))
            .collect()
    }

    fn at(&self, info: &DebugInfo, function: &Function, address: u64, suffix: &str) -> Option<Candidate> {
        let offset = self.program.module.elf.file_offset(address)?;
        let scope = CodeScope::at(&self.program.module, info.entry_instance(function), address);
        let point = self.point(info, function, suffix);
        let mut found = candidate(self.program, offset, point, &self.shown(function), Rc::new(scope));
        found.site.is_entry = address == function.low;
        Some(found)
    }

    /// The point of a function, as it is printed.
    pub(super) fn point(&self, info: &DebugInfo, function: &Function, suffix: &str) -> String {
        self.written(&self.shown(function), &declared(info, function), suffix)
    }

    fn written(&self, function: &str, declared: &str, suffix: &str) -> String {
        format!("{}.function(\"{function}{declared}\"){suffix}", self.program.text)
    }

    /// Its name as the script writes it, with or without what is around it.
    fn shown(&self, function: &Function) -> String {
        self.pattern.shown(&function.name, || function.qualified())
    }

    /// Inlined copies, where they are entered.
    fn inlined(&self, info: &DebugInfo, suffix: &str) -> Vec<Candidate> {
        // Reading every function's tree is worth it only when there may be copies.
        let name = self.pattern.function.rsplit("::").next().unwrap_or_default();
        if !info.inlinable().any(|inlinable| glob_match(name, inlinable)) {
            return Vec::new();
        }
        self.copies(info).iter().filter_map(|copy| self.copy(info, copy, suffix)).collect()
    }

    fn copies(&self, info: &DebugInfo) -> Vec<Inlined> {
        info.inlined(|name, qualified| self.pattern.is_function(name, qualified))
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
        let name = self.pattern.shown(&copy.name, || copy.qualified());
        let point = self.written(&name, &at_line(declared), suffix);
        Some(candidate(self.program, offset, point, &name, Rc::new(scope)))
    }

    fn labels(&self, info: &DebugInfo, label: &str) -> Result<Vec<Candidate>, Diagnostic> {
        let functions = self.functions(info);
        if functions.is_empty() {
            return self.nothing(info, &Variant::Plain);
        }
        let mut found = Vec::new();
        let mut known = Vec::new();
        for function in functions {
            for Label { name, address, declared } in info.labels(&function) {
                known.push(name.clone());
                let offset = self.program.module.elf.file_offset(address);
                let (true, Some(offset)) = (glob_match(label, &name), offset) else { continue };
                let instance = info.instance_at(address).unwrap_or_else(|| info.entry_instance(&function));
                let scope = CodeScope::at(&self.program.module, instance, address);
                let suffix = format!(".label(\"{name}\")");
                let shown = self.shown(&function);
                let point = self.written(&shown, &at_line(declared), &suffix);
                found.push(candidate(self.program, offset, point, &shown, Rc::new(scope)));
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
        if matches!(variant, Variant::Inline | Variant::Callee(..) | Variant::Label(_)) {
            return Err(self.no_debug_info("this form of function probe"));
        }
        if self.pattern.file.is_some() {
            return Err(self.no_debug_info("a function in a file"));
        }
        let symbols = self.program.module.symbols().iter().filter(|symbol| self.is_symbol(symbol));
        let found: Vec<Candidate> =
            symbols.clone().filter_map(|symbol| self.at_symbol(symbol, variant)).collect();
        if found.is_empty() && symbols.count() > 0 {
            match variant {
                Variant::Return => return Err(self.no_return()),
                Variant::Call { exported: true } => {
                    let message = format!("{} is not exported", self.pattern.function);
                    let diagnostic = Diagnostic::error(Code::ProbePoint, self.what.span, message);
                    return Err(diagnostic.hint("other files cannot name it: leave .exported out"));
                }
                _ => {}
            }
        }
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

    /// A function of which the symbol is known. `None` where it cannot be probed.
    fn at_symbol(&self, symbol: &Symbol, variant: &Variant) -> Option<Candidate> {
        let (suffix, is_return) = match variant {
            Variant::Plain => ("", false),
            Variant::Call { exported: false } => (".call", false),
            Variant::Call { exported: true } => (".exported", false),
            Variant::Return => (".return", true),
            Variant::Inline | Variant::Callee(..) | Variant::Label(_) => return None,
        };
        if is_return && !self.returns_normally(symbol.address) {
            return None;
        }
        if matches!(variant, Variant::Call { exported: true }) && !symbol.is_exported {
            return None;
        }
        let offset = self.program.module.elf.code_offset(symbol.address)?;
        let scope = SymbolScope { module: self.program.module.clone(), name: symbol.name.clone() };
        let point = self.written(&symbol.name, "", suffix);
        let mut found = candidate(self.program, offset, point, &symbol.name, Rc::new(scope));
        if is_return {
            return Some(at_return(found));
        }
        found.site.is_entry = true;
        Some(found)
    }

    /// Why there is no return probe where there is a function.
    fn no_return(&self) -> Diagnostic {
        let message = format!("{} has no return that could be probed", self.pattern.function);
        Diagnostic::error(Code::ProbePoint, self.what.span, message)
            .hint("it is not entered by a call: where its return address should be, the program keeps something else")
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
        let is_inlined = || !self.copies(info).is_empty();
        if matches!(variant, Variant::Return) && !self.functions(info).is_empty() {
            return Err(self.no_return());
        }
        let mut diagnostic = self.no_function();
        match variant {
            Variant::Inline => diagnostic.message.push_str(" that was inlined"),
            Variant::Return | Variant::Call { .. } if is_inlined() => {
                diagnostic.message.push_str(" with code of its own: it was inlined wherever it is called");
                diagnostic =
                    diagnostic.hint("without .call or .return, the places where it is entered are probed");
            }
            _ => {}
        }
        if let Some(file) = &self.pattern.file {
            let unplaced = Pattern { file: None, lines: None, ..self.pattern.clone() };
            let elsewhere = info.functions(|name, qualified| unplaced.is_function(name, qualified));
            let elsewhere = elsewhere.iter().find_map(|f| Some((f, info.declared(f)?)));
            if let Some((function, (path, line))) = elsewhere {
                let is_there = path.ends_with(&**file);
                let what = if is_there { "at that line".to_owned() } else { format!("in {file}") };
                return Err(diagnostic.hint(format!("{} is at {path}:{line}, not {what}", function.name)));
            }
        }
        if !self.program.module.looked().is_empty() {
            diagnostic = diagnostic.hint(format!(
                "part of its debug information was not found: {}",
                self.program.module.looked().join(", ")
            ));
        }
        let mut names: Vec<&str> = self.program.module.symbols().iter().map(|s| s.name.as_str()).collect();
        names.extend(info.function_names());
        if let Some(hint) = suggest::hint(&self.pattern.function, names) {
            diagnostic = diagnostic.hint(hint);
        }
        Err(diagnostic)
    }
}

/// `@file:line`
pub(super) fn declared(info: &DebugInfo, function: &Function) -> String {
    at_line(info.declared(function))
}

/// The same of an inlined copy.
pub(super) fn declared_copy(info: &DebugInfo, copy: &Inlined) -> String {
    at_line(info.declared_inlined(copy))
}

fn at_line(place: Option<(String, u64)>) -> String {
    place.map_or(String::new(), |(file, line)| format!("@{file}:{line}"))
}
