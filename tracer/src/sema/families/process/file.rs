//! What a whole file has, wherever the handler runs: its variables (`@var("v@file.c", "path")`) and its types
//! (`@cast(p, "type", "path")`).
//!
//! Where the file is loaded in the process of the hit is found out at the hit ([`Access::Module`]). A process that has not
//! loaded it, or another build of it, makes an error of the handler.
//!
//! **Not here:** variables of the place that is probed (`scope`), how the file is found in memory
//! (`tracer_ebpf::codegen::unwind`).

use std::rc::Rc;
use std::sync::Arc;

use tracer_common::ir::Space;
use tracer_common::manifest::AttachPoint;

use super::module::{Module, is_named};
use super::{Process, Program, thread_local};
use crate::debuginfo::dwarf::{DebugInfo, Instance, Variable};
use crate::debuginfo::model::{Entry, TypeId, Types};
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::sema::family::{Door, FileFound, Resolved, TargetScope};
use crate::sema::program::{Access, Guard};
use crate::sema::target_var::{At, Loaded, Moved, Walk, start};
use crate::source::Span;
use crate::syntax::ast::{TargetExpr, TargetRoot, Text};

/// A file's variables and types.
struct FileScope {
    module: Rc<Module>,
    /// Whether the handler runs in a process.
    is_hit: bool,
}

/// A file that may be loaded in the process of the hit.
struct Somewhere<'m> {
    module: &'m Module,
    moved: Moved,
}

impl Loaded for Somewhere<'_> {
    fn moved(&self) -> Moved {
        self.moved.clone()
    }

    fn thread_local(&self) -> Result<Access, String> {
        thread_local::block(&self.module.elf, &self.moved)
    }

    fn entered(&self, _register: u8, _entry: &Entry) -> Result<Access, String> {
        Err("its location uses a value of a function's entry".to_owned())
    }
}

impl FileScope {
    fn info(&self, span: Span) -> Result<&DebugInfo, Diagnostic> {
        self.module.info().ok_or_else(|| no_information(&self.module, "its variables and types", span))
    }

    fn start(&self, info: &DebugInfo, target: &TargetExpr, span: Span) -> Result<(At, TypeId), Diagnostic> {
        match &target.root {
            TargetRoot::Var { name, unit, .. } => {
                let name = name.as_str().unwrap_or_default();
                let unit = unit.as_ref().and_then(|unit| unit.as_str());
                let variable = variable(&self.module, info, (name, unit), None, span)?;
                if !self.is_hit {
                    let why = "this code runs in no process of the program's";
                    return Err(unreadable(name, why, span)
                        .hint("read it in a probe of the program, and keep it in a global"));
                }
                let at = self.place(&variable).map_err(|why| unreadable(name, &why, span))?;
                Ok((at, variable.ty))
            }
            TargetRoot::Cast { type_name, .. } => {
                let ty = cast_type(&self.module, info, type_name, span)?;
                Ok((At::Memory(Access::Dynamic(0), 0), ty))
            }
            TargetRoot::Variable(_) | TargetRoot::Special(_) | TargetRoot::Value(_) => {
                Err(Diagnostic::error(Code::UnresolvedTarget, span, "a file has no such thing"))
            }
        }
    }

    fn place(&self, variable: &Variable) -> Result<At, String> {
        let location = variable.location.as_ref().map_err(ToString::to_string)?;
        let before = self.module.elf.code_before().ok_or("its code is loaded in parts that move apart")?;
        let path: Arc<str> = self.module.path.display().to_string().into();
        start(location, &Somewhere { module: &self.module, moved: Moved::Elsewhere(path, before) })
    }
}

impl TargetScope for FileScope {
    fn resolve(&self, target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        let info = self.info(span)?;
        let (at, ty) = self.start(info, target, span)?;
        let value = walk(&info.types(), target).resolve(target, at, ty, span)?;
        Ok(Resolved { value, names: Vec::new(), at_entry: false })
    }

    fn pointee(&self, target: &TargetExpr) -> Option<String> {
        let info = self.module.info()?;
        let (at, ty) = self.start(info, target, target.root_span).ok()?;
        walk(&info.types(), target).pointee(target, at, ty)
    }

    fn type_name(&self, target: &TargetExpr) -> Option<String> {
        let info = self.module.info()?;
        let (at, ty) = self.start(info, target, target.root_span).ok()?;
        walk(&info.types(), target).type_name(target, at, ty)
    }

    fn enumerator(&self, name: &str) -> Option<i64> {
        self.module.info()?.enumerator(name)
    }

    fn enumeration(&self, type_name: &str) -> Option<Vec<(String, i64)>> {
        self.module.info()?.enumeration(type_name)
    }
}

