//! Walking the tree without writing out all its kinds.
//!
//! A walker implements the `visit_*` methods that it cares about and calls the matching `walk_*` to go deeper.
//! Order is that of the text. [`Visitor`] reads, [`VisitorMut`] changes in place; [`renumber`] is the one change
//! that copying a subtree always needs.

use crate::syntax::ast::{
    Block, Expr, ExprIds, ExprKind, Foreach, Hist, Indexable, PathStepKind, PrintWhat, Stmt, StmtKind,
    Subscript, TargetRoot, VarRef,
};

/// Declares a visitor trait and its walkers, shared or mutable.
macro_rules! visitor {
    ($(#[$doc:meta])* $Visitor:ident, $walk_stmt:ident, $walk_block:ident, $walk_expr:ident, $walk_hist:ident,
     $subscripts:ident, $indexable:ident, $foreach:ident $(, $mutable:tt)?) => {
        $(#[$doc])*
        pub trait $Visitor {
            /// A statement.
            fn visit_stmt(&mut self, stmt: &$($mutable)? Stmt) {
                $walk_stmt(self, stmt);
            }
            /// A block in braces.
            fn visit_block(&mut self, block: &$($mutable)? Block) {
                $walk_block(self, block);
            }
            /// An expression.
            fn visit_expr(&mut self, expr: &$($mutable)? Expr) {
                $walk_expr(self, expr);
            }
            /// A histogram.
            fn visit_hist(&mut self, hist: &$($mutable)? Hist) {
                $walk_hist(self, hist);
            }
            /// A name that stands for a variable and is no expression.
            fn visit_var_ref(&mut self, _var: &$($mutable)? VarRef) {}
        }

        /// Visits the statements of a block.
        pub fn $walk_block<V: $Visitor + ?Sized>(visitor: &mut V, block: &$($mutable)? Block) {
            for stmt in &$($mutable)? block.stmts {
                visitor.visit_stmt(stmt);
            }
        }

        /// Visits what is inside a statement.
        pub fn $walk_stmt<V: $Visitor + ?Sized>(visitor: &mut V, stmt: &$($mutable)? Stmt) {
            match &$($mutable)? stmt.kind {
                StmtKind::Null | StmtKind::Next | StmtKind::Break | StmtKind::Continue | StmtKind::Return(None) => {}
                StmtKind::Block(block) => visitor.visit_block(block),
                StmtKind::Expr(expr) | StmtKind::Return(Some(expr)) | StmtKind::Delete(expr) => {
                    visitor.visit_expr(expr);
                }
                StmtKind::If { cond, then, otherwise } => {
                    visitor.visit_expr(cond);
                    visitor.visit_stmt(then);
                    if let Some(otherwise) = otherwise {
                        visitor.visit_stmt(otherwise);
                    }
                }
                StmtKind::While { cond, body } => {
                    visitor.visit_expr(cond);
                    visitor.visit_stmt(body);
                }
                StmtKind::For { init, cond, step, body } => {
                    for expr in [init, cond, step].into_iter().flatten() {
                        visitor.visit_expr(expr);
                    }
                    visitor.visit_stmt(body);
                }
                StmtKind::Foreach(foreach) => $foreach(visitor, foreach),
                StmtKind::Try { body, var, handler } => {
                    visitor.visit_block(body);
                    if let Some(var) = var {
                        visitor.visit_var_ref(var);
                    }
                    visitor.visit_block(handler);
                }
            }
        }

        fn $foreach<V: $Visitor + ?Sized>(visitor: &mut V, foreach: &$($mutable)? Foreach) {
            if let Some(value) = &$($mutable)? foreach.value {
                visitor.visit_var_ref(value);
            }
            for key in &$($mutable)? foreach.keys {
                visitor.visit_var_ref(key);
            }
            $indexable(visitor, &$($mutable)? foreach.base);
            if let Some(slice) = &$($mutable)? foreach.slice {
                $subscripts(visitor, slice);
            }
            if let Some(limit) = &$($mutable)? foreach.limit {
                visitor.visit_expr(limit);
            }
            visitor.visit_stmt(&$($mutable)? foreach.body);
        }

        fn $indexable<V: $Visitor + ?Sized>(visitor: &mut V, base: &$($mutable)? Indexable) {
            match base {
                Indexable::Array(array) => visitor.visit_var_ref(array),
                Indexable::Hist(hist) => visitor.visit_hist(hist),
            }
        }

        fn $subscripts<V: $Visitor + ?Sized>(visitor: &mut V, subscripts: &$($mutable)? [Subscript]) {
            for subscript in subscripts {
                match subscript {
                    Subscript::Any(_) => {}
                    Subscript::Value(expr) => visitor.visit_expr(expr),
                }
            }
        }

        /// Visits the aggregate of a histogram.
        pub fn $walk_hist<V: $Visitor + ?Sized>(visitor: &mut V, hist: &$($mutable)? Hist) {
            visitor.visit_expr(&$($mutable)? hist.operand);
        }

        /// Visits what is inside an expression.
        pub fn $walk_expr<V: $Visitor + ?Sized>(visitor: &mut V, expr: &$($mutable)? Expr) {
            match &$($mutable)? expr.kind {
                ExprKind::Number(_)
                | ExprKind::Str(_)
                | ExprKind::Symbol(_)
                | ExprKind::Perf(_)
                | ExprKind::Enum(_)
                | ExprKind::Const(_)
                | ExprKind::ProbeWrite(_)
                | ExprKind::Register { .. }
                | ExprKind::Embedded(_) => {}
                ExprKind::Index { base, keys } => {
                    $indexable(visitor, base);
                    $subscripts(visitor, keys);
                }
                ExprKind::In { keys, base } => {
                    $subscripts(visitor, keys);
                    $indexable(visitor, base);
                }
                ExprKind::Unary { operand, .. }
                | ExprKind::Crement { operand, .. }
                | ExprKind::Defined(operand)
                | ExprKind::Entry(operand)
                | ExprKind::EnumName { operand, .. }
                | ExprKind::Deref { address: operand, .. }
                | ExprKind::Stat { operand, .. }
                | ExprKind::Regex { left: operand, .. } => visitor.visit_expr(operand),
                ExprKind::Binary { left, right, .. } | ExprKind::Assign { left, right, .. } => {
                    visitor.visit_expr(left);
                    visitor.visit_expr(right);
                }
                ExprKind::Ternary { cond, then, otherwise } => {
                    visitor.visit_expr(cond);
                    visitor.visit_expr(then);
                    visitor.visit_expr(otherwise);
                }
                ExprKind::Call { args, .. } => {
                    for arg in args {
                        visitor.visit_expr(arg);
                    }
                }
                ExprKind::Target(target) => {
                    match &$($mutable)? target.root {
                        TargetRoot::Variable(_) | TargetRoot::Special(_) | TargetRoot::Var { .. } => {}
                        TargetRoot::Cast { operand, .. } | TargetRoot::Value(operand) => visitor.visit_expr(operand),
                    }
                    for step in &$($mutable)? target.path {
                        match &$($mutable)? step.kind {
                            PathStepKind::Field(_) => {}
                            PathStepKind::Index(index) => visitor.visit_expr(index),
                        }
                    }
                }
                ExprKind::Print(print) => match &$($mutable)? print.what {
                    PrintWhat::Plain(args) | PrintWhat::Delimited { args, .. } | PrintWhat::Format { args, .. } => {
                        for arg in args {
                            visitor.visit_expr(arg);
                        }
                    }
                    PrintWhat::Hist(hist) => visitor.visit_hist(hist),
                    PrintWhat::Char(arg) => visitor.visit_expr(arg),
                },
            }
        }
    };
}

visitor! {
    /// Reads a tree.
    Visitor, walk_stmt, walk_block, walk_expr, walk_hist, walk_subscripts, walk_indexable, walk_foreach
}

visitor! {
    /// Changes a tree in place.
    VisitorMut, walk_stmt_mut, walk_block_mut, walk_expr_mut, walk_hist_mut,
    walk_subscripts_mut, walk_indexable_mut, walk_foreach_mut, mut
}

/// Gives every node of a copied tree an id of its own.
pub struct Renumber<'a>(pub &'a mut ExprIds);

impl VisitorMut for Renumber<'_> {
    fn visit_expr(&mut self, expr: &mut Expr) {
        expr.id = self.0.fresh();
        walk_expr_mut(self, expr);
    }

    fn visit_hist(&mut self, hist: &mut Hist) {
        hist.id = self.0.fresh();
        walk_hist_mut(self, hist);
    }

    fn visit_var_ref(&mut self, var: &mut VarRef) {
        var.id = self.0.fresh();
    }
}

/// A copy of an expression with ids of its own.
pub fn renumber(expr: &Expr, ids: &mut ExprIds) -> Expr {
    let mut copy = expr.clone();
    Renumber(ids).visit_expr(&mut copy);
    copy
}
