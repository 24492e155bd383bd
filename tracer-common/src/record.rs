//! Ring-buffer records: what the kernel side sends.
//!
//! All fields are little-endian, 8-byte aligned, and written in full before the record is submitted.
//!
//! ```text
//! 0   u16  record      index into `ir::Module::records`, or ERROR or EXIT
//! 2   u16  program     index into `manifest::Manifest::programs`
//! 4   u32  site        index into `manifest::Manifest::sites`
//! 8   …    fields, in the order of `ir::RecordDef::fields`:
//!          long    8 bytes
//!          string  u32 length without NUL, u32 slot: bytes that follow, a multiple of 8, >= length; then `slot` bytes
//! ```
//!
//! [`ERROR`] carries two longs: [`error_word`] (the place and the [`ErrorKind`]), and one argument (an address for
//! faults); an [`ErrorKind::Message`] carries a string after them. Its site may be [`NO_SITE`]: asking for it would
//! cost every handler that can fail.
//! [`EXIT`] carries nothing: `exit()` was called.
//! [`FILE`] carries three longs: a process, an address in it, and the inode of the file that is mapped there, whose
//! unwind table is not known. It is sent once for each inode.

use crate::ir::{Module, Place, Space, Width};
use crate::limits::Limits;
use alloc::format;
use alloc::string::String;

/// Bits of a user-space address on x86-64, at most: what is larger in a backtrace is something else.
pub const USER_BITS: u32 = 56;

/// Name of the ring-buffer map.
pub const MAP: &str = "records";
/// Bytes of the header.
pub const HEADER: u32 = 8;
/// Record number of a handler error.
pub const ERROR: u16 = 0xffff;
/// Record number of `exit()`.
pub const EXIT: u16 = 0xfffe;
/// Record number of a file whose unwind table is wanted.
pub const FILE: u16 = 0xfffd;

/// The site of a record that does not say where it came from.
pub const NO_SITE: u32 = u32::MAX;
/// Places that an error word can name.
pub const PLACES: u32 = 1 << 24;

/// The first long of an [`ERROR`] record: the place (index into `ir::Module::places`) in the low 24 bits, the kind
/// above. Places past [`PLACES`] are given as the last one.
pub fn error_word(place: u32, kind: ErrorKind) -> i32 {
    (place.min(PLACES - 1) | (kind as u32) << 24) as i32
}

/// Takes an error word apart: place and kind.
pub fn split_error_word(word: u64) -> Option<(u32, ErrorKind)> {
    let kind = ErrorKind::from_wire(word >> 24)?;
    Some((word as u32 & (PLACES - 1), kind))
}

/// Why a handler ended early.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum ErrorKind {
    /// `division by 0`.
    Division = 1,
    /// A read of kernel memory faulted; the argument is the address.
    KernelFault = 2,
    /// A read of user memory faulted; the argument is the address.
    UserFault = 3,
    /// An insert found the array full; the argument is the global's index.
    Overflow = 4,
    /// A statistic without values; the argument is the global's index.
    Empty = 5,
    /// `error("…")`: the text follows.
    Message = 6,
    /// `MAXACTION` exceeded.
    Action = 7,
    /// `MAXNESTING` exceeded.
    Nesting = 8,
    /// A histogram index out of range.
    HistogramIndex = 9,
    /// A machine register was asked for where there are none.
    Registers = 10,
    /// A write to user memory faulted; the argument is the address.
    UserWriteFault = 11,
    /// A string could not be read from user memory; the argument is its address.
    UserStringFault = 12,
    /// A string could not be read from kernel memory; the argument is its address.
    KernelStringFault = 13,
    /// Bytes could not be read from user memory; the argument is their address.
    UserBytesFault = 14,
    /// Bytes could not be read from kernel memory; the argument is their address.
    KernelBytesFault = 15,
    /// Wide characters could not be read from user memory; the argument is their address.
    UserWideFault = 16,
    /// A group was asked for, whose number is the argument, and nothing was found.
    GroupOfFailed = 17,
    /// There is no such group; the argument is its number.
    GroupMissing = 18,
    /// The number of groups was asked for, and nothing was found.
    NoGroups = 19,
    /// A moment that 32 bits do not hold, after those that they do.
    TimeFuture = 20,
    /// The same before them.
    TimePast = 21,
    /// A `char` could not be read from kernel memory; the argument is its address.
    KernelCharFault = 22,
    /// A `short`.
    KernelShortFault = 23,
    /// An `int`.
    KernelIntFault = 24,
    /// A `long`.
    KernelLongFault = 25,
    /// A pointer.
    KernelPointerFault = 26,
    /// A file is not loaded in the process; the argument is the number of its path.
    NotLoaded = 27,
}

