//! Globals, functions and locals with what is known of their types so far.
//!
//! Types are learned: a body that is built notes what it learned, and what it mentions, so that it is built again when
//! something about that is learned elsewhere. A cell remembers where its type was learned, so that a conflict names
//! both places.
//!
//! **Not here:** the rules (`build`).

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::stat::{HistOp, StatFields, StatOp};

use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{FunctionId, GlobalId, Ty};
use crate::source::{FileId, Span};
use crate::syntax::ast::{self, Name};

/// A type that may not be known yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cell {
    known: Option<(Ty, Span)>,
}

impl Cell {
    /// A declared type.
    pub(super) fn declared(ty: Ty, span: Span) -> Cell {
        Cell { known: Some((ty, span)) }
    }

    /// The type, if known.
    pub(super) fn ty(self) -> Option<Ty> {
        self.known.map(|(ty, _)| ty)
    }

    /// Where the type was learned.
    pub(super) fn place(self) -> Option<Span> {
        self.known.map(|(_, place)| place)
    }

    /// Learns a type; whether that was news, or the place where another was learned.
    pub(super) fn learn(&mut self, ty: Ty, span: Span) -> Result<bool, Span> {
        match self.known {
            None => {
                self.known = Some((ty, span));
                Ok(true)
            }
            Some((known, _)) if known == ty => Ok(false),
            Some((_, place)) => Err(place),
        }
    }
}

/// What a global turned out to be.
#[derive(Clone, Debug)]
pub(super) struct GlobalInfo<'a> {
    /// Its declaration.
    pub decl: &'a ast::Global,
    /// The file that declares it, for `private`.
    pub file: FileId,
    /// Key types, once it was used as an array or as a scalar (no keys); with the place of that use.
    pub keys: Option<(Vec<Cell>, Span)>,
    /// The value, when it is no statistic.
    pub value: Cell,
    /// What its extractors ask for, and where it was first used as a statistic.
    pub stats: Option<(StatFields, Span)>,
    /// Where its histogram and its variance were first asked for.
    pub hist_at: Option<Span>,
    pub variance_at: Option<Span>,
    /// `-G`.
    pub setting: Option<String>,
    /// Somebody reads it.
    pub read: bool,
    /// Somebody writes it.
    pub written: bool,
}

impl GlobalInfo<'_> {
    /// Notes that an extractor is used on it.
    pub(super) fn extract(&mut self, op: StatOp, shift: u8, span: Span) -> Result<bool, Diagnostic> {
        let before = self.stats;
        let (fields, _) = self.stats.get_or_insert((StatFields::default(), span));
        match op {
            StatOp::Count => fields.count = true,
            StatOp::Sum => fields.sum = true,
            StatOp::Min => fields.min = true,
            StatOp::Max => fields.max = true,
            StatOp::Avg => {
                fields.sum = true;
                fields.count = true;
            }
            StatOp::Variance => {
                if fields.variance.is_some_and(|known| known != shift) {
                    let message = format!("{} is used with two bit shifts of @variance", self.decl.name.name);
                    return Err(Diagnostic::error(Code::TypeConflict, span, message)
                        .label(self.variance_at.unwrap_or(span), "the other shift"));
                }
                self.variance_at.get_or_insert(span);
                fields.variance = Some(shift);
            }
        }
        Ok(before != self.stats)
    }

    /// Notes that a histogram of it is wanted.
    pub(super) fn histogram(&mut self, hist: HistOp, span: Span) -> Result<bool, Diagnostic> {
        let before = self.stats;
        let (fields, _) = self.stats.get_or_insert((StatFields::default(), span));
        if fields.hist.is_some_and(|known| known != hist) {
            return Err(Diagnostic::error(
                Code::TypeConflict,
                span,
                format!("{} is used with two different histograms", self.decl.name.name),
            )
            .label(self.hist_at.unwrap_or(span), "the other histogram")
            .hint("keep the values in two statistics, one for each histogram"));
        }
        fields.hist = Some(hist);
        self.hist_at.get_or_insert(span);
        Ok(before != self.stats)
    }
}

/// Something whose type bodies depend on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Node {
    /// Keys, value and statistics of a global.
    Global(GlobalId),
    /// Parameters and result of a function.
    Function(FunctionId),
    /// Locals of the body that is being built.
    Own,
}

/// A local or parameter with its type.
#[derive(Clone, Debug)]
pub(super) struct LocalInfo {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: Cell,
}

/// What a function turned out to be.
#[derive(Clone, Debug)]
pub(super) struct FunctionInfo<'a> {
    /// Its declaration.
    pub decl: &'a ast::Function,
    /// The file that declares it.
    pub file: FileId,
    /// Parameters, then locals, with types learned so far.
    pub locals: Vec<LocalInfo>,
    /// What it returns.
    pub result: Cell,
    /// Whether some return has a value, or some caller wants one.
    pub has_result: bool,
    /// What it changes and calls.
    pub flow: super::build::Flow,
}

/// All symbols.
#[derive(Default)]
pub(super) struct Symbols<'a> {
    /// Globals, in order.
    pub globals: Vec<GlobalInfo<'a>>,
    /// By name; several only when private.
    pub global_names: BTreeMap<Name, Vec<GlobalId>>,
    /// Functions that are called from somewhere.
    pub functions: Vec<FunctionInfo<'a>>,
    /// All declarations by name.
    pub declared: BTreeMap<Name, Vec<(&'a ast::Function, FileId)>>,
    /// Files of the library inside the binary.
    pub(super) embedded: BTreeSet<FileId>,
    /// Names of the library's functions, for hints.
    pub(super) library: Vec<String>,
    /// Functions already chosen, by declaration.
    chosen: BTreeMap<usize, FunctionId>,
    /// What the body that is being built learned something about.
    pub news: BTreeSet<Node>,
    /// What it mentions.
    pub mentioned: BTreeSet<Node>,
}

