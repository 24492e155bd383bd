//! Arguments of marks: `-4@%edi`, `8@-24(%rbp,%rcx,4)`, `4@$5`, `8@counter+8(%rip)`.
//!
//! Source: `<sys/sdt.h>`, "operand strings", and the AT&T syntax of the x86-64 assembler: the compiler writes the
//! operand as it would write it in an instruction.
//!
//! Invariant: what cannot be read has a reason.
//!
//! **Not here:** the notes that have them (`sdt`).

use crate::debuginfo::model::{LocOp, Location};

/// An argument: `-4@%edi`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// 1, 2, 4 or 8.
    pub bytes: u8,
    /// Sign.
    pub signed: bool,
    /// Where it is.
    pub location: Location,
}

/// The address of a variable by its symbol, as linked; or why it is not known.
pub type Lookup<'l> = &'l dyn Fn(&str) -> Result<u64, String>;

/// Reads an argument.
pub fn argument(text: &str, symbol: Lookup<'_>) -> Result<Argument, String> {
    // An assembler that knows no sizes leaves them out: what is there is a word.
    let (size, operand) = match text.split_once('@') {
        Some((size, operand)) if size.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
            (size, operand)
        }
        _ => ("8", text),
    };
    let number: i64 =
        size.strip_suffix('f').unwrap_or(size).parse().map_err(|_| format!("{size} is no size"))?;
    let bytes = match number.unsigned_abs() {
        bytes @ (1 | 2 | 4 | 8) => bytes as u8,
        bytes => return Err(format!("a value of {bytes} bytes is no number")),
    };
    let signed = number < 0;
    Ok(Argument { bytes, signed, location: location(operand, bytes, signed, symbol)? })
}

fn location(operand: &str, bytes: u8, signed: bool, symbol: Lookup<'_>) -> Result<Location, String> {
    if operand.is_empty() {
        return Err("the operand is missing".to_owned());
    }
    if let Some(constant) = operand.strip_prefix('$') {
        return Ok(Location::Value(vec![displacement(constant, symbol)?]));
    }
    if let Some((segment, _)) = operand.split_once(':') {
        return Err(format!("it is in the thread's own memory, at {segment}, which cannot be read yet"));
    }
    if let Some(name) = operand.strip_prefix('%') {
        let register = register(name)?;
        let whole = LocOp::Register(register.number, 0);
        return Ok(match register {
            Register { number, bytes: part, shift: 0 } if part >= bytes => Location::Register(number),
            Register { shift: 0, bytes: part, .. } => {
                Location::Value(vec![whole, LocOp::Extend(part, signed)])
            }
            Register { shift, bytes: part, .. } => {
                Location::Value(vec![whole, LocOp::Const(shift), LocOp::Shr, LocOp::Extend(part, signed)])
            }
        });
    }
    let (before, inside) = match operand.split_once('(') {
        Some((before, rest)) => {
            let inside = rest.strip_suffix(')').ok_or_else(|| format!("{operand} does not end"))?;
            (before, Some(inside))
        }
        None => (operand, None),
    };
    let start = if before.is_empty() { LocOp::Const(0) } else { displacement(before, symbol)? };
    let Some(inside) = inside else { return Ok(Location::Memory(vec![start])) };
    memory(start, inside).map(Location::Memory)
}

/// `%base,%index,scale` behind a displacement.
fn memory(start: LocOp, inside: &str) -> Result<Vec<LocOp>, String> {
    let named = |part: &str| match part.strip_prefix('%') {
        Some(name) => register(name),
        None => Err(format!("{part} is no register")),
    };
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let (base, index, scale) = match *parts.as_slice() {
        [base] => (base, None, "1"),
        [base, index] => (base, Some(index), "1"),
        [base, index, scale] => (base, Some(index), scale),
        _ => return Err(format!("({inside}) is no address")),
    };
    let mut steps = match (base, start) {
        ("%rip" | "%eip", LocOp::Address(address)) if index.is_none() => {
            return Ok(vec![LocOp::Address(address)]);
        }
        ("%rip" | "%eip", _) => return Err("it is relative to an instruction that is not named".to_owned()),
        ("", start) => vec![start],
        (base, LocOp::Const(offset)) => vec![LocOp::Register(named(base)?.number, offset)],
        (base, start) => vec![start, LocOp::Register(named(base)?.number, 0), LocOp::Add],
    };
    if let Some(index) = index {
        let scale = number(scale).filter(|scale| matches!(scale, 1 | 2 | 4 | 8));
        let scale = scale.ok_or_else(|| format!("({inside}) has a scale that the machine has not"))?;
        let index = named(index)?.number;
        steps.extend([LocOp::Register(index, 0), LocOp::Const(scale), LocOp::Mul, LocOp::Add]);
    }
    Ok(steps)
}

