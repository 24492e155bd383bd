//! Syntax tree to typed tree, one body at a time.
//!
//! A body is built again when types that it depends on were learned (`settle`); diagnostics of the last time count.
//!
//! Rooms, in reading order: this file (the builder's state, names), `types`, `stmt`, `expr`, `builtin`, `assign`,
//! `matched`, `overload`, `refused`, `statistic`, `target`, `print`, `fold` (conditions that are known at compile time).

mod assign;
mod builtin;
mod enumeration;
mod expr;
pub(super) mod fold;
mod matched;
mod overload;
mod print;
mod refused;
mod statistic;
mod stmt;
mod target;
mod types;

pub(super) use matched::find_searches;

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostics::{Code, Diagnostic, Label, foreign, suggest};
use crate::sema::family::Resolved;
use crate::sema::program::{Expr, ExprKind, FunctionId, GlobalId, Local, LocalId, Stmt, Ty};
use crate::sema::symbols::{Cell, LocalInfo, Node, Symbols};
use crate::source::{FileId, Span};
use crate::syntax::ast::{self, ExprId, Name};
use crate::syntax::preprocess::AT_WORDS;

/// What became of a target expression, or of an `@defined`.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Outcome {
    /// Resolved.
    Value(Resolved),
    /// Not there: why.
    Missing(Box<Diagnostic>),
    /// Of `@defined(…)`.
    Defined(bool),
    /// Of `@enum("NAME")`.
    Enumerator(i64),
    /// Of `@enumname(x, "type")`.
    Enumeration(Vec<(String, i64)>),
}

/// Outcomes by expression.
pub(super) type Outcomes = BTreeMap<ExprId, Outcome>;

/// What kind of body it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Body {
    /// A probe; whether values can be saved at entry.
    Probe {
        /// It is a return probe.
        saves: bool,
    },
    /// A function.
    Function(FunctionId),
}

/// The finished body.
pub(super) struct Built {
    pub body: Vec<Stmt>,
    pub locals: Vec<LocalInfo>,
    pub saved: Vec<Expr>,
    pub has_result: bool,
    pub flow: Flow,
}

/// What a body does that matters to the loops of others.
#[derive(Clone, Default, Debug)]
pub(super) struct Flow {
    /// Arrays that it changes, and where.
    pub changed: BTreeMap<GlobalId, Span>,
    /// Functions that it calls.
    pub called: BTreeSet<FunctionId>,
    /// Calls inside a `foreach` over an array.
    pub visits: Vec<(GlobalId, FunctionId, Span)>,
}

/// The state of building one body.
pub(super) struct Builder<'b, 'a> {
    pub symbols: &'b mut Symbols<'a>,
    pub outcomes: &'b Outcomes,
    pub body: Body,
    /// The file whose private names are in sight.
    pub file: FileId,
    pub is_library: &'b dyn Fn(FileId) -> bool,
    pub errors: Vec<Diagnostic>,
    pub locals: Vec<LocalInfo>,
    pub names: BTreeMap<Name, LocalId>,
    pub saved: Vec<Expr>,
    pub loops: usize,
    pub result: Cell,
    pub has_result: bool,
    /// In functions: how many of the locals are parameters.
    pub params: usize,
    /// In functions: what holds the arguments that were given.
    pub given: Vec<LocalId>,
    /// Inside how many branches that can never run.
    pub dead: usize,
    /// Arrays that an enclosing `foreach` visits.
    pub visiting: Vec<GlobalId>,
    /// Inside `@entry`.
    pub at_entry: bool,
    pub guru: bool,
    pub skip_badvars: bool,
    /// Where locals were first read.
    pub read_at: BTreeMap<LocalId, Span>,
    /// Locals that get a value somewhere.
    pub assigned: BTreeSet<LocalId>,
    pub warnings: Vec<Diagnostic>,
    pub flow: Flow,
    pub trace: Vec<Label>,
    /// Lists met so far: `$$parms` and the like, by expression.
    pub lists: BTreeMap<ExprId, u32>,
}

