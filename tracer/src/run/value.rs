//! Values as the user domain holds them.

use std::cmp::Ordering;

/// A long or a string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Value {
    /// 64 bits.
    Long(i64),
    /// Bytes, no NUL.
    Str(Vec<u8>),
}

impl Value {
    /// The number; a string counts as 0, which verified IR never asks for.
    pub fn long(&self) -> i64 {
        match self {
            Value::Long(value) => *value,
            Value::Str(_) => 0,
        }
    }

    /// The bytes; a number has none.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Value::Long(_) => b"",
            Value::Str(bytes) => bytes,
        }
    }

    /// Order within one type: signed numbers, unsigned bytes.
    pub fn order(&self, other: &Value) -> Ordering {
        self.cmp(other)
    }
}