/// A sum of numbers and at most one symbol: `-8`, `sym`, `sym+4`, `16+sym-8`.
fn displacement(text: &str, symbol: Lookup<'_>) -> Result<LocOp, String> {
    let mut sum = 0i64;
    let mut address = None;
    let mut rest = text;
    while !rest.is_empty() {
        let sign = if rest.starts_with('-') { -1 } else { 1 };
        rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        let end = rest.find(['+', '-']).unwrap_or(rest.len());
        let (term, after) = rest.split_at(end);
        rest = after;
        if term.starts_with(|c: char| c.is_ascii_digit()) {
            let number = number(term).ok_or_else(|| format!("{term} is no number"))?;
            sum = sum.wrapping_add(number.wrapping_mul(sign));
        } else if term.is_empty() || sign < 0 || address.is_some() {
            return Err(format!("{text} is no address"));
        } else if let Some((name, how)) = term.split_once('@') {
            return Err(format!("{name} is reached by way of {how}"));
        } else {
            address = Some(symbol(term)?);
        }
    }
    Ok(match address {
        Some(address) => LocOp::Address(address.wrapping_add_signed(sum)),
        None => LocOp::Const(sum),
    })
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        // Addresses of the upper half are written without a sign.
        Some(digits) => Some(u64::from_str_radix(digits, 16).ok()? as i64),
        None => Some(text.parse::<u64>().ok()? as i64),
    }
}

/// A register by one of its names.
#[derive(Clone, Copy)]
struct Register {
    /// DWARF's number.
    number: u8,
    /// How much of it is meant, from which bit on.
    bytes: u8,
    shift: i64,
}

/// The names that the first eight registers have for their eight, four, two bytes, and their lowest.
const NAMED: [[&str; 4]; 8] = [
    ["rax", "eax", "ax", "al"],
    ["rdx", "edx", "dx", "dl"],
    ["rcx", "ecx", "cx", "cl"],
    ["rbx", "ebx", "bx", "bl"],
    ["rsi", "esi", "si", "sil"],
    ["rdi", "edi", "di", "dil"],
    ["rbp", "ebp", "bp", "bpl"],
    ["rsp", "esp", "sp", "spl"],
];
/// The second bytes of the first four.
const SECOND: [&str; 4] = ["ah", "dh", "ch", "bh"];
const SIZES: [u8; 4] = [8, 4, 2, 1];

