//! The optimizer: cases with their results, and random functions that must do the same before and after.
//!
//! A case of `tests/ir/opt` is a module, then `;=== optimized` and what becomes of `f0`. `BLESS=1` writes these.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use tracer_common::ir::opt::{OptError, optimize};
use tracer_common::ir::verify::{explain, verify};
use tracer_common::ir::{FuncId, Module, parse};

mod opt_run;

const MARK: &str = ";=== optimized\n";

#[test]
fn cases_give_their_results() {
    let bless = std::env::var_os("BLESS").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ir/opt");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut blessed = String::new();
        for case in text.split_inclusive('\n').fold(Vec::<String>::new(), |mut cases, line| {
            if line.starts_with(";--- ") || cases.is_empty() {
                cases.push(String::new());
            }
            cases.last_mut().unwrap().push_str(line);
            cases
        }) {
            let (before, expected) = case.split_once(MARK).unwrap_or((&case, ""));
            let found = optimized(before);
            if !bless {
                assert_eq!(found, expected, "{}: {}", file.display(), before.lines().next().unwrap_or(""));
            }
            blessed.push_str(before);
            blessed.push_str(MARK);
            blessed.push_str(&found);
        }
        if bless {
            fs::write(&file, blessed).unwrap();
        }
    }
}

fn optimized(text: &str) -> String {
    let mut module = parse::module(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut out = String::new();
    match optimize(&mut module, &[FuncId(0)]) {
        Ok(()) => {
            check(&module, text);
            write!(out, "{}", module.function_text(FuncId(0))).unwrap();
        }
        Err(error) => writeln!(out, "; error: {error}").unwrap(),
    }
    out
}

fn check(module: &Module, text: &str) {
    if let Err(violations) = verify(module) {
        panic!("{}\n{module}\nfrom\n{text}", explain(module, &violations));
    }
}

#[test]
fn too_much_is_refused() {
    // Each function calls the next twice: 2^40 copies of the last.
    let mut text = String::new();
    for n in 0..40 {
        write!(text, "function f{n} kernel {{\nb0:\n  call f{0}()\n  call f{0}()\n  return\n}}\n", n + 1)
            .unwrap();
    }
    text.push_str("function f40 kernel {\nb0:\n  tick 1\n  return\n}\n");
    let mut module = parse::module(&text).unwrap();
    assert!(matches!(optimize(&mut module, &[FuncId(0)]), Err(OptError::TooLarge { .. })));
}

#[test]
fn random_functions_do_the_same() {
    for seed in 1..=800 {
        let text = opt_run::program(seed);
        let before = parse::module(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        check(&before, &text);
        let mut after = before.clone();
        optimize(&mut after, &[FuncId(0)]).unwrap();
        check(&after, &text);
        let calls = after.to_string();
        let root = calls.split("\nfunction f1 ").next().unwrap();
        assert!(!root.contains("call f"), "seed {seed}");
        for input in [0, 1, -1, 7, i64::MIN] {
            let (a, b) = (opt_run::run(&before, input), opt_run::run(&after, input));
            assert_eq!(
                a,
                b,
                "seed {seed}, input {input}\n{before}\nbecame\n{}",
                after.function_text(FuncId(0))
            );
        }
    }
}
