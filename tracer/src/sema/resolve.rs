//! Pass 2, step 3: what the target expressions of a body mean at one place.
//!
//! **Not here:** what a place has (`families`), what is made of it (`build::target`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::diagnostics::{Code, Diagnostic};
use crate::sema::build::{self, Outcome, Outcomes};
use crate::sema::family::{Files, Resolved, TargetScope};
use crate::sema::pointee::{Pointee, Pointees};
use crate::sema::program::Access;
use crate::source::Span;
use crate::syntax::ast::{self, ExprKind, PathStepKind, TargetRoot};
use crate::syntax::print::print_expr;
use crate::syntax::visit::{self, Visitor};

/// Who said what a target expression is.
enum Origin {
    /// The probed code.
    Own,
    /// The kernel's types.
    Kernel,
    /// Another file, or the probed one as a whole.
    File(Rc<dyn TargetScope>),
}

/// Finds out what the target expressions of a body mean at one place. Branches that `@defined` rules out are not
/// looked at.
pub(super) struct Resolver<'s> {
    scope: &'s dyn TargetScope,
    /// What `@cast` means where no traced code is behind the handler.
    types: &'s dyn TargetScope,
    /// What other files have.
    files: &'s Files<'s>,
    /// Both are the same: a function's targets are the kernel's.
    in_function: bool,
    at_entry: bool,
    /// What was found out.
    pub(super) outcomes: Outcomes,
    pointees: &'s mut Pointees,
    /// What target expressions point to.
    targets: BTreeMap<ast::ExprId, Pointee>,
    /// What the body's `return`s point to.
    pub(super) returned: Option<Pointee>,
}

