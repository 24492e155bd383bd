//! `kernel.function("x")[.call|.return]` and `kernel.trace("x")`: by the kernel's own types (BTF).
//!
//! Source: stapprobes(3stap), "KERNEL/MODULE", "KERNEL TRACEPOINTS". Parameters are in the registers of the x86-64
//! calling convention at a function's first instruction; a tracepoint's arguments are the words of its context.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tracer_common::ir::{Space, Width};
use tracer_common::manifest::{AttachPoint, ProgramKind, Site};

use crate::debuginfo::btf::{Btf, BtfError, Prototype};
use crate::debuginfo::model::{Shape, TypeId, Types};
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::glob::{glob_match, has_wildcards};
use crate::sema::family::{Candidate, Family, Resolved, TargetScope};
use crate::sema::program::{Access, TargetValue, Trigger, Unlisted};
use crate::sema::target_var::{At, WORD, Walk, unknown};
use crate::source::{FileId, Span};
use crate::syntax::ast::{LiteralValue, ProbePointComponent, TargetExpr, TargetRoot};
use crate::world::World;

/// DWARF numbers of the registers that carry the first six arguments, in order: rdi, rsi, rdx, rcx, r8, r9.
pub(super) const ARGUMENTS: [u8; 6] = [5, 4, 1, 2, 8, 9];
/// The register of a result.
pub(super) const RESULT: u8 = 0;

/// The number of the argument that a register carries at a function's first instruction.
pub fn argument_number(register: u8) -> Option<u8> {
    ARGUMENTS.iter().position(|known| *known == register).map(|n| n as u8)
}

/// The kernel's types, read when first asked for.
pub(super) struct KernelTypes<'w> {
    world: &'w dyn World,
    btf: OnceCell<Result<Rc<Btf>, String>>,
}

impl<'w> KernelTypes<'w> {
    /// Nothing is read yet.
    pub(super) fn new(world: &'w dyn World) -> KernelTypes<'w> {
        KernelTypes { world, btf: OnceCell::new() }
    }

    /// The types, or why there are none.
    pub(super) fn get(&self, span: Span) -> Result<Rc<Btf>, Diagnostic> {
        let loaded = self
            .btf
            .get_or_init(|| Btf::load(self.world).map(Rc::new).map_err(|error: BtfError| error.to_string()));
        loaded.clone().map_err(|why| Diagnostic::error(Code::NoDebugInfo, span, why))
    }
}

/// The family.
pub(super) struct Kernel<'w> {
    /// The machine.
    pub world: &'w dyn World,
    /// Its types.
    pub types: Rc<KernelTypes<'w>>,
}

/// What a place of the kernel has.
#[derive(Clone)]
enum Place {
    Function {
        prototype: Prototype,
        is_return: bool,
    },
    Tracepoint {
        args: Vec<(String, TypeId)>,
    },
    /// A script function: only `@cast`.
    Nowhere,
}

struct Scope {
    btf: Rc<Btf>,
    place: Place,
    name: String,
}

/// What `@cast` means in script functions: the kernel's types, loaded on demand.
pub(super) struct Functions<'w> {
    /// The types.
    pub types: Rc<KernelTypes<'w>>,
}

impl TargetScope for Functions<'_> {
    fn resolve(&self, target: &TargetExpr, span: Span, at_entry: bool) -> Result<Resolved, Diagnostic> {
        self.scope(span)?.resolve(target, span, at_entry)
    }

    fn pointee(&self, target: &TargetExpr) -> Option<String> {
        self.scope(target.root_span).ok()?.pointee(target)
    }

    fn type_name(&self, target: &TargetExpr) -> Option<String> {
        self.scope(target.root_span).ok()?.type_name(target)
    }

    fn enumerator(&self, name: &str) -> Option<i64> {
        self.constants()?.enumerator(name)
    }

    /// The kernel keeps what `arch_prctl` and `clone` set. A program that sets the register itself (`wrfsbase`), which no
    /// C library does, has another value.
    fn thread_pointer(&self, span: Span) -> Result<Access, Diagnostic> {
        let btf = self.types.get(span)?;
        let offset = btf.type_by_name("task_struct").and_then(|task| {
            let thread = btf.member(task, "thread")?;
            let base = btf.member(thread.ty, "fsbase")?;
            i32::try_from((thread.bit_offset + base.bit_offset) / 8).ok()
        });
        let offset = offset.ok_or_else(|| {
            Diagnostic::error(Code::NoDebugInfo, span, "this kernel's types do not say where threads keep fs")
        })?;
        Ok(Access::Load { space: Space::Kernel, address: Box::new(Access::Task), offset, width: WORD })
    }

    fn enumeration(&self, type_name: &str) -> Option<Vec<(String, i64)>> {
        self.constants()?.enumeration(type_name)
    }
}

