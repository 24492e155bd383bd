//! Cases of the suite: how they are written in files, and how expectations are compared and rewritten.
//!
//! ```text
//! //--- name
//! //@ arg: first script argument          (directives, any number)
//! probe begin { x = ; }
//! //                ^ error: expected an expression, found ';'
//! // = hint: text
//! /*
//! what the pass prints, when it succeeds
//! */
//! //- /lib.stpm                            (further files in memory)
//! ```
//!
//! Expectation lines are taken out before the script is read, so that they move nothing. A mark that starts in
//! the first two columns, where the slashes stand, is written `//@0+5 error: text`: column and length.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tracer::diagnostics::{Diagnostic, Severity};
use tracer::source::{FileId, SourceMap, Span};

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Unique in its file.
    pub(crate) name: String,
    /// `//@ key: value`.
    pub(crate) directives: Vec<(String, String)>,
    /// The script, without directives and expectations.
    pub(crate) script: String,
    /// Further files: path and text.
    pub(crate) files: Vec<(String, String)>,
    /// The case as it is written.
    pub(crate) written: String,
}

/// What a pass made of a case.
pub(crate) struct Outcome {
    /// The diagnostics.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The pass's product as text, when there is one to compare.
    pub(crate) output: Option<String>,
}

impl Case {
    /// The values of a directive.
    pub(crate) fn directive(&self, key: &str) -> impl Iterator<Item = &str> {
        self.directives.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The case files of a folder, sorted.
pub(crate) fn case_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "stp"))
        .collect();
    files.sort();
    files
}

/// The cases of a file, and what stands before the first.
pub(crate) fn read_cases(path: &Path) -> (String, Vec<Case>) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut head = String::new();
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("//--- ") {
            let name = name.trim().to_owned();
            assert!(cases.iter().all(|case| case.name != name), "{}: case '{name}' twice", path.display());
            cases.push(Case {
                name,
                directives: Vec::new(),
                script: String::new(),
                files: Vec::new(),
                written: String::new(),
            });
        }
        match cases.last_mut() {
            Some(case) => {
                case.written.push_str(line);
                case.written.push('\n');
            }
            None => {
                head.push_str(line);
                head.push('\n');
            }
        }
    }
    for case in &mut cases {
        split(case);
    }
    (head, cases)
}

/// Takes a case apart.
fn split(case: &mut Case) {
    let mut script: Vec<&str> = Vec::new();
    let mut in_output = false;
    for line in case.written.lines().skip(1) {
        if let Some(path) = line.strip_prefix("//- ") {
            case.files.push((path.trim().to_owned(), String::new()));
        } else if let Some((_, text)) = case.files.last_mut() {
            text.push_str(line);
            text.push('\n');
        } else if in_output {
            in_output = line != "*/";
        } else if line == "/*" {
            in_output = true;
        } else if let Some(directive) = line.strip_prefix("//@ ") {
            let (key, value) = directive.split_once(':').unwrap_or((directive, ""));
            case.directives.push((key.trim().to_owned(), value.trim().to_owned()));
        } else if !is_expectation(line) {
            script.push(line);
        }
    }
    // The end of the file is right behind the last character, so that a mark can point there.
    while script.last().is_some_and(|line| line.is_empty()) {
        script.pop();
    }
    case.script = script.join("\n");
}

/// Whether a line of a case only says what is expected.
fn is_expectation(line: &str) -> bool {
    let Some(rest) = line.trim_start().strip_prefix("//") else { return false };
    let rest = rest.trim_start();
    let told = |rest: &str| ["error: ", "warning: "].iter().any(|word| rest.starts_with(word));
    told(rest.trim_start_matches('^').trim_start()) && rest.starts_with(['^', 'e', 'w'])
        || rest.starts_with("= ")
        || rest.strip_prefix('@').and_then(|rest| rest.split_once(' ')).is_some_and(|(_, rest)| told(rest))
}

