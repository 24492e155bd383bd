//! The machine, as user-domain handlers see it.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracer_common::ir::Space;
use tracer_common::symbol::Form;

use crate::cache::Cache;
use crate::run::eval::{Host, Kept};
use crate::run::memory::Memory;
use crate::run::output::sink::Sink;
use crate::run::symbols::Symbols;
use crate::run::symbols::kernel::KernelSymbols;
use crate::sys::clock;
use crate::world::SystemWorld;

/// Different warnings that are remembered, so that each is shown once.
const WARNINGS: usize = 1024;

/// Where the kernel takes lines for its trace.
const TRACE_MARKER: &str = "/sys/kernel/tracing/trace_marker";

/// This process and its clocks.
pub struct RealHost {
    sink: Box<dyn Sink>,
    warned: BTreeSet<Vec<u8>>,
    target: i64,
    kept: Kept,
    commands: Vec<Child>,
    memory: Memory,
    symbols: Symbols,
    kernel_symbols: OnceCell<KernelSymbols>,
    /// The process whose hit a handler is finished for.
    hit: i64,
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
            memory: Memory::default(),
            symbols: Symbols::new(Box::<SystemWorld>::default()),
            kernel_symbols: OnceCell::new(),
            hit: 0,
            exiting: false,
        }
    }

    /// Sets where debug information of traced programs is looked for, besides the usual places. No servers are asked
    /// while the session runs: hits would wait for them.
    pub fn look_below(&mut self, debug_folders: Vec<PathBuf>, cache: Option<Arc<Cache>>) {
        self.symbols = Symbols::new(Box::new(SystemWorld { debug_folders, cache, ..SystemWorld::default() }));
    }

    fn kernel_symbols(&self) -> &KernelSymbols {
        self.kernel_symbols.get_or_init(|| KernelSymbols::read(&SystemWorld::default()))
    }

    /// Watches what the process of `-c` or `-x`, or all processes, map: for scripts that name addresses.
    pub fn watch_mappings(&mut self) {
        self.symbols.watch(u32::try_from(self.target).ok().filter(|pid| *pid != 0));
    }

    /// The process that is spoken of: that of the hit, or else of `-c` or `-x`.
    fn process(&self) -> i64 {
        if self.hit == 0 { self.target } else { self.hit }
    }

    /// The file that a process has mapped at an address.
    pub fn file_at(&mut self, pid: i64, address: u64) -> Option<String> {
        self.symbols.next_hit();
        self.symbols.module_path(pid, address)
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

    fn tick_ns(&mut self) -> i64 {
        clock::tick_ns()
    }

    fn jiffies(&mut self) -> i64 {
        self.memory.jiffies()
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

    fn process_name(&mut self, pid: i64) -> Vec<u8> {
        let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.strip_suffix(b"\n").unwrap_or(&name).to_vec()
    }

    fn kernel_log(&mut self, level: i64, text: &[u8]) {
        let (file, line) = if level < 0 {
            (TRACE_MARKER, text.to_vec())
        } else {
            ("/dev/kmsg", [format!("<{}>", level.min(7)).as_bytes(), text].concat())
        };
        // One write is one line; neither file is made when it is not there.
        let written = OpenOptions::new().write(true).open(file).and_then(|mut file| file.write_all(&line));
        if let Err(error) = written {
            self.warn(format!("cannot write to {file}: {error}").as_bytes());
        }
    }

    fn hit(&mut self, pid: i64) {
        self.hit = pid;
        self.symbols.next_hit();
    }

    fn symbol(&mut self, space: Space, address: u64, form: Form) -> String {
        match space {
            Space::User => self.symbols.text(self.process(), address, form),
            Space::Kernel => self.kernel_symbols().text(address, form),
        }
    }

    fn module_of(&mut self, space: Space, address: u64) -> Option<String> {
        match space {
            Space::User => self.symbols.module_path(self.process(), address),
            Space::Kernel => self.kernel_symbols().module_of(address),
        }
    }

    fn kept(&mut self) -> &mut Kept {
        &mut self.kept
    }

    fn task(&mut self) -> i64 {
        self.memory.task()
    }

    /// Without a hit, the process is our own, as it is for `pid()`.
    fn read(&mut self, space: Space, address: u64, bytes: &mut [u8]) -> bool {
        match space {
            Space::Kernel => self.memory.read_kernel(address, bytes),
            Space::User => {
                let process = if self.hit == 0 { self.pid() } else { self.hit };
                self.memory.read_process(process, address, bytes)
            }
        }
    }

    fn sink(&mut self) -> &mut dyn Sink {
        &mut *self.sink
    }
}
