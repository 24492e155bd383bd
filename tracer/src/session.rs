//! One invocation and its immutable facts.
//!
//! **Not here:** anything that changes while passes run (sources and diagnostics travel as arguments).

use std::path::PathBuf;
use std::time::Duration;

use tracer_common::limits::Limits;

/// What is listed of the language and its library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dump {
    /// Forms of probe points.
    ProbeTypes,
    /// The library's aliases.
    ProbeAliases,
    /// The library's functions.
    Functions,
}

/// Where the script comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Script {
    /// A file.
    File(PathBuf),
    /// Standard input (`-`).
    Stdin,
    /// The text itself (`-e`).
    Text(String),
    /// No script: `tracer explain`, of one code or of all.
    Explain(Option<String>),
    /// No script: `--dump-…`.
    Dump(Dump),
    /// No script of the user's: `-l` and `-L` look at this probe point.
    Listing {
        /// The pattern.
        pattern: String,
        /// `-L`: with variables.
        variables: bool,
    },
}

/// The pass after which to stop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pass {
    /// `-p1`
    Parse = 1,
    /// `-p2`
    Elaborate = 2,
    /// `-p3`
    Translate = 3,
    /// `-p4`
    Compile = 4,
    /// `-p5`, and no `-p` at all.
    Run = 5,
}

/// Whom `target()` names and whom process probes are limited to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Nobody.
    None,
    /// `-c`: started when the probes are armed; the session ends with it.
    Command(String),
    /// `-x`: the session ends with it.
    Process(u32),
}

/// `-S`: when output goes on in another file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Switch {
    /// Bytes that a file may have.
    pub size: u64,
    /// How many files are kept.
    pub most: Option<usize>,
}

/// Everything that was asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Session {
    /// The script.
    pub script: Script,
    /// More script texts (`-E`).
    pub additional: Vec<String>,
    /// Arguments of the script: `$1`, `@1`, `argv`.
    pub args: Vec<String>,
    /// Where to stop.
    pub last_pass: Pass,
    /// `-c` or `-x`.
    pub target: Target,
    /// `-g`.
    pub guru: bool,
    /// `-G name=value`.
    pub globals: Vec<(String, String)>,
    /// `-D`.
    pub limits: Limits,
    /// `-I`.
    pub tapset_dirs: Vec<PathBuf>,
    /// `--debuginfo-path`.
    pub debug_folders: Vec<PathBuf>,
    /// `-o`.
    pub output: Option<PathBuf>,
    /// `-S`.
    pub switch: Option<Switch>,
    /// `-T`.
    pub timeout: Option<Duration>,
    /// `-v`, counted.
    pub verbose: u8,
    /// `-w`: no warnings.
    pub no_warnings: bool,
    /// `-W`: warnings are errors.
    pub strict_warnings: bool,
    /// `--trampolines`: they are good enough, even where the kernel preempts programs.
    pub trampolines: bool,
    /// `--strict`: a ledger that is not clean is an error.
    pub strict: bool,
    /// `-s`: bytes of the ring buffer.
    pub buffer: u32,
    /// `-t`: report timings and counters at the end.
    pub timing: bool,
    /// `--skip-badvars`.
    pub skip_badvars: bool,
    /// `--disable-cache`.
    pub no_cache: bool,
    /// `--compatible`.
    pub compatible: Option<String>,
    /// `--no-global-var-display`.
    pub no_global_display: bool,
    /// `--suppress-handler-errors`.
    pub suppress_errors: bool,
    /// `--color`.
    pub color: bool,
    /// What is wrong with the options, and does not matter much.
    pub warnings: Vec<String>,
}
