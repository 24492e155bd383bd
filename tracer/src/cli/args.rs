//! The command line: what was typed, and what it means.
//!
//! Options are SystemTap's where it has them (`stap(1)`), so that people's fingers keep working.
//!
//! **Not here:** doing anything about it (`driver`).

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};
use tracer_common::limits::Limits;

use crate::cli::accepted::Accepted;
use crate::diagnostics::suggest;
use crate::session::{Dump, Pass, Script, Session, Switch, Target};

/// Runs SystemTap scripts on eBPF: no compiler, no kernel headers, no module.
#[derive(Parser, Debug)]
#[command(
    name = "tracer",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    args_override_self = true
)]
#[command(after_help = "Examples:\n  tracer -e 'probe vfs.read { n++ } global n' -c 'cat /etc/passwd'\n  \
    tracer script.stp arg1 arg2\n  tracer -L 'process(\"/bin/ls\").function(\"main\")'\n  \
    tracer explain type-conflict\n\n\
    Accepted without effect, for SystemTap's sake: -b -d -k -m -P -q -u --all-modules --bpf --check-version\n\
    --ldd --poison-cache --prologue-searching --tmpdir --vp")]
pub struct Typed {
    /// The script's text
    #[arg(short = 'e', value_name = "SCRIPT", action = ArgAction::Append)]
    script: Vec<String>,
    /// One more script text beside the script
    #[arg(short = 'E', value_name = "SCRIPT", action = ArgAction::Append)]
    additional: Vec<String>,
    /// Start the command when the probes are armed, end with it; target() is its process
    #[arg(short = 'c', value_name = "COMMAND", conflicts_with = "pid")]
    command: Option<String>,
    /// Set target() to the process, end with it
    #[arg(short = 'x', value_name = "PID")]
    pid: Option<u32>,
    /// Stop after pass 1 to 5 and print what it made
    #[arg(short = 'p', value_name = "PASS", value_parser = clap::value_parser!(u8).range(1..=5))]
    pass: Option<u8>,
    /// List the probe points that match
    #[arg(short = 'l', value_name = "PROBE", conflicts_with_all = ["script", "list_vars"])]
    list: Option<String>,
    /// List the probe points that match, with their variables
    #[arg(short = 'L', value_name = "PROBE", conflicts_with = "script")]
    list_vars: Option<String>,
    /// Say more; may be repeated
    #[arg(short = 'v', action = ArgAction::Count)]
    verbose: u8,
    /// Write the output to a file
    #[arg(short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Go on with another output file (FILE.1, FILE.2 …) after so many megabytes, and keep the last N files
    #[arg(short = 'S', value_name = "MEGABYTES[,N]", requires = "output")]
    switch: Option<String>,
    /// End after so many seconds
    #[arg(short = 'T', value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Set a limit: MAXSTRINGLEN, MAXMAPENTRIES, MAXACTION, MAXERRORS …
    #[arg(short = 'D', value_name = "NAME=VALUE", action = ArgAction::Append)]
    define: Vec<String>,
    /// Set a global variable
    #[arg(short = 'G', value_name = "NAME=VALUE", action = ArgAction::Append)]
    global: Vec<String>,
    /// Guru mode: allow writing to target variables
    #[arg(short = 'g')]
    guru: bool,
    /// Look for tapsets in this directory too
    #[arg(short = 'I', value_name = "DIR", action = ArgAction::Append)]
    include: Vec<PathBuf>,
    /// Look for debug information below these folders too, several with colons between them (also:
    /// SYSTEMTAP_DEBUGINFO_PATH)
    #[arg(long, value_name = "DIRS")]
    debuginfo_path: Option<String>,
    /// No warnings
    #[arg(short = 'w')]
    no_warnings: bool,
    /// Warnings are errors
    #[arg(short = 'W')]
    warnings_are_errors: bool,
    /// Size of the record buffer in megabytes
    #[arg(short = 's', value_name = "MEGABYTES", value_parser = clap::value_parser!(u32).range(1..=1024))]
    buffer: Option<u32>,
    /// Report timings and counters at the end
    #[arg(short = 't')]
    timing: bool,
    /// Exit with 1 when anything was lost, skipped or cut
    #[arg(long)]
    strict: bool,
    /// Attach few kernel functions by trampoline even where the kernel preempts programs: cheaper, but hits are missed
    /// while one is preempted (they are counted)
    #[arg(long)]
    trampolines: bool,
    /// Give target variables that cannot be resolved the value 0
    #[arg(long)]
    skip_badvars: bool,
    /// Neither use nor keep indexes of large programs (below XDG_CACHE_HOME or ~/.cache)
    #[arg(long)]
    disable_cache: bool,
    /// Be compatible with that version of the language: what `systemtap_v` is in conditionals
    #[arg(long, value_name = "VERSION")]
    compatible: Option<String>,
    /// Colours in messages
    #[arg(long, value_name = "WHEN", num_args = 0..=1, default_missing_value = "always",
          value_parser = ["auto", "always", "never"], default_value = "auto")]
    color: String,
    /// Do not print globals at the end that nothing reads
    #[arg(long)]
    no_global_var_display: bool,
    /// A run-time error ends its handler, and nothing else
    #[arg(long)]
    suppress_handler_errors: bool,
    /// List the forms of probe points
    #[arg(long)]
    dump_probe_types: bool,
    /// List the probe aliases of the library
    #[arg(long)]
    dump_probe_aliases: bool,
    /// List the functions of the library
    #[arg(long)]
    dump_functions: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    monitor: Option<Option<String>>,
    #[arg(long, hide = true)]
    remote: Option<String>,
    #[command(flatten)]
    accepted: Accepted,
    /// The script's file (`-` is standard input), then the script's arguments; those that begin with `-` come after `--`
    #[arg(value_name = "FILE ARGS")]
    rest: Vec<String>,
}

