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

/// Name of the ring-buffer map.
pub const MAP: &str = "records";
/// Bytes of the header.
pub const HEADER: u32 = 8;
/// Record number of a handler error.
pub const ERROR: u16 = 0xffff;
/// Record number of `exit()`.
pub const EXIT: u16 = 0xfffe;

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
