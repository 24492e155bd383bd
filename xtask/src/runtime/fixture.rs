//! The programs that cases trace: built by gcc, clang and rustc when a test needs them, never committed.
//!
//! A fixture says itself what its probes must see: it writes a report to the file named by `$REPORT` (or to its standard output).
//! To add one: a source in `tracer/tests/fixtures/src`, a row in `FIXTURES`, a row in `docs/testing.md`.
//!
//! **Not here:** what cases expect.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{command, workspace};

/// One program.
struct Fixture {
    name: &'static str,
    source: Source,
    flags: &'static [&'static str],
    stripped: bool,
}

enum Source {
    /// A file in `tracer/tests/fixtures/src`.
    File(&'static str),
    /// One of them that clang compiles, not gcc.
    Clang(&'static str),
    /// A program of so many functions, each called once.
    Many(usize),
    /// A program of so many functions that do nothing.
    Short(usize),
}

const FIXTURES: &[Fixture] = &[
    Fixture {
        name: "calls_o2",
        source: Source::File("calls.c"),
        flags: &["-g", "-O2", "-fno-inline"],
        stripped: false,
    },
    Fixture { name: "calls_o0", source: Source::File("calls.c"), flags: &["-g", "-O0"], stripped: false },
    Fixture {
        name: "calls_stripped",
        source: Source::File("calls.c"),
        flags: &["-O2", "-fno-inline"],
        stripped: true,
    },
    Fixture {
        name: "calls_dynamic",
        source: Source::File("calls.c"),
        flags: &["-O2", "-fno-inline", "-rdynamic"],
        stripped: true,
    },
    Fixture {
        name: "calls_dwarf4",
        source: Source::File("calls.c"),
        flags: &["-gdwarf-4", "-O2", "-fno-inline"],
        stripped: false,
    },
    Fixture {
        name: "calls_nopie",
        source: Source::File("calls.c"),
        flags: &["-g", "-O2", "-fno-inline", "-no-pie"],
        stripped: false,
    },
    Fixture {
        name: "many",
        source: Source::Many(5000),
        flags: &["-g", "-O1", "-fno-inline"],
        stripped: false,
    },
    Fixture { name: "usdt", source: Source::File("usdt.c"), flags: &["-g", "-O2"], stripped: false },
    Fixture { name: "forms", source: Source::File("forms.c"), flags: &["-g", "-O2"], stripped: false },
    Fixture {
        name: "forms_nopie",
        source: Source::File("forms.c"),
        flags: &["-O0", "-no-pie"],
        stripped: false,
    },
    Fixture {
        name: "libmarks.so",
        source: Source::File("libmarks.c"),
        flags: &["-O2", "-shared", "-fPIC"],
        stripped: true,
    },
    Fixture {
        name: "placed",
        source: Source::File("placed.c"),
        flags: &[
            "-g",
            "-O2",
            "-no-pie",
            "-Wl,--section-start=.fixed=0x600000",
            "-Wl,--build-id=0x7472616365722d706c616365642d30303030303031",
            "-lmarks",
            "-Wl,--no-as-needed,-rpath,$ORIGIN",
        ],
        stripped: false,
    },
    Fixture { name: "opener", source: Source::File("opener.c"), flags: &["-g", "-O2"], stripped: false },
    Fixture {
        name: "entered",
        source: Source::File("entered.c"),
        flags: &["-g", "-O2", "-pthread"],
        stripped: false,
    },
    Fixture {
        name: "settled_o2",
        source: Source::Clang("settled.c"),
        flags: &["-g", "-O2"],
        stripped: false,
    },
    Fixture {
        name: "settled_o0",
        source: Source::Clang("settled.c"),
        flags: &["-g", "-O0", "-fomit-frame-pointer"],
        stripped: false,
    },
    Fixture {
        name: "shown",
        source: Source::File("shown.c"),
        flags: &["-g", "-O0", "-no-pie"],
        stripped: false,
    },
    Fixture { name: "entry_o0", source: Source::File("entry.c"), flags: &["-g", "-O0"], stripped: false },
    Fixture {
        name: "callees",
        source: Source::File("callees.c"),
        flags: &["-g", "-O2", "-pthread"],
        stripped: false,
    },
    Fixture {
        name: "callees_fp",
        source: Source::File("callees.c"),
        flags: &["-g", "-O1", "-fno-omit-frame-pointer", "-no-pie", "-pthread"],
        stripped: false,
    },
    Fixture { name: "reader", source: Source::File("reader.c"), flags: &["-g", "-O2"], stripped: false },
    Fixture {
        name: "nest",
        source: Source::File("nest.c"),
        flags: &["-g", "-O2", "-pthread"],
        stripped: false,
    },
    Fixture {
        name: "hits",
        source: Source::File("hits.c"),
        flags: &["-g", "-O2", "-pthread"],
        stripped: false,
    },
    Fixture { name: "life", source: Source::File("life.c"), flags: &["-O2", "-pthread"], stripped: false },
    Fixture {
        name: "data",
        source: Source::File("data.c"),
        flags: &["-g", "-O2", "-fno-inline", "-fno-optimize-sibling-calls"],
        stripped: false,
    },
    Fixture { name: "places_o0", source: Source::File("places.c"), flags: &["-g", "-O0"], stripped: false },
    Fixture {
        name: "classes_symbols",
        source: Source::File("variables.cc"),
        flags: &["-O0", "-fno-rtti"],
        stripped: false,
    },
    Fixture {
        name: "classes",
        source: Source::File("variables.cc"),
        flags: &["-g", "-O0", "-fno-rtti"],
        stripped: false,
    },
    Fixture {
        name: "chain",
        source: Source::File("chain.c"),
        flags: &["-g", "-O1", "-fno-omit-frame-pointer"],
        stripped: false,
    },
    Fixture {
        name: "fates",
        source: Source::File("fates.c"),
        flags: &["-g", "-O1", "-pthread"],
        stripped: false,
    },
    Fixture { name: "bytes", source: Source::File("bytes.c"), flags: &["-g", "-O0"], stripped: false },
    Fixture {
        name: "late",
        source: Source::File("late.c"),
        flags: &["-g", "-O1", "-pthread"],
        stripped: false,
    },
    Fixture {
        name: "paged",
        source: Source::File("paged.c"),
        flags: &["-g", "-O2", "-pthread"],
        stripped: false,
    },
    Fixture { name: "deep", source: Source::File("deep.c"), flags: DEEP, stripped: false },
    Fixture {
        name: "deep_nopie",
        source: Source::File("deep.c"),
        flags: &["-O3", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread", "-no-pie"],
        stripped: false,
    },
    Fixture {
        name: "deep_static",
        source: Source::File("deep.c"),
        flags: &["-O1", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread", "-static"],
        stripped: false,
    },
    Fixture {
        name: "deep_dynamic",
        source: Source::File("deep.c"),
        flags: &[
            "-O2",
            "-fomit-frame-pointer",
            "-fno-optimize-sibling-calls",
            "-pthread",
            "-rdynamic",
            "-Wl,-z,lazy",
        ],
        stripped: true,
    },
    Fixture {
        name: "deep_debug_frame",
        source: Source::File("deep.c"),
        flags: &[
            "-g",
            "-O2",
            "-fomit-frame-pointer",
            "-fno-optimize-sibling-calls",
            "-pthread",
            "-fno-asynchronous-unwind-tables",
            "-fno-unwind-tables",
        ],
        stripped: false,
    },
    Fixture {
        name: "plug",
        source: Source::File("plug.c"),
        flags: &["-O2", "-fomit-frame-pointer"],
        stripped: false,
    },
    Fixture {
        name: "plugin.so",
        source: Source::File("plugin.c"),
        flags: &["-O2", "-fomit-frame-pointer", "-fPIC", "-shared"],
        stripped: false,
    },
    Fixture {
        name: "thrown",
        source: Source::File("thrown.cc"),
        flags: &[
            "-g",
            "-O2",
            "-fomit-frame-pointer",
            "-fno-optimize-sibling-calls",
            "-Wl,--no-as-needed",
            "-lstdc++",
        ],
        stripped: false,
    },
    Fixture {
        name: "rust_o0",
        source: Source::File("variables.rs"),
        flags: &["-g", "-Copt-level=0"],
        stripped: false,
    },
    Fixture {
        name: "rust_o2",
        source: Source::File("variables.rs"),
        flags: &["-g", "-Copt-level=2"],
        stripped: false,
    },
    Fixture {
        name: "libthreads.so",
        source: Source::File("threads_lib.c"),
        flags: &["-g", "-O1", "-fPIC", "-shared"],
        stripped: false,
    },
    Fixture {
        name: "libapart.so",
        source: Source::File("apart_lib.c"),
        flags: &["-g", "-O1", "-fPIC", "-shared"],
        stripped: false,
    },
    Fixture {
        name: "apart",
        source: Source::File("apart.c"),
        flags: &["-g", "-O1", "-Wl,-rpath,$ORIGIN"],
        stripped: false,
    },
    Fixture {
        name: "apart_nopie",
        source: Source::File("apart.c"),
        flags: &["-g", "-O1", "-no-pie", "-Wl,-rpath,$ORIGIN"],
        stripped: false,
    },
    Fixture {
        name: "threads",
        source: Source::File("threads.c"),
        flags: &["-g", "-O1", "-pthread", "-Wl,-rpath,$ORIGIN"],
        stripped: false,
    },
    Fixture { name: "places_o2", source: Source::File("places.c"), flags: &["-g", "-O2"], stripped: false },
];

/// Flags of a program without frame pointers.
const DEEP: &[&str] = &["-g", "-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread"];

/// Programs that take long to build, and that only measurements need.
const LARGE: &[Fixture] = &[Fixture {
    name: "short_20000",
    source: Source::Short(20_000),
    flags: &["-g", "-O1", "-fno-inline"],
    stripped: false,
}];

/// Flags of all programs.
const COMMON: &[&str] = &["-Wall", "-Werror"];

/// The folder of the built programs.
pub fn dir() -> PathBuf {
    workspace::target().join("fixtures")
}

/// Builds what is missing or out of date, and returns the folder.
pub fn build() -> Result<PathBuf, String> {
    let dir = dir();
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    for fixture in FIXTURES {
        fixture.build(&dir).map_err(|why| format!("fixture {}: {why}", fixture.name))?;
    }
    Ok(dir)
}

/// Builds one program and returns its path.
pub fn build_one(name: &str) -> Result<PathBuf, String> {
    let dir = dir();
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let fixture = FIXTURES
        .iter()
        .chain(LARGE)
        .find(|fixture| fixture.name == name)
        .ok_or_else(|| format!("no fixture {name}"))?;
    fixture.build(&dir)?;
    Ok(dir.join(name))
}

/// The names of all programs.
pub fn names() -> impl Iterator<Item = &'static str> {
    FIXTURES.iter().map(|fixture| fixture.name)
}

impl Fixture {
    fn build(&self, dir: &Path) -> Result<(), String> {
        let text = match self.source {
            Source::File(name) | Source::Clang(name) => {
                let path = workspace::root().join("tracer/tests/fixtures/src").join(name);
                std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?
            }
            Source::Many(count) => many(count),
            Source::Short(count) => short(count),
        };
        // The stamp is the source and the flags themselves: no clock, no hash.
        let stamp = format!("{COMMON:?} {} {}\n{text}", self.flags.join(" "), self.stripped);
        let stamp_file = dir.join(format!("{}.stamp", self.name));
        let program = dir.join(self.name);
        if program.exists() && std::fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp) {
            return Ok(());
        }
        let io = |e: std::io::Error| e.to_string();
        // Two test processes may build at once: each works in a folder of its own and renames.
        let work = dir.join(format!("{}.{}", self.name, std::process::id()));
        std::fs::create_dir_all(&work).map_err(io)?;
        let source = match self.source {
            Source::File(name) | Source::Clang(name) => work.join(name),
            Source::Many(_) | Source::Short(_) => work.join("many.c"),
        };
        std::fs::write(&source, &text).map_err(io)?;
        let built = work.join(self.name);
        // Relative to its folder, debug information names the same files wherever the checkout is.
        let is_rust = source.extension().is_some_and(|extension| extension == "rs");
        let of_c = if matches!(self.source, Source::Clang(_)) { "clang" } else { "gcc" };
        let mut compiler = Command::new(if is_rust { "rustc" } else { of_c });
        if is_rust {
            compiler.arg(format!("--remap-path-prefix={}=/src", work.display()));
        } else {
            compiler.arg(format!("-ffile-prefix-map={}=/src", work.display())).args(COMMON);
            compiler.arg(format!("-L{}", dir.display()));
        }
        // Libraries among the flags stand behind the source that needs them.
        compiler.arg("-o").arg(&built).arg(&source).args(self.flags);
        command::output(&mut compiler)?;
        if self.stripped {
            command::output(Command::new("strip").arg(&built))?;
        }
        std::fs::rename(&built, &program).map_err(io)?;
        std::fs::write(&stamp_file, stamp).map_err(io)?;
        std::fs::remove_dir_all(&work).map_err(io)
    }
}

/// The signatures that the functions of `many` take turns with: parameter lists, and the format and values of the report.
const SIGNATURES: &[(&str, &str, &str)] = &[
    ("void", "", ""),
    ("int a", "a=0x%lx", "(long)a"),
    ("int a, long b", "a=0x%lx b=0x%lx", "(long)a, b"),
    ("const char *s, unsigned n", "s=0x%lx n=0x%lx", "(long)s, (long)n"),
    ("long a, long b, long c, long d", "a=0x%lx b=0x%lx c=0x%lx d=0x%lx", "a, b, c, d"),
    ("unsigned char c, short h", "c=0x%lx h=0x%lx", "(long)c, (long)h"),
];

/// A program of `count` functions with different names and few signatures.
fn many(count: usize) -> String {
    let mut text = String::from(HEAD);
    let mut calls = String::new();
    for n in 0..count {
        let (parameters, format, values) = SIGNATURES[n % SIGNATURES.len()];
        let comma = if values.is_empty() { "" } else { ", " };
        let _ = writeln!(
            text,
            "KEEP long function_{n}({parameters})\n{{\n    SAY(\"=>function_{n}({format})\"{comma}{values});\n    return {n};\n}}"
        );
        let arguments: Vec<String> = match n % SIGNATURES.len() {
            0 => vec![],
            1 => vec![format!("-{n}")],
            2 => vec![format!("{n}"), format!("-{n}L << 20")],
            3 => vec!["\"text\"".into(), format!("{n}u << 18")],
            4 => (0..4).map(|k| format!("{n}L * {k} - 7")).collect(),
            _ => vec![format!("{}", 128 + n % 100), format!("-{}", n % 30000)],
        };
        // The loop is the caller's, so that main stays small and a round can be repeated for measurements.
        let _ = writeln!(calls, "    function_{n}({});", arguments.join(", "));
    }
    let _ = write!(text, "{TAIL_1}{calls}{TAIL_2}");
    text
}

/// A program of `count` functions with the same signatures, which nobody calls: the compiler is not what is measured.
fn short(count: usize) -> String {
    let mut text = String::from(HEAD);
    for n in 0..count {
        let (parameters, _, _) = SIGNATURES[n % SIGNATURES.len()];
        let _ = writeln!(text, "KEEP long function_{n}({parameters}) {{ return {n}; }}");
    }
    text + TAIL_1 + TAIL_2
}

const HEAD: &str = r#"// Generated: many functions, each of which reports its own call.
#include <stdio.h>
#include <stdlib.h>
#define KEEP __attribute__((noipa))
static FILE *report;
#define SAY(format, ...) fprintf(report, format "\n", ##__VA_ARGS__)
"#;

const TAIL_1: &str = r#"int main(void)
{
    const char *path = getenv("REPORT");
    report = path ? fopen(path, "w") : stdout;
    if (!report)
        return 1;
"#;

const TAIL_2: &str = "    fclose(report);\n    return 0;\n}\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_has_as_many_functions() {
        let text = many(12);
        assert_eq!(text.matches("KEEP long function_").count(), 12);
        assert!(text.contains("function_11(139, -11);"));
    }
}
