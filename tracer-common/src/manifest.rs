//! What the run needs beside the code: programs, sites, attach points.
//!
//! A *program* is one piece of kernel code. A *site* is one place where it is attached; the site's index travels as
//! the attach cookie, or, on kernels without cookies, is patched into a copy of the program for each site
//! ([`Program::site_patches`]).

mod text;

use crate::ir::{FuncId, SiteFact};
use alloc::string::String;
use alloc::vec::Vec;

pub use text::parse;

/// Everything that attaching and reporting need.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// The kernel programs, in the order of the ledger's rows.
    pub programs: Vec<Program>,
    /// All sites, of kernel programs and user handlers.
    pub sites: Vec<Site>,
}

/// What kind of BPF program it is, before the attach ladder decides on the link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProgramKind {
    /// At an instruction of a user-space file.
    Uprobe,
    /// At the return of a user-space function.
    Uretprobe,
    /// At an instruction of the kernel.
    Kprobe,
    /// At the return of a kernel function.
    Kretprobe,
    /// Kernel function entry by trampoline; words context; exactly one site, with its type.
    Fentry,
    /// Kernel function exit by trampoline; words context; exactly one site, with its type.
    Fexit,
    /// Raw tracepoint; words context.
    RawTracepoint,
    /// Sample of a perf event (`timer.profile`, `perf.*`).
    PerfEvent,
}

/// One piece of kernel code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Name of its function symbol and section in the object; at most 15 characters.
    pub name: String,
    /// Its IR.
    pub function: FuncId,
    /// What it is.
    pub kind: ProgramKind,
    /// Where it is attached: indices into [`Manifest::sites`].
    pub sites: Vec<u32>,
    /// Instruction indices whose `imm` must become the site's index before loading; filled by the code
    /// generator for kernels without attach cookies, else empty.
    pub site_patches: Vec<u32>,
}

/// A place where the kernel, or the session itself, runs a handler.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum AttachPoint {
    /// Nowhere: `begin`, `end`, timers.
    Session,
    /// An instruction of a user-space file.
    User {
        /// Absolute path.
        path: String,
        /// Offset of the instruction in the file.
        offset: u64,
        /// File offset of the semaphore that must be raised while attached.
        semaphore: Option<u64>,
        /// The only process that is meant, if not all that run the file.
        pid: Option<u32>,
    },
    /// A kernel function, or an instruction in it.
    Kernel {
        /// Symbol.
        symbol: String,
        /// Bytes after the symbol.
        offset: u64,
        /// The function's type in the kernel's BTF, where a trampoline can be asked for.
        btf: Option<u32>,
    },
    /// A kernel tracepoint.
    Tracepoint {
        /// Its name, without the subsystem.
        name: String,
    },
    /// A perf event, sampled on every CPU.
    Perf {
        /// `perf_event_attr.type`.
        kind: u32,
        /// `perf_event_attr.config`.
        config: u64,
        /// How often.
        sampling: Sampling,
    },
}

/// How often a perf event is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sampling {
    /// After so many events.
    Period(u64),
    /// So many times a second.
    Frequency(u64),
}

/// One site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Where.
    pub attach: AttachPoint,
    /// `pp()`: `process("/bin/x").function("f@x.c:4").call`.
    pub probe_point: String,
    /// `pn()`: as the script wrote it.
    pub alias: String,
    /// `probefunc()`.
    pub function: String,
    /// `$$name`.
    pub name: String,
    /// `$$provider`.
    pub provider: String,
    /// Whether it is the first instruction of a function: the return address is on top of the stack.
    pub is_entry: bool,
    /// Names of the variables in each list of the handler (`ir::Inst::VarsText`).
    pub variables: Vec<Vec<String>>,
}

impl Site {
    /// A site without more facts.
    pub fn new(attach: AttachPoint, probe_point: impl Into<String>) -> Site {
        Site {
            attach,
            probe_point: probe_point.into(),
            alias: String::new(),
            function: String::new(),
            name: String::new(),
            provider: String::new(),
            is_entry: false,
            variables: Vec::new(),
        }
    }

    /// A fact about the site, as `ir::Inst::SiteText` gives it.
    pub fn fact(&self, fact: SiteFact) -> &str {
        match fact {
            SiteFact::ProbePoint => &self.probe_point,
            SiteFact::Function => &self.function,
            SiteFact::Name => &self.name,
            SiteFact::Provider => &self.provider,
            SiteFact::Alias => &self.alias,
        }
    }
}
