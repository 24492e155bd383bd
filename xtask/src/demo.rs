//! `cargo xtask demo`: the first thing that a newcomer runs: tracer on a real program, on this kernel, whatever probes it has.
//!
//! **Not here:** tests.

use std::path::Path;
use std::process::Command;

use crate::runtime::fixture;
use crate::{command, workspace};

/// Builds tracer and traces a program's functions, then the kernel's reads or the program's own system calls.
pub fn run() -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    command::run(build.current_dir(workspace::root()).args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "tracer",
    ]))?;
    let tracer = workspace::target().join("release/tracer");
    if !Path::new("/sys/kernel/tracing/events").exists() {
        let _ =
            command::output(Command::new("mount").args(["-t", "tracefs", "nodev", "/sys/kernel/tracing"]));
    }
    let program = fixture::build_one("calls_o2")?;
    let program = program.display();
    show(
        &tracer,
        "Every function of a program built with gcc -O2, with its arguments and what it returns",
        &format!(
            "probe process(\"{program}\").function(\"*\").call {{ printf(\"=>%s(%s)\\n\", probefunc(), $$parms) }}\n\
             probe process(\"{program}\").function(\"*\").return {{ printf(\"<=%s:%s\\n\", probefunc(), $$return) }}"
        ),
        &format!("env REPORT=/dev/null {program}"),
    )?;
    if has_kprobes() {
        show(
            &tracer,
            "Who reads, and how often: the whole system while dd copies",
            "global totals\n\
             probe vfs.read { totals[execname(), pid()]++ }\n\
             probe end { foreach ([name, pid] in totals-) printf(\"%s (%d): %d\\n\", name, pid, totals[name, pid]) }",
            "dd if=/dev/zero of=/dev/null bs=512 count=777 status=none",
        )
    } else {
        println!("\nThis kernel has no kprobes; system calls are counted at a tracepoint instead.");
        show(
            &tracer,
            "The system calls of dd, by number",
            "global calls\n\
             probe kernel.trace(\"sys_enter\") { if (pid() == target()) calls[$id]++ }\n\
             probe end { foreach (id in calls- limit 5) printf(\"system call %d: %d\\n\", id, calls[id]) }",
            "dd if=/dev/zero of=/dev/null bs=512 count=777 status=none",
        )
    }
}

fn show(tracer: &Path, title: &str, script: &str, traced: &str) -> Result<(), String> {
    println!("\n# {title}\n{script}\n# -c '{traced}'\n");
    command::run(Command::new(tracer).args(["-e", script, "-c", traced]))
}

fn has_kprobes() -> bool {
    let symbols = std::fs::read("/proc/kallsyms").unwrap_or_default();
    symbols.split(|&byte| byte == b'\n').any(|line| line.ends_with(b" register_kprobe"))
}
