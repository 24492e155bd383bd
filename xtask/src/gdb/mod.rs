//! `cargo xtask gdb`: values that our probes read, against those that gdb shows at the same instructions.
//!
//! For each row of the compiler matrix, gdb stops at every address of the line table and says what each variable in
//! sight is (`values.py`); then a script with a probe at each of these addresses prints the same expressions. Both runs
//! have the same empty environment and no address randomisation, so that even pointers must be equal.
//!
//! A value of ours that differs from gdb's, or that gdb calls unavailable, is *wrong*. What we refuse and gdb has is
//! counted as *missing*. What gdb cannot know and we do is counted as *more*: values of a function's entry, which gdb
//! finds only where the caller has kept them, and never in a function that calls itself.
//!
//! `--random N` compares programs that were made up (`generate`) instead: each with another compiler and other options.
//!
//! **Not here:** how variables are found (`tracer::debuginfo`).

mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{command, package, workspace};

/// A program of the matrix.
#[derive(Debug)]
pub struct Source {
    /// Files, the first gives the name.
    files: &'static [&'static str],
    compilers: &'static [&'static str],
    /// A function of each file that is looked at.
    functions: &'static str,
    /// Variables of other files that are asked for: `unit:name`.
    elsewhere: &'static str,
}

static SOURCES: [Source; 4] = [
    Source { files: &["variables.c"], compilers: &["gcc", "clang"], functions: "main", elsewhere: "" },
    Source {
        files: &["kinds.c", "kinds_other.c"],
        compilers: &["gcc", "clang"],
        functions: "main in_other_unit",
        elsewhere: "kinds.c:shared_name kinds_other.c:shared_name kinds_other.c:only_here",
    },
    Source { files: &["variables.cc"], compilers: &["g++", "clang++"], functions: "main", elsewhere: "" },
    Source { files: &["variables.rs"], compilers: &["rustc"], functions: "variables::main", elsewhere: "" },
];

/// One row of the matrix.
#[derive(Clone, Debug)]
pub struct Variant {
    compiler: &'static str,
    source: &'static Source,
    flags: Vec<&'static str>,
    separate: bool,
    /// Of a program that is made up.
    seed: Option<u64>,
}

impl Variant {
    /// A name for reports and files.
    pub fn name(&self) -> String {
        let flag = |flag: &&str| flag.trim_start_matches('-').replace(['=', ' '], "_");
        let flags: String = self.flags.iter().map(flag).collect::<Vec<_>>().join("_");
        let separate = if self.separate { "_separate" } else { "" };
        let seed = self.seed.map_or(String::new(), |seed| format!("_{seed}"));
        format!("{}{seed}_{}_{flags}{separate}", self.source.files[0].replace('.', "_"), self.compiler)
    }

    fn is_optimized(&self) -> bool {
        !self.flags.iter().any(|flag| ["-O0", "-Copt-level=0"].contains(flag))
    }
}

/// The whole matrix: compilers, optimisation, DWARF versions, position, separate debug information.
pub fn matrix() -> Vec<Variant> {
    const C: [[&str; 4]; 3] = [
        ["-O0", "-O1", "-O2", "-O3"],
        ["-gdwarf-4", "-gdwarf-5", "", ""],
        ["-fno-pie -no-pie", "-fPIE -pie", "", ""],
    ];
    const RUST: [[&str; 4]; 3] = [
        ["-Copt-level=0", "-Copt-level=1", "-Copt-level=2", "-Copt-level=3"],
        ["-Cdwarf-version=4", "-Cdwarf-version=5", "", ""],
        ["-Crelocation-model=static", "-Crelocation-model=pie", "", ""],
    ];
    let mut all = Vec::new();
    for source in &SOURCES {
        for compiler in source.compilers {
            if !exists(compiler) {
                continue;
            }
            let [levels, versions, positions] = if *compiler == "rustc" { RUST } else { C };
            for (n, level) in levels.into_iter().enumerate() {
                for (m, version) in versions.into_iter().take(2).enumerate() {
                    for (k, position) in positions.into_iter().take(2).enumerate() {
                        let mut flags = vec![level, version];
                        flags.extend(position.split(' '));
                        all.push(Variant {
                            compiler,
                            source,
                            flags,
                            separate: (n + m + k).is_multiple_of(3),
                            seed: None,
                        });
                    }
                }
            }
        }
    }
    all
}

