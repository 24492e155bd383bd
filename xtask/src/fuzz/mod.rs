//! `cargo xtask fuzz`: damaged and recombined texts and files for the rooms that read them, for a given time.
//!
//! Files are damaged by somebody who knows their formats (`damage`).
//! There is no feedback from coverage: texts come from the suites, the library and the generator of random scripts, and
//! are damaged at the level of bytes, tokens, lines and brackets (`mutate`). Texts that a target understands join the
//! pool, so that they drift. A panic, an answer that takes seconds, memory that runs away and a broken promise of the
//! target (`targets`) are findings: each place once, made smaller, kept in `target/fuzz/TARGET`.
//!
//! **Not here:** what programs compute (`differ`).

mod corpus;
mod damage;
pub mod files;
mod mutate;
mod targets;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::workspace;
pub use targets::Target;

/// What to run.
pub struct Options {
    /// Which reader.
    pub target: Target,
    /// For how long, in minutes of a processor: a busy machine makes no run smaller.
    pub minutes: f64,
    /// Where the random numbers begin.
    pub seed: u64,
}

/// The longest text, in bytes.
const LONGEST: usize = 16 << 10;
/// The longest file.
const LONGEST_FILE: usize = 1 << 20;
/// Files in the pool.
const FILES: usize = 60;
/// Texts in the pool.
const POOL: usize = 3000;
/// The slowest answer.
const SLOW: Duration = Duration::from_secs(5);
/// After so long on a processor there will be no answer.
const HUNG: Duration = Duration::from_secs(60);
/// After so long there will be none either: it waits for something.
const ASLEEP: Duration = Duration::from_secs(1800);
/// Memory that no text may need, in bytes.
const MEMORY: u64 = 2 << 30;
/// How often a finding is made smaller at most.
const TRIES: usize = 3000;
/// The stack that a main thread has.
const STACK: usize = 8 << 20;

/// What came of a text.
enum Answer {
    /// Whether it was understood.
    Fine(bool),
    /// Where it broke, and how.
    Broken { place: String, why: String },
}

/// The command.
pub fn run(options: &Options) -> Result<(), String> {
    let folder = workspace::target().join("fuzz").join(options.target.name());
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let pool = corpus::given(options.target)?;
    let text = Begun::default();
    let start = Instant::now();
    let figures = std::thread::scope(|scope| {
        let work = || Worker::new(options, pool, &folder, &text, start).work(options.minutes);
        let worker = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let worker = worker.ok()?;
        while !worker.is_finished() {
            std::thread::sleep(Duration::from_millis(100));
            let (waited, worked) = text.since(start);
            let why = if worked > HUNG || waited > ASLEEP {
                Some("a text is not answered")
            } else if resident() > MEMORY {
                Some("a text takes too much memory")
            } else {
                None
            };
            if let Some(why) = why {
                // Its text lies in the folder.
                println!("{why}: {}", folder.join("current").display());
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the worker cannot be stopped, and nothing is attached"
                )]
                std::process::exit(1);
            }
        }
        worker.join().ok()
    });
    let figures = figures.ok_or("the worker did not start, or died")?;
    println!(
        "{}: {} texts in {} s, {} understood, slowest {} ms, {} findings",
        options.target.name(),
        figures.texts,
        start.elapsed().as_secs(),
        figures.understood,
        figures.slowest.as_millis(),
        figures.findings.len()
    );
    for (place, (why, file)) in &figures.findings {
        println!("  {place}: {why}\n    {}", file.display());
    }
    match figures.findings.len() {
        0 => Ok(()),
        n => Err(format!("{n} findings")),
    }
}

/// Bytes of memory that this process has now.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// When the text of now began, for the thread that watches.
#[derive(Default)]
struct Begun {
    /// Milliseconds after the start of the run.
    wall: AtomicU64,
    /// Milliseconds that the worker had used.
    processor: AtomicU64,
    /// The worker's folder in /proc.
    worker: OnceLock<PathBuf>,
}

impl Begun {
    fn set(&self, start: Instant) {
        self.worker.get_or_init(|| {
            // Its target is relative to /proc.
            Path::new("/proc").join(std::fs::read_link("/proc/thread-self").unwrap_or_default())
        });
        self.wall.store(start.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.processor.store(processor_time().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long that is ago, by the clock and of the worker's time.
    fn since(&self, start: Instant) -> (Duration, Duration) {
        let wall = start + Duration::from_millis(self.wall.load(Ordering::Relaxed));
        let then = Duration::from_millis(self.processor.load(Ordering::Relaxed));
        let now = self.worker.get().map_or(then, |folder| used(&folder.join("schedstat")));
        (wall.elapsed(), now.saturating_sub(then))
    }
}

/// What this thread has used, however many others there are.
pub fn processor_time() -> Duration {
    used(Path::new("/proc/thread-self/schedstat"))
}

/// The first number of a `schedstat`: nanoseconds on a processor.
fn used(file: &Path) -> Duration {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|time| time.parse().ok()).unwrap_or(0))
}

/// Figures of a run.
#[derive(Default)]
struct Figures {
    texts: u64,
    understood: u64,
    slowest: Duration,
    /// By place: what it was, and the smallest text.
    findings: BTreeMap<String, (String, PathBuf)>,
}

struct Worker<'w> {
    target: Target,
    folder: &'w Path,
    begun: &'w Begun,
    start: Instant,
    random: Random,
    pool: Vec<Vec<u8>>,
    /// Texts that always stay.
    given: usize,
    figures: Figures,
}