impl<'b, 'a> Builder<'b, 'a> {
    /// For a body of which nothing is known yet.
    pub(super) fn new(
        symbols: &'b mut Symbols<'a>,
        outcomes: &'b Outcomes,
        body: Body,
        file: FileId,
        is_library: &'b dyn Fn(FileId) -> bool,
    ) -> Self {
        Builder {
            symbols,
            outcomes,
            body,
            file,
            is_library,
            errors: Vec::new(),
            locals: Vec::new(),
            names: BTreeMap::new(),
            saved: Vec::new(),
            loops: 0,
            result: Cell::default(),
            has_result: false,
            params: 0,
            given: Vec::new(),
            dead: 0,
            visiting: Vec::new(),
            at_entry: false,
            guru: false,
            skip_badvars: false,
            read_at: BTreeMap::new(),
            assigned: BTreeSet::new(),
            warnings: Vec::new(),
            flow: Flow::default(),
            trace: Vec::new(),
            lists: BTreeMap::new(),
        }
    }

    /// Builds a body that consists of several blocks: prologues, handler, epilogues.
    /// Also returns the number of each list of variables.
    pub(super) fn build(
        mut self,
        conditions: &[&ast::Expr],
        blocks: &[(&ast::Block, FileId)],
    ) -> (Built, BTreeMap<ExprId, u32>, Vec<Diagnostic>) {
        let mut body = Vec::new();
        for condition in conditions {
            body.push(self.arming(condition));
        }
        for (block, file) in blocks {
            self.file = *file;
            body.extend(self.stmts(&block.stmts));
        }
        self.never_assigned();
        self.errors.append(&mut self.warnings);
        let Builder { locals, saved, has_result, flow, .. } = self;
        let built = Built { body, locals, saved, has_result, flow };
        (built, self.lists, self.errors)
    }

    /// Builds a function's body. Also returns what was learned of its result.
    pub(super) fn build_function(mut self, block: &ast::Block) -> (Built, Cell, Vec<Diagnostic>) {
        let mut body = self.keep_arguments(block);
        body.extend(self.stmts(&block.stmts));
        self.never_assigned();
        self.errors.append(&mut self.warnings);
        let Builder { locals, saved, has_result, flow, .. } = self;
        let built = Built { body, locals, saved, has_result, flow };
        (built, self.result, self.errors)
    }

    /// `if (condition)` of a probe point: leaves the handler when it does not hold.
    fn arming(&mut self, condition: &ast::Expr) -> Stmt {
        let before: BTreeSet<Name> = self.names.keys().cloned().collect();
        let cond = self.long(condition);
        let span = condition.span;
        let unknown = self.names.keys().find(|name| !before.contains(*name));
        if let Some(name) = unknown.cloned() {
            let message = format!("the condition of a probe knows globals only, and {name} is none");
            self.error(
                Diagnostic::error(Code::UnknownGlobal, span, message)
                    .hint(format!("declare it: global {name}")),
            );
        }
        let not = Expr { kind: ExprKind::Not(Box::new(cond)), ty: Ty::Long, span };
        Stmt {
            kind: crate::sema::program::StmtKind::If {
                cond: not,
                then: vec![Stmt { kind: crate::sema::program::StmtKind::Next, span }],
                otherwise: Vec::new(),
            },
            span,
        }
    }

    pub(super) fn error(&mut self, mut diagnostic: Diagnostic) {
        if diagnostic.trace.is_empty() {
            diagnostic.trace.clone_from(&self.trace);
        }
        self.errors.push(diagnostic);
    }

    /// The same for what is no mistake.
    pub(super) fn warn(&mut self, mut warning: Diagnostic) {
        warning.trace.clone_from(&self.trace);
        self.warnings.push(warning);
    }

