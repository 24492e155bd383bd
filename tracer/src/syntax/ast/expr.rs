//! Expressions of the tree, target expressions and the print family included.

use std::sync::Arc;

use crate::source::Span;
use crate::syntax::ast::{Ident, Name, Text};
use crate::syntax::format::Format;

/// A variable named where only a variable may stand: an array, a loop variable, a catch variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VarRef {
    /// Shares the id space of expressions.
    pub id: ExprId,
    /// Its name.
    pub name: Name,
    /// Where.
    pub span: Span,
}

/// Something that can be indexed: an array, or the histogram of an aggregate.
#[derive(Clone, PartialEq, Debug)]
pub enum Indexable {
    /// By name.
    Array(VarRef),
    /// `@hist_log(x)` or `@hist_linear(x, ...)`
    Hist(Box<Hist>),
}

impl Indexable {
    /// Where it was written.
    pub fn span(&self) -> Span {
        match self {
            Indexable::Array(array) => array.span,
            Indexable::Hist(hist) => hist.span,
        }
    }
}

/// One position of an index.
#[derive(Clone, PartialEq, Debug)]
pub enum Subscript {
    /// `*`: any value.
    Any(Span),
    /// A value.
    Value(Expr),
}

/// A histogram of an aggregate.
#[derive(Clone, PartialEq, Debug)]
pub struct Hist {
    /// Shares the id space of expressions.
    pub id: ExprId,
    /// Log or linear.
    pub op: HistOp,
    /// The aggregate.
    pub operand: Expr,
    /// Where.
    pub span: Span,
}

/// The two kinds of histogram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HistOp {
    /// `@hist_log(x)`
    Log,
    /// `@hist_linear(x, low, high, width)`
    Linear { low: i64, high: i64, width: i64 },
}

/// A statistic extracted from an aggregate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum StatOp {
    /// `@count`
    Count,
    /// `@sum`
    Sum,
    /// `@min`
    Min,
    /// `@max`
    Max,
    /// `@avg`
    Avg,
    /// `@variance`
    Variance,
}

impl StatOp {
    /// As written, without the `@`.
    pub fn word(self) -> &'static str {
        match self {
            StatOp::Count => "count",
            StatOp::Sum => "sum",
            StatOp::Min => "min",
            StatOp::Max => "max",
            StatOp::Avg => "avg",
            StatOp::Variance => "variance",
        }
    }
}

/// Names an expression in the side tables of later passes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ExprId(pub u32);

/// Hands out expression ids; one per parse session, so that ids are unique over all its files.
#[derive(Default, Debug)]
pub struct ExprIds(u32);

impl ExprIds {
    /// An id never given before.
    pub fn fresh(&mut self) -> ExprId {
        self.0 += 1;
        ExprId(self.0 - 1)
    }

    /// How many were given: ids run from 0 to one less.
    pub fn count(&self) -> usize {
        self.0 as usize
    }
}

/// An expression.
#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    /// Its key in side tables.
    pub id: ExprId,
    /// Which.
    pub kind: ExprKind,
    /// Where, without surrounding parentheses.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// `42`; above 2^63 it has wrapped.
    Number(i64),
    /// `"text"`
    Str(Text),
    /// A variable, local or global; not a target variable.
    Symbol(Name),
    /// `a[k, *]`, `@hist_log(a)[3]`
    Index { base: Indexable, keys: Vec<Subscript> },
    /// `k in a`, `[k, *] in a`
    In { keys: Vec<Subscript>, base: Indexable },
    /// `-x`
    Unary { op: UnaryOp, operand: Box<Expr> },
    /// `++x`, `x--`
    Crement { op: CrementOp, prefix: bool, operand: Box<Expr> },
    /// `a + b`, `a && b`, `a < b`, `a . b`
    Binary { op: BinaryOp, op_span: Span, left: Box<Expr>, right: Box<Expr> },
    /// `s =~ "pattern"`; negated is `!~`.
    Regex { negated: bool, left: Box<Expr>, pattern: Text, pattern_span: Span },
    /// `cond ? then : otherwise`
    Ternary { cond: Box<Expr>, then: Box<Expr>, otherwise: Box<Expr> },
    /// `a = b`, `a += b`, `a <<< b`
    Assign { op: AssignOp, op_span: Span, left: Box<Expr>, right: Box<Expr> },
    /// `f(x)`
    Call { name: Ident, args: Vec<Expr> },
    /// `$x->y`, `@cast(p, "t")->f`, `p->f`, `&$x`
    Target(Box<TargetExpr>),
    /// `@defined(x)`
    Defined(Box<Expr>),
    /// `@entry(x)`
    Entry(Box<Expr>),
    /// `@perf("counter")`
    Perf(Text),
    /// `@enum("NAME")`
    Enum(Text),
    /// `@enumname(x)`, `@enumname(x, "type", "module")`
    EnumName { operand: Box<Expr>, type_name: Option<Text>, module: Option<Text> },
    /// `@const("C expression")`
    Const(Text),
    /// `@probewrite(global)`
    ProbeWrite(Ident),
    /// `@kregister(n)`, `@uregister(n)`
    Register { user: bool, number: i64 },
    /// `@kderef(size, address)`, `@uderef(size, address)`
    Deref { user: bool, size: i64, address: Box<Expr> },
    /// `@sum(x)`; the shift belongs to `@variance(x, shift)`.
    Stat { op: StatOp, operand: Box<Expr>, shift: Option<i64> },
    /// The print family.
    Print(Box<Print>),
    /// `%{ C %}` as a value or a statement.
    Embedded(Arc<str>),
}

