//! The suite: annotated scripts, one check per pass. `tests/suite/case.rs` says how a case is written.
//!
//! To add a pass: a folder `tests/suite/PASS/{ok,ko}`, one `check_PASS` here, and a test per folder.

#[path = "suite/case.rs"]
mod case;

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
    let again = parse_text(printed, &facts(), &[]);
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

fn facts() -> Facts {
    Facts {
        args: Vec::new(),
        kernel_v: "6.12.9".to_owned(),
        kernel_vr: "6.12.9-amd64".to_owned(),
        arch: "x86_64".to_owned(),
        config: [("CONFIG_HZ".to_owned(), "250".to_owned()), ("CONFIG_SMP".to_owned(), "y".to_owned())]
            .into(),
        systemtap_v: "5.6".to_owned(),
        runtime: "bpf".to_owned(),
        guru_mode: false,
        privilege: "stapdev".to_owned(),
    }
}

fn parse(case: &Case) -> Parsed {
    let mut facts = facts();
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

/// Numbers that look random and are the same in every run.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Damages a script in one place.
fn mutate(text: &mut Vec<u8>, donors: &[Case], random: &mut Xorshift) {
    const SPICE: &[&str] = &[
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "%(",
        "%)",
        "%?",
        "%:",
        "%{",
        "%}",
        "\"",
        "\\",
        "/*",
        "*/",
        "#",
        "//",
        "\n",
        "$1",
        "@1",
        "$",
        "$$",
        "@",
        "->",
        "in ",
        "probe ",
        "@define x %( @x %)",
        "@x",
        "0x",
        "99999999999999999999",
        "<<<",
        "++",
        "-",
        ".",
        "*",
        "?",
        "!",
        ":",
        ",",
        ";",
        "é",
        "\0",
        "@hist_log(",
        "foreach (",
        "printf(\"%*.",
        "if (",
        "else ",
    ];
    let at = random.below(text.len() + 1);
    let span = at..(at + random.below(12)).min(text.len());
    match random.below(6) {
        0 => drop(text.drain(span)),
        1 => {
            let copy = text[span].to_vec();
            text.splice(at..at, copy);
        }
        2 => {
            let spice = SPICE[random.below(SPICE.len())];
            text.splice(at..at, spice.bytes());
        }
        3 => {
            let donor = donors[random.below(donors.len())].script.as_bytes();
            let from = random.below(donor.len());
            let piece = donor[from..(from + random.below(40)).min(donor.len())].to_vec();
            text.splice(span, piece);
        }
        4 => text.truncate(at),
        _ => {
            if let Some(byte) = text.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
    }
}

/// Thousands of damaged scripts: no panic, bounded time, sound places; what still parses prints to a fixpoint.
#[test]
fn parser_survives_damage() {
    let mut donors = scripts("parse/ok");
    donors.extend(scripts("parse/ko"));
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut sound = 0;
    for round in 0..6000 {
        let case = &donors[round % donors.len()];
        let mut text = case.script.clone().into_bytes();
        for _ in 0..=random.below(1 + round % 3) {
            mutate(&mut text, &donors, &mut random);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut facts = facts();
        facts.args = vec!["a b".to_owned(), "\"c".to_owned(), "%( 1 == 1 %? $1".to_owned()];
        let start = std::time::Instant::now();
        let parsed = parse_text(&text, &facts, &case.files);
        let took = start.elapsed();
        assert!(took.as_secs() < 2, "round {round} took {took:?}:\n{text}");
        for diagnostic in &parsed.diagnostics {
            let Some(span) = diagnostic.span else { continue };
            let file = &parsed.sources.file(span.file).text;
            assert!(
                file.get(span.start as usize..span.end as usize).is_some(),
                "round {round}: {diagnostic:?}\n{text}"
            );
            let style = tracer::diagnostics::render::Style { color: round % 2 == 0 };
            tracer::diagnostics::render::render(&parsed.sources, diagnostic, style);
        }
        let printed = print_file(&parsed.tree);
        if !has_errors(&parsed.diagnostics) {
            sound += 1;
            if let Err(message) = fixpoint(&printed) {
                panic!("round {round}: {message}\nfrom\n{text}");
            }
        }
    }
    assert!(sound > 300, "only {sound} damaged scripts parsed: the fixpoint is hardly tested");
}

/// Nesting, length and expansion are bounded: a diagnostic, not an overflow of the stack that a program starts with.
#[test]
fn parser_survives_depth() {
    let main_stack = std::thread::Builder::new().stack_size(8 << 20);
    main_stack.spawn(check_depth).expect("a thread").join().expect("no panic");
}

fn check_depth() {
    let repeat = |open: &str, middle: &str, close: &str, count: usize| {
        format!("probe begin {{ x = {}{middle}{} }}", open.repeat(count), close.repeat(count))
    };
    let huge = 20_000;
    let too_deep = [
        repeat("(", "1", ")", huge),
        repeat("-", "1", "", huge),
        repeat("- ", "1", "", huge),
        repeat("1 + ", "1", "", huge),
        repeat("1 . ", "1", "", huge),
        repeat("a = ", "1", "", huge),
        repeat("a ? b : ", "1", "", huge),
        repeat("a ? ", "b", " : c", huge),
        repeat("a[", "1", "]", huge),
        repeat("[", "1", "] in a", huge),
        repeat("f(", "1", ")", huge),
        repeat("@defined(", "1", ")", huge),
        repeat("@hist_log(", "1", ")[1]", huge),
        repeat("@cast(", "1", ", \"t\")", huge),
        repeat("$a[", "1", "]", huge),
        repeat("print(", "1", ")", huge),
        repeat("1 || 1 && 1 | 1 ^ 1 & 1 == 1 << 1 . 1 + 1 * (", "1", ")", huge),
        repeat("", "1 in a", " in a", huge),
        format!("probe begin {}", "{ ".repeat(huge)),
        format!("probe begin {{ {} x = 1 }}", "if (1) ".repeat(huge)),
        format!("probe begin {{ {} x = 1 }}", "if (1) x = 1; else ".repeat(huge)),
        format!("probe begin {{ {} x = 1 }}", "while (1) ".repeat(huge)),
        format!("probe begin {{ {}", "try { ".repeat(huge)),
        format!("probe {}a{} {{ }}", "{".repeat(huge), "}".repeat(huge)),
        format!("probe {} {{ }}", "{a,b}.".repeat(huge)),
        format!("{} global x", "%( 1 == 2 %? ".repeat(huge)),
        "@define a(x) %( @a(@x + @x) @a(@x) %) probe begin { x = @a(1) }".to_owned(),
        format!(
            "{} probe begin {{ x = @m40 }}",
            (1..=40).map(|n| format!("@define m{n} %( @m{} @m{} %)\n", n - 1, n - 1)).collect::<String>()
        ),
    ];
    for text in &too_deep {
        let parsed = parse_text(text, &facts(), &[]);
        let start: String = text.chars().take(60).collect();
        assert!(has_errors(&parsed.diagnostics), "no error for {start}");
        print_file(&parsed.tree);
    }
    // What is only long is no problem.
    let long = [
        format!("probe begin {{ {} }}", "x = 1; ".repeat(huge)),
        format!("probe begin {{ x = $a{} }}", "->b".repeat(huge)),
        format!("probe begin {{ f({} 1) }}", "1, ".repeat(huge)),
        format!("probe begin {{ x = \"a\" {} }}", "\"b\" ".repeat(huge)),
        "probe begin { }\n".repeat(huge),
        repeat("(", "1", ")", 200),
        repeat("1 + ", "1", "", 200),
    ];
    for text in &long {
        let parsed = parse_text(text, &facts(), &[]);
        let start: String = text.chars().take(60).collect();
        assert!(parsed.diagnostics.is_empty(), "{start}: {:?}", parsed.diagnostics.first());
        fixpoint(&print_file(&parsed.tree)).unwrap_or_else(|message| panic!("{start}: {message}"));
    }
}
