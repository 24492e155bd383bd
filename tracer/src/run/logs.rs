//! What our own programs tell about themselves, read by aya-log; never script output.
//!
//! Only with `-v`: else no program has the code for it, and there is no ring (`tracer_ebpf::codegen::diagnostic`).
//!
//! **Not here:** the counts of the same events, which every session reports (`ledger`).

use std::sync::{Arc, Mutex, PoisonError};

use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// Lines that have not been shown yet.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Log for Lines {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!(
            "{}: {}: {} ({})",
            record.target(),
            record.level().as_str().to_lowercase(),
            record.args(),
            record.module_path().unwrap_or("?"),
        );
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// The ring of diagnostics.
pub struct Logs {
    logger: EbpfLogger<Lines>,
    lines: Lines,
}

impl Logs {
    /// Opens the ring of a loaded program that has it.
    pub fn of_program(id: u32) -> Result<Logs, String> {
        let lines = Lines::default();
        let logger =
            EbpfLogger::init_from_id_with_logger(id, lines.clone()).map_err(|error| error.to_string())?;
        Ok(Logs { logger, lines })
    }

    /// Takes what has been told since the last time. aya-log panics on a malformed record: nobody but our programs
    /// writes to the ring, and what they write is made by `diagnostic::record`.
    pub fn take(&mut self) -> Vec<String> {
        self.logger.flush();
        std::mem::take(&mut *self.lines.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