static MADE_UP: Source =
    Source { files: &["random.c"], compilers: &["gcc", "clang"], functions: "main", elsewhere: "" };

/// Programs that were made up, with options that take turns.
pub fn random(first: u64, count: usize) -> Vec<Variant> {
    let rows = (first..).take(count).map(|seed| {
        let n = seed as usize;
        let level = ["-O2", "-O1", "-O3", "-O0", "-Og"][n % 5];
        let version = ["-gdwarf-5", "-gdwarf-4"][n / 2 % 2];
        let position = [["-fno-pie", "-no-pie"], ["-fPIE", "-pie"]][n / 3 % 2];
        let flags = [level, version].into_iter().chain(position).collect();
        let compiler = MADE_UP.compilers[n % 2];
        Variant { compiler, source: &MADE_UP, flags, separate: false, seed: Some(seed) }
    });
    rows.filter(|row| exists(row.compiler)).collect()
}

/// A few rows that differ in everything: for every test run.
pub fn some() -> Vec<Variant> {
    let mut rows: Vec<Variant> = matrix().into_iter().step_by(37).collect();
    rows.extend(random(3, 1));
    rows
}

fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// What came out of a row.
#[derive(Clone, Default, Debug)]
pub struct Outcome {
    /// Different (variable, address) pairs with equal values at every hit.
    pub equal: usize,
    /// Pairs that both say are unavailable.
    pub unavailable: usize,
    /// Pairs at the first instruction of code that is not optimised: gdb reads a frame that is not there yet.
    pub early: usize,
    /// Pairs that gdb fails to evaluate.
    pub unknown: usize,
    /// Pairs that ask for a value of the function's entry, which only we have seen.
    pub more: usize,
    /// Pairs that gdb has and we refuse.
    pub missing: Vec<String>,
    /// Pairs that differ.
    pub wrong: Vec<String>,
}

/// Hits of each address that are compared.
const HITS: usize = 3;
/// Addresses of one script.
const ADDRESSES: usize = 60;

type Key = (u64, String);
/// Values by the number of the hit.
type Hits = BTreeMap<u32, String>;
type Values = BTreeMap<Key, Hits>;

/// Compares one row.
pub fn compare(tracer: &Path, variant: &Variant) -> Result<Outcome, String> {
    let program = build(variant)?;
    let (gdb, entries) = gdb_values(&program, variant)?;
    if gdb.is_empty() {
        return Err("gdb saw no variables".to_owned());
    }
    let ours = our_values(tracer, &program, &gdb)?;
    let mut outcome = Outcome::default();
    for (key, theirs) in &gdb {
        let (address, expression) = key;
        // Only hits that gdb says something of: in others there was nothing to follow a pointer of.
        let mut mine = ours.get(key).cloned().unwrap_or_default();
        mine.retain(|hit, _| theirs.contains_key(hit));
        let is = |wanted: &'static str| move |value: &String| value == wanted;
        let fits = |(mine, theirs): (&String, &String)| mine == theirs || theirs == "~";
        let together = || mine.values().zip(theirs.values());
        let same_hits = mine.keys().eq(theirs.keys());
        let what = || format!("{} 0x{address:x} {expression}: {mine:?}, gdb {theirs:?}", variant.name());
        if theirs.values().any(is("e")) {
            outcome.unknown += 1;
        } else if mine.is_empty() {
            outcome.wrong.push(format!("{} (never seen)", what()));
        } else if same_hits && together().all(fits) {
            if mine.values().all(is("-")) {
                outcome.unavailable += 1;
            } else if theirs.values().all(is("~")) {
                outcome.more += 1;
            } else {
                outcome.equal += 1;
            }
        } else if same_hits && together().all(|(mine, theirs)| mine == "-" || fits((mine, theirs))) {
            outcome.missing.push(what());
        } else if !variant.is_optimized() && entries.contains(address) {
            outcome.early += 1;
        } else {
            outcome.wrong.push(what());
        }
    }
    Ok(outcome)
}

