//! Expressions.

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{BinOp, CmpOp, SiteFact};
use tracer_common::regex::Table;

use super::matched::WORDS;
use super::refused::GURU;

use super::{Body, Builder, fold, word, zero};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Element, Expr, ExprKind, FunctionId, GlobalId, Ty};
use crate::sema::symbols::Node;
use crate::source::Span;
use crate::syntax::ast::{self, AssignOp, BinaryOp, UnaryOp};
use crate::syntax::guru;

/// Names of intrinsics that are facts about the site.
const FACTS: [(&str, SiteFact); 3] = [
    ("__builtin_pp", SiteFact::ProbePoint),
    ("__builtin_pn", SiteFact::Alias),
    ("__builtin_probefunc", SiteFact::Function),
];

impl Builder<'_, '_> {
    /// Builds an expression. `want` is what its surroundings need: a variable without a type learns it.
    pub(super) fn expr(&mut self, expr: &ast::Expr, want: Option<Ty>) -> Expr {
        let span = expr.span;
        let long = |kind| Expr { kind, ty: Ty::Long, span };
        let string = |kind| Expr { kind, ty: Ty::Str, span };
        match &expr.kind {
            ast::ExprKind::Number(n) => long(ExprKind::Number(*n)),
            ast::ExprKind::Str(text) => string(ExprKind::Str(text.clone())),
            ast::ExprKind::Symbol(name) => self.symbol(name, span, want),
            ast::ExprKind::Index { base: ast::Indexable::Array(array), keys } => {
                self.index(array, keys, span, want)
            }
            ast::ExprKind::Index { base: ast::Indexable::Hist(hist), keys } => self.bucket(hist, keys, span),
            ast::ExprKind::In { keys, base: ast::Indexable::Array(array) } => {
                let Some(global) = self.array(array) else { return zero(span) };
                if !self.learn_arity(global, keys.len(), span) {
                    return zero(span);
                }
                self.reads(global);
                let keys = self.subscripts(global, keys);
                long(ExprKind::Contains { global, keys })
            }
            // A bucket is in a histogram when something is in the bucket.
            ast::ExprKind::In { keys, base: ast::Indexable::Hist(hist) } => {
                let (left, right) = (Box::new(self.bucket(hist, keys, span)), Box::new(zero(span)));
                long(ExprKind::Compare { op: CmpOp::Ne, left, right })
            }
            ast::ExprKind::Unary { op, operand } => {
                let inner = self.long(operand);
                match op {
                    UnaryOp::Plus => inner,
                    UnaryOp::Neg => match inner.kind {
                        ExprKind::Number(n) => long(ExprKind::Number(n.wrapping_neg())),
                        _ => long(ExprKind::Neg(Box::new(inner))),
                    },
                    UnaryOp::Not => long(ExprKind::Not(Box::new(inner))),
                    UnaryOp::BitNot => long(ExprKind::BitNot(Box::new(inner))),
                }
            }
            ast::ExprKind::Crement { op, prefix, operand } => {
                let by = if *op == ast::CrementOp::Inc { 1 } else { -1 };
                let Some(place) = self.place(operand, Some(Ty::Long)) else { return zero(span) };
                long(ExprKind::Crement { place, by, prefix: *prefix })
            }
            ast::ExprKind::Binary { op, op_span, left, right } => {
                self.binary(*op, *op_span, left, right, span)
            }
            ast::ExprKind::Regex { negated, left, pattern, pattern_span } => {
                self.check_pattern(pattern, *pattern_span);
                let subject = self.typed(left, Ty::Str);
                let subject = Box::new(subject);
                long(ExprKind::Match { subject, pattern: pattern.clone(), negated: *negated })
            }
            ast::ExprKind::Ternary { cond, then, otherwise } => {
                if fold::mentions_defined(cond)
                    && let Some(known) = fold::truth(self.outcomes, cond)
                {
                    return self.expr(if known { then } else { otherwise }, want);
                }
                if let Some(known) = fold::truth(self.outcomes, cond) {
                    let (alive, dead) = if known { (then, otherwise) } else { (otherwise, then) };
                    let built = self.expr(alive, want);
                    self.in_dead_code(|builder| drop(builder.expr(dead, None)));
                    return built;
                }
                let cond = Box::new(self.long(cond));
                let (then, otherwise) = self.pair(then, otherwise, want, "are the values of one expression");
                let ty = then.ty;
                let (then, otherwise) = (Box::new(then), Box::new(otherwise));
                Expr { kind: ExprKind::Ternary { cond, then, otherwise }, ty, span }
            }
            ast::ExprKind::Assign { op, op_span, left, right } => match op {
                AssignOp::Set => self.assign(left, right, span, want),
                AssignOp::Accumulate => self.accumulate(left, right, span),
                AssignOp::Compound(op) => self.compound(*op, *op_span, left, right, span),
            },
            ast::ExprKind::Call { name, args } => self.call(name, args, span, want),
            ast::ExprKind::Target(target) => self.target(expr, target),
            ast::ExprKind::Defined(_) => {
                let known = fold::truth(self.outcomes, expr).unwrap_or(false);
                long(ExprKind::Number(i64::from(known)))
            }
            ast::ExprKind::Entry(inner) => self.entry(inner, span, want),
            ast::ExprKind::Stat { op, operand, shift } => self.extract(*op, operand, *shift, span),
            ast::ExprKind::Print(print) => self.print(print, span),
            ast::ExprKind::Perf(_) => self.unsupported(span, "@perf"),
            ast::ExprKind::Enum(_) => self.enumerator(expr),
            ast::ExprKind::EnumName { operand, .. } => self.enumerator_name(expr, operand),
            ast::ExprKind::Const(_) => self.enumerator(expr),
            ast::ExprKind::ProbeWrite(_) => self.unsupported(span, "@probewrite"),
            ast::ExprKind::Register { .. } => self.unsupported(span, "@kregister and @uregister"),
            ast::ExprKind::Deref { user, size, address } => self.deref(*user, *size, address, expr),
            ast::ExprKind::Embedded(_) => {
                self.error(guru::embedded(span));
                zero(span)
            }
        }
    }

