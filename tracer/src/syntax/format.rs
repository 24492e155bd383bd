//! `printf` formats: literal text and conversions.
//!
//! Directives are parsed once, here; the passes below work on [`Piece`]s. A format says how many arguments it
//! takes and of which kind ([`Format::wants`]); comparing that with the arguments is `sema`'s.
//!
//! **Not here:** producing text from values (`run::output`).

use crate::syntax::ast::Text;

/// A parsed format string.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Format {
    /// In order; no two literals are adjacent.
    pub pieces: Vec<Piece>,
}

/// The largest width or precision that may be written; more is a slip of the finger.
const MAX_COUNT: u32 = 65_536;

impl Format {
    /// Parses a format; the error says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Format, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if byte != b'%' {
                literal.push(byte);
                continue;
            }
            match rest.first() {
                // A percent sign at the very end stands for itself.
                None => literal.push(b'%'),
                Some(b'%') => {
                    literal.push(b'%');
                    rest = &rest[1..];
                }
                Some(_) => {
                    let directive = parse_directive(&mut rest)?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(Text::new(std::mem::take(&mut literal))));
                    }
                    pieces.push(Piece::Directive(directive));
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(Text::new(literal)));
        }
        Ok(Format { pieces })
    }

    /// The arguments that the format takes, in order.
    pub fn wants(&self) -> Vec<Want> {
        let mut wants = Vec::new();
        for piece in &self.pieces {
            if let Piece::Directive(directive) = piece {
                if directive.width == Some(Count::Argument) {
                    wants.push(Want::Width);
                }
                if directive.precision == Some(Count::Argument) {
                    wants.push(Want::Precision);
                }
                wants.push(Want::Value(directive.conversion));
            }
        }
        wants
    }

    /// The format as text again. Parsing that gives the same pieces.
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => {
                    for &byte in text.as_bytes() {
                        out.push(byte);
                        if byte == b'%' {
                            out.push(b'%');
                        }
                    }
                }
                Piece::Directive(directive) => out.extend_from_slice(directive.to_text().as_bytes()),
            }
        }
        out
    }
}

/// Parses what follows a `%`.
fn parse_directive(rest: &mut &[u8]) -> Result<Directive, String> {
    let mut seen = String::from("%");
    let mut flags = Flags::default();
    loop {
        let flag = match rest.first() {
            Some(b'-') => &mut flags.left,
            Some(b'+') => &mut flags.plus,
            Some(b'0') => &mut flags.zero,
            Some(b'#') => &mut flags.alternate,
            Some(b' ') => &mut flags.space,
            _ => break,
        };
        *flag = true;
        take(rest, &mut seen);
    }
    let width = parse_count(rest, &mut seen)?;
    let mut precision = None;
    if rest.first() == Some(&b'.') {
        take(rest, &mut seen);
        precision = parse_count(rest, &mut seen)?;
    }
    // All numbers are 64 bits wide: C's length modifiers say nothing.
    while let Some(b'l' | b'h') = rest.first() {
        take(rest, &mut seen);
    }
    let Some(&letter) = rest.first() else {
        return Err(format!("format directive '{seen}' has no conversion"));
    };
    let conversion = match letter {
        b'd' | b'i' => Conversion::Decimal,
        b'u' => Conversion::Unsigned,
        b'x' => Conversion::HexLower,
        b'X' => Conversion::HexUpper,
        b'o' => Conversion::Octal,
        b'p' => Conversion::Pointer,
        b'c' => Conversion::Char,
        b's' => Conversion::Str,
        b'b' => Conversion::Binary,
        b'm' => Conversion::Memory,
        b'M' => Conversion::MemoryHex,
        _ => {
            take(rest, &mut seen);
            return Err(format!("unknown conversion in format directive '{}'", seen.escape_debug()));
        }
    };
    *rest = &rest[1..];
    Ok(Directive { flags, width, precision, conversion })
}

/// A number or `*`, if there is one.
fn parse_count(rest: &mut &[u8], seen: &mut String) -> Result<Option<Count>, String> {
    if rest.first() == Some(&b'*') {
        take(rest, seen);
        return Ok(Some(Count::Argument));
    }
    let mut count: Option<u32> = None;
    while let Some(digit @ b'0'..=b'9') = rest.first().copied() {
        take(rest, seen);
        let value = count.unwrap_or(0).saturating_mul(10).saturating_add(u32::from(digit - b'0'));
        if value > MAX_COUNT {
            return Err(format!("number in format directive '{seen}' is above {MAX_COUNT}"));
        }
        count = Some(value);
    }
    Ok(count.map(Count::Fixed))
}

/// Moves one byte from the text to what was seen of the directive.
fn take(rest: &mut &[u8], seen: &mut String) {
    if let Some((&byte, after)) = rest.split_first() {
        seen.push(char::from(byte));
        *rest = after;
    }
}

/// Literal text or a conversion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Printed as it is; `%%` has become `%`.
    Literal(Text),
    /// Takes arguments.
    Directive(Directive),
}

