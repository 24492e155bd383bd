//! String functions.

use tracer_common::record::ErrorKind;
use tracer_common::regex;

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

/// The pattern of a number, from 1, if there is one.
pub(super) fn pattern(patterns: &[u8], number: i64) -> Option<&[u8]> {
    let number = usize::try_from(number).ok()?.checked_sub(1)?;
    regex::list(patterns).nth(number)
}

/// A group of what was searched for; without a pattern, nothing was found.
pub(super) fn group(text: &[u8], pattern: Option<&[u8]>, number: i64) -> Result<Vec<u8>, (ErrorKind, i64)> {
    // The pattern was looked at in pass 2.
    let Some(groups) = pattern.and_then(|pattern| regex::captures(pattern, text).ok()?) else {
        return Err((ErrorKind::GroupOfFailed, number));
    };
    match usize::try_from(number).ok().and_then(|number| groups.get(number)) {
        Some(Some((from, to))) => Ok(text[*from..*to].to_vec()),
        Some(None) => Ok(Vec::new()),
        None => Err((ErrorKind::GroupMissing, number)),
    }
}

/// How many groups the pattern has that was found, the whole included.
pub(super) fn groups(pattern: Option<&[u8]>) -> Result<i64, (ErrorKind, i64)> {
    let count = pattern.and_then(|pattern| regex::groups(pattern).ok());
    count.map(|count| count as i64 + 1).ok_or((ErrorKind::NoGroups, 0))
}

/// Where the first occurrence begins, or -1.
pub(super) fn position(text: &[u8], part: &[u8]) -> i64 {
    let at = if part.is_empty() { Some(0) } else { text.windows(part.len()).position(|w| w == part) };
    at.map_or(-1, |at| at as i64)
}

/// Every occurrence replaced, from left to right; what was put in is not looked at again.
pub(super) fn replace(text: &[u8], part: &[u8], with: &[u8]) -> Vec<u8> {
    if part.is_empty() {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(part) {
            out.extend_from_slice(with);
            rest = tail;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// The next piece of a text that separators take apart, and what is left of it; empty pieces are passed over.
pub(super) fn token<'t>(mut text: &'t [u8], separators: &[u8]) -> (&'t [u8], &'t [u8]) {
    while !text.is_empty() {
        let end = text.iter().position(|byte| separators.contains(byte));
        let (piece, rest) = match end {
            Some(end) => (&text[..end], &text[end + 1..]),
            None => (text, &text[text.len()..]),
        };
        if !piece.is_empty() {
            return (piece, rest);
        }
        text = rest;
    }
    (text, text)
}

/// A moment as `asctime` of C writes it: `Tue Nov 14 22:13:20 2023`. SystemTap does not convert what a 32-bit `time_t`
/// does not hold.
pub(super) fn ctime(seconds: i64) -> Result<String, ErrorKind> {
    if seconds > i64::from(i32::MAX) {
        return Err(ErrorKind::TimeFuture);
    }
    if seconds < i64::from(i32::MIN) {
        return Err(ErrorKind::TimePast);
    }
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days from 1 March of year 0, in eras of 400 years, so that leap days come last.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let names = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    Ok(format!(
        "{} {} {of_month:2} {:02}:{:02}:{:02} {}",
        weekdays[days.rem_euclid(7) as usize],
        names[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60,
        era * 400 + year + i64::from(month >= 10),
    ))
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
    fn moments() {
        for (seconds, text) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (1_700_000_000, "Tue Nov 14 22:13:20 2023"),
            (-1, "Wed Dec 31 23:59:59 1969"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (2_147_483_647, "Tue Jan 19 03:14:07 2038"),
            (-2_147_483_648, "Fri Dec 13 20:45:52 1901"),
        ] {
            assert_eq!(ctime(seconds).as_deref(), Ok(text));
        }
        assert_eq!(ctime(2_147_483_648), Err(ErrorKind::TimeFuture));
        assert_eq!(ctime(i64::MIN), Err(ErrorKind::TimePast));
    }

    #[test]
    fn pieces_of_texts() {
        let pieces = |text: &'static str, separators: &str| {
            let mut rest = text.as_bytes();
            std::iter::from_fn(move || {
                let (piece, after) = token(rest, separators.as_bytes());
                rest = after;
                (!piece.is_empty()).then(|| String::from_utf8_lossy(piece).into_owned())
            })
            .collect::<Vec<String>>()
        };
        assert_eq!(pieces("a b  c", " "), ["a", "b", "c"]);
        assert_eq!(pieces("one,two;three", ",;"), ["one", "two", "three"]);
        assert_eq!(pieces("   ", " "), [""; 0]);
        assert_eq!(pieces("x", ""), ["x"]);
    }

    #[test]
    fn parts_of_strings() {
        assert_eq!(replace(b"hello world hello", b"hello", b"J"), b"J world J");
        assert_eq!(replace(b"aaa", b"a", b"aa"), b"aaaaaa");
        assert_eq!(replace(b"abc", b"", b"x"), b"abc");
        assert_eq!((position(b"hello", b"l"), position(b"", b"x"), position(b"x", b"")), (2, -1, 0));
        assert_eq!(substr(b"hello", 1, 3), b"ell");
        assert_eq!(substr(b"hello", 4, 9), b"o");
        assert_eq!(substr(b"hello", 5, 1), b"");
        assert_eq!(substr(b"hello", 6, 1), b"");
        assert_eq!(substr(b"hello", -1, 2), b"");
        assert!(contains(b"hello", b"ell") && contains(b"", b"") && !contains(b"a", b"ab"));
    }
}