    /// Says what is wrong with a pattern, at the character where that can be told.
    fn check_pattern(&mut self, pattern: &ast::Text, span: Span) {
        let Err(mistake) = Table::new(pattern.as_bytes()) else { return };
        let verbatim = (span.end - span.start) as usize == pattern.as_bytes().len() + 2;
        let place = if verbatim {
            let at = span.start as usize + 1 + mistake.at;
            Span::new(span.file, at, at + 1)
        } else {
            span
        };
        self.error(Diagnostic::error(
            Code::Pattern,
            place,
            format!("{} in a regular expression", mistake.what),
        ));
    }

    fn symbol(&mut self, name: &ast::Name, span: Span, want: Option<Ty>) -> Expr {
        let Some(global) = self.global(name) else {
            let id = self.local(name);
            if self.dead == 0 && !(self.is_library)(self.file) {
                self.read_at.entry(id).or_insert(span);
            }
            if let (Some(want), None) = (want, self.locals[id.0 as usize].ty.ty()) {
                self.learn_local(id, want, span);
            }
            let ty = self.locals[id.0 as usize].ty.ty().unwrap_or(Ty::Long);
            return Expr { kind: ExprKind::Local(id), ty, span };
        };
        if !self.learn_arity(global, 0, span) {
            return zero(span);
        }
        self.get(global, Vec::new(), span, want)
    }

