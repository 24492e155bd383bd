//! The format-neutral words: types and where values are.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

/// A type of one [`Types`] table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TypeId(pub u64);

/// What a type is, qualifiers and typedefs taken off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A number: bytes, and whether signed. Booleans, characters and enumerations too.
    Number {
        /// Size.
        bytes: u8,
        /// Sign.
        signed: bool,
    },
    /// A pointer or reference; to nothing known for `void *`.
    Pointer(Option<TypeId>),
    /// An array with its element type, and its length where it has one.
    Array(TypeId, Option<u64>),
    /// A structure, union or class.
    Aggregate,
    /// Floating point of so many bytes.
    Float(u8),
    /// `void`, a function, something only declared.
    Nothing,
}

/// A member of an aggregate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name; empty when anonymous.
    pub name: String,
    /// Its type.
    pub ty: TypeId,
    /// Offset in bits.
    pub bit_offset: u64,
    /// Width in bits, of a bitfield.
    pub bits: Option<u8>,
}

/// What a type that is one of several holds: which, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variants {
    /// What tells them apart; `None` where there is only one.
    pub discriminant: Option<Member>,
    /// Each with its value; the one without has all other values. Its member has its name.
    pub all: Vec<(Option<i64>, Member)>,
}

/// Elements behind a pointer, as many as a length says: slices, vectors, strings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sequence {
    /// Where the first element is.
    pub data: Member,
    /// How many there are.
    pub length: Member,
    /// Their type.
    pub element: TypeId,
    /// Whether they are a text.
    pub is_text: bool,
}

/// A base class whose place depends on the object (C++): the table of virtual functions, which the object's first word at
/// `within` points to, has the distance of the base from there, so many bytes before its beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VirtualBase {
    /// The class.
    pub ty: TypeId,
    /// Bytes before the part of the object that has it for a base.
    pub within: u64,
    /// Bytes before the table's beginning.
    pub before: u64,
}

/// A table of types.
pub trait Types {
    /// What a type is.
    fn shape(&self, ty: TypeId) -> Shape;
    /// Bytes of a value; 0 where unknown.
    fn size(&self, ty: TypeId) -> u64;
    /// Members of an aggregate, in order.
    fn members(&self, ty: TypeId) -> Vec<Member>;
    /// The type in C: `struct file*`.
    fn name(&self, ty: TypeId) -> String;

    /// The variants of an enumeration with data (Rust).
    fn variants(&self, _ty: TypeId) -> Option<Variants> {
        None
    }

    /// What a slice, a vector or a string consists of (Rust).
    fn sequence(&self, _ty: TypeId) -> Option<Sequence> {
        None
    }

    /// Whether a pointer to it is a reference that an index goes through: `[i]` of a reference to an array (Rust).
    fn is_referred(&self, _ty: TypeId) -> bool {
        false
    }

    /// Base classes that are virtual, of the class itself and of those that it contains (C++).
    fn virtual_bases(&self, _ty: TypeId) -> Vec<VirtualBase> {
        Vec::new()
    }

    /// Whether a pointer is a reference, which stands for what it refers to (C++).
    fn is_reference(&self, _ty: TypeId) -> bool {
        false
    }

    /// Whether it is a character, so that a pointer to it, or an array of it, is a text.
    fn is_character(&self, ty: TypeId) -> bool {
        matches!(self.shape(ty), Shape::Number { bytes: 1, .. })
    }

    /// A member by name, looked for in anonymous members too; its offset is from the outermost.
    fn member(&self, ty: TypeId, name: &str) -> Option<Member> {
        // Every type is looked into once: what it lacks in one place it lacks in all.
        let mut seen = BTreeSet::from([ty]);
        let mut queue = VecDeque::from([(ty, 0)]);
        while let Some((ty, offset)) = queue.pop_front() {
            for member in self.members(ty) {
                let bit_offset = member.bit_offset.wrapping_add(offset);
                if member.name == name {
                    return Some(Member { bit_offset, ..member });
                }
                if member.name.is_empty() && seen.len() < ANONYMOUS && seen.insert(member.ty) {
                    queue.push_back((member.ty, bit_offset));
                }
            }
        }
        None
    }
}

/// Anonymous members that are looked into.
const ANONYMOUS: usize = 1000;

/// Why a variable has no value at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Absence {
    /// The compiler dropped it.
    OptimizedOut,
    /// It lives elsewhere in the function, from this address on.
    NotHere(u64),
    /// Its location uses something that we cannot follow.
    Unsupported(String),
    /// It is where no probe can look.
    Unreadable(String),
    /// For a reason; from this address on it is there.
    Until(Box<Absence>, u64),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absence::OptimizedOut => f.write_str("the compiler optimized it out"),
            Absence::NotHere(address) => write!(f, "it is not live here; it is from 0x{address:x} on"),
            Absence::Unsupported(what) => write!(f, "its location uses {what}, which is not supported yet"),
            Absence::Unreadable(why) => f.write_str(why),
            Absence::Until(why, address) => write!(f, "{why}; it can be read at 0x{address:x}"),
        }
    }
}

/// A step of a location, on a stack of 64-bit values.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LocOp {
    /// Pushes a number.
    Const(i64),
    /// Pushes a machine register (DWARF number) plus an offset.
    Register(u8, i64),
    /// Pushes what a machine register (DWARF number) held at the entry of the function.
    Entered(u8, Entry),
    /// Pushes an address as linked; it moves with the module.
    Address(u64),
    /// Pops an offset in the module's thread-local storage, pushes the address in that of the thread.
    ThreadLocal,
    /// Pops an address, pushes so many bytes from there.
    Deref(u8),
    /// Pops two, pushes their sum.
    Add,
    /// Pops two, pushes the difference: second minus top.
    Sub,
    /// Pops two, pushes the product.
    Mul,
    /// Pops two, pushes the bitwise and.
    And,
    /// Pops two, pushes the bitwise or.
    Or,
    /// Pops two, pushes the bitwise exclusive or.
    Xor,
    /// Pops two, pushes second shifted left.
    Shl,
    /// Pops two, pushes second shifted right, zeros in.
    Shr,
    /// Pops two, pushes second shifted right, sign in.
    Sar,
    /// Negates the top.
    Neg,
    /// Inverts the top.
    Not,
    /// Pushes a copy of the n-th from the top.
    Pick(u8),
    /// Exchanges the two on top.
    Swap,
    /// Drops the top.
    Drop,
    /// Cuts the top to so many bytes and extends it again, with its sign or with zeros.
    Extend(u8, bool),
    /// Pops two signed numbers, pushes 1 when the second stands in this relation to the top, else 0.
    Compare(Relation),
}

/// The call that a place belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The first instruction of the function, as linked.
    pub low: u64,
    /// One past its last.
    pub high: u64,
    /// The canonical frame address at the place: a register (DWARF number) and an offset.
    pub cfa: (u8, i64),
}

/// How two numbers compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Relation {
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// Where a value is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Location {
    /// In memory, at the address that the steps leave.
    Memory(Vec<LocOp>),
    /// In a register.
    Register(u8),
    /// Nowhere: it is the value that the steps leave.
    Value(Vec<LocOp>),
    /// In parts: where each is, unless it was dropped, and its bytes.
    Pieces(Vec<(Option<Location>, u64)>),
    /// A pointer that does not exist any more, to what is in a location, so many bytes further.
    Pointer(Box<Location>, i64),
}