/// The case as it should be written, given what came out.
pub(crate) fn written(case: &Case, main: FileId, sources: &SourceMap, outcome: &Outcome) -> String {
    let mut out = format!("//--- {}\n", case.name);
    for (key, value) in &case.directives {
        let _ = writeln!(out, "//@ {key}: {value}");
    }
    let here = |diagnostic: &Diagnostic| {
        diagnostic.span.map(|span| outermost(sources, main, span)).filter(|span| span.file == main)
    };
    for diagnostic in outcome.diagnostics.iter().filter(|diagnostic| here(diagnostic).is_none()) {
        write_diagnostic(&mut out, sources, main, diagnostic, "");
    }
    for (idx, line) in case.script.split('\n').enumerate() {
        out.push_str(line);
        out.push('\n');
        for diagnostic in &outcome.diagnostics {
            let Some(span) = here(diagnostic) else { continue };
            if sources.line_column(span).line as usize == idx + 1 {
                write_diagnostic(&mut out, sources, main, diagnostic, line);
            }
        }
    }
    if let Some(output) = &outcome.output {
        let _ = write!(out, "/*\n{output}*/\n");
    }
    for (path, text) in &case.files {
        let _ = write!(out, "//- {path}\n{text}");
    }
    // Keep the empty line between cases.
    while case.written.ends_with("\n\n") && !out.ends_with("\n\n") {
        out.push('\n');
    }
    out
}

/// The place in the case's script that a place belongs to.
fn outermost(sources: &SourceMap, main: FileId, span: Span) -> Span {
    if span.file == main { span } else { sources.outermost(span) }
}

fn write_diagnostic(
    out: &mut String,
    sources: &SourceMap,
    main: FileId,
    diagnostic: &Diagnostic,
    line: &str,
) {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let message = &diagnostic.message;
    match diagnostic.span {
        None => {
            let _ = writeln!(out, "// {severity}: {message}");
        }
        Some(span) => {
            let inner =
                if span.file == main { String::new() } else { format!(" [in {}]", sources.place(span)) };
            let outer = outermost(sources, main, span);
            if outer.file != main {
                let _ = writeln!(out, "// {severity}: {message}{inner}");
                return;
            }
            let column = sources.line_column(outer).column as usize - 1;
            let text = sources.text(outer);
            let length = text.lines().next().unwrap_or("").chars().count().max(1);
            let length = length.min((line.chars().count() + 1).saturating_sub(column).max(1));
            if column < 2 {
                let _ = writeln!(out, "//@{column}+{length} {severity}: {message}{inner}");
            } else {
                let _ = writeln!(
                    out,
                    "//{}{} {severity}: {message}{inner}",
                    " ".repeat(column - 2),
                    "^".repeat(length)
                );
            }
        }
    }
    for label in &diagnostic.labels {
        let at = sources.line_column(label.span);
        let _ = writeln!(out, "// = label {}:{}: {}", at.line, at.column, label.message);
    }
    for hint in &diagnostic.hints {
        let _ = writeln!(out, "// = hint: {hint}");
    }
    for step in &diagnostic.trace {
        let _ = writeln!(out, "// = via: {}, {}", step.message, sources.place(step.span));
    }
}

/// Runs a check over all cases of a folder. The check returns the case as it should be written; with `BLESS=1` it
/// is, otherwise a difference is a failure.
pub(crate) fn run_folder(folder: &str, check: impl Fn(&Case) -> Result<String, String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite").join(folder);
    let bless = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    let mut failures = String::new();
    let mut count = 0;
    for path in case_files(&folder) {
        let (head, cases) = read_cases(&path);
        let mut rewritten = head;
        for case in &cases {
            count += 1;
            match check(case) {
                Ok(expected) => {
                    if expected != case.written && !bless {
                        let place = format!("{} '{}'", path.display(), case.name);
                        let _ = writeln!(failures, "== {place}\n{}", difference(&case.written, &expected));
                    }
                    rewritten.push_str(&expected);
                }
                Err(message) => {
                    let _ = writeln!(failures, "== {} '{}': {message}", path.display(), case.name);
                    rewritten.push_str(&case.written);
                }
            }
        }
        if bless {
            std::fs::write(&path, rewritten).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    assert!(count > 0, "no cases in {}", folder.display());
    assert!(failures.is_empty(), "{failures}\nBLESS=1 rewrites expectations; review the diff like code");
}

/// What differs, line by line, from the first difference to the last.
fn difference(written: &str, expected: &str) -> String {
    let (written, expected): (Vec<&str>, Vec<&str>) = (written.lines().collect(), expected.lines().collect());
    let same_front = written.iter().zip(&expected).take_while(|(left, right)| left == right).count();
    let most = written.len().min(expected.len()) - same_front;
    let same_back =
        written.iter().rev().zip(expected.iter().rev()).take(most).take_while(|(l, r)| l == r).count();
    let mut out = String::new();
    for line in &written[same_front..written.len() - same_back] {
        let _ = writeln!(out, "- {line}");
    }
    for line in &expected[same_front..expected.len() - same_back] {
        let _ = writeln!(out, "+ {line}");
    }
    out
}