    /// Warns of locals that are read and get a value nowhere: nearly always a slip in a name.
    fn never_assigned(&mut self) {
        for (local, span) in std::mem::take(&mut self.read_at) {
            // What is wrong may be the assignment.
            if !self.errors.is_empty() || (local.0 as usize) < self.params || self.assigned.contains(&local) {
                continue;
            }
            let name = &self.locals[local.0 as usize].name;
            let warning = Diagnostic::warning(
                Code::NeverAssigned,
                span,
                format!("never-assigned local variable '{name}'"),
            );
            let globals = self.symbols.global_names.keys();
            let names = self.locals.iter().map(|local| &local.name).chain(globals).map(|name| &**name);
            let is_function = self.symbols.declared.contains_key(name)
                || self.symbols.library.iter().any(|known| **known == **name);
            let hint = if is_function {
                format!("{name} is a function: {name}()")
            } else {
                foreign::variable(name).or_else(|| suggest::hint(name, names)).unwrap_or_else(|| {
                    format!("what several handlers share is declared: global {name}; text stands in quotes: \"{name}\"")
                })
            };
            self.warn(warning.hint(hint));
        }
    }

    pub(super) fn unsupported(&mut self, span: Span, what: &str) -> Expr {
        self.error(Diagnostic::error(Code::Unsupported, span, format!("{what} is not supported yet")));
        zero(span)
    }