thread_local! {
    /// The place and words of the last panic.
    static PANIC: RefCell<(String, String)> = RefCell::default();
}

impl<'w> Worker<'w> {
    fn new(
        options: &Options,
        pool: Vec<Vec<u8>>,
        folder: &'w Path,
        begun: &'w Begun,
        start: Instant,
    ) -> Worker<'w> {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
            let words = info.payload_as_str().unwrap_or_default().to_owned();
            PANIC.with(|panic| *panic.borrow_mut() = (place, words));
        }));
        let given = pool.len();
        let figures = Figures::default();
        Worker {
            target: options.target,
            folder,
            begun,
            start,
            random: Random(options.seed.max(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            pool,
            given,
            figures,
        }
    }

    fn work(mut self, minutes: f64) -> Figures {
        let deadline = processor_time() + Duration::from_secs_f64(minutes * 60.0);
        for n in 0..self.given {
            let text = self.pool[n].clone();
            self.try_text(&text);
        }
        while processor_time() < deadline {
            let mut text = self.pool[self.random.below(self.pool.len())].clone();
            for _ in 0..=self.random.below(4) {
                let donor = &self.pool[self.random.below(self.pool.len())];
                self.target.damage(&mut text, donor, &mut self.random);
            }
            let (longest, room) =
                if self.target.is_binary() { (LONGEST_FILE, FILES) } else { (LONGEST, POOL) };
            text.truncate(longest);
            if self.try_text(&text) {
                if self.pool.len() < self.given + room {
                    self.pool.push(text);
                } else {
                    let n = self.given + self.random.below(room);
                    self.pool[n] = text;
                }
            }
        }
        self.figures
    }

    /// Gives a text to the target; whether it was understood.
    fn try_text(&mut self, text: &[u8]) -> bool {
        // For whoever asks what it was that killed the process.
        let _ = std::fs::write(self.folder.join("current"), text);
        self.begun.set(self.start);
        let begin = processor_time();
        let answer = answer(self.target, text);
        let took = processor_time().saturating_sub(begin);
        self.figures.texts += 1;
        self.figures.slowest = self.figures.slowest.max(took);
        let (place, why) = match answer {
            Answer::Fine(understood) if took < SLOW => {
                self.figures.understood += u64::from(understood);
                return understood;
            }
            Answer::Fine(_) => ("slow".to_owned(), format!("took {took:?}")),
            Answer::Broken { place, why } => (place, why),
        };
        if !self.figures.findings.contains_key(&place) {
            let whole = place == "slow" || self.target.is_binary();
            let smaller = if whole { text.to_owned() } else { self.smaller(text, &place) };
            let file = self.folder.join(format!("finding-{}", self.figures.findings.len()));
            let _ = std::fs::write(&file, smaller);
            println!("{}: {place}: {why}: {}", self.target.name(), file.display());
            self.figures.findings.insert(place, (why, file));
        }
        false
    }

    /// A smaller text that breaks at the same place.
    fn smaller(&self, text: &[u8], place: &str) -> Vec<u8> {
        let mut best: Vec<char> = String::from_utf8_lossy(text).chars().collect();
        let mut piece = (best.len() / 2).max(1);
        let mut tries = 0;
        while piece > 0 && tries < TRIES {
            let mut at = 0;
            while at < best.len() && tries < TRIES {
                tries += 1;
                self.begun.set(self.start);
                let end = (at + piece).min(best.len());
                let candidate: String = best[..at].iter().chain(&best[end..]).collect();
                match answer(self.target, candidate.as_bytes()) {
                    Answer::Broken { place: found, .. } if found == place => drop(best.drain(at..end)),
                    Answer::Broken { .. } | Answer::Fine(_) => at = end,
                }
            }
            piece /= 2;
        }
        best.into_iter().collect::<String>().into_bytes()
    }
}

fn answer(target: Target, text: &[u8]) -> Answer {
    match catch_unwind(AssertUnwindSafe(|| target.read(text))) {
        Ok(Ok(understood)) => Answer::Fine(understood),
        Ok(Err(why)) => {
            let place = why.split(':').next().unwrap_or_default().to_owned();
            Answer::Broken { place, why }
        }
        Err(_) => {
            let (place, why) = PANIC.with(|panic| panic.borrow().clone());
            Answer::Broken { place, why }
        }
    }
}