/// The words for an error of the kernel side, without its place. A [`ErrorKind::Message`] brings its own.
pub fn error_text(module: &Module, kind: ErrorKind, argument: u64) -> String {
    match kind {
        ErrorKind::Division => "division by 0".into(),
        ErrorKind::KernelFault
        | ErrorKind::UserFault
        | ErrorKind::UserWriteFault
        | ErrorKind::UserStringFault
        | ErrorKind::KernelStringFault
        | ErrorKind::UserBytesFault
        | ErrorKind::KernelBytesFault
        | ErrorKind::UserWideFault
        | ErrorKind::KernelCharFault
        | ErrorKind::KernelShortFault
        | ErrorKind::KernelIntFault
        | ErrorKind::KernelLongFault
        | ErrorKind::KernelPointerFault => {
            let (before, after) = kind.around_address().unwrap_or_default();
            format!("{before}{argument:x}{after}")
        }
        ErrorKind::Overflow => match module.globals.get(argument as usize) {
            Some(global) => overflow_text(global.max_entries, &module.limits),
            None => "Array overflow, check MAXMAPENTRIES".into(),
        },
        ErrorKind::Empty => "empty aggregate".into(),
        ErrorKind::Message => String::new(),
        ErrorKind::Action => "MAXACTION exceeded".into(),
        ErrorKind::Nesting => "MAXNESTING exceeded".into(),
        ErrorKind::HistogramIndex => "histogram index out of range".into(),
        ErrorKind::Registers => NO_REGISTERS.into(),
        ErrorKind::GroupOfFailed | ErrorKind::GroupMissing => {
            let (before, after) = kind.around_number().unwrap_or_default();
            format!("{before}{}{after}", argument as i64)
        }
        ErrorKind::NoGroups => "Attempted to get subexpression count from failed match".into(),
        ErrorKind::TimeFuture => "Time too far in the future to be converted".into(),
        ErrorKind::TimePast => "Time too far in the past to be converted".into(),
        ErrorKind::NotLoaded => {
            let path = module.strings.get(argument as usize).map_or(&[][..], |path| path);
            format!("{} is not loaded in this process", String::from_utf8_lossy(path))
        }
    }
}

/// Numbers in kernel memory: their faults and widths.
pub const NUMBERS: [(ErrorKind, Width); 5] = [
    (ErrorKind::KernelCharFault, Width { bytes: 1, signed: true }),
    (ErrorKind::KernelShortFault, Width { bytes: 2, signed: true }),
    (ErrorKind::KernelIntFault, Width { bytes: 4, signed: true }),
    (ErrorKind::KernelLongFault, Width { bytes: 8, signed: true }),
    (ErrorKind::KernelPointerFault, Width { bytes: 8, signed: true }),
];

/// The words for a machine register where there are none.
pub const NO_REGISTERS: &str = "cannot access CPU registers in this context";

/// The words for an insert into a full array: they name the limit that was given.
pub fn overflow_text(max_entries: u32, limits: &Limits) -> String {
    if max_entries == limits.map_entries {
        "Array overflow, check MAXMAPENTRIES".into()
    } else {
        format!("Array overflow, check size limit ({max_entries})")
    }
}

/// An error's words with its place: `division by 0 near operator '/' at t.stp:1:25`.
pub fn near(text: &str, place: Option<&Place>) -> String {
    match place {
        Some(place) => format!("{text} near {}", place.text),
        None => text.into(),
    }
}

