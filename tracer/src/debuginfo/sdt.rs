//! Static marks: `.note.stapsdt`, as `<sys/sdt.h>` writes it.
//!
//! Format: three addresses (the mark, the link-time address of `.stapsdt.base`, the semaphore or 0), then provider,
//! name and argument string, each with a NUL. When the file was prelinked, addresses move by the difference between
//! `.stapsdt.base` as linked and as it is.

use crate::debuginfo::elf::ElfFile;
use crate::debuginfo::model::{LocOp, Location};

/// One place of a mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Its provider.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// Address of its instruction, as linked.
    pub address: u64,
    /// Address of its semaphore, as linked.
    pub semaphore: Option<u64>,
    /// Its arguments; `None` for one that we cannot read.
    pub args: Vec<Option<Argument>>,
}

/// An argument: `-4@%edi`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Bytes.
    pub bytes: u8,
    /// Sign.
    pub signed: bool,
    /// Where it is.
    pub location: Location,
}

/// All marks of a file.
pub fn marks(file: &ElfFile) -> Vec<Mark> {
    let notes = file.section(".note.stapsdt");
    let base = file.section_address(".stapsdt.base");
    let mut marks = Vec::new();
    let mut at = 0usize;
    while let Some(head) = notes.get(at..at + 12) {
        let word = |n: usize| u32::from_le_bytes([head[n], head[n + 1], head[n + 2], head[n + 3]]) as usize;
        let (name_size, size, kind) = (word(0), word(4), word(8));
        let start = at + 12 + name_size.next_multiple_of(4);
        let Some(body) = start.checked_add(size).and_then(|end| notes.get(start..end)) else { break };
        if kind == 3
            && let Some(mark) = mark(body, base)
        {
            marks.push(mark);
        }
        at = start + size.next_multiple_of(4);
    }
    marks
}

fn mark(body: &[u8], base: Option<u64>) -> Option<Mark> {
    let long = |n: usize| Some(u64::from_le_bytes(body.get(n..n + 8)?.try_into().ok()?));
    let (address, linked_base, semaphore) = (long(0)?, long(8)?, long(16)?);
    let moved = base.map_or(0, |base| base.wrapping_sub(linked_base));
    let mut texts = body.get(24..)?.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let provider = texts.next()?.into_owned();
    let name = texts.next()?.into_owned();
    let args = texts.next()?.into_owned();
    Some(Mark {
        provider,
        name,
        address: address.wrapping_add(moved),
        semaphore: (semaphore != 0).then(|| semaphore.wrapping_add(moved)),
        args: split(&args).into_iter().map(argument).collect(),
    })
}

/// Arguments are separated by blanks, but an operand may hold some inside parentheses.
fn split(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// `-4@%edi`, `8@-24(%rbp)`, `4@$5`, `-8@8(%rax,%rbx,4)`.
pub fn argument(text: &str) -> Option<Argument> {
    let (size, operand) = text.split_once('@')?;
    let size: i32 = size.trim_end_matches('f').parse().ok()?;
    if size.unsigned_abs() > 8 {
        return None;
    }
    let location = operand_location(operand)?;
    Some(Argument { bytes: size.unsigned_abs() as u8, signed: size < 0, location })
}

fn operand_location(operand: &str) -> Option<Location> {
    if let Some(number) = operand.strip_prefix('$') {
        return Some(Location::Value(vec![LocOp::Const(parse_number(number)?)]));
    }
    if let Some(name) = operand.strip_prefix('%') {
        let (register, shift) = register(name)?;
        return Some(if shift == 0 {
            Location::Register(register)
        } else {
            Location::Value(vec![LocOp::Register(register, 0), LocOp::Const(shift), LocOp::Shr])
        });
    }
    let open = operand.find('(')?;
    let inside = operand[open + 1..].strip_suffix(')')?;
    let displacement = if open == 0 { 0 } else { parse_number(&operand[..open])? };
    let mut parts = inside.split(',').map(str::trim);
    let base = parts.next().filter(|p| !p.is_empty());
    let index = parts.next();
    let scale = match parts.next() {
        Some(scale) => parse_number(scale)?,
        None => 1,
    };
    let mut steps = match base {
        Some(base) => vec![LocOp::Register(register(base.strip_prefix('%')?)?.0, displacement)],
        None => vec![LocOp::Const(displacement)],
    };
    if let Some(index) = index {
        let (index, _) = register(index.strip_prefix('%')?)?;
        steps.extend([LocOp::Register(index, 0), LocOp::Const(scale), LocOp::Mul, LocOp::Add]);
    }
    Some(Location::Memory(steps))
}

fn parse_number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse::<u64>().ok()?,
    } as i64;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// DWARF number of a register by any of its names, and how many bits it is shifted (`%ah`).
fn register(name: &str) -> Option<(u8, i64)> {
    const NAMES: [(&str, u8); 16] = [
        ("ax", 0),
        ("dx", 1),
        ("cx", 2),
        ("bx", 3),
        ("si", 4),
        ("di", 5),
        ("bp", 6),
        ("sp", 7),
        ("r8", 8),
        ("r9", 9),
        ("r10", 10),
        ("r11", 11),
        ("r12", 12),
        ("r13", 13),
        ("r14", 14),
        ("r15", 15),
    ];
    const HIGH: [(&str, u8); 4] = [("ah", 0), ("dh", 1), ("ch", 2), ("bh", 3)];
    const LOW: [(&str, u8); 8] =
        [("al", 0), ("dl", 1), ("cl", 2), ("bl", 3), ("sil", 4), ("dil", 5), ("bpl", 6), ("spl", 7)];
    if let Some((_, number)) = HIGH.iter().find(|(n, _)| *n == name) {
        return Some((*number, 8));
    }
    if let Some((_, number)) = LOW.iter().find(|(n, _)| *n == name) {
        return Some((*number, 0));
    }
    let wide = name.strip_prefix(['r', 'e']).unwrap_or(name);
    let numbered = name.trim_end_matches(['d', 'w', 'b']);
    NAMES
        .iter()
        .find(|(n, _)| *n == wide || *n == name || (n.starts_with('r') && *n == numbered))
        .map(|(_, number)| (*number, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands() {
        let memory = |steps: &[LocOp]| Some(Location::Memory(steps.to_vec()));
        assert_eq!(
            argument("-4@%edi").map(|a| (a.bytes, a.signed, a.location)),
            Some((4, true, Location::Register(5)))
        );
        assert_eq!(argument("8@-24(%rbp)").map(|a| a.location), memory(&[LocOp::Register(6, -24)]));
        assert_eq!(argument("4@$-5").map(|a| a.location), Some(Location::Value(vec![LocOp::Const(-5)])));
        assert_eq!(
            argument("-8@8(%rax,%rbx,4)").map(|a| a.location),
            memory(&[LocOp::Register(0, 8), LocOp::Register(3, 0), LocOp::Const(4), LocOp::Mul, LocOp::Add])
        );
        assert_eq!(argument("1@%r10b").map(|a| a.location), Some(Location::Register(10)));
        assert_eq!(
            argument("1@%ah").map(|a| a.location),
            Some(Location::Value(vec![LocOp::Register(0, 0), LocOp::Const(8), LocOp::Shr]))
        );
        for bad in ["", "4", "4@", "4@%zz", "99@%eax", "4@(", "4@x(%rax)", "@%eax", "4@sym(%rip"] {
            assert_eq!(argument(bad), None, "{bad}");
        }
    }
}
