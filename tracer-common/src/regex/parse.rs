//! Patterns to trees.
//!
//! **Not here:** what a tree matches (`nfa`).

use super::Mistake;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A set of bytes. NUL is never in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bytes([u64; 4]);

impl Bytes {
    pub(super) const NONE: Bytes = Bytes([0; 4]);

    pub(super) fn any() -> Bytes {
        Bytes([!1, !0, !0, !0])
    }

    pub(super) fn one(byte: u8) -> Bytes {
        let mut set = Bytes::NONE;
        set.add(byte);
        set
    }

    pub(super) fn add(&mut self, byte: u8) {
        if byte != 0 {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    pub(super) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    fn inverse(self) -> Bytes {
        let any = Bytes::any();
        Bytes(core::array::from_fn(|n| !self.0[n] & any.0[n]))
    }
}

/// A pattern.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Tree {
    Empty,
    Bytes(Bytes),
    Start,
    End,
    /// In parentheses; its number, from 1.
    Group(Box<Tree>, usize),
    Sequence(Vec<Tree>),
    Either(Vec<Tree>),
    /// From so many to so many times; `None` for any number.
    Repeat(Box<Tree>, u32, Option<u32>),
}

/// Groups inside groups.
const MAX_DEPTH: usize = 50;
/// Repetitions of repetitions.
const MAX_STARS: usize = 10;
/// `RE_DUP_MAX`, as POSIX has it.
const MAX_TIMES: u32 = 255;

pub(super) fn parse(pattern: &[u8]) -> Result<(Tree, usize), Mistake> {
    let mut parser = Parser { pattern, at: 0, depth: 0, groups: 0 };
    let tree = parser.either()?;
    match parser.peek() {
        None => Ok((tree, parser.groups)),
        Some(_) => Err(parser.mistake("this ) has no (")),
    }
}

struct Parser<'a> {
    pattern: &'a [u8],
    at: usize,
    depth: usize,
    groups: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn takes(&mut self, text: &[u8]) -> bool {
        let there = self.pattern[self.at..].starts_with(text);
        if there {
            self.at += text.len();
        }
        there
    }

    fn mistake(&self, what: &'static str) -> Mistake {
        Mistake { at: self.at, what }
    }

    fn either(&mut self) -> Result<Tree, Mistake> {
        let mut branches = alloc::vec![self.sequence()?];
        while self.takes(b"|") {
            branches.push(self.sequence()?);
        }
        Ok(match branches.pop() {
            Some(only) if branches.is_empty() => only,
            last => {
                branches.extend(last);
                Tree::Either(branches)
            }
        })
    }

    fn sequence(&mut self) -> Result<Tree, Mistake> {
        let mut parts = Vec::new();
        while let Some(byte) = self.peek() {
            if byte == b'|' || byte == b')' && self.depth > 0 {
                break;
            }
            if byte == b')' {
                return Err(self.mistake("this ) has no ("));
            }
            let atom = self.atom()?;
            parts.push(self.repeated(atom)?);
        }
        Ok(if parts.is_empty() { Tree::Empty } else { Tree::Sequence(parts) })
    }

    fn repeated(&mut self, mut atom: Tree) -> Result<Tree, Mistake> {
        let mut stars = 0;
        loop {
            let (least, most) = match self.peek() {
                Some(b'*') => (0, None),
                Some(b'+') => (1, None),
                Some(b'?') => (0, Some(1)),
                Some(b'{') => self.bounds()?,
                _ => return Ok(atom),
            };
            // The last byte of the repetition.
            self.at += 1;
            stars += 1;
            if stars > MAX_STARS {
                return Err(self.mistake("too many repetitions of repetitions"));
            }
            atom = Tree::Repeat(Box::new(atom), least, most);
        }
    }

    /// `{n}`, `{n,}`, `{n,m}`, up to the brace that ends it.
    fn bounds(&mut self) -> Result<(u32, Option<u32>), Mistake> {
        let start = self.at;
        self.at += 1;
        let least = self.number()?;
        let most = if self.takes(b",") {
            if self.peek() == Some(b'}') { None } else { Some(self.number()?) }
        } else {
            Some(least)
        };
        if self.peek() != Some(b'}') {
            return Err(self.mistake("a repetition is {n}, {n,} or {n,m}"));
        }
        match most {
            Some(most) if most < least => {
                Err(Mistake { at: start, what: "the second number of a repetition is less than the first" })
            }
            most => Ok((least, most)),
        }
    }

