//! The evaluator, the userspace BPF machine and the kernel agree: scripts of `tests/differential` and random ones, each
//! handler in the user domain and in the kernel domain.
//!
//! A script has one `probe hit` with `$number` and `$thread`, one `probe end` that prints what is to be compared, and
//! `//@ hit: NUMBER THREAD` for each hit. `cargo xtask differ` is the long run.
//!
//! The run cases of the code generator run in the kernel too (`cases`).
//!
//! **Not here:** what the output must be (`tests/runtime`): here the domains judge each other.
#![expect(clippy::print_stdout, reason = "what is refused is shown, not hidden")]

#[path = "differential/cases.rs"]
mod cases;

use std::path::Path;

use xtask::differ::script::{Hit, Script};
use xtask::differ::{Place, Verdict, compare, compare_seeds, shrunk};
use xtask::runtime::is_root;

/// Random scripts for the machine, and for the kernel.
const SCRIPTS: u64 = 120;
const IN_KERNEL: u64 = 25;

#[test]
fn scripts_agree() {
    let mut places = Place::machines();
    if is_root() {
        places.push(Place::kernel().expect("a kernel with BPF"));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder of scripts").flatten().map(|e| e.path()).collect();
    files.retain(|path| path.extension().is_some_and(|name| name == "stp"));
    files.sort();
    let mut failures = String::new();
    let mut runs = 0;
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a script");
        for (name, script) in scripts(&text) {
            match compare(&script, &places) {
                Verdict::Agrees { ran, refused } => {
                    runs += ran;
                    for why in refused {
                        println!("{} {name}: not everywhere: {why}", path.display());
                    }
                }
                Verdict::Differs(why) => {
                    failures += &format!("{} {name}: {why}\n", path.display());
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(runs > 20, "only {runs} runs");
}

#[test]
fn random_scripts_agree_in_the_machine() {
    agree(1..=SCRIPTS, &Place::machines());
}

#[test]
fn random_scripts_agree_in_the_kernel() {
    if is_root() {
        agree(1..=IN_KERNEL, &[Place::kernel().expect("a kernel with BPF")]);
    }
}

fn agree(seeds: impl Iterator<Item = u64>, places: &[Place]) {
    let figures = compare_seeds(seeds, places);
    if let Some((seed, _)) = figures.differ.first() {
        let (script, why) = shrunk(*seed, places, 300);
        panic!("seed {seed} (cargo xtask differ --show --seed {seed}): {why}\n{}", script.kernel());
    }
    println!("{} runs agree; refused: {:?}", figures.runs, figures.refused);
    let refused: u64 = figures.refused.values().sum();
    assert!(figures.runs > 2 * refused, "too much is refused: {:?}", figures.refused);
}

/// The scripts of a file, each after a line `//--- name`.
fn scripts(text: &str) -> Vec<(&str, Script)> {
    let mut found = Vec::new();
    for part in text.split("//--- ").skip(1) {
        let (name, part) = part.split_once('\n').expect("a name");
        let (head, part) = part.split_once("probe hit {\n").expect("probe hit");
        let (body, part) = part.split_once("\n}\nprobe end {\n").expect("probe end");
        let (end, part) = part.split_once("\n}\n").expect("the end of it");
        let hits = part.lines().filter_map(|line| line.strip_prefix("//@ hit: ")).map(|hit| {
            let (number, thread) = hit.split_once(' ').expect("two numbers");
            let [number, thread] = [number, thread].map(|word| word.parse().expect("a number"));
            Hit { handler: 0, number, thread }
        });
        let script = Script {
            globals: head.to_owned(),
            functions: String::new(),
            bodies: vec![format!("{body}\n").replace("$number", "number").replace("$thread", "thread")],
            end: format!("{end}\n"),
            hits: hits.collect(),
            string_len: 512,
        };
        assert!(!script.hits.is_empty(), "{name} is hit");
        found.push((name, script));
    }
    found
}
