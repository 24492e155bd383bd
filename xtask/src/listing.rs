//! `cargo xtask listing`: all functions of a program with more than 100 MB of debug information, with their variables:
//! time, processor time and peak memory, beside gdb, perf and readelf, which read the same file.
//!
//! The program is generated: many units that know the same large header, as those of a large C++ program do.
//!
//! **Not here:** goals (`bench`); the other tools' work is not ours, so the ratios are only shown.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{command, package, vm, workspace};

/// Units, functions in each, structures in the header.
const UNITS: usize = 64;
const FUNCTIONS: usize = 200;
const STRUCTURES: usize = 30_000;

/// Measures, with this program or with a fresh release build.
pub fn run(tracer: Option<PathBuf>) -> Result<(), String> {
    package::install(package::FIXTURES)?;
    package::install(package::GDB)?;
    let program = program()?;
    let tracer = tracer.map_or_else(vm::build::tracer, Ok)?;
    println!("{}: {} MB of debug information", program.display(), debug_bytes(&program)? >> 20);
    let point = format!("process(\"{}\").function(\"*\")", program.display());
    let mut with_variables = Command::new(&tracer);
    with_variables.args(["-L", &point]);
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "info functions -n ."]).arg(&program);
    let mut readelf = Command::new("readelf");
    readelf.arg("--debug-dump=info").arg(&program);
    let mut perf = Command::new("perf");
    perf.args(["probe", "--funcs", "--no-demangle", "-x"]).arg(&program);
    // What arming one function, or a mark, has to read of the same file.
    let one = format!("process(\"{}\").function(\"u0_function_0\")", program.display());
    let mut one_function = Command::new(&tracer);
    one_function.args(["-L", &one]);
    println!("{:<40} {:>9} {:>9} {:>9} {:>9}", "", "seconds", "cpu", "MB", "lines");
    let mut first = None;
    for (name, command) in [
        ("tracer -L", &mut with_variables),
        ("gdb, info functions", &mut gdb),
        ("perf probe --funcs (symbols only)", &mut perf),
        ("readelf --debug-dump=info", &mut readelf),
        ("tracer -L of one function", &mut one_function),
    ] {
        if !command::exists(&command.get_program().to_string_lossy()) {
            println!("{name:<40} is not installed");
            continue;
        }
        let Measured { took, cpu, peak, lines } = measure(command)?;
        let (own_cpu, own_peak) = *first.get_or_insert((cpu, peak));
        let ratios = (cpu.as_secs_f64() / own_cpu.as_secs_f64(), peak as f64 / own_peak as f64);
        println!(
            "{name:<40} {:>9.2} {:>9.2} {:>9} {lines:>9}  (x {:.1} cpu, x {:.1} memory)",
            took.as_secs_f64(),
            cpu.as_secs_f64(),
            peak >> 10,
            ratios.0,
            ratios.1
        );
    }
    Ok(())
}

struct Measured {
    took: Duration,
    /// Of all its threads: what other programs of the machine do does not change it.
    cpu: Duration,
    /// KiB.
    peak: u64,
    lines: usize,
}

/// Runs a command, its output into a file; looks at its memory while it runs.
fn measure(command: &mut Command) -> Result<Measured, String> {
    let told = |error: std::io::Error| error.to_string();
    let path = workspace::target().join("listing/output");
    let output = std::fs::File::create(&path).map_err(told)?;
    command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let (mut peak, mut cpu) = (0, Duration::ZERO);
    let status = loop {
        cpu = cpu.max(processor_time(child.id()));
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0));
        if let Some(status) = child.try_wait().map_err(told)? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let took = begin.elapsed();
    if !status.success() {
        return Err(format!("{command:?}: {status}"));
    }
    let output = std::fs::read(&path).map_err(told)?;
    let lines = output.iter().filter(|byte| **byte == b'\n').count();
    Ok(Measured { took, cpu, peak, lines })
}

/// What a process has used of processors so far: as `/proc/PID/stat` counts it, in hundredths of a second.
fn processor_time(id: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The second word, in parentheses, may hold anything.
    let words: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| words.get(n).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// The generated program, built once.
fn program() -> Result<PathBuf, String> {
    let told = |error: std::io::Error| error.to_string();
    let folder = workspace::target().join("listing");
    let program = folder.join(format!("program-{UNITS}-{FUNCTIONS}-{STRUCTURES}"));
    if program.exists() {
        return Ok(program);
    }
    std::fs::create_dir_all(&folder).map_err(told)?;
    let mut header = String::new();
    for n in 0..STRUCTURES {
        let _ = writeln!(
            header,
            "struct s{n} {{ int first_{n}; long *second_{n}; struct s{n} *next_{n}; char name_{n}[{}]; }};",
            n % 60 + 1
        );
    }
    std::fs::write(folder.join("types.h"), header).map_err(told)?;
    for unit in 0..UNITS {
        let mut source = "#include \"types.h\"\n".to_owned();
        for n in 0..FUNCTIONS {
            let ty = (unit * FUNCTIONS + n) % STRUCTURES;
            let _ = writeln!(
                source,
                "long u{unit}_function_{n}(struct s{ty} *self, const char *text, long number)\n\
                 {{\n    long local = self->first_{ty} + number;\n    return local + text[0];\n}}"
            );
        }
        if unit == 0 {
            source.push_str("int main(void) { return 0; }\n");
        }
        std::fs::write(folder.join(format!("u{unit}.c")), source).map_err(told)?;
    }
    println!("building a program of {UNITS} units");
    let build = format!(
        "for n in $(seq 0 {}); do gcc -g -O0 -fno-eliminate-unused-debug-types -c u$n.c -o u$n.o || exit 1; done; \
         gcc -o '{}' u*.o && rm -f u*.o u*.c",
        UNITS - 1,
        program.display()
    );
    command::run(Command::new("sh").current_dir(&folder).args(["-c", &build]))?;
    Ok(program)
}

/// Bytes of the sections of debug information.
fn debug_bytes(program: &Path) -> Result<u64, String> {
    let text = command::output(Command::new("readelf").arg("-SW").arg(program))?;
    let size = |line: &str| {
        let (_, rest) = line.split_once(".debug_")?;
        u64::from_str_radix(rest.split_whitespace().nth(4)?, 16).ok()
    };
    Ok(text.lines().filter_map(size).sum())
}
