//! The ledger: one memory-mapped block in which the kernel side counts what happened to every hit.
//!
//! Layout of the map [`MAP`] (a one-entry array, value of [`size`] bytes): a [`HEADER`]-byte header whose first
//! word is the session state, then one row of [`CELLS`] 64-bit counters for each program. `hits = run + skipped`,
//! exactly: every program adds one to [`Cell::Hits`] at entry and one to a `Skipped…` cell where it gives up.

/// Name of the map.
pub const MAP: &str = "ledger";
/// Bytes before the first row.
pub const HEADER: u32 = 128;
/// Offset of the session state (32 bits): 0 while probes may run; anything else makes every program return at once.
pub const STATE: u32 = 0;
/// Offset of the session's clock offset (64 bits): CLOCK_REALTIME minus CLOCK_MONOTONIC, in nanoseconds.
pub const REALTIME_OFFSET: u32 = 8;
/// Offset of `target()` (64 bits): process id or 0.
pub const TARGET: u32 = 16;
/// Offset of the process (64 bits) whose hits alone count, or 0: for probes in user code that the kernel cannot limit
/// to a process by itself.
pub const FILTER: u32 = 24;
/// Offset of the number of errors (64 bits) that nothing caught, of both domains: the one past MAXERRORS ends the session
/// where it happens. Not counted where MAXERRORS is 0, and the first one ends it.
pub const ERRORS: u32 = 32;
/// Offset of a word (64 bits) that stays 0: programs take from it a zero that the kernel's verifier does not know.
pub const ZERO: u32 = 56;
/// Offset of the number (64 bits) of programs under way that may sleep: no grace period waits for them. In a cache line of
/// its own, because it changes with every hit.
pub const UNDER_WAY: u32 = 64;
/// Offset of how often the kernel ticks in a second (64 bits): `HZ()`.
pub const HZ: u32 = 72;
/// Counters in a row.
pub const CELLS: u32 = 10;

/// The counters of one program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Cell {
    /// Times the program was entered while the session ran.
    Hits = 0,
    /// Given up because all scratch slots of this CPU were taken.
    SkippedNesting = 1,
    /// Given up because a lock on globals was not to be had.
    SkippedLock = 2,
    /// Handler errors that were raised, not caught, and could not be reported because the ring buffer was full; those
    /// that were reported are counted where their records arrive.
    Errors = 3,
    /// Records that found the ring buffer full.
    Lost = 4,
    /// Reads of memory that faulted.
    Faults = 5,
    /// Strings that were cut to their capacity.
    Truncated = 6,
    /// Array inserts refused because the map was full, and the error caught by the handler.
    Refused = 7,
    /// Stacks of programs that ended before their outermost frame, and not for their length.
    CutStacks = 8,
    /// Given up because a value of the function's entry is asked for, and the entry was not seen.
    SkippedEntry = 9,
}

/// Every cell with its name in reports.
pub const NAMES: [(Cell, &str); 10] = [
    (Cell::Hits, "hits"),
    (Cell::SkippedNesting, "skipped (nesting)"),
    (Cell::SkippedLock, "skipped (lock)"),
    (Cell::SkippedEntry, "skipped (entry not seen)"),
    (Cell::Errors, "unreported errors"),
    (Cell::Lost, "lost records"),
    (Cell::Faults, "faults"),
    (Cell::Truncated, "truncated strings"),
    (Cell::Refused, "refused inserts"),
    (Cell::CutStacks, "incomplete stacks"),
];

/// Offset of a program's counter in the map's value.
pub fn offset(program: u32, cell: Cell) -> u32 {
    HEADER + (program * CELLS + cell as u32) * 8
}

/// Size of the map's value for so many programs.
pub fn size(programs: u32) -> u32 {
    HEADER + programs * CELLS * 8
}
