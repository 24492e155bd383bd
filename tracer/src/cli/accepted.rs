//! Options of `stap(1)` that change nothing here, so that people's fingers and scripts keep working.
//!
//! What would silently change the meaning of a session is not among them: it is refused as unknown.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// Accepted and ignored: there is no module to compile, sign, keep or name.
#[derive(Args, Debug)]
pub(super) struct Accepted {
    /// The runtime is always eBPF
    #[arg(long, hide = true)]
    bpf: bool,
    /// Unoptimised translation
    #[arg(short = 'u', hide = true)]
    unoptimised: bool,
    /// Keep the temporary directory
    #[arg(short = 'k', hide = true)]
    keep: bool,
    /// Information on tapset coverage
    #[arg(short = 'q', hide = true)]
    coverage: bool,
    /// Bulk mode
    #[arg(short = 'b', hide = true)]
    bulk: bool,
    /// Search for the ends of prologues: always done where it is needed
    #[arg(short = 'P', hide = true)]
    prologues: bool,
    /// The same
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true,
          value_parser = ["auto", "always", "never"], default_missing_value = "always")]
    prologue_searching: Option<String>,
    /// The module's name
    #[arg(short = 'm', hide = true, value_name = "NAME", value_parser = module_name)]
    module: Option<String>,
    /// Symbols of this file: symbols are read when they are needed
    #[arg(short = 'd', hide = true, value_name = "FILE", action = ArgAction::Append)]
    symbols: Vec<PathBuf>,
    /// Symbols of all libraries of those files
    #[arg(long, hide = true)]
    ldd: bool,
    /// Symbols of all modules
    #[arg(long, hide = true)]
    all_modules: bool,
    /// What differs between versions of the language
    #[arg(long, hide = true)]
    check_version: bool,
    /// No cache of compiled modules for one run
    #[arg(long, hide = true)]
    poison_cache: bool,
    /// Which runtime: the same
    #[arg(long, hide = true, value_name = "RUNTIME")]
    runtime: Option<String>,
    /// Verbosity of each pass
    #[arg(long, hide = true, value_name = "NUMBERS")]
    vp: Option<String>,
    /// Where temporary files go
    #[arg(long, hide = true, value_name = "DIR")]
    tmpdir: Option<PathBuf>,
}

/// A module's name, which SystemTap looks at too.
fn module_name(name: &str) -> Result<String, &'static str> {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name { Ok(name.to_owned()) } else { Err("a module's name has letters, digits and _ only") }
}
