//! `cargo xtask ci`: everything that CI runs, in one command that installs what it needs.
//!
//! A step that fails does not hide the next one: all run, and the table at the end says which failed.
//!
//! **Not here:** the checks themselves.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::vm::Matrix;
use crate::{bench, command, package, tidy, vm, workspace};

/// Runs every step; an error when one failed.
pub fn run() -> Result<(), String> {
    prepare()?;
    let mut steps = Steps::default();
    steps.cargo("format", &["fmt", "--all", "--check"], &[]);
    steps.cargo(
        "clippy",
        &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
        &[],
    );
    let doc = ["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"];
    steps.cargo("documentation", &doc, &[("RUSTDOCFLAGS", "-D warnings")]);
    steps.step("tidy", tidy::run);
    steps.step("no_std", no_std);
    steps.cargo("tests", &["test", "--workspace", "--no-fail-fast", "--", "--show-output"], &[]);
    steps.step("guests", || {
        let all = Matrix::parse("all")?;
        vm::run(all.kernels(), &vm::Options { filter: String::new(), limit: 1500, tracer: None })
    });
    // The clock of a shared machine proves nothing: here only sizes and counts decide.
    steps.step("figures", || bench::measure(bench::Clock::Shown, None));
    steps.table()
}

/// What a fresh machine lacks: packages, the file systems of tracing, enough file descriptors.
fn prepare() -> Result<(), String> {
    for needs in [package::FIXTURES, package::GDB, package::GUESTS, package::BENCH, package::PROGRAMS] {
        package::install(needs)?;
    }
    for (kind, at, inside) in [
        ("tracefs", "/sys/kernel/tracing", "events"),
        ("bpf", "/sys/fs/bpf", "."),
        ("debugfs", "/sys/kernel/debug", "tracing"),
    ] {
        let mounted = if inside == "." {
            let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
            mounts.lines().any(|line| line.split(' ').nth(1) == Some(at))
        } else {
            std::path::Path::new(at).join(inside).exists()
        };
        if !mounted {
            // Where it is refused, the cases that need it say so themselves.
            let _ = command::output(Command::new("mount").args(["-t", kind, "nodev", at]));
        }
    }
    // A probe on each of 5,000 functions is one descriptor each on kernels without multi links.
    let me = std::process::id().to_string();
    let _ = command::output(Command::new("prlimit").args(["--pid", &me, "--nofile=65536:65536"]));
    Ok(())
}

/// The inner crates build alone, with no feature that another crate turned on, and none of their dependencies asks for std.
fn no_std() -> Result<(), String> {
    for name in ["tracer-common", "tracer-ebpf"] {
        command::run(cargo().args(["check", "--quiet", "--package", name]))?;
        let tree = command::output(cargo().args(["tree", "--package", name, "--edges", "normal,features"]))?;
        if let Some(line) = tree.lines().find(|line| line.contains("feature \"std\"")) {
            return Err(format!("{name} depends on std: {line}"));
        }
    }
    // The proof by a target that has no std, where it is installed.
    let target = "x86_64-unknown-none";
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if std::path::Path::new(sysroot.trim()).join("lib/rustlib").join(target).exists() {
        for name in ["tracer-common", "tracer-ebpf"] {
            command::run(cargo().args(["check", "--quiet", "--package", name, "--target", target]))?;
        }
    }
    Ok(())
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root());
    command
}

#[derive(Default)]
struct Steps(Vec<(&'static str, Duration, Option<String>)>);

impl Steps {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<(), String>) {
        println!("== {name}");
        let start = Instant::now();
        let result = work();
        if let Err(why) = &result {
            println!("{why}");
        }
        self.0.push((name, start.elapsed(), result.err()));
    }

    fn cargo(&mut self, name: &'static str, args: &[&str], environment: &[(&str, &str)]) {
        let environment = environment.iter().copied();
        self.step(name, || command::run(cargo().args(args).envs(environment)));
    }

    fn table(&self) -> Result<(), String> {
        println!("\nstep           result  seconds");
        for (name, took, failure) in &self.0 {
            let result = if failure.is_some() { "FAILED" } else { "ok" };
            println!("{name:<14} {result:<7} {:>7}", took.as_secs());
        }
        let failed: Vec<&str> = self.0.iter().filter(|step| step.2.is_some()).map(|step| step.0).collect();
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
    }
}