impl ErrorKind {
    /// What stands before and behind the address in the text of a fault, as SystemTap 5.6 words it.
    pub fn around_address(self) -> Option<(&'static str, &'static str)> {
        match self {
            ErrorKind::KernelFault | ErrorKind::UserFault => {
                Some(("read fault [man error::fault] at 0x", ""))
            }
            ErrorKind::UserWriteFault => Some(("write fault [man error::fault] at 0x", "")),
            ErrorKind::UserStringFault => Some(("user string copy fault -14 at 0x", " [man error::fault]")),
            ErrorKind::KernelStringFault => Some(("kernel string copy fault at 0x", " [man error::fault]")),
            ErrorKind::UserBytesFault => Some(("Unable to access user space data at 0x", "")),
            ErrorKind::KernelBytesFault => Some(("Unable to access kernel space data at 0x", "")),
            ErrorKind::UserWideFault => Some(("user string copy fault at 0x", " [man error::fault]")),
            ErrorKind::KernelCharFault => Some(("kernel char copy fault at 0x", " [man error::fault]")),
            ErrorKind::KernelShortFault => Some(("kernel short copy fault at 0x", " [man error::fault]")),
            ErrorKind::KernelIntFault => Some(("kernel int copy fault at 0x", " [man error::fault]")),
            ErrorKind::KernelLongFault => Some(("kernel long copy fault at 0x", " [man error::fault]")),
            ErrorKind::KernelPointerFault => Some(("kernel pointer copy fault at 0x", " [man error::fault]")),
            ErrorKind::Division
            | ErrorKind::Overflow
            | ErrorKind::Empty
            | ErrorKind::Message
            | ErrorKind::Action
            | ErrorKind::Nesting
            | ErrorKind::HistogramIndex
            | ErrorKind::Registers
            | ErrorKind::GroupOfFailed
            | ErrorKind::GroupMissing
            | ErrorKind::NoGroups
            | ErrorKind::TimeFuture
            | ErrorKind::TimePast
            | ErrorKind::NotLoaded => None,
        }
    }

    /// What stands before and behind the number in the text of an error that has one.
    pub fn around_number(self) -> Option<(&'static str, &'static str)> {
        if self == ErrorKind::GroupOfFailed {
            return Some(("Attempted to get subexpression ", " from failed match"));
        }
        (self == ErrorKind::GroupMissing).then_some(("Attempted to get nonexistent subexpression ", ""))
    }

    /// The fault of a number.
    pub fn read_fault(space: Space) -> ErrorKind {
        match space {
            Space::Kernel => ErrorKind::KernelFault,
            Space::User => ErrorKind::UserFault,
        }
    }

    /// The fault of a string.
    pub fn string_fault(space: Space) -> ErrorKind {
        match space {
            Space::Kernel => ErrorKind::KernelStringFault,
            Space::User => ErrorKind::UserStringFault,
        }
    }

    /// The fault of bytes, or of wide characters.
    pub fn bytes_fault(space: Space, wide: bool) -> ErrorKind {
        match (space, wide) {
            (Space::Kernel, false) => ErrorKind::KernelBytesFault,
            (Space::Kernel, true) => ErrorKind::KernelStringFault,
            (Space::User, false) => ErrorKind::UserBytesFault,
            (Space::User, true) => ErrorKind::UserWideFault,
        }
    }

    /// All of them.
    pub const ALL: [ErrorKind; 27] = [
        ErrorKind::Division,
        ErrorKind::KernelFault,
        ErrorKind::UserFault,
        ErrorKind::Overflow,
        ErrorKind::Empty,
        ErrorKind::Message,
        ErrorKind::Action,
        ErrorKind::Nesting,
        ErrorKind::HistogramIndex,
        ErrorKind::Registers,
        ErrorKind::UserWriteFault,
        ErrorKind::UserStringFault,
        ErrorKind::KernelStringFault,
        ErrorKind::UserBytesFault,
        ErrorKind::KernelBytesFault,
        ErrorKind::UserWideFault,
        ErrorKind::GroupOfFailed,
        ErrorKind::GroupMissing,
        ErrorKind::NoGroups,
        ErrorKind::TimeFuture,
        ErrorKind::TimePast,
        ErrorKind::KernelCharFault,
        ErrorKind::KernelShortFault,
        ErrorKind::KernelIntFault,
        ErrorKind::KernelLongFault,
        ErrorKind::KernelPointerFault,
        ErrorKind::NotLoaded,
    ];

    /// The kind behind a number on the wire.
    pub fn from_wire(number: u64) -> Option<ErrorKind> {
        ErrorKind::ALL.into_iter().find(|kind| *kind as u64 == number)
    }
}
