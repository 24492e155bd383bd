//! Damage: to bytes, tokens, lines and bracketed pieces, with material from another text.

use std::ops::Range;

use crate::random::Random;

/// What breaks things.
const SPICE: [&str; 40] = [
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
    "$$parms",
    "@",
    "->",
    " in ",
    "probe ",
    "@define x %( @x %)",
    "0x",
    "<<<",
    "++",
    "*",
    "?",
    "!",
    ",",
    ";",
    "é",
    "\0",
    "@hist_log(",
    "-9223372036854775808",
];
const NUMBERS: [&str; 9] = [
    "0",
    "1",
    "-1",
    "63",
    "64",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
];

/// Damages a text in one place.
pub(super) fn mutate(text: &str, donor: &str, random: &mut Random) -> String {
    match random.below(10) {
        0 | 1 => bytes(text, donor, random),
        2 => lines(text, donor, random),
        3 | 4 => brackets(text, donor, random),
        _ => tokens(text, donor, random),
    }
}

fn bytes(text: &str, donor: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = random.below(bytes.len() + 1);
    let span = at..(at + random.below(12)).min(bytes.len());
    match random.below(6) {
        0 => drop(bytes.drain(span)),
        1 => {
            let copy = bytes[span].to_vec();
            bytes.splice(at..at, copy);
        }
        2 => drop(bytes.splice(at..at, SPICE[random.below(SPICE.len())].bytes())),
        3 => {
            let from = random.below(donor.len());
            let piece = donor.as_bytes()[from..(from + random.below(60)).min(donor.len())].to_vec();
            bytes.splice(span, piece);
        }
        4 => bytes.truncate(at),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.number() as u8;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lines(text: &str, donor: &str, random: &mut Random) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let others: Vec<&str> = donor.lines().collect();
    let at = random.below(lines.len() + 1);
    match random.below(4) {
        0 if at < lines.len() => drop(lines.remove(at)),
        1 if at < lines.len() => {
            let other = random.below(lines.len());
            lines.swap(at, other);
        }
        _ if !others.is_empty() => lines.insert(at, others[random.below(others.len())]),
        _ => {}
    }
    lines.join("\n")
}

/// Words, numbers, strings, blanks and operators.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '@';
        let end = match first {
            '"' => rest[1..].find('"').map(|end| end + 2),
            _ if word(first) => rest.find(|c| !word(c)),
            _ if first.is_whitespace() => rest.find(|c: char| !c.is_whitespace()),
            '<' | '>' | '=' | '+' | '-' | '&' | '|' | '.' | '%' | '!' => {
                rest.find(|c| !"<>=+-&|.%!".contains(c)).map(|end| end.min(3))
            }
            _ => Some(first.len_utf8()),
        };
        let (piece, tail) = rest.split_at(end.unwrap_or(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

fn tokens(text: &str, donor: &str, random: &mut Random) -> String {
    let mut all = pieces(text);
    let others = pieces(donor);
    if all.is_empty() || others.is_empty() {
        return donor.to_owned();
    }
    let solid = |pieces: &[&str], random: &mut Random| {
        let at = random.below(pieces.len());
        (at..pieces.len()).find(|n| !pieces[*n].trim().is_empty()).unwrap_or(at)
    };
    let at = solid(&all, random);
    match random.below(7) {
        0 => drop(all.remove(at)),
        1 => {
            let other = solid(&all, random);
            all.swap(at, other);
        }
        2 => all.insert(at, SPICE[random.below(SPICE.len())]),
        3 if all[at].starts_with(|c: char| c.is_ascii_digit()) => {
            all[at] = NUMBERS[random.below(NUMBERS.len())];
        }
        4 => {
            let end = (at + random.below(8)).min(all.len());
            let copy = all[at..end].to_vec();
            all.splice(at..at, copy);
        }
        5 => {
            // A word for a word, so that names meet.
            let same = all[at];
            let word = |piece: &&&str| piece.starts_with(|c: char| c.is_alphabetic() || c == '$' || c == '@');
            let words: Vec<&&str> = others.iter().chain(&all).filter(word).collect();
            if word(&&same) && !words.is_empty() {
                all[at] = words[random.below(words.len())];
            }
        }
        _ => all[at] = others[solid(&others, random)],
    }
    all.concat()
}

/// Swaps a bracketed piece for another of the same kind, empties it, or puts it into itself.
fn brackets(text: &str, donor: &str, random: &mut Random) -> String {
    let Some(hole) = bracketed(text, None, random) else { return donor.to_owned() };
    let open = text.as_bytes()[hole.start];
    let piece = &text[hole.clone()];
    let filler = match random.below(4) {
        0 => format!("{}{}", char::from(open), char::from(closing(open))),
        1 => {
            let inner = &piece[1..piece.len() - 1];
            let deep = 1 << random.below(8);
            let (open, close) = (char::from(open).to_string(), char::from(closing(open)).to_string());
            format!("{}{inner}{}", open.repeat(deep), close.repeat(deep))
        }
        _ => match bracketed(donor, Some(open), random) {
            Some(found) => donor[found].to_owned(),
            None => return donor.to_owned(),
        },
    };
    format!("{}{filler}{}", &text[..hole.start], &text[hole.end..])
}

fn closing(open: u8) -> u8 {
    match open {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}

/// A piece from a bracket to the one that closes it.
fn bracketed(text: &str, kind: Option<u8>, random: &mut Random) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let opens = |byte: u8| matches!(byte, b'(' | b'[' | b'{') && kind.is_none_or(|kind| kind == byte);
    let from = random.below(bytes.len());
    let start = (from..bytes.len()).chain(0..from).find(|at| opens(bytes[*at]))?;
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        if *byte == bytes[start] {
            depth += 1;
        } else if *byte == closing(bytes[start]) {
            depth -= 1;
            if depth == 0 {
                return Some(start..at + 1);
            }
        }
    }
    None
}
