//! Pass 2, its steps in order: load, expand, resolve, group, build, type.
//!
//! 1. *Load* pulls in the tapset files that define names the script uses.
//! 2. *Expand* turns each probe point into base points with prologues and epilogues (`point`).
//! 3. *Resolve* asks the families where base points are, and, for every place, what its target expressions mean.
//! 4. *Group*: places whose target expressions mean the same become one probe with many sites.
//! 5. *Build* makes typed trees (`build`), again and again until no type is learned any more.
//!
//! **Not here:** any of the steps' details.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tracer_common::manifest::Site;

use crate::diagnostics::{Code, Diagnostic, Label, Sink};
use crate::glob::{glob_match, has_wildcards};
use crate::sema::build::{self, Body, Builder, Built, Outcome, Outcomes};
use crate::sema::family::{Candidate, Family, TargetScope};
use crate::sema::library::Library;
use crate::sema::point::{self, Expanded, Expander};
use crate::sema::program::{Function, Global, GlobalTy, Listed, Literal, Probe, Program, Ty};
use crate::sema::symbols::{Cell, LocalInfo, Symbols};
use crate::source::{FileId, SourceMap, Span};
use crate::syntax::ast::{self, ExprIds, ExprKind, PathStepKind, TargetRoot};
use crate::syntax::visit::{self, Visitor};
use crate::syntax::{Facts, Macros};

/// What pass 2 needs besides the script.
pub struct Input<'i> {
    /// The library.
    pub library: &'i mut Library,
    /// Families of probe points.
    pub families: &'i [Box<dyn Family + 'i>],
    /// Target expressions that need no traced program: `@cast` to kernel types, in functions.
    pub globals_scope: &'i dyn TargetScope,
    /// Facts for `%( %)` in tapset files.
    pub facts: &'i Facts,
    /// `-G`.
    pub settings: &'i [(String, String)],
    /// `-g`.
    pub guru: bool,
    /// `-l`, `-L`: note what variables each site has.
    pub listing: bool,
}

/// Elaborates user scripts.
pub fn elaborate(
    scripts: Vec<ast::File>,
    input: Input<'_>,
    sources: &mut SourceMap,
    ids: &mut ExprIds,
    sink: &mut Sink,
) -> Program {
    let user: BTreeSet<FileId> = scripts.iter().map(|file| file.id).collect();
    let files = load(scripts, input.library, input.facts, sources, ids, sink);
    let is_library = |file: FileId| !user.contains(&file);
    let mut symbols = Symbols::default();
    symbols.library.extend(input.library.function_names().map(str::to_owned));
    let library = input.library.aliases().map(|(name, _)| name.to_owned()).collect();
    let mut expander = Expander { aliases: Vec::new(), library };
    for file in &files {
        symbols.add_file(file, sink);
        expander.aliases.extend(file.aliases());
        for code in file.embedded() {
            sink.push(build::embedded(code.span));
        }
        for function in file.functions() {
            if let ast::FunctionBody::Embedded(code) = &function.body {
                sink.push(build::embedded(code.span));
            }
        }
    }
    settings(&mut symbols, input.settings, sink);
    let mut elaborator = Elaborator {
        symbols,
        expander,
        families: input.families,
        globals_scope: input.globals_scope,
        is_library: &is_library,
        guru: input.guru,
        listing: input.listing.then(Vec::new),
        sites: Vec::new(),
        groups: Vec::new(),
        functions: HashMap::new(),
    };
    for file in &files {
        // A tapset's probes come with the tapset.
        for probe in file.probes() {
            elaborator.probe(probe, sink);
        }
    }
    if elaborator.groups.is_empty() && !sink.has_errors() {
        sink.push(Diagnostic::error(
            Code::NoProbes,
            Span::new(files[0].id, 0, 0),
            "the script has no probes, or none that resolves to anything",
        ));
    }
    elaborator.finish(sink)
}

