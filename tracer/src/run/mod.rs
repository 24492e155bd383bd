//! Pass 5: loads the programs, runs the handlers, prints.
//!
//! Rooms, in reading order: `session` (handlers, errors, the end), `event_loop` (waiting), `kernel` (maps, programs,
//! links, the ring), `attach` (the ladder), `records`, `ledger`, `logs` (what programs tell about
//! themselves), `value`, `globals` and `maps` (where globals live),
//! `unwind/` (how stacks of programs are walked), `stay` (programs that keep their CPU), `host`, `memory`, `eval/` (user-domain IR), `output/` (all script output), `trial` (hits made by hand, for tests).
//!
//! **Not here:** compiling anything.

pub mod attach;
pub mod eval;
pub mod event_loop;
pub mod globals;
pub mod host;
pub mod kernel;
pub mod ledger;
pub mod logs;
pub mod maps;
pub mod memory;
pub mod output;
pub mod records;
pub mod session;
pub mod stay;
pub mod symbols;
pub mod trial;
pub mod unwind;
pub mod value;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracer_common::ir::{Inst, Module};
use tracer_ebpf::target::Target;

use crate::artifact::Artifact;
use crate::cache::Cache;
use crate::session::Switch;
use crate::sys::command::{self, Child};
use crate::sys::limits;
use crate::sys::process::Waiter;
use crate::world::{SystemWorld, World as _};
use eval::Host as _;
use event_loop::EventLoop;
use globals::{Globals, MemoryGlobals};
use host::RealHost;
use kernel::Kernel;
use maps::MapGlobals;
use output::sink::Output;
use session::Session;

/// Why a session could not run.
#[derive(Debug)]
pub enum RunError {
    /// This needs rights that we do not have.
    Permission(&'static str),
    /// A map could not be made or used.
    Map(String, io::Error),
    /// A probe could not be attached.
    Attach(String, io::Error),
    /// No trampoline can be made for a function of the kernel; kprobes may reach it. Nothing has run yet.
    Trampoline(String, io::Error),
    /// A program that may sleep is more than the verifier follows; one that may not is smaller. Nothing has run yet.
    TooLarge(String),
    /// The verifier refused our code: a bug of ours, with all that helps to find it.
    Rejected(String),
    /// The command of `-c`, or the process of `-x`.
    Target(String),
    /// The output file.
    Output(PathBuf, io::Error),
    /// The event loop.
    Runtime(io::Error),
    /// A map as aya sees it.
    Aya(String),
    /// We broke our own rule.
    Bug(&'static str),
}

impl RunError {
    pub(crate) fn map(name: &str, error: io::Error) -> RunError {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return RunError::Permission("create BPF maps");
        }
        RunError::Map(name.to_owned(), error)
    }

    pub(crate) fn attach(what: &str, error: io::Error) -> RunError {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return RunError::Permission("attach probes");
        }
        RunError::Attach(what.to_owned(), error)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Permission(what) => write!(
                f,
                "no permission to {what}: run as root, or with the capabilities CAP_BPF and CAP_PERFMON"
            ),
            RunError::Map(name, error) => write!(f, "cannot create the BPF map {name}: {error}"),
            RunError::Attach(what, error) => write!(f, "cannot attach {what}: {error}"),
            RunError::Trampoline(what, error) => write!(f, "no trampoline for {what}: {error}"),
            RunError::TooLarge(report) | RunError::Rejected(report) => f.write_str(report),
            RunError::Target(why) => f.write_str(why),
            RunError::Output(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            RunError::Runtime(error) => write!(f, "the event loop failed: {error}"),
            RunError::Aya(why) => write!(f, "the ring buffer cannot be read: {why}"),
            RunError::Bug(what) => write!(f, "this is a bug: {what}"),
        }
    }
}

impl std::error::Error for RunError {}

/// Whether anything in the user domain names addresses of traced programs.
fn names_addresses(module: &Module) -> bool {
    let insts = module.functions.iter().flat_map(|function| &function.blocks).flat_map(|block| &block.insts);
    insts.map(|(inst, _)| inst).any(Inst::names_user_addresses)
}

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `-c`.
    pub command: Option<String>,
    /// `-x`.
    pub pid: Option<u32>,
    /// `-o`.
    pub output: Option<PathBuf>,
    /// `-S`.
    pub switch: Option<Switch>,
    /// `-T`.
    pub timeout: Option<Duration>,
    /// `--strict`.
    pub strict: bool,
    /// `-v`, counted.
    pub verbose: u8,
    /// `--debuginfo-path`.
    pub debug_folders: Vec<PathBuf>,
    /// Where indexes of large files are kept.
    pub cache: Option<Arc<Cache>>,
}