    fn number(&mut self) -> Result<u32, Mistake> {
        let start = self.at;
        let mut value = 0u32;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            self.at += 1;
            value = value.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
        }
        if self.at == start {
            return Err(self.mistake("a repetition is {n}, {n,} or {n,m}"));
        }
        if value > MAX_TIMES {
            return Err(Mistake { at: start, what: "a repetition of more than 255 times" });
        }
        Ok(value)
    }

    fn atom(&mut self) -> Result<Tree, Mistake> {
        let start = self.at;
        Ok(match self.next() {
            Some(b'.') => Tree::Bytes(Bytes::any()),
            Some(b'^') => Tree::Start,
            Some(b'$') => Tree::End,
            Some(b'[') => Tree::Bytes(self.class(start)?),
            Some(b'(') => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(Mistake { at: start, what: "groups are nested too deeply" });
                }
                self.groups += 1;
                let number = self.groups;
                let inner = self.either()?;
                if !self.takes(b")") {
                    return Err(Mistake { at: start, what: "this ( has no )" });
                }
                self.depth -= 1;
                Tree::Group(Box::new(inner), number)
            }
            Some(b'*' | b'+' | b'?' | b'{') => {
                return Err(Mistake { at: start, what: "nothing to repeat" });
            }
            Some(b'\\') => match self.next() {
                None => return Err(Mistake { at: start, what: "\\ ends the pattern" }),
                Some(b'1'..=b'9') => {
                    return Err(Mistake { at: start, what: "an automaton has no back references" });
                }
                Some(byte) => Tree::Bytes(Bytes::one(byte)),
            },
            Some(byte) => Tree::Bytes(Bytes::one(byte)),
            None => Tree::Empty,
        })
    }

    /// What follows `[`.
    fn class(&mut self, start: usize) -> Result<Bytes, Mistake> {
        let open = Mistake { at: start, what: "this [ has no ]" };
        let negated = self.takes(b"^");
        let mut set = Bytes::NONE;
        let mut first = true;
        loop {
            let at = self.at;
            let byte = match self.next() {
                None => return Err(open),
                Some(b']') if !first => break,
                Some(b'[') if self.takes(b":") => {
                    let name: Vec<u8> =
                        self.pattern[self.at..].iter().copied().take_while(|b| *b != b':').collect();
                    self.at += name.len();
                    if !self.takes(b":]") {
                        return Err(Mistake { at, what: "this [: has no :]" });
                    }
                    let Some(member) = named(&name) else {
                        return Err(Mistake { at, what: "no such class of characters" });
                    };
                    (1..=255u8).filter(member).for_each(|b| set.add(b));
                    first = false;
                    continue;
                }
                Some(b'[') if matches!(self.peek(), Some(b'.' | b'=')) => {
                    return Err(Mistake { at, what: "[. and [= of locales have no meaning here" });
                }
                Some(byte) => byte,
            };
            first = false;
            // `-` is itself at either end.
            let last = match (self.peek(), self.pattern.get(self.at + 1)) {
                (Some(b'-'), Some(last)) if *last != b']' => {
                    let last = *last;
                    self.at += 2;
                    last
                }
                _ => byte,
            };
            if last < byte {
                return Err(Mistake { at, what: "this range ends before it begins" });
            }
            (byte..=last).for_each(|b| set.add(b));
        }
        Ok(if negated { set.inverse() } else { set })
    }
}

fn named(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alpha" => u8::is_ascii_alphabetic,
        b"digit" => u8::is_ascii_digit,
        b"alnum" => u8::is_ascii_alphanumeric,
        b"upper" => u8::is_ascii_uppercase,
        b"lower" => u8::is_ascii_lowercase,
        b"space" => |b| matches!(b, b' ' | b'\t'..=b'\r'),
        b"blank" => |b| matches!(b, b' ' | b'\t'),
        b"punct" => u8::is_ascii_punctuation,
        b"cntrl" => u8::is_ascii_control,
        b"graph" => u8::is_ascii_graphic,
        b"print" => |b| matches!(b, b' '..=b'~'),
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}
