//! What one line must look like: itself, or between slashes a regular expression for the whole line.
//!
//! Expressions have `.`, `[a-z]`, `[^a-z]`, `\d \w \s`, groups, `|`, `* + ?`. Matching backtracks: patterns and lines are short and ours.
//!
//! **Not here:** searching, captures, Unicode classes.

/// A line, or a class of lines.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    expression: Option<Vec<Vec<Item>>>,
}

#[derive(Clone, Debug)]
struct Item {
    atom: Atom,
    least: usize,
    most: usize,
}

#[derive(Clone, Debug)]
enum Atom {
    Any,
    Set { ranges: Vec<(char, char)>, negated: bool },
    Group(Vec<Vec<Item>>),
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(source: &str) -> Result<Self, String> {
        let inside = source.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let expression = match inside {
            Some(inside) => {
                let chars: Vec<char> = inside.chars().collect();
                let mut at = 0;
                let found = alternatives(&chars, &mut at)?;
                if at < chars.len() {
                    return Err(format!("{source}: unexpected )"));
                }
                Some(found)
            }
            None => None,
        };
        Ok(Self { source: source.to_owned(), expression })
    }

    /// A pattern for exactly this line, slashes or not.
    pub fn literal(line: &str) -> Self {
        Self { source: line.to_owned(), expression: None }
    }

    /// As written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole line matches.
    pub fn matches(&self, line: &str) -> bool {
        let Some(expression) = &self.expression else { return self.source == line };
        let line: Vec<char> = line.chars().collect();
        any(expression, &line, 0, &|at| at == line.len())
    }
}

fn alternatives(text: &[char], at: &mut usize) -> Result<Vec<Vec<Item>>, String> {
    let mut all = vec![Vec::new()];
    while let Some(&c) = text.get(*at) {
        if c == ')' {
            break;
        }
        *at += 1;
        if c == '|' {
            all.push(Vec::new());
            continue;
        }
        let one = |c| Atom::Set { ranges: vec![(c, c)], negated: false };
        let atom = match c {
            '.' => Atom::Any,
            '(' => {
                let inside = alternatives(text, at)?;
                if text.get(*at) != Some(&')') {
                    return Err("( without )".into());
                }
                *at += 1;
                Atom::Group(inside)
            }
            '[' => set(text, at)?,
            '\\' => {
                let c = *text.get(*at).ok_or("\\ at the end")?;
                *at += 1;
                class(c).unwrap_or_else(|| one(c))
            }
            '*' | '+' | '?' => return Err(format!("{c} repeats nothing")),
            _ => one(c),
        };
        let (least, most) = match text.get(*at) {
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('?') => (0, 1),
            _ => (1, 1),
        };
        *at += usize::from((least, most) != (1, 1));
        if let Some(last) = all.last_mut() {
            last.push(Item { atom, least, most });
        }
    }
    Ok(all)
}

fn class(c: char) -> Option<Atom> {
    let ranges = match c {
        'd' => vec![('0', '9')],
        's' => vec![(' ', ' '), ('\t', '\t')],
        'w' => vec![('0', '9'), ('a', 'z'), ('A', 'Z'), ('_', '_')],
        _ => return None,
    };
    Some(Atom::Set { ranges, negated: false })
}

fn set(text: &[char], at: &mut usize) -> Result<Atom, String> {
    let negated = text.get(*at) == Some(&'^');
    *at += usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        let low = *text.get(*at).ok_or("[ without ]")?;
        *at += 1;
        if low == ']' {
            return Ok(Atom::Set { ranges, negated });
        }
        let high = match (text.get(*at), text.get(*at + 1)) {
            (Some('-'), Some(&high)) if high != ']' => {
                *at += 2;
                high
            }
            _ => low,
        };
        ranges.push((low, high));
    }
}

fn any(all: &[Vec<Item>], line: &[char], at: usize, then: &dyn Fn(usize) -> bool) -> bool {
    all.iter().any(|items| sequence(items, line, at, then))
}

fn sequence(items: &[Item], line: &[char], at: usize, then: &dyn Fn(usize) -> bool) -> bool {
    let Some((first, rest)) = items.split_first() else { return then(at) };
    repeat(first, 0, line, at, &|at| sequence(rest, line, at, then))
}

/// Greedy: tries one more round first. A round that takes nothing cannot help and ends the repetition.
fn repeat(item: &Item, done: usize, line: &[char], at: usize, then: &dyn Fn(usize) -> bool) -> bool {
    let more = done < item.most
        && atom(&item.atom, line, at, &|next| next > at && repeat(item, done + 1, line, next, then));
    more || (done >= item.least && then(at))
}

fn atom(atom: &Atom, line: &[char], at: usize, then: &dyn Fn(usize) -> bool) -> bool {
    match atom {
        Atom::Group(all) => any(all, line, at, then),
        Atom::Any => at < line.len() && then(at + 1),
        Atom::Set { ranges, negated } => {
            let inside = |c: char| ranges.iter().any(|&(low, high)| (low..=high).contains(&c));
            line.get(at).is_some_and(|&c| inside(c) != *negated) && then(at + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        for line in yes {
            assert!(pattern.matches(line), "{} should match {line:?}", pattern.source());
        }
        for line in no {
            assert!(!pattern.matches(line), "{} should not match {line:?}", pattern.source());
        }
    }

    #[test]
    fn lines_and_expressions() {
        check("a.c (1)", &["a.c (1)"], &["abc (1)", "a.c (1) "]);
        check(r"/a\.c \(\d+\): \d+ /", &["a.c (12): 777 "], &["a.c (12): 777", "axc (1): 1 "]);
        check("/[a-c]+|x?y/", &["abc", "y", "xy"], &["", "abd", "xxy"]);
        check("/(ab)*c/", &["c", "ababc"], &["abac"]);
        check(r"/.*0x[0-9a-f]+.*/", &["=>f(a=0x1f b)"], &["0xg"]);
        check("/[^ ]+ \\w+/", &["a-b c_1"], &["a b c"]);
        check("//", &[""], &["x"]);
        check("/(a*)*b/", &["aaab"], &["aaaaaaaaaaaac"]);
    }

    #[test]
    fn malformed_expressions() {
        for bad in ["/(a/", "/a)/", "/[a/", "/*/", "/a\\/"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