    fn get(&mut self, global: GlobalId, keys: Vec<Expr>, span: Span, want: Option<Ty>) -> Expr {
        self.reads(global);
        let info = &mut self.symbols.globals[global.0 as usize];
        let name = info.decl.name.name.clone();
        if let Some((_, place)) = info.stats {
            self.error(
                Diagnostic::error(
                    Code::TypeConflict,
                    span,
                    format!("{name} is a statistic and has no single value"),
                )
                .label(place, "used as a statistic here")
                .hint(format!("extract a number: @count({name}), @sum({name}), @avg({name}) …")),
            );
            return zero(span);
        }
        if let (Some(want), None) = (want, info.value.ty()) {
            self.learn_value(global, want, span);
        }
        let ty = self.symbols.globals[global.0 as usize].value.ty().unwrap_or(Ty::Long);
        Expr { kind: ExprKind::Get(Element { global, keys, span }), ty, span }
    }

    fn index(&mut self, array: &ast::VarRef, keys: &[ast::Subscript], span: Span, want: Option<Ty>) -> Expr {
        let Some(global) = self.array(array) else { return zero(span) };
        if !self.learn_arity(global, keys.len(), span) {
            return zero(span);
        }
        let Some(keys) = self.full_keys(global, keys) else { return zero(span) };
        self.get(global, keys, span, want)
    }

    /// The global that an array's name stands for.
    pub(super) fn array(&mut self, array: &ast::VarRef) -> Option<GlobalId> {
        let global = self.global(&array.name);
        if global.is_none() {
            let names: Vec<ast::Name> = self.symbols.global_names.keys().cloned().collect();
            let mut diagnostic =
                Diagnostic::error(Code::UnknownGlobal, array.span, format!("no global array {}", array.name));
            if let Some(hint) = crate::diagnostics::suggest::hint(&array.name, names.iter().map(|n| &**n)) {
                diagnostic = diagnostic.hint(hint);
            }
            self.error(diagnostic.hint(format!("arrays are declared: global {}", array.name)));
        }
        global
    }

    /// Keys that may be `*`.
    pub(super) fn subscripts(&mut self, global: GlobalId, keys: &[ast::Subscript]) -> Vec<Option<Expr>> {
        keys.iter()
            .enumerate()
            .map(|(n, key)| match key {
                ast::Subscript::Any(_) => None,
                ast::Subscript::Value(key) => Some(self.key(global, n, key)),
            })
            .collect()
    }

    /// Keys, none of which may be `*`.
    pub(super) fn full_keys(&mut self, global: GlobalId, keys: &[ast::Subscript]) -> Option<Vec<Expr>> {
        let mut out = Vec::with_capacity(keys.len());
        for (n, key) in keys.iter().enumerate() {
            match key {
                ast::Subscript::Any(span) => {
                    self.error(Diagnostic::error(
                        Code::Misplaced,
                        *span,
                        "* stands only in foreach, in, delete and extractors",
                    ));
                    return None;
                }
                ast::Subscript::Value(key) => out.push(self.key(global, n, key)),
            }
        }
        Some(out)
    }

    fn key(&mut self, global: GlobalId, n: usize, key: &ast::Expr) -> Expr {
        let cell = |s: &Self| {
            s.symbols.globals[global.0 as usize].keys.as_ref().and_then(|(k, _)| k.get(n).copied())
        };
        let known = cell(self).and_then(crate::sema::symbols::Cell::ty);
        match known {
            Some(ty) => {
                let built = self.expr(key, Some(ty));
                if let Some(found) = self.type_of(&built, key)
                    && found != ty
                {
                    self.learn_key(global, n, found, key.span);
                }
                Expr { ty, ..built }
            }
            None => {
                let built = self.expr(key, None);
                if let Some(ty) = self.type_of(&built, key) {
                    self.learn_key(global, n, ty, key.span);
                }
                built
            }
        }
    }

    pub(super) fn learn_key(&mut self, global: GlobalId, n: usize, ty: Ty, span: Span) {
        let info = &mut self.symbols.globals[global.0 as usize];
        let name = format!("key {} of {}", n + 1, info.decl.name.name);
        let Some((keys, _)) = &mut info.keys else { return };
        let Some(cell) = keys.get_mut(n) else { return };
        match cell.learn(ty, span) {
            Ok(news) => self.news(news, Node::Global(global)),
            Err(place) => self.conflict(&name, ty, span, place),
        }
    }

