//! Texts and bytes in quotation marks, as C would write them.

use crate::run::output::format::escaped;

/// Quotation marks with dots behind them.
const DOTS: &[u8] = br#"""..."#;

/// What cannot be printed as in C, in at most so many bytes, in quotation marks or not. Characters of UTF-8 beyond ASCII are
/// written by their numbers.
pub(super) fn text(text: &[u8], most: usize, marks: bool) -> Vec<u8> {
    let parts = text.utf8_chunks().flat_map(|chunk| {
        let known = chunk.valid().chars().map(character).collect::<Vec<_>>();
        known.into_iter().chain(chunk.invalid().iter().map(|byte| escaped(*byte, b'"')))
    });
    let parts: Vec<Vec<u8>> = parts.collect();
    if marks { marked(&parts, most) } else { plain(&parts, most).0 }
}

/// Bytes of any value in at most so many bytes of text. A NUL is short where no digit follows.
pub(super) fn bytes(bytes: &[u8], most: usize) -> Vec<u8> {
    let part = |(n, byte): (usize, &u8)| match (byte, bytes.get(n + 1)) {
        (0, Some(b'0'..=b'7')) => b"\\000".to_vec(),
        (0, _) => b"\\0".to_vec(),
        _ => escaped(*byte, b'"'),
    };
    if most == 0 {
        return Vec::new();
    }
    marked(&bytes.iter().enumerate().map(part).collect::<Vec<_>>(), most)
}

fn character(character: char) -> Vec<u8> {
    match u32::from(character) {
        byte @ 0..0x80 => escaped(byte as u8, b'"'),
        number @ 0..0x1_0000 => format!("\\u{number:04X}").into_bytes(),
        number => format!("\\U{number:08X}").into_bytes(),
    }
}

/// As many parts as fit, whole, and the first that does not.
fn plain(parts: &[Vec<u8>], most: usize) -> (Vec<u8>, Option<&Vec<u8>>) {
    let mut out = Vec::new();
    for part in parts {
        if out.len() + part.len() > most {
            return (out, Some(part));
        }
        out.extend_from_slice(part);
    }
    (out, None)
}

/// The same in quotation marks; text that does not fit ends in `"...`, for which room is made, but not where the rest begins with
/// a NUL.
fn marked(parts: &[Vec<u8>], most: usize) -> Vec<u8> {
    let (text, rest) = plain(parts, most.saturating_sub(2));
    match rest {
        Some(part) if !matches!(part.as_slice(), b"\\0" | b"\\000") => {
            let (text, _) = plain(parts, most.saturating_sub(DOTS.len()));
            [b"\"", &text[..], &DOTS[1..]].concat()
        }
        _ => [b"\"", &text[..], b"\""].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_texts_that_do_not_fit_end_in_dots() {
        // As SystemTap 5.6 printed them.
        for (given, most, marks, quoted) in [
            ("abcdefgh", 4, true, r#"""..."#),
            ("abcdefgh", 9, true, r#""abcd"..."#),
            ("abcdefgh", 10, true, r#""abcdefgh""#),
            ("ab\ncd\n", 8, true, r#""ab"..."#),
            ("ab\ncd\n", 9, true, r#""ab\n"..."#),
            ("ab\ncd\n", 10, true, r#""ab\ncd\n""#),
            ("abc\x01\x02\x03", 11, true, r#""abc"..."#),
            ("abc\x01\x02\x03", 12, true, r#""abc\001"..."#),
            ("abc\x01\x02\x03", 10, false, r"abc\001"),
            ("abc\x01\x02\x03", 11, false, r"abc\001\002"),
            ("abc\"\\'?\x07\x08\x0b\x0c\r\t", 99, true, r#""abc\"\\'?\a\b\v\f\r\t""#),
            (
                "line\none \"two\" \\ \t\x01\x7fé end",
                99,
                true,
                r#""line\none \"two\" \\ \t\001\177\u00E9 end""#,
            ),
            ("hi é€😀!", 99, true, r#""hi \u00E9\u20AC\U0001F600!""#),
        ] {
            assert_eq!(String::from_utf8_lossy(&text(given.as_bytes(), most, marks)), quoted);
        }
        let odd = b"a\xc3\xa9\xff\xc3 \x7f\x80\xed\xa0\x80\xf0\x9f\x98\x80 \"'\\\n1";
        let quoted = br#""a\u00E9\377\303 \177\200\355\240\200\U0001F600 \"'\\\n1""#;
        assert_eq!(text(odd, 100, true), quoted);
    }

    #[test]
    fn quoted_bytes() {
        // As SystemTap 5.6 printed them.
        let all = b"\0\x01\x02a\"\\\n\t\x7f\x80\xffz\0q7\0";
        for (given, most, quoted) in [
            (&all[..], 200, r#""\0\001\002a\"\\\n\t\177\200\377z\0q7\0""#),
            (&all[..5], 200, r#""\0\001\002a\"""#),
            (&all[..], 10, r#""\0"..."#),
            (&all[..], 3, r#""""#),
            (&all[..], 0, ""),
            (&b"stapio"[..], 1, r#"""..."#),
            (&b"stapio"[..], 5, r#"""..."#),
            (&b"stapio"[..], 7, r#""st"..."#),
            (&b"stapio\0\0\0"[..], 9, r#""stapio""#),
            (&b"\x017\x02x\0"[..], 100, r#""\0017\002x\0""#),
            (&b"0123456789012345678901234567890123456789"[..], 20, r#""012345678901234"..."#),
        ] {
            assert_eq!(String::from_utf8_lossy(&bytes(given, most)), quoted);
        }
        assert_eq!(bytes(b"\x007", 100), br#""\0007""#);
    }
}