impl Process<'_> {
    /// What a file has that a target expression names, or that is probed: `None` where that is the probed one's own
    /// business, or no file of programs.
    pub(super) fn file_scope(&self, door: &Door<'_>, name: Option<&str>, span: Span) -> FileFound {
        let near =
            match door.near {
                Some(AttachPoint::User { path, pid, .. }) => self.module(path, span).ok().map(|module| {
                    Program { module, pid: *pid, guard: Guard::default(), text: String::new() }
                }),
                _ => None,
            };
        let module = match name {
            None => near?.module,
            Some(name) => match self.named_file(name, near.as_ref(), span) {
                Ok(module) if near.is_some_and(|near| Rc::ptr_eq(&near.module, &module)) => return None,
                Ok(module) => module,
                Err(diagnostic) => return Some(Err(diagnostic)),
            },
        };
        module.find_anywhere(self.world);
        Some(Ok(Rc::new(FileScope { module, is_hit: door.is_hit })))
    }

    /// A file by its path, by the name of a program, or of a library of what is traced.
    fn named_file(&self, name: &str, near: Option<&Program>, span: Span) -> Result<Rc<Module>, Diagnostic> {
        let unknown = match self.module(name, span) {
            Ok(module) => return Ok(module),
            Err(diagnostic) => diagnostic,
        };
        if name.contains('/') {
            return Err(unknown);
        }
        let subject = self.subject.as_ref().and_then(|subject| self.program(&subject.program, span).ok());
        for program in near.into_iter().chain(subject.as_ref()) {
            if let Some(path) = self.libraries_of(program).into_iter().find(|path| is_named(path, name)) {
                return self.module(&path.display().to_string(), span);
            }
        }
        Err(unknown.hint("libraries of what is traced go by their names, others by their paths"))
    }
}

/// A variable of a file, by its name and that of its unit.
pub(super) fn variable(
    module: &Module,
    info: &DebugInfo,
    (name, unit): (&str, Option<&str>),
    near: Option<&Instance>,
    span: Span,
) -> Result<Variable, Diagnostic> {
    let found = match unit {
        Some(unit) => {
            let fits = |path: &str| {
                path == unit || path.ends_with(&format!("/{unit}")) || crate::glob::glob_match(unit, path)
            };
            info.globals_in(name, fits)
        }
        None => info.globals(name, near.map(|instance| &instance.function)),
    };
    found.into_iter().next().ok_or_else(|| {
        let place = unit.map_or(String::new(), |unit| format!(" in {unit}"));
        let message = format!("{} has no variable {name}{place}", module.path.display());
        let diagnostic = Diagnostic::error(Code::UnresolvedTarget, span, message);
        match suggest::hint(name, info.global_names()) {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    })
}

/// The type of a `@cast`.
pub(super) fn cast_type(
    module: &Module,
    info: &DebugInfo,
    type_name: &Text,
    span: Span,
) -> Result<TypeId, Diagnostic> {
    let written = type_name.as_str().unwrap_or_default();
    let name = ["struct ", "union ", "class ", "enum "]
        .iter()
        .find_map(|word| written.strip_prefix(word))
        .unwrap_or(written)
        .trim_end_matches(['*', ' ', '&']);
    let named = |name| info.types_named(name).into_iter().next();
    named(name).or_else(|| in_full(name).and_then(named)).ok_or_else(|| {
        let message = format!("{} has no type {name}", module.path.display());
        Diagnostic::error(Code::UnresolvedTarget, span, message)
    })
}

/// What gcc calls a type that C has shorter names for.
fn in_full(name: &str) -> Option<&'static str> {
    Some(match name {
        "short" => "short int",
        "long" => "long int",
        "long long" => "long long int",
        "unsigned" => "unsigned int",
        "unsigned short" => "short unsigned int",
        "unsigned long" => "long unsigned int",
        "unsigned long long" => "long long unsigned int",
        _ => return None,
    })
}

/// A walk over the traced program's memory; the operand of a cast is the first value known only at run time.
pub(super) fn walk<'t>(types: &'t dyn Types, target: &TargetExpr) -> Walk<'t> {
    let dynamic = u32::from(matches!(target.root, TargetRoot::Cast { .. }));
    Walk { types, space: Space::User, dynamic, shown: 0 }
}

/// The message for a variable that cannot be read.
pub(super) fn unreadable(name: &str, why: &str, span: Span) -> Diagnostic {
    Diagnostic::error(Code::UnresolvedTarget, span, format!("{name} cannot be read here: {why}"))
}

/// The message for a file without debug information of something.
pub(super) fn no_information(module: &Module, what: &str, span: Span) -> Diagnostic {
    let message = format!("{} has no debug information for {what}", module.path.display());
    let diagnostic = Diagnostic::error(Code::NoDebugInfo, span, message);
    if module.info().is_some() {
        return diagnostic;
    }
    diagnostic
        .hint(format!("looked in {}", module.looked().join(", ")))
        .hint("build it with -g, or install its debug package")
}
