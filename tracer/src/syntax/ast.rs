//! The script as plain data: what was written, with a place on every node.
//!
//! Invariants: every [`Expr`], [`VarRef`] and [`Hist`] has its own [`ExprId`], unique within a parse session (the
//! counter [`ExprIds`] goes on over all files), so that later passes keep types and resolutions in side tables.
//! Brace groups in probe points are expanded: `a.{b,c}` arrives as two points `a.b` and `a.c`, their conditions
//! copied under fresh ids. Parentheses are not kept; `print` puts them back where precedence needs them.
//! Macros and `%( %)` conditionals are gone; script arguments are pasted.
//!
//! Declarations and statements are here, expressions in `expr`; both are reached as `ast::Name`.
//!
//! **Not here:** meaning of any kind: no scopes, no types, no arity checks, no lvalue checks (`sema`).

mod expr;

use std::fmt;
use std::sync::Arc;

use crate::source::{FileId, Span};

pub use expr::*;

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
