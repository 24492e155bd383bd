//! What is made of strings: formats, searches, pieces, parts, names; and numbers that strings give.

use super::{Generator, Long, Str, Ty};

/// Conversions of a format that work wherever a handler needs the text, and what they take; `*` takes a number before.
pub(super) const CONVERSIONS: [(&str, Ty); 20] = [
    ("%d", Long),
    ("%s", Str),
    ("%x", Long),
    ("%5d|", Long),
    ("%-5d|", Long),
    ("%05d", Long),
    ("%+d", Long),
    ("%#x", Long),
    ("%.4d", Long),
    ("%8.3u|", Long),
    ("%o", Long),
    ("%p", Long),
    ("%%%u", Long),
    ("%c|", Long),
    ("%10s|", Str),
    ("%-10s|", Str),
    ("%.3s", Str),
    ("%-8.2s|", Str),
    ("%*d", Long),
    ("%.*s", Str),
];

/// Conversions that only output knows.
pub(super) const LATE: [(&str, Ty); 3] = [("%#s", Str), ("%#c", Long), ("%#X", Long)];

/// Patterns, some with groups.
const PATTERNS: [&str; 10] = [
    "a",
    "^a*b",
    "[0-9]+8",
    "(ab|cd)e?$",
    "x.?y",
    "^$",
    "[[:digit:]]{3}",
    "([a-z]*)([0-9]*)",
    "(.)(.)?(b|$)",
    "(1|12)(345|2345)?(6*)",
];

const DELIMITERS: [&str; 5] = [",", " ", ",;", "1", ""];

impl Generator<'_> {
    /// The arguments of a `printf`.
    pub(super) fn format(&mut self, all: &[(&str, Ty)], end: &str, most: usize, depth: usize) -> String {
        let (mut format, mut args) = (String::new(), String::new());
        for _ in 0..1 + self.choices.below(most) {
            let (conversion, ty) = all[self.choices.below(all.len())];
            format += conversion;
            if !end.is_empty() {
                format += " ";
            }
            if conversion.contains('*') {
                // Functions know nothing of the hit.
                let last = if self.function.is_some() { "2" } else { "number" };
                args += &format!(", {}", self.choices.of(&["0", "3", "(-2)", "7", last]));
            }
            args += &format!(", {}", self.expr(ty, depth));
        }
        format!("\"{format}{end}\"{args}")
    }

    /// A text that is made of numbers and texts, padded and cut.
    pub(super) fn text_of(&mut self, depth: usize) -> String {
        format!("sprintf({})", self.format(&CONVERSIONS, "", 3, depth))
    }

    /// Whether a pattern is found.
    pub(super) fn is_found(&mut self, depth: usize) -> String {
        let pattern = self.choices.of(&PATTERNS);
        format!("({} {} \"{pattern}\")", self.str(depth), self.choices.of(&["=~", "!~"]))
    }

    /// A number that texts give.
    pub(super) fn number_of_text(&mut self, depth: usize) -> String {
        match self.choices.below(5) {
            0 => format!("isinstr({}, {})", self.str(depth), self.str(depth)),
            1 => format!("strpos({}, {})", self.str(depth), self.str(depth)),
            2 => format!("strtol({}, {})", self.str(depth), self.choices.of(&["10", "0", "16", "8", "2"])),
            3 => format!("isdigit({})", self.str(depth)),
            _ => format!("strlen({})", self.text_of_text(depth)),
        }
    }

    /// A text that another one gives, or a number by its name.
    pub(super) fn text_of_text(&mut self, depth: usize) -> String {
        match self.choices.below(if self.late { 9 } else { 7 }) {
            0 => {
                format!("str_replace({}, {}, {})", self.str(depth), self.str(depth), self.str(depth))
            }
            // What is wrong with the group of a text that is made later does not end the handler.
            1 | 2 | 6 if self.late => {
                self.matches = true;
                let found = format!("{} =~ \"{}\"", self.str(depth), self.choices.of(&PATTERNS));
                format!("({found} ? matched(0) : \"-\")")
            }
            1 | 2 => {
                self.matches = true;
                format!("matched({})", self.choices.of(&["0", "1", "2", "3"]))
            }
            3 => {
                self.pieces = true;
                format!("tokenize(\"{}\")", self.choices.of(&DELIMITERS))
            }
            4 => {
                self.pieces = true;
                format!("tokenize({}, \"{}\")", self.str(depth), self.choices.of(&DELIMITERS))
            }
            6 if self.choices.one_in(3) => {
                self.matches = true;
                format!("matched({})", self.long(depth))
            }
            5 | 6 => format!("signal_str({})", self.long(depth)),
            7 => format!("errno_str({})", self.long(depth)),
            _ => format!("text_str({})", self.str(depth)),
        }
    }

    /// Takes a string apart in a loop, and counts its pieces.
    pub(super) fn take_apart(&mut self, depth: usize) -> String {
        self.pieces = true;
        self.used.insert("as", ());
        let counter = self.counters;
        self.counters += 1;
        let piece = format!("piece{counter}");
        let first = self.str(depth.min(2));
        let delimiter = self.choices.of(&DELIMITERS);
        let count = if self.visiting.contains(&"as") { "ga++".to_owned() } else { format!("as[{piece}]++") };
        self.used.insert("ga", ());
        format!(
            "n{counter} = 0\n  for ({piece} = tokenize({first}, \"{delimiter}\"); {piece} != \"\" && n{counter}++ < 6; {piece} = tokenize(\"{delimiter}\")) {{ {count}; }}"
        )
    }

    /// Looks for something, and does something with its groups.
    pub(super) fn search(&mut self, depth: usize) -> String {
        self.matches = true;
        let found = self.is_found(depth.min(2));
        let place = self.place_of(Str, 1);
        let group = self.choices.of(&["0", "1", "2", "ngroups() - 1"]);
        let body = self.block(depth.min(2));
        format!("if ({found}) {{ {place} = matched({group}); }} else {body}")
    }
}
