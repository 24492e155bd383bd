//! What the text forms of the IR and of the manifest share: quoting, tokens, errors with line and column.
//!
//! A text is made of lines; `;` starts a comment. Tokens are words (`v3`, `probe.3`), numbers (`-5`, `0xff`), quoted
//! strings of bytes, places (`@3`) and single punctuation characters (`->` and `..` are one).
//! Invariant: reading any text takes time and memory linear in its size, and never panics.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Largest text that is read, in bytes.
pub const MAX_TEXT: usize = 256 << 20;

/// Why a text could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// Line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl core::error::Error for ParseError {}

/// Bytes as the text forms quote them: printable ASCII as it is, `\n`, `\t`, `\"`, `\\`, else `\xHH`.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for byte in self.0 {
            match byte {
                b'"' => f.write_str("\\\"")?,
                b'\\' => f.write_str("\\\\")?,
                b'\n' => f.write_str("\\n")?,
                b'\t' => f.write_str("\\t")?,
                b' '..=b'~' => write!(f, "{}", char::from(*byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_str("\"")
    }
}

/// A name: a bare word where that reads back as the same name, else quoted.
pub(crate) struct Name<'a> {
    pub(crate) name: &'a str,
    /// Words with a meaning at this point of the text.
    pub(crate) reserved: &'a [&'a str],
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.name.bytes();
        let bare = bytes.next().is_some_and(starts_word) && bytes.all(continues_word);
        if bare && !self.reserved.contains(&self.name) {
            f.write_str(self.name)
        } else {
            Quoted(self.name.as_bytes()).fmt(f)
        }
    }
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn continues_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'.'
}

/// Kinds of tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Word,
    Number,
    /// With its quotes and escapes.
    Str,
    /// `@` and digits.
    Place,
    Punct,
    /// The end of a line, comments included.
    Newline,
    End,
}

/// A token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind,
    pub(crate) text: &'t str,
    pub(crate) line: u32,
    column: u32,
}

pub(crate) type Result<T> = core::result::Result<T, ParseError>;

