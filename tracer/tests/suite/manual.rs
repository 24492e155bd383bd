//! What the manual promises: examples of mistakes that are those mistakes, and a case for every construct.

use std::path::{Path, PathBuf};
use std::process::Command;

use tracer::diagnostics::Code;
use tracer::diagnostics::explain::explain;

/// Codes that need a kernel or a program that is not everywhere, or a script too long to show, and the case for each.
const ELSEWHERE: [(Code, &str); 5] = [
    (Code::KernelLimit, "tests/suite/translate/ko/kernel_limit.stp"),
    (Code::Nesting, "tests/suite/passes.rs"),
    (Code::NoDebugInfo, "tests/runtime/diagnostic/probe.stp"),
    (Code::NoKprobes, "tests/runtime/diagnostic/probe.stp"),
    (Code::TooManyPoints, "tests/suite/elaborate/ko/aliases.stp"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Scripts in the text: what stands in blocks marked as such.
fn scripts(text: &str) -> impl Iterator<Item = &str> {
    text.split("```stap\n").skip(1).filter_map(|rest| rest.split_once("\n```").map(|(script, _)| script))
}

#[test]
fn every_explanation_has_an_example_that_is_this_mistake() {
    for code in Code::ALL {
        let word = code.word();
        let text = explain(word).expect("the manual has every code");
        let elsewhere = ELSEWHERE.iter().find(|(other, _)| other == code);
        assert_eq!(elsewhere.is_some(), scripts(&text).next().is_none(), "an example for {word}");
        if let Some((_, file)) = elsewhere {
            assert!(root().join(file).is_file(), "{file}");
        }
        for script in scripts(&text) {
            let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
                .args(["-p3", "-e", script])
                .output()
                .expect("tracer runs");
            let told = String::from_utf8_lossy(&output.stderr);
            let named = format!("[{word}]");
            assert!(
                told.contains(&named) || word == "syntax" && told.starts_with("syntax error:"),
                "{script}\nis no {word}:\n{told}"
            );
        }
    }
}

/// `path` or `path#case` in backticks, of a cell of the table.
fn cases(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn check(case: &str, construct: &str) {
    let (file, name) = case.split_once('#').map_or((case, None), |(file, name)| (file, Some(name)));
    let path = root().join("tests").join(Path::new(file));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{construct}: {file}: {error}"));
    if let Some(name) = name {
        let heading = format!("//--- {name}");
        assert!(text.lines().any(|line| line == heading), "{construct}: {file} has no case {name}");
    }
}

#[test]
fn every_construct_of_the_list_has_its_cases() {
    let text = std::fs::read_to_string(root().join("../docs/conformance.md")).expect("the page is there");
    let (_, table) = text.split_once("\n## Constructs\n").expect("the table is there");
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() > 50, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [construct, taken, refused] = cells[..] else { panic!("three cells: {row}") };
        assert!(!cases(taken).is_empty(), "{construct}: no case that is taken");
        assert!(!cases(refused).is_empty() || refused == "-", "{construct}: no case that is refused");
        for case in cases(taken).into_iter().chain(cases(refused)) {
            check(case, construct);
        }
    }
}
