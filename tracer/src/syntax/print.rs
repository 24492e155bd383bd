//! The tree back to text, in one stable form: what `-p1` shows.
//!
//! Invariant: parsing the printed text and printing that gives the same text again. Parentheses stand where
//! precedence needs them; every simple statement ends in `;`; comments are not printed.

use crate::syntax::ast::{
    Block, Expr, ExprKind, File, Foreach, Function, FunctionBody, Global, Hist, HistOp, Indexable, Item,
    Literal, LiteralValue, PathStepKind, Pretty, Print, PrintWhat, ProbeAlias, ProbePoint, SortBy, Stmt,
    StmtKind, Subscript, TargetExpr, TargetRoot, Text, TypeName, VarRef,
};
use crate::syntax::literal::quote;
use crate::syntax::parser::{COMPARE_LEVEL, IN_LEVEL, level};

/// A whole file.
pub fn print_file(file: &File) -> String {
    let mut printer = Printer::default();
    for item in &file.items {
        printer.item(item);
    }
    printer.out
}

/// One expression on one line.
pub fn print_expr(expr: &Expr) -> String {
    let mut printer = Printer::default();
    printer.expr(expr, ANY);
    printer.out
}

/// One probe point on one line.
pub fn print_probe_point(point: &ProbePoint) -> String {
    let mut printer = Printer::default();
    printer.point(point);
    printer.out
}

// How strongly an expression binds, as the parser's levels with room below and above them.
const ANY: u8 = 0;
const TERNARY: u8 = 1;
const INFIX: u8 = 2;
const UNARY: u8 = 20;
const CREMENT: u8 = 21;
const TARGET: u8 = 22;
const PRIMARY: u8 = 23;

fn strength(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::Assign { .. } => ANY,
        ExprKind::Ternary { .. } => TERNARY,
        ExprKind::Binary { op, .. } => INFIX + level(*op),
        ExprKind::In { .. } => INFIX + IN_LEVEL,
        ExprKind::Regex { .. } => INFIX + COMPARE_LEVEL,
        ExprKind::Unary { .. } => UNARY,
        ExprKind::Crement { .. } => CREMENT,
        ExprKind::Target(_) => TARGET,
        ExprKind::Number(_)
        | ExprKind::Str(_)
        | ExprKind::Symbol(_)
        | ExprKind::Index { .. }
        | ExprKind::Call { .. }
        | ExprKind::Defined(_)
        | ExprKind::Entry(_)
        | ExprKind::Perf(_)
        | ExprKind::Enum(_)
        | ExprKind::EnumName { .. }
        | ExprKind::Const(_)
        | ExprKind::ProbeWrite(_)
        | ExprKind::Register { .. }
        | ExprKind::Deref { .. }
        | ExprKind::Stat { .. }
        | ExprKind::Print(_)
        | ExprKind::Embedded(_) => PRIMARY,
    }
}

#[derive(Default)]
struct Printer {
    out: String,
    indent: usize,
}

impl Printer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn line(&mut self) {
        self.out.push('\n');
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
    }

    fn list<T>(&mut self, items: &[T], mut print: impl FnMut(&mut Self, &T)) {
        for (idx, item) in items.iter().enumerate() {
            if idx > 0 {
                self.put(", ");
            }
            print(self, item);
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Global(global) => self.global(global),
            Item::Function(function) => self.function(function),
            Item::Probe(probe) => {
                self.put("probe ");
                self.list(&probe.points, Self::point);
                self.put(" ");
                self.block(&probe.body);
            }
            Item::Alias(alias) => self.alias(alias),
            Item::Embedded(code) => self.embedded(&code.code),
        }
        self.put("\n");
    }

    fn global(&mut self, global: &Global) {
        self.put(if global.private { "private " } else { "global " });
        self.put(&global.name.name);
        if global.wrap {
            self.put("%");
        }
        if let Some(size) = global.size {
            self.put(&format!("[{size}]"));
        }
        if let Some(init) = &global.init {
            self.put(" = ");
            self.literal(init);
        }
    }

    fn function(&mut self, function: &Function) {
        self.put(if function.private { "private function " } else { "function " });
        self.put(&function.name.name);
        self.type_annotation(function.returns);
        self.put(" (");
        self.list(&function.params, |printer, param| {
            printer.put(&param.name.name);
            printer.type_annotation(param.ty);
        });
        self.put(") ");
        if let Some(priority) = function.priority {
            self.put(&format!(": {priority} "));
        }
        match &function.body {
            FunctionBody::Block(block) => self.block(block),
            FunctionBody::Embedded(code) => self.embedded(&code.code),
        }
    }

    fn type_annotation(&mut self, ty: Option<TypeName>) {
        match ty {
            Some(TypeName::Long) => self.put(":long"),
            Some(TypeName::Str) => self.put(":string"),
            None => {}
        }
    }

    fn alias(&mut self, alias: &ProbeAlias) {
        self.put("probe ");
        for name in &alias.names {
            self.point(name);
            self.put(if alias.prologue.is_some() { " = " } else { " += " });
        }
        self.list(&alias.points, Self::point);
        self.put(" ");
        if let Some(prologue) = &alias.prologue {
            self.block(prologue);
        }
        if let Some(epilogue) = &alias.epilogue {
            self.put(if alias.prologue.is_some() { ", " } else { "" });
            self.block(epilogue);
        }
    }

    fn point(&mut self, point: &ProbePoint) {
        for (idx, component) in point.components.iter().enumerate() {
            if idx > 0 {
                self.put(".");
            }
            self.put(&component.name);
            if let Some(arg) = &component.arg {
                self.put("(");
                self.literal(arg);
                self.put(")");
            }
        }
        if point.optional {
            self.put(if point.sufficient { " !" } else { " ?" });
        }
        if let Some(condition) = &point.condition {
            self.put(" if (");
            self.expr(condition, ANY);
            self.put(")");
        }
    }

    fn literal(&mut self, literal: &Literal) {
        match &literal.value {
            LiteralValue::Number(number) => self.put(&number.to_string()),
            LiteralValue::Str(text) => self.text(text),
        }
    }

    fn text(&mut self, text: &Text) {
        self.put(&quote(text.as_bytes()));
    }

    fn embedded(&mut self, code: &str) {
        self.put("%{");
        self.put(code);
        self.put("%}");
    }
}

