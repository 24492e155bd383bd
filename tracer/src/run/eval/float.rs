//! Arithmetic on the bits of 64-bit floating-point numbers, for scripts that have no such type (`tapsets/float.stp`).

/// Operation numbers, as the tapset has them.
const ADD: i64 = 0;
const SUB: i64 = 1;
const MUL: i64 = 2;
const DIV: i64 = 3;
const REM: i64 = 4;
const SQRT: i64 = 5;
const EQ: i64 = 6;
const LE: i64 = 7;
const LT: i64 = 8;
const OF_LONG: i64 = 9;
const TO_LONG: i64 = 10;
const WIDEN: i64 = 11;

/// Digits behind the point, at the most: no number has more that are not 0.
const DIGITS: usize = 1074;

/// An operation on two numbers; an operation that needs one has the first.
pub(super) fn compute(operation: i64, left: i64, right: i64) -> i64 {
    let (a, b) = (number(left), number(right));
    match operation {
        ADD => bits(a + b),
        SUB => bits(a - b),
        MUL => bits(a * b),
        DIV => bits(a / b),
        REM => bits(remainder(a, b)),
        SQRT => bits(a.sqrt()),
        EQ => i64::from(a == b),
        LE => i64::from(a <= b),
        LT => i64::from(a < b),
        OF_LONG => bits(left as f64),
        TO_LONG => rounded(a, right) as i64,
        WIDEN => bits(f64::from(f32::from_bits(left as u32))),
        _ => panic!("this is a bug: operation {operation} on floating-point numbers (tapsets)"),
    }
}

/// A number with so many digits behind the point; a half is rounded away from 0, and without digits it is cut.
pub(super) fn text(value: i64, precision: i64) -> String {
    let value = number(value);
    if !value.is_finite() {
        let sign = if value.is_sign_negative() && !value.is_nan() { "-" } else { "" };
        return format!("{sign}{}", if value.is_nan() { "NaN" } else { "Infinity" });
    }
    let digits = usize::try_from(precision).unwrap_or(0).min(DIGITS);
    let exact = format!("{value:.DIGITS$}");
    let point = exact.len() - DIGITS - 1;
    if digits == 0 {
        return exact[..point].to_owned();
    }
    let (shown, rest) = exact.split_at(point + 1 + digits);
    if rest.as_bytes().first().is_none_or(|next| *next < b'5') {
        return shown.to_owned();
    }
    let mut text = shown.as_bytes().to_vec();
    let mut carry = true;
    for digit in text.iter_mut().rev().filter(|byte| byte.is_ascii_digit()) {
        carry = *digit == b'9';
        *digit = if carry { b'0' } else { *digit + 1 };
        if !carry {
            break;
        }
    }
    if carry {
        text.insert(usize::from(value.is_sign_negative()), b'1');
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The number that a text is: digits with a sign, a point and an exponent; an empty one is 0.
pub(super) fn parse(text: &[u8]) -> Result<i64, String> {
    let text = String::from_utf8_lossy(text);
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if text.is_empty() {
        return Ok(0);
    }
    match text.parse::<f64>() {
        Ok(value) if text.chars().all(is_part) => Ok(bits(value)),
        _ => Err("invalid format".to_owned()),
    }
}

fn number(bits: i64) -> f64 {
    f64::from_bits(bits as u64)
}

/// What is no number has no sign, whatever the processor makes.
fn bits(number: f64) -> i64 {
    if number.is_nan() { f64::NAN.to_bits() as i64 } else { number.to_bits() as i64 }
}

/// The remainder of IEEE 754: of the division whose quotient is the nearest integer.
fn remainder(a: f64, b: f64) -> f64 {
    if b == 0.0 || a.is_infinite() {
        return f64::NAN;
    }
    if b.is_infinite() {
        return a;
    }
    let b = b.abs();
    // Exact, as the language's remainder is.
    let rest = a % (2.0 * b);
    let quotient = (rest / b).round_ties_even();
    rest - quotient * b
}

/// A number without what is behind the point: 0 nearest and even, 1 towards 0, 2 down, 3 up, 4 nearest and away from 0.
fn rounded(value: f64, mode: i64) -> f64 {
    match mode {
        1 => value.trunc(),
        2 => value.floor(),
        3 => value.ceil(),
        4 => value.round(),
        _ => value.round_ties_even(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_numbers_and_come_back() {
        for (given, digits, shown) in [
            ("1.5", 1, "1.5"),
            ("-3.25", 2, "-3.25"),
            ("1e3", 0, "1000"),
            ("", 2, "0.00"),
            ("0.999", 2, "1.00"),
            ("-9.9996", 3, "-10.000"),
            ("0.0625", 3, "0.063"),
            ("2.9999", 0, "2"),
            ("-0.5", 0, "-0"),
        ] {
            assert_eq!(parse(given.as_bytes()).map(|value| text(value, digits)), Ok(shown.into()), "{given}");
        }
        for bad in [&b"inf"[..], b"nan", b" 3", b"1.2.3", b"12x", b"\xff", b"-"] {
            assert!(parse(bad).is_err());
        }
    }

    #[test]
    fn every_operation_is_that_of_the_processor() {
        let of = |text: &str| parse(text.as_bytes()).unwrap_or(0);
        let shown = |operation, a, b| text(compute(operation, of(a), of(b)), 4);
        assert_eq!(shown(ADD, "1.5", "2"), "3.5000");
        assert_eq!(shown(SUB, "1.5", "2"), "-0.5000");
        assert_eq!(shown(MUL, "1.5", "2"), "3.0000");
        assert_eq!(shown(DIV, "1", "3"), "0.3333");
        assert_eq!(shown(REM, "7.5", "2"), "-0.5000");
        assert_eq!(shown(SQRT, "2", "0"), "1.4142");
        assert_eq!(text(compute(OF_LONG, -7, 0), 1), "-7.0");
        assert_eq!(text(compute(WIDEN, 0x3f80_0000, 0), 1), "1.0");
        assert_eq!([0, 1, 2, 3, 4].map(|mode| compute(TO_LONG, of("2.5"), mode)), [2, 2, 2, 3, 3]);
        assert_eq!([EQ, LE, LT].map(|operation| compute(operation, of("1"), of("1"))), [1, 1, 0]);
    }
}