/// `-G name=value`.
fn settings(symbols: &mut Symbols<'_>, settings: &[(String, String)], sink: &mut Sink) {
    for (name, value) in settings {
        let Some(ids) = symbols.global_names.get(name.as_str()) else {
            sink.push(Diagnostic {
                span: None,
                ..Diagnostic::error(
                    Code::UnknownGlobal,
                    Span::new(FileId(0), 0, 0),
                    format!("-G {name}={value}: the script has no global {name}"),
                )
            });
            continue;
        };
        let global = &mut symbols.globals[ids[0].0 as usize];
        global.setting = Some(match value.parse::<i64>() {
            Ok(number) => Literal::Long(number),
            Err(_) => Literal::Str(value.trim_matches('"').into()),
        });
        let ty = if matches!(global.setting, Some(Literal::Long(_))) { Ty::Long } else { Ty::Str };
        let span = global.decl.name.span;
        if global.value.learn(ty, span).is_err() {
            sink.push(Diagnostic::error(
                Code::TypeConflict,
                span,
                format!("-G {name}={value}: {name} holds values of the other type"),
            ));
        }
    }
}

/// Parses the tapset files that define what the script, and what they themselves, use.
fn load(
    mut files: Vec<ast::File>,
    library: &mut Library,
    facts: &Facts,
    sources: &mut SourceMap,
    ids: &mut ExprIds,
    sink: &mut Sink,
) -> Vec<ast::File> {
    let mut at = 0;
    while at < files.len() {
        let mut names = Names::default();
        names.file(&files[at]);
        let mut wanted = BTreeSet::new();
        for name in &names.called {
            wanted.extend(library.function(name).iter().copied());
        }
        for name in &names.symbols {
            // A script's own global hides the library's.
            if !files.iter().any(|file| file.globals().any(|global| *global.name.name == **name)) {
                wanted.extend(library.global(name).iter().copied());
            }
        }
        for point in &names.points {
            for (alias, in_files) in library.aliases() {
                if may_match(point, alias) {
                    wanted.extend(in_files.iter().copied());
                }
            }
        }
        for index in wanted {
            let file = library.file_mut(index);
            if file.loaded.is_some() {
                continue;
            }
            let id = sources.add(file.name.clone(), file.text.to_string(), None);
            file.loaded = Some(id);
            files.push(crate::syntax::parse(sources, id, ids, facts, &Macros::default(), sink));
        }
        at += 1;
    }
    files
}

/// Whether a probe point could begin with an alias's name.
fn may_match(point: &[String], alias: &str) -> bool {
    let mut components = alias.split('.');
    for mine in point {
        if mine == "**" {
            return true;
        }
        let Some(theirs) = components.next() else { return true };
        if mine != theirs && !(has_wildcards(mine) && glob_match(mine, theirs)) {
            return false;
        }
    }
    components.next().is_none()
}

/// Names that a file uses.
#[derive(Default)]
struct Names {
    called: BTreeSet<String>,
    symbols: BTreeSet<String>,
    points: BTreeSet<Vec<String>>,
}

impl Names {
    fn file(&mut self, file: &ast::File) {
        for function in file.functions() {
            if let ast::FunctionBody::Block(block) = &function.body {
                self.visit_block(block);
            }
        }
        for probe in file.probes() {
            self.points(&probe.points);
            self.visit_block(&probe.body);
        }
        for alias in file.aliases() {
            self.points(&alias.points);
            for block in alias.prologue.iter().chain(&alias.epilogue) {
                self.visit_block(block);
            }
        }
    }

    fn points(&mut self, points: &[ast::ProbePoint]) {
        for point in points {
            self.points.insert(point.components.iter().map(|c| c.name.to_string()).collect());
            if let Some(condition) = &point.condition {
                self.visit_expr(condition);
            }
        }
    }
}

