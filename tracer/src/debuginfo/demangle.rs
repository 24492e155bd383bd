//! Names of symbols as the source has them: C++ (Itanium ABI) and Rust, both of its schemes.
//!
//! **Not here:** names that debug information has (`dwarf`).

use cpp_demangle::DemangleOptions;

/// Longer symbols are taken as they are.
const LONGEST: usize = 4096;

/// The name of a function with everything around it, `a::b`, without parameters and hashes; `None` for a name of C.
pub fn qualified(symbol: &str) -> Option<String> {
    if symbol.len() > LONGEST || !(symbol.starts_with("_Z") || symbol.starts_with("_R")) {
        return None;
    }
    if let Ok(name) = rustc_demangle::try_demangle(symbol) {
        return Some(format!("{name:#}"));
    }
    let name = cpp_demangle::Symbol::new(symbol.as_bytes()).ok()?;
    name.demangle_with_options(&DemangleOptions::new().no_params().no_return_type()).ok()
}

/// The parts of such a name: `a`, `b<c::d>`.
pub fn parts(qualified: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0usize, 0);
    let mut found = Vec::new();
    let bytes = qualified.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' | b'(' | b'{' | b'[' => depth += 1,
            b'>' | b')' | b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && at >= start && bytes.get(at + 1) == Some(&b':') => {
                found.push(&qualified[start..at]);
                start = at + 2;
            }
            _ => {}
        }
    }
    found.push(&qualified[start..]);
    found
}

/// The last part of such a name.
pub fn last(qualified: &str) -> &str {
    parts(qualified).pop().unwrap_or(qualified)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, &str, &str); 6] = [
        ("_ZN3geo3Box4areaEi", "geo::Box::area", "area"),
        ("_ZN3geo5twiceIdEET_S1_", "geo::twice<double>", "twice<double>"),
        ("_ZN2rs6shapes6Square4grow17h8b6b210243cd48c7E", "rs::shapes::Square::grow", "grow"),
        (
            "_ZN55_$LT$rs..shapes..Square$u20$as$u20$rs..shapes..Area$GT$4area17h39a224f6852b8f67E",
            "<rs::shapes::Square as rs::shapes::Area>::area",
            "area",
        ),
        ("_RNvMs_NtCsbFYJioi4cCO_2rs6shapesNtB4_6Square4grow", "<rs::shapes::Square>::grow", "grow"),
        (
            "_RNvXNtCsbFYJioi4cCO_2rs6shapesNtB2_6SquareNtB2_4Area4area",
            "<rs::shapes::Square as rs::shapes::Area>::area",
            "area",
        ),
    ];

    #[test]
    fn names() {
        for (symbol, name, end) in NAMES {
            assert_eq!(qualified(symbol).as_deref(), Some(name), "{symbol}");
            assert_eq!(last(name), end, "{name}");
        }
        assert_eq!(parts("a::b<c::d>::e(f::g)"), ["a", "b<c::d>", "e(f::g)"]);
        assert_eq!(parts("::f"), ["", "f"]);
        assert_eq!(parts("a:b:::c"), ["a:b", ":c"]);
        for plain in ["main", "_start", "_Z", "_R", "", "_Zzz", "_ZN"] {
            assert_eq!(qualified(plain), None, "{plain}");
        }
    }

    #[test]
    fn damaged_names_are_no_names_or_others() {
        for (symbol, ..) in NAMES {
            for at in 2..symbol.len() {
                for byte in b"09_ENISTZ$.~\x7f" {
                    let mut bytes = symbol.as_bytes().to_vec();
                    bytes[at] = *byte;
                    let text = String::from_utf8(bytes).expect("ASCII");
                    let _ = qualified(&text).map(|name| last(&name).len());
                    let _ = qualified(&text[..at]).map(|name| last(&name).len());
                }
            }
        }
        assert_eq!(qualified(&"_ZN".repeat(2000)), None);
        let _ = qualified(&format!("_Z1f{}i", "P".repeat(4000)));
    }
}
