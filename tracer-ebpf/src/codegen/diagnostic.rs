//! What a program says about itself: why a hit was skipped, a record lost, memory not readable.
//!
//! Diagnostics are records of aya-log in a ring of their own, [`LOGS`], and are made only where the target asks for
//! them (`-v`). All but the moment is known at compile time, so each is one constant and one call. A program says each
//! thing a few times only; the ledger counts all of them.
//!
//! **Not here:** the counts (`ledger`), script errors and output (`select::record`), reading (`tracer::run::logs`).

use alloc::vec::Vec;
use tracer_common::ledger::Cell;

/// The ring that aya-log reads.
pub const LOGS: &str = "AYA_LOGS";
/// Bytes of the ring: some hundred diagnostics.
pub(super) const RING: u32 = 64 << 10;
/// How often a program says one thing.
pub const REPEATS: u32 = 4;

/// Levels of aya-log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Level {
    Warn = 2,
    Info = 3,
}

/// What a counter's diagnostic says.
pub(super) fn words(cell: Cell) -> Option<(Level, &'static str)> {
    Some(match cell {
        Cell::SkippedNesting => (Level::Warn, "hit skipped: all scratch memory of this CPU is in use"),
        Cell::SkippedLock => (Level::Warn, "hit skipped: a lock on globals was not to be had"),
        Cell::SkippedEntry => (
            Level::Warn,
            "hit skipped: the entry of the function was not seen, and a value of it is asked for",
        ),
        Cell::Lost => (Level::Warn, "record lost: the ring buffer is full (-s makes it larger)"),
        Cell::Refused => (Level::Warn, "element not inserted: the array is full"),
        Cell::Faults => (Level::Info, "memory could not be read"),
        Cell::Truncated => (Level::Info, "string cut to its capacity (-D MAXSTRINGLEN makes it larger)"),
        Cell::CutStacks => {
            (Level::Info, "a stack was cut: its unwind information or its memory was not there")
        }
        // Reported where they arrive, or counted because nothing could be sent.
        Cell::Hits | Cell::Errors => return None,
    })
}

/// A record as aya-log 0.3 reads it: its length in 16 bits, then fields of a tag, a length in 16 bits and bytes: target,
/// level, module, file, line, number of arguments; then the one argument, a text.
pub fn record(level: u8, module: &str, file: &str, line: u32, message: &str) -> Vec<u8> {
    let mut record = Vec::from([0; 2]);
    let mut field = |tag: u8, value: &[u8]| {
        // Names and texts are a script's and may be of any length.
        let value = &value[..value.len().min(1024)];
        record.push(tag);
        record.extend((value.len() as u16).to_le_bytes());
        record.extend(value);
    };
    // A cut text must still be UTF-8: aya-log refuses others.
    let ascii = |text: &str| -> Vec<u8> {
        text.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c as u8 } else { b'?' }).collect()
    };
    field(0, b"tracer");
    field(1, &[level]);
    field(2, &ascii(module));
    field(3, &ascii(file));
    field(4, &line.to_le_bytes());
    field(5, &1u32.to_le_bytes());
    field(20, &ascii(message));
    let length = record.len() as u16;
    record[..2].copy_from_slice(&length.to_le_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya_log_common::{Argument, Field, Header, Level as Theirs};

    #[test]
    fn records_are_those_of_aya_log() {
        let mut wanted = Vec::from([0; 2]);
        let mut write = |bytes: &[u8]| -> Option<()> {
            wanted.extend(bytes);
            Some(())
        };
        let header = Header::new("tracer", Theirs::Warn, "p0", "t.stp", 7, 1).expect("short fields");
        header.with_bytes(&mut write).expect("room");
        let (kind, value) = "lost".as_argument();
        Field::new(kind, value).expect("a short field").with_bytes(&mut write).expect("room");
        let length = wanted.len() as u16;
        wanted[..2].copy_from_slice(&length.to_le_bytes());
        assert_eq!(record(Level::Warn as u8, "p0", "t.stp", 7, "lost"), wanted);
    }

    #[test]
    fn any_text_makes_a_record() {
        let long = "é".repeat(5000);
        let bytes = record(3, &long, &long, u32::MAX, &long);
        assert_eq!(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])), bytes.len());
        assert!(bytes.len() < 4096);
    }
}