impl<'a> Symbols<'a> {
    /// Adds the functions of a file, and those of its globals that exist.
    pub(super) fn add_file(
        &mut self,
        file: &'a ast::File,
        exists: &dyn Fn(&str) -> bool,
        sink: &mut crate::diagnostics::Sink,
    ) {
        for decl in file.globals().filter(|decl| exists(&decl.name.name)) {
            let known = self.global_names.entry(decl.name.name.clone()).or_default();
            if let Some(other) =
                known.iter().find(|id| !decl.private && !self.globals[id.0 as usize].decl.private)
            {
                let first = self.globals[other.0 as usize].decl.name.span;
                sink.push(
                    Diagnostic::error(
                        Code::Duplicate,
                        decl.name.span,
                        format!("global {} is declared twice", decl.name.name),
                    )
                    .label(first, "first declared here"),
                );
                continue;
            }
            known.push(GlobalId(self.globals.len() as u32));
            let value = match &decl.init {
                Some(init) => Cell::declared(
                    match init.value {
                        ast::LiteralValue::Number(_) => Ty::Long,
                        ast::LiteralValue::Str(_) => Ty::Str,
                    },
                    init.span,
                ),
                None => Cell::default(),
            };
            let keys = decl.init.as_ref().map(|init| (Vec::new(), init.span));
            self.globals.push(GlobalInfo {
                decl,
                file: file.id,
                keys,
                value,
                stats: None,
                hist_at: None,
                variance_at: None,
                setting: None,
                read: false,
                written: false,
            });
        }
        for decl in file.functions() {
            self.declared.entry(decl.name.name.clone()).or_default().push((decl, file.id));
        }
    }

    /// The global of a name, as seen from a file. `in_function`: in a function, where locals are nobody else's
    /// business; what a built-in tapset's function calls its locals must not clash with the script's globals.
    pub(super) fn global(&self, name: &str, from: FileId, in_function: bool) -> Option<GlobalId> {
        let ids = self.global_names.get(name)?;
        let visible = |id: &&GlobalId| {
            let global = &self.globals[id.0 as usize];
            let hidden =
                in_function && self.embedded.contains(&from) && !self.embedded.contains(&global.file);
            (!global.decl.private || global.file == from) && !hidden
        };
        // A file's own private global hides a public one.
        ids.iter().filter(visible).max_by_key(|id| self.globals[id.0 as usize].decl.private).copied()
    }

    /// The function that a call means: by arity, then by priority.
    pub(super) fn function(
        &mut self,
        name: &str,
        arity: usize,
        from: FileId,
        library: &dyn Fn(FileId) -> bool,
    ) -> Option<FunctionId> {
        let (decl, file) = *self.overloads(name, arity, from, library).first()?;
        Some(self.choose(decl, file))
    }

    /// The function that `next` in a function goes on to.
    pub(super) fn overload_after(
        &mut self,
        this: FunctionId,
        library: &dyn Fn(FileId) -> bool,
    ) -> Option<FunctionId> {
        let info = &self.functions[this.0 as usize];
        let overloads = self.overloads(&info.decl.name.name, info.decl.params.len(), info.file, library);
        let here = overloads.iter().position(|(decl, _)| std::ptr::eq(*decl, info.decl))?;
        let (decl, file) = *overloads.get(here + 1)?;
        Some(self.choose(decl, file))
    }

    /// Functions of a name and a number of parameters, in the order in which they are tried.
    fn overloads(
        &self,
        name: &str,
        arity: usize,
        from: FileId,
        library: &dyn Fn(FileId) -> bool,
    ) -> Vec<(&'a ast::Function, FileId)> {
        let declared = self.declared.get(name).into_iter().flatten().copied();
        let mut fitting: Vec<(&'a ast::Function, FileId)> = declared
            .filter(|(decl, file)| decl.params.len() == arity && (!decl.private || *file == from))
            .collect();
        fitting.sort_by_key(|(decl, file)| decl.priority.unwrap_or(i64::from(library(*file))));
        fitting
    }

    fn choose(&mut self, decl: &'a ast::Function, file: FileId) -> FunctionId {
        let key = std::ptr::from_ref(decl) as usize;
        if let Some(id) = self.chosen.get(&key) {
            return *id;
        }
        let id = FunctionId(self.functions.len() as u32);
        let ty = |name: ast::TypeName| match name {
            ast::TypeName::Long => Ty::Long,
            ast::TypeName::Str => Ty::Str,
        };
        self.functions.push(FunctionInfo {
            decl,
            file,
            locals: decl
                .params
                .iter()
                .map(|param| LocalInfo {
                    name: param.name.name.clone(),
                    ty: param.ty.map_or_else(Cell::default, |t| Cell::declared(ty(t), param.name.span)),
                })
                .collect(),
            result: decl.returns.map_or_else(Cell::default, |t| Cell::declared(ty(t), decl.name.span)),
            has_result: decl.returns.is_some(),
            flow: super::build::Flow::default(),
        });
        self.chosen.insert(key, id);
        id
    }
}