/// Prefix operators.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Neg,
    /// `!`
    Not,
    /// `~`
    BitNot,
}

impl UnaryOp {
    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            UnaryOp::Plus => "+",
            UnaryOp::Neg => "-",
            UnaryOp::Not => "!",
            UnaryOp::BitNot => "~",
        }
    }
}

/// `++` and `--`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CrementOp {
    /// `++`
    Inc,
    /// `--`
    Dec,
}

impl CrementOp {
    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            CrementOp::Inc => "++",
            CrementOp::Dec => "--",
        }
    }
}

/// Infix operators other than assignment, `in`, `?:` and the regex matches. All are left associative.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `&`
    BitAnd,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `<<`
    Shl,
    /// `>>`, arithmetic.
    Shr,
    /// `>>>`, logical.
    Ushr,
    /// `.` joins strings.
    Concat,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
}

impl BinaryOp {
    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            BinaryOp::Or => "||",
            BinaryOp::And => "&&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::BitAnd => "&",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::Shl => "<<",
            BinaryOp::Shr => ">>",
            BinaryOp::Ushr => ">>>",
            BinaryOp::Concat => ".",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
        }
    }
}

/// Assignment operators.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AssignOp {
    /// `=`
    Set,
    /// `<<<`: adds a value to an aggregate.
    Accumulate,
    /// `+=`, `.=` and so on: the operator that is applied first.
    Compound(BinaryOp),
}

impl AssignOp {
    /// As written.
    pub fn word(self) -> String {
        match self {
            AssignOp::Set => "=".to_owned(),
            AssignOp::Accumulate => "<<<".to_owned(),
            AssignOp::Compound(op) => format!("{}=", op.word()),
        }
    }
}

/// A piece of the traced program: a root, steps from it, and what to do with the end.
#[derive(Clone, PartialEq, Debug)]
pub struct TargetExpr {
    /// Where it starts.
    pub root: TargetRoot,
    /// Where the root was written.
    pub root_span: Span,
    /// `->field` and `[index]`, in order.
    pub path: Vec<PathStep>,
    /// `$` or `$$` at the end: the value as text.
    pub pretty: Option<Pretty>,
    /// `&` in front.
    pub address_of: bool,
}

/// Where a target expression starts.
#[derive(Clone, PartialEq, Debug)]
pub enum TargetRoot {
    /// `$name`, kept without the dollar.
    Variable(Name),
    /// `$$vars`, `$$parms`, `$$name` …: kept without the dollars.
    Special(Name),
    /// `@cast(operand, "type", "module")`
    Cast { operand: Expr, type_name: Text, module: Option<Text> },
    /// `@var("name@unit", "module")`: name and compilation unit are split at the `@`.
    Var { name: Text, unit: Option<Text>, module: Option<Text> },
    /// A plain script value that remembers its type: `p->f`, `task_current()->pid`.
    Value(Expr),
}

/// One step from a target value to another.
#[derive(Clone, PartialEq, Debug)]
pub struct PathStep {
    /// Which.
    pub kind: PathStepKind,
    /// From `->` or `[` to its end.
    pub span: Span,
}

/// The kinds of step.
#[derive(Clone, PartialEq, Debug)]
pub enum PathStepKind {
    /// `->name`, for members of structures and of what pointers point to.
    Field(Name),
    /// `[index]`
    Index(Expr),
}

/// How deep a pretty-printed target value goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pretty {
    /// `$`: nested aggregates as `{...}`.
    Shallow,
    /// `$$`: all of it.
    Deep,
}

/// One of `print`, `println`, `printd`, `printdln`, `printf`, `print_char` and their `s` twins.
#[derive(Clone, PartialEq, Debug)]
pub struct Print {
    /// `sprint` …: the text is the value, nothing is printed.
    pub to_string: bool,
    /// `println`, `printdln`: ends in a newline.
    pub newline: bool,
    /// What is printed.
    pub what: PrintWhat,
    /// The function's name in the text.
    pub name: Ident,
}

/// What a print function prints.
#[derive(Clone, PartialEq, Debug)]
pub enum PrintWhat {
    /// `print(a, b)`: values one after the other.
    Plain(Vec<Expr>),
    /// `printd("-", a, b)`: with a literal between them.
    Delimited { delimiter: Text, args: Vec<Expr> },
    /// `printf("...", a, b)`
    Format { format: Format, format_span: Span, args: Vec<Expr> },
    /// `print(@hist_log(x))`
    Hist(Hist),
    /// `print_char(n)`
    Char(Box<Expr>),
}
