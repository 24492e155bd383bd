//! `process("path").function("pattern")[.call|.return]` and `process("path").mark("name")`: through DWARF, symbols
//! and SDT notes.
//!
//! Source: stapprobes(3stap), "PROCESS", "SDT MARKERS".

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use tracer_common::ir::{Space, Width};
use tracer_common::manifest::{AttachPoint, ProgramKind, Site};

use crate::debuginfo::dwarf::{DebugInfo, Function, Variable};
use crate::debuginfo::elf::{ElfFile, Symbol};
use crate::debuginfo::model::{Shape, TypeId, Types};
use crate::debuginfo::sdt::{self, Mark};
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::glob::glob_match;
use crate::sema::families::kernel::{ARGUMENTS, RESULT, Variant, variant};
use crate::sema::family::{Candidate, Family, Resolved, TargetScope};
use crate::sema::program::{Access, TargetValue, Trigger};
use crate::sema::target_var::{At, WORD, Walk, start, unknown};
use crate::source::Span;
use crate::syntax::ast::{LiteralValue, ProbePointComponent, TargetExpr, TargetRoot};
use crate::world::World;

/// A program or library, opened once.
struct Module {
    path: PathBuf,
    elf: ElfFile,
    info: Option<DebugInfo>,
}

/// The family.
pub(super) struct Process<'w> {
    /// The machine.
    pub world: &'w dyn World,
    /// Files that were opened.
    modules: RefCell<HashMap<PathBuf, Rc<Module>>>,
}

impl<'w> Process<'w> {
    /// Nothing is opened yet.
    pub(super) fn new(world: &'w dyn World) -> Process<'w> {
        Process { world, modules: RefCell::default() }
    }

    fn module(&self, name: &str, span: Span) -> Result<Rc<Module>, Diagnostic> {
        let fail = |why: String| Diagnostic::error(Code::NoFile, span, why);
        let Some(found) = self.world.find_program(name) else {
            let hint = if name.contains('/') {
                "the path is taken as it stands: check the spelling"
            } else {
                "a name without a slash is looked for in PATH"
            };
            return Err(fail(format!("no such program: {name}")).hint(hint));
        };
        let path =
            self.world.canonicalize(&found).map_err(|error| fail(format!("cannot open {name}: {error}")))?;
        if let Some(module) = self.modules.borrow().get(&path) {
            return Ok(module.clone());
        }
        let elf = ElfFile::open(self.world, &path).map_err(|error| fail(error.to_string()))?;
        let mut info = None;
        for place in elf.debug_paths() {
            if place == path {
                info = DebugInfo::load(&elf, &elf);
            } else if self.world.exists(&place)
                && let Ok(debug) = ElfFile::open(self.world, &place)
            {
                info = DebugInfo::load(&debug, &elf);
            }
            if info.is_some() {
                break;
            }
        }
        let module = Rc::new(Module { path: path.clone(), elf, info });
        self.modules.borrow_mut().insert(path, module.clone());
        Ok(module)
    }
}

fn text(component: &ProbePointComponent) -> Option<String> {
    match &component.arg.as_ref()?.value {
        LiteralValue::Str(text) => text.as_str().map(str::to_owned),
        LiteralValue::Number(_) => None,
    }
}

impl Family for Process<'_> {
    fn resolve(
        &self,
        point: &[ProbePointComponent],
        span: Span,
    ) -> Option<Result<Vec<Candidate>, Diagnostic>> {
        if &*point[0].name != "process" {
            return None;
        }
        Some(self.process(point, span))
    }

    fn forms(&self) -> &'static [&'static str] {
        &[
            "process(string).function(string)",
            "process(string).function(string).call",
            "process(string).function(string).return",
            "process(string).mark(string)",
            "process(string).provider(string).mark(string)",
        ]
    }
}

