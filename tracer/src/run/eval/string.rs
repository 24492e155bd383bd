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

/// The number that a string begins with; base 0 goes by the prefix. What does not fit saturates.
pub(super) fn strtol(text: &[u8], base: i64) -> i64 {
    let mut rest = text.trim_ascii_start();
    let negative = rest.first() == Some(&b'-');
    if let Some(b'-' | b'+') = rest.first() {
        rest = &rest[1..];
    }
    let hex =
        rest.len() > 2 && rest[0] == b'0' && matches!(rest[1], b'x' | b'X') && rest[2].is_ascii_hexdigit();
    let base = match base {
        0 if hex => 16,
        0 if rest.first() == Some(&b'0') => 8,
        0 => 10,
        base => base,
    };
    if !(2..=36).contains(&base) {
        return 0;
    }
    if base == 16 && hex {
        rest = &rest[2..];
    }
    let mut value: i128 = 0;
    for byte in rest {
        let Some(digit) = char::from(*byte).to_digit(base as u32) else { break };
        value = (value * i128::from(base) + i128::from(digit)).min(1 << 80);
    }
    if negative {
        value = -value;
    }
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_start_of_strings() {
        for (text, base, value) in [
            ("42", 10, 42),
            ("  -7x", 10, -7),
            ("0x1f", 0, 31),
            ("0x1f", 16, 31),
            ("017", 0, 15),
            ("zz", 36, 35 * 36 + 35),
            ("", 10, 0),
            ("x", 10, 0),
            ("99999999999999999999", 10, i64::MAX),
            ("1", 99, 0),
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
