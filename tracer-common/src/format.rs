//! A parsed `printf` format: literal text and conversions, as both domains print them.

use alloc::vec::Vec;

/// What a format is made of, in order. Two adjacent [`Part::Text`] are legal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// Printed as it is: bytes, since scripts may say `"\xff"`.
    Text(Vec<u8>),
    /// Consumes one argument, plus one for each [`Size::Argument`]; memory may consume several.
    Conversion(Conversion),
}

/// One `%…` directive (`stapfuncs`, "printf").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Conversion {
    /// What is printed.
    pub kind: ConversionKind,
    /// `-`: pad on the right.
    pub left: bool,
    /// `0`: pad numbers with zeros.
    pub zero: bool,
    /// `+`: print the sign of positive numbers.
    pub plus: bool,
    /// ` `: a blank where a sign would be.
    pub space: bool,
    /// `#`: `0x` and the like; for `%m`/`%M` user memory; for `%c`/`%s` escapes.
    pub alternate: bool,
    /// Minimum width.
    pub width: Option<Size>,
    /// Precision: maximum characters of a string, minimum digits of a number.
    pub precision: Option<Size>,
}

impl Conversion {
    /// With no flag, width or precision.
    pub const fn plain(kind: ConversionKind) -> Conversion {
        Conversion {
            kind,
            left: false,
            zero: false,
            plus: false,
            space: false,
            alternate: false,
            width: None,
            precision: None,
        }
    }

    /// How many values it prints: one, but for memory, whose bytes come in longs, the first byte lowest. A precision
    /// tells how many bytes there are, 1 unless told.
    pub fn values(&self) -> usize {
        match self.kind {
            ConversionKind::Memory | ConversionKind::MemoryHex => self.bytes().div_ceil(8).max(1),
            _ => 1,
        }
    }

    /// Bytes of memory that are printed.
    pub fn bytes(&self) -> usize {
        match self.precision {
            Some(Size::Fixed(bytes)) => bytes as usize,
            Some(Size::Argument) | None => 1,
        }
    }
}

/// The widest number that kernel code makes text of: its buffer lies in the frame.
pub const WIDEST_NUMBER: u32 = 30;

impl Conversion {
    /// Whether it is a number with nothing but padding on the left: what kernel code can make text of.
    pub fn is_padded_number(&self) -> bool {
        use ConversionKind::{HexLower, HexUpper, Octal, Signed, Unsigned};
        matches!(self.kind, Signed | Unsigned | HexLower | HexUpper | Octal)
            && matches!(self.width, None | Some(Size::Fixed(0..=WIDEST_NUMBER)))
            && self.precision.is_none()
            && !(self.left || self.plus || self.space || self.alternate)
    }

    /// Whether it is one byte with nothing beside it.
    pub fn is_plain_character(&self) -> bool {
        self.kind == ConversionKind::Character
            && (self.width, self.precision) == (None, None)
            && !(self.left || self.alternate)
    }
}

/// A width or a precision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Size {
    /// Written in the format.
    Fixed(u32),
    /// `*`: taken from the arguments, before the value.
    Argument,
}

/// The conversion letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConversionKind {
    /// `%d`, `%i`.
    Signed,
    /// `%u`.
    Unsigned,
    /// `%x`.
    HexLower,
    /// `%X`.
    HexUpper,
    /// `%o`.
    Octal,
    /// `%p`: as `%#x`.
    Pointer,
    /// `%c`.
    Character,
    /// `%s`.
    String,
    /// `%b`: the value's bytes, width 1, 2, 4 or 8.
    Binary,
    /// `%m`: bytes of memory. The script names an address; what arrives are the bytes ([`Conversion::values`]).
    Memory,
    /// `%M`: the same in hexadecimal.
    MemoryHex,
}

impl ConversionKind {
    /// The letter that users write.
    pub fn letter(self) -> char {
        match self {
            ConversionKind::Signed => 'd',
            ConversionKind::Unsigned => 'u',
            ConversionKind::HexLower => 'x',
            ConversionKind::HexUpper => 'X',
            ConversionKind::Octal => 'o',
            ConversionKind::Pointer => 'p',
            ConversionKind::Character => 'c',
            ConversionKind::String => 's',
            ConversionKind::Binary => 'b',
            ConversionKind::Memory => 'm',
            ConversionKind::MemoryHex => 'M',
        }
    }
}

/// A whole format.
pub type Format = Vec<Part>;
