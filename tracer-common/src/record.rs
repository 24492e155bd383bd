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
//! [`ERROR`] carries three longs: the place (index into `ir::Module::places`), an [`ErrorKind`], and one
//! argument (an address for faults); an [`ErrorKind::Message`] carries a string after them.
//! [`EXIT`] carries nothing: `exit()` was called.

/// Name of the ring-buffer map.
pub const MAP: &str = "records";
/// Bytes of the header.
pub const HEADER: u32 = 8;
/// Record number of a handler error.
pub const ERROR: u16 = 0xffff;
/// Record number of `exit()`.
pub const EXIT: u16 = 0xfffe;

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
}

impl ErrorKind {
    /// The kind behind a number on the wire.
    pub fn from_wire(number: u64) -> Option<ErrorKind> {
        [
            ErrorKind::Division,
            ErrorKind::KernelFault,
            ErrorKind::UserFault,
            ErrorKind::Overflow,
            ErrorKind::Empty,
            ErrorKind::Message,
            ErrorKind::Action,
            ErrorKind::Nesting,
            ErrorKind::HistogramIndex,
        ]
        .into_iter()
        .find(|kind| *kind as u64 == number)
    }
}
