//! Pass 2, step 1: which tapset files a script needs.
//!
//! A file is needed when it defines a function, a global or an alias that the script, or a file already needed, names.
//!
//! **Not here:** which file defines what (`library`).

use std::collections::BTreeSet;

use crate::diagnostics::Sink;
use crate::glob::{glob_match, has_wildcards};
use crate::sema::library::Library;
use crate::source::SourceMap;
use crate::syntax::ast::{self, ExprIds, ExprKind};
use crate::syntax::condition::LANGUAGE;
use crate::syntax::visit::{self, Visitor};
use crate::syntax::{Facts, Macros};

/// The script's files, then the tapset files that define what the script, and what they themselves, use.
pub(super) struct Loaded {
    /// Their trees.
    pub(super) files: Vec<ast::File>,
    /// Every variable that any of them names.
    pub(super) variables: BTreeSet<String>,
}

/// Finds and parses the tapset files.
pub(super) fn load(
    mut files: Vec<ast::File>,
    library: &mut Library,
    facts: &Facts,
    macros: &Macros,
    sources: &mut SourceMap,
    ids: &mut ExprIds,
    sink: &mut Sink,
) -> Loaded {
    // `--compatible` is about scripts.
    let newest = Facts { grammar: LANGUAGE.to_owned(), ..facts.clone() };
    let mut variables = BTreeSet::new();
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
            files.push(crate::syntax::parse(sources, id, ids, &newest, macros, sink));
        }
        variables.append(&mut names.symbols);
        at += 1;
    }
    Loaded { files, variables }
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
