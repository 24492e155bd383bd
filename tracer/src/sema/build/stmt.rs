//! Statements.

use super::{Body, Builder, fold, zero};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{
    Element, Expr, ExprKind, Foreach, GlobalId, Iterated, LocalId, Place, SortBy, Stmt, StmtKind, Ty,
};
use crate::sema::symbols::Node;
use crate::source::Span;
use crate::syntax::ast;

impl Builder<'_, '_> {
    pub(super) fn stmts(&mut self, stmts: &[ast::Stmt]) -> Vec<Stmt> {
        let mut out = Vec::with_capacity(stmts.len());
        for stmt in stmts {
            self.stmt(stmt, &mut out);
        }
        out
    }

    fn one(&mut self, stmt: &ast::Stmt) -> Vec<Stmt> {
        let mut out = Vec::new();
        self.stmt(stmt, &mut out);
        out
    }

    fn stmt(&mut self, stmt: &ast::Stmt, out: &mut Vec<Stmt>) {
        let span = stmt.span;
        let kind = match &stmt.kind {
            ast::StmtKind::Null => return,
            ast::StmtKind::Block(block) => StmtKind::Block(self.stmts(&block.stmts)),
            ast::StmtKind::Expr(expr) => StmtKind::Expr(self.expr(expr, None)),
            ast::StmtKind::If { cond, then, otherwise } => {
                if fold::mentions_defined(cond)
                    && let Some(known) = fold::truth(self.outcomes, cond)
                {
                    // The other branch may name what does not exist here.
                    match (known, otherwise) {
                        (true, _) => self.stmt(then, out),
                        (false, Some(otherwise)) => self.stmt(otherwise, out),
                        (false, None) => {}
                    }
                    return;
                }
                if let Some(known) = fold::truth(self.outcomes, cond) {
                    let (alive, dead) = match (known, otherwise) {
                        (true, otherwise) => (Some(then), otherwise.as_ref()),
                        (false, otherwise) => (otherwise.as_ref(), Some(then)),
                    };
                    self.in_dead_code(|builder| {
                        builder.long(cond);
                        dead.into_iter().for_each(|dead| drop(builder.one(dead)));
                    });
                    alive.into_iter().for_each(|alive| self.stmt(alive, out));
                    return;
                }
                StmtKind::If {
                    cond: self.long(cond),
                    then: self.one(then),
                    otherwise: otherwise.as_ref().map(|s| self.one(s)).unwrap_or_default(),
                }
            }
            ast::StmtKind::While { cond, body } => {
                let cond = Some(self.long(cond));
                StmtKind::Loop { cond, step: None, body: self.looped(body) }
            }
            ast::StmtKind::For { init, cond, step, body } => {
                if let Some(init) = init {
                    let init = self.expr(init, None);
                    out.push(Stmt { span: init.span, kind: StmtKind::Expr(init) });
                }
                let cond = cond.as_ref().map(|c| self.long(c));
                let body = self.looped(body);
                let step = step.as_ref().map(|s| self.expr(s, None));
                StmtKind::Loop { cond, step, body }
            }
            ast::StmtKind::Foreach(foreach) => match self.foreach(foreach) {
                Some(foreach) => StmtKind::Foreach(Box::new(foreach)),
                None => return,
            },
            ast::StmtKind::Return(value) => self.ret(value.as_ref(), span),
            ast::StmtKind::Next => match self.body {
                Body::Probe { .. } => StmtKind::Next,
                Body::Function(this) => return self.next_overload(this, span, out),
            },
            ast::StmtKind::Break | ast::StmtKind::Continue => {
                let (word, kind) = match stmt.kind {
                    ast::StmtKind::Break => ("break", StmtKind::Break),
                    _ => ("continue", StmtKind::Continue),
                };
                if self.loops == 0 {
                    self.error(Diagnostic::error(Code::Misplaced, span, format!("{word} outside of a loop")));
                    return;
                }
                kind
            }
            ast::StmtKind::Delete(expr) => match self.delete(expr) {
                Some(kind) => kind,
                None => return,
            },
            ast::StmtKind::Try { body, var, handler } => {
                let body = self.stmts(&body.stmts);
                let mut first = Vec::new();
                let message = var.as_ref().map(|var| self.variable(var, Some(Ty::Str), &mut first));
                first.extend(self.stmts(&handler.stmts));
                StmtKind::Try { body, message, handler: first }
            }
        };
        out.push(Stmt { kind, span });
    }