/// Runs an artifact; whether all went well.
pub fn run(artifact: &Artifact, target: Option<&Target>, options: &Options) -> Result<bool, RunError> {
    let sink = match &options.output {
        Some(path) => {
            Output::file(path, options.switch).map_err(|error| RunError::Output(path.clone(), error))?
        }
        None => Output::stdout(),
    };
    let mut host = RealHost::new(Box::new(sink));
    host.look_below(options.debug_folders.clone(), options.cache.clone());
    let events = EventLoop::new()?;
    let mut child = match &options.command {
        Some(command) => Some(
            Child::hold(command)
                .map_err(|error| RunError::Target(format!("cannot start {command}: {error}")))?,
        ),
        None => None,
    };
    let pid = child.as_ref().map(Child::pid).or(options.pid);
    let waiter = match pid {
        Some(pid) => Some(
            Waiter::new(pid)
                .map_err(|error| RunError::Target(format!("no process {pid} to wait for: {error}")))?,
        ),
        None => None,
    };
    if let Some(pid) = pid {
        host.set_target(pid);
    }
    if names_addresses(&artifact.module) {
        host.watch_mappings();
    }
    let mut kernel = None;
    let mut memory;
    let mut mapped;
    let globals: &mut dyn Globals = match (&artifact.object, target) {
        (Some(_), Some(target)) => {
            limits::raise_open_files();
            limits::raise_locked_memory();
            let (mut loaded, layout, maps) = Kernel::load(artifact, target)?;
            if let Some(pid) = pid {
                loaded.set_target(pid);
            }
            if let Some(tables) = &mut loaded.tables {
                let world = SystemWorld::default();
                let program = options.command.as_deref().and_then(command::program);
                let program = program.and_then(|name| world.find_program(&name));
                tables.begin(&world, &artifact.manifest, program.as_deref(), options.pid);
            }
            // Probes in user code are limited to the target, where that is one process.
            let limit = match &child {
                Some(child) => child.is_direct().then(|| child.pid()),
                None => options.pid,
            };
            loaded.attach(&artifact.manifest, target, limit)?;
            let locks = loaded.locks()?;
            kernel = Some(loaded);
            mapped = MapGlobals::new(&artifact.module, layout, maps, locks)
                .map_err(|error| RunError::map("of the globals", error))?;
            &mut mapped
        }
        _ => {
            memory = MemoryGlobals::new(&artifact.module);
            &mut memory
        }
    };
    let mut session = Session::new(artifact, globals, host);
    let mut target_failed = false;
    session.begin();
    if !session.is_over() {
        if let Some(kernel) = &kernel {
            kernel.add_errors(session.own_errors);
            kernel.arm();
        }
        session.host.sink().flush();
        if let Some(child) = &mut child
            && let Err(error) = child.release()
        {
            let command = options.command.as_deref().unwrap_or_default();
            session.host.sink().message(format!("ERROR: cannot run {command}: {error}").as_bytes());
            target_failed = true;
        }
        events.run(&mut session, &mut kernel, options.timeout, waiter)?;
    }
    if let Some(ended) = child.as_mut().and_then(Child::ended)
        && !target_failed
    {
        session.host.sink().message(format!("WARNING: Child process {ended}").as_bytes());
        target_failed = true;
    }
    session.end();
    if let Some(kernel) = &mut kernel {
        kernel.tell(session.host.sink());
    }
    let mut clean = true;
    if let Some(kernel) = &kernel {
        let complaint = kernel.tables.as_ref().and_then(unwind::Tables::complaint);
        for line in ledger::summary(kernel, &artifact.manifest).into_iter().chain(complaint) {
            clean = false;
            session.host.sink().message(line.as_bytes());
        }
        if options.verbose > 0 {
            let hits = format!("hits: {}", ledger::hits(kernel, &artifact.manifest));
            let tables = kernel.tables.as_ref().map(unwind::Tables::size);
            for line in ledger::attached(kernel).into_iter().chain([hits]).chain(tables) {
                session.host.sink().message(line.as_bytes());
            }
        }
    }
    let failed = session.failed();
    if let Some(kernel) = &mut kernel {
        kernel.detach();
    }
    let written = !session.host.sink().failed();
    Ok(!failed && !target_failed && written && (clean || !options.strict))
}