fn register(name: &str) -> Result<Register, String> {
    for (number, names) in NAMED.iter().enumerate() {
        if let Some(size) = names.iter().position(|other| *other == name) {
            return Ok(Register { number: number as u8, bytes: SIZES[size], shift: 0 });
        }
    }
    if let Some(number) = SECOND.iter().position(|other| *other == name) {
        return Ok(Register { number: number as u8, bytes: 1, shift: 8 });
    }
    if let Some(rest) = name.strip_prefix('r') {
        let digits = rest.trim_end_matches(['d', 'w', 'b']);
        let bytes = match &rest[digits.len()..] {
            "" => Some(8),
            "d" => Some(4),
            "w" => Some(2),
            "b" => Some(1),
            _ => None,
        };
        if let (Ok(number @ 8..=15), Some(bytes)) = (digits.parse::<u8>(), bytes) {
            return Ok(Register { number, bytes, shift: 0 });
        }
    }
    let vector = ["xmm", "ymm", "zmm", "mm", "st", "k"];
    let is_number = |rest: &str| rest.is_empty() || rest.trim_matches(['(', ')']).parse::<u8>().is_ok();
    if vector.iter().any(|kind| name.strip_prefix(kind).is_some_and(is_number)) {
        return Err(format!("it is in %{name}, and the kernel shows probes the general registers only"));
    }
    Err(format!("%{name} is no register"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(u8, bool, Location), String> {
        let symbol = |name: &str| match name {
            "counter" => Ok(0x4000),
            "counter.0" => Ok(0x5000),
            other => Err(format!("no symbol {other}")),
        };
        argument(text, &symbol).map(|a| (a.bytes, a.signed, a.location))
    }

    #[test]
    fn operands() {
        use LocOp::{Add, Address, Const, Extend, Mul, Register, Shr};
        use Location::{Memory, Value};
        for (text, bytes, signed, location) in [
            ("-4@%edi", 4, true, Location::Register(5)),
            ("1@%r10b", 1, false, Location::Register(10)),
            ("-2@%r15w", 2, true, Location::Register(15)),
            ("4@%r9d", 4, false, Location::Register(9)),
            ("%rax", 8, false, Location::Register(0)),
            ("-1@%ah", 1, true, Value(vec![Register(0, 0), Const(8), Shr, Extend(1, true)])),
            ("-4@%al", 4, true, Value(vec![Register(0, 0), Extend(1, true)])),
            ("4@$-5", 4, false, Value(vec![Const(-5)])),
            ("8@$0xffffffffffffffff", 8, false, Value(vec![Const(-1)])),
            ("8@$counter+16", 8, false, Value(vec![Address(0x4010)])),
            ("8@-24(%rbp)", 8, false, Memory(vec![Register(6, -24)])),
            ("8@8+16(%rsp)", 8, false, Memory(vec![Register(7, 24)])),
            ("8f@(%rax)", 8, false, Memory(vec![Register(0, 0)])),
            ("4@counter(%rip)", 4, false, Memory(vec![Address(0x4000)])),
            ("4@12+counter.0(%rip)", 4, false, Memory(vec![Address(0x500c)])),
            ("4@counter-4", 4, false, Memory(vec![Address(0x3ffc)])),
            ("8@0x601040", 8, false, Memory(vec![Const(0x0060_1040)])),
        ] {
            assert_eq!(read(text), Ok((bytes, signed, location)), "{text}");
        }
        let indexed = |start: Vec<LocOp>, index, scale| {
            Memory([start, vec![Register(index, 0), Const(scale), Mul, Add]].concat())
        };
        let at = |text| read(text).map(|(_, _, location)| location);
        assert_eq!(at("-8@8(%rax,%rbx,4)"), Ok(indexed(vec![Register(0, 8)], 3, 4)));
        assert_eq!(at("-8@(%rax, %rbx)"), Ok(indexed(vec![Register(0, 0)], 3, 1)));
        assert_eq!(at("8@-12(,%rcx,8)"), Ok(indexed(vec![Const(-12)], 2, 8)));
        assert_eq!(at("8@counter(,%r8,8)"), Ok(indexed(vec![Address(0x4000)], 8, 8)));
        assert_eq!(at("4@counter(%rax)"), Ok(Memory(vec![Address(0x4000), Register(0, 0), Add])));
    }

    #[test]
    fn what_cannot_be_read_has_a_reason() {
        for (text, reason) in [
            ("8f@%xmm0", "it is in %xmm0, and the kernel shows probes the general registers only"),
            ("10f@%st(1)", "a value of 10 bytes is no number"),
            ("8f@%st(1)", "it is in %st(1), and the kernel shows probes the general registers only"),
            ("16@%rax", "a value of 16 bytes is no number"),
            ("3@%rax", "a value of 3 bytes is no number"),
            (
                "8@%fs:0xfffffffffffffff8",
                "it is in the thread's own memory, at %fs, which cannot be read yet",
            ),
            ("4@8(%rip)", "it is relative to an instruction that is not named"),
            ("4@other(%rip)", "no symbol other"),
            ("8@counter@GOTPCREL(%rip)", "counter is reached by way of GOTPCREL"),
            ("4@", "the operand is missing"),
            ("4@%zz", "%zz is no register"),
            ("4@%r16", "%r16 is no register"),
            ("4@%r8q", "%r8q is no register"),
            ("4@(", "( does not end"),
            ("4@(%rax,%rbx,3)", "(%rax,%rbx,3) has a scale that the machine has not"),
            ("4@(%rax,%rbx,4,5)", "(%rax,%rbx,4,5) is no address"),
            ("4@counter+counter", "counter+counter is no address"),
            ("4@4-", "4- is no address"),
            ("-x@%eax", "-x is no size"),
            ("99999999999999999999@%eax", "99999999999999999999 is no size"),
        ] {
            assert_eq!(read(text), Err(reason.to_owned()), "{text}");
        }
        assert!(read("").is_err() && read("@").is_err() && read("4@\u{fc}(%rip)").is_err());
    }
}
