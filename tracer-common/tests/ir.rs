//! The corpus of `tests/ir`: text form and verifier.
//!
//! * `ok/*.ir` reads, verifies, and prints to a text that reads back as the same module and prints the same.
//! * `ko/*.ir` is split into cases by `;--- name`. Each case gives exactly the errors that stand as `; error: message`
//!   under the lines that they are about; a text that does not parse gives one.

use std::fs;
use std::path::{Path, PathBuf};
use tracer_common::ir::parse::module_with_lines;
use tracer_common::ir::verify::verify;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ir").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

#[test]
fn ok_files_verify_and_print_back() {
    for file in files("ok") {
        let name = file.display();
        let text = fs::read_to_string(&file).unwrap();
        let (module, lines) = module_with_lines(&text).unwrap_or_else(|error| panic!("{name}:{error}"));
        if let Err(violations) = verify(&module) {
            let line = |at| lines.get(at).unwrap_or(&0);
            let all: String = violations.iter().map(|v| format!("{name}:{}: {v}\n", line(&v.at))).collect();
            panic!("{all}");
        }
        let printed = module.to_string();
        let (again, _) =
            module_with_lines(&printed).unwrap_or_else(|error| panic!("{name}: {error}\n{printed}"));
        assert_eq!(module, again, "{name}");
        assert_eq!(printed, again.to_string(), "{name}");
    }
}

#[test]
fn ko_cases_give_their_errors() {
    for file in files("ko") {
        let name = file.display();
        let text = fs::read_to_string(&file).unwrap();
        let cases: Vec<&str> = text.split(";--- ").skip(1).collect();
        assert!(!cases.is_empty(), "{name} has no cases");
        for case in cases {
            let title = case.lines().next().unwrap_or("");
            assert_eq!(expected(case), found(case), "{name}: {title}: expected is left, found is right");
        }
    }
}

/// Lines and messages, in order.
fn expected(case: &str) -> Vec<(u32, String)> {
    let mut errors = Vec::new();
    let mut about = 0;
    for (number, line) in case.lines().enumerate() {
        match line.trim_start().strip_prefix("; error: ") {
            Some(message) => errors.push((about, message.to_owned())),
            None => about = number as u32 + 1,
        }
    }
    errors.sort();
    errors
}

fn found(case: &str) -> Vec<(u32, String)> {
    // The title line stays, so that line numbers agree.
    let text = format!("; {case}");
    let mut errors: Vec<(u32, String)> = match module_with_lines(&text) {
        Err(error) => vec![(error.line, error.message)],
        Ok((module, lines)) => verify(&module)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|violation| (lines.get(&violation.at).copied().unwrap_or(1), violation.message))
            .collect(),
    };
    errors.sort();
    errors
}

#[test]
fn the_specification_is_complete() {
    use tracer_common::intrinsic::Intrinsic;
    use tracer_common::ir::{BinOp, CmpOp, ContextKind, SiteFact, Width};
    use tracer_common::stat::StatOp;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ir.md");
    let text = fs::read_to_string(path).unwrap();
    for example in text.split("```ir\n").skip(1) {
        let example = example.split("```").next().unwrap();
        let (module, _) = module_with_lines(example).unwrap_or_else(|error| panic!("docs/ir.md: {error}"));
        assert_eq!(verify(&module), Ok(()));
    }
    for intrinsic in Intrinsic::ALL {
        let row = format!("\n| `{}(", intrinsic.name());
        assert!(text.contains(&row), "docs/ir.md has no row for the intrinsic {}", intrinsic.name());
    }
    let words = BinOp::ALL.iter().map(|op| op.word());
    let words = words.chain(CmpOp::ALL.iter().map(|op| op.word()));
    let words = words.chain(SiteFact::ALL.iter().map(|fact| fact.word()));
    let words = words.chain(StatOp::ALL.iter().map(|op| op.word()));
    let words = words.chain(ContextKind::ALL.iter().map(|kind| kind.word()));
    let words = words.chain(Width::ALL.iter().map(|(_, word)| *word));
    for word in words {
        let quoted = [format!("`{word}`"), format!("= {word} ")];
        assert!(quoted.iter().any(|form| text.contains(form)), "docs/ir.md does not tell of {word}");
    }
    // The instruction that each file of the corpus shows is in the tables as well.
    let everything = fs::read_to_string(&files("ok")[0]).unwrap();
    for line in everything.lines().filter(|line| line.starts_with("  ")) {
        let word = line.split("= ").last().unwrap().trim().split([' ', '(']).next().unwrap();
        assert!(text.contains(word), "docs/ir.md does not tell of {word}");
    }
}
