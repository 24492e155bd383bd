//! Unwind tables: how a program finds the caller of a place in user code, as maps that both sides know.
//!
//! ```text
//! FILES   inode (its address in the kernel) -> File: where the file's pages begin in INDEX
//! INDEX   for each 256 bytes of a file's code, the last row that begins at or before them; one more at the end
//! ROWS    offset in the file, number of a rule: from there on the rule holds
//! RULES   rules, shared by all files
//! ```
//! A place is named by its offset in the file, which is the same wherever the file is mapped.
//!
//! **Not here:** where rules come from (`tracer::debuginfo`), the walk (`tracer_ebpf::codegen::unwind`).

use crate::layout::{MapKind, MapSpec};
use alloc::string::String;

/// Name of the map of files.
pub const FILES: &str = "cfi_files";
/// Name of the map of pages.
pub const INDEX: &str = "cfi_index";
/// Name of the map of rows.
pub const ROWS: &str = "cfi_rows";
/// Name of the map of rules.
pub const RULES: &str = "cfi_rules";

/// Name of the map of files whose variables are read from other files' probes: number of the path (a string of the module)
/// -> inode, as the kernel has it.
pub const MODULES: &str = "modules";
/// Name of the map of places where such files were last found: address of the task's memory, number -> address of a mapping.
/// Each is only where to look first.
pub const HINTS: &str = "module_hints";

/// Such files, at most.
pub const MODULE_LIMIT: u32 = 256;
/// Places that are remembered.
pub const HINT_LIMIT: u32 = 4096;
/// Files that have a table, at most.
pub const FILE_LIMIT: u32 = 4096;
/// Pages of all files, at most: a power of two.
pub const INDEX_LIMIT: u32 = 1 << 18;
/// Rows of all files, at most: a power of two. Before Linux 5.12 a map's value ends at 4 MiB.
pub const ROW_LIMIT: u32 = 1 << 19;
/// Rules, at most: a power of two.
pub const RULE_LIMIT: u32 = 1 << 14;
/// Bits of the bytes that an entry of [`INDEX`] is for: a search inside takes as many steps.
pub const PAGE_BITS: u32 = 8;
/// Bytes of a [`File`].
pub const FILE_SIZE: u32 = 16;
/// Bytes of a row, and of a rule.
pub const ROW_SIZE: u32 = 8;

/// Words that a rule may name: those that were read below the caller's frame, then registers.
pub mod word {
    /// Words of the window: the last is the return address, below the canonical frame address.
    pub const WINDOW: u8 = 8;
    /// Stack pointer.
    pub const RSP: u8 = 8;
    /// Frame pointer.
    pub const RBP: u8 = 9;
    /// Base register, by which some assembly finds its frame.
    pub const RBX: u8 = 10;
    /// Where functions that align their stack keep the old one; of the innermost frame only.
    pub const R10: u8 = 11;
    /// A register whose value is lost.
    pub const LOST: u8 = 12;
    /// What the frame pointer points to.
    pub const AT_RBP: u8 = 13;
}

/// Kinds of rules.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Nothing is known.
    Unknown = 0,
    /// The canonical frame address is a register and an offset.
    Register = 1,
    /// It is in memory there.
    Memory = 2,
    /// The registers are in a `struct ucontext` on top of the stack: a signal was handled.
    Signal = 3,
    /// There is no caller.
    Outermost = 4,
}

/// How to find the caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rule {
    /// What kind.
    pub kind: Kind,
    /// The word of the register that the frame is found by.
    pub base: u8,
    /// The word with the caller's frame pointer.
    pub rbp: u8,
    /// The word with the caller's base register.
    pub rbx: u8,
    /// What is added to the register.
    pub offset: i32,
}

impl Rule {
    /// Nothing is known.
    pub const UNKNOWN: Rule = Rule::plain(Kind::Unknown, 0);
    /// There is no caller.
    pub const OUTERMOST: Rule = Rule::plain(Kind::Outermost, 0);
    /// A signal's frame.
    pub const SIGNAL: Rule = Rule::plain(Kind::Signal, 0);
    /// The return address is on top of the stack: a function's first instruction.
    pub const ENTRY: Rule = Rule::plain(Kind::Register, 8);

    /// A rule by the stack pointer that leaves registers alone.
    pub const fn plain(kind: Kind, offset: i32) -> Rule {
        Rule { kind, base: word::RSP, rbp: word::RBP, rbx: word::RBX, offset }
    }

    /// As it is in [`RULES`].
    pub fn to_word(self) -> u64 {
        u64::from(self.kind as u8)
            | u64::from(self.base) << 8
            | u64::from(self.rbp) << 16
            | u64::from(self.rbx) << 24
            | u64::from(self.offset as u32) << 32
    }
}

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File {
    /// The entry of [`INDEX`] of its first page.
    pub index: u32,
    /// The number of its first page.
    pub first: u32,
    /// How many pages there are; one entry more is in [`INDEX`].
    pub pages: u32,
}

impl File {
    /// As it is in [`FILES`].
    pub fn to_bytes(self) -> [u8; FILE_SIZE as usize] {
        let mut bytes = [0; FILE_SIZE as usize];
        for (at, number) in [self.index, self.first, self.pages].into_iter().enumerate() {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

/// The map of a name.
pub fn map(name: &str) -> MapSpec {
    let (kind, key_size, value_size, max_entries) = match name {
        FILES => (MapKind::Hash, 8, FILE_SIZE, FILE_LIMIT),
        INDEX => (MapKind::MappedArray, 4, INDEX_LIMIT * 4 + 8, 1),
        MODULES => (MapKind::Hash, 8, 8, MODULE_LIMIT),
        HINTS => (MapKind::LruHash, 16, 8, HINT_LIMIT),
        ROWS => (MapKind::MappedArray, 4, ROW_LIMIT * ROW_SIZE, 1),
        _ => (MapKind::MappedArray, 4, RULE_LIMIT * ROW_SIZE, 1),
    };
    MapSpec { name: String::from(name), kind, key_size, value_size, max_entries }
}
