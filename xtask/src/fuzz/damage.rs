//! Damage to ELF files and BTF by somebody who knows the formats: headers, sections, abbreviations, lengths, expressions.
//!
//! Lengths of files stay what they are, mostly, so that what is around the damage still means what it did.
//!
//! **Not here:** damage to texts (`mutate`).

use std::ops::Range;

use crate::random::Random;

/// Numbers at the edges of what formats and machines can hold.
const EDGES: [u64; 17] = [
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_fff8,
    0xffff_ffff_ffff_ffff,
];

/// DWARF's tags, attributes and forms that the readers look for, and some that nobody knows.
const NUMBERS: [u8; 44] = [
    0x01, 0x02, 0x03, 0x05, 0x06, 0x08, 0x0a, 0x0b, 0x0d, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x17, 0x18, 0x1c,
    0x1d, 0x1f, 0x20, 0x21, 0x24, 0x25, 0x26, 0x28, 0x2e, 0x2f, 0x31, 0x34, 0x38, 0x39, 0x3a, 0x3b, 0x40,
    0x41, 0x42, 0x43, 0x47, 0x49, 0x4d, 0x55, 0x57, 0x6e, 0x7f,
];

/// Operators of location expressions, and of call frames, with as many bytes behind them as there may be.
const OPERATORS: [&[u8]; 34] = [
    &[0x03, 0, 0, 0, 0, 0, 0, 0, 0x80],
    &[0x06],
    &[0x08, 5],
    &[0x0e, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    &[0x12],
    &[0x13],
    &[0x14],
    &[0x15, 9],
    &[0x16],
    &[0x17],
    &[0x1b],
    &[0x1d],
    &[0x22],
    &[0x23, 0xff, 0xff, 3],
    &[0x28, 0xfd, 0xff],
    &[0x2f, 0xfd, 0xff],
    &[0x2f, 0, 0],
    &[0x31],
    &[0x50],
    &[0x6f],
    &[0x75, 0x80, 0x7f],
    &[0x90, 0x80, 1],
    &[0x91, 0x60],
    &[0x92, 0x80, 1, 8],
    &[0x93, 0x80, 0x80, 0x80, 0x80, 8],
    &[0x94, 0],
    &[0x96],
    &[0x98, 1, 0],
    &[0x9c],
    &[0x9d, 0xff, 1, 0],
    &[0x9e, 0xff, 0xff, 3],
    &[0x9f],
    &[0xa3, 3, 0xa3, 1, 0x55],
];

/// Damages a file in one place.
pub(super) fn file(bytes: &mut [u8], random: &mut Random) {
    let sections = sections(bytes);
    let interesting: Vec<&Section> = sections.iter().filter(|section| section.is_read).collect();
    match random.below(12) {
        0 => field(bytes, 16..64, random),
        1 => {
            // Program headers, and headers of sections.
            let header = if random.below(2) == 0 || sections.is_empty() {
                64 + random.below(12) * 56
            } else {
                sections[random.below(sections.len())].header
            };
            field(bytes, header..header + 64, random);
        }
        _ if interesting.is_empty() => anywhere(bytes, random),
        n => {
            let section = interesting[random.below(interesting.len())];
            let range = section.range.clone();
            match (section.name.as_str(), n) {
                (".debug_abbrev", _) => abbreviation(bytes, range, random),
                (_, 2 | 3) => inside(bytes, range, random),
                (".symtab" | ".dynsym" | ".dynamic" | ".rela.plt" | ".rela.dyn", _) => {
                    field(bytes, range, random);
                }
                (name, 4 | 5) if name.starts_with(".note") || name.starts_with(".eh_frame") => {
                    field(bytes, range, random);
                }
                (name, 4..=7) if name.starts_with(".debug_") || name.starts_with(".eh_frame") => {
                    expression(bytes, range, random);
                }
                (_, 8) => header(bytes, range, random),
                _ => inside(bytes, range, random),
            }
        }
    }
}

/// Damages BTF in one place: the header, a word of a type, a name.
pub(super) fn btf(bytes: &mut [u8], random: &mut Random) {
    let end = bytes.len();
    match random.below(4) {
        0 => field(bytes, 0..24, random),
        1 => anywhere(bytes, random),
        _ => field(bytes, 24..end, random),
    }
}

/// Changes a byte or a few.
pub(super) fn anywhere(bytes: &mut [u8], random: &mut Random) {
    let end = bytes.len();
    inside(bytes, 0..end, random);
}

fn inside(bytes: &mut [u8], range: Range<usize>, random: &mut Random) {
    let range = range.start.min(bytes.len())..range.end.min(bytes.len());
    if range.is_empty() {
        return;
    }
    let at = range.start + random.below(range.len());
    match random.below(7) {
        0 => bytes[at] = 0,
        1 => bytes[at] = 0xff,
        2 => bytes[at] ^= 1 << random.below(8),
        3 => bytes[at] = bytes[at].wrapping_add(1),
        4 => bytes[at..range.end].iter_mut().take(1 + random.below(9)).for_each(|byte| *byte = 0xff),
        5 => {
            let from = range.start + random.below(range.len());
            let count = random.below(32).min(range.end - at.max(from));
            bytes.copy_within(from..from + count, at);
        }
        _ => bytes[at] = random.number() as u8,
    }
}

/// Gives a word of 2, 4 or 8 bytes, where words begin, a value at an edge, or that of another word.
fn field(bytes: &mut [u8], range: Range<usize>, random: &mut Random) {
    let size = [2, 4, 4, 8, 8][random.below(5)];
    let range = range.start.min(bytes.len())..range.end.min(bytes.len());
    if range.len() < size {
        return;
    }
    let at = range.start + random.below(range.len() / size) * size;
    let value = match random.below(4) {
        0 => bytes.len() as u64,
        1 => {
            let from = range.start + random.below(range.len() - size + 1);
            bytes[from..from + size].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
        }
        _ => EDGES[random.below(EDGES.len())],
    };
    bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
}

/// The first words of a section: lengths, versions, sizes, counts.
fn header(bytes: &mut [u8], range: Range<usize>, random: &mut Random) {
    let end = range.end.min(range.start + 32);
    field(bytes, range.start..end, random);
}

/// Another tag, attribute or form, or the other answer to whether there are children.
fn abbreviation(bytes: &mut [u8], range: Range<usize>, random: &mut Random) {
    let range = range.start.min(bytes.len())..range.end.min(bytes.len());
    if range.is_empty() {
        return;
    }
    for _ in 0..1 + random.below(3) {
        let at = range.start + random.below(range.len());
        bytes[at] = match random.below(4) {
            0 => bytes[at] ^ 1,
            1 => bytes[range.start + random.below(range.len())],
            _ => NUMBERS[random.below(NUMBERS.len())],
        };
    }
}

/// Operators where an expression of some length may be.
fn expression(bytes: &mut [u8], range: Range<usize>, random: &mut Random) {
    let range = range.start.min(bytes.len())..range.end.min(bytes.len());
    // A length of a few bytes, with an operator behind it.
    let likely = |at: &usize| {
        (1..=16).contains(&bytes[*at])
            && bytes.get(at + 1).is_some_and(|byte| matches!(byte, 0x03 | 0x50..=0x9f | 0xa3))
    };
    let mut at = range.start + random.below(range.len());
    if let Some(found) = (at..range.end).take(4096).find(likely) {
        at = found;
    }
    let Some(length) = bytes.get(at).copied().map(usize::from) else { return };
    let end = (at + 1 + length).min(range.end);
    let mut to = at + 1;
    while to < end {
        let operator = OPERATORS[random.below(OPERATORS.len())];
        let count = operator.len().min(end - to);
        bytes[to..to + count].copy_from_slice(&operator[..count]);
        to += count;
        if random.below(4) == 0 {
            break;
        }
    }
}

struct Section {
    name: String,
    /// Where its header is.
    header: usize,
    range: Range<usize>,
    /// Whether anybody looks into it.
    is_read: bool,
}

/// The sections of a file, as far as they are there.
fn sections(bytes: &[u8]) -> Vec<Section> {
    let number = |at: usize, size: usize| {
        let word = bytes.get(at..at.checked_add(size)?)?;
        usize::try_from(word.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte))).ok()
    };
    let find = || {
        let (table, count, names) = (number(40, 8)?, number(60, 2)?, number(62, 2)?);
        let names = number(table.checked_add(names * 64 + 24)?, 8)?;
        let mut found = Vec::new();
        for n in 0..count {
            let header = table.checked_add(n * 64)?;
            let start = names.checked_add(number(header, 4)?)?;
            let name: Vec<u8> =
                bytes.get(start..)?.iter().copied().take_while(|byte| *byte != 0).take(40).collect();
            let name = String::from_utf8_lossy(&name).into_owned();
            let (at, size) = (number(header + 24, 8)?, number(header + 32, 8)?);
            let range = at.min(bytes.len())..at.saturating_add(size).min(bytes.len());
            let is_bss = number(header + 4, 4)? == 8;
            let is_read = !range.is_empty()
                && !is_bss
                && [
                    ".debug",
                    ".note",
                    ".eh_frame",
                    ".symtab",
                    ".strtab",
                    ".dyn",
                    ".gnu",
                    ".rela",
                    ".plt",
                    ".interp",
                ]
                .iter()
                .any(|known| name.starts_with(known));
            found.push(Section { name, header, range, is_read });
        }
        Some(found)
    };
    find().unwrap_or_default()
}
