//! Where output goes: buffered standard output or a file, and standard error.
//!
//! Output is flushed when the event loop has nothing left to do. A reader that went away ends the session quietly;
//! a disk that is full does not.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::run::output::files::Files;
use crate::session::Switch;

/// Bytes after which the buffer is written anyway.
const FULL: usize = 1 << 16;

/// Receives what scripts print.
pub trait Sink {
    /// Script output.
    fn print(&mut self, bytes: &[u8]);
    /// A line on standard error: `WARNING: …`, `ERROR: …`.
    fn message(&mut self, line: &[u8]);
    /// Writes what is buffered; false when nobody reads any more.
    fn flush(&mut self) -> bool;
    /// Goes on with another file, where output goes to files.
    fn switch(&mut self) {}
    /// Whether some of it could not be written, though somebody reads.
    fn failed(&self) -> bool {
        false
    }
}

/// The real thing.
pub struct Output {
    buffer: Vec<u8>,
    to: Box<dyn Write>,
    files: Option<Files>,
    closed: bool,
    failed: bool,
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Output {
        Output { buffer: Vec::new(), to: Box::new(io::stdout()), files: None, closed: false, failed: false }
    }

    /// A file, created or emptied, whose name may have conversions of `strftime`; with other ones to follow.
    pub fn file(path: &Path, switch: Option<Switch>) -> io::Result<Output> {
        let mut files = Files::new(path, switch);
        let to = Box::new(files.open()?);
        Ok(Output { buffer: Vec::new(), to, files: Some(files), closed: false, failed: false })
    }

    fn fail(&mut self, error: &io::Error) {
        self.closed = true;
        // A reader that went away (`| head`) is no failure.
        if error.kind() != ErrorKind::BrokenPipe {
            self.failed = true;
            self.message(format!("ERROR: cannot write the output: {error}").as_bytes());
        }
    }

    fn write(&mut self) {
        if self.closed {
            return;
        }
        match write(&mut *self.to, &self.buffer) {
            Ok(()) => {
                if let Some(files) = &mut self.files {
                    files.written += self.buffer.len() as u64;
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn open_next(&mut self) {
        let Some(files) = &mut self.files else { return };
        match files.open() {
            Ok(file) => self.to = Box::new(file),
            Err(error) => self.fail(&error),
        }
    }
}

impl Sink for Output {
    fn print(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

    fn message(&mut self, line: &[u8]) {
        // Output that came first is seen first.
        self.flush();
        // Nothing can be done about a standard error that is gone.
        let _ = io::stderr().write_all(&[line, b"\n"].concat());
    }

    fn flush(&mut self) -> bool {
        if !self.closed && self.files.as_ref().is_some_and(|files| files.are_full(self.buffer.len())) {
            self.open_next();
        }
        self.write();
        self.buffer.clear();
        !self.closed
    }

    fn switch(&mut self) {
        if self.flush() {
            self.open_next();
        }
    }

    fn failed(&self) -> bool {
        self.failed
    }
}

/// Writes everything, also to a pipe that somebody made non-blocking.
fn write(to: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    loop {
        let written = if bytes.is_empty() { to.flush().map(|()| None) } else { to.write(bytes).map(Some) };
        match written {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => return Err(ErrorKind::WriteZero.into()),
            Ok(Some(count)) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(1)),
            Err(error) => return Err(error),
        }
    }
}

/// Keeps everything, for tests.
#[derive(Clone, Default, Debug)]
pub struct Kept {
    /// Script output.
    pub out: Vec<u8>,
    /// Messages.
    pub err: Vec<Vec<u8>>,
}

impl Sink for Kept {
    fn print(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn message(&mut self, line: &[u8]) {
        self.err.push(line.to_vec());
    }

    fn flush(&mut self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A reader that takes three bytes at a time, is not ready now and then, and may be gone.
    struct Reader {
        took: Arc<Mutex<Vec<u8>>>,
        calls: usize,
        gone_after: usize,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls > self.gone_after {
                return Err(ErrorKind::BrokenPipe.into());
            }
            if self.calls.is_multiple_of(2) {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(3);
            self.took.lock().expect("a lock").extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(gone_after: usize) -> (Output, Arc<Mutex<Vec<u8>>>) {
        let took = Arc::new(Mutex::new(Vec::new()));
        let to = Box::new(Reader { took: took.clone(), calls: 0, gone_after });
        (Output { buffer: Vec::new(), to, files: None, closed: false, failed: false }, took)
    }

    #[test]
    fn all_arrives_in_small_bites() {
        let (mut output, took) = output(usize::MAX);
        output.print(b"hello, ");
        output.print(b"world\n");
        assert!(took.lock().expect("a lock").is_empty(), "it is kept until there is time");
        assert!(output.flush());
        assert_eq!(&took.lock().expect("a lock")[..], b"hello, world\n");
    }

    #[test]
    fn a_reader_that_went_away_is_noticed_and_costs_no_memory() {
        let (mut output, took) = output(1);
        output.print(b"hello");
        assert!(!output.flush());
        for _ in 0..10 {
            output.print(&[b'x'; FULL]);
        }
        assert!(output.buffer.is_empty() && !output.flush());
        assert_eq!(&took.lock().expect("a lock")[..], b"hel");
    }
}