fn folder() -> PathBuf {
    workspace::target().join("gdb")
}

fn build(variant: &Variant) -> Result<PathBuf, String> {
    let dir = folder().join(variant.name());
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let sources = workspace::root().join("tracer/tests/fixtures/src");
    let program = dir.join("program");
    let mut compiler = Command::new(variant.compiler);
    compiler.args(&variant.flags).arg("-o").arg(&program);
    match variant.seed {
        Some(seed) => {
            let file = dir.join(variant.source.files[0]);
            std::fs::write(&file, generate::program(seed)).map_err(|e| e.to_string())?;
            compiler.arg("-w").arg(file);
        }
        None => {
            compiler.args(variant.source.files.iter().map(|file| sources.join(file)));
        }
    }
    compiler.arg(if variant.compiler == "rustc" { "-g" } else { "-lm" });
    command::output(&mut compiler)?;
    if variant.separate {
        let debug = dir.join("program.debug");
        command::output(Command::new("objcopy").arg("--only-keep-debug").arg(&program).arg(&debug))?;
        command::output(Command::new("strip").arg("-g").arg(&program))?;
        let link = format!("--add-gnu-debuglink={}", debug.display());
        command::output(Command::new("objcopy").arg(link).arg(&program))?;
    }
    Ok(program)
}

fn gdb_values(program: &Path, variant: &Variant) -> Result<(Values, BTreeSet<u64>), String> {
    let dir = program.parent().unwrap_or(Path::new("/"));
    let (script, out) = (dir.join("values.py"), dir.join("gdb.txt"));
    std::fs::write(&script, include_str!("values.py")).map_err(|e| e.to_string())?;
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-x"]).arg(&script).arg(program);
    gdb.env("FUNCTIONS", variant.source.functions).env("ELSEWHERE", variant.source.elsewhere);
    gdb.env("HITS", HITS.to_string()).env("OUT", &out);
    command::output(&mut gdb)?;
    let text = std::fs::read_to_string(&out).map_err(|e| format!("gdb said nothing: {e}"))?;
    let entries = text.lines().filter_map(|line| line.strip_prefix("entry ")?.parse().ok()).collect();
    Ok((values(&text), entries))
}

/// Lines of `address hit expression value`.
fn values(text: &str) -> Values {
    let mut values = Values::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let address = words.next().and_then(|word| word.parse().ok());
        let hit = words.next().and_then(|word| word.parse().ok());
        let (Some(address), Some(hit), Some(expression), Some(value)) =
            (address, hit, words.next(), words.next())
        else {
            continue;
        };
        values.entry((address, expression.to_owned())).or_default().insert(hit, value.to_owned());
    }
    values
}