impl Functions<'_> {
    /// The types, for whoever asks without a place: why there are none is told elsewhere.
    fn constants(&self) -> Option<Rc<Btf>> {
        self.types.get(Span::new(FileId(0), 0, 0)).ok()
    }

    fn scope(&self, span: Span) -> Result<Scope, Diagnostic> {
        Ok(Scope { btf: self.types.get(span)?, place: Place::Nowhere, name: "this function".into() })
    }
}

impl Family for Kernel<'_> {
    fn resolve(
        &self,
        point: &[ProbePointComponent],
        span: Span,
    ) -> Option<Result<Vec<Candidate>, Diagnostic>> {
        if point[0].arg.is_some() {
            return None;
        }
        let second = point.get(1)?;
        match (&*point[0].name, &*second.name) {
            // SystemTap's `kprobe` is `kernel` without debug information; there is no need to do without.
            ("kernel" | "kprobe", "function") => Some(self.function(point, second, span)),
            ("kernel", "trace") => Some(self.tracepoint(point, second, span)),
            _ => None,
        }
    }

    fn forms(&self) -> &'static [&'static str] {
        &[
            "kernel.function(string)",
            "kernel.function(string).call",
            "kernel.function(string).return",
            "kernel.trace(string)",
            "kprobe.function(string)",
            "kprobe.function(string).return",
        ]
    }
}

fn argument(component: &ProbePointComponent) -> Result<String, Diagnostic> {
    let text = component.arg.as_ref().and_then(|literal| match &literal.value {
        LiteralValue::Str(text) => text.as_str().map(str::to_owned),
        LiteralValue::Number(_) => None,
    });
    text.ok_or_else(|| {
        Diagnostic::error(
            Code::ProbePoint,
            component.span,
            format!("{} takes a name in quotes", component.name),
        )
    })
}

