//! What SystemTap 5.6 printed for every flag, width and precision, and the bytes that no terminal shows.

use super::*;

fn printed(text: &str, args: &[Value]) -> Vec<u8> {
    format(&parsed(text), args)
}

/// Reads a format through the text form of the IR.
fn parsed(text: &str) -> Format {
    let module = format!("format p0 {text:?}\n");
    tracer_common::ir::parse::module(&module).expect("a format").formats.remove(0)
}

fn check(cases: &[(&[u8], &[u8])], values: &[Value]) {
    for (conversion, expected) in cases {
        let text = std::str::from_utf8(conversion).expect("text");
        let got: Vec<u8> = values
            .iter()
            .flat_map(|value| {
                [b"<".to_vec(), printed(text, std::slice::from_ref(value)), b">".to_vec()].concat()
            })
            .collect();
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{text}");
    }
}

fn longs(values: &[i64]) -> Vec<Value> {
    values.iter().copied().map(Value::Long).collect()
}

fn text(bytes: &[u8]) -> Value {
    Value::Str(bytes.to_vec())
}

#[test]
fn numbers() {
    check(NUMBERS, &longs(&[0, 5, -42, 255, -1, i64::MAX]));
}

#[test]
fn strings() {
    check(STRINGS, &[text(b""), text(b"a"), text(b"abcdef"), text(b"a\nb\"c\\\tz")]);
}

#[test]
fn characters() {
    check(CHARACTERS, &longs(&[65, 10, 34, 39, 92, 127, 200, 7]));
}

#[test]
fn sizes_from_arguments() {
    let args = |values: &[i64], last: Value| longs(values).into_iter().chain([last]).collect::<Vec<Value>>();
    for (conversion, args, expected) in [
        ("%*d", longs(&[5, 42]), "   42"),
        ("%-*d", longs(&[5, 42]), "42   "),
        ("%.*s", args(&[2], text(b"abc")), "ab"),
        ("%.*d", longs(&[4, 7]), "0007"),
        ("%*.*d", longs(&[8, 3, 7]), "     007"),
        // Negative sizes are no sizes.
        ("%*d", longs(&[-5, 42]), "42"),
        ("%*s", args(&[-8], text(b"ab")), "ab"),
        ("%.*s", args(&[-1], text(b"abc")), ""),
        ("%.*d", longs(&[-1, 7]), "7"),
        ("%*d", longs(&[i64::MIN, 1]), "1"),
    ] {
        assert_eq!(String::from_utf8_lossy(&printed(conversion, &args)), expected, "{conversion}");
    }
    assert_eq!(printed("%*d", &longs(&[i64::MAX, 1])).len(), WIDEST as usize);
}

#[test]
fn binary_values() {
    let value = 0x4142_4344_4546_4748;
    for (conversion, expected) in [
        ("%b", &b"HGFEDCBA"[..]),
        ("%1b", b"H"),
        ("%2b", b"HG"),
        ("%4b", b"HGFE"),
        ("%8b", b"HGFEDCBA"),
        ("%-4b", b"HGFE"),
        ("%.2b", b"HG"),
        ("%4.2b", b"\0\0HG"),
        ("%-4.2b", b"HG\0\0"),
        ("%2.4b", b"HGFE"),
        ("%3b", b"HGFEDCBA"),
        ("%.3b", b"HGFEDCBA"),
        ("%10b", b"\0\0HGFEDCBA"),
    ] {
        assert_eq!(printed(conversion, &longs(&[value])), expected, "{conversion}");
    }
}

#[test]
fn nul_bytes() {
    assert_eq!(printed("%c", &longs(&[0])), b"\0");
    assert_eq!(printed("%3c", &longs(&[256])), b"  \0");
    assert_eq!(printed("%0s|%05s", &[text(b"ab"), text(b"ab")]), b"ab\0|   ab\0");
}

#[test]
fn memory_arrives_as_bytes() {
    let bytes = longs(&[0x6867_6665_64ff_4100, 0x6a69]);
    assert_eq!(printed("%5.3m|", &bytes), b"  \0A\xff|");
    assert_eq!(printed("%8.3M|", &bytes), b"  0041ff|");
    assert_eq!(printed("%-8.3M|", &bytes), b"0041ff  |");
    assert_eq!(printed("%.10m|%d", &bytes), b"\0A\xffdefghij|0");
    assert_eq!(printed("%.4M|%.1m|%.0m|%m", &bytes), b"0041ff64|i||");
}

#[test]
fn a_format_that_wants_more_than_there_is_prints_nothing_for_it() {
    assert_eq!(printed("%d %s %*d 100%%", &[]), b"0  0 100%");
}

