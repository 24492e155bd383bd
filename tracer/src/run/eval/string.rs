//! String functions.

/// `substr`: nothing when the start is out of range or the length is not positive.
pub(super) fn substr(text: &[u8], start: i64, length: i64) -> Vec<u8> {
    let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(length)) else {
        return Vec::new();
    };
    let Some(rest) = text.get(start..) else { return Vec::new() };
    rest[..rest.len().min(length)].to_vec()
}

/// Whether one string occurs in another.
pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// The number that a string begins with, as the kernel's `simple_strtoll` reads it, which SystemTap calls: no blanks and
/// no `+` before it, hexadecimal digits in any base that is large enough, base 0 goes by the prefix, and what does not
/// fit wraps.
pub(super) fn strtol(text: &[u8], base: i64) -> i64 {
    let (negative, mut rest) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let hex = matches!(rest, [b'0', b'x' | b'X', ..]);
    let base = match base as u32 {
        0 if hex && rest.get(2).is_some_and(|byte| digit(*byte).is_some()) => 16,
        0 if rest.first() == Some(&b'0') => 8,
        0 => 10,
        base => base,
    };
    if base == 16 && hex {
        rest = &rest[2..];
    }
    let mut value = 0u64;
    for digit in rest.iter().map_while(|byte| digit(*byte).filter(|digit| *digit < base)) {
        value = value.wrapping_mul(u64::from(base)).wrapping_add(u64::from(digit));
    }
    let value = value as i64;
    if negative { value.wrapping_neg() } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_start_of_strings() {
        // Numbers that SystemTap 5.6 printed.
        for (text, base, value) in [
            ("42", 10, 42),
            ("  -7x", 10, 0),
            ("0x1f", 0, 31),
            ("0x1f", 16, 31),
            ("0X1F", 0, 31),
            ("0X1f", 16, 31),
            ("0xg", 0, 0),
            ("017", 0, 15),
            ("09", 0, 0),
            ("08", 0, 0),
            ("zz", 36, 0),
            ("1f", 99, 114),
            ("1f", 0, 1),
            ("12", 3, 5),
            ("12", -1, 4_294_967_297),
            ("7", 0, 7),
            ("7", 1, 0),
            ("", 10, 0),
            ("-", 10, 0),
            ("--5", 10, 0),
            ("+5", 10, 0),
            ("\t5", 10, 0),
            ("0x", 16, 0),
            ("0x", 0, 0),
            ("-0x10", 0, -16),
            ("99999999999999999999", 10, 7_766_279_631_452_241_919),
            ("9223372036854775808", 10, i64::MIN),
            ("-9223372036854775809", 10, i64::MAX),
            ("18446744073709551615", 10, -1),
            ("18446744073709551616", 10, 0),
            ("0xffffffffffffffff", 16, -1),
        ] {
            assert_eq!(strtol(text.as_bytes(), base), value, "{text} in base {base}");
        }
    }

    #[test]
    fn parts_of_strings() {
        assert_eq!(substr(b"hello", 1, 3), b"ell");
        assert_eq!(substr(b"hello", 4, 9), b"o");
        assert_eq!(substr(b"hello", 5, 1), b"");
        assert_eq!(substr(b"hello", 6, 1), b"");
        assert_eq!(substr(b"hello", -1, 2), b"");
        assert!(contains(b"hello", b"ell") && contains(b"", b"") && !contains(b"a", b"ab"));
    }
}
