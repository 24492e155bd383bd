//! `cargo xtask differ`: random scripts, run by the evaluator, by the userspace BPF machine as every supported kernel
//! would get them, and by a real kernel; all must do the same, and every verifier must accept every program.
//!
//! `choices` is the stream of random choices and its shrinking, `generate` makes scripts from it, `script` compiles
//! both forms, `outcome` runs them, `machine_globals` reads the machine's maps.
//!
//! **Not here:** cases written by hand (`tracer/tests/differential`).

pub mod choices;
pub mod generate;
mod machine_globals;
pub mod outcome;
pub mod script;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use choices::{Choices, shrink};
use generate::generate;
use outcome::{Failure, Outcome};
use script::{Refusal, Script};
use tracer::sys::features;
use tracer_ebpf::target::Target;

use crate::package;
use crate::runtime::{case, fixture};
use crate::vm::{self, Kernel, build, image};

/// Seconds that a guest may take, before it is given the patience that emulation needs.
const GUEST: u64 = 600;

/// What to run.
pub struct Options {
    /// How many scripts.
    pub programs: u64,
    /// The first one's seed.
    pub seed: u64,
    /// In this machine's kernel too.
    pub here: bool,
    /// Not in the machine.
    pub alone: bool,
    /// In these guests instead, each script in the guest's kernel.
    pub guests: Vec<Kernel>,
    /// Show instead of count.
    pub show: bool,
    /// How often a failing script is made smaller at most.
    pub tries: usize,
}

/// A place where kernel forms run.
pub enum Place {
    /// The machine, for a release.
    Machine(&'static str, Target),
    /// The kernel of this machine.
    Kernel(Target),
}

impl Place {
    /// The machine for every preset.
    pub fn machines() -> Vec<Place> {
        ["5.10", "6.1", "6.12", "6.18"]
            .into_iter()
            .filter_map(|release| Some(Place::Machine(release, Target::preset(release)?)))
            .collect()
    }

    /// This machine's kernel.
    pub fn kernel() -> Result<Place, String> {
        let target = features::target(1 << 20, false, false, false, None);
        target.map(Place::Kernel).map_err(|error| format!("cannot ask the kernel what it can do: {error}"))
    }

    fn name(&self) -> String {
        match self {
            Place::Machine(release, _) => format!("the machine for {release}"),
            Place::Kernel(_) => "the kernel".to_owned(),
        }
    }

    fn run(&self, script: &Script) -> Result<Outcome, Failure> {
        match self {
            Place::Machine(_, target) => outcome::in_machine(script, target),
            Place::Kernel(target) => outcome::in_kernel(script, target),
        }
    }
}

/// What a comparison found.
pub enum Verdict {
    /// All places did the same; in those that are named the script was refused with a reason.
    Agrees {
        /// Places that ran it.
        ran: usize,
        /// Reasons of the others.
        refused: Vec<String>,
    },
    /// A bug.
    Differs(String),
}

/// Runs a script in the evaluator and in all places.
pub fn compare(script: &Script, places: &[Place]) -> Verdict {
    let expected = match guarded(|| outcome::evaluate(script)) {
        Ok(expected) => expected,
        Err(failure) => return Verdict::Differs(format!("in the evaluator: {failure:?}")),
    };
    let (mut ran, mut refused) = (0, Vec::new());
    for place in places {
        match guarded(|| place.run(script)) {
            // Where a handler is stopped depends on how its statements were laid out: the limit is no promise.
            Ok(found) if found == expected || (found.ran_out() || expected.ran_out()) => ran += 1,
            Ok(found) => {
                return Verdict::Differs(format!("{}: {}", place.name(), difference(&expected, &found)));
            }
            Err(Failure::Refused(Refusal::Unsupported(why))) => refused.push(why),
            Err(Failure::Refused(Refusal::Wrong(why)) | Failure::Bug(why)) => {
                return Verdict::Differs(format!("{}: {why}", place.name()));
            }
        }
    }
    Verdict::Agrees { ran, refused }
}

/// A panic is a finding like any other.
fn guarded<T>(run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Failure::Bug(format!("panic: {}", text.unwrap_or_default())))
    })
}

fn difference(expected: &Outcome, found: &Outcome) -> String {
    let first = |a: &[String], b: &[String]| {
        let at = (0..a.len().max(b.len())).find(|n| a.get(*n) != b.get(*n))?;
        let line = |lines: &[String]| lines.get(at).map_or("nothing".to_owned(), |line| format!("{line:?}"));
        Some(format!("{}, not {} (line {at})", line(b), line(a)))
    };
    first(&expected.lines, &found.lines)
        .or_else(|| first(&expected.errors, &found.errors).map(|text| format!("error {text}")))
        .unwrap_or_default()
}

/// The script of a seed.
pub fn of_seed(seed: u64) -> Script {
    generate(&mut Choices::random(seed))
}