// Statements.
impl Printer {
    fn block(&mut self, block: &Block) {
        if block.stmts.is_empty() {
            self.put("{ }");
            return;
        }
        self.put("{");
        self.indent += 1;
        for stmt in &block.stmts {
            self.line();
            self.stmt(stmt);
        }
        self.indent -= 1;
        self.line();
        self.put("}");
    }

    /// A statement under another one: a block stays on the line, anything else goes to the next.
    fn body(&mut self, stmt: &Stmt) {
        if let StmtKind::Block(block) = &stmt.kind {
            self.put(" ");
            self.block(block);
        } else {
            self.indent += 1;
            self.line();
            self.stmt(stmt);
            self.indent -= 1;
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Null => self.put(";"),
            StmtKind::Block(block) => self.block(block),
            StmtKind::Expr(expr) => {
                self.expr(expr, ANY);
                self.put(";");
            }
            StmtKind::If { cond, then, otherwise } => {
                self.head("if", cond);
                self.body(then);
                if let Some(otherwise) = otherwise {
                    if matches!(then.kind, StmtKind::Block(_)) {
                        self.put(" else");
                    } else {
                        self.line();
                        self.put("else");
                    }
                    if matches!(otherwise.kind, StmtKind::If { .. }) {
                        self.put(" ");
                        self.stmt(otherwise);
                    } else {
                        self.body(otherwise);
                    }
                }
            }
            StmtKind::While { cond, body } => {
                self.head("while", cond);
                self.body(body);
            }
            StmtKind::For { init, cond, step, body } => {
                self.put("for (");
                for (part, end) in [(init, "; "), (cond, "; "), (step, ")")] {
                    if let Some(expr) = part {
                        self.expr(expr, ANY);
                    }
                    self.put(end);
                }
                self.body(body);
            }
            StmtKind::Foreach(foreach) => self.foreach(foreach),
            StmtKind::Return(None) => self.put("return;"),
            StmtKind::Return(Some(value)) => {
                self.put("return ");
                self.expr(value, ANY);
                self.put(";");
            }
            StmtKind::Next => self.put("next;"),
            StmtKind::Break => self.put("break;"),
            StmtKind::Continue => self.put("continue;"),
            StmtKind::Delete(operand) => {
                self.put("delete ");
                self.expr(operand, ANY);
                self.put(";");
            }
            StmtKind::Try { body, var, handler } => {
                self.put("try ");
                self.block(body);
                self.put(" catch ");
                if let Some(var) = var {
                    self.put(&format!("({}) ", var.name));
                }
                self.block(handler);
            }
        }
    }

    fn head(&mut self, word: &str, cond: &Expr) {
        self.put(word);
        self.put(" (");
        self.expr(cond, ANY);
        self.put(")");
    }

