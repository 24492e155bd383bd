//! What a `%( ... %? ... %)` condition means, given facts about the kernel and the session.
//!
//! Leaf rules: they return plain messages, `preprocess` adds the place.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::glob::{glob_match, has_wildcards};
use crate::syntax::ast::Text;
use crate::syntax::token::Op;

/// The version of the language: that of the SystemTap whose manuals describe it.
pub const LANGUAGE: &str = "5.6";

/// What the caller knows about the session and its kernel. Plain data: nobody asks the kernel in this pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The script's arguments: `$1` is the first.
    pub args: Vec<String>,
    /// `kernel_v`: version numbers only, `6.12.9`.
    pub kernel_v: String,
    /// `kernel_vr`: what `uname -r` prints, `6.12.9-amd64`.
    pub kernel_vr: String,
    /// `arch` in SystemTap's spelling: `x86_64`, `arm64`.
    pub arch: String,
    /// `CONFIG_NAME` to `y`, `m`, a number or a text; what is missing counts as empty.
    pub config: BTreeMap<String, String>,
    /// `systemtap_v`: the version of the language, or what `--compatible` asked for.
    pub systemtap_v: String,
    /// The version whose grammar the text has: `systemtap_v` for scripts, the newest for the library.
    pub grammar: String,
    /// `runtime`: `kernel`, `dyninst` or `bpf`.
    pub runtime: String,
    /// `guru_mode`: `-g` was given.
    pub guru_mode: bool,
    /// `systemtap_privilege`: `stapdev`, `stapsys` or `stapusr`.
    pub privilege: String,
}

impl Facts {
    /// Whether the text has what came into the grammar with a version.
    pub(super) fn has(&self, version: &str) -> bool {
        compare_versions(&self.grammar, version).is_ge()
    }

    /// A session without arguments on a 6.12 kernel: for tests, and for scripts that no machine is asked about.
    pub fn example() -> Facts {
        let config = [("CONFIG_HZ", "250"), ("CONFIG_SMP", "y")];
        Facts {
            args: Vec::new(),
            kernel_v: "6.12.9".to_owned(),
            kernel_vr: "6.12.9-amd64".to_owned(),
            arch: "x86_64".to_owned(),
            config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            systemtap_v: LANGUAGE.to_owned(),
            grammar: LANGUAGE.to_owned(),
            runtime: "bpf".to_owned(),
            guru_mode: false,
            privilege: "stapdev".to_owned(),
        }
    }
}

/// One side of a comparison.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Operand {
    /// `kernel_v`, `CONFIG_X` …
    Name(String),
    /// `"text"`
    Str(Text),
    /// `42`
    Number(i64),
}

/// Which side or operator of a comparison is wrong, and how.
#[derive(PartialEq, Debug)]
pub(super) enum Mistake {
    Name(String),
    Left(String),
    Op(String),
    Right(String),
}

/// Whether `left op right` holds.
pub(super) fn holds(facts: &Facts, left: &Operand, op: Op, right: &Operand) -> Result<bool, Mistake> {
    let compare = |order: Ordering| {
        Ok(match op {
            Op::Eq => order.is_eq(),
            Op::Ne => order.is_ne(),
            Op::Lt => order.is_lt(),
            Op::Le => order.is_le(),
            Op::Gt => order.is_gt(),
            Op::Ge => order.is_ge(),
            _ => return Err(Mistake::Op(format!("expected a comparison operator, found {op}"))),
        })
    };
    let equality = |equal: bool| match op {
        Op::Eq => Ok(equal),
        Op::Ne => Ok(!equal),
        _ => Err(Mistake::Op(format!("expected '==' or '!=', found {op}"))),
    };
    let string = || match right {
        Operand::Str(text) => Ok(text.to_string()),
        Operand::Name(_) | Operand::Number(_) => Err(Mistake::Right("expected a string".to_owned())),
    };
    let name = match left {
        Operand::Name(name) => name.as_str(),
        Operand::Str(left) => {
            let Operand::Str(right) = right else {
                return Err(Mistake::Right("expected a string".to_owned()));
            };
            return compare(left.as_bytes().cmp(right.as_bytes()));
        }
        Operand::Number(left) => {
            let Operand::Number(right) = right else {
                return Err(Mistake::Right("expected a number".to_owned()));
            };
            return compare(left.cmp(right));
        }
    };
    match name {
        "kernel_v" => version(&facts.kernel_v, op, &string()?, compare, equality),
        "kernel_vr" => version(&facts.kernel_vr, op, &string()?, compare, equality),
        "systemtap_v" => version(&facts.systemtap_v, op, &string()?, compare, equality),
        "systemtap_privilege" => equality(facts.privilege == string()?),
        "arch" => equality(glob_match(&string()?, &facts.arch)),
        "runtime" => equality(glob_match(&string()?, &facts.runtime)),
        "guru_mode" => match right {
            Operand::Number(right @ (0 | 1)) => equality(i64::from(facts.guru_mode) == *right),
            _ => Err(Mistake::Right("expected 0 or 1".to_owned())),
        },
        _ if name.starts_with("CONFIG_") => config(facts, name, right, compare, equality),
        _ => Err(Mistake::Name(format!("unknown name '{name}' in a condition"))),
    }
}

