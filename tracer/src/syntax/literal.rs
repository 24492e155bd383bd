//! The values of number and string literals.
//!
//! Leaf rules: they return plain messages, the caller adds the place.

/// The value of a literal as `strtoull` with base 0 reads it: decimal, `0x`, `0` octal, `0b`. What lies above
/// 2^63 wraps.
pub(super) fn parse_number(text: &str) -> Result<i64, String> {
    parse_magnitude(text).map(u64::cast_signed)
}

/// The value of a literal with a minus sign in front; it must fit.
pub(super) fn parse_negative(text: &str) -> Result<i64, String> {
    let magnitude = parse_magnitude(text)?;
    0_i64.checked_sub_unsigned(magnitude).ok_or_else(|| format!("number -{text} is below -2^63"))
}

fn parse_magnitude(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix, kind) = if let Some(digits) = lower.strip_prefix("0x") {
        (digits, 16, "hexadecimal")
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (digits, 2, "binary")
    } else if lower.len() > 1 && lower.starts_with('0') {
        (&lower[1..], 8, "octal")
    } else {
        (lower.as_str(), 10, "decimal")
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(format!("'{text}' is not a valid {kind} number"));
    }
    u64::from_str_radix(digits, radix).map_err(|_| format!("number {text} does not fit in 64 bits"))
}

/// Appends the value of a string literal, given with its quotes; `hex`: with `\xff`.
pub(super) fn parse_string(literal: &str, hex: bool, value: &mut Vec<u8>) {
    let inner = literal.strip_prefix('"').unwrap_or(literal);
    let inner = inner.strip_suffix('"').unwrap_or(inner).as_bytes();
    let mut at = 0;
    while let Some(&byte) = inner.get(at) {
        at += 1;
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        let Some(&escaped) = inner.get(at) else { break };
        at += 1;
        value.push(match escaped {
            b'a' => 0x07,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'r' => b'\r',
            b'0'..=b'7' => {
                let (number, len) = take_digits(&inner[at - 1..], 8, 3);
                at += len - 1;
                number
            }
            b'x' if hex && inner.get(at).is_some_and(u8::is_ascii_hexdigit) => {
                let (number, len) = take_digits(&inner[at..], 16, 2);
                at += len;
                number
            }
            // Any other character stands for itself, as `\"` does.
            other => other,
        });
    }
}

/// The value of at most `most` digits, and how many there were. `\777` wraps to a byte as in C.
fn take_digits(text: &[u8], radix: u32, most: usize) -> (u8, usize) {
    let digits = || text.iter().take(most).map_while(|byte| char::from(*byte).to_digit(radix));
    (digits().fold(0, |number: u32, digit| number * radix + digit) as u8, digits().count())
}

/// A string literal, with quotes, that has this value.
pub(crate) fn quote(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\{:03o}", character as u32)),
                _ => out.push(character),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\{byte:03o}"));
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(literal: &str) -> Vec<u8> {
        let mut value = Vec::new();
        parse_string(literal, true, &mut value);
        value
    }

    #[test]
    fn numbers_have_four_bases_and_wrap() {
        assert_eq!(parse_number("42"), Ok(42));
        assert_eq!(parse_number("0x10"), Ok(16));
        assert_eq!(parse_number("010"), Ok(8));
        assert_eq!(parse_number("0b101"), Ok(5));
        assert_eq!(parse_number("0"), Ok(0));
        assert_eq!(parse_number("18446744073709551615"), Ok(-1));
        assert_eq!(parse_negative("9223372036854775808"), Ok(i64::MIN));
        assert!(parse_negative("9223372036854775809").is_err());
        assert_eq!(parse_number("08").unwrap_err(), "'08' is not a valid octal number");
        assert_eq!(parse_number("0x").unwrap_err(), "'0x' is not a valid hexadecimal number");
        assert_eq!(parse_number("12ab").unwrap_err(), "'12ab' is not a valid decimal number");
        assert!(parse_number("18446744073709551616").unwrap_err().contains("does not fit"));
    }

    #[test]
    fn escapes_are_those_of_c() {
        assert_eq!(string(r#""a\n\t\\\"\q""#), b"a\n\t\\\"q");
        assert_eq!(string(r#""\101\x41\0\7x""#), b"AA\0\x07x");
        assert_eq!(string(r#""\xffz\x""#), b"\xffzx");
    }

    #[test]
    fn quoting_keeps_the_value() {
        for value in
            [&b""[..], b"a\"b\\c\n", b"\x01\x7f\xff\xc3\xa9", "grün".as_bytes(), b"\x017", "ä1".as_bytes()]
        {
            assert_eq!(string(&quote(value)), value);
        }
    }
}
