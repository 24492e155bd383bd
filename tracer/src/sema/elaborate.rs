//! Pass 2, its steps in order: load, expand, resolve, group, build, type.
//!
//! 1. *Load* pulls in the tapset files that define names the script uses (`load`).
//! 2. *Expand* turns each probe point into base points with prologues and epilogues (`point`).
//! 3. *Resolve* asks the families where base points are, and, for every place, what its target expressions mean
//!    (`resolve`).
//! 4. *Group*: places whose target expressions mean the same become one probe with many sites.
//! 5. *Settle* makes typed trees (`build`), until no type is learned any more, and *checks* what only the whole shows.
//!
//! **Not here:** any of the steps' details.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tracer_common::manifest::Site;

use crate::diagnostics::{Code, Diagnostic, Label, Sink, suggest};
use crate::sema::build::{Flow, Outcome, Outcomes};
use crate::sema::family::{Candidate, Door, Family, FileFound, TargetScope};
use crate::sema::library::Library;
use crate::sema::load::{Loaded, load};
use crate::sema::point::{self, Expanded, Expander};
use crate::sema::pointee::Pointees;
use crate::sema::program::{Guard, Listed, Program, Trigger, Ty};
use crate::sema::resolve::Resolver;
use crate::sema::symbols::{LocalInfo, Symbols};
use crate::source::{FileId, SourceMap, Span};
use crate::syntax::ast::{self, ExprIds};
use crate::syntax::guru;
use crate::syntax::visit::Visitor;
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
    /// Macros of the library, for tapset files.
    pub macros: &'i Macros,
    /// `-G`.
    pub settings: &'i [(String, String)],
    /// `-g`.
    pub guru: bool,
    /// `--skip-badvars`: what cannot be resolved or read is 0.
    pub skip_badvars: bool,
    /// `--suppress-handler-errors`: an error ends its handler, and nothing else.
    pub suppress_errors: bool,
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
    let Loaded { files, variables } =
        load(scripts, input.library, input.facts, input.macros, sources, ids, sink);
    let is_library = |file: FileId| !user.contains(&file);
    let mut symbols = Symbols::default();
    symbols.embedded = input.library.embedded_files().collect();
    symbols.library.extend(input.library.function_names().map(str::to_owned));
    let library = input.library.aliases().map(|(name, _)| name.to_owned()).collect();
    let mut expander = Expander { aliases: Vec::new(), library };
    for file in &files {
        // A variable of a tapset exists when somebody names it.
        let exists = |name: &str| user.contains(&file.id) || variables.contains(name);
        symbols.add_file(file, &exists, sink);
        expander.aliases.extend(file.aliases());
        for code in file.embedded() {
            sink.push(guru::embedded(code.span));
        }
        for function in file.functions() {
            if let ast::FunctionBody::Embedded(code) = &function.body {
                sink.push(guru::embedded(code.span));
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
        skip_badvars: input.skip_badvars,
        suppress_errors: input.suppress_errors,
        listing: input.listing.then(Vec::new),
        listed: HashMap::new(),
        sites: Vec::new(),
        groups: Vec::new(),
        functions: HashMap::new(),
        pointees: Pointees::new(
            &files,
            input.globals_scope,
            &files_of(input.families, Door { near: None, is_hit: false }),
        ),
    };
    // The probes of a tapset file that is in use run as well.
    for probe in files.iter().flat_map(ast::File::probes) {
        elaborator.probe(probe, sink);
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

/// What other files have, for a handler.
pub(super) fn files_of<'f>(
    families: &'f [Box<dyn Family + 'f>],
    door: Door<'f>,
) -> impl Fn(Option<&str>, Span) -> FileFound + 'f {
    move |name, span| families.iter().find_map(|family| family.file(&door, name, span))
}

