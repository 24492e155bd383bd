//! What script values point to, so that `p->member` needs no `@cast`: pass 2's "autocast".
//!
//! A value takes its type from the target expression that it was assigned from: `p = $file`, `p = p->next`, a function
//! that returns such a value, an element of an array that was given one. Types are names, resolved where they are used,
//! as those of `@cast` are. They are looked for in the order of the text, once: it is what people write.
//! A value that was assigned pointers of several types points to none of them for sure, and is not followed.
//!
//! **Not here:** what a type's members are (`target_var`), resolving (`resolve`).

use std::collections::{BTreeMap, BTreeSet};

use crate::sema::family::{Files, TargetScope};
use crate::sema::resolve::Resolver;
use crate::syntax::ast::{self, ExprKind, Indexable, Name, TargetRoot};
use crate::syntax::visit::{self, Visitor};

/// What a value points to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pointee {
    /// The type, as `@cast` takes it.
    pub ty: String,
    /// The file that has the type, or the kernel, where that is not the traced code.
    pub module: Option<String>,
    /// Another type that it may point to as well.
    pub other: Option<String>,
}

impl Pointee {
    /// What a value points to that points to this or, told later, to that.
    pub(super) fn or(self, mut that: Pointee) -> Pointee {
        let known = if self.ty == that.ty { self.other } else { Some(self.ty) };
        that.other = that.other.or(known);
        that
    }

    /// Adds a type to what is known of a value.
    pub(super) fn join(known: Option<Pointee>, that: Pointee) -> Pointee {
        match known {
            Some(this) => this.or(that),
            None => that,
        }
    }
}

/// Types of what script values point to, by name of the value.
#[derive(Default)]
pub(super) struct Pointees {
    /// Names that are globals wherever they stand.
    is_global: BTreeSet<Name>,
    globals: BTreeMap<Name, Pointee>,
    /// Results of functions, by name and number of parameters.
    functions: BTreeMap<(Name, usize), Pointee>,
    /// Locals of the body that is being looked at.
    locals: BTreeMap<Name, Pointee>,
}

impl Pointees {
    /// Learns the names of globals, and what functions return. Scripts that never follow a script value pay nothing.
    pub(super) fn new(files: &[ast::File], scope: &dyn TargetScope, others: &Files<'_>) -> Pointees {
        let mut pointees = Pointees::default();
        if !follows_values(files) {
            return pointees;
        }
        pointees.is_global =
            files.iter().flat_map(ast::File::globals).map(|global| global.name.name.clone()).collect();
        // Twice: functions return what other functions return.
        for _ in 0..2 {
            for function in files.iter().flat_map(ast::File::functions) {
                let ast::FunctionBody::Block(block) = &function.body else { continue };
                let mut resolver = Resolver::new(scope, scope, others, &mut pointees);
                resolver.visit_block(block);
                if let Some(ty) = resolver.returned.take() {
                    pointees.functions.insert((function.name.name.clone(), function.params.len()), ty);
                }
            }
        }
        pointees
    }

    /// A new body: its locals are its own.
    pub(super) fn enter_body(&mut self) {
        self.locals.clear();
    }

    /// What a value points to; `targets` knows it of target expressions.
    pub(super) fn of(&self, expr: &ast::Expr, targets: &BTreeMap<ast::ExprId, Pointee>) -> Option<Pointee> {
        match &expr.kind {
            ExprKind::Target(_) => targets.get(&expr.id).cloned(),
            ExprKind::Symbol(name) => self.named(name),
            ExprKind::Index { base: Indexable::Array(array), .. } => self.named(&array.name),
            ExprKind::Assign { right, .. } => self.of(right, targets),
            ExprKind::Entry(inner) => self.of(inner, targets),
            ExprKind::Ternary { then, otherwise, .. } => {
                match (self.of(then, targets), self.of(otherwise, targets)) {
                    (then, Some(otherwise)) => Some(Pointee::join(then, otherwise)),
                    (then, None) => then,
                }
            }
            ExprKind::Call { name, args } => self.functions.get(&(name.name.clone(), args.len())).cloned(),
            _ => None,
        }
    }

    fn named(&self, name: &Name) -> Option<Pointee> {
        if self.is_global.contains(name) { &self.globals } else { &self.locals }.get(name).cloned()
    }

    /// A value is assigned.
    pub(super) fn assign(&mut self, left: &ast::Expr, ty: Pointee) {
        let name = match &left.kind {
            ExprKind::Symbol(name) => name,
            ExprKind::Index { base: Indexable::Array(array), .. } => &array.name,
            _ => return,
        };
        let values = if self.is_global.contains(name) { &mut self.globals } else { &mut self.locals };
        let ty = Pointee::join(values.remove(name), ty);
        values.insert(name.clone(), ty);
    }
}

/// Whether some `->` stands behind a script value.
fn follows_values(files: &[ast::File]) -> bool {
    struct Search(bool);
    impl Visitor for Search {
        fn visit_expr(&mut self, expr: &ast::Expr) {
            self.0 |=
                matches!(&expr.kind, ExprKind::Target(target) if matches!(target.root, TargetRoot::Value(_)));
            visit::walk_expr(self, expr);
        }
    }
    let mut search = Search(false);
    for file in files {
        for function in file.functions() {
            if let ast::FunctionBody::Block(block) = &function.body {
                search.visit_block(block);
            }
        }
        for probe in file.probes() {
            search.visit_block(&probe.body);
        }
        for alias in file.aliases() {
            for block in alias.prologue.iter().chain(&alias.epilogue) {
                search.visit_block(block);
            }
        }
    }
    search.0
}