impl<'s> Resolver<'s> {
    /// For a new body.
    pub(super) fn new(
        scope: &'s dyn TargetScope,
        types: &'s dyn TargetScope,
        files: &'s Files<'s>,
        pointees: &'s mut Pointees,
    ) -> Resolver<'s> {
        pointees.enter_body();
        Resolver {
            scope,
            types,
            files,
            in_function: std::ptr::addr_eq(scope, types),
            at_entry: false,
            outcomes: Outcomes::new(),
            pointees,
            targets: BTreeMap::new(),
            returned: None,
        }
    }

    /// What a target expression is, and who said so: of several modules with `:` between them, the first that knows.
    fn resolve(&self, target: &ast::TargetExpr, span: Span) -> (Result<Resolved, Diagnostic>, Origin) {
        let Some(modules) = module_of(target) else { return self.resolve_own(target, span) };
        let mut all = modules.split(':').map(|module| self.resolve_by(module, target, span));
        let first = all.next().unwrap_or_else(|| self.resolve_own(target, span));
        if first.0.is_ok() {
            return first;
        }
        all.find(|(resolved, _)| resolved.is_ok()).unwrap_or(first)
    }

    fn resolve_by(
        &self,
        module: &str,
        target: &ast::TargetExpr,
        span: Span,
    ) -> (Result<Resolved, Diagnostic>, Origin) {
        if is_kernel(module) {
            return (self.types.resolve(target, span, self.at_entry), Origin::Kernel);
        }
        if is_header(module) {
            let (resolved, origin) = self.resolve_own(target, span);
            let hinted = resolved.map_err(|diagnostic| {
                diagnostic.hint(format!(
                    "types of {module} would need a C compiler: name a program or library that was built with it and with -g"
                ))
            });
            return (hinted, origin);
        }
        match (self.files)(Some(module), span) {
            Some(Ok(file)) => self.resolve_in(file, target, span),
            Some(Err(diagnostic)) => (Err(diagnostic), Origin::Own),
            // It is the probed file.
            None => self.resolve_own(target, span),
        }
    }

    fn resolve_own(&self, target: &ast::TargetExpr, span: Span) -> (Result<Resolved, Diagnostic>, Origin) {
        let is_cast = matches!(target.root, TargetRoot::Cast { .. });
        let diagnostic = match self.scope.resolve(target, span, self.at_entry) {
            Ok(resolved) => return (self.with_thread_pointer(resolved, span), Origin::Own),
            Err(diagnostic) => diagnostic,
        };
        if diagnostic.code == Code::NoTargetVariables && is_cast {
            return (self.types.resolve(target, span, self.at_entry), Origin::Kernel);
        }
        // What is probed may have no variables of its own, as a mark has none: the file has.
        if matches!(target.root, TargetRoot::Cast { .. } | TargetRoot::Var { .. })
            && let Some(Ok(file)) = (self.files)(None, span)
            && let found @ (Ok(_), _) = self.resolve_in(file, target, span)
        {
            return found;
        }
        (Err(diagnostic), Origin::Own)
    }

    fn resolve_in(
        &self,
        file: Rc<dyn TargetScope>,
        target: &ast::TargetExpr,
        span: Span,
    ) -> (Result<Resolved, Diagnostic>, Origin) {
        let resolved = file.resolve(target, span, self.at_entry);
        let resolved = resolved.and_then(|resolved| self.with_thread_pointer(resolved, span));
        (resolved, Origin::File(file))
    }

    /// Who knows the type of what was resolved.
    fn scope_of<'o>(&'o self, origin: &'o Origin) -> &'o dyn TargetScope {
        match origin {
            Origin::Own => self.scope,
            Origin::Kernel => self.types,
            Origin::File(file) => &**file,
        }
    }

    /// Where threads keep their thread pointer is the kernel's business.
    fn with_thread_pointer(&self, resolved: Resolved, span: Span) -> Result<Resolved, Diagnostic> {
        let is_pointer = |access: &Access| *access == Access::ThreadPointer;
        if !resolved.value.accesses().iter().any(|access| access.has(&is_pointer)) {
            return Ok(resolved);
        }
        let pointer = self.types.thread_pointer(span)?;
        let leaf = |leaf| if leaf == Access::ThreadPointer { pointer.clone() } else { leaf };
        let value = resolved.value.with_accesses(&mut |access| access.with_leaves(&leaf));
        Ok(Resolved { value, ..resolved })
    }

    /// What a target expression means: `p->member` is a `@cast`, where it is known what p points to.
    fn meant<'t>(&self, target: &'t ast::TargetExpr) -> Result<Cow<'t, ast::TargetExpr>, Diagnostic> {
        let TargetRoot::Value(operand) = &target.root else { return Ok(Cow::Borrowed(target)) };
        let text = print_expr(operand);
        let unknown = |message: String| Diagnostic::error(Code::UnresolvedTarget, target.root_span, message);
        let Some(pointee) = self.pointees.of(operand, &self.targets) else {
            return Err(unknown(format!("it is not known what {text} points to")).hint(format!(
                "@cast({text}, \"type\") says it; else it must be assigned from a $variable before"
            )));
        };
        if let Some(other) = &pointee.other {
            let message = format!("{text} points to {other} or to {}", pointee.ty);
            return Err(unknown(message).hint(format!("@cast({text}, \"type\") says which")));
        }
        let root = TargetRoot::Cast {
            operand: operand.clone(),
            type_name: ast::Text::from(&*pointee.ty),
            module: pointee.module.as_deref().map(ast::Text::from),
        };
        Ok(Cow::Owned(ast::TargetExpr { root, ..target.clone() }))
    }

    fn target(&mut self, expr: &ast::Expr, target: &ast::TargetExpr) {
        let target = match self.meant(target) {
            Ok(meant) => meant,
            Err(unknown) => {
                self.outcomes.insert(expr.id, Outcome::Missing(Box::new(unknown)));
                return;
            }
        };
        let (resolved, origin) = self.resolve(&target, expr.span);
        let outcome = match resolved {
            Ok(resolved) => Outcome::Value(resolved),
            Err(diagnostic) => Outcome::Missing(Box::new(diagnostic)),
        };
        self.outcomes.insert(expr.id, outcome);
        if let Some(ty) = self.scope_of(&origin).pointee(&target) {
            let module = match origin {
                Origin::Kernel => Some(KERNEL.to_owned()),
                Origin::Own if self.in_function => Some(KERNEL.to_owned()),
                Origin::Own => None,
                Origin::File(_) => module_of(&target),
            };
            self.targets.insert(expr.id, Pointee { ty, module, other: None });
        }
    }

    /// `@enum("NAME")`: the traced code's own constants come before the kernel's.
    fn enumerator(&mut self, expr: &ast::Expr, name: &str) {
        let unknown = || missing(expr, format!("there is no enumeration with a constant {name}"));
        let outcome = self.constant(name).map_or_else(unknown, Outcome::Enumerator);
        self.outcomes.insert(expr.id, outcome);
    }

    /// `@const("NAME")`: what C would make of it is known where it is a constant of an enumeration.
    fn c_constant(&mut self, expr: &ast::Expr, text: &str) {
        let outcome = self.constant(text.trim()).map_or_else(
            || {
                let why = format!("{text} is no constant of an enumeration: @const would need C headers");
                let unknown = Diagnostic::error(Code::Unsupported, expr.span, why).hint("write the number");
                Outcome::Missing(Box::new(unknown))
            },
            Outcome::Enumerator,
        );
        self.outcomes.insert(expr.id, outcome);
    }

    fn constant(&self, name: &str) -> Option<i64> {
        self.scope.enumerator(name).or_else(|| self.types.enumerator(name))
    }

    /// `@enumname(x, "type", "module")`
    fn enumeration(
        &mut self,
        expr: &ast::Expr,
        operand: &ast::Expr,
        type_name: Option<&str>,
        module: Option<&str>,
    ) {
        let outcome = match (type_name, module) {
            (None, _) => self.constants_of(operand).map_or_else(
                || {
                    missing(
                        expr,
                        "@enumname needs to know the type: @enumname(value, \"enum type\")".to_owned(),
                    )
                },
                Outcome::Enumeration,
            ),
            (Some(name), module) => {
                let is_kernel = module.is_some_and(is_kernel);
                let own = if is_kernel { None } else { self.scope.enumeration(name) };
                own.or_else(|| self.types.enumeration(name))
                    .map(Outcome::Enumeration)
                    .unwrap_or_else(|| missing(expr, format!("there is no enumeration {name}")))
            }
        };
        self.outcomes.insert(expr.id, outcome);
    }

    /// The constants of the enumeration that a target expression's type is.
    fn constants_of(&self, operand: &ast::Expr) -> Option<Vec<(String, i64)>> {
        let ExprKind::Target(target) = &operand.kind else { return None };
        if is_fact(target) || matches!(target.root, TargetRoot::Special(_)) {
            return None;
        }
        let target = self.meant(target).ok()?;
        let (_, origin) = self.resolve(&target, operand.span);
        let scope = self.scope_of(&origin);
        scope.enumeration(&scope.type_name(&target)?)
    }

    fn is_defined(&mut self, expr: &ast::Expr) -> bool {
        match &expr.kind {
            ExprKind::Ternary { cond, then, otherwise } if build::fold::mentions_defined(cond) => {
                self.visit_expr(cond);
                match build::fold::truth(&self.outcomes, cond) {
                    Some(true) => self.is_defined(then),
                    Some(false) => self.is_defined(otherwise),
                    None => self.is_defined(then) && self.is_defined(otherwise),
                }
            }
            ExprKind::Target(target) => {
                self.meant(target).is_ok_and(|target| self.resolve(&target, expr.span).0.is_ok())
            }
            ExprKind::Enum(name) | ExprKind::Const(name) => self.constant(&name.to_string()).is_some(),
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
        if let ast::StmtKind::Return(Some(value)) = &stmt.kind
            && let Some(ty) = self.pointees.of(value, &self.targets)
        {
            self.returned = Some(Pointee::join(self.returned.take(), ty));
        }
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
            ExprKind::Enum(name) => self.enumerator(expr, &name.to_string()),
            ExprKind::Const(text) => self.c_constant(expr, &text.to_string()),
            ExprKind::EnumName { operand, type_name, module } => {
                let text = |text: &ast::Text| text.to_string();
                let (type_name, module) = (type_name.as_ref().map(text), module.as_ref().map(text));
                self.visit_expr(operand);
                self.enumeration(expr, operand, type_name.as_deref(), module.as_deref());
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
                if let TargetRoot::Cast { operand, .. } | TargetRoot::Value(operand) = &target.root {
                    self.visit_expr(operand);
                }
                self.target(expr, target);
                for step in &target.path {
                    if let PathStepKind::Index(index) = &step.kind {
                        self.visit_expr(index);
                    }
                }
            }
            ExprKind::Assign { left, right, .. } => {
                visit::walk_expr(self, expr);
                if let Some(ty) = self.pointees.of(right, &self.targets) {
                    self.pointees.assign(left, ty);
                }
            }
            _ => visit::walk_expr(self, expr),
        }
    }
}

fn missing(expr: &ast::Expr, message: String) -> Outcome {
    Outcome::Missing(Box::new(Diagnostic::error(Code::UnresolvedTarget, expr.span, message)))
}

/// The module that a target expression names.
fn module_of(target: &ast::TargetExpr) -> Option<String> {
    match &target.root {
        TargetRoot::Cast { module, .. } | TargetRoot::Var { module, .. } => {
            module.as_ref().map(ToString::to_string)
        }
        TargetRoot::Variable(_) | TargetRoot::Special(_) | TargetRoot::Value(_) => None,
    }
}

const KERNEL: &str = "kernel";

/// Whether a module is the kernel, whatever code is traced.
fn is_kernel(module: &str) -> bool {
    module.starts_with(KERNEL)
}

/// Whether a module is a C header.
fn is_header(module: &str) -> bool {
    module.starts_with('<') || module.ends_with(".h")
}

/// `$$name` and its like are facts about the site, not variables.
fn is_fact(target: &ast::TargetExpr) -> bool {
    matches!(&target.root, TargetRoot::Special(name) if matches!(&**name, "name" | "provider" | "system"))
}