/// `-S SIZE[,N]`: bytes of an output file, and how many files are kept.
fn switch(text: &str) -> Result<Switch, String> {
    let wrong = || format!("-S {text}: a number of megabytes, and perhaps a comma and a number of files");
    let positive = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(wrong);
    let (size, most) = match text.split_once(',') {
        Some((size, most)) => (size, Some(positive(most)? as usize)),
        None => (text, None),
    };
    Ok(Switch { size: u64::from(positive(size)?) << 20, most })
}

/// Names of `-D` that SystemTap's runtime knows and ours has no use for.
const NO_LIMITS: [&str; 6] = ["STP_", "DEBUG_", "MAXMEMORY", "MAXUPROBES", "MINSTACKSPACE", "TRYLOCKDELAY"];

/// Default size of the record buffer.
const BUFFER: u32 = 4 << 20;

impl Typed {
    /// The arguments of this process; what is wrong with them is said, and ends it.
    pub fn from_command_line() -> Typed {
        Typed::parse()
    }

    /// What was typed, as a session; `Err` is a sentence for the user.
    pub fn session(self) -> Result<Session, String> {
        let mut rest = self.rest.into_iter();
        let dumps = [
            (self.dump_probe_types, Dump::ProbeTypes),
            (self.dump_probe_aliases, Dump::ProbeAliases),
            (self.dump_functions, Dump::Functions),
        ];
        let dump = dumps.into_iter().find(|(asked, _)| *asked);
        let script = if let Some((_, dump)) = dump {
            Script::Dump(dump)
        } else if let Some(pattern) = self.list {
            Script::Listing { pattern, variables: false }
        } else if let Some(pattern) = self.list_vars {
            Script::Listing { pattern, variables: true }
        } else if let [text, more @ ..] = &*self.script {
            if !more.is_empty() {
                return Err("there is one script: -E adds more texts to that of -e".into());
            }
            Script::Text(text.clone())
        } else {
            match rest.next().as_deref() {
                Some("-") => Script::Stdin,
                Some("explain") if rest.len() < 2 => Script::Explain(rest.next()),
                Some(path) => Script::File(PathBuf::from(path)),
                None => return Err("no script: give a file, or its text with -e (--help shows more)".into()),
            }
        };
        if self.monitor.is_some() {
            return Err("--monitor is not there: print what matters from a timer probe".into());
        }
        if self.remote.is_some() {
            return Err("--remote is not there: run tracer on that machine, over ssh".into());
        }
        let (mut limits, mut warnings) = (Limits::STAP, Vec::new());
        for define in &self.define {
            if NO_LIMITS.iter().any(|start| define.starts_with(start)) {
                continue;
            }
            let name = define.split('=').next().unwrap_or_default();
            if Limits::STAP.get(name).is_none() {
                let names = Limits::STAP.all().map(|(name, _)| name);
                let near = suggest::hint(name, names).map_or_else(String::new, |near| format!(" ({near})"));
                warnings.push(format!("-D {define}: tracer has no limit {name}{near}"));
                continue;
            }
            let (_, value) = split(define, "-D")?;
            let value: u64 = value.parse().map_err(|_| format!("-D {define}: {value} is not a number"))?;
            limits.set(name, value).map_err(|why| format!("-D {define}: {why}"))?;
            if let Some(kept) = limits.get(name).filter(|kept| *kept != value) {
                warnings.push(format!("-D {define}: no stack is deeper than {kept} frames"));
            }
        }
        if self.suppress_handler_errors {
            limits.skipped = u32::MAX;
        }
        let mut globals = Vec::new();
        for global in &self.global {
            let (name, value) = split(global, "-G")?;
            globals.push((name.to_owned(), value.to_owned()));
        }
        let target = match (self.command, self.pid) {
            (Some(command), _) => Target::Command(command),
            (None, Some(pid)) => Target::Process(pid),
            (None, None) => Target::None,
        };
        Ok(Session {
            script,
            additional: self.additional,
            args: rest.collect(),
            last_pass: match self.pass {
                Some(1) => Pass::Parse,
                Some(2) => Pass::Elaborate,
                Some(3) => Pass::Translate,
                Some(4) => Pass::Compile,
                _ => Pass::Run,
            },
            target,
            guru: self.guru,
            globals,
            limits,
            tapset_dirs: self.include.into_iter().chain(tapset_of_environment()).collect(),
            debug_folders: debug_folders(
                self.debuginfo_path.or_else(|| std::env::var("SYSTEMTAP_DEBUGINFO_PATH").ok()),
            ),
            output: self.output,
            switch: self.switch.as_deref().map(switch).transpose()?,
            timeout: self.timeout.map(Duration::from_secs),
            verbose: self.verbose,
            no_warnings: self.no_warnings,
            strict_warnings: self.warnings_are_errors,
            trampolines: self.trampolines,
            strict: self.strict,
            buffer: self.buffer.map_or(BUFFER, |megabytes| megabytes.next_power_of_two() << 20),
            timing: self.timing,
            skip_badvars: self.skip_badvars,
            no_cache: self.disable_cache,
            compatible: self.compatible,
            no_global_display: self.no_global_var_display,
            suppress_errors: self.suppress_handler_errors,
            color: match self.color.as_str() {
                "always" => true,
                "never" => false,
                _ => std::io::stderr().is_terminal(),
            },
            warnings,
        })
    }
}

