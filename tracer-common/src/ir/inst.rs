//! Instructions and terminators.

use super::entities::*;
use crate::intrinsic::Intrinsic;
use crate::stat::{HistOp, StatOp};
use alloc::vec::Vec;

/// Arithmetic on longs; all wrap.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`: signed, towards zero; raises on 0; `x / -1` is `-x`.
    Div,
    /// `%`: sign of the dividend; raises on 0; `x % -1` is 0.
    Rem,
    /// `&`
    And,
    /// `|`
    Or,
    /// `^`
    Xor,
    /// `<<`; the count is taken modulo 64.
    Shl,
    /// `>>`: arithmetic; the count is taken modulo 64.
    Sar,
    /// `>>>`: logical; the count is taken modulo 64.
    Shr,
}

/// Comparison: signed for longs, by unsigned bytes for strings. The result is 0 or 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CmpOp {
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
}

/// Which memory an address belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Space {
    /// Kernel memory.
    Kernel,
    /// Memory of the current process.
    User,
}

/// Width and sign of a value in memory or in a register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Width {
    /// 1, 2, 4 or 8.
    pub bytes: u8,
    /// Whether it is sign-extended to 64 bits.
    pub signed: bool,
}

/// What a read does when the address is bad.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnFault {
    /// Raises [`crate::record::ErrorKind::KernelFault`] or `UserFault`.
    Raise,
    /// Puts 1 into the register (0 when the read went well); the value is 0.
    Flag(Var),
    /// The value is 0, and nobody is told.
    Zero,
}

/// Where a value of the probe context comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// A machine register at the hit, by its DWARF number on x86-64 (0 rax, 1 rdx, 2 rcx, 3 rbx, 4 rsi, 5 rdi, 6 rbp,
    /// 7 rsp, 8..15, 16 the instruction pointer): `pt_regs` contexts only.
    Register(u8),
    /// The n-th word of the context: arguments of tracepoints, and of the traced function in fentry and fexit, where
    /// they are those of the call at its entry.
    Argument(u8),
    /// What the traced function returns: fexit only.
    Result,
}

/// An atomic read-modify-write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UpdateOp {
    /// `+=`, `++`; subtraction adds the negative.
    Add,
    /// `&=`
    And,
    /// `|=`
    Or,
    /// `^=`
    Xor,
}

/// A fact about the probe point that was hit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SiteFact {
    /// `pp()`: the whole probe point.
    ProbePoint,
    /// `probefunc()`, `ppfunc()`: the function's name, "" where there is none.
    Function,
    /// `$$name`: the marker's or tracepoint's name.
    Name,
    /// `$$provider`, `$$system`.
    Provider,
    /// `pn()`: the probe point as the script wrote it.
    Alias,
}

/// A global scalar or array element: `keys` is empty for scalars.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Element {
    /// The global.
    pub global: GlobalId,
    /// One operand for each key, of the types that the global declares.
    pub keys: Vec<Arg>,
}

/// How `foreach` sorts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SortBy {
    /// The n-th key.
    Key(u8),
    /// The value; `@count` for statistics.
    Value,
    /// An extracted number.
    Stat(StatOp),
}