    fn foreach(&mut self, foreach: &Foreach) {
        let mark = |by: SortBy| match foreach.sort {
            Some(sort) if sort.by == by => {
                if sort.ascending {
                    "+"
                } else {
                    "-"
                }
            }
            _ => "",
        };
        self.put("foreach (");
        if let Some(value) = &foreach.value {
            self.put(&format!("{} = ", value.name));
        }
        let bracketed = foreach.keys.len() > 1;
        self.put(if bracketed { "[" } else { "" });
        for (idx, key) in foreach.keys.iter().enumerate() {
            self.put(if idx > 0 { ", " } else { "" });
            self.put(&key.name);
            self.put(mark(SortBy::Key(idx)));
        }
        self.put(if bracketed { "] in " } else { " in " });
        self.indexable(&foreach.base);
        if let Some(slice) = &foreach.slice {
            self.subscripts(slice);
        }
        self.put(mark(SortBy::Value));
        if let Some(sort) = foreach.sort
            && let SortBy::Stat(op) = sort.by
        {
            self.put(&format!(" @{}{}", op.word(), if sort.ascending { "+" } else { "-" }));
        }
        if let Some(limit) = &foreach.limit {
            self.put(" limit ");
            self.expr(limit, ANY);
        }
        self.put(")");
        self.body(&foreach.body);
    }
}

// Expressions.
impl Printer {
    /// An expression where only what binds at least this strongly may stand without parentheses.
    fn expr(&mut self, expr: &Expr, least: u8) {
        if strength(expr) < least {
            self.put("(");
            self.bare_expr(expr);
            self.put(")");
        } else {
            self.bare_expr(expr);
        }
    }

    fn bare_expr(&mut self, expr: &Expr) {
        match &expr.kind {
            // What lies above 2^63 has wrapped: written unsigned, it wraps again.
            ExprKind::Number(number) => self.put(&number.cast_unsigned().to_string()),
            ExprKind::Str(text) => self.text(text),
            ExprKind::Symbol(name) => self.put(name),
            ExprKind::Index { base, keys } => {
                self.indexable(base);
                self.subscripts(keys);
            }
            ExprKind::In { keys, base } => {
                match &keys[..] {
                    [Subscript::Value(key)] => self.expr(key, INFIX + COMPARE_LEVEL),
                    _ => self.subscripts(keys),
                }
                self.put(" in ");
                self.indexable(base);
            }
            ExprKind::Unary { op, operand } => {
                self.put(op.word());
                // `- -x` must not become `--x`.
                let joins =
                    matches!(operand.kind, ExprKind::Unary { .. } | ExprKind::Crement { prefix: true, .. });
                self.expr(operand, if joins { PRIMARY } else { UNARY });
            }
            ExprKind::Crement { op, prefix: true, operand } => {
                self.put(op.word());
                self.expr(operand, TARGET);
            }
            ExprKind::Crement { op, prefix: false, operand } => {
                self.expr(operand, TARGET);
                self.put(op.word());
            }
            ExprKind::Binary { op, left, right, .. } => {
                let strength = INFIX + level(*op);
                // A regex match does not chain with comparisons.
                let chains = !matches!(left.kind, ExprKind::Regex { .. });
                self.expr(left, if chains { strength } else { strength + 1 });
                self.put(&format!(" {} ", op.word()));
                self.expr(right, strength + 1);
            }
            ExprKind::Regex { negated, left, pattern, .. } => {
                self.expr(left, INFIX + COMPARE_LEVEL + 1);
                self.put(if *negated { " !~ " } else { " =~ " });
                self.text(pattern);
            }
            ExprKind::Ternary { cond, then, otherwise } => {
                self.expr(cond, INFIX);
                self.put(" ? ");
                self.expr(then, ANY);
                self.put(" : ");
                self.expr(otherwise, TERNARY);
            }
            ExprKind::Assign { op, left, right, .. } => {
                self.expr(left, TERNARY);
                self.put(&format!(" {} ", op.word()));
                self.expr(right, ANY);
            }
            ExprKind::Call { name, args } => {
                self.put(&name.name);
                self.args("(", args);
            }
            ExprKind::Target(target) => self.target(target),
            ExprKind::Defined(operand) => self.operator("defined", operand),
            ExprKind::Entry(operand) => self.operator("entry", operand),
            ExprKind::Perf(text) => self.text_operator("perf", text),
            ExprKind::Enum(text) => self.text_operator("enum", text),
            ExprKind::Const(text) => self.text_operator("const", text),
            ExprKind::EnumName { operand, type_name, module } => {
                self.put("@enumname(");
                self.expr(operand, ANY);
                self.more_texts(&[type_name, module]);
            }
            ExprKind::ProbeWrite(name) => self.put(&format!("@probewrite({})", name.name)),
            ExprKind::Register { user, number } => {
                self.put(&format!("@{}register({number})", if *user { "u" } else { "k" }));
            }
            ExprKind::Deref { user, size, address } => {
                self.put(&format!("@{}deref({size}, ", if *user { "u" } else { "k" }));
                self.expr(address, ANY);
                self.put(")");
            }
            ExprKind::Stat { op, operand, shift } => {
                self.put(&format!("@{}(", op.word()));
                self.expr(operand, ANY);
                if let Some(shift) = shift {
                    self.put(&format!(", {shift}"));
                }
                self.put(")");
            }
            ExprKind::Print(print) => self.print(print),
            ExprKind::Embedded(code) => self.embedded(code),
        }
    }