fn version(
    actual: &str,
    op: Op,
    wanted: &str,
    compare: impl Fn(Ordering) -> Result<bool, Mistake>,
    equality: impl Fn(bool) -> Result<bool, Mistake>,
) -> Result<bool, Mistake> {
    if !has_wildcards(wanted) {
        return compare(compare_versions(actual, wanted));
    }
    match op {
        Op::Eq | Op::Ne => equality(glob_match(wanted, actual)),
        _ => Err(Mistake::Right(format!("{op} takes a version without wildcards"))),
    }
}

fn config(
    facts: &Facts,
    name: &str,
    right: &Operand,
    compare: impl Fn(Ordering) -> Result<bool, Mistake>,
    equality: impl Fn(bool) -> Result<bool, Mistake>,
) -> Result<bool, Mistake> {
    let value = |name: &str| facts.config.get(name).map_or("", String::as_str);
    let left = value(name);
    match right {
        Operand::Str(pattern) => equality(glob_match(&pattern.to_string(), left)),
        // An option that is not set counts as 0.
        Operand::Number(right) => match config_number(left) {
            Some(left) => compare(left.cmp(right)),
            None => Err(Mistake::Left(format!("{name} is \"{left}\", not a number"))),
        },
        Operand::Name(other) if other.starts_with("CONFIG_") => {
            let right = value(other);
            match (config_number(left), config_number(right)) {
                (Some(left), Some(right)) => compare(left.cmp(&right)),
                _ => compare(left.cmp(right)),
            }
        }
        Operand::Name(_) => {
            Err(Mistake::Right("expected a string, a number or another CONFIG_ option".to_owned()))
        }
    }
}

fn config_number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None if text.is_empty() => Some(0),
        None => text.parse().ok(),
    }
}

/// Compares versions: runs of digits by value, everything else by byte.
pub fn compare_versions(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        match (left.first(), right.first()) {
            (Some(l), Some(r)) if l.is_ascii_digit() && r.is_ascii_digit() => {
                let (l, r) = (take_digits(&mut left), take_digits(&mut right));
                let order = l.len().cmp(&r.len()).then_with(|| l.cmp(r));
                if order.is_ne() {
                    return order;
                }
            }
            (Some(l), Some(r)) if l == r => {
                left = &left[1..];
                right = &right[1..];
            }
            (l, r) => return l.cmp(&r),
        }
    }
}

/// A run of digits without its leading zeros.
fn take_digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    *text = rest;
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: &str, op: Op, right: Operand) -> Result<bool, Mistake> {
        holds(&Facts::example(), &Operand::Name(left.to_owned()), op, &right)
    }

    fn text(text: &str) -> Operand {
        Operand::Str(text.into())
    }

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(compare_versions("6.12", "6.9"), Ordering::Greater);
        assert_eq!(compare_versions("5.10", "5.10.0"), Ordering::Less);
        assert_eq!(compare_versions("2.6.32-71", "2.6.32-431"), Ordering::Less);
        assert_eq!(compare_versions("4.0rc1", "4.0rc1"), Ordering::Equal);
        assert_eq!(check("kernel_v", Op::Ge, text("5.10")), Ok(true));
        assert_eq!(check("kernel_vr", Op::Eq, text("*-amd64")), Ok(true));
        assert!(matches!(check("kernel_v", Op::Lt, text("6.*")), Err(Mistake::Right(_))));
    }

    #[test]
    fn options_compare_as_text_and_as_numbers() {
        assert_eq!(check("CONFIG_SMP", Op::Eq, text("[ym]")), Ok(true));
        assert_eq!(check("CONFIG_NONE", Op::Eq, text("")), Ok(true));
        assert_eq!(check("CONFIG_HZ", Op::Gt, Operand::Number(100)), Ok(true));
        assert_eq!(check("CONFIG_HZ", Op::Ne, Operand::Name("CONFIG_SMP".to_owned())), Ok(true));
        assert!(matches!(check("CONFIG_SMP", Op::Gt, Operand::Number(1)), Err(Mistake::Left(_))));
    }

    #[test]
    fn the_rest_compares_for_equality() {
        assert_eq!(check("arch", Op::Ne, text("i?86")), Ok(true));
        assert_eq!(check("runtime", Op::Eq, text("bpf")), Ok(true));
        assert_eq!(check("guru_mode", Op::Eq, Operand::Number(1)), Ok(false));
        assert_eq!(check("systemtap_privilege", Op::Eq, text("stapdev")), Ok(true));
        assert!(matches!(check("arch", Op::Lt, text("x")), Err(Mistake::Op(_))));
        assert!(matches!(check("kernel", Op::Eq, text("x")), Err(Mistake::Name(_))));
        assert_eq!(holds(&Facts::example(), &text("a"), Op::Lt, &text("b")), Ok(true));
        assert_eq!(holds(&Facts::example(), &Operand::Number(3), Op::Ge, &Operand::Number(4)), Ok(false));
    }
}