impl Kernel<'_> {
    fn function(
        &self,
        point: &[ProbePointComponent],
        component: &ProbePointComponent,
        span: Span,
    ) -> Result<Vec<Candidate>, Diagnostic> {
        let pattern = argument(component)?;
        let Variant { is_return, suffix } = variant(point, 2)?;
        if !self.world.exists(Path::new("/sys/bus/event_source/devices/kprobe/type")) {
            return Err(Diagnostic::error(
                Code::NoKprobes,
                span,
                "this kernel has no kprobes: functions of the kernel cannot be probed",
            )
            .hint(
                "kernel.trace(\"…\") probes tracepoints, process(\"…\") user-space programs; both work here",
            ));
        }
        let btf = self.types.get(span)?;
        let name = pattern.split('@').next().unwrap_or(&pattern);
        let names = if has_wildcards(name) { self.traceable(&btf, name) } else { vec![name.to_owned()] };
        let mut found = Vec::new();
        for name in names {
            let Some(prototype) = btf.function(&name) else { continue };
            let kind = if is_return { ProgramKind::Kretprobe } else { ProgramKind::Kprobe };
            let btf_id = trampoline(&btf, &prototype);
            let attach = AttachPoint::Kernel { symbol: name.clone(), offset: 0, btf: btf_id };
            let probe_point = format!("{}.function(\"{name}\"){suffix}", point[0].name);
            let site = Site { function: name.clone(), ..Site::new(attach, probe_point) };
            let scope = Rc::new(Scope {
                btf: btf.clone(),
                place: Place::Function { prototype, is_return },
                name: format!("kernel function {name}"),
            });
            found.push(Candidate {
                entry: is_return.then_some(ProgramKind::Kprobe),
                ..Candidate::new(Trigger::Kernel(kind), site, scope)
            });
        }
        if found.is_empty() {
            let mut diagnostic = Diagnostic::error(
                Code::ProbePoint,
                component.span,
                format!("the kernel has no function {pattern}"),
            );
            let all = btf.functions("*");
            if let Some(hint) = suggest::hint(&pattern, all.iter().map(String::as_str)) {
                diagnostic = diagnostic.hint(hint);
            }
            return Err(diagnostic);
        }
        Ok(found)
    }

    /// Functions that match and that the kernel lets us trace.
    fn traceable(&self, btf: &Btf, pattern: &str) -> Vec<String> {
        let known = btf.functions(pattern);
        for folder in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
            if let Ok(text) = self.world.read_text(&Path::new(folder).join("available_filter_functions")) {
                let mut traceable: Vec<&str> = text
                    .lines()
                    .filter_map(|line| line.split_whitespace().next())
                    .filter(|name| glob_match(pattern, name))
                    .collect();
                traceable.sort_unstable();
                // A name that several functions share cannot be told apart by name.
                let shared: Vec<&str> =
                    traceable.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
                return known
                    .into_iter()
                    .filter(|name| {
                        traceable.binary_search(&name.as_str()).is_ok()
                            && shared.binary_search(&name.as_str()).is_err()
                    })
                    .collect();
            }
        }
        known
    }

    /// The tracepoints of the systems that match; `None` where tracefs cannot be read.
    fn events(&self, pattern: &str) -> Option<BTreeSet<String>> {
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let folders = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];
        let systems = folders.iter().find_map(|folder| {
            self.world.read_dir(Path::new(folder)).ok().filter(|systems| !systems.is_empty())
        })?;
        let wanted = systems.iter().filter(|path| name(path).is_some_and(|name| glob_match(pattern, &name)));
        Some(
            wanted
                .flat_map(|path| self.world.read_dir(path).unwrap_or_default())
                .filter_map(|path| name(&path))
                .collect(),
        )
    }

    fn tracepoint(
        &self,
        point: &[ProbePointComponent],
        component: &ProbePointComponent,
        span: Span,
    ) -> Result<Vec<Candidate>, Diagnostic> {
        if let Some(more) = point.get(2) {
            return Err(Diagnostic::error(
                Code::ProbePoint,
                more.span,
                format!("a tracepoint has no .{}", more.name),
            ));
        }
        let written = argument(component)?;
        let (system, pattern) = match written.split_once(':') {
            Some((system, name)) => (system.to_owned(), name.to_owned()),
            None => (String::new(), written.clone()),
        };
        let btf = self.types.get(span)?;
        let mut names =
            if has_wildcards(&pattern) { btf.tracepoints(&pattern) } else { vec![pattern.clone()] };
        if !system.is_empty() {
            match self.events(&system) {
                Some(events) => names.retain(|name| events.contains(name)),
                // Only tracefs knows systems; a full name says enough.
                None if has_wildcards(&pattern) => {
                    let message =
                        format!("which tracepoints belong to {system} is not known: there is no tracefs");
                    return Err(Diagnostic::error(Code::ProbePoint, component.span, message)
                        .hint("mount -t tracefs tracefs /sys/kernel/tracing"));
                }
                None => {}
            }
        }
        let mut found = Vec::new();
        for name in names {
            let Some(args) = btf.tracepoint(&name) else { continue };
            let attach = AttachPoint::Tracepoint { name: name.clone() };
            let probe_point = format!("kernel.trace(\"{name}\")");
            let site =
                Site { name: name.clone(), provider: system.clone(), ..Site::new(attach, probe_point) };
            let scope = Rc::new(Scope {
                btf: btf.clone(),
                place: Place::Tracepoint { args },
                name: format!("tracepoint {name}"),
            });
            found.push(Candidate::new(Trigger::Kernel(ProgramKind::RawTracepoint), site, scope));
        }
        if found.is_empty() {
            let mut diagnostic = Diagnostic::error(
                Code::ProbePoint,
                component.span,
                format!("the kernel has no tracepoint {written}"),
            );
            let all = btf.tracepoints("*");
            if let Some(hint) = suggest::hint(&pattern, all.iter().map(String::as_str)) {
                diagnostic = diagnostic.hint(hint);
            }
            return Err(diagnostic);
        }
        Ok(found)
    }
}

