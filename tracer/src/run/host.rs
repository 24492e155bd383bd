//! The machine, as user-domain handlers see it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::run::eval::{Host, Kept};
use crate::run::output::sink::Sink;
use crate::sys::clock;

/// Different warnings that are remembered, so that each is shown once.
const WARNINGS: usize = 1024;

/// This process and its clocks.
pub struct RealHost {
    sink: Box<dyn Sink>,
    warned: BTreeSet<Vec<u8>>,
    target: i64,
    kept: Kept,
    commands: Vec<Child>,
    /// `exit()` was called.
    pub exiting: bool,
}

impl RealHost {
    /// A host that prints to a sink.
    pub fn new(sink: Box<dyn Sink>) -> RealHost {
        RealHost {
            sink,
            warned: BTreeSet::new(),
            target: 0,
            kept: Kept::default(),
            commands: Vec::new(),
            exiting: false,
        }
    }

    /// Sets what `target()` says.
    pub fn set_target(&mut self, pid: u32) {
        self.target = i64::from(pid);
    }
}

impl Host for RealHost {
    fn pid(&mut self) -> i64 {
        i64::from(std::process::id())
    }

    fn tid(&mut self) -> i64 {
        i64::from(std::process::id())
    }

    fn uid(&mut self) -> i64 {
        std::fs::metadata("/proc/self").map_or(0, |m| i64::from(m.uid()))
    }

    fn gid(&mut self) -> i64 {
        std::fs::metadata("/proc/self").map_or(0, |m| i64::from(m.gid()))
    }

    fn execname(&mut self) -> Vec<u8> {
        b"tracer".to_vec()
    }

    fn cpu(&mut self) -> i64 {
        clock::current_cpu()
    }

    fn monotonic_ns(&mut self) -> i64 {
        clock::monotonic_ns()
    }

    #[expect(clippy::disallowed_methods, reason = "the clock that scripts ask for")]
    fn realtime_ns(&mut self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
    }

    fn target(&mut self) -> i64 {
        self.target
    }

    fn exit(&mut self) {
        self.exiting = true;
    }

    /// Repeated warnings are folded, as SystemTap does.
    fn warn(&mut self, text: &[u8]) {
        if self.warned.contains(text) {
            return;
        }
        if self.warned.len() < WARNINGS {
            self.warned.insert(text.to_vec());
        }
        self.sink.message(&[b"WARNING: ", text].concat());
    }

    fn time_zone(&mut self) -> (i64, Vec<u8>) {
        clock::time_zone()
    }

    fn random(&mut self) -> i64 {
        // Each state is keyed by the system's random source.
        i64::from(RandomState::new().build_hasher().finish() as u32)
    }

    fn cycles(&mut self) -> i64 {
        clock::cycles()
    }

    fn system(&mut self, command: &[u8]) {
        // What the script printed before is seen before.
        self.sink.flush();
        self.commands.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        match Command::new("sh").arg("-c").arg(OsStr::from_bytes(command)).stdin(Stdio::null()).spawn() {
            Ok(child) => self.commands.push(child),
            Err(error) => self.warn(format!("system(): cannot run sh: {error}").as_bytes()),
        }
    }

    fn kept(&mut self) -> &mut Kept {
        &mut self.kept
    }

    fn sink(&mut self) -> &mut dyn Sink {
        &mut *self.sink
    }
}
