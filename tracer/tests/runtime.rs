//! The runtime cases on this machine's own kernel: those that trace nothing but their own children.
//!
//! One test for each folder of `tests/runtime`; `TRACER_CASE=part-of-a-name cargo test --test runtime` runs some cases only.
//! Needs root; without it every case is reported as skipped.
//!
//! **Not here:** guests (`cargo xtask vm`), the format of cases (`docs/testing.md`).
#![expect(clippy::print_stdout, reason = "the report of a test")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use xtask::runtime::case::{self, Case};
use xtask::runtime::outcome::{Outcome, Verdict};
use xtask::runtime::{fixture, is_root, script};

/// Every folder of cases has its test here; `every_folder_has_a_test` sees to it.
macro_rules! folders {
    ($($folder:ident)*) => {
        const FOLDERS: &[&str] = &[$(stringify!($folder)),*];
        $(#[test] fn $folder() { run_folder(stringify!($folder)); })*
    };
}

folders! { cli diagnostic domain kernel library mark nest output safety user }

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runtime");

#[test]
fn every_folder_has_a_test() {
    let entries = std::fs::read_dir(CASES).expect("the case folder");
    let mut found: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    assert_eq!(found, FOLDERS);
}

fn run_folder(folder: &str) {
    let fixtures = fixtures();
    let all = case::load(CASES.as_ref(), fixtures).unwrap_or_else(|why| panic!("{why}"));
    let wanted = std::env::var("TRACER_CASE").unwrap_or_default();
    let inside = format!("{folder}/");
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    for case in all.iter().filter(|case| case.name.starts_with(&inside) && case.name.contains(&wanted)) {
        let start = Instant::now();
        let verdict = if !case.place.host() {
            Verdict::Skip("for guests only".into())
        } else if !is_root() {
            Verdict::Skip("needs root".into())
        } else {
            run(case, fixtures)
        };
        let took = start.elapsed().as_millis();
        match verdict {
            Verdict::Pass => {
                passed += 1;
                println!("pass {} ({took} ms)", case.name);
            }
            Verdict::Skip(why) => {
                skipped += 1;
                println!("skip {}: {why}", case.name);
            }
            Verdict::Fail(why) => {
                println!("FAIL {} ({took} ms)\n    {}", case.name, why.replace('\n', "\n    "));
                failed.push(case.name.as_str());
            }
        }
    }
    println!("{folder}: {passed} passed, {skipped} skipped, {} failed", failed.len());
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

/// Runs one case in a folder of its own.
fn run(case: &Case, fixtures: &Path) -> Verdict {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cases").join(&case.name);
    std::fs::create_dir_all(&dir).expect("a folder for the case");
    let site = script::Site { tracer: env!("CARGO_BIN_EXE_tracer").as_ref(), fixtures, patience: 1 };
    let run = dir.join("run");
    std::fs::write(&run, script::shell(case, &site)).expect("the case's script");
    std::fs::write(dir.join(script::SCRIPT), &case.text).expect("the case's text");
    let transcript = dir.join("transcript");
    let file = std::fs::File::create(&transcript).expect("a transcript");
    let mut shell = Command::new("sh");
    shell.arg(&run).stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
    let mut shell = shell.spawn().expect("sh");
    // The script ends tracer itself; this is for shell lines of the case that hang.
    let deadline = Instant::now() + Duration::from_secs(case.timeout + 20);
    while shell.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            shell.kill().expect("a child");
            shell.wait().expect("a child");
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let transcript = std::fs::read(&transcript).expect("the transcript");
    Outcome::read(&String::from_utf8_lossy(&transcript)).judge(case)
}

fn fixtures() -> &'static Path {
    static BUILT: OnceLock<std::path::PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| fixture::build().unwrap_or_else(|why| panic!("{why}")))
}
