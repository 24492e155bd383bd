//! Where output goes: buffered standard output or a file, and standard error.
//!
//! Output is flushed when the event loop has nothing left to do. A reader that went away ends the session quietly.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Bytes after which the buffer is written anyway.
const FULL: usize = 1 << 16;

/// Receives what scripts print.
pub trait Sink {
    /// Script output.
    fn print(&mut self, bytes: &[u8]);
    /// A line on standard error: `WARNING: …`, `ERROR: …`.
    fn message(&mut self, line: &str);
    /// Writes what is buffered; false when nobody reads any more.
    fn flush(&mut self) -> bool;
}

/// The real thing.
pub struct Output {
    buffer: Vec<u8>,
    to: Box<dyn Write>,
    closed: bool,
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Output {
        Output { buffer: Vec::new(), to: Box::new(io::stdout()), closed: false }
    }

    /// A file, created or emptied.
    pub fn file(path: &Path) -> io::Result<Output> {
        Ok(Output { buffer: Vec::new(), to: Box::new(File::create(path)?), closed: false })
    }
}

impl Sink for Output {
    fn print(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

    fn message(&mut self, line: &str) {
        // Output that came first is seen first.
        self.flush();
        let mut text = line.to_owned();
        text.push('\n');
        // Nothing can be done about a standard error that is gone.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn flush(&mut self) -> bool {
        if !self.closed && !self.buffer.is_empty() {
            let written = self.to.write_all(&self.buffer).and_then(|()| self.to.flush());
            self.closed = written.is_err();
        }
        self.buffer.clear();
        !self.closed
    }
}

/// Keeps everything, for tests.
#[derive(Clone, Default, Debug)]
pub struct Kept {
    /// Script output.
    pub out: Vec<u8>,
    /// Messages.
    pub err: Vec<String>,
}

impl Sink for Kept {
    fn print(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn message(&mut self, line: &str) {
        self.err.push(line.to_owned());
    }

    fn flush(&mut self) -> bool {
        true
    }
}
