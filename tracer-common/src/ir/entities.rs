//! Newtyped indices; their `Display` is the text form of the IR.

use core::fmt;

macro_rules! entity {
    ($($(#[$doc:meta])* $name:ident($prefix:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            /// As an index into the table it belongs to.
            pub fn index(self) -> usize { self.0 as usize }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!($prefix, "{}"), self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
    )*};
}

entity! {
    /// A long register of a function.
    Var("v");
    /// A string register of a function.
    StrVar("s");
    /// A basic block of a function; the entry is `b0`.
    Block("b");
    /// An iterator of a function (user domain).
    Iter("i");
    /// A function of the module.
    FuncId("f");
    /// A global of the module.
    GlobalId("g");
    /// A string literal of the module.
    StringId("t");
    /// A `printf` format of the module.
    FormatId("p");
    /// A record definition of the module.
    RecordId("r");
    /// A source place of the module.
    PlaceId("@");
}

/// The type of a value that registers, keys and records can hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ty {
    /// 64 bits.
    Long,
    /// NUL-terminated bytes; the capacity counts the NUL.
    Str(u16),
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ty::Long => f.write_str("long"),
            Ty::Str(capacity) => write!(f, "str<{capacity}>"),
        }
    }
}

/// A long operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LongOp {
    /// A register.
    Var(Var),
    /// A constant.
    Imm(i64),
}

/// A string operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StrOp {
    /// A register.
    Var(StrVar),
    /// A literal.
    Lit(StringId),
}

/// An operand of either type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Arg {
    /// A long.
    Long(LongOp),
    /// A string.
    Str(StrOp),
}

/// A register of either type, where a value is put.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dest {
    /// A long register.
    Long(Var),
    /// A string register.
    Str(StrVar),
}

/// A key position of a slice: a value, or `None` for `*`.
pub type Key = Option<Arg>;

impl From<Var> for LongOp {
    fn from(var: Var) -> LongOp {
        LongOp::Var(var)
    }
}

impl From<i64> for LongOp {
    fn from(value: i64) -> LongOp {
        LongOp::Imm(value)
    }
}

impl From<StrVar> for StrOp {
    fn from(var: StrVar) -> StrOp {
        StrOp::Var(var)
    }
}

impl From<StringId> for StrOp {
    fn from(id: StringId) -> StrOp {
        StrOp::Lit(id)
    }
}

impl From<LongOp> for Arg {
    fn from(op: LongOp) -> Arg {
        Arg::Long(op)
    }
}

impl From<StrOp> for Arg {
    fn from(op: StrOp) -> Arg {
        Arg::Str(op)
    }
}

impl From<Dest> for Arg {
    fn from(dest: Dest) -> Arg {
        match dest {
            Dest::Long(var) => Arg::Long(LongOp::Var(var)),
            Dest::Str(var) => Arg::Str(StrOp::Var(var)),
        }
    }
}

macro_rules! display_either {
    ($($ty:ty { $a:path, $b:path };)*) => {$(
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $a(x) => fmt::Display::fmt(x, f), $b(x) => fmt::Display::fmt(x, f) }
            }
        }
    )*};
}
display_either! {
    LongOp { LongOp::Var, LongOp::Imm };
    StrOp { StrOp::Var, StrOp::Lit };
    Arg { Arg::Long, Arg::Str };
    Dest { Dest::Long, Dest::Str };
}
