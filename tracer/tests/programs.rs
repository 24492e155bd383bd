//! Programs that others made: Debian's PostgreSQL, libstdc++, libc and Python, and a library that decodes pictures.
//! What tracer counts is what they say of themselves.
//!
//! These need root, and trace only what they start: a server runs from a copy of its program, so that no other server of
//! this machine is probed.

#[path = "programs/call_graph.rs"]
mod call_graph;
#[path = "programs/libraries.rs"]
mod libraries;
#[path = "programs/postgres.rs"]
mod postgres;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xtask::workspace;

/// Whether this machine lets us trace at all; without it, tests here have nothing to show.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    if !root {
        writeln!(std::io::stdout(), "skipped: needs root").expect("standard output");
    }
    root
}

/// A folder that nobody else has, gone when the test ends well.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let template = std::env::temp_dir().join(format!("tracer-{name}.XXXXXX"));
        let made = output(Command::new("mktemp").arg("-d").arg(template));
        Folder(PathBuf::from(made.trim()))
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// What a command that succeeds prints.
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

/// `tracer` with a script and its arguments.
fn tracer(script: &str, options: &[&str], args: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.args(options).args(["-e", script]).args(args);
    command
}

/// A source of the traced programs, compiled into a folder.
fn build(folder: &Folder, compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    let program = folder.join(source.split('.').next().unwrap_or(source));
    let source = workspace::root().join("tracer/tests/fixtures/src").join(source);
    output(Command::new(compiler).arg("-o").arg(&program).arg(source).args(flags));
    program
}

/// A process of ours, which is gone when the test is.
struct Running(Child);

impl Running {
    /// Asks it to end, and waits until it has.
    fn interrupt(mut self) {
        output(Command::new("sh").args(["-c", "kill -INT \"$0\"", &self.0.id().to_string()]));
        let status = self.0.wait().expect("a child");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; it is ours in any case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is true.
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}
