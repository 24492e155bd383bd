//! The product of pass 2: a typed, resolved program. What `lower` reads, and nothing else.
//!
//! Invariants: every name is an id, every expression has a type, overloads are chosen, constants from `@defined`
//! are folded and the branches they kill are gone, no alias or wildcard is left. A [`Probe`] stands for all its sites:
//! probe points whose handler means the same code (same statements, same [`Access`] for every target variable) are
//! one probe with several sites.
//!
//! String capacities are not here: `lower::capacity` infers them.
//!
//! **Not here:** how to get there (the sibling files), what to make of it (`lower`).

use std::sync::Arc;

use tracer_common::format::Format;
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{BinOp, CmpOp, SiteFact, Space, Width};
use tracer_common::manifest::{ProgramKind, Site};
use tracer_common::stat::{HistOp, StatFields, StatOp};

pub use crate::sema::guard::{Check, Guard};
use crate::source::Span;
use crate::syntax::ast::{Name, Text};

/// Everything pass 2 knows.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Globals of the script and of the tapsets that it uses.
    pub globals: Vec<Global>,
    /// Functions that are called from somewhere.
    pub functions: Vec<Function>,
    /// Probes, in the order of the script.
    pub probes: Vec<Probe>,
    /// All sites; probes refer to them by index.
    pub sites: Vec<Site>,
    /// For `-l` and `-L` only.
    pub listing: Vec<Listed>,
    /// Target variables that cannot be read are 0, instead of an error.
    pub skip_badvars: bool,
    /// The patterns of all searches, each once, when something asks for what they found: searches then remember it.
    pub searched: Vec<Text>,
}

/// What is listed of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Index into [`Program::sites`].
    pub site: u32,
    /// Whether the script named an alias.
    pub alias: bool,
    /// Its target variables: `$name:type`.
    pub targets: Vec<String>,
}

/// Index into [`Program::globals`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct GlobalId(pub u32);

/// Index into [`Program::functions`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FunctionId(pub u32);

/// Index into the locals of a function or probe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LocalId(pub u32);

/// Type of a value. A variable whose type nothing decides is a long.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ty {
    /// 64 bits.
    Long,
    /// Text.
    Str,
}

/// What a global, or an element of it, holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GlobalTy {
    /// A long or a string.
    Value(Ty),
    /// A statistic: the union of what all its extractors ask for.
    Stats(StatFields),
}

/// A global variable.
#[derive(Clone, PartialEq, Debug)]
pub struct Global {
    /// Its name.
    pub name: Name,
    /// Where it was declared.
    pub span: Span,
    /// Types of its keys; empty for a scalar.
    pub keys: Vec<Ty>,
    /// What it holds.
    pub ty: GlobalTy,
    /// Initial value of a scalar; `-G` already applied.
    pub init: Option<Literal>,
    /// `[N]`.
    pub size: Option<u32>,
    /// `%`.
    pub wrap: bool,
    /// Whether some handler reads it, `delete` included, or it is the library's; one that is only written is printed at
    /// the end.
    pub read: bool,
    /// Whether some handler writes it.
    pub written: bool,
}

/// A literal value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Literal {
    /// Of a long.
    Long(i64),
    /// Of a string.
    Str(Text),
}

/// A local variable or parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Local {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: Ty,
}

/// A script function.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    /// Its name.
    pub name: Name,
    /// Where it was declared.
    pub span: Span,
    /// Parameters: the first locals.
    pub params: usize,
    /// Parameters and locals.
    pub locals: Vec<Local>,
    /// What it returns; `None` when no return has a value and nobody uses one.
    pub result: Option<Ty>,
    /// What it does.
    pub body: Vec<Stmt>,
}

/// When a handler runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trigger {
    /// `begin(n)`
    Begin(i64),
    /// `end(n)`
    End(i64),
    /// `error(n)`
    Error(i64),
    /// `timer.*` other than `timer.profile`.
    Timer {
        /// Nanoseconds.
        period: u64,
        /// Nanoseconds of random deviation.
        randomize: u64,
    },
    /// `never`
    Never,
    /// A kernel-domain probe.
    Kernel(ProgramKind),
}

impl Trigger {
    /// Whether the handler runs in the evaluator.
    pub fn is_user(self) -> bool {
        !matches!(self, Trigger::Kernel(_))
    }
}