const NUMBERS: &[(&[u8], &[u8])] = &[
    (b"%d", b"<0><5><-42><255><-1><9223372036854775807>"),
    (b"%i", b"<0><5><-42><255><-1><9223372036854775807>"),
    (b"%u", b"<0><5><18446744073709551574><255><18446744073709551615><9223372036854775807>"),
    (b"%x", b"<0><5><ffffffffffffffd6><ff><ffffffffffffffff><7fffffffffffffff>"),
    (b"%X", b"<0><5><FFFFFFFFFFFFFFD6><FF><FFFFFFFFFFFFFFFF><7FFFFFFFFFFFFFFF>"),
    (b"%o", b"<0><5><1777777777777777777726><377><1777777777777777777777><777777777777777777777>"),
    (b"%p", b"<0x0><0x5><0xffffffffffffffd6><0xff><0xffffffffffffffff><0x7fffffffffffffff>"),
    (b"%#x", b"<0x0><0x5><0xffffffffffffffd6><0xff><0xffffffffffffffff><0x7fffffffffffffff>"),
    (b"%#X", b"<0X0><0X5><0XFFFFFFFFFFFFFFD6><0XFF><0XFFFFFFFFFFFFFFFF><0X7FFFFFFFFFFFFFFF>"),
    (b"%#o", b"<00><05><01777777777777777777726><0377><01777777777777777777777><0777777777777777777777>"),
    (b"%+d", b"<+0><+5><-42><+255><-1><+9223372036854775807>"),
    (b"% d", b"< 0>< 5><-42>< 255><-1>< 9223372036854775807>"),
    (b"%05d", b"<00000><00005><-0042><00255><-0001><9223372036854775807>"),
    (b"%-05d", b"<0    ><5    ><-42  ><255  ><-1   ><9223372036854775807>"),
    (b"%8x", b"<       0><       5><ffffffffffffffd6><      ff><ffffffffffffffff><7fffffffffffffff>"),
    (b"%-8x", b"<0       ><5       ><ffffffffffffffd6><ff      ><ffffffffffffffff><7fffffffffffffff>"),
    (b"%08x", b"<00000000><00000005><ffffffffffffffd6><000000ff><ffffffffffffffff><7fffffffffffffff>"),
    (b"%#08x", b"<     0x0><     0x5><0xffffffffffffffd6><    0xff><0xffffffffffffffff><0x7fffffffffffffff>"),
    (b"%+05d", b"<   +0><   +5><  -42>< +255><   -1><+9223372036854775807>"),
    (b"%.3d", b"<000><005><-042><255><-001><9223372036854775807>"),
    (b"%8.5d", b"<   00000><   00005><  -00042><   00255><  -00001><9223372036854775807>"),
    (b"%08.3d", b"<00000000><00000005><-0000042><00000255><-0000001><9223372036854775807>"),
    (b"%+.3d", b"<+000><+005><-042><+255><-001><+9223372036854775807>"),
    (b"%.0d", b"<0><5><-42><255><-1><9223372036854775807>"),
    (b"%#.3x", b"<0x000><0x005><0xffffffffffffffd6><0x0ff><0xffffffffffffffff><0x7fffffffffffffff>"),
    (b"%8p", b"<     0x0><     0x5><0xffffffffffffffd6><    0xff><0xffffffffffffffff><0x7fffffffffffffff>"),
    (b"%-8p", b"<0x0     ><0x5     ><0xffffffffffffffd6><0xff    ><0xffffffffffffffff><0x7fffffffffffffff>"),
    (b"%020p", b"<0x000000000000000000><0x000000000000000005><0x00ffffffffffffffd6><0x0000000000000000ff><0x00ffffffffffffffff><0x007fffffffffffffff>"),
    (b"%.3x", b"<000><005><ffffffffffffffd6><0ff><ffffffffffffffff><7fffffffffffffff>"),
    (b"%#10X", b"<       0X0><       0X5><0XFFFFFFFFFFFFFFD6><      0XFF><0XFFFFFFFFFFFFFFFF><0X7FFFFFFFFFFFFFFF>"),
    (b"%#5o", b"<   00><   05><01777777777777777777726>< 0377><01777777777777777777777><0777777777777777777777>"),
    (b"%20d", b"<                   0><                   5><                 -42><                 255><                  -1>< 9223372036854775807>"),
    (b"%-20d", b"<0                   ><5                   ><-42                 ><255                 ><-1                  ><9223372036854775807 >"),
    (b"%+u", b"<0><5><18446744073709551574><255><18446744073709551615><9223372036854775807>"),
    (b"% x", b"<0><5><ffffffffffffffd6><ff><ffffffffffffffff><7fffffffffffffff>"),
    (b"%+x", b"<0><5><ffffffffffffffd6><ff><ffffffffffffffff><7fffffffffffffff>"),
];

const STRINGS: &[(&[u8], &[u8])] = &[
    (b"%s", b"<><a><abcdef><a\nb\"c\\\tz>"),
    (b"%5s", b"<     ><    a><abcdef><a\nb\"c\\\tz>"),
    (b"%-5s", b"<     ><a    ><abcdef><a\nb\"c\\\tz>"),
    (b"%.3s", b"<><a><abc><a\nb>"),
    (b"%5.2s", b"<     ><    a><   ab><   a\n>"),
    (b"%-5.2s", b"<     ><a    ><ab   ><a\n   >"),
    (b"%.0s", b"<><><><>"),
    (b"%#s", b"<><a><abcdef><a\nb\"c\\\tz>"),
    (b"%#8s", b"<        ><       a><  abcdef><a\nb\"c\\\tz>"),
    (b"%#.3s", b"<><a><abc><a\nb>"),
];

const CHARACTERS: &[(&[u8], &[u8])] = &[
    (b"%c", b"<A><\n><\"><'><\\><\x7f><\xc8><\x07>"),
    (b"%5c", b"<    A><    \n><    \"><    '><    \\><    \x7f><    \xc8><    \x07>"),
    (b"%-5c", b"<A    ><\n    ><\"    ><'    ><\\    ><\x7f    ><\xc8    ><\x07    >"),
    (b"%#c", b"<A><\\n><\"><\\'><\\\\><\\177><\\310><\\a>"),
    (b"%#5c", b"<    A><   \\n><    \"><   \\'><   \\\\>< \\177>< \\310><   \\a>"),
    (b"%05c", b"<    A><    \n><    \"><    '><    \\><    \x7f><    \xc8><    \x07>"),
];