/// Runs scripts that print the same expressions.
fn our_values(tracer: &Path, program: &Path, gdb: &Values) -> Result<Values, String> {
    let mut by_address: BTreeMap<u64, Vec<(&str, u32)>> = BTreeMap::new();
    for ((address, expression), hits) in gdb {
        let last = hits.keys().next_back().copied().unwrap_or(0);
        by_address.entry(*address).or_default().push((expression, last));
    }
    // In a program that is loaded elsewhere, gdb's addresses are moved.
    let moved: u64 = if by_address.keys().any(|address| *address >= MOVED) { MOVED } else { 0 };
    let mut all = Values::new();
    let addresses: Vec<_> = by_address.into_iter().collect();
    for chunk in addresses.chunks(ADDRESSES) {
        let mut script = String::from("global hits\n");
        for (address, expressions) in chunk {
            let linked = address - moved;
            let path = program.display();
            let _ = writeln!(
                script,
                "probe process(\"{path}\").statement(0x{linked:x}) {{\n  n = ++hits[{address}]"
            );
            for (expression, last) in expressions {
                let shown = expression.replace('"', "\\\"");
                let _ = writeln!(
                    script,
                    "  if (n <= {last}) {{ if (@defined({expression})) {{ try {{ printf(\"{address} %d {shown} %d\\n\", n, {expression}) }} catch {{ printf(\"{address} %d {shown} -\\n\", n) }} }} else printf(\"{address} %d {shown} -\\n\", n) }}"
                );
            }
            script.push_str("}\n");
        }
        let file = program.with_extension("stp");
        std::fs::write(&file, &script).map_err(|e| e.to_string())?;
        let mut run = Command::new(tracer);
        run.arg("-c").arg(format!("env -i setarch -R {}", program.display()));
        run.args(["-D", "MAXACTION=10000"]).arg(&file);
        let text = command::output(&mut run).map_err(|why| format!("{}: {why}", file.display()))?;
        all.extend(values(&text));
    }
    Ok(all)
}

/// Where Linux loads position-independent programs without randomisation.
const MOVED: u64 = 0x5555_5555_4000;

/// What to compare.
#[derive(Debug)]
pub struct Options {
    /// Only rows whose name contains this.
    pub filter: String,
    /// So many programs that are made up, instead of the matrix.
    pub random: Option<usize>,
    /// The first of them.
    pub seed: u64,
    /// The program under test, instead of building it.
    pub tracer: Option<PathBuf>,
}

/// Runs the whole matrix, or what is asked for.
#[expect(clippy::print_stdout, reason = "the report of a developer task")]
pub fn run(options: &Options) -> Result<(), String> {
    package::install(package::FIXTURES)?;
    package::install(package::GDB)?;
    let tracer = options.tracer.clone().map_or_else(tracer, Ok)?;
    let all = options.random.map_or_else(matrix, |count| random(options.seed, count));
    let mut total = Outcome::default();
    let mut rows = BTreeSet::new();
    for variant in all.iter().filter(|variant| variant.name().contains(&options.filter)) {
        let outcome = compare(&tracer, variant).map_err(|why| format!("{}: {why}", variant.name()))?;
        println!(
            "{}: {} equal, {} more, {} unavailable in both, {} missing, {} wrong",
            variant.name(),
            outcome.equal,
            outcome.more,
            outcome.unavailable,
            outcome.missing.len(),
            outcome.wrong.len()
        );
        // One of each expression.
        let mut shown = BTreeSet::new();
        for line in &outcome.wrong {
            let expression = line.split(' ').nth(2);
            if shown.len() < 20 && shown.insert(expression) {
                println!("    {line}");
            }
        }
        total.equal += outcome.equal;
        total.more += outcome.more;
        total.unavailable += outcome.unavailable;
        total.missing.extend(outcome.missing);
        total.wrong.extend(outcome.wrong);
        rows.insert(variant.name());
    }
    println!(
        "{} programs: {} pairs equal, {} more, {} unavailable in both, {} missing, {} wrong",
        rows.len(),
        total.equal,
        total.more,
        total.unavailable,
        total.missing.len(),
        total.wrong.len()
    );
    let report = folder().join("missing.txt");
    std::fs::write(&report, total.missing.join("\n")).map_err(|e| e.to_string())?;
    if total.wrong.is_empty() { Ok(()) } else { Err(format!("{} wrong values", total.wrong.len())) }
}

fn tracer() -> Result<PathBuf, String> {
    command::output(Command::new("cargo").args(["build", "-q", "-j2", "--release", "-p", "tracer"]))?;
    Ok(workspace::target().join("release/tracer"))
}