/// A derived probe with all sites that share its code.
#[derive(Clone, PartialEq, Debug)]
pub struct Probe {
    /// When it runs.
    pub trigger: Trigger,
    /// Where: indices into [`Program::sites`]; at least one.
    pub sites: Vec<u32>,
    /// Place of the probe in the script.
    pub span: Span,
    /// Local variables.
    pub locals: Vec<Local>,
    /// What is tested before any of it.
    pub guard: Guard,
    /// The array of threads that passed a guard that asks for the first time.
    pub begun: Option<GlobalId>,
    /// Prologues, handler, epilogues, `if (condition)` already a test at the front.
    pub body: Vec<Stmt>,
    /// Return probes: expressions to evaluate at the entry of the same sites; [`ExprKind::Saved`] reads them back.
    pub saved: Vec<Expr>,
    /// How the entry of these sites is probed, when `saved` is not empty.
    pub entry: Option<ProgramKind>,
}

impl Probe {
    /// A probe that does nothing, nowhere.
    pub fn new(trigger: Trigger, span: Span) -> Probe {
        Probe {
            trigger,
            sites: Vec::new(),
            span,
            locals: Vec::new(),
            guard: Guard::default(),
            begun: None,
            body: Vec::new(),
            saved: Vec::new(),
            entry: None,
        }
    }
}

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub struct Stmt {
    /// Which.
    pub kind: StmtKind,
    /// Where.
    pub span: Span,
}

/// The kinds of statement.
#[derive(Clone, PartialEq, Debug)]
pub enum StmtKind {
    /// An expression for its effect.
    Expr(Expr),
    /// A group.
    Block(Vec<Stmt>),
    /// `if`
    If {
        /// A long.
        cond: Expr,
        /// When it is not 0.
        then: Vec<Stmt>,
        /// Else.
        otherwise: Vec<Stmt>,
    },
    /// `while`, and `for` whose first expression is a statement of its own before it.
    Loop {
        /// Tested before each round.
        cond: Option<Expr>,
        /// Evaluated after each round, also after `continue`.
        step: Option<Expr>,
        /// The body.
        body: Vec<Stmt>,
    },
    /// `foreach` over an array.
    Foreach(Box<Foreach>),
    /// `return`
    Return(Option<Expr>),
    /// `next`
    Next,
    /// `break`
    Break,
    /// `continue`
    Continue,
    /// `delete` of a whole scalar or array.
    Clear(GlobalId),
    /// `delete` of an element or a slice.
    Delete {
        /// The array.
        global: GlobalId,
        /// Its keys, `None` for `*`.
        keys: Vec<Option<Expr>>,
    },
    /// `try`/`catch`
    Try {
        /// What may fail.
        body: Vec<Stmt>,
        /// Receives the message.
        message: Option<LocalId>,
        /// What then.
        handler: Vec<Stmt>,
    },
}

/// `foreach`.
#[derive(Clone, PartialEq, Debug)]
pub struct Foreach {
    /// Receives the value.
    pub value: Option<LocalId>,
    /// Receive the keys (the bucket index, for a histogram).
    pub keys: Vec<LocalId>,
    /// What is visited.
    pub over: Iterated,
    /// What to sort by, and whether ascending.
    pub sort: Option<(SortBy, bool)>,
    /// At most so many.
    pub limit: Option<Expr>,
    /// The body.
    pub body: Vec<Stmt>,
}

/// What a `foreach` visits.
#[derive(Clone, PartialEq, Debug)]
pub enum Iterated {
    /// An array, or the slice of it that matches; no keys means all of it.
    Array {
        /// The array.
        global: GlobalId,
        /// Slice.
        slice: Vec<Option<Expr>>,
    },
    /// The buckets of a histogram.
    Hist {
        /// Which histogram.
        hist: HistOp,
        /// Of which statistic.
        place: Element,
    },
}

/// What a `foreach` sorts by.
pub use tracer_common::ir::SortBy;

/// A scalar (no keys) or an element.
#[derive(Clone, PartialEq, Debug)]
pub struct Element {
    /// The global.
    pub global: GlobalId,
    /// The keys.
    pub keys: Vec<Expr>,
    /// Where it is named: errors of the array are said to be there.
    pub span: Span,
}

/// Something that can be assigned to.
#[derive(Clone, PartialEq, Debug)]
pub enum Place {
    /// A local.
    Local(LocalId),
    /// A global or an element of one.
    Global(Element),
    /// A target variable (`-g`).
    Target(Target),
}