/// One step of a function. Registers named `dest` are written, all others read.
#[expect(missing_docs, reason = "the variant's sentence names its fields")]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Inst {
    /// `dest = value`
    Copy { dest: Var, value: LongOp },
    /// `dest = op left, right`
    Bin { op: BinOp, dest: Var, left: LongOp, right: LongOp },
    /// `dest = left op right`, 0 or 1.
    Cmp { op: CmpOp, dest: Var, left: LongOp, right: LongOp },
    /// Keeps the low `width.bytes` of a value, sign- or zero-extended.
    Extend { dest: Var, value: LongOp, width: Width },
    /// `dest = value`, cut to the capacity of `dest` (counted).
    StrCopy { dest: StrVar, value: StrOp },
    /// Concatenation, cut to the capacity of `dest` (counted). `dest` may be `left`: then it appends.
    StrConcat { dest: StrVar, left: StrOp, right: StrOp },
    /// Comparison by unsigned bytes, 0 or 1.
    StrCmp { op: CmpOp, dest: Var, left: StrOp, right: StrOp },
    /// `dest = intrinsic(args)`: context values, string functions, reads of strings, output.
    Call { intrinsic: Intrinsic, dest: Option<Dest>, args: Vec<Arg> },
    /// `dest = function(args)`. Kernel functions do not recurse.
    CallFunction { function: FuncId, dest: Option<Dest>, args: Vec<Arg> },
    /// A register or argument of the hit, sign- or zero-extended from `width`. Kernel domain.
    Context { dest: Var, source: Source, width: Width },
    /// Reads memory at `address + offset`. Kernel domain.
    Load { dest: Var, space: Space, address: LongOp, offset: i32, width: Width, on_fault: OnFault },
    /// The index of the site that was hit.
    Site { dest: Var },
    /// A fact about the site that was hit.
    SiteText { dest: StrVar, fact: SiteFact },
    /// `name=value name=value …` for the n-th variable list of the site (`$$parms`, `$$vars`, `$$return`), a value
    /// whose flag is not 0 printed as `?`, for 2 as `{...}`, for 3 as `[...]`. User domain.
    VarsText { dest: StrVar, list: u32, values: Vec<(LongOp, LongOp)> },
    /// Reads a scalar or an element; a missing element is 0 or "".
    Get { dest: Dest, element: Element },
    /// Writes a scalar or an element; raises `Overflow` when the array is full.
    Set { element: Element, value: Arg },
    /// Atomic read-modify-write of a long; a missing element counts as 0 and is inserted. `old` receives the value
    /// before, `new` the value after.
    Update { op: UpdateOp, element: Element, value: LongOp, old: Option<Var>, new: Option<Var> },
    /// `keys in global`, 0 or 1. `None` keys match anything.
    Contains { dest: Var, global: GlobalId, keys: Vec<Key> },
    /// Removes an element, if it is there; with `None` keys all that match.
    Delete { global: GlobalId, keys: Vec<Key> },
    /// Empties an array, or resets a scalar to 0, "" or no values.
    Clear { global: GlobalId },
    /// `element <<< value`.
    Aggregate { element: Element, value: LongOp },
    /// Extracts a number; raises `Empty` for all but count and sum when there are no values. In the kernel domain
    /// only where the target kernel can read all CPUs.
    Stat { dest: Var, op: StatOp, global: GlobalId, keys: Vec<Key> },
    /// A bucket of a histogram, from 0; raises `Empty` without values, `HistogramIndex` where there is none. In the
    /// kernel domain as `Stat`, and for what keeps a count.
    Bucket { dest: Var, hist: HistOp, element: Element, index: LongOp },
    /// Prints a histogram. User domain.
    PrintHist { hist: HistOp, element: Element },
    /// A histogram as text (`sprint(@hist_log(x))`). User domain.
    HistText { dest: StrVar, hist: HistOp, element: Element },
    /// `dest = sprintf(format, args)`.
    Format { dest: StrVar, format: FormatId, args: Vec<Arg> },
    /// `printf(format, args)`. User domain.
    Print { format: FormatId, args: Vec<Arg> },
    /// Sends a record; its continuation will run in order. Kernel domain.
    Emit { record: RecordId, values: Vec<Arg> },
    /// Starts visiting an array; the snapshot is taken here. `sort` says by what, and whether ascending. In the kernel
    /// domain only where the target kernel can visit arrays, and under the array's lock.
    Iterate {
        iter: Iter,
        global: GlobalId,
        keys: Vec<Key>,
        sort: Option<(SortBy, bool)>,
        limit: Option<LongOp>,
    },
    /// Starts visiting the buckets of a histogram. User domain.
    IterateHist {
        iter: Iter,
        hist: HistOp,
        element: Element,
        sort: Option<(SortBy, bool)>,
        limit: Option<LongOp>,
    },
    /// The text of the error that led to this catch block.
    Caught { dest: StrVar },
    /// Here the handler begins: what stands before it only looks whether the hit is one for it, and may end it. The
    /// hit is counted, and locks and scratch memory are taken, here; in a handler without it, at its front. Kernel
    /// domain.
    Enter,
    /// Counts one statement against MAXACTION; raises `Action`.
    Tick { count: u32 },
}