/// `-G name=value`.
fn settings(symbols: &mut Symbols<'_>, settings: &[(String, String)], sink: &mut Sink) {
    for (name, value) in settings {
        let Some(ids) = symbols.global_names.get(name.as_str()) else {
            let message = format!("-G {name}={value}: the script has no global {name}");
            sink.push(
                Diagnostic::error(Code::UnknownGlobal, Span::new(FileId(0), 0, 0), message).placeless(),
            );
            continue;
        };
        let global = &mut symbols.globals[ids[0].0 as usize];
        global.setting = Some(value.clone());
        // A number may be meant as text; what is no number is text.
        if number(value).is_none() && global.value.ty().is_none() {
            let known = global.value.learn(Ty::Str, global.decl.name.span);
            debug_assert_eq!(known, Ok(true));
        }
    }
}

/// A value of `-G` as a number.
pub(super) fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Sites whose handler is the same code.
pub(super) struct Group<'a> {
    pub(super) trigger: Trigger,
    pub(super) entry: Option<tracer_common::manifest::ProgramKind>,
    pub(super) span: Span,
    /// See [`Candidate::guard`].
    pub(super) guard: Guard,
    pub(super) conditions: Vec<&'a ast::Expr>,
    pub(super) blocks: Vec<(&'a ast::Block, FileId)>,
    pub(super) outcomes: Outcomes,
    pub(super) sites: Vec<u32>,
    pub(super) trace: Vec<Label>,
    pub(super) locals: Vec<LocalInfo>,
    pub(super) flow: Flow,
    /// Names of each site's lists, by expression, in the order of the sites.
    pub(super) lists: Vec<BTreeMap<ast::ExprId, Vec<String>>>,
}