/// An expression.
#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    /// Which.
    pub kind: ExprKind,
    /// Its type. Expressions without a value ([`ExprKind::Aggregate`], output) say long.
    pub ty: Ty,
    /// Where.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// A number.
    Number(i64),
    /// A string.
    Str(Text),
    /// A local's value.
    Local(LocalId),
    /// A global's or an element's value; missing elements are 0 or "".
    Get(Element),
    /// `[keys] in global`
    Contains {
        /// The array.
        global: GlobalId,
        /// `None` for `*`.
        keys: Vec<Option<Expr>>,
    },
    /// `-x`
    Neg(Box<Expr>),
    /// `~x`
    BitNot(Box<Expr>),
    /// `!x`
    Not(Box<Expr>),
    /// Arithmetic on longs.
    Binary {
        /// Which.
        op: BinOp,
        /// Place of the operator, for division by 0.
        op_span: Span,
        /// Left.
        left: Box<Expr>,
        /// Right.
        right: Box<Expr>,
    },
    /// Two longs or two strings compared.
    Compare {
        /// Which.
        op: CmpOp,
        /// Left.
        left: Box<Expr>,
        /// Right.
        right: Box<Expr>,
    },
    /// `&&`
    And(Box<Expr>, Box<Expr>),
    /// `||`
    Or(Box<Expr>, Box<Expr>),
    /// `.`
    Concat(Box<Expr>, Box<Expr>),
    /// `=~`, `!~`
    Match {
        /// The subject.
        subject: Box<Expr>,
        /// The pattern: POSIX ERE, checked.
        pattern: Text,
        /// `!~`.
        negated: bool,
    },
    /// `c ? a : b`
    Ternary {
        /// Condition.
        cond: Box<Expr>,
        /// When not 0.
        then: Box<Expr>,
        /// Else.
        otherwise: Box<Expr>,
    },
    /// `place = value`; the value is the expression's.
    Assign {
        /// Where to.
        place: Place,
        /// What.
        value: Box<Expr>,
    },
    /// `place op= value` on longs.
    Modify {
        /// Where.
        place: Place,
        /// Operator.
        op: BinOp,
        /// Place of the operator.
        op_span: Span,
        /// Right side.
        value: Box<Expr>,
    },
    /// `place .= value`
    Append {
        /// Where.
        place: Place,
        /// What.
        value: Box<Expr>,
    },
    /// `++` and `--`.
    Crement {
        /// Where.
        place: Place,
        /// 1 or -1.
        by: i64,
        /// Whether the value is the one after.
        prefix: bool,
    },
    /// `element <<< value`
    Aggregate {
        /// Where.
        element: Element,
        /// What.
        value: Box<Expr>,
    },
    /// A call of a script function; the type is its result's.
    Call {
        /// Which.
        function: FunctionId,
        /// With what.
        args: Vec<Expr>,
    },
    /// `__builtin_…`
    Intrinsic {
        /// Which.
        intrinsic: Intrinsic,
        /// With what.
        args: Vec<Expr>,
    },
    /// `error("…")`: raises.
    Raise(Box<Expr>),
    /// A fact about the site: `pp()`, `probefunc()`, `$$name` …
    Fact(SiteFact),
    /// A target variable.
    Target(Target),
    /// The n-th expression that was saved at entry ([`Probe::saved`]).
    Saved(usize),
    /// `@count(a[k])` …
    Stat {
        /// Which number.
        op: StatOp,
        /// Of which statistic.
        global: GlobalId,
        /// `None` for `*`.
        keys: Vec<Option<Expr>>,
    },
    /// `@hist_log(a)[i]`
    Bucket {
        /// Which histogram.
        hist: HistOp,
        /// Of which statistic.
        element: Element,
        /// From 0.
        index: Box<Expr>,
    },
    /// The print family; without a destination it prints, else it is a string.
    Print {
        /// The format: `print(a, b)` and the like have been given one too.
        format: Format,
        /// Its arguments.
        args: Vec<Expr>,
        /// `sprintf` and the like.
        to_string: bool,
    },
    /// `print(@hist_log(x))`; `sprint` when `to_string`. A newline follows for `println`.
    Hist {
        /// Which histogram.
        hist: HistOp,
        /// Of which statistic.
        element: Element,
        /// `println`.
        newline: bool,
        /// `sprint…`.
        to_string: bool,
    },
}

/// A resolved target expression.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// As the script wrote it: `$file->f_path`, for messages.
    pub text: Arc<str>,
    /// What it means.
    pub value: TargetValue,
    /// Values of variable indices, in the order in which [`Access::Dynamic`] numbers them.
    pub indices: Vec<Expr>,
}