impl Visitor for Names {
    fn visit_expr(&mut self, expr: &ast::Expr) {
        match &expr.kind {
            ExprKind::Call { name, .. } => {
                self.called.insert(name.name.to_string());
            }
            ExprKind::Symbol(name) => {
                self.symbols.insert(name.to_string());
            }
            _ => {}
        }
        visit::walk_expr(self, expr);
    }

    fn visit_var_ref(&mut self, var: &ast::VarRef) {
        self.symbols.insert(var.name.to_string());
    }
}

/// Sites whose handler is the same code.
struct Group<'a> {
    trigger: crate::sema::program::Trigger,
    entry: Option<tracer_common::manifest::ProgramKind>,
    span: Span,
    conditions: Vec<&'a ast::Expr>,
    blocks: Vec<(&'a ast::Block, FileId)>,
    outcomes: Outcomes,
    sites: Vec<u32>,
    trace: Vec<Label>,
    locals: Vec<LocalInfo>,
    /// Names of each site's lists, by expression, in the order of the sites.
    lists: Vec<BTreeMap<ast::ExprId, Vec<String>>>,
}

/// In which order a round builds functions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    CallersFirst,
    CalleesFirst,
}

impl Order {
    fn other(self) -> Order {
        match self {
            Order::CallersFirst => Order::CalleesFirst,
            Order::CalleesFirst => Order::CallersFirst,
        }
    }
}

struct Elaborator<'e, 'a> {
    symbols: Symbols<'a>,
    expander: Expander<'a>,
    families: &'e [Box<dyn Family + 'e>],
    globals_scope: &'e dyn TargetScope,
    is_library: &'e dyn Fn(FileId) -> bool,
    guru: bool,
    /// What is listed of each site, when that is asked for.
    listing: Option<Vec<Listed>>,
    sites: Vec<Site>,
    groups: Vec<Group<'a>>,
    /// Outcomes in function bodies.
    functions: HashMap<usize, Outcomes>,
}

