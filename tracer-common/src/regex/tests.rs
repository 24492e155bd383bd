//! What patterns find, where mistakes in them are, and how large they may be.

use super::{Dfa, Table};
use alloc::format;
use alloc::vec::Vec;

fn finds(pattern: &str, text: &str) -> bool {
    let by_ranges = Dfa::new(pattern.as_bytes()).unwrap().finds(text.as_bytes());
    let by_table = Table::new(pattern.as_bytes()).unwrap().is_none_or(|table| table.finds(text.as_bytes()));
    assert_eq!(by_ranges, by_table, "{pattern} in {text}");
    by_table
}

#[test]
fn what_is_found() {
    for (pattern, text) in [
        ("b", "abc"),
        ("^a", "abc"),
        ("c$", "abc"),
        ("", ""),
        ("", "abc"),
        ("^$", ""),
        ("$^", ""),
        ("a|b", "xb"),
        ("^(ab|cd)+$", "abcdab"),
        ("^a{2,3}$", "aaa"),
        ("^a{2}$", "aa"),
        ("^a{2,}$", "aaaaa"),
        ("^[[:alpha:]_][[:alnum:]_]*$", "x_1"),
        ("^[]a]+$", "]a"),
        ("^[a-]+$", "a-"),
        ("^[^0-9]$", "x"),
        ("a\\.b", "a.b"),
        ("a.b", "a\nb"),
        ("(|a)b", "b"),
        ("(a*)*c", "aac"),
    ] {
        assert!(finds(pattern, text), "{pattern} in {text}");
    }
}

#[test]
fn groups_are_where_they_are() {
    // What SystemTap 5.6 says, but for the last line (see `captures`).
    for (pattern, text, wanted) in [
        ("h(.)l(l+)o (x|w)", "hello world", "hello w,e,l,w"),
        ("b(a)r", "foobar", "bar,a"),
        ("(a|ab)(c|bcd)(d*)", "abcd", "abcd,a,bcd,"),
        ("(.)X", "aXbXc", "aX,a"),
        ("(ab)+", "abab", "abab,ab"),
        ("(a)|(b)", "ab", "a,a,-"),
        ("(a)|(b)", "b", "b,-,b"),
        ("o+(f|b)", "foofoobar", "oof,f"),
        ("(abc)*x$", "xabcabcx", "abcabcx,abc"),
        ("a|aab", "aab", "aab"),
        ("(.*)(.*)e", "abcde", "abcde,abcd,"),
        ("((a)(b))c", "abc", "abc,ab,a,b"),
        ("(x*)*", "", ",-"),
        ("(a*)(ab)*(b*)", "aaabbb", "aaabbb,aaa,-,bbb"),
    ] {
        let found = super::captures(pattern.as_bytes(), text.as_bytes()).unwrap().unwrap();
        let groups: Vec<&str> = found.iter().map(|g| g.map_or("-", |(from, to)| &text[from..to])).collect();
        assert_eq!(groups.join(","), wanted, "{pattern} in {text}");
    }
    assert_eq!(super::captures(b"x(y)", b"xz").unwrap(), None);
}

#[test]
fn groups_by_automata_are_the_same() {
    let patterns = [
        "h(.)l(l+)o (x|w)",
        "b(a)r",
        "(a|ab)(c|bcd)(d*)",
        "(.)X",
        "(ab)+",
        "(a)|(b)",
        "o+(f|b)",
        "(abc)*x$",
        "a|aab",
        "(.*)(.*)e",
        "((a)(b))c",
        "(x*)*",
        "(a*)(ab)*(b*)",
        "^(a*)b?(a)",
        "(^|b)(a+)($|b)",
        "$",
        "()",
        "(a(b)?)+",
        "(a|b)*(b|a)",
        "((a*)*b)*",
        "^(a|b){2,3}$",
        "(b*|a)+b",
        "[^a](.)$",
    ];
    let mut texts: Vec<alloc::string::String> =
        ["hello world", "foobar", "abcd", "xabcabcx", "abcde", "foofoobar"]
            .map(alloc::string::String::from)
            .to_vec();
    // Every text of up to six a's, b's and X's.
    for length in 0..=6u32 {
        for number in 0..3usize.pow(length) {
            let letter = |at: u32| ["a", "b", "X"][number / 3usize.pow(at) % 3];
            texts.push((0..length).map(letter).collect());
        }
    }
    for pattern in patterns {
        let ways = super::Ways::new(pattern.as_bytes()).unwrap();
        for text in &texts {
            let Some(wanted) = super::captures(pattern.as_bytes(), text.as_bytes()).unwrap() else {
                continue;
            };
            assert_eq!(ways.find(text.as_bytes()), wanted, "{pattern} in {text}");
        }
    }
}

#[test]
fn literals_are_found_as_they_are() {
    let text = "a\\b.c[d]e(f)g*h+i?j{2}k|l^m$n/o\u{ff}";
    let pattern = super::literal(text.as_bytes());
    let table = Table::new(&pattern).unwrap().unwrap();
    assert!(table.finds(format!("<{text}>").as_bytes()));
    for at in 0..text.len() {
        let mut damaged = text.as_bytes().to_vec();
        damaged[at] = b'_';
        assert!(!table.finds(&damaged), "{at}");
    }
}

#[test]
fn what_is_not_found() {
    for (pattern, text) in [
        ("d", "abc"),
        ("^b", "abc"),
        ("b$", "abc"),
        ("^$", "a"),
        ("$^", "abc"),
        ("^a{2,3}$", "aaaa"),
        ("^a{2,3}$", "a"),
        ("^(ab|cd)+$", "abc"),
        ("^[^0-9]$", "5"),
        ("a\\.b", "axb"),
        ("a.b", "a"),
        ("^[^a]$", ""),
        ("a|^b", "xb"),
    ] {
        assert!(!finds(pattern, text), "{pattern} in {text}");
    }
}

#[test]
fn mistakes_have_places() {
    for (pattern, at) in [
        ("ab(c", 2),
        ("ab)c", 2),
        ("a[b", 1),
        ("*a", 0),
        ("a|*", 2),
        ("a{3,2}", 1),
        ("a{x}", 2),
        ("a{999}", 2),
        ("[[:nope:]]", 1),
        ("[b-a]", 1),
        ("(a)\\1", 3),
        ("a\\", 1),
    ] {
        assert_eq!(Dfa::new(pattern.as_bytes()).unwrap_err().at, at, "{pattern}");
    }
}

#[test]
fn too_large_is_a_mistake() {
    for pattern in
        ["(a{255}){255}", "(a|b)*a(a|b){20}", &"(".repeat(100_000), &format!("a{}", "*".repeat(1000))]
    {
        assert!(Dfa::new(pattern.as_bytes()).is_err());
    }
}