    /// The local of a name, declared when it is new.
    pub(super) fn local(&mut self, name: &Name) -> LocalId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let known = self.locals.iter().position(|local| local.name == *name);
        let index = known.unwrap_or_else(|| {
            self.locals.push(LocalInfo { name: name.clone(), ty: Cell::default() });
            self.locals.len() - 1
        });
        let id = LocalId(index as u32);
        self.names.insert(name.clone(), id);
        id
    }

    /// The global that a name means here: a parameter hides it.
    pub(super) fn global(&mut self, name: &str) -> Option<GlobalId> {
        let is_function = matches!(self.body, Body::Function(_));
        let hidden = self.names.get(name).is_some_and(|local| (local.0 as usize) < self.params);
        if hidden {
            return None;
        }
        let global = self.symbols.global(name, self.file, is_function)?;
        self.symbols.mentioned.insert(Node::Global(global));
        Some(global)
    }

    /// Notes that a handler reads a global.
    pub(super) fn reads(&mut self, global: GlobalId) {
        self.symbols.globals[global.0 as usize].read |= self.dead == 0;
    }

    /// Notes that a handler writes a global.
    pub(super) fn writes(&mut self, global: GlobalId) {
        self.symbols.globals[global.0 as usize].written |= self.dead == 0;
    }

    /// Builds what can never run: its mistakes count, what it reads and writes does not.
    pub(super) fn in_dead_code(&mut self, build: impl FnOnce(&mut Self)) {
        let saved = self.saved.len();
        self.dead += 1;
        build(self);
        self.dead -= 1;
        self.saved.truncate(saved);
    }

    /// Notes that the body calls a function.
    pub(super) fn calls(&mut self, function: FunctionId, span: Span) {
        self.symbols.mentioned.insert(Node::Function(function));
        if self.dead == 0 {
            self.flow.called.insert(function);
            self.flow.visits.extend(self.visiting.iter().map(|array| (*array, function, span)));
        }
    }

    /// Notes that something was learned.
    pub(super) fn news(&mut self, any: bool, about: Node) {
        if any {
            self.symbols.news.insert(about);
        }
    }

    /// Learns the type of a local, or reports the conflict.
    pub(super) fn learn_local(&mut self, id: LocalId, ty: Ty, span: Span) {
        let local = &mut self.locals[id.0 as usize];
        let name = local.name.clone();
        match local.ty.learn(ty, span) {
            Ok(news) => self.news(news, Node::Own),
            Err(place) => self.conflict(&name, ty, span, place),
        }
    }

    /// Learns the type of a global's value.
    pub(super) fn learn_value(&mut self, id: GlobalId, ty: Ty, span: Span) {
        let global = &mut self.symbols.globals[id.0 as usize];
        let name = global.decl.name.name.clone();
        if let Some((_, place)) = global.stats {
            return self.error(
                Diagnostic::error(
                    Code::TypeConflict,
                    span,
                    format!("{name} is a statistic, not a {}", word(ty)),
                )
                .label(place, "used as a statistic here")
                .hint(format!("read it with an extractor: @count({name}), @sum({name}) …")),
            );
        }
        match global.value.learn(ty, span) {
            Ok(news) => self.news(news, Node::Global(id)),
            Err(place) => self.conflict(&name, ty, span, place),
        }
    }

    /// Notes how many keys a global has; whether that agrees with what was known.
    pub(super) fn learn_arity(&mut self, id: GlobalId, count: usize, span: Span) -> bool {
        let global = &mut self.symbols.globals[id.0 as usize];
        let name = global.decl.name.name.clone();
        match &global.keys {
            None => {
                global.keys = Some((vec![Cell::default(); count], span));
                self.symbols.news.insert(Node::Global(id));
                true
            }
            Some((keys, _)) if keys.len() == count => true,
            Some((keys, place)) => {
                let what = |n: usize| match n {
                    0 => "a scalar".to_owned(),
                    1 => "an array with one key".to_owned(),
                    n => format!("an array with {n} keys"),
                };
                let (known, place) = (keys.len(), *place);
                self.error(
                    Diagnostic::error(
                        Code::TypeConflict,
                        span,
                        format!("{name} is used as {} here, but it is {}", what(count), what(known)),
                    )
                    .label(place, format!("used as {} here", what(known))),
                );
                false
            }
        }
    }

    pub(super) fn conflict(&mut self, name: &str, ty: Ty, span: Span, place: Span) {
        let other = if ty == Ty::Long { Ty::Str } else { Ty::Long };
        self.error(
            Diagnostic::error(
                Code::TypeConflict,
                span,
                format!("{name} is used as a {} here, but it is a {}", word(ty), word(other)),
            )
            .label(place, format!("known as a {} from here", word(other))),
        );
    }

    /// An unknown name, with those that come near.
    pub(super) fn unknown_function(&mut self, name: &str, arity: usize, span: Span) {
        let declared: Vec<Name> = self.symbols.declared.keys().cloned().collect();
        let same = self.symbols.declared.get(name).map(|declared| {
            let arities: BTreeSet<usize> = declared.iter().map(|(decl, _)| decl.params.len()).collect();
            arities.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ")
        });
        let diagnostic = match same {
            Some(arities) => Diagnostic::error(
                Code::Arity,
                span,
                format!("{name}() takes {}, {arity} given", counted(&arities, "argument")),
            ),
            None if let Some((why, instead)) = refused::refused(name) => {
                Diagnostic::error(Code::Unsupported, span, format!("{name}() is not there: {why}"))
                    .hint(instead)
            }
            None => {
                let mut diagnostic =
                    Diagnostic::error(Code::UnknownFunction, span, format!("unknown function {name}"));
                let operator =
                    || AT_WORDS.contains(&name).then(|| format!("an operator begins with @: @{name}(...)"));
                let known =
                    declared.iter().map(|n| &**n).chain(self.symbols.library.iter().map(String::as_str));
                let hint =
                    operator().or_else(|| foreign::function(name)).or_else(|| suggest::hint(name, known));
                diagnostic.hints.extend(hint);
                diagnostic
            }
        };
        self.error(diagnostic);
    }
}

/// `1 argument`, `2 arguments`, `1 or 2 arguments`.
pub(super) fn counted(count: &str, what: &str) -> String {
    format!("{count} {what}{}", if count == "1" { "" } else { "s" })
}

/// The word for a type in messages.
pub(super) fn word(ty: Ty) -> &'static str {
    match ty {
        Ty::Long => "number",
        Ty::Str => "string",
    }
}

/// A value where something went wrong and was reported.
pub(super) fn zero(span: Span) -> Expr {
    Expr { kind: ExprKind::Number(0), ty: Ty::Long, span }
}

/// Locals with their final types.
pub(super) fn finish_locals(locals: &[LocalInfo]) -> Vec<Local> {
    locals
        .iter()
        .map(|local| Local { name: local.name.clone(), ty: local.ty.ty().unwrap_or(Ty::Long) })
        .collect()
}