    /// The local that a `foreach` or a `catch` puts a value into. When a global is named, what comes first in the body
    /// gives it the value.
    fn variable(&mut self, var: &ast::VarRef, ty: Option<Ty>, first: &mut Vec<Stmt>) -> LocalId {
        let span = var.span;
        let global = self.global(&var.name).filter(|global| self.learn_arity(*global, 0, span));
        let Some(global) = global else {
            let local = self.local(&var.name);
            self.assigned.insert(local);
            if let Some(ty) = ty {
                self.learn_local(local, ty, span);
            }
            return local;
        };
        // No script can write this name.
        let local = self.local(&format!("{} as it comes", var.name).into());
        self.assigned.insert(local);
        let known = ty.or(self.symbols.globals[global.0 as usize].value.ty());
        if let Some(ty) = known {
            self.learn_local(local, ty, span);
            self.learn_value(global, ty, span);
        }
        self.writes(global);
        let ty = known.unwrap_or(Ty::Long);
        let place = Place::Global(Element { global, keys: Vec::new(), span });
        let value = Box::new(Expr { kind: ExprKind::Local(local), ty, span });
        let assign = Expr { kind: ExprKind::Assign { place, value }, ty, span };
        first.push(Stmt { kind: StmtKind::Expr(assign), span });
        local
    }

    fn looped(&mut self, body: &ast::Stmt) -> Vec<Stmt> {
        self.loops += 1;
        let body = self.one(body);
        self.loops -= 1;
        body
    }

    fn ret(&mut self, value: Option<&ast::Expr>, span: Span) -> StmtKind {
        let Body::Function(_) = self.body else {
            self.error(
                Diagnostic::error(Code::Misplaced, span, "return outside of a function")
                    .hint("next leaves a probe's handler"),
            );
            return StmtKind::Next;
        };
        let Some(value) = value else { return StmtKind::Return(None) };
        self.has_result = true;
        let built = self.expr(value, self.result.ty());
        if let Some(ty) = self.type_of(&built, value) {
            match self.result.learn(ty, value.span) {
                Ok(news) => self.news(news, Node::Own),
                Err(place) => self.conflict("the function's result", ty, value.span, place),
            }
        }
        StmtKind::Return(Some(built))
    }