impl<'a> Elaborator<'_, 'a> {
    fn probe(&mut self, probe: &'a ast::Probe, sink: &mut Sink) {
        for point in &probe.points {
            let expanded = match self.expander.expand(point) {
                Ok(expanded) => expanded,
                Err(diagnostic) => {
                    sink.push(diagnostic);
                    continue;
                }
            };
            let mut found = false;
            let mut problems = Vec::new();
            for base in expanded {
                match self.base(probe, &base) {
                    Ok(any) => {
                        found |= any;
                        if any && base.sufficient {
                            break;
                        }
                    }
                    Err(diagnostic) => {
                        if !base.optional {
                            problems.push(diagnostic);
                        }
                    }
                }
            }
            for problem in problems {
                sink.push(problem);
            }
            if found && point.sufficient {
                break;
            }
        }
    }

    /// Resolves one base point and adds its sites; whether there were any.
    fn base(&mut self, probe: &'a ast::Probe, base: &Expanded<'a>) -> Result<bool, Diagnostic> {
        let traced = |mut diagnostic: Diagnostic| {
            if diagnostic.trace.is_empty() {
                diagnostic.trace.clone_from(&base.trace);
            }
            diagnostic
        };
        let resolved = self.families.iter().find_map(|family| family.resolve(&base.components, base.span));
        let candidates = match resolved {
            Some(result) => result.map_err(traced)?,
            None => {
                let text = point::text(&base.components);
                let mut diagnostic =
                    Diagnostic::error(Code::ProbePoint, base.span, format!("no probe point {text}"));
                let forms = self.families.iter().flat_map(|family| family.forms()).copied();
                let hint =
                    self.expander.hint(&text).or_else(|| crate::diagnostics::suggest::hint(&text, forms));
                if let Some(hint) = hint {
                    diagnostic = diagnostic.hint(hint);
                }
                return Err(traced(diagnostic));
            }
        };
        let mut blocks: Vec<(&'a ast::Block, FileId)> =
            base.prologues.iter().map(|block| (*block, block.span.file)).collect();
        blocks.push((&probe.body, probe.body.span.file));
        blocks.extend(base.epilogues.iter().map(|block| (*block, block.span.file)));
        let found = !candidates.is_empty();
        let mut classes: HashMap<Key, usize> = HashMap::new();
        for candidate in candidates {
            self.site(probe, base, &blocks, candidate, &mut classes);
        }
        Ok(found)
    }

    fn site(
        &mut self,
        probe: &'a ast::Probe,
        base: &Expanded<'a>,
        blocks: &[(&'a ast::Block, FileId)],
        candidate: Candidate,
        classes: &mut HashMap<Key, usize>,
    ) {
        let mut resolver = Resolver { scope: &*candidate.scope, at_entry: false, outcomes: Outcomes::new() };
        for condition in &base.conditions {
            resolver.visit_expr(condition);
        }
        for (block, _) in blocks {
            resolver.visit_block(block);
        }
        let mut lists = BTreeMap::new();
        let key: Vec<(ast::ExprId, OutcomeKey)> = resolver
            .outcomes
            .iter()
            .map(|(id, outcome)| {
                let key = match outcome {
                    Outcome::Value(resolved) => {
                        if !resolved.names.is_empty() {
                            lists.insert(*id, resolved.names.clone());
                        }
                        OutcomeKey::Value(resolved.value.clone(), resolved.at_entry)
                    }
                    Outcome::Missing(diagnostic) => OutcomeKey::Missing(diagnostic.message.clone()),
                    Outcome::Defined(defined) => OutcomeKey::Defined(*defined),
                };
                (*id, key)
            })
            .collect();
        let number = self.sites.len() as u32;
        if let Some(listing) = &mut self.listing {
            listing.push(Listed {
                site: number,
                alias: !base.trace.is_empty(),
                targets: candidate.scope.list(),
            });
        }
        self.sites.push(Site { alias: base.name.clone(), ..candidate.site });
        let key = (candidate.trigger, key);
        if let Some(group) = classes.get(&key) {
            let group = &mut self.groups[*group];
            group.sites.push(number);
            group.lists.push(lists);
            return;
        }
        classes.insert(key, self.groups.len());
        self.groups.push(Group {
            trigger: candidate.trigger,
            entry: candidate.entry,
            span: probe.span,
            conditions: base.conditions.clone(),
            blocks: blocks.to_vec(),
            outcomes: resolver.outcomes,
            sites: vec![number],
            trace: base.trace.clone(),
            locals: Vec::new(),
            lists: vec![lists],
        });
    }

    /// Builds everything until types have settled. It ends: a round that is not the last learns a cell, cells are
    /// never unlearned, and there are only as many as the script has names.
    fn finish(mut self, sink: &mut Sink) -> Program {
        // What a function returns is learned by its callers, what it is given from them: rounds alternate, so that
        // either travels through a chain of calls, however long, in one of two.
        let mut order = Order::CallersFirst;
        loop {
            self.symbols.learned = false;
            let (probes, functions, errors) = self.round(order);
            if !self.symbols.learned {
                for error in errors {
                    sink.push(error);
                }
                return self.program(probes, functions);
            }
            order = order.other();
        }
    }

    fn round(&mut self, order: Order) -> (Vec<Probe>, Vec<Built>, Vec<Diagnostic>) {
        let mut functions = Vec::new();
        let mut errors = Vec::new();
        if order == Order::CalleesFirst {
            // Callees are found while their callers are built, so they are behind them.
            let mut late = Vec::new();
            for n in (0..self.symbols.functions.len()).rev() {
                let mut problems = Vec::new();
                functions.push(self.function(n, &mut problems));
                late.push(problems);
            }
            functions.reverse();
            errors.extend(late.into_iter().rev().flatten());
        }
        let mut probes = Vec::with_capacity(self.groups.len());
        for n in 0..self.groups.len() {
            let group = &self.groups[n];
            let builder = Builder {
                symbols: &mut self.symbols,
                outcomes: &group.outcomes,
                body: Body::Probe { saves: group.entry.is_some() },
                file: group.span.file,
                is_library: self.is_library,
                errors: Vec::new(),
                locals: group.locals.clone(),
                names: BTreeMap::new(),
                saved: Vec::new(),
                loops: 0,
                result: Cell::default(),
                has_result: false,
                goes_on: false,
                visiting: Vec::new(),
                at_entry: false,
                guru: self.guru,
                trace: group.trace.clone(),
                lists: BTreeMap::new(),
            };
            let (built, lists, problems) = builder.build(&group.conditions, &group.blocks);
            errors.extend(problems);
            let group = &mut self.groups[n];
            group.locals.clone_from(&built.locals);
            for (site, names) in group.sites.iter().zip(&group.lists) {
                let mut variables = vec![Vec::new(); lists.len()];
                for (id, list) in &lists {
                    variables[*list as usize] = names.get(id).cloned().unwrap_or_default();
                }
                self.sites[*site as usize].variables = variables;
            }
            probes.push(Probe {
                trigger: group.trigger,
                sites: group.sites.clone(),
                span: group.span,
                locals: build::finish_locals(&built.locals),
                body: built.body,
                entry: if built.saved.is_empty() { None } else { group.entry },
                saved: built.saved,
            });
        }
        // Functions are found while others are built.
        while functions.len() < self.symbols.functions.len() {
            functions.push(self.function(functions.len(), &mut errors));
        }
        (probes, functions, errors)
    }

    fn function(&mut self, n: usize, errors: &mut Vec<Diagnostic>) -> Built {
        let info = self.symbols.functions[n].clone();
        let ast::FunctionBody::Block(block) = &info.decl.body else {
            return Built { body: Vec::new(), locals: info.locals, saved: Vec::new(), has_result: false };
        };
        let scope = self.globals_scope;
        let outcomes = self.functions.entry(n).or_insert_with(|| {
            let mut resolver = Resolver { scope, at_entry: false, outcomes: Outcomes::new() };
            resolver.visit_block(block);
            resolver.outcomes
        });
        let names = info.locals.iter().take(info.decl.params.len()).enumerate();
        let builder = Builder {
            symbols: &mut self.symbols,
            outcomes,
            body: Body::Function(crate::sema::program::FunctionId(n as u32)),
            file: info.file,
            is_library: self.is_library,
            errors: Vec::new(),
            names: names
                .map(|(i, local)| (local.name.clone(), crate::sema::program::LocalId(i as u32)))
                .collect(),
            locals: info.locals.clone(),
            saved: Vec::new(),
            loops: 0,
            result: info.result,
            has_result: info.has_result,
            goes_on: false,
            visiting: Vec::new(),
            at_entry: false,
            guru: self.guru,
            trace: Vec::new(),
            lists: BTreeMap::new(),
        };
        let (built, result, problems) = builder.build_function(block);
        errors.extend(problems);
        let info = &mut self.symbols.functions[n];
        // Callers may have taught the parameters something since; keep both.
        for (mine, theirs) in info.locals.iter_mut().zip(&built.locals) {
            if mine.ty.ty().is_none() {
                mine.ty = theirs.ty;
            }
        }
        let known = info.locals.len();
        info.locals.extend(built.locals.iter().skip(known).cloned());
        if info.result.ty().is_none() {
            info.result = result;
        }
        info.has_result |= built.has_result;
        built
    }

    fn program(self, probes: Vec<Probe>, functions: Vec<Built>) -> Program {
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
                    Some((fields, _)) if !info.read => GlobalTy::Stats(tracer_common::stat::StatFields {
                        count: true,
                        sum: true,
                        min: true,
                        max: true,
                        ..*fields
                    }),
                    Some((fields, _)) => GlobalTy::Stats(*fields),
                    None => GlobalTy::Value(info.value.ty().unwrap_or(Ty::Long)),
                },
                init: info.setting.clone().or_else(|| {
                    info.decl.init.as_ref().map(|init| match &init.value {
                        ast::LiteralValue::Number(n) => Literal::Long(*n),
                        ast::LiteralValue::Str(text) => Literal::Str(text.clone()),
                    })
                }),
                size: info.decl.size,
                wrap: info.decl.wrap,
                // What the end prints because nobody reads it is the script's, not a tapset's.
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
        Program { globals, functions, probes, sites: self.sites, listing: self.listing.unwrap_or_default() }
    }
}

type Key = (crate::sema::program::Trigger, Vec<(ast::ExprId, OutcomeKey)>);

/// What must be equal for two sites to share code.
#[derive(PartialEq, Eq, Hash)]
enum OutcomeKey {
    Value(crate::sema::program::TargetValue, bool),
    Missing(String),
    Defined(bool),
}

/// Finds out what the target expressions of a body mean at one place. Branches that `@defined` rules out are not
/// looked at.
struct Resolver<'s> {
    scope: &'s dyn TargetScope,
    at_entry: bool,
    outcomes: Outcomes,
}