    fn binary(
        &mut self,
        op: BinaryOp,
        op_span: Span,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Expr {
        let long = |kind| Expr { kind, ty: Ty::Long, span };
        match op {
            BinaryOp::And | BinaryOp::Or => {
                let (left, right) = (Box::new(self.long(left)), Box::new(self.long(right)));
                long(if op == BinaryOp::And { ExprKind::And(left, right) } else { ExprKind::Or(left, right) })
            }
            BinaryOp::Concat => {
                let (left, right) =
                    (Box::new(self.typed(left, Ty::Str)), Box::new(self.typed(right, Ty::Str)));
                Expr { kind: ExprKind::Concat(left, right), ty: Ty::Str, span }
            }
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                let op = match op {
                    BinaryOp::Eq => CmpOp::Eq,
                    BinaryOp::Ne => CmpOp::Ne,
                    BinaryOp::Lt => CmpOp::Lt,
                    BinaryOp::Le => CmpOp::Le,
                    BinaryOp::Gt => CmpOp::Gt,
                    _ => CmpOp::Ge,
                };
                let (left, right) = self.pair(left, right, None, "are compared");
                long(ExprKind::Compare { op, left: Box::new(left), right: Box::new(right) })
            }
            _ => {
                let (left, right) = (self.long(left), self.long(right));
                long(arithmetic(bin_op(op), op_span, left, right))
            }
        }
    }

    fn call(&mut self, name: &ast::Ident, args: &[ast::Expr], span: Span, want: Option<Ty>) -> Expr {
        if let Some((_, fact)) = FACTS.iter().find(|(word, _)| **word == *name.name) {
            return Expr { kind: ExprKind::Fact(*fact), ty: Ty::Str, span };
        }
        if let Some(word) = name.name.strip_prefix("__builtin_")
            && let Some(intrinsic) = Intrinsic::by_name(word)
        {
            return self.intrinsic(intrinsic, args, name.span, span);
        }
        if &*name.name == "error" && args.len() == 1 {
            let message = Box::new(self.typed(&args[0], Ty::Str));
            return Expr { kind: ExprKind::Raise(message), ty: Ty::Long, span };
        }
        let library = self.is_library;
        let Some(function) = self.symbols.function(&name.name, args.len(), self.file, library) else {
            if WORDS.contains(&(&*name.name, args.len())) {
                return self.asked(args, span);
            }
            // What is wrong with them may be what the function should have been.
            let errors = self.errors.len();
            args.iter().for_each(|arg| drop(self.expr(arg, None)));
            self.errors.truncate(errors);
            self.unknown_function(&name.name, args.len(), name.span);
            return zero(span);
        };
        if GURU.contains(&&*name.name)
            && !self.guru
            && !library(self.file)
            && library(self.symbols.functions[function.0 as usize].file)
        {
            self.error(
                Diagnostic::error(
                    Code::NeedsGuru,
                    name.span,
                    format!("{}() changes something outside of the script", name.name),
                )
                .hint("allow it with -g"),
            );
        }
        self.calls(function, span);
        let args = args.iter().enumerate().map(|(n, arg)| self.argument(function, n, arg)).collect();
        let info = &mut self.symbols.functions[function.0 as usize];
        if let (Some(want), None) = (want, info.result.ty()) {
            let news = info.result.learn(want, span) == Ok(true);
            self.news(news, Node::Function(function));
        }
        let ty = self.symbols.functions[function.0 as usize].result.ty().unwrap_or(Ty::Long);
        Expr { kind: ExprKind::Call { function, args }, ty, span }
    }

