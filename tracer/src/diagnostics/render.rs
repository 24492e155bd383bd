//! Diagnostics to terminal text.
//!
//! ```text
//! error[unclosed]: expected '}', found end of file
//!   --> script.stp:4:1
//!    |
//!  1 | probe begin {
//!    |             - this block is not closed
//!  4 |
//!    | ^
//!    = hint: ...
//! ```
//!
//! Columns are counted as a terminal shows them: tabs go to the next stop of eight, wide characters take two
//! cells, control characters are shown as one replacement character. Long lines are cut to a window.
//!
//! **Not here:** what is wrong and what to try (whoever made the diagnostic), where the text goes (`cli`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::diagnostics::{Code, Diagnostic, Severity};
use crate::source::{FileId, SourceFile, SourceMap, Span};

/// Cells of a source line that are shown at most.
const WINDOW: usize = 120;
/// Distance between tab stops.
const TAB: usize = 8;
/// Steps of expansion that are shown.
const MAX_TRACE: usize = 12;

/// How the text is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// With terminal colours.
    pub color: bool,
}

/// The names of the passes, from pass 1.
const PASSES: [&str; 5] = ["parse", "elaborate", "translate", "compile", "run"];

/// All diagnostics of a pass (1 to 5) and a last line that names it; empty when there are none.
pub fn render_all(sources: &SourceMap, diagnostics: &[Diagnostic], pass: u8, style: Style) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&render(sources, diagnostic, style));
        out.push('\n');
    }
    out.push_str(&render_footer(diagnostics, pass, style));
    out
}

/// One line: how much went wrong in which pass, and where to read about it.
pub fn render_footer(diagnostics: &[Diagnostic], pass: u8, style: Style) -> String {
    let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let name = PASSES.get(usize::from(pass).wrapping_sub(1)).copied().unwrap_or("unknown");
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let paint = Paint(style.color);
    match (errors, warnings) {
        (0, 0) => String::new(),
        (0, _) => format!("pass {pass} ({name}): {}\n", counted(warnings, "warning")),
        _ => {
            let mut counts = counted(errors, "error");
            if warnings > 0 {
                counts = format!("{counts}, {}", counted(warnings, "warning"));
            }
            let failed = paint.bold(&format!("pass {pass} ({name}) failed: {counts}"));
            let first = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error);
            let code = first.map_or("", |diagnostic| diagnostic.code.word());
            format!("{failed}; 'tracer explain {code}' says more\n")
        }
    }
}

/// One diagnostic, ending in a newline.
pub fn render(sources: &SourceMap, diagnostic: &Diagnostic, style: Style) -> String {
    let paint = Paint(style.color);
    let head = match (diagnostic.severity, diagnostic.code) {
        (Severity::Error, Code::Syntax) => "syntax error".to_owned(),
        (Severity::Error, code) => format!("error[{}]", code.word()),
        (Severity::Warning, code) => format!("warning[{}]", code.word()),
    };
    let mut out = format!(
        "{}: {}\n",
        paint.severity(diagnostic.severity, &head),
        paint.bold(&printable(&diagnostic.message))
    );
    let marks = collect_marks(sources, diagnostic);
    let widest = marks.iter().map(|(line, _)| line.line).max().unwrap_or(1);
    let gutter = widest.to_string().len().max(2);
    render_snippets(&mut out, sources, &marks, diagnostic, gutter, paint);
    let pad = " ".repeat(gutter + 1);
    let mut note = |word: &str, text: &str| {
        let _ = writeln!(
            out,
            "{pad}{} {} {}",
            paint.gutter("="),
            paint.bold(&format!("{word}:")),
            printable(text)
        );
    };
    for hint in &diagnostic.hints {
        note("hint", hint);
    }
    match diagnostic.also {
        0 => {}
        1 => note("also", "at one more place"),
        more => note("also", &format!("at {more} more places")),
    }
    for step in diagnostic.trace.iter().take(MAX_TRACE) {
        note("via", &format!("{}, {}", step.message, sources.place(step.span)));
    }
    if diagnostic.trace.len() > MAX_TRACE {
        note("via", &format!("{} more", diagnostic.trace.len() - MAX_TRACE));
    }
    if let Some(mut span) = diagnostic.span {
        while let Some(origin) = sources.file(span.file).origin {
            note(
                "expanded from",
                &format!("{}, {}", first_line(sources.text(origin)), sources.place(origin)),
            );
            span = origin;
        }
    }
    out
}