/// How a block ends.
#[expect(missing_docs, reason = "the variant's sentence names its fields")]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Term {
    /// To another block.
    Jump(Block),
    /// To `then` when the condition is not 0.
    Branch { condition: LongOp, then: Block, otherwise: Block },
    /// Ends the function. A handler returns nothing; falling off a function's end returns 0 or "".
    Return(Option<Arg>),
    /// `error(message)`.
    Raise(StrOp),
    /// Ends the handler from inside a function it called (`next`).
    Next,
    /// The next element: its keys, its value where asked for, then `body`; `done` when there is none.
    IterNext { iter: Iter, keys: Vec<Dest>, value: Option<Dest>, body: Block, done: Block },
}

impl Inst {
    /// Whether the instruction can leave its block for the catch block.
    pub fn can_raise(&self) -> bool {
        match self {
            Inst::Bin { op, right, .. } => {
                matches!(op, BinOp::Div | BinOp::Rem) && !matches!(right, LongOp::Imm(v) if *v != 0)
            }
            Inst::Load { on_fault, .. } => *on_fault == OnFault::Raise,
            Inst::Call { intrinsic, .. } => intrinsic.can_raise(),
            Inst::CallFunction { .. }
            | Inst::Bucket { .. }
            | Inst::PrintHist { .. }
            | Inst::HistText { .. }
            | Inst::IterateHist { .. }
            | Inst::Tick { .. }
            | Inst::Print { .. }
            | Inst::Format { .. } => true,
            Inst::Set { element, .. } | Inst::Update { element, .. } | Inst::Aggregate { element, .. } => {
                !element.keys.is_empty()
            }
            Inst::Stat { op, .. } => !matches!(op, StatOp::Count | StatOp::Sum),
            Inst::Copy { .. }
            | Inst::Cmp { .. }
            | Inst::Extend { .. }
            | Inst::StrCopy { .. }
            | Inst::StrConcat { .. }
            | Inst::StrCmp { .. }
            | Inst::Context { .. }
            | Inst::Site { .. }
            | Inst::SiteText { .. }
            | Inst::VarsText { .. }
            | Inst::Get { .. }
            | Inst::Contains { .. }
            | Inst::Delete { .. }
            | Inst::Clear { .. }
            | Inst::Emit { .. }
            | Inst::Iterate { .. }
            | Inst::Enter
            | Inst::Caught { .. } => false,
        }
    }
}

impl Inst {
    /// Whether addresses of the process that was hit are named.
    pub fn names_user_addresses(&self) -> bool {
        match self {
            Inst::Call { intrinsic, args, .. } => {
                intrinsic.names_addresses() && args.last() == Some(&Arg::Long(LongOp::Imm(0)))
            }
            _ => false,
        }
    }
}

impl Term {
    /// The blocks that may follow.
    pub fn successors(&self) -> impl Iterator<Item = Block> {
        let (first, second) = match self {
            Term::Jump(block) => (Some(*block), None),
            Term::Branch { then, otherwise, .. } => (Some(*then), Some(*otherwise)),
            Term::IterNext { body, done, .. } => (Some(*body), Some(*done)),
            Term::Return(_) | Term::Raise(_) | Term::Next => (None, None),
        };
        first.into_iter().chain(second)
    }
}