impl Process<'_> {
    fn process(&self, point: &[ProbePointComponent], span: Span) -> Result<Vec<Candidate>, Diagnostic> {
        let Some(name) = text(&point[0]) else {
            return Err(Diagnostic::error(
                Code::Unsupported,
                point[0].span,
                "process without the path of a program is not supported yet",
            )
            .hint("process(\"/path/of/program\")"));
        };
        let Some(what) = point.get(1) else {
            return Err(Diagnostic::error(Code::ProbePoint, span, "what of the process?")
                .hint("process(\"…\").function(\"…\"), process(\"…\").mark(\"…\")"));
        };
        match (&*what.name, text(what)) {
            ("function", Some(pattern)) => {
                let module = self.module(&name, point[0].span)?;
                self.functions(&module, point, &pattern, what.span)
            }
            ("mark", Some(pattern)) => {
                let module = self.module(&name, point[0].span)?;
                marks(&module, "*", &pattern, what.span)
            }
            ("provider", Some(provider)) => match point.get(2).map(|c| (&*c.name, text(c))) {
                Some(("mark", Some(pattern))) => {
                    let module = self.module(&name, point[0].span)?;
                    marks(&module, &provider, &pattern, what.span)
                }
                _ => Err(Diagnostic::error(Code::ProbePoint, what.span, "a provider needs a mark")
                    .hint("process(\"…\").provider(\"…\").mark(\"…\")")),
            },
            ("function" | "mark" | "provider", None) => Err(Diagnostic::error(
                Code::ProbePoint,
                what.span,
                format!("{} takes a name in quotes", what.name),
            )),
            (other, _) => {
                let known = ["function", "mark", "provider"];
                let mut diagnostic = Diagnostic::error(
                    Code::Unsupported,
                    what.span,
                    format!("process(\"…\").{other} is not supported yet"),
                );
                if let Some(hint) = suggest::hint(other, known) {
                    diagnostic = diagnostic.hint(hint);
                }
                Err(diagnostic)
            }
        }
    }

    fn functions(
        &self,
        module: &Rc<Module>,
        point: &[ProbePointComponent],
        pattern: &str,
        span: Span,
    ) -> Result<Vec<Candidate>, Diagnostic> {
        let variant = variant(point, 2)?;
        let (name, file) = match pattern.split_once('@') {
            Some((name, file)) => (name, Some(file)),
            None => (pattern, None),
        };
        let mut found = Vec::new();
        if let Some(info) = &module.info {
            for function in info.functions().iter().filter(|f| glob_match(name, &f.name)) {
                if let Some(file) = file
                    && !info.declared(function).is_some_and(|(path, _)| path.ends_with(file))
                {
                    continue;
                }
                found.extend(debug_candidate(module, info, function, variant));
            }
        }
        if found.is_empty() {
            for symbol in module.elf.functions().iter().filter(|s| glob_match(name, &s.name)) {
                found.extend(symbol_candidate(module, symbol, variant));
            }
        }
        if found.is_empty() {
            let symbols = module.elf.functions();
            let mut names: Vec<&str> = symbols.iter().map(|s| s.name.as_str()).collect();
            if let Some(info) = &module.info {
                names.extend(info.functions().iter().map(|f| f.name.as_str()));
            }
            let mut diagnostic = Diagnostic::error(
                Code::ProbePoint,
                span,
                format!("{} has no function {pattern}", module.path.display()),
            );
            if names.is_empty() {
                diagnostic = diagnostic.hint("it is stripped: it has neither symbols nor debug information");
                diagnostic = diagnostic.hint(format!("looked for debug information in {}", looked(module)));
            } else if let Some(hint) = suggest::hint(name, names) {
                diagnostic = diagnostic.hint(hint);
            }
            return Err(diagnostic);
        }
        Ok(found)
    }
}

/// Where debug information was looked for.
fn looked(module: &Module) -> String {
    let paths: Vec<String> = module.elf.debug_paths().iter().map(|p| p.display().to_string()).collect();
    paths.join(", ")
}

fn kind(is_return: bool) -> ProgramKind {
    if is_return { ProgramKind::Uretprobe } else { ProgramKind::Uprobe }
}

fn debug_candidate(
    module: &Rc<Module>,
    info: &DebugInfo,
    function: &Function,
    Variant { is_return, suffix }: Variant,
) -> Option<Candidate> {
    // A return probe replaces the return address, which is where it is only at the first instruction.
    let address = if is_return { function.low } else { info.probe_address(function) };
    let offset = module.elf.file_offset(address)?;
    let declared = info.declared(function).map_or(String::new(), |(file, line)| format!("@{file}:{line}"));
    Some(Candidate {
        trigger: Trigger::Kernel(kind(is_return)),
        site: Site {
            attach: AttachPoint::User { path: module.path.display().to_string(), offset, semaphore: None },
            probe_point: format!(
                "process(\"{}\").function(\"{}{declared}\"){suffix}",
                module.path.display(),
                function.name
            ),
            alias: String::new(),
            function: function.name.clone(),
            name: String::new(),
            provider: String::new(),
            variables: Vec::new(),
        },
        scope: Rc::new(FunctionScope {
            module: module.clone(),
            function: function.clone(),
            address,
            is_return,
        }),
        entry: is_return.then_some(ProgramKind::Uprobe),
    })
}

