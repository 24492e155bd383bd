//! The script as plain data: what was written, with a place on every node.
//!
//! Invariants: every [`Expr`], [`VarRef`] and [`Hist`] has its own [`ExprId`], unique within a parse session (the
//! counter [`ExprIds`] goes on over all files), so that later passes keep types and resolutions in side tables.
//! Brace groups in probe points are expanded: `a.{b,c}` arrives as two points `a.b` and `a.c`, their conditions
//! copied under fresh ids. Parentheses are not kept; `print` puts them back where precedence needs them.
//! Macros and `%( %)` conditionals are gone; script arguments are pasted.
//!
//! **Not here:** meaning of any kind: no scopes, no types, no arity checks, no lvalue checks (`sema`).

use std::fmt;
use std::sync::Arc;

use crate::source::{FileId, Span};
use crate::syntax::format::Format;

/// One parsed file: its declarations in the order of the text.
#[derive(Clone, PartialEq, Debug)]
pub struct File {
    /// Where the text is.
    pub id: FileId,
    /// The declarations.
    pub items: Vec<Item>,
}

impl File {
    /// The global and private variables.
    pub fn globals(&self) -> impl Iterator<Item = &Global> {
        self.items.iter().filter_map(|item| if let Item::Global(global) = item { Some(global) } else { None })
    }

    /// The functions.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.items
            .iter()
            .filter_map(|item| if let Item::Function(function) = item { Some(function) } else { None })
    }

    /// The probes.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.items.iter().filter_map(|item| if let Item::Probe(probe) = item { Some(probe) } else { None })
    }

    /// The probe aliases.
    pub fn aliases(&self) -> impl Iterator<Item = &ProbeAlias> {
        self.items.iter().filter_map(|item| if let Item::Alias(alias) = item { Some(alias) } else { None })
    }

    /// Top-level blocks of embedded C.
    pub fn embedded(&self) -> impl Iterator<Item = &Embedded> {
        self.items.iter().filter_map(|item| if let Item::Embedded(code) = item { Some(code) } else { None })
    }
}

/// A top-level declaration.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    /// `global a` or `private a`; a list `global a, b` is one item each.
    Global(Global),
    /// `function f(x) { ... }`
    Function(Function),
    /// `probe point { ... }`
    Probe(Probe),
    /// `probe name = point { ... }`
    Alias(ProbeAlias),
    /// `%{ ... %}`
    Embedded(Embedded),
}

/// Any name in the script.
pub type Name = Arc<str>;

/// A name and where it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ident {
    /// The name.
    pub name: Name,
    /// Where.
    pub span: Span,
}

/// The value of a string literal, escapes resolved, adjacent literals glued. Bytes, since `\xff` is allowed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text(Arc<[u8]>);

impl Text {
    /// A value from bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Text {
        Text(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is UTF-8 (names, paths and types nearly always are).
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether it is `""`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.as_bytes().into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// `global name%[size] = init`.
#[derive(Clone, PartialEq, Debug)]
pub struct Global {
    /// Its name.
    pub name: Ident,
    /// Seen by its own file only.
    pub private: bool,
    /// `%`: a full array drops its oldest entry.
    pub wrap: bool,
    /// `[N]`, above 0.
    pub size: Option<u32>,
    /// `= literal`
    pub init: Option<Literal>,
    /// The comment right above, without its comment marks.
    pub doc: Option<Arc<str>>,
    /// From the name to the end of its size or initialiser.
    pub span: Span,
}

/// A number or a string where only a literal may stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Literal {
    /// Its value.
    pub value: LiteralValue,
    /// Where.
    pub span: Span,
}

/// The two kinds of literal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LiteralValue {
    /// A number; above 2^63 it has wrapped.
    Number(i64),
    /// A string.
    Str(Text),
}

/// `: long` or `: string`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeName {
    /// A 64-bit integer.
    Long,
    /// A string.
    Str,
}

/// `function name:type (params) : priority { body }`.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    /// Its name; several functions may share one (overloads).
    pub name: Ident,
    /// Seen by its own file only.
    pub private: bool,
    /// `: long` after the name.
    pub returns: Option<TypeName>,
    /// What it takes.
    pub params: Vec<Param>,
    /// `:N` after the parameters, above 0; without it a script's function counts as 0, a tapset's as 1.
    pub priority: Option<i64>,
    /// What it does.
    pub body: FunctionBody,
    /// The comment right above, without its comment marks.
    pub doc: Option<Arc<str>>,
    /// The whole declaration.
    pub span: Span,
}

/// One parameter of a function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Param {
    /// Its name.
    pub name: Ident,
    /// `: long` or `: string`.
    pub ty: Option<TypeName>,
}