/// `%-08.3d`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Directive {
    /// `- + 0 # space`
    pub flags: Flags,
    /// The least number of columns.
    pub width: Option<Count>,
    /// Digits of a number, most bytes of a string, bytes of a memory dump.
    pub precision: Option<Count>,
    /// What kind of value.
    pub conversion: Conversion,
}

impl Directive {
    /// As written, `%i` as `%d` and without length modifiers.
    pub fn to_text(&self) -> String {
        let mut out = String::from("%");
        let flags = &self.flags;
        for (set, mark) in [
            (flags.left, '-'),
            (flags.plus, '+'),
            (flags.space, ' '),
            (flags.alternate, '#'),
            (flags.zero, '0'),
        ] {
            if set {
                out.push(mark);
            }
        }
        let count = |count: Count| match count {
            Count::Fixed(value) => value.to_string(),
            Count::Argument => "*".to_owned(),
        };
        if let Some(width) = self.width {
            out.push_str(&count(width));
        }
        if let Some(precision) = self.precision {
            out.push('.');
            out.push_str(&count(precision));
        }
        out.push(self.conversion.letter());
        out
    }
}

/// A width or a precision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// Written in the format.
    Fixed(u32),
    /// `*`: an argument of its own, before the value.
    Argument,
}

/// The flags of a directive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// `-`
    pub left: bool,
    /// `+`
    pub plus: bool,
    /// `0`
    pub zero: bool,
    /// `#`: `0x` and `0` prefixes, quoted strings, user memory for `%m` and `%M`.
    pub alternate: bool,
    /// A space.
    pub space: bool,
}

/// The conversion letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Conversion {
    /// `%d`, `%i`
    Decimal,
    /// `%u`
    Unsigned,
    /// `%x`
    HexLower,
    /// `%X`
    HexUpper,
    /// `%o`
    Octal,
    /// `%p`: as `%#x`.
    Pointer,
    /// `%c`: one byte, also a zero.
    Char,
    /// `%s`
    Str,
    /// `%b`: the value as raw bytes, as many as the width.
    Binary,
    /// `%m`: bytes at an address, as many as the precision, raw.
    Memory,
    /// `%M`: the same in hexadecimal.
    MemoryHex,
}

impl Conversion {
    /// As written.
    pub fn letter(self) -> char {
        match self {
            Conversion::Decimal => 'd',
            Conversion::Unsigned => 'u',
            Conversion::HexLower => 'x',
            Conversion::HexUpper => 'X',
            Conversion::Octal => 'o',
            Conversion::Pointer => 'p',
            Conversion::Char => 'c',
            Conversion::Str => 's',
            Conversion::Binary => 'b',
            Conversion::Memory => 'm',
            Conversion::MemoryHex => 'M',
        }
    }
}

/// What one argument of a format must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// A number for a `*` width.
    Width,
    /// A number for a `.*` precision.
    Precision,
    /// The value of a conversion: a string for `%s`, otherwise a number.
    Value(Conversion),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directive(text: &str) -> Directive {
        match Format::parse(text.as_bytes()).unwrap().pieces[..] {
            [Piece::Directive(directive)] => directive,
            ref other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn directives_have_flags_width_and_precision() {
        let d = directive("%-+0# 8.3d");
        assert_eq!(d.flags, Flags { left: true, plus: true, zero: true, alternate: true, space: true });
        assert_eq!((d.width, d.precision), (Some(Count::Fixed(8)), Some(Count::Fixed(3))));
        assert_eq!(d.conversion, Conversion::Decimal);
        assert_eq!(directive("%*.*s").width, Some(Count::Argument));
        assert_eq!(directive("%lld"), directive("%i"));
        assert_eq!(directive("%hx").conversion, Conversion::HexLower);
        assert_eq!(directive("%-.38s").precision, Some(Count::Fixed(38)));
    }

    #[test]
    fn percent_signs_and_literals_are_joined() {
        let format = Format::parse(b"100%% of %s%").unwrap();
        assert_eq!(format.pieces.len(), 3);
        assert_eq!(format.pieces[0], Piece::Literal("100% of ".into()));
        assert_eq!(format.pieces[2], Piece::Literal("%".into()));
    }

    #[test]
    fn text_of_a_format_parses_to_the_same_pieces() {
        for text in ["", "plain", "%5.2d|%-*.*s|%#X%%%c%p %b%3m%M%u%o", "%"] {
            let format = Format::parse(text.as_bytes()).unwrap();
            assert_eq!(Format::parse(&format.to_text()).unwrap(), format, "{text}");
        }
    }

    #[test]
    fn wants_lists_stars_before_their_value() {
        let format = Format::parse(b"%*.*d %s").unwrap();
        assert_eq!(
            format.wants(),
            [Want::Width, Want::Precision, Want::Value(Conversion::Decimal), Want::Value(Conversion::Str)]
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Format::parse(b"%5").unwrap_err(), "format directive '%5' has no conversion");
        assert_eq!(Format::parse(b"a %f").unwrap_err(), "unknown conversion in format directive '%f'");
        assert!(Format::parse(b"%99999999999d").is_err());
    }
}