/// The type of a function whose parameters and result are words, each in a register of its own: trampolines know them
/// by number.
fn trampoline(btf: &Btf, prototype: &Prototype) -> Option<u32> {
    let word = |ty: TypeId| match btf.shape(ty) {
        Shape::Number { bytes, .. } => bytes <= 8,
        Shape::Pointer(_) => true,
        _ => false,
    };
    let plain = prototype.params.len() <= ARGUMENTS.len()
        && prototype.params.iter().all(|(_, ty)| word(*ty))
        && prototype.result.is_none_or(word);
    u32::try_from(prototype.id.0).ok().filter(|_| plain)
}

/// Where in a function, and how the script said it.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    pub(super) is_return: bool,
    pub(super) suffix: &'static str,
}

/// What follows the function: nothing, `.call` or `.return`.
pub(super) fn variant(point: &[ProbePointComponent], from: usize) -> Result<Variant, Diagnostic> {
    match point.get(from) {
        None => Ok(Variant { is_return: false, suffix: "" }),
        Some(component) if point.len() > from + 1 => Err(Diagnostic::error(
            Code::ProbePoint,
            point[from + 1].span,
            format!("nothing may follow .{}", component.name),
        )),
        Some(component) => match &*component.name {
            "call" => Ok(Variant { is_return: false, suffix: ".call" }),
            "return" => Ok(Variant { is_return: true, suffix: ".return" }),
            other => Err(Diagnostic::error(
                Code::Unsupported,
                component.span,
                format!(".{other} is not supported yet"),
            )
            .hint(".call and .return are")),
        },
    }
}

impl Scope {
    fn variables(&self) -> &[(String, TypeId)] {
        match &self.place {
            Place::Function { prototype, .. } => &prototype.params,
            Place::Tracepoint { args } => args,
            Place::Nowhere => &[],
        }
    }

    /// The n-th argument, raw.
    fn argument(&self, n: usize) -> Option<Access> {
        match &self.place {
            Place::Function { .. } => ARGUMENTS.get(n).map(|register| Access::Register(*register, WORD)),
            Place::Tracepoint { .. } => u8::try_from(n).ok().map(|n| Access::Argument(n, WORD)),
            Place::Nowhere => None,
        }
    }

    /// A value for `$$parms` and its like.
    fn listed(&self, n: usize, ty: TypeId) -> Result<Access, Unlisted> {
        let raw = self.argument(n).ok_or(Unlisted::Unknown)?;
        match self.btf.shape(ty) {
            Shape::Number { bytes, signed } if bytes < 8 => {
                Ok(Access::Extend(Box::new(raw), Width { bytes, signed }))
            }
            Shape::Number { .. } | Shape::Pointer(_) => Ok(raw),
            Shape::Aggregate => Err(Unlisted::Structure),
            Shape::Array(..) => Err(Unlisted::Array),
            Shape::Float(_) | Shape::Nothing => Err(Unlisted::Unknown),
        }
    }

    fn is_return(&self) -> bool {
        matches!(self.place, Place::Function { is_return: true, .. })
    }

    fn result(&self) -> Option<TypeId> {
        match &self.place {
            Place::Function { prototype, is_return: true } => prototype.result,
            _ => None,
        }
    }

    /// Where a target expression starts: memory or value, its type, and whether it must be read at the entry.
    fn start(&self, target: &TargetExpr, span: Span) -> Result<(At, TypeId, bool), Diagnostic> {
        Ok(match &target.root {
            TargetRoot::Variable(name) if &**name == "return" => match self.result() {
                Some(ty) => (At::Value(Access::Register(RESULT, WORD)), ty, false),
                None => {
                    return Err(Diagnostic::error(
                        Code::UnresolvedTarget,
                        span,
                        if self.is_return() {
                            format!("{} returns nothing", self.name)
                        } else {
                            "$return is there in .return probes only".into()
                        },
                    ));
                }
            },
            TargetRoot::Variable(name) => {
                let variables = self.variables();
                let by_number = || {
                    name.strip_prefix("arg")
                        .and_then(|n| n.parse::<usize>().ok())
                        .and_then(|n| n.checked_sub(1))
                };
                let n = variables.iter().position(|(known, _)| **known == **name).or_else(|| {
                    by_number()
                        .filter(|n| *n < variables.len() && matches!(self.place, Place::Tracepoint { .. }))
                });
                let Some((n, access)) = n.and_then(|n| Some((n, self.argument(n)?))) else {
                    let known: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
                    return Err(unknown(name, &known, span, &self.name));
                };
                (At::Value(access), variables[n].1, self.is_return())
            }
            TargetRoot::Cast { type_name, module, .. } => {
                let _ = module;
                let name = type_name.as_str().unwrap_or("");
                let Some(ty) = self.btf.type_by_name(name) else {
                    return Err(Diagnostic::error(
                        Code::UnresolvedTarget,
                        span,
                        format!("the kernel has no type {name}"),
                    ));
                };
                (At::Memory(Access::Dynamic(0), 0), ty, false)
            }
            TargetRoot::Var { name, .. } => {
                return Err(Diagnostic::error(
                    Code::Unsupported,
                    span,
                    format!("@var(\"{name}\") is not supported yet"),
                ));
            }
            // Pass 2 takes both apart before.
            TargetRoot::Value(_) | TargetRoot::Special(_) => {
                return Err(Diagnostic::error(Code::UnresolvedTarget, span, "this has no place in memory"));
            }
        })
    }