/// What a target expression means.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TargetValue {
    /// A long.
    Value(Access),
    /// `$$parms`, `$$vars`, `$$locals`, `$$return`: `name=0x… name=0x…`; the names are `Site::variables[list]`.
    List {
        /// Number of the list.
        list: u32,
        /// One for each name.
        values: Vec<Result<Access, Unlisted>>,
    },
    /// `$x$`, `$x$$`, `$$parms$`: text with structure.
    Pretty {
        /// The text, with values in it.
        parts: Vec<PrettyPart>,
    },
}

/// Why there is no number in a list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unlisted {
    /// It cannot be read: `?`
    Unknown,
    /// It is a structure: `{...}`
    Structure,
    /// It is an array: `[...]`
    Array,
}

/// A piece of a pretty-printed value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PrettyPart {
    /// `{.a=`
    Text(String),
    /// A number in this `printf` format (`%i`, `%#x` …).
    Number(Access, Format),
    /// `"text"` at an address, of so many bytes at the most where that is not 0; the address itself where it cannot be
    /// read.
    Text8(Space, Access, u32),
    /// Text at an address, of so many bytes.
    TextOf(Space, Access, Access),
    /// One of several, by a number.
    Choice {
        /// The number.
        of: Access,
        /// What each number shows; the last may stand for all others. Where none is meant, nothing is shown.
        arms: Vec<(Option<i64>, Vec<PrettyPart>)>,
    },
    /// `[1, 2, 3]`
    Elements {
        /// How many there are.
        length: Access,
        /// The first of them, as many as are shown at the most.
        first: Vec<Vec<PrettyPart>>,
    },
}

impl PrettyPart {
    /// How many values it consists of.
    pub fn count(&self) -> usize {
        match self {
            PrettyPart::Text(_) => 0,
            PrettyPart::Number(..) | PrettyPart::Text8(..) | PrettyPart::TextOf(..) => 1,
            PrettyPart::Choice { arms, .. } => {
                1 + arms.iter().flat_map(|(_, parts)| parts).map(PrettyPart::count).sum::<usize>()
            }
            PrettyPart::Elements { first, .. } => {
                1 + first.iter().flatten().map(PrettyPart::count).sum::<usize>()
            }
        }
    }

    fn accesses<'p>(&'p self, found: &mut Vec<&'p Access>) {
        match self {
            PrettyPart::Text(_) => {}
            PrettyPart::Number(access, _) | PrettyPart::Text8(_, access, _) => found.push(access),
            PrettyPart::TextOf(_, address, length) => found.extend([address, length]),
            PrettyPart::Choice { of, arms } => {
                found.push(of);
                arms.iter().flat_map(|(_, parts)| parts).for_each(|part| part.accesses(found));
            }
            PrettyPart::Elements { length, first } => {
                found.push(length);
                first.iter().flatten().for_each(|part| part.accesses(found));
            }
        }
    }

    fn with_accesses(self, replace: &mut dyn FnMut(Access) -> Access) -> PrettyPart {
        match self {
            PrettyPart::Text(known) => PrettyPart::Text(known),
            PrettyPart::Number(access, format) => PrettyPart::Number(replace(access), format),
            PrettyPart::Text8(space, access, most) => PrettyPart::Text8(space, replace(access), most),
            PrettyPart::TextOf(space, address, length) => {
                PrettyPart::TextOf(space, replace(address), replace(length))
            }
            PrettyPart::Choice { of, arms } => PrettyPart::Choice {
                of: replace(of),
                arms: arms
                    .into_iter()
                    .map(|(value, parts)| {
                        (value, parts.into_iter().map(|part| part.with_accesses(replace)).collect())
                    })
                    .collect(),
            },
            PrettyPart::Elements { length, first } => PrettyPart::Elements {
                length: replace(length),
                first: first
                    .into_iter()
                    .map(|parts| parts.into_iter().map(|part| part.with_accesses(replace)).collect())
                    .collect(),
            },
        }
    }
}

