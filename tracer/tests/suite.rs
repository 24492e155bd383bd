//! The suite: annotated scripts, one check per pass. `tests/suite/case.rs` says how a case is written.
//!
//! To add a pass: a folder `tests/suite/PASS/{ok,ko}`, one `check_PASS` in `passes`, and a test per folder here.

#[path = "suite/case.rs"]
mod case;
#[path = "suite/damage.rs"]
mod damage;
#[path = "suite/fake.rs"]
mod fake;
#[path = "suite/manual.rs"]
mod manual;
#[path = "suite/passes.rs"]
mod passes;

use case::{Case, Outcome};
use tracer::diagnostics::{Diagnostic, Severity, Sink};
use tracer::source::{FileId, SourceMap};
use tracer::syntax::ast::{ExprIds, File};
use tracer::syntax::print::print_file;
use tracer::syntax::{self, Facts, Macros};

#[test]
fn parse_ok() {
    case::run_folder("parse/ok", |case| check_parse(case, true));
}

#[test]
fn parse_ko() {
    case::run_folder("parse/ko", |case| check_parse(case, false));
}

#[test]
fn elaborate_ok() {
    case::run_folder("elaborate/ok", |case| passes::check_elaborate(case, true));
}

#[test]
fn elaborate_ko() {
    case::run_folder("elaborate/ko", |case| passes::check_elaborate(case, false));
}

#[test]
fn translate_ok() {
    case::run_folder("translate/ok", |case| passes::check_translate(case, true));
}

#[test]
fn translate_ko() {
    case::run_folder("translate/ko", |case| passes::check_translate(case, false));
}

#[test]
fn compile_ok() {
    case::run_folder("compile/ok", passes::check_compile);
}

/// Every code of pass 2 that needs no machine has a case that provokes it.
#[test]
fn elaborate_codes_are_shown() {
    use tracer::diagnostics::Code;
    let cases = scripts("elaborate/ko").into_iter().chain(scripts("elaborate/ok"));
    let found: Vec<Code> = cases
        .flat_map(|case| passes::elaborate(&case).sink.all().to_vec())
        .map(|diagnostic| diagnostic.code)
        .collect();
    for code in [
        Code::AliasCycle,
        Code::Arity,
        Code::Duplicate,
        Code::EmbeddedC,
        Code::ForeachModification,
        Code::Histogram,
        Code::Misplaced,
        Code::NeedsGuru,
        Code::NeverAssigned,
        Code::NoProbes,
        Code::NoTargetVariables,
        Code::NotAssignable,
        Code::ProbePoint,
        Code::ScriptArgument,
        Code::TooManyPoints,
        Code::TypeConflict,
        Code::UnknownFunction,
        Code::UnknownGlobal,
        Code::UnresolvedTarget,
        Code::Unsupported,
    ] {
        assert!(found.contains(&code), "no case provokes {}", code.word());
    }
}

/// Every code of pass 1 has a case that provokes it and a section in the manual.
#[test]
fn parse_codes_are_shown_and_explained() {
    use tracer::diagnostics::Code;
    let manual = include_str!("../../docs/errors/pass1.md");
    let mut found: Vec<Code> = Vec::new();
    for case in scripts("parse/ko").iter().chain(&scripts("parse/ok")) {
        for diagnostic in parse(case).diagnostics {
            if !found.contains(&diagnostic.code) {
                found.push(diagnostic.code);
            }
        }
    }
    for code in [
        Code::Conditional,
        Code::Duplicate,
        Code::Format,
        Code::Macro,
        Code::Nesting,
        Code::Number,
        Code::ScriptArgument,
        Code::Syntax,
        Code::Unclosed,
        Code::UnknownOperator,
    ] {
        assert!(found.contains(&code), "no case provokes {}", code.word());
        assert!(
            manual.contains(&format!("\n## {}\n", code.word())),
            "pass1.md does not explain {}",
            code.word()
        );
    }
    assert!(Code::ALL.is_sorted_by_key(|code| code.word()), "codes are sorted by word");
}

/// Parses a case; a good one is printed, and the printed text must parse to the same text.
fn check_parse(case: &Case, good: bool) -> Result<String, String> {
    let mut parsed = parse(case);
    let failed = has_errors(&parsed.diagnostics);
    if failed == good {
        let rendered = tracer::diagnostics::render::render_all(
            &parsed.sources,
            &parsed.diagnostics,
            1,
            tracer::diagnostics::render::Style { color: false },
        );
        return Err(format!("must {} errors\n{rendered}", if good { "have no" } else { "have" }));
    }
    let mut output = None;
    if good {
        let printed = print_file(&parsed.tree);
        output = Some(printed.clone());
        fixpoint(&printed)?;
    }
    parsed.diagnostics.dedup();
    let outcome = Outcome { diagnostics: parsed.diagnostics, output };
    Ok(case::written(case, parsed.main, &parsed.sources, &outcome))
}

/// Printed text must parse without a word, and print to itself.
fn fixpoint(printed: &str) -> Result<(), String> {
    let again = parse_text(printed, &Facts::example(), &[]);
    if let Some(diagnostic) = again.diagnostics.first() {
        return Err(format!("the printed text does not parse: {}\n{printed}", diagnostic.message));
    }
    let printed_again = print_file(&again.tree);
    if printed_again != printed {
        return Err(format!("printing is no fixpoint:\n{printed}\nthen:\n{printed_again}"));
    }
    Ok(())
}

struct Parsed {
    sources: SourceMap,
    main: FileId,
    tree: File,
    diagnostics: Vec<Diagnostic>,
}

fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

fn parse(case: &Case) -> Parsed {
    let mut facts = Facts::example();
    facts.args = case.directive("arg").map(str::to_owned).collect();
    parse_text(&case.script, &facts, &case.files)
}

fn parse_text(script: &str, facts: &Facts, files: &[(String, String)]) -> Parsed {
    let mut sources = SourceMap::default();
    let mut sink = Sink::default();
    let mut macros = Macros::default();
    for (path, text) in files {
        let file = sources.add(path, text.as_str(), None);
        syntax::parse_macros(&mut sources, file, facts, &mut macros, &mut sink);
    }
    let main = sources.add("case.stp", script, None);
    let tree = syntax::parse(&mut sources, main, &mut ExprIds::default(), facts, &macros, &mut sink);
    Parsed { sources, main, tree, diagnostics: sink.all().to_vec() }
}

/// The scripts of a folder's cases, and the arguments they want.
fn scripts(folder: &str) -> Vec<Case> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite").join(folder);
    case::case_files(&folder).iter().flat_map(|path| case::read_cases(path).1).collect()
}