    fn operator(&mut self, word: &str, operand: &Expr) {
        self.put(&format!("@{word}("));
        self.expr(operand, ANY);
        self.put(")");
    }

    fn text_operator(&mut self, word: &str, text: &Text) {
        self.put(&format!("@{word}("));
        self.text(text);
        self.put(")");
    }

    /// Further arguments that are given or not, and the closing parenthesis.
    fn more_texts(&mut self, texts: &[&Option<Text>]) {
        for text in texts.iter().copied().flatten() {
            self.put(", ");
            self.text(text);
        }
        self.put(")");
    }

    fn target(&mut self, target: &TargetExpr) {
        if target.address_of {
            self.put("&");
        }
        match &target.root {
            TargetRoot::Variable(name) => self.put(&format!("${name}")),
            TargetRoot::Special(name) => self.put(&format!("$${name}")),
            TargetRoot::Cast { operand, type_name, module } => {
                self.put("@cast(");
                self.expr(operand, ANY);
                self.put(", ");
                self.text(type_name);
                self.more_texts(&[module]);
            }
            TargetRoot::Var { name, unit, module } => {
                let mut text = name.as_bytes().to_vec();
                if let Some(unit) = unit {
                    text.push(b'@');
                    text.extend_from_slice(unit.as_bytes());
                }
                self.put(&format!("@var({}", quote(&text)));
                self.more_texts(&[module]);
            }
            TargetRoot::Value(value) => {
                let first = target.path.first().map(|step| &step.kind);
                // `(x)[1]` is not the array element `x[1]`, and `(x)$` is not the variable `x$`.
                let joins = matches!(value.kind, ExprKind::Symbol(_))
                    && (matches!(first, Some(PathStepKind::Index(_)))
                        || first.is_none() && target.pretty.is_some());
                self.expr(value, if joins { PRIMARY + 1 } else { PRIMARY });
            }
        }
        for step in &target.path {
            match &step.kind {
                PathStepKind::Field(name) => self.put(&format!("->{name}")),
                PathStepKind::Index(index) => {
                    self.put("[");
                    self.expr(index, ANY);
                    self.put("]");
                }
            }
        }
        match target.pretty {
            Some(Pretty::Shallow) => self.put("$"),
            Some(Pretty::Deep) => self.put("$$"),
            None => {}
        }
    }

    fn print(&mut self, print: &Print) {
        self.put(&print.name.name);
        match &print.what {
            PrintWhat::Plain(args) => self.args("(", args),
            PrintWhat::Delimited { delimiter, args } => {
                self.put(&format!("({}", quote(delimiter.as_bytes())));
                self.args(", ", args);
            }
            PrintWhat::Format { format, args, .. } => {
                self.put(&format!("({}", quote(&format.to_text())));
                self.args(if args.is_empty() { "" } else { ", " }, args);
            }
            PrintWhat::Hist(hist) => {
                self.put("(");
                self.hist(hist);
                self.put(")");
            }
            PrintWhat::Char(value) => {
                self.put("(");
                self.expr(value, ANY);
                self.put(")");
            }
        }
    }

    /// Arguments after an opening, and the closing parenthesis.
    fn args(&mut self, open: &str, args: &[Expr]) {
        self.put(open);
        self.list(args, |printer, arg| printer.expr(arg, ANY));
        self.put(")");
    }

    fn subscripts(&mut self, subscripts: &[Subscript]) {
        self.put("[");
        self.list(subscripts, |printer, subscript| match subscript {
            Subscript::Any(_) => printer.put("*"),
            Subscript::Value(expr) => printer.expr(expr, ANY),
        });
        self.put("]");
    }

    fn indexable(&mut self, base: &Indexable) {
        match base {
            Indexable::Array(VarRef { name, .. }) => self.put(name),
            Indexable::Hist(hist) => self.hist(hist),
        }
    }

    fn hist(&mut self, hist: &Hist) {
        self.put(match hist.op {
            HistOp::Log => "@hist_log(",
            HistOp::Linear { .. } => "@hist_linear(",
        });
        self.expr(&hist.operand, ANY);
        if let HistOp::Linear { low, high, width } = hist.op {
            self.put(&format!(", {low}, {high}, {width}"));
        }
        self.put(")");
    }
}
