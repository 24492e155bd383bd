//! What a parser must survive: damaged scripts, hostile depths and lengths.

use std::collections::HashSet;

use tracer::source::Span;
use tracer::syntax::Facts;
use tracer::syntax::ast::{Expr, ExprId, FunctionBody, Hist, Item, Stmt, VarRef};
use tracer::syntax::print::print_file;
use tracer::syntax::visit::{self, Visitor};

use xtask::random::Random;

use crate::case::Case;
use crate::{Parsed, fixpoint, has_errors, parse_text, scripts};

/// Damages a script in one place.
fn mutate(text: &mut Vec<u8>, donors: &[Case], random: &mut Random) {
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
                *byte = random.number() as u8;
            }
        }
    }
}

/// Thousands of damaged scripts: no panic, bounded time, sound places; what still parses prints to a fixpoint.
#[test]
fn parser_survives_damage() {
    let mut donors = scripts("parse/ok");
    donors.extend(scripts("parse/ko"));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut sound = 0;
    for round in 0..6000 {
        let case = &donors[round % donors.len()];
        let mut text = case.script.clone().into_bytes();
        for _ in 0..=random.below(1 + round % 3) {
            mutate(&mut text, &donors, &mut random);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut facts = Facts::example();
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
        sound_tree(&parsed);
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

/// Every id is there once, every place is in its text and on character boundaries.
fn sound_tree(parsed: &Parsed) {
    let mut checker = Checker { parsed, seen: HashSet::new() };
    for item in &parsed.tree.items {
        match item {
            Item::Probe(probe) => {
                for point in &probe.points {
                    checker.place(point.span);
                    point.condition.iter().for_each(|condition| checker.visit_expr(condition));
                }
                checker.place(probe.span);
                checker.visit_block(&probe.body);
            }
            Item::Alias(alias) => {
                checker.place(alias.span);
                alias.prologue.iter().chain(&alias.epilogue).for_each(|block| checker.visit_block(block));
            }
            Item::Function(function) => {
                checker.place(function.span);
                if let FunctionBody::Block(block) = &function.body {
                    checker.visit_block(block);
                }
            }
            Item::Global(global) => checker.place(global.span),
            Item::Embedded(code) => checker.place(code.span),
        }
    }
}

struct Checker<'a> {
    parsed: &'a Parsed,
    seen: HashSet<ExprId>,
}

impl Checker<'_> {
    fn place(&self, span: Span) {
        let text = &self.parsed.sources.file(span.file).text;
        assert!(text.get(span.start as usize..span.end as usize).is_some(), "{span:?} is outside its text");
    }

    fn node(&mut self, id: ExprId, span: Span) {
        self.place(span);
        assert!(self.seen.insert(id), "{id:?} is there twice, again at {span:?}");
    }
}

impl Visitor for Checker<'_> {
    fn visit_stmt(&mut self, stmt: &Stmt) {
        self.place(stmt.span);
        visit::walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &Expr) {
        self.node(expr.id, expr.span);
        visit::walk_expr(self, expr);
    }

    fn visit_hist(&mut self, hist: &Hist) {
        self.node(hist.id, hist.span);
        visit::walk_hist(self, hist);
    }

    fn visit_var_ref(&mut self, var: &VarRef) {
        self.node(var.id, var.span);
    }
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
        let parsed = parse_text(text, &Facts::example(), &[]);
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
        let parsed = parse_text(text, &Facts::example(), &[]);
        let start: String = text.chars().take(60).collect();
        assert!(parsed.diagnostics.is_empty(), "{start}: {:?}", parsed.diagnostics.first());
        fixpoint(&print_file(&parsed.tree)).unwrap_or_else(|message| panic!("{start}: {message}"));
    }
}