/// Reads a text token by token, one token ahead.
pub(crate) struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    line_start: usize,
    /// The token that comes next.
    token: Token<'t>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str) -> Result<Reader<'t>> {
        let token = Token { kind: Kind::End, text: "", line: 1, column: 1 };
        let mut reader = Reader { text, at: 0, line: 1, line_start: 0, token };
        if text.len() > MAX_TEXT {
            return Err(reader.error(format!("the text is larger than {MAX_TEXT} bytes")));
        }
        reader.advance()?;
        Ok(reader)
    }

    /// The token that comes next.
    pub(crate) fn peek(&self) -> Token<'t> {
        self.token
    }

    /// An error at the token that comes next.
    pub(crate) fn error(&self, message: impl Into<String>) -> ParseError {
        self.error_at(self.token, message)
    }

    /// An error at a token that was taken.
    pub(crate) fn error_at(&self, token: Token<'t>, message: impl Into<String>) -> ParseError {
        ParseError { line: token.line, column: token.column, message: message.into() }
    }

    /// "expected …, found …".
    pub(crate) fn expected(&self, what: &str) -> ParseError {
        let found = match self.token.kind {
            Kind::Newline => "the end of the line".into(),
            Kind::End => "the end of the text".into(),
            _ => format!("`{}`", clip(self.token.text)),
        };
        self.error(format!("expected {what}, found {found}"))
    }

    /// Takes a token.
    pub(crate) fn next(&mut self) -> Result<Token<'t>> {
        let token = self.token;
        self.advance()?;
        Ok(token)
    }

    /// Whether a word or punctuation comes next.
    pub(crate) fn at(&self, text: &str) -> bool {
        matches!(self.token.kind, Kind::Word | Kind::Punct) && self.token.text == text
    }

    /// Takes a word or punctuation, if it comes next.
    pub(crate) fn eat(&mut self, text: &str) -> Result<bool> {
        let found = self.at(text);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub(crate) fn expect(&mut self, text: &str) -> Result<()> {
        if self.eat(text)? { Ok(()) } else { Err(self.expected(&format!("`{text}`"))) }
    }

    pub(crate) fn word(&mut self, what: &str) -> Result<&'t str> {
        if self.token.kind == Kind::Word { Ok(self.next()?.text) } else { Err(self.expected(what)) }
    }

    /// One of the words of a table.
    pub(crate) fn one_of<T>(&mut self, what: &str, by_name: impl Fn(&str) -> Option<T>) -> Result<T> {
        if self.token.kind == Kind::Word
            && let Some(found) = by_name(self.token.text)
        {
            self.advance()?;
            return Ok(found);
        }
        Err(self.expected(what))
    }

    /// An entity: its letter, then its number.
    pub(crate) fn entity(&mut self, letter: char) -> Result<u32> {
        let Some(number) = self.entity_ahead(letter) else {
            return Err(self.expected(&format!("{letter} and a number")));
        };
        self.advance()?;
        Ok(number)
    }

    /// The number of the entity that comes next, if it has this letter.
    pub(crate) fn entity_ahead(&self, letter: char) -> Option<u32> {
        let digits = match self.token.kind {
            Kind::Word | Kind::Place => self.token.text.strip_prefix(letter)?,
            _ => return None,
        };
        // Only the form that is printed: no sign, no leading zeros.
        let plain = digits == "0" || !digits.starts_with('0');
        (plain && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
    }

    /// A long. Hexadecimal numbers may use all 64 bits.
    pub(crate) fn long(&mut self) -> Result<i64> {
        let token = self.token;
        let value = self.wide("a number")?;
        let hexadecimal = token.text.contains('x');
        match i64::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) if hexadecimal && value > 0 => {
                u64::try_from(value).map(|v| v as i64).map_err(|_| self.range(token))
            }
            Err(_) => Err(self.range(token)),
        }
    }

    /// A number that fits.
    pub(crate) fn number<T: TryFrom<i128>>(&mut self) -> Result<T> {
        let token = self.token;
        T::try_from(self.wide("a number")?).map_err(|_| self.range(token))
    }

    fn range(&self, token: Token<'t>) -> ParseError {
        self.error_at(token, format!("number {} is out of range", clip(token.text)))
    }

    fn wide(&mut self, what: &str) -> Result<i128> {
        if self.token.kind != Kind::Number {
            return Err(self.expected(what));
        }
        let token = self.next()?;
        let (negative, digits) = match token.text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, token.text),
        };
        let value = match digits.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16),
            None => digits.parse(),
        };
        let value = value.map_err(|_| self.range(token))?;
        Ok(if negative { -value } else { value })
    }

    /// A quoted string.
    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        if self.token.kind != Kind::Str {
            return Err(self.expected("a quoted string"));
        }
        let token = self.next()?;
        let mut bytes = Vec::with_capacity(token.text.len() - 2);
        let mut rest = token.text[1..token.text.len() - 1].bytes();
        while let Some(byte) = rest.next() {
            let byte = match byte {
                b'\\' => match rest.next() {
                    Some(b'n') => b'\n',
                    Some(b't') => b'\t',
                    Some(b'"') => b'"',
                    Some(b'\\') => b'\\',
                    Some(b'x') => {
                        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                        match (digit(rest.next()), digit(rest.next())) {
                            (Some(high), Some(low)) => (high * 16 + low) as u8,
                            _ => return Err(self.error_at(token, "`\\x` needs two hexadecimal digits")),
                        }
                    }
                    _ => return Err(self.error_at(token, "only \\n \\t \\\" \\\\ \\xHH can be escaped")),
                },
                byte => byte,
            };
            bytes.push(byte);
        }
        Ok(bytes)
    }

    /// A quoted string that is UTF-8.
    pub(crate) fn string(&mut self) -> Result<String> {
        let token = self.token;
        String::from_utf8(self.bytes()?).map_err(|_| self.error_at(token, "this string must be UTF-8"))
    }

    /// A name: a word, or a quoted string.
    pub(crate) fn name(&mut self) -> Result<String> {
        if self.token.kind == Kind::Str { self.string() } else { self.word("a name").map(String::from) }
    }

    /// Whether the line ends here.
    pub(crate) fn at_line_end(&self) -> bool {
        matches!(self.token.kind, Kind::Newline | Kind::End)
    }

    /// The end of a line.
    pub(crate) fn line_end(&mut self) -> Result<()> {
        match self.token.kind {
            Kind::Newline => self.advance(),
            Kind::End => Ok(()),
            _ => Err(self.expected("the end of the line")),
        }
    }

    /// Skips empty lines.
    pub(crate) fn skip_lines(&mut self) -> Result<()> {
        while self.token.kind == Kind::Newline {
            self.advance()?;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<()> {
        if self.token.kind == Kind::Newline {
            self.line += 1;
            self.line_start = self.at;
        }
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let run = |mut at: usize, more: fn(u8) -> bool| {
            while at < bytes.len() && more(bytes[at]) {
                at += 1;
            }
            at
        };
        let blank = |b: u8| b == b' ' || b == b'\t' || b == b'\r';
        let mut start = run(self.at, blank);
        if byte(start) == b';' {
            start = run(start, |b| b != b'\n');
        }
        let (kind, end) = match bytes.get(start).copied() {
            None => (Kind::End, start),
            Some(b'\n') => (Kind::Newline, start + 1),
            Some(b) if starts_word(b) => (Kind::Word, run(start, continues_word)),
            Some(b) if b.is_ascii_digit() || b == b'-' && byte(start + 1).is_ascii_digit() => {
                let digits = if b == b'-' { start + 1 } else { start };
                let end = if byte(digits) == b'0' && byte(digits + 1) == b'x' {
                    run(digits + 2, |b| b.is_ascii_hexdigit())
                } else {
                    run(digits, |b| b.is_ascii_digit())
                };
                (Kind::Number, end)
            }
            Some(b'@') => (Kind::Place, run(start + 1, |b| b.is_ascii_digit())),
            Some(b'"') => (Kind::Str, self.string_end(start)?),
            Some(b'-') if byte(start + 1) == b'>' => (Kind::Punct, start + 2),
            Some(b'.') if byte(start + 1) == b'.' => (Kind::Punct, start + 2),
            Some(b) if b.is_ascii_punctuation() => (Kind::Punct, start + 1),
            Some(_) => return Err(self.error_here(start, "this character has no meaning here")),
        };
        let column = (start - self.line_start) as u32 + 1;
        self.token = Token { kind, text: &self.text[start..end], line: self.line, column };
        self.at = end;
        Ok(())
    }

    fn string_end(&self, start: usize) -> Result<usize> {
        let mut escaped = false;
        for (offset, byte) in self.text.as_bytes()[start + 1..].iter().enumerate() {
            match byte {
                b'\n' => break,
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return Ok(start + offset + 2),
                _ => {}
            }
        }
        Err(self.error_here(start, "the string has no closing quote on its line"))
    }

    fn error_here(&self, at: usize, message: &str) -> ParseError {
        let column = (at - self.line_start) as u32 + 1;
        ParseError { line: self.line, column, message: message.into() }
    }
}

fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(40).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn quoting_goes_both_ways() {
        let all: Vec<u8> = (0..=255).collect();
        let text = Quoted(&all).to_string();
        assert!(text.is_ascii() && !text.contains('\n'));
        assert_eq!(Reader::new(&text).and_then(|mut r| r.bytes()), Ok(all));
        assert_eq!(Reader::new("\"\u{e9}\"").and_then(|mut r| r.string()), Ok("\u{e9}".into()));
    }

    #[test]
    fn tokens_and_errors() {
        let mut reader = Reader::new("v3 = -5, 0xffffffffffffffff ; comment\n@12 \"a\\x4\"").unwrap();
        assert_eq!(reader.entity('v'), Ok(3));
        assert_eq!(reader.expect("="), Ok(()));
        assert_eq!(reader.long(), Ok(-5));
        assert_eq!(reader.expect(","), Ok(()));
        assert_eq!(reader.long(), Ok(-1));
        assert_eq!(reader.line_end(), Ok(()));
        assert_eq!(reader.entity('@'), Ok(12));
        assert_eq!(reader.bytes().unwrap_err().to_string(), "2:5: `\\x` needs two hexadecimal digits");
        let error = |text: &str| Reader::new(text).and_then(|mut r| r.long()).unwrap_err().to_string();
        assert_eq!(error("\n"), "1:1: expected a number, found the end of the line");
        assert_eq!(error("18446744073709551615"), "1:1: number 18446744073709551615 is out of range");
        assert_eq!(error(" \"x"), "1:2: the string has no closing quote on its line");
        assert_eq!(error("  \u{e9}"), "1:3: this character has no meaning here");
        assert_eq!(error("0x"), "1:1: number 0x is out of range");
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        let name = |name| Name { name, reserved: &["kernel"] }.to_string();
        let printed = vec![name("probe.3"), name("kernel"), name(""), name("a b"), name("3x")];
        assert_eq!(printed, ["probe.3", "\"kernel\"", "\"\"", "\"a b\"", "\"3x\""]);
    }
}
