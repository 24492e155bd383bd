//! Pass 2, step 5: builds every body until no type is learned any more.
//!
//! A body is built again when something that it mentions has a new type. Every cell is learned at most once, so this
//! ends, however the bodies depend on each other.
//!
//! **Not here:** what a body teaches (`build`), what is known (`symbols`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::sema::build::{self, Body, Builder, Built, Flow};
use crate::sema::elaborate::{self, Elaborator, files_of};
use crate::sema::elide::elide;
use crate::sema::family::Door;
use crate::sema::guard;
use crate::sema::program::{
    Function, FunctionId, Global, GlobalTy, Literal, LocalId, Probe, Program, Stmt, StmtKind, Ty,
};
use crate::sema::resolve::Resolver;
use crate::sema::symbols::{GlobalInfo, Node};
use crate::source::Span;
use crate::syntax::ast;
use crate::syntax::visit::Visitor;

/// A body, by its number among the groups or the functions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum BodyId {
    Group(usize),
    Function(usize),
}

/// Bodies that are to be built, each once.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<BodyId>,
    members: BTreeSet<BodyId>,
}

impl Queue {
    fn push(&mut self, body: BodyId) {
        if self.members.insert(body) {
            self.waiting.push_back(body);
        }
    }

    fn pop(&mut self) -> Option<BodyId> {
        let body = self.waiting.pop_front()?;
        self.members.remove(&body);
        Some(body)
    }
}

impl Elaborator<'_, '_> {
    /// Builds everything until types have settled.
    pub(super) fn finish(mut self, sink: &mut Sink) -> Program {
        loop {
            self.settle();
            self.symbols.news.clear();
            let (probes, functions, errors) = self.round();
            if self.symbols.news.is_empty() {
                for error in errors {
                    sink.push(error);
                }
                self.check(sink);
                return self.program(sink, probes, functions);
            }
        }
    }

    fn settle(&mut self) {
        let mut queue = Queue::default();
        (0..self.groups.len()).for_each(|n| queue.push(BodyId::Group(n)));
        let mut functions = 0;
        let mut users: BTreeMap<Node, BTreeSet<BodyId>> = BTreeMap::new();
        loop {
            // Functions are found while others are built.
            (functions..self.symbols.functions.len()).for_each(|n| queue.push(BodyId::Function(n)));
            functions = self.symbols.functions.len();
            let Some(body) = queue.pop() else { return };
            self.symbols.mentioned.clear();
            self.symbols.news.clear();
            match body {
                BodyId::Group(n) => drop(self.group(n, &mut Vec::new())),
                BodyId::Function(n) => drop(self.function(n, &mut Vec::new())),
            }
            for node in std::mem::take(&mut self.symbols.mentioned) {
                users.entry(node).or_default().insert(body);
            }
            for node in std::mem::take(&mut self.symbols.news) {
                match node {
                    Node::Own => queue.push(body),
                    Node::Function(FunctionId(n)) => queue.push(BodyId::Function(n as usize)),
                    Node::Global(_) => {}
                }
                users.get(&node).into_iter().flatten().for_each(|user| queue.push(*user));
            }
        }
    }

    /// Builds everything once.
    fn round(&mut self) -> (Vec<Probe>, Vec<Built>, Vec<Diagnostic>) {
        let mut errors = Vec::new();
        let probes = (0..self.groups.len()).map(|n| self.group(n, &mut errors)).collect();
        let mut functions = Vec::new();
        while functions.len() < self.symbols.functions.len() {
            functions.push(self.function(functions.len(), &mut errors));
        }
        (probes, functions, errors)
    }

    fn group(&mut self, n: usize, errors: &mut Vec<Diagnostic>) -> Probe {
        let group = &self.groups[n];
        let builder = Builder {
            locals: group.locals.clone(),
            guru: self.guru,
            skip_badvars: self.skip_badvars,
            trace: group.trace.clone(),
            ..Builder::new(
                &mut self.symbols,
                &group.outcomes,
                Body::Probe { saves: group.entry.is_some() },
                group.span.file,
                self.is_library,
            )
        };
        let (built, lists, problems) = builder.build(&group.conditions, &group.blocks);
        errors.extend(problems);
        let group = &mut self.groups[n];
        group.locals.clone_from(&built.locals);
        group.flow = built.flow;
        for (site, names) in group.sites.iter().zip(&group.lists) {
            let mut variables = vec![Vec::new(); lists.len()];
            for (id, list) in &lists {
                variables[*list as usize] = names.get(id).cloned().unwrap_or_default();
            }
            self.sites[*site as usize].variables = variables;
        }
        Probe {
            sites: group.sites.clone(),
            locals: build::finish_locals(&built.locals),
            guard: group.guard.clone(),
            body: if self.suppress_errors { suppressed(built.body, group.span) } else { built.body },
            entry: if built.saved.is_empty() { None } else { group.entry },
            saved: built.saved,
            ..Probe::new(group.trigger, group.span)
        }
    }