    /// An argument of a call: what is known of the parameter holds for it, and the other way round.
    fn argument(&mut self, function: FunctionId, n: usize, arg: &ast::Expr) -> Expr {
        let parameter = self.symbols.functions[function.0 as usize].locals[n].ty;
        let before = self.errors.len();
        let value = self.expr(arg, parameter.ty());
        if self.errors.len() > before {
            return value;
        }
        let Some(found) = self.type_of(&value, arg) else { return value };
        let info = &mut self.symbols.functions[function.0 as usize];
        match info.locals[n].ty.learn(found, arg.span) {
            Ok(news) => self.news(news, Node::Function(function)),
            Err(place) => {
                let (function, parameter) = (info.decl.name.name.clone(), info.locals[n].name.clone());
                let wanted = if found == Ty::Long { Ty::Str } else { Ty::Long };
                let message =
                    format!("{function}() takes a {} as {parameter}, found a {}", word(wanted), word(found));
                let known = format!("{parameter} is known as a {} from here", word(wanted));
                let diagnostic = Diagnostic::error(Code::TypeConflict, arg.span, message).label(place, known);
                self.error(self.with_origin(diagnostic, &value, found));
                return Expr { kind: ExprKind::Number(0), ty: wanted, span: arg.span };
            }
        }
        Expr { ty: found, ..value }
    }

    fn entry(&mut self, inner: &ast::Expr, span: Span, want: Option<Ty>) -> Expr {
        if self.body != (Body::Probe { saves: true }) {
            self.error(
                Diagnostic::error(Code::Misplaced, span, "@entry stands only in return probes")
                    .hint("add .return to the probe point"),
            );
            return zero(span);
        }
        let before = std::mem::replace(&mut self.at_entry, true);
        let saved = self.expr(inner, want);
        self.at_entry = before;
        self.save(saved, span)
    }

    /// Evaluates an expression at the function's entry; equal ones once.
    pub(super) fn save(&mut self, saved: Expr, span: Span) -> Expr {
        let ty = saved.ty;
        let known = self.saved.iter().position(|other| other.kind == saved.kind);
        let n = known.unwrap_or_else(|| {
            self.saved.push(saved);
            self.saved.len() - 1
        });
        Expr { kind: ExprKind::Saved(n), ty, span }
    }
}

/// The arithmetic operator of the contract.
pub(super) fn bin_op(op: BinaryOp) -> BinOp {
    match op {
        BinaryOp::BitOr => BinOp::Or,
        BinaryOp::BitXor => BinOp::Xor,
        BinaryOp::BitAnd => BinOp::And,
        BinaryOp::Shl => BinOp::Shl,
        BinaryOp::Shr => BinOp::Sar,
        BinaryOp::Ushr => BinOp::Shr,
        BinaryOp::Sub => BinOp::Sub,
        BinaryOp::Mul => BinOp::Mul,
        BinaryOp::Div => BinOp::Div,
        BinaryOp::Mod => BinOp::Rem,
        _ => BinOp::Add,
    }
}

/// Arithmetic, done at once when both sides are numbers and it cannot fail.
fn arithmetic(op: BinOp, op_span: Span, left: Expr, right: Expr) -> ExprKind {
    if let (ExprKind::Number(a), ExprKind::Number(b)) = (&left.kind, &right.kind) {
        let (a, b) = (*a, *b);
        let value = match op {
            BinOp::Add => Some(a.wrapping_add(b)),
            BinOp::Sub => Some(a.wrapping_sub(b)),
            BinOp::Mul => Some(a.wrapping_mul(b)),
            BinOp::Div => (b != 0).then(|| a.wrapping_div(b)),
            BinOp::Rem => (b != 0).then(|| a.wrapping_rem(b)),
            BinOp::And => Some(a & b),
            BinOp::Or => Some(a | b),
            BinOp::Xor => Some(a ^ b),
            BinOp::Shl => Some(a.wrapping_shl(b as u32 & 63)),
            BinOp::Sar => Some(a.wrapping_shr(b as u32 & 63)),
            BinOp::Shr => Some(((a as u64).wrapping_shr(b as u32 & 63)) as i64),
        };
        if let Some(value) = value {
            return ExprKind::Number(value);
        }
    }
    ExprKind::Binary { op, op_span, left: Box::new(left), right: Box::new(right) }
}
