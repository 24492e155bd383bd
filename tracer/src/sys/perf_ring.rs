//! The ring of a perf event: records that the kernel writes into memory that we share.
//!
//! Records are copied out whole; what the kernel overwrote was told by itself in a record of what was lost.
//!
//! Source: perf_event_open(2), "MMAP layout".
//!
//! **Not here:** what records say (`run::symbols::events`).

use std::io;
use std::os::fd::AsFd;

use super::map_view::MapView;
use super::perf_event::{self, PerfEvent};
use super::process::page_size;

/// Bytes of records; a power of two.
const DATA: usize = 128 << 10;
/// `data_head` and `data_tail` of `struct perf_event_mmap_page`.
const HEAD: usize = 1024;
const TAIL: usize = 1032;
/// Bytes of `struct perf_event_header`: u32 type, u16 misc, u16 size.
const HEADER: usize = 8;

/// An event and its records.
#[derive(Debug)]
pub struct PerfRing {
    view: MapView,
    _event: PerfEvent,
}

impl PerfRing {
    /// What tasks map and execute, on one CPU: of a task and its later children, or of all.
    pub fn mappings(task: Option<u32>, cpu: u32) -> io::Result<PerfRing> {
        let event = perf_event::mappings(task, cpu)?;
        let view = MapView::shared(event.as_fd(), page_size() + DATA)?;
        Ok(PerfRing { view, _event: event })
    }

    /// Takes what there is: each record with its header.
    pub fn take(&mut self, records: &mut Vec<Vec<u8>>) {
        let head = self.view.load(HEAD);
        let mut tail = self.view.load(TAIL);
        while head.wrapping_sub(tail) >= HEADER as u64 {
            let header = self.bytes(tail, HEADER);
            let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            // What is not a record ends this: there is no way to find the next.
            if size < HEADER || size as u64 > head.wrapping_sub(tail) {
                tail = head;
                break;
            }
            records.push(self.bytes(tail, size));
            tail = tail.wrapping_add(size as u64);
        }
        self.view.store(TAIL, tail);
    }

    /// Records are multiples of 8 bytes, and so is where they begin.
    fn bytes(&self, at: u64, count: usize) -> Vec<u8> {
        let words = (0..count.div_ceil(8)).flat_map(|word| {
            let offset = ((at as usize).wrapping_add(word * 8) % DATA) & !7;
            self.view.load(page_size() + offset).to_ne_bytes()
        });
        words.take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::possible_cpus;
    use super::super::testing::root;
    use super::*;

    #[test]
    fn a_child_that_executes_a_program_is_told() {
        if !root() {
            return;
        }
        // SAFETY: takes nothing, returns a number.
        let thread = unsafe { libc::gettid() } as u32;
        let cpus = possible_cpus().expect("CPUs");
        let mut rings: Vec<PerfRing> =
            (0..cpus).filter_map(|cpu| PerfRing::mappings(Some(thread), cpu).ok()).collect();
        assert!(!rings.is_empty());
        let status = std::process::Command::new("/bin/true").status().expect("true");
        assert!(status.success());
        let mut records = Vec::new();
        rings.iter_mut().for_each(|ring| ring.take(&mut records));
        let tells = |record: &Vec<u8>| record.windows(5).any(|bytes| bytes == b"/true");
        assert!(records.iter().any(tells), "{} records", records.len());
        records.clear();
        rings.iter_mut().for_each(|ring| ring.take(&mut records));
        assert!(records.is_empty(), "what was taken is taken");
    }
}