    fn function(&mut self, n: usize, errors: &mut Vec<Diagnostic>) -> Built {
        let info = self.symbols.functions[n].clone();
        let ast::FunctionBody::Block(block) = &info.decl.body else {
            let (body, saved, flow) = (Vec::new(), Vec::new(), Flow::default());
            return Built { body, locals: info.locals, saved, has_result: false, flow };
        };
        let scope = self.globals_scope;
        let families = self.families;
        let outcomes = self.functions.entry(n).or_insert_with(|| {
            let files = files_of(families, Door { near: None, is_hit: false });
            let mut resolver = Resolver::new(scope, scope, &files, &mut self.pointees);
            resolver.visit_block(block);
            resolver.outcomes
        });
        let names = info.locals.iter().take(info.decl.params.len()).enumerate();
        let builder = Builder {
            names: names.map(|(i, local)| (local.name.clone(), LocalId(i as u32))).collect(),
            locals: info.locals.clone(),
            result: info.result,
            has_result: info.has_result,
            params: info.decl.params.len(),
            guru: self.guru,
            skip_badvars: self.skip_badvars,
            ..Builder::new(
                &mut self.symbols,
                outcomes,
                Body::Function(FunctionId(n as u32)),
                info.file,
                self.is_library,
            )
        };
        let (mut built, result, problems) = builder.build_function(block);
        errors.extend(problems);
        let info = &mut self.symbols.functions[n];
        info.flow = std::mem::take(&mut built.flow);
        // Callers may have taught the parameters something since; keep both.
        for (mine, theirs) in info.locals.iter_mut().zip(&built.locals) {
            if mine.ty.ty().is_none() && theirs.ty.ty().is_some() {
                mine.ty = theirs.ty;
                self.symbols.news.insert(Node::Function(FunctionId(n as u32)));
            }
        }
        let known = info.locals.len();
        info.locals.extend(built.locals.iter().skip(known).cloned());
        if info.result.ty().is_none() && result.ty().is_some() {
            info.result = result;
            self.symbols.news.insert(Node::Function(FunctionId(n as u32)));
        }
        if built.has_result && !info.has_result {
            info.has_result = true;
            self.symbols.news.insert(Node::Function(FunctionId(n as u32)));
        }
        built
    }

    fn program(self, sink: &mut Sink, probes: Vec<Probe>, functions: Vec<Built>) -> Program {
        let globals = self
            .symbols
            .globals
            .iter()
            .map(|info| Global {
                name: info.decl.name.name.clone(),
                span: info.decl.span,
                keys: info
                    .keys
                    .as_ref()
                    .map(|(keys, _)| keys.iter().map(|key| key.ty().unwrap_or(Ty::Long)).collect())
                    .unwrap_or_default(),
                ty: match &info.stats {
                    // One that nobody reads is printed at the end, all of it.
                    Some((fields, _)) if !info.read && !(self.is_library)(info.file) => {
                        GlobalTy::Stats(tracer_common::stat::StatFields {
                            count: true,
                            sum: true,
                            min: true,
                            max: true,
                            ..*fields
                        })
                    }
                    Some((fields, _)) => GlobalTy::Stats(*fields),
                    None => GlobalTy::Value(info.value.ty().unwrap_or(Ty::Long)),
                },
                init: setting(info, sink).or_else(|| {
                    info.decl.init.as_ref().map(|init| match &init.value {
                        ast::LiteralValue::Number(n) => Literal::Long(*n),
                        ast::LiteralValue::Str(text) => Literal::Str(text.clone()),
                    })
                }),
                size: info.decl.size,
                // One that nobody uses has no keys.
                wrap: info.decl.wrap && info.keys.as_ref().is_some_and(|(keys, _)| !keys.is_empty()),
                // Nobody wants to see what a tapset keeps for itself.
                read: info.read || (self.is_library)(info.file),
                written: info.written,
            })
            .collect();
        let functions = self
            .symbols
            .functions
            .iter()
            .zip(functions)
            .map(|(info, built)| Function {
                name: info.decl.name.name.clone(),
                span: info.decl.span,
                params: info.decl.params.len(),
                locals: build::finish_locals(&info.locals),
                result: info.has_result.then(|| info.result.ty().unwrap_or(Ty::Long)),
                body: built.body,
            })
            .collect();
        let mut program = Program {
            globals,
            functions,
            probes,
            sites: self.sites,
            listing: self.listing.unwrap_or_default(),
            skip_badvars: self.skip_badvars,
            searched: Vec::new(),
        };
        build::find_searches(&mut program, sink);
        guard::add_begun(&mut program);
        if program.listing.is_empty() && !sink.has_errors() {
            elide(&mut program, self.is_library, sink);
        }
        program
    }
}

/// What `-G` says of a global, as a value of its type.
fn setting(info: &GlobalInfo<'_>, sink: &mut Sink) -> Option<Literal> {
    let text = info.setting.as_ref()?;
    let name = &info.decl.name;
    let known = info.value.place().unwrap_or(name.span);
    let mut refuse = |why: &str| {
        let message = format!("-G {}={text}: {} {why}", name.name, name.name);
        sink.push(Diagnostic::error(Code::TypeConflict, known, message));
        None
    };
    if info.stats.is_some() || info.keys.as_ref().is_some_and(|(keys, _)| !keys.is_empty()) {
        return refuse("is no plain variable");
    }
    match (info.value.ty(), elaborate::number(text)) {
        (Some(Ty::Str), _) => Some(Literal::Str(text.trim_matches('"').into())),
        (_, Some(number)) => Some(Literal::Long(number)),
        (_, None) => refuse("holds numbers"),
    }
}

/// `try { body } catch { next }`
fn suppressed(body: Vec<Stmt>, span: Span) -> Vec<Stmt> {
    let handler = vec![Stmt { kind: StmtKind::Next, span }];
    vec![Stmt { kind: StmtKind::Try { body, message: None, handler }, span }]
}