    fn walk(&self, target: &TargetExpr) -> Walk<'_> {
        // The operand of a cast is the first value that is known only at run time.
        let dynamic = u32::from(matches!(target.root, TargetRoot::Cast { .. }));
        Walk { types: &*self.btf, space: Space::Kernel, dynamic, shown: 0 }
    }
}

impl TargetScope for Scope {
    fn resolve(&self, target: &TargetExpr, span: Span, at_entry: bool) -> Result<Resolved, Diagnostic> {
        if let TargetRoot::Special(name) = &target.root {
            return self.special(name, span, at_entry);
        }
        let (start, ty, entry) = self.start(target, span)?;
        let value = self.walk(target).resolve(target, start, ty, span)?;
        Ok(Resolved { value, names: Vec::new(), at_entry: entry && !at_entry })
    }

    fn pointee(&self, target: &TargetExpr) -> Option<String> {
        if matches!(target.root, TargetRoot::Special(_)) {
            return None;
        }
        let (start, ty, _) = self.start(target, target.root_span).ok()?;
        self.walk(target).pointee(target, start, ty)
    }

    fn type_name(&self, target: &TargetExpr) -> Option<String> {
        let (start, ty, _) = self.start(target, target.root_span).ok()?;
        self.walk(target).type_name(target, start, ty)
    }

    fn enumerator(&self, name: &str) -> Option<i64> {
        self.btf.enumerator(name)
    }

    fn enumeration(&self, type_name: &str) -> Option<Vec<(String, i64)>> {
        self.btf.enumeration(type_name)
    }

    fn list(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        if let Some(ty) = self.result() {
            all.push(format!("$return:{}", self.btf.name(ty)));
        }
        all.extend(self.variables().iter().map(|(name, ty)| format!("${name}:{}", self.btf.name(*ty))));
        all
    }
}

impl Scope {
    fn special(&self, name: &str, span: Span, at_entry: bool) -> Result<Resolved, Diagnostic> {
        let mut names = Vec::new();
        let mut values = Vec::new();
        let mut entry = false;
        match name {
            "parms" | "vars" => {
                for (n, (name, ty)) in self.variables().iter().enumerate() {
                    names.push(name.clone());
                    values.push(self.listed(n, *ty));
                }
                entry = self.is_return();
            }
            "locals" => {}
            "return" => {
                if let Some(ty) = self.result() {
                    names.push("return".to_owned());
                    let raw = Access::Register(RESULT, WORD);
                    values.push(match self.btf.shape(ty) {
                        Shape::Number { bytes, signed } if bytes < 8 => {
                            Ok(Access::Extend(Box::new(raw), Width { bytes, signed }))
                        }
                        Shape::Number { .. } | Shape::Pointer(_) => Ok(raw),
                        _ => Err(Unlisted::Unknown),
                    });
                }
            }
            other => {
                return Err(Diagnostic::error(Code::UnresolvedTarget, span, format!("no $${other}"))
                    .hint("there are: $$vars, $$parms, $$locals, $$return, $$name"));
            }
        }
        Ok(Resolved { value: TargetValue::List { list: 0, values }, names, at_entry: entry && !at_entry })
    }
}