/// A failing seed's smallest script that still differs, and how.
pub fn shrunk(seed: u64, places: &[Place], tries: usize) -> (Script, String) {
    let mut choices = Choices::random(seed);
    generate(&mut choices);
    let differs = |taken: &[u32]| match compare(&generate(&mut Choices::given(taken.to_vec())), places) {
        Verdict::Agrees { .. } => None,
        Verdict::Differs(why) => Some(why),
    };
    // Failures of one kind only: a shrink must not wander off to another bug.
    let kind = |why: &str| why.split(|c: char| c == ':' || c.is_ascii_digit()).take(2).collect::<String>();
    let taken = choices.taken();
    let wanted = differs(&taken).map(|why| kind(&why));
    let best = shrink(taken, tries, &mut |taken| {
        differs(taken).map(|why| kind(&why)).is_some_and(|found| Some(found) == wanted)
    });
    let script = generate(&mut Choices::given(best.clone()));
    (script, differs(&best).unwrap_or_default())
}

/// Figures of a run.
#[derive(Default)]
pub struct Figures {
    /// Scripts.
    pub scripts: u64,
    /// Runs that agreed with the evaluator.
    pub runs: u64,
    /// Reasons of refusals, with how often.
    pub refused: BTreeMap<String, u64>,
    /// Seeds that differ.
    pub differ: Vec<(u64, String)>,
}

/// Compares the scripts of many seeds.
pub fn compare_seeds(seeds: impl IntoIterator<Item = u64>, places: &[Place]) -> Figures {
    let mut figures = Figures::default();
    for seed in seeds {
        figures.scripts += 1;
        match compare(&of_seed(seed), places) {
            Verdict::Agrees { ran, refused } => {
                figures.runs += ran as u64;
                for why in refused {
                    *figures.refused.entry(why).or_default() += 1;
                }
            }
            Verdict::Differs(why) => figures.differ.push((seed, why)),
        }
    }
    figures
}

/// The command.
pub fn run(options: &Options) -> Result<(), String> {
    if !options.guests.is_empty() {
        return in_guests(options);
    }
    let mut places =
        if options.here && (options.show || options.alone) { Vec::new() } else { Place::machines() };
    if options.here {
        places.push(Place::kernel()?);
    }
    if options.show {
        return show(options.seed, &places, options.tries);
    }
    let start = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::panic::set_hook(Box::new(|_| {}));
    let mut total = Figures::default();
    let parts: Vec<Figures> = std::thread::scope(|scope| {
        let places = &places;
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let seeds = (options.seed..options.seed + options.programs)
                    .filter(move |seed| seed % threads == thread);
                scope.spawn(move || compare_seeds(seeds, places))
            })
            .collect();
        handles.into_iter().filter_map(|handle| handle.join().ok()).collect()
    });
    for part in parts {
        total.scripts += part.scripts;
        total.runs += part.runs;
        total.differ.extend(part.differ);
        for (why, count) in part.refused {
            *total.refused.entry(why).or_default() += count;
        }
    }
    total.differ.sort();
    println!(
        "{} scripts, {} runs that agree, {} refusals, {} differ; {} s",
        total.scripts,
        total.runs,
        total.refused.values().sum::<u64>(),
        total.differ.len(),
        start.elapsed().as_secs()
    );
    for (why, count) in &total.refused {
        println!("  refused {count} times: {why}");
    }
    for (seed, why) in &total.differ {
        println!(
            "  seed {seed}: {}",
            why.lines().next().unwrap_or_default().chars().take(160).collect::<String>()
        );
    }
    match total.differ.as_slice() {
        [] => Ok(()),
        [(seed, _), ..] => {
            show(*seed, &places, options.tries)?;
            Err(format!("{} scripts differ", total.differ.len()))
        }
    }
}

/// Sends this program into guests, where it compares what their kernels do with the evaluator.
fn in_guests(options: &Options) -> Result<(), String> {
    package::install(package::GUESTS)?;
    package::install(package::FIXTURES)?;
    let program = build::package("xtask")?;
    let text = format!(
        "//--- differ\n//@ command: differ --here --alone --programs {} --seed {} --tries 50\n//@ timeout: {GUEST}\n//@ expect: /.*, 0 differ;.*/\n//@ expect: ...\n",
        options.programs, options.seed
    );
    let cases = case::parse("differ", &text, image::FIXTURES.as_ref())?;
    vm::run_cases(&options.guests, &program, &fixture::build()?, &cases, Duration::from_secs(GUEST * 6))
}

/// Shows a seed's script, shrunk when it differs.
fn show(seed: u64, places: &[Place], tries: usize) -> Result<(), String> {
    let (script, why) = match compare(&of_seed(seed), places) {
        Verdict::Agrees { .. } => (of_seed(seed), "agrees".to_owned()),
        Verdict::Differs(_) => shrunk(seed, places, tries),
    };
    let folder = crate::workspace::target().join(format!("differ/{seed}"));
    script::save(&script, &folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    println!(
        "seed {seed}: {why}\nhits {:?}, MAXSTRINGLEN {}\n{}",
        script.hits,
        script.string_len,
        script.kernel()
    );
    Ok(())
}