    fn foreach(&mut self, foreach: &ast::Foreach) -> Option<Foreach> {
        let by_value = foreach.sort.as_ref().map(|sort| {
            let by = match sort.by {
                ast::SortBy::Value => SortBy::Value,
                ast::SortBy::Key(n) => SortBy::Key(n as u8),
                ast::SortBy::Stat(op) => SortBy::Stat(super::statistic::stat_op(op)),
            };
            (by, sort.ascending)
        });
        let limit = foreach.limit.as_ref().map(|limit| self.long(limit));
        let (over, key_types, value_type, visiting) = match &foreach.base {
            ast::Indexable::Array(array) => {
                let global = self.array(array)?;
                if let Some((SortBy::Stat(op), _)) = by_value {
                    let noted = self.symbols.globals[global.0 as usize].extract(op, 0, array.span);
                    self.note(global, noted);
                }
                let count = match &foreach.slice {
                    Some(slice) => slice.len(),
                    None => foreach.keys.len(),
                };
                if !self.learn_arity(global, count, array.span) {
                    return None;
                }
                if foreach.keys.len() != count {
                    self.error(Diagnostic::error(
                        Code::Arity,
                        array.span,
                        format!("{} has {count} keys, {} variables given", array.name, foreach.keys.len()),
                    ));
                    return None;
                }
                let slice = match &foreach.slice {
                    Some(slice) => self.subscripts(global, slice),
                    None => Vec::new(),
                };
                self.reads(global);
                let info = &self.symbols.globals[global.0 as usize];
                let keys: Vec<Option<Ty>> = info
                    .keys
                    .as_ref()
                    .map(|(keys, _)| keys.iter().map(|k| k.ty()).collect())
                    .unwrap_or_default();
                let value = if info.stats.is_some() { Some(Ty::Long) } else { info.value.ty() };
                (Iterated::Array { global, slice }, keys, value, Some(global))
            }
            ast::Indexable::Hist(hist) => {
                let (op, place) = self.hist(hist)?;
                (Iterated::Hist { hist: op, place }, vec![Some(Ty::Long)], Some(Ty::Long), None)
            }
        };
        let (mut keys, mut first) = (Vec::new(), Vec::new());
        for (n, key) in foreach.keys.iter().enumerate() {
            keys.push(self.variable(key, key_types.get(n).copied().flatten(), &mut first));
            // What the body learns of the variable is true of the key as well.
            if let (Some(global), Some(ty)) = (visiting, self.locals[keys[n].0 as usize].ty.ty()) {
                self.learn_key(global, n, ty, key.span);
            }
        }
        let value = foreach.value.as_ref().map(|value| self.variable(value, value_type, &mut first));
        self.visiting.extend(visiting);
        let mut body = first;
        body.extend(self.looped(&foreach.body));
        if visiting.is_some() {
            self.visiting.pop();
        }
        Some(Foreach { value, keys, over, sort: by_value, limit, body })
    }

    fn delete(&mut self, expr: &ast::Expr) -> Option<StmtKind> {
        match &expr.kind {
            ast::ExprKind::Symbol(name) => match self.global(name) {
                Some(global) => {
                    self.modifies(global, expr.span);
                    self.reads(global);
                    self.writes(global);
                    Some(StmtKind::Clear(global))
                }
                None => {
                    let local = self.local(name);
                    self.assigned.insert(local);
                    let ty = self.locals[local.0 as usize].ty.ty().unwrap_or(Ty::Long);
                    let value = match ty {
                        Ty::Long => zero(expr.span),
                        Ty::Str => Expr { kind: ExprKind::Str("".into()), ty, span: expr.span },
                    };
                    let kind = ExprKind::Assign { place: Place::Local(local), value: Box::new(value) };
                    Some(StmtKind::Expr(Expr { kind, ty, span: expr.span }))
                }
            },
            ast::ExprKind::Index { base: ast::Indexable::Array(array), keys } => {
                let global = self.array(array)?;
                if !self.learn_arity(global, keys.len(), expr.span) {
                    return None;
                }
                self.modifies(global, expr.span);
                self.reads(global);
                self.writes(global);
                let keys = self.subscripts(global, keys);
                Some(StmtKind::Delete { global, keys })
            }
            _ => {
                self.error(Diagnostic::error(
                    Code::NotAssignable,
                    expr.span,
                    "only variables and array elements can be deleted",
                ));
                None
            }
        }
    }

    /// Arrays must not change while they are visited.
    pub(super) fn modifies(&mut self, global: GlobalId, span: Span) {
        if self.dead == 0 {
            self.flow.changed.entry(global).or_insert(span);
        }
        if self.visiting.contains(&global) {
            let name = self.symbols.globals[global.0 as usize].decl.name.name.clone();
            self.error(
                Diagnostic::error(
                    Code::ForeachModification,
                    span,
                    format!("{name} is changed inside a foreach over it"),
                )
                .hint("collect what to change in another array, and change it after the loop"),
            );
        }
    }
}
