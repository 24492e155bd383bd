//! `next` in a function: the call goes on to the function's next overload, with the arguments it was given.
//!
//! It becomes a call of that overload, whose result is returned; so no later pass knows of overloads.
//!
//! **Not here:** which overloads a call has, and in what order (`symbols`).

use crate::sema::build::{Body, Builder};
use crate::sema::program::{Expr, ExprKind, FunctionId, LocalId, Place, Stmt, StmtKind, Ty};
use crate::source::Span;

impl Builder<'_, '_> {
    /// `next`, in a handler or a function.
    pub(super) fn next(&mut self, span: Span) -> StmtKind {
        let Body::Function(function) = self.body else { return StmtKind::Next };
        let Some(next) = self.symbols.functions[function.0 as usize].next else {
            let text = ExprKind::Str("all functions exhausted".into());
            let message = Box::new(Expr { kind: text, ty: Ty::Str, span });
            return StmtKind::Expr(Expr { kind: ExprKind::Raise(message), ty: Ty::Long, span });
        };
        self.goes_on = true;
        self.agree(next, span);
        let params = self.symbols.functions[function.0 as usize].decl.params.len();
        let given: Vec<LocalId> = (0..params).map(|n| self.given(n)).collect();
        let args = given.into_iter().map(|local| self.read_local(local, span)).collect();
        let ty = self.symbols.functions[next.0 as usize].result.ty().unwrap_or(Ty::Long);
        let call = Expr { kind: ExprKind::Call { function: next, args }, ty, span };
        if self.has_result {
            return StmtKind::Return(Some(call));
        }
        let call = Stmt { kind: StmtKind::Expr(call), span };
        StmtKind::Block(vec![call, Stmt { kind: StmtKind::Return(None), span }])
    }

    /// Statements that keep the arguments as they came, for overloads that get them after a parameter was assigned.
    pub(super) fn keep_arguments(&mut self, span: Span) -> Vec<Stmt> {
        let Body::Function(function) = self.body else { return Vec::new() };
        let params = self.symbols.functions[function.0 as usize].decl.params.len();
        (0..params)
            .map(|n| {
                let value = Box::new(self.read_local(LocalId(n as u32), span));
                let ty = value.ty;
                let place = Place::Local(self.given(n));
                let kind = StmtKind::Expr(Expr { kind: ExprKind::Assign { place, value }, ty, span });
                Stmt { kind, span }
            })
            .collect()
    }

    /// The local that keeps an argument; no script can name it.
    fn given(&mut self, param: usize) -> LocalId {
        let name = format!("{} as given", self.locals[param].name);
        let given = self.local(&name.into());
        self.locals[given.0 as usize].ty = self.locals[param].ty;
        given
    }

    fn read_local(&self, local: LocalId, span: Span) -> Expr {
        let ty = self.locals[local.0 as usize].ty.ty().unwrap_or(Ty::Long);
        Expr { kind: ExprKind::Local(local), ty, span }
    }

    /// Overloads take and return the same types: each teaches the other.
    fn agree(&mut self, next: FunctionId, span: Span) {
        let overload = next.0 as usize;
        for n in 0..self.symbols.functions[overload].decl.params.len() {
            let theirs = self.symbols.functions[overload].locals[n].ty;
            match (self.locals[n].ty.ty(), theirs.ty()) {
                (Some(ty), None) => {
                    let param = &mut self.symbols.functions[overload].locals[n];
                    self.symbols.learned |= param.ty.learn(ty, span) == Ok(true);
                }
                (_, Some(ty)) => self.learn_local(LocalId(n as u32), ty, theirs.place().unwrap_or(span)),
                (None, None) => {}
            }
        }
        let theirs = self.symbols.functions[overload].result;
        match (self.result.ty(), theirs.ty()) {
            (Some(ty), None) => {
                let theirs = &mut self.symbols.functions[overload].result;
                self.symbols.learned |= theirs.learn(ty, span) == Ok(true);
            }
            (_, Some(ty)) => match self.result.learn(ty, span) {
                Ok(news) => self.symbols.learned |= news,
                Err(place) => self.conflict("the function's result", ty, span, place),
            },
            (None, None) => {}
        }
        if self.has_result && !self.symbols.functions[overload].has_result {
            self.symbols.functions[overload].has_result = true;
            self.symbols.learned = true;
        }
        self.has_result |= self.symbols.functions[overload].has_result;
    }
}