/// A function is statements or a piece of C.
#[derive(Clone, PartialEq, Debug)]
pub enum FunctionBody {
    /// `{ ... }`
    Block(Block),
    /// `%{ ... %}`: parsed so that pass 2 can refuse it by name.
    Embedded(Embedded),
}

/// `%{ code %}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Embedded {
    /// What stands between the marks.
    pub code: Arc<str>,
    /// From `%{` to `%}`.
    pub span: Span,
}

/// `probe point, point { body }`.
#[derive(Clone, PartialEq, Debug)]
pub struct Probe {
    /// Where to attach: at least one.
    pub points: Vec<ProbePoint>,
    /// The handler.
    pub body: Block,
    /// The comment right above, without its comment marks.
    pub doc: Option<Arc<str>>,
    /// The whole declaration.
    pub span: Span,
}

/// `probe name = points { prologue }`, `probe name += points { epilogue }`, or both blocks with a comma between.
#[derive(Clone, PartialEq, Debug)]
pub struct ProbeAlias {
    /// The names it defines, nearly always one (`probe a = b = points` defines two).
    pub names: Vec<ProbePoint>,
    /// What the names stand for.
    pub points: Vec<ProbePoint>,
    /// Runs before the handler of whoever uses the alias.
    pub prologue: Option<Block>,
    /// Runs after it.
    pub epilogue: Option<Block>,
    /// The comment right above, without its comment marks.
    pub doc: Option<Arc<str>>,
    /// The whole declaration.
    pub span: Span,
}

/// `process("ls").function("main")?`: dotted components and what follows them.
#[derive(Clone, PartialEq, Debug)]
pub struct ProbePoint {
    /// At least one.
    pub components: Vec<ProbePointComponent>,
    /// `?` or `!`: may resolve to nothing.
    pub optional: bool,
    /// `!`: if it resolves, the later points of the list are not tried.
    pub sufficient: bool,
    /// `if (condition)`
    pub condition: Option<Expr>,
    /// From the first component to the end of the condition.
    pub span: Span,
}

/// `name` or `name(literal)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbePointComponent {
    /// As written, wildcards `*` and `**` included.
    pub name: Name,
    /// What stands in parentheses.
    pub arg: Option<Literal>,
    /// Name and argument.
    pub span: Span,
}

/// `{ statements }`.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// In order.
    pub stmts: Vec<Stmt>,
    /// From brace to brace.
    pub span: Span,
}

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub struct Stmt {
    /// Which.
    pub kind: StmtKind,
    /// Without a trailing `;`.
    pub span: Span,
}

/// The kinds of statement. A block of C inside a body is an expression statement of [`ExprKind::Embedded`].
#[derive(Clone, PartialEq, Debug)]
pub enum StmtKind {
    /// `;`
    Null,
    /// `{ ... }`
    Block(Block),
    /// An expression for its effect.
    Expr(Expr),
    /// `if (cond) then else otherwise`
    If { cond: Expr, then: Box<Stmt>, otherwise: Option<Box<Stmt>> },
    /// `while (cond) body`
    While { cond: Expr, body: Box<Stmt> },
    /// `for (init; cond; step) body`; no condition means for ever.
    For { init: Option<Expr>, cond: Option<Expr>, step: Option<Expr>, body: Box<Stmt> },
    /// `foreach (...) body`
    Foreach(Box<Foreach>),
    /// `return value`, inside functions only.
    Return(Option<Expr>),
    /// `next`: leaves the handler, or goes on to the next overload of a function.
    Next,
    /// `break`
    Break,
    /// `continue`
    Continue,
    /// `delete` of an element, a slice, an array or a scalar.
    Delete(Expr),
    /// `try { body } catch (var) { handler }`
    Try { body: Block, var: Option<VarRef>, handler: Block },
}

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

/// `foreach (value = [keys] in base[slice] @sum- limit n) body`.
#[derive(Clone, PartialEq, Debug)]
pub struct Foreach {
    /// `value =`
    pub value: Option<VarRef>,
    /// At least one.
    pub keys: Vec<VarRef>,
    /// What is iterated.
    pub base: Indexable,
    /// `[*, x]` after the array: which part of it.
    pub slice: Option<Vec<Subscript>>,
    /// The one sort mark.
    pub sort: Option<Sort>,
    /// `limit n`
    pub limit: Option<Expr>,
    /// The loop body.
    pub body: Stmt,
}

/// A sort mark in a `foreach`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sort {
    /// What is compared.
    pub by: SortBy,
    /// `+`, not `-`.
    pub ascending: bool,
    /// The mark.
    pub span: Span,
}

/// What a `foreach` sorts by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SortBy {
    /// The mark stands at the array or at the value variable. For aggregates this means the count.
    Value,
    /// The mark stands at this key, from 0.
    Key(usize),
    /// `a @sum-`
    Stat(StatOp),
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
