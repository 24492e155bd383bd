//! How functions and lines are written: `name@file:lines`.
//!
//! Source: stapprobes(3stap), "function PATTERN".

use crate::debuginfo::demangle::parts;
use crate::glob::glob_match;

/// Which lines of a file, or of a function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Lines {
    /// `:12`, `:12,20-30`
    These(Vec<(u64, u64)>),
    /// `:+3`: after the line of the function's declaration.
    Relative(u64),
    /// `:*`
    All,
}

/// A function, perhaps in a file, perhaps at a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern {
    pub(super) function: String,
    pub(super) file: Option<String>,
    pub(super) lines: Option<Lines>,
}

impl Pattern {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Pattern, String> {
        let Some((function, place)) = text.split_once('@') else {
            return Ok(Pattern { function: text.to_owned(), file: None, lines: None });
        };
        // Names of files may hold colons and plus signs; lines are at the end.
        let (file, lines) = match place.rsplit_once([':', '+']) {
            Some((file, after)) => {
                let relative = place.as_bytes()[file.len()] == b'+';
                let relative = relative || after.starts_with('+');
                let file = file.strip_suffix(':').unwrap_or(file);
                (file, Some(lines(after.trim_start_matches('+'), relative)?))
            }
            None => (place, None),
        };
        if file.is_empty() {
            return Err("there is no file between @ and :".to_owned());
        }
        Ok(Pattern { function: function.to_owned(), file: Some(file.to_owned()), lines })
    }

    /// Whether a function fits, by its name or by its name with what is around it: `b::f*` is part by part the end of
    /// `a::b::first`, and `::a::b::f*` all of it.
    pub(super) fn is_function(&self, name: &str, qualified: impl FnOnce() -> String) -> bool {
        if !self.has_scope() {
            return glob_match(&self.function, name);
        }
        let full = qualified();
        let (wanted, mut parts) = (parts(&self.function), parts(&full));
        if wanted[0].is_empty() {
            parts.insert(0, "");
        }
        let Some(first) = parts.len().checked_sub(wanted.len()) else { return false };
        wanted.iter().zip(&parts[first..]).all(|(pattern, part)| glob_match(pattern, part))
    }

    fn has_scope(&self) -> bool {
        self.function.contains("::")
    }

    /// A function's name, with as much of what is around it as the pattern has.
    pub(super) fn shown(&self, name: &str, qualified: impl FnOnce() -> String) -> String {
        if !self.has_scope() {
            return name.to_owned();
        }
        let full = qualified();
        let parts = parts(&full);
        let wanted = self::parts(&self.function).len();
        parts[parts.len().saturating_sub(wanted)..].join("::")
    }

    /// Whether a path fits: all of it, or from some slash on.
    pub(super) fn is_file(&self, path: &str) -> bool {
        let Some(wanted) = &self.file else { return true };
        glob_match(wanted, path) || path.match_indices('/').any(|(at, _)| glob_match(wanted, &path[at + 1..]))
    }
}

fn lines(text: &str, relative: bool) -> Result<Lines, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no line number"));
    if text == "*" {
        return Ok(Lines::All);
    }
    if relative {
        return Ok(Lines::Relative(number(text)?));
    }
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (number(from)?, number(to)?);
        if to < from {
            return Err(format!("lines {from} to {to} are no range"));
        }
        ranges.push((from, to));
    }
    Ok(Lines::These(ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parse = |text: &str| {
            let pattern = Pattern::parse(text).map_err(|why| format!("{text}: {why}"))?;
            Ok::<_, String>((pattern.function, pattern.file.unwrap_or_default(), pattern.lines))
        };
        let is = |function: &str, file: &str, lines| Ok((function.to_owned(), file.to_owned(), lines));
        assert_eq!(parse("main"), is("main", "", None));
        assert_eq!(parse("ns::f*"), is("ns::f*", "", None));
        assert_eq!(parse("main@a.c"), is("main", "a.c", None));
        assert_eq!(parse("*@lib/a.c:12"), is("*", "lib/a.c", Some(Lines::These(vec![(12, 12)]))));
        assert_eq!(parse("f@a.c:1,3-5"), is("f", "a.c", Some(Lines::These(vec![(1, 1), (3, 5)]))));
        assert_eq!(parse("f@a.c+3"), is("f", "a.c", Some(Lines::Relative(3))));
        assert_eq!(parse("f@a.c:+3"), is("f", "a.c", Some(Lines::Relative(3))));
        assert_eq!(parse("f@a.c:*"), is("f", "a.c", Some(Lines::All)));
        for bad in ["f@a.c:x", "f@a.c:5-3", "f@:4", "f@a.c:", "f@a.c:1,,2", "f@a.c:99999999999999999999"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_fit_from_the_end() {
        let fits = |pattern: &str, full: &str| {
            let name = parts(full).pop().unwrap_or_default();
            Pattern::parse(pattern).expect("a pattern").is_function(name, || full.to_owned())
        };
        for pattern in [
            "area",
            "ar*",
            "Square::area",
            "Square::*",
            "S*::a*",
            "shapes::Square::area",
            "::shapes::*::area",
        ] {
            assert!(fits(pattern, "shapes::Square::area"), "{pattern}");
        }
        for pattern in
            ["shapes::*", "shapes::area", "::Square::area", "x::shapes::Square::area", "are", "quare::area"]
        {
            assert!(!fits(pattern, "shapes::Square::area"), "{pattern}");
        }
        assert!(fits("most<a::b>", "n::most<a::b>"));
        assert!(fits("n::*", "n::most<a::b>"));
        let shown = |pattern: &str| {
            Pattern::parse(pattern).expect("a pattern").shown("area", || "shapes::Square::area".to_owned())
        };
        assert_eq!(shown("a*"), "area");
        assert_eq!(shown("Square::*"), "Square::area");
        assert_eq!(shown("::shapes::Square::*"), "shapes::Square::area");
    }

    #[test]
    fn files_fit_from_a_slash_on() {
        let fits = |pattern: &str, path: &str| Pattern::parse(pattern).expect("a pattern").is_file(path);
        assert!(fits("f@a.c", "/src/lib/a.c"));
        assert!(fits("f@lib/a.c", "/src/lib/a.c"));
        assert!(fits("f@/src/lib/a.c", "/src/lib/a.c"));
        assert!(fits("f@*.c", "/src/lib/a.c"));
        assert!(!fits("f@a.c", "/src/lib/ba.c"));
    }
}