pub(super) struct Elaborator<'e, 'a> {
    pub(super) symbols: Symbols<'a>,
    pub(super) expander: Expander<'a>,
    pub(super) families: &'e [Box<dyn Family + 'e>],
    pub(super) globals_scope: &'e dyn TargetScope,
    pub(super) is_library: &'e dyn Fn(FileId) -> bool,
    pub(super) guru: bool,
    pub(super) skip_badvars: bool,
    pub(super) suppress_errors: bool,
    /// What is listed of each site, when that is asked for.
    pub(super) listing: Option<Vec<Listed>>,
    /// What was listed already: variables, by probe point.
    pub(super) listed: HashMap<String, BTreeSet<Vec<String>>>,
    pub(super) sites: Vec<Site>,
    pub(super) groups: Vec<Group<'a>>,
    /// Outcomes in function bodies.
    pub(super) functions: HashMap<usize, Outcomes>,
    /// What script values point to.
    pub(super) pointees: Pointees,
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
            let mut missing = None;
            // Lists of which a sufficient point resolved.
            let mut enough: BTreeMap<usize, usize> = BTreeMap::new();
            for base in expanded {
                if base.lists.iter().any(|at| enough.get(&at.list).is_some_and(|end| at.index > *end)) {
                    continue;
                }
                match self.base(probe, &base) {
                    Ok(any) => {
                        found |= any;
                        for at in base.lists.iter().filter(|at| any && at.sufficient) {
                            enough.entry(at.list).or_insert(at.index);
                        }
                    }
                    Err(diagnostic) if base.optional => missing = missing.or(Some(diagnostic)),
                    Err(diagnostic) => problems.push(diagnostic),
                }
            }
            // Points of an alias may be missing, but not all of them, unless the script says so.
            if !found && problems.is_empty() && !point.optional {
                problems.extend(missing);
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
        let by_family = || self.families.iter().find_map(|f| f.resolve(&base.components, base.span));
        let candidates = match self.by_forms(base).or_else(by_family) {
            Some(result) => result.map_err(traced)?,
            None => {
                let text = point::text(&base.components);
                let mut diagnostic =
                    Diagnostic::error(Code::ProbePoint, base.span, format!("no probe point {text}"));
                let forms: Vec<&str> =
                    self.families.iter().flat_map(|family| family.forms()).copied().collect();
                let hint = self.expander.hint(&text).or_else(|| suggest::hint(&text, forms.iter().copied()));
                // Else those that begin the same way.
                let first = format!("{}.", base.components[0].name);
                let of = |form: &&&str| {
                    form.starts_with(&first)
                        || form.split_once('(').is_some_and(|(word, _)| first == format!("{word}."))
                };
                let some: Vec<&str> = forms.iter().filter(of).copied().take(6).collect();
                let hint = hint.unwrap_or_else(|| match some.as_slice() {
                    [] => "--dump-probe-types and --dump-probe-aliases list what there is".to_owned(),
                    _ => format!("there are: {}", some.join(", ")),
                });
                diagnostic.hints.push(hint);
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

    /// The places of a point with wildcards in the names of its components: those of all forms that match.
    fn by_forms(&self, base: &Expanded<'a>) -> Option<Result<Vec<Candidate>, Diagnostic>> {
        let forms = self.families.iter().flat_map(|family| family.forms());
        let points = forms.filter_map(|form| point::by_form(&base.components, form));
        let mut all = Vec::new();
        let mut first = None;
        for components in points {
            let resolved = self.families.iter().find_map(|family| family.resolve(&components, base.span));
            match resolved {
                Some(Ok(candidates)) => all.extend(candidates),
                Some(Err(diagnostic)) => first = first.or(Some(diagnostic)),
                None => {}
            }
        }
        if all.is_empty() { first.map(Err) } else { Some(Ok(all)) }
    }

    fn site(
        &mut self,
        probe: &'a ast::Probe,
        base: &Expanded<'a>,
        blocks: &[(&'a ast::Block, FileId)],
        candidate: Candidate,
        classes: &mut HashMap<Key, usize>,
    ) {
        let mut targets = Vec::new();
        if self.listing.is_some() {
            targets = candidate.scope.list();
            // A program has its inlined copies by the hundred thousand, and most of their lines are the same.
            let point = format!("{}{}", candidate.site.probe_point, base.mark);
            let alike = self.listed.entry(point).or_default();
            if base.trace.is_empty() && !alike.insert(targets.clone()) {
                return;
            }
        }
        let attach = candidate.site.attach.clone();
        let is_hit = matches!(candidate.trigger, Trigger::Kernel(_));
        let files = files_of(self.families, Door { near: Some(&attach), is_hit });
        let scope = &*candidate.scope;
        let mut resolver = Resolver::new(scope, self.globals_scope, &files, &mut self.pointees);
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
                    Outcome::Enumerator(value) => OutcomeKey::Enumeration(vec![(String::new(), *value)]),
                    Outcome::Enumeration(constants) => OutcomeKey::Enumeration(constants.clone()),
                };
                (*id, key)
            })
            .collect();
        let number = self.sites.len() as u32;
        if let Some(listing) = &mut self.listing {
            listing.push(Listed { site: number, alias: !base.trace.is_empty(), targets });
        }
        let mut site = Site { alias: base.name.clone(), ..candidate.site };
        site.probe_point.push_str(base.mark);
        self.sites.push(site);
        let key = (candidate.trigger, candidate.site.is_entry, candidate.guard.clone(), key);
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
            guard: candidate.guard,
            conditions: base.conditions.clone(),
            blocks: blocks.to_vec(),
            outcomes: resolver.outcomes,
            sites: vec![number],
            trace: base.trace.clone(),
            locals: Vec::new(),
            flow: Flow::default(),
            lists: vec![lists],
        });
    }
}

type Key = (Trigger, bool, Guard, Vec<(ast::ExprId, OutcomeKey)>);

/// What must be equal for two sites to share code.
#[derive(PartialEq, Eq, Hash)]
enum OutcomeKey {
    Value(crate::sema::program::TargetValue, bool),
    Missing(String),
    Defined(bool),
    Enumeration(Vec<(String, i64)>),
}