/// `+/one:/two`: a sign, which in SystemTap is about checksums, means nothing here: they are always looked at.
fn debug_folders(path: Option<String>) -> Vec<PathBuf> {
    let path = path.unwrap_or_default();
    let folders = path.split(':').map(|folder| folder.strip_prefix(['+', '-']).unwrap_or(folder));
    folders.filter(|folder| !folder.is_empty()).map(PathBuf::from).collect()
}

/// The folder of tapsets that the environment names, where it is one.
fn tapset_of_environment() -> Option<PathBuf> {
    std::env::var_os("SYSTEMTAP_TAPSET").map(PathBuf::from).filter(|folder| folder.is_dir())
}

fn split<'a>(text: &'a str, option: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once('=').ok_or_else(|| format!("{option} {text}: expected NAME=VALUE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(args: &[&str]) -> Result<Session, String> {
        let typed =
            Typed::try_parse_from(std::iter::once(&"tracer").chain(args)).map_err(|e| e.to_string())?;
        typed.session()
    }

    #[test]
    fn options_may_follow_the_script() {
        let session = session(&["x.stp", "5", "-v", "--", "-n"]).expect("a file, its arguments, an option");
        assert_eq!(session.script, Script::File("x.stp".into()));
        assert_eq!(session.args, ["5", "-n"]);
        assert_eq!(session.verbose, 1);
    }

    #[test]
    fn with_e_all_the_rest_are_arguments() {
        let session = session(&["-e", "probe begin {}", "a", "b"]).expect("text and arguments");
        assert_eq!(session.script, Script::Text("probe begin {}".into()));
        assert_eq!(session.args, ["a", "b"]);
    }

    #[test]
    fn options_without_meaning_are_taken() {
        let args =
            "-d /bin/ls --ldd --all-modules -k -m name --vp 00001 -DSTP_NO_OVERLOAD -D MAXMEMORY=5 -uv";
        let args: Vec<&str> = args.split(' ').chain(["-e", "probe begin {}"]).collect();
        assert_eq!(session(&args).expect("a session").verbose, 1);
    }

    #[test]
    fn explain_is_a_command() {
        let script = |args: &[&str]| session(args).expect("a session").script;
        assert_eq!(script(&["explain", "arity"]), Script::Explain(Some("arity".into())));
        assert_eq!(script(&["explain"]), Script::Explain(None));
        assert_eq!(script(&["./explain", "arity"]), Script::File("./explain".into()));
        assert_eq!(script(&["-e", "x", "explain"]), Script::Text("x".into()));
    }

    #[test]
    fn passes_stick_to_their_letter() {
        assert_eq!(session(&["-p2", "-e", "x"]).expect("p2").last_pass, Pass::Elaborate);
        assert!(session(&["-p6", "-e", "x"]).is_err());
        // The last of several counts.
        assert_eq!(session(&["-p4", "-gp2", "-e", "x"]).expect("p2").last_pass, Pass::Elaborate);
    }

    #[test]
    fn options_without_effect_are_accepted() {
        let words = ["-gup2", "-m", "name", "-d", "kernel", "--ldd", "--vp", "01", "--bpf", "-e", "x"];
        let session = session(&words).expect("options of stap");
        assert_eq!(session.script, Script::Text("x".into()));
        assert_eq!(session.last_pass, Pass::Elaborate);
        assert!(session.guru);
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert!(session(&[]).expect_err("no script").contains("no script"));
        assert!(session(&["-e", "a", "-e", "b"]).expect_err("two scripts").contains("one script"));
        assert!(session(&["-D", "MAXACTION", "x"]).expect_err("no value").contains("NAME=VALUE"));
        let unknown = session(&["-D", "MAXACTON=1", "x"]).expect("a session").warnings;
        assert_eq!(unknown, ["-D MAXACTON=1: tracer has no limit MAXACTON (similar: 'MAXACTION')"]);
        let deep = session(&["-D", "MAXBACKTRACE=200", "x"]).expect("a session");
        assert_eq!(deep.warnings, ["-D MAXBACKTRACE=200: no stack is deeper than 127 frames"]);
        assert_eq!(deep.limits.backtrace, 127);
        assert!(session(&["--monitor=2", "x"]).expect_err("no view").contains("timer"));
        assert!(session(&["--remote", "there", "x"]).expect_err("not here").contains("ssh"));
        for wrong in ["0", "x", "1,", "1,0", "-1"] {
            assert!(session(&["-o", "f", &format!("-S{wrong}"), "x"]).is_err(), "-S{wrong}");
        }
        let switch = session(&["-o", "f", "-S", "2,3", "x"]).expect("a session").switch;
        assert_eq!(switch, Some(Switch { size: 2 << 20, most: Some(3) }));
        let flag = session(&["-DFLAG", "-DNAME=text", "x"]).expect("a session").warnings;
        assert_eq!(flag.len(), 2, "{flag:?}");
        assert!(session(&["-x", "1", "-c", "true", "-e", ""]).is_err());
    }
}