/// A line of a source text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LineKey {
    /// 0 for the text of the diagnostic itself: it comes first.
    rank: usize,
    file: FileId,
    line: u32,
}

/// Something to underline in a line.
struct Mark<'a> {
    span: Span,
    primary: bool,
    message: &'a str,
}

/// Everything to underline, by line.
fn collect_marks<'a>(sources: &SourceMap, diagnostic: &'a Diagnostic) -> Vec<(LineKey, Vec<Mark<'a>>)> {
    let mut files: Vec<FileId> = Vec::new();
    let mut lines: BTreeMap<LineKey, Vec<Mark<'a>>> = BTreeMap::new();
    let primary = diagnostic.span.map(|span| Mark { span, primary: true, message: "" });
    let labels = diagnostic.labels.iter().map(|label| Mark {
        span: label.span,
        primary: false,
        message: &label.message,
    });
    for mark in primary.into_iter().chain(labels) {
        let file = mark.span.file;
        let rank = files.iter().position(|seen| *seen == file).unwrap_or_else(|| {
            files.push(file);
            files.len() - 1
        });
        let line = sources.line_column(mark.span).line;
        lines.entry(LineKey { rank, file, line }).or_default().push(mark);
    }
    lines.into_iter().collect()
}

fn render_snippets(
    out: &mut String,
    sources: &SourceMap,
    lines: &[(LineKey, Vec<Mark<'_>>)],
    diagnostic: &Diagnostic,
    gutter: usize,
    paint: Paint,
) {
    let pad = " ".repeat(gutter);
    let mut last: Option<LineKey> = None;
    for (key, marks) in lines {
        if last.is_none_or(|last| last.rank != key.rank) {
            // The place named is the diagnostic's own, else the first label's in that text.
            let place = match diagnostic.span {
                Some(span) if span.file == key.file => sources.place(span),
                _ => marks.first().map_or_else(String::new, |mark| sources.place(mark.span)),
            };
            let arrow = if key.rank == 0 { "-->" } else { ":::" };
            let _ = writeln!(out, "{pad}{} {}", paint.gutter(arrow), printable(&place));
            let _ = writeln!(out, "{pad} {}", paint.gutter("|"));
        } else if last.is_some_and(|last| last.line + 1 < key.line) {
            let _ = writeln!(out, "{}", paint.gutter("..."));
        }
        last = Some(*key);
        render_line(out, sources.file(key.file), key.line, marks, gutter, paint);
    }
}

/// One source line and its underlines, the leftmost first.
fn render_line(
    out: &mut String,
    file: &SourceFile,
    line: u32,
    marks: &[Mark<'_>],
    gutter: usize,
    paint: Paint,
) {
    let text = file.line(line);
    let line_start = file.line_start(line);
    let cells = Cells::new(text);
    let mut marks: Vec<(usize, usize, &Mark<'_>)> = marks
        .iter()
        .map(|mark| {
            let start = cells.column((mark.span.start as usize).saturating_sub(line_start));
            let end = cells.column((mark.span.end as usize).saturating_sub(line_start));
            (start, end.max(start + 1), mark)
        })
        .collect();
    marks.sort_by_key(|(start, end, mark)| (!mark.primary, *start, *end));
    let focus = marks.first().map_or(0, |(start, ..)| *start);
    let window = cells.window(focus);
    let number = format!("{line:>gutter$}");
    let shown = cells.text(&window);
    let _ = writeln!(out, "{} {} {}", paint.gutter(&number), paint.gutter("|"), shown.trim_end());
    let pad = " ".repeat(gutter);
    for (start, end, mark) in marks {
        let start = start.clamp(window.start, window.end);
        let end = end.clamp(start, window.end.max(start + 1)).max(start + 1);
        let symbol = if mark.primary { "^" } else { "-" };
        let mut under = symbol.repeat(end - start);
        if !mark.message.is_empty() {
            let _ = write!(under, " {}", printable(mark.message));
        }
        let indent = " ".repeat(window.shown_indent(start));
        let under = if mark.primary { paint.mark(&under) } else { paint.gutter(&under) };
        let _ = writeln!(out, "{pad} {} {indent}{under}", paint.gutter("|"));
    }
}

/// A source line as terminal cells.
struct Cells {
    /// Byte offset, first cell, and what is shown, per character.
    characters: Vec<(usize, usize, String)>,
    /// Cells in all.
    width: usize,
    /// Bytes in all.
    len: usize,
}

/// The cells of a line that are shown.
struct Window {
    start: usize,
    end: usize,
}

impl Window {
    /// Where a cell is on the screen: a cut at the left is shown as three dots.
    fn shown_indent(&self, column: usize) -> usize {
        column - self.start + if self.start > 0 { 3 } else { 0 }
    }
}

impl Cells {
    fn new(text: &str) -> Cells {
        let mut characters = Vec::new();
        let mut width = 0;
        for (offset, character) in text.char_indices() {
            let shown = match character {
                '\t' => " ".repeat(TAB - width % TAB),
                _ if character.is_control() => "\u{fffd}".to_owned(),
                _ => character.to_string(),
            };
            let cells = if character == '\t' { shown.len() } else { character_width(character) };
            characters.push((offset, width, shown));
            width += cells;
        }
        Cells { characters, width, len: text.len() }
    }

    /// The cell of a byte offset in the line.
    fn column(&self, offset: usize) -> usize {
        if offset >= self.len {
            return self.width;
        }
        let next = self.characters.partition_point(|(start, ..)| *start <= offset);
        next.checked_sub(1).and_then(|idx| self.characters.get(idx)).map_or(0, |(_, cell, _)| *cell)
    }

    /// What to show of the line so that a cell is in it.
    fn window(&self, focus: usize) -> Window {
        if self.width <= WINDOW || focus < WINDOW * 3 / 4 {
            return Window { start: 0, end: WINDOW };
        }
        // A window starts where a character does.
        let wanted = focus - WINDOW / 2;
        let first = self.characters.partition_point(|(_, cell, _)| *cell < wanted);
        let start = self.characters.get(first).map_or(0, |(_, cell, _)| *cell);
        Window { start, end: start + WINDOW }
    }

    fn text(&self, window: &Window) -> String {
        let mut out = String::new();
        if window.start > 0 {
            out.push_str("...");
        }
        for (_, cell, shown) in &self.characters {
            if (window.start..window.end).contains(cell) {
                out.push_str(shown);
            }
        }
        if self.width > window.end {
            out.push_str("...");
        }
        out
    }
}

/// How many cells a terminal gives a character: East Asian wide ones two, combining ones none.
fn character_width(character: char) -> usize {
    match u32::from(character) {
        0x0300..=0x036f | 0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Text that cannot move the cursor: control characters are escaped.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
        out
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

/// Terminal colours, or none.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, codes: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{codes}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn severity(self, severity: Severity, text: &str) -> String {
        match severity {
            Severity::Error => self.with("1;31", text),
            Severity::Warning => self.with("1;33", text),
        }
    }

    fn mark(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn gutter(self, text: &str) -> String {
        self.with("1;34", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { color: false };

    fn source(text: &str) -> (SourceMap, FileId) {
        let mut sources = SourceMap::default();
        let file = sources.add("a.stp", text, None);
        (sources, file)
    }

    fn check(sources: &SourceMap, diagnostic: &Diagnostic, expected: &str) {
        let text = render(sources, diagnostic, PLAIN);
        assert_eq!(text, expected.trim_start_matches('\n'), "rendered:\n{text}");
    }

    #[test]
    fn a_diagnostic_shows_its_line_labels_hints_and_trace() {
        let (sources, file) = source("probe begin {\n  x = 1\n\n  y = \"a\" + 1\n}\n");
        let at = Span::new(file, 23, 32);
        let diagnostic = Diagnostic::error(Code::Number, at, "bad sum")
            .label(Span::new(file, 16, 17), "first used here")
            .label(Span::new(file, 27, 30), "a string")
            .hint("try harder")
            .via(Span::new(file, 6, 11), "in probe begin");
        check(
            &sources,
            &diagnostic,
            "
error[number]: bad sum
  --> a.stp:4:1
   |
 2 |   x = 1
   |   - first used here
...
 4 |   y = \"a\" + 1
   | ^^^^^^^^^
   |     --- a string
   = hint: try harder
   = via: in probe begin, a.stp:1:7
",
        );
    }

    #[test]
    fn columns_are_cells_with_tabs_and_wide_characters() {
        let (sources, file) = source("\tx = \"漢é\" y\n");
        let at = sources.file(file).text.find('y').unwrap();
        let diagnostic = Diagnostic::warning(Code::Syntax, Span::new(file, at, at + 1), "here");
        check(
            &sources,
            &diagnostic,
            "
warning[syntax]: here
  --> a.stp:1:11
   |
 1 |         x = \"漢é\" y
   |                   ^
",
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let (sources, file) = source(&format!("{}X{}", "a".repeat(500), "b".repeat(500)));
        let diagnostic = Diagnostic::error(Code::Syntax, Span::new(file, 500, 501), "x");
        let text = render(&sources, &diagnostic, PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[3].len() < 140, "{text}");
        assert_eq!(lines[3].find('X'), lines[4].find('^'), "{text}");
    }

    #[test]
    fn expansions_and_other_files_are_named() {
        let (mut sources, file) = source("probe $1 { }\n");
        let arg = sources.add("<argument 1>", "begin(", Some(Span::new(file, 6, 8)));
        let diagnostic =
            Diagnostic::error(Code::Syntax, Span::new(arg, 6, 6), "expected a string, found end of file")
                .label(Span::new(file, 0, 5), "this probe");
        check(
            &sources,
            &diagnostic,
            "
syntax error: expected a string, found end of file
  --> <argument 1>:1:7
   |
 1 | begin(
   |       ^
  ::: a.stp:1:1
   |
 1 | probe $1 { }
   | ----- this probe
   = expanded from: $1, a.stp:1:7
",
        );
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let (sources, file) = source("a\x1b[31mb\n");
        let diagnostic = Diagnostic::error(Code::Syntax, Span::new(file, 0, 1), "bad \x1b[0m");
        assert!(!render(&sources, &diagnostic, PLAIN).contains('\x1b'));
        assert!(render(&sources, &diagnostic, Style { color: true }).starts_with("\x1b[1;31msyntax error"));
    }

    #[test]
    fn the_footer_names_the_pass() {
        let (_, file) = source("");
        let at = Span::new(file, 0, 0);
        let all = [Diagnostic::error(Code::Syntax, at, "a"), Diagnostic::warning(Code::Syntax, at, "b")];
        assert_eq!(
            render_footer(&all, 1, PLAIN),
            "pass 1 (parse) failed: 1 error, 1 warning; 'tracer explain syntax' says more\n"
        );
        assert_eq!(render_footer(&all[1..], 2, PLAIN), "pass 2 (elaborate): 1 warning\n");
        assert_eq!(render_footer(&[], 2, PLAIN), "");
    }
}