fn symbol_candidate(
    module: &Rc<Module>,
    symbol: &Symbol,
    Variant { is_return, suffix }: Variant,
) -> Option<Candidate> {
    let offset = module.elf.file_offset(symbol.address)?;
    Some(Candidate {
        trigger: Trigger::Kernel(kind(is_return)),
        site: Site {
            attach: AttachPoint::User { path: module.path.display().to_string(), offset, semaphore: None },
            probe_point: format!(
                "process(\"{}\").function(\"{}\"){suffix}",
                module.path.display(),
                symbol.name
            ),
            alias: String::new(),
            function: symbol.name.clone(),
            name: String::new(),
            provider: String::new(),
            variables: Vec::new(),
        },
        scope: Rc::new(SymbolScope { module: module.clone(), name: symbol.name.clone() }),
        entry: is_return.then_some(ProgramKind::Uprobe),
    })
}

fn marks(
    module: &Rc<Module>,
    provider: &str,
    pattern: &str,
    span: Span,
) -> Result<Vec<Candidate>, Diagnostic> {
    let all = sdt::marks(&module.elf);
    let mut found = Vec::new();
    for mark in all.iter().filter(|m| glob_match(pattern, &m.name) && glob_match(provider, &m.provider)) {
        let Some(offset) = module.elf.file_offset(mark.address) else { continue };
        let semaphore = mark.semaphore.and_then(|address| module.elf.file_offset(address));
        found.push(Candidate {
            trigger: Trigger::Kernel(ProgramKind::Uprobe),
            site: Site {
                attach: AttachPoint::User { path: module.path.display().to_string(), offset, semaphore },
                probe_point: format!(
                    "process(\"{}\").provider(\"{}\").mark(\"{}\")",
                    module.path.display(),
                    mark.provider,
                    mark.name
                ),
                alias: String::new(),
                function: String::new(),
                name: mark.name.clone(),
                provider: mark.provider.clone(),
                variables: Vec::new(),
            },
            scope: Rc::new(MarkScope { mark: mark.clone() }),
            entry: None,
        });
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

/// Variables of a function with debug information.
struct FunctionScope {
    module: Rc<Module>,
    function: Function,
    address: u64,
    is_return: bool,
}

impl FunctionScope {
    fn info(&self) -> Option<&DebugInfo> {
        self.module.info.as_ref()
    }

    /// Parameters where the handler, or the entry of a return probe, sees them.
    fn params(&self, info: &DebugInfo) -> Vec<(Variable, Result<At, String>)> {
        let params = info.params(&self.function, self.address);
        let mut next = 0;
        params
            .into_iter()
            .map(|variable| {
                // At the first instruction of unoptimised code, the frame is not there yet: parameters are where the
                // calling convention puts them.
                let convention = self.convention(info, &variable, &mut next);
                let at = if self.address == self.function.low && variable.fixed {
                    convention
                        .ok_or_else(|| "a parameter that the prologue has not put anywhere yet".to_owned())
                } else {
                    match &variable.location {
                        Ok(location) => start(location, self.address),
                        Err(absence) => Err(absence.to_string()),
                    }
                };
                (variable, at)
            })
            .collect()
    }

    /// The register of a parameter by the calling convention; structures and floats are passed otherwise.
    fn convention(&self, info: &DebugInfo, variable: &Variable, next: &mut usize) -> Option<At> {
        match info.types().shape(variable.ty) {
            Shape::Number { bytes, .. } if bytes <= 8 => {}
            Shape::Pointer(_) => {}
            Shape::Aggregate => {
                let size = info.types().size(variable.ty);
                if size <= 16 {
                    *next += size.div_ceil(8) as usize;
                }
                return None;
            }
            _ => return None,
        }
        let register = ARGUMENTS.get(*next)?;
        *next += 1;
        Some(At::Value(Access::Register(*register, WORD)))
    }

    fn variables(&self, info: &DebugInfo) -> Vec<(Variable, Result<At, String>)> {
        let mut all = self.params(info);
        if !self.is_return {
            all.extend(info.locals(&self.function, self.address).into_iter().map(|variable| {
                let at = match &variable.location {
                    Ok(location) => start(location, self.address),
                    Err(absence) => Err(absence.to_string()),
                };
                (variable, at)
            }));
        }
        all
    }

    fn special(
        &self,
        info: &DebugInfo,
        name: &str,
        span: Span,
        at_entry: bool,
    ) -> Result<Resolved, Diagnostic> {
        let variables = match name {
            "parms" => self.params(info),
            "vars" => self.variables(info),
            "locals" if self.is_return => Vec::new(),
            "locals" => self.variables(info).split_off(self.params(info).len()),
            "return" => {
                let mut names = Vec::new();
                let mut values = Vec::new();
                if let (true, Some(ty)) = (self.is_return, info.result(&self.function)) {
                    names.push("return".to_owned());
                    values.push(listed(info, At::Value(Access::Register(RESULT, WORD)), ty));
                }
                return Ok(Resolved { value: TargetValue::List { list: 0, values }, names, at_entry: false });
            }
            other => {
                return Err(Diagnostic::error(Code::UnresolvedTarget, span, format!("no $${other}"))
                    .hint("there are: $$vars, $$parms, $$locals, $$return, $$name"));
            }
        };
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (variable, at) in variables {
            values.push(at.ok().and_then(|at| listed(info, at, variable.ty)));
            names.push(variable.name);
        }
        Ok(Resolved {
            value: TargetValue::List { list: 0, values },
            names,
            at_entry: self.is_return && !at_entry,
        })
    }
}

/// A value for `$$parms`; `None` where there is no single one.
fn listed(info: &DebugInfo, at: At, ty: TypeId) -> Option<Access> {
    let types = info.types();
    let walk = Walk { types: &types, space: Space::User, dynamic: 0 };
    match types.shape(ty) {
        Shape::Number { bytes, signed } if matches!(bytes, 1 | 2 | 4 | 8) => {
            Some(walk.read(at, Width { bytes, signed }))
        }
        Shape::Pointer(_) | Shape::Float(8) => Some(walk.read(at, WORD)),
        _ => None,
    }
}

impl TargetScope for FunctionScope {
    fn resolve(&self, target: &TargetExpr, span: Span, at_entry: bool) -> Result<Resolved, Diagnostic> {
        let Some(info) = self.info() else {
            return Err(Diagnostic::error(Code::NoDebugInfo, span, "no debug information"));
        };
        let types = info.types();
        let mut walk = Walk { types: &types, space: Space::User, dynamic: 0 };
        let (at, ty, entry) = match &target.root {
            TargetRoot::Special(name) => return self.special(info, name, span, at_entry),
            TargetRoot::Variable(name) if &**name == "return" => {
                if !self.is_return {
                    return Err(Diagnostic::error(
                        Code::UnresolvedTarget,
                        span,
                        "$return is there in .return probes only",
                    ));
                }
                let Some(ty) = info.result(&self.function) else {
                    return Err(Diagnostic::error(
                        Code::UnresolvedTarget,
                        span,
                        format!("{} returns nothing", self.function.name),
                    ));
                };
                (At::Value(Access::Register(RESULT, WORD)), ty, false)
            }
            TargetRoot::Variable(name) => {
                let variables = self.variables(info);
                let Some((variable, at)) = variables.iter().find(|(v, _)| *v.name == **name) else {
                    let known: Vec<String> = variables.iter().map(|(v, _)| v.name.clone()).collect();
                    return Err(unknown(name, &known, span, &self.function.name));
                };
                match at {
                    Ok(at) => (at.clone(), variable.ty, self.is_return),
                    Err(why) => {
                        return Err(Diagnostic::error(
                            Code::UnresolvedTarget,
                            span,
                            format!("${name} of {} cannot be read here: {why}", self.function.name),
                        ));
                    }
                }
            }
            TargetRoot::Cast { .. } | TargetRoot::Var { .. } | TargetRoot::Value(_) => {
                return Err(Diagnostic::error(
                    Code::Unsupported,
                    span,
                    "@cast, @var and -> on script values are not supported in user-space probes yet",
                ));
            }
        };
        let value = walk.resolve(target, at, ty, span)?;
        Ok(Resolved { value, names: Vec::new(), at_entry: entry && !at_entry })
    }

    fn list(&self) -> Vec<String> {
        let Some(info) = self.info() else { return Vec::new() };
        let types = info.types();
        let mut all = Vec::new();
        if self.is_return
            && let Some(ty) = info.result(&self.function)
        {
            all.push(format!("$return:{}", types.name(ty)));
        }
        all.extend(self.variables(info).iter().map(|(v, _)| format!("${}:{}", v.name, types.name(v.ty))));
        all
    }
}

/// A function of which only the symbol is known.
struct SymbolScope {
    module: Rc<Module>,
    name: String,
}

impl TargetScope for SymbolScope {
    fn resolve(&self, target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        if let TargetRoot::Special(name) = &target.root
            && matches!(&**name, "parms" | "vars" | "locals" | "return")
        {
            return Ok(Resolved {
                value: TargetValue::List { list: 0, values: Vec::new() },
                names: Vec::new(),
                at_entry: false,
            });
        }
        Err(Diagnostic::error(
            Code::NoDebugInfo,
            span,
            format!(
                "{} has no debug information for {}: its variables are not known",
                self.module.path.display(),
                self.name
            ),
        )
        .hint(format!("looked in {}", looked(&self.module)))
        .hint("build it with -g, or install its debug package"))
    }
}

/// Arguments of a mark.
struct MarkScope {
    mark: Mark,
}

impl MarkScope {
    fn argument(&self, n: usize) -> Option<Access> {
        let argument = self.mark.args.get(n)?.as_ref()?;
        let at = start(&argument.location, self.mark.address).ok()?;
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