impl Resolver<'_> {
    fn is_defined(&self, expr: &ast::Expr) -> bool {
        match &expr.kind {
            ExprKind::Target(target) => self.scope.resolve(target, expr.span, self.at_entry).is_ok(),
            _ => true,
        }
    }
}

impl Visitor for Resolver<'_> {
    fn visit_stmt(&mut self, stmt: &ast::Stmt) {
        if let ast::StmtKind::If { cond, then, otherwise } = &stmt.kind
            && build::fold::mentions_defined(cond)
        {
            self.visit_expr(cond);
            match build::fold::truth(&self.outcomes, cond) {
                Some(true) => self.visit_stmt(then),
                Some(false) => {
                    if let Some(otherwise) = otherwise {
                        self.visit_stmt(otherwise);
                    }
                }
                None => {
                    self.visit_stmt(then);
                    if let Some(otherwise) = otherwise {
                        self.visit_stmt(otherwise);
                    }
                }
            }
            return;
        }
        visit::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &ast::Expr) {
        match &expr.kind {
            ExprKind::Defined(inner) => {
                let defined = self.is_defined(inner);
                self.outcomes.insert(expr.id, Outcome::Defined(defined));
            }
            ExprKind::Ternary { cond, then, otherwise } if build::fold::mentions_defined(cond) => {
                self.visit_expr(cond);
                match build::fold::truth(&self.outcomes, cond) {
                    Some(true) => self.visit_expr(then),
                    Some(false) => self.visit_expr(otherwise),
                    None => {
                        self.visit_expr(then);
                        self.visit_expr(otherwise);
                    }
                }
            }
            ExprKind::Entry(inner) => {
                let before = std::mem::replace(&mut self.at_entry, true);
                self.visit_expr(inner);
                self.at_entry = before;
            }
            ExprKind::Target(target) => {
                if is_fact(target) {
                    return;
                }
                let outcome = match self.scope.resolve(target, expr.span, self.at_entry) {
                    Ok(resolved) => Outcome::Value(resolved),
                    Err(diagnostic) => Outcome::Missing(Box::new(diagnostic)),
                };
                self.outcomes.insert(expr.id, outcome);
                if let TargetRoot::Cast { operand, .. } | TargetRoot::Value(operand) = &target.root {
                    self.visit_expr(operand);
                }
                for step in &target.path {
                    if let PathStepKind::Index(index) = &step.kind {
                        self.visit_expr(index);
                    }
                }
            }
            _ => visit::walk_expr(self, expr),
        }
    }
}

/// `$$name` and its like are facts about the site, not variables.
fn is_fact(target: &ast::TargetExpr) -> bool {
    matches!(&target.root, TargetRoot::Special(name) if matches!(&**name, "name" | "provider" | "system"))
}