/// How to compute a long at a hit: a tree over registers and memory. Equal trees make equal code.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// A constant.
    Constant(i64),
    /// A register, by DWARF number, extended from its width.
    Register(u8, Width),
    /// A word of the context, extended from its width.
    Argument(u8, Width),
    /// Memory at address + offset.
    Load {
        /// Whose memory.
        space: Space,
        /// Address.
        address: Box<Access>,
        /// Added to it.
        offset: i32,
        /// What is read.
        width: Width,
    },
    /// Two values combined.
    Binary(BinOp, Box<Access>, Box<Access>),
    /// Two values compared, 0 or 1.
    Compare(CmpOp, Box<Access>, Box<Access>),
    /// The low bytes of a value, extended.
    Extend(Box<Access>, Width),
    /// Where offset 0 of a file would be if all of it were mapped as its code is in the process of the hit.
    Module(Arc<str>),
    /// The address of the kernel's structure for the current task.
    Task,
    /// What the thread pointer (`fs`) holds. Only until pass 2 knows where the task keeps it.
    ThreadPointer,
    /// The n-th variable index ([`Target::indices`]).
    Dynamic(u32),
    /// What the n-th saved expression was at entry ([`Probe::saved`]).
    Saved(usize),
    /// What a register held at the entry of the call that the hit is in: kept by a program at the entry.
    Entered(Box<Entered>),
    /// In a return probe: what this was at the entry. Only until the handler is built; then it is [`Access::Saved`].
    AtEntry(Box<Access>),
}

/// A register at the entry of the call that a hit is in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entered {
    /// Its DWARF number.
    pub register: u8,
    /// The first instruction of the function, in the file.
    pub offset: u64,
    /// The same in memory.
    pub address: Access,
    /// The canonical frame address: with the process, what tells calls that are under way apart.
    pub cfa: Access,
}

impl Access {
    /// The same with some leaves replaced.
    pub fn with_leaves(self, leaf: &dyn Fn(Access) -> Access) -> Access {
        if self.parts().next().is_none() {
            return leaf(self);
        }
        self.with_parts(&mut |part| part.with_leaves(leaf))
    }

    /// The same with each of its `parts` replaced.
    pub fn with_parts(self, part: &mut dyn FnMut(Access) -> Access) -> Access {
        let mut inner = |access: Box<Access>| Box::new(part(*access));
        match self {
            Access::Load { space, address, offset, width } => {
                Access::Load { space, address: inner(address), offset, width }
            }
            Access::Binary(op, left, right) => Access::Binary(op, inner(left), inner(right)),
            Access::Compare(op, left, right) => Access::Compare(op, inner(left), inner(right)),
            Access::Extend(value, width) => Access::Extend(inner(value), width),
            Access::AtEntry(value) => Access::AtEntry(inner(value)),
            Access::Entered(entered) => Access::Entered(Box::new(Entered {
                address: part(entered.address),
                cfa: part(entered.cfa),
                ..*entered
            })),
            leaf => leaf,
        }
    }

    /// Whether some leaf, or part, is like this.
    pub fn has(&self, part: &dyn Fn(&Access) -> bool) -> bool {
        part(self) || self.parts().any(|inner| inner.has(part))
    }

    /// What it is made of directly: nothing for a leaf.
    pub fn parts(&self) -> impl Iterator<Item = &Access> {
        let (first, second): (Option<&Access>, Option<&Access>) = match self {
            Access::Load { address: value, .. } | Access::Extend(value, _) | Access::AtEntry(value) => {
                (Some(value), None)
            }
            Access::Binary(_, left, right) | Access::Compare(_, left, right) => (Some(left), Some(right)),
            Access::Entered(entered) => (Some(&entered.address), Some(&entered.cfa)),
            Access::Constant(_)
            | Access::Register(..)
            | Access::Argument(..)
            | Access::Module(_)
            | Access::Task
            | Access::ThreadPointer
            | Access::Dynamic(_)
            | Access::Saved(_) => (None, None),
        };
        first.into_iter().chain(second)
    }
}

impl TargetValue {
    /// All accesses of it.
    pub fn accesses(&self) -> Vec<&Access> {
        match self {
            TargetValue::Value(access) => vec![access],
            TargetValue::List { values, .. } => values.iter().flatten().collect(),
            TargetValue::Pretty { parts } => {
                let mut found = Vec::new();
                parts.iter().for_each(|part| part.accesses(&mut found));
                found
            }
        }
    }

    /// The same with each access replaced.
    pub fn with_accesses(self, replace: &mut dyn FnMut(Access) -> Access) -> TargetValue {
        match self {
            TargetValue::Value(access) => TargetValue::Value(replace(access)),
            TargetValue::List { list, values } => TargetValue::List {
                list,
                values: values.into_iter().map(|value| value.map(&mut *replace)).collect(),
            },
            TargetValue::Pretty { parts } => TargetValue::Pretty {
                parts: parts.into_iter().map(|part| part.with_accesses(replace)).collect(),
            },
        }
    }
}
