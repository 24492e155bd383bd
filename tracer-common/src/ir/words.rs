//! The words that operators, widths and kinds have in the text form; each is read back by the same table.

use super::*;
use crate::stat::StatOp;
use core::fmt;

macro_rules! words {
    ($($ty:ident { $($variant:ident = $word:literal,)* })*) => {$(
        impl $ty {
            /// Every variant, in the order of the declaration.
            pub const ALL: &'static [$ty] = &[$($ty::$variant,)*];
            /// Its word in the text form.
            pub fn word(self) -> &'static str { match self { $($ty::$variant => $word,)* } }
            /// The variant of a word.
            pub fn by_word(word: &str) -> Option<$ty> { match word { $($word => Some($ty::$variant),)* _ => None } }
        }
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.word()) }
        }
    )*};
}

words! {
    BinOp {
        Add = "add",
        Sub = "sub",
        Mul = "mul",
        Div = "div",
        Rem = "rem",
        And = "and",
        Or = "or",
        Xor = "xor",
        Shl = "shl",
        Sar = "sar",
        Shr = "shr",
    }
    CmpOp {
        Eq = "eq",
        Ne = "ne",
        Lt = "lt",
        Le = "le",
        Gt = "gt",
        Ge = "ge",
    }
    UpdateOp {
        Add = "add",
        And = "and",
        Or = "or",
        Xor = "xor",
    }
    Space {
        Kernel = "kernel",
        User = "user",
    }
    SiteFact {
        ProbePoint = "probe_point",
        Function = "function",
        Name = "name",
        Provider = "provider",
        Alias = "alias",
    }
    StatOp {
        Count = "count",
        Sum = "sum",
        Min = "min",
        Max = "max",
        Avg = "avg",
        Variance = "variance",
    }
    Domain {
        Kernel = "kernel",
        User = "user",
    }
    ContextKind {
        None = "none",
        Registers = "registers",
        Words = "words",
        Perf = "perf",
    }
}

impl Width {
    /// The widths that exist, with their words.
    pub const ALL: [(Width, &'static str); 8] = [
        (Width { bytes: 1, signed: false }, "u8"),
        (Width { bytes: 2, signed: false }, "u16"),
        (Width { bytes: 4, signed: false }, "u32"),
        (Width { bytes: 8, signed: false }, "u64"),
        (Width { bytes: 1, signed: true }, "i8"),
        (Width { bytes: 2, signed: true }, "i16"),
        (Width { bytes: 4, signed: true }, "i32"),
        (Width { bytes: 8, signed: true }, "i64"),
    ];

    /// The width of a word.
    pub fn by_word(word: &str) -> Option<Width> {
        Width::ALL.iter().find(|(_, name)| *name == word).map(|(width, _)| *width)
    }

    /// Whether such a value exists: 1, 2, 4 or 8 bytes.
    pub fn is_valid(self) -> bool {
        matches!(self.bytes, 1 | 2 | 4 | 8)
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.signed { 'i' } else { 'u' }, u32::from(self.bytes) * 8)
    }
}
