//! A file's unwind table: for every piece of its code, how the caller is found, in the few forms that programs in the
//! kernel can follow (`tracer_common::unwind`).
//!
//! `.eh_frame` has it, which stays when a file is stripped; where it says nothing, `.debug_frame`.
//! What has another form, or is damaged, is unknown: never a wrong rule.
//!
//! **Not here:** the maps that tables are put into (`run::unwind`), the frame of one address (`frame`).

use gimli::{
    CfaRule, CieOrFde, FrameDescriptionEntry, Operation, Register, RegisterRule, UnwindContext,
    UnwindExpression, UnwindOffset, UnwindSection,
};
use tracer_common::unwind::{Kind, ROW_LIMIT, Rule, word};

use super::Slice;
use super::frame::Frames;
use crate::debuginfo::elf::ElfFile;

/// DWARF's numbers of registers.
const RBX: u16 = 3;
const RBP: u16 = 6;
const RSP: u16 = 7;
const R10: u16 = 10;
const RETURN: u16 = 16;
/// Bytes of a stub in a linkage table.
const STUB: u64 = 16;
/// Offsets in a signal's `ucontext_t`: the stack pointer.
const SIGNAL_RSP: i64 = 160;

/// Rules by offset in the file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct UnwindTable {
    /// Where a rule begins, in order; the last is unknown.
    pub rows: Vec<(u32, Rule)>,
    /// Pieces of code that were left out because there are too many.
    pub left_out: usize,
}

impl UnwindTable {
    /// Reads it. A file without call frame information has no rows.
    pub fn read(file: &ElfFile) -> UnwindTable {
        let frames = Frames::load(file, file);
        let mut pieces = Pieces { file, found: Vec::new(), left_out: 0 };
        pieces.section(&frames.eh, &frames);
        pieces.found.sort_by_key(|piece| piece.start);
        // What the first section says holds.
        let known: Vec<(u64, u64)> = pieces.found.iter().map(|piece| (piece.start, piece.end)).collect();
        pieces.section(&frames.debug, &frames);
        let is_known = |piece: &Piece| {
            let after = known.partition_point(|(start, _)| *start <= piece.start);
            after > 0 && known[after - 1].1 > piece.start
        };
        let mut found: Vec<Piece> = pieces.found[..known.len()].to_vec();
        found.extend(pieces.found[known.len()..].iter().filter(|piece| !is_known(piece)));
        found.sort_by_key(|piece| piece.start);
        UnwindTable { rows: rows(&found), left_out: pieces.left_out }
    }
}

/// Pieces without gaps, without overlaps, neighbours that differ.
fn rows(pieces: &[Piece]) -> Vec<(u32, Rule)> {
    let mut rows: Vec<(u32, Rule)> = Vec::with_capacity(pieces.len());
    let mut end = 0;
    let mut push = |at: u64, rule: Rule| {
        let Ok(at) = u32::try_from(at) else { return };
        match rows.last_mut() {
            Some((last, old)) if *last == at => *old = rule,
            Some((_, old)) if *old == rule => {}
            _ => rows.push((at, rule)),
        }
    };
    for piece in pieces {
        let start = piece.start.max(end);
        if start >= piece.end {
            continue;
        }
        if start > end {
            push(end, Rule::UNKNOWN);
        }
        push(start, piece.rule);
        end = piece.end;
    }
    push(end, Rule::UNKNOWN);
    rows
}

/// A piece of code, by offsets in the file.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u64,
    end: u64,
    rule: Rule,
}

struct Pieces<'f> {
    file: &'f ElfFile,
    found: Vec<Piece>,
    left_out: usize,
}

/// A rule as call frame information has it.
enum Found {
    Rule(Rule),
    /// By the place in a stub: before this byte the return address is on top, from it on there is a word more.
    Stubs(u64),
}

impl Pieces<'_> {
    fn section<S>(&mut self, section: &S, frames: &Frames)
    where
        S: UnwindSection<Slice>,
        S::Offset: UnwindOffset<usize>,
    {
        let mut entries = section.entries(&frames.bases);
        let mut context = UnwindContext::new();
        // An entry that cannot be read ends the section: where the next one begins is not known.
        while let Ok(Some(entry)) = entries.next() {
            if let CieOrFde::Fde(partial) = entry
                && let Ok(entry) = partial.parse(S::cie_from_offset)
            {
                self.entry(section, frames, &entry, &mut context);
            }
        }
    }

    fn entry<S>(
        &mut self,
        section: &S,
        frames: &Frames,
        entry: &FrameDescriptionEntry<Slice>,
        context: &mut UnwindContext<usize>,
    ) where
        S: UnwindSection<Slice>,
        S::Offset: UnwindOffset<usize>,
    {
        let Ok(mut rows) = entry.rows(section, &frames.bases, context) else { return };
        // A row that cannot be read leaves the rest of the function unknown.
        while let Ok(Some(row)) = rows.next_row() {
            let (start, end) = (row.start_address(), row.end_address());
            let found = if entry.is_signal_trampoline() {
                signal(section, entry, row.cfa())
            } else {
                translate(section, entry, row.cfa(), |number| row.register(Register(number)))
            };
            match found {
                Found::Rule(rule) => self.push(start, end, rule),
                Found::Stubs(byte) => self.stubs(start, end, byte),
            }
        }
    }

    /// Adds a piece, as linked: only what is code in the file.
    fn push(&mut self, start: u64, end: u64, rule: Rule) {
        let Some(offset) = self.file.code_offset(start) else { return };
        // To the end of the part that is loaded, if that is shorter.
        let Some(last) = end.checked_sub(1).and_then(|last| self.file.code_offset(last)) else { return };
        if last < offset {
            return;
        }
        if self.found.len() >= ROW_LIMIT as usize {
            self.left_out += 1;
            return;
        }
        self.found.push(Piece { start: offset, end: last + 1, rule });
    }

    fn stubs(&mut self, start: u64, end: u64, byte: u64) {
        if self.file.code_offset(start).is_none()
            || end.checked_sub(1).is_none_or(|end| self.file.code_offset(end).is_none())
        {
            return;
        }
        let mut at = start;
        while at < end {
            let stub = at - at % STUB;
            let Some(next) = stub.checked_add(STUB) else { return };
            let middle = (stub + byte).clamp(at, next).min(end);
            if at < middle {
                self.push(at, middle, Rule::ENTRY);
            }
            if middle < next.min(end) {
                self.push(middle, next.min(end), Rule::plain(Kind::Register, 16));
            }
            at = next;
        }
    }
}

/// The word of a register that a frame can be found by.
fn base(register: Register) -> Option<u8> {
    match register.0 {
        RSP => Some(word::RSP),
        RBP => Some(word::RBP),
        RBX => Some(word::RBX),
        R10 => Some(word::R10),
        _ => None,
    }
}

/// The operations of an expression, if they are few and can be read.
fn operations<S: UnwindSection<Slice>>(
    section: &S,
    entry: &FrameDescriptionEntry<Slice>,
    expression: UnwindExpression<usize>,
) -> Vec<Operation<Slice>> {
    const MOST: usize = 16;
    let Ok(expression) = expression.get(section) else { return Vec::new() };
    let mut operations = expression.operations(entry.cie().encoding());
    let mut found = Vec::new();
    loop {
        match operations.next() {
            Ok(Some(operation)) if found.len() < MOST => found.push(operation),
            Ok(None) => return found,
            Ok(Some(_)) | Err(_) => return Vec::new(),
        }
    }
}

fn translate<S: UnwindSection<Slice>>(
    section: &S,
    entry: &FrameDescriptionEntry<Slice>,
    cfa: &CfaRule<usize>,
    register: impl Fn(u16) -> Option<RegisterRule<usize>>,
) -> Found {
    const UNKNOWN: Found = Found::Rule(Rule::UNKNOWN);
    match register(RETURN) {
        None | Some(RegisterRule::Undefined) => return Found::Rule(Rule::OUTERMOST),
        Some(RegisterRule::Offset(-8)) => {}
        Some(_) => return UNKNOWN,
    }
    let (kind, found) = match cfa {
        CfaRule::RegisterAndOffset { register, offset } => {
            (Kind::Register, base(*register).zip(Some(*offset)))
        }
        CfaRule::Expression(expression) => {
            let operations = operations(section, entry, *expression);
            if let Some(byte) = stub_byte(&operations) {
                return Found::Stubs(byte);
            }
            match operations.as_slice() {
                [
                    Operation::RegisterOffset { register, offset, .. },
                    Operation::Deref { size: 8, space: false, .. },
                ] => (Kind::Memory, base(*register).zip(Some(*offset))),
                _ => return UNKNOWN,
            }
        }
    };
    let Some((base, offset)) = found else { return UNKNOWN };
    let Ok(offset) = i32::try_from(offset) else { return UNKNOWN };
    // Where a register is kept that may be the base of a caller's frame.
    let kept = |number: u16, same: u8| match register(number) {
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => same,
        Some(RegisterRule::Offset(offset)) if (-64..=-8).contains(&offset) && offset % 8 == 0 => {
            ((offset + 64) / 8) as u8
        }
        Some(RegisterRule::Expression(expression)) if kind == Kind::Memory => {
            match operations(section, entry, expression).as_slice() {
                [Operation::RegisterOffset { register: Register(RBP), offset: 0, .. }] => word::AT_RBP,
                _ => word::LOST,
            }
        }
        Some(_) => word::LOST,
    };
    let (rbp, rbx) = (kept(RBP, word::RBP), kept(RBX, word::RBX));
    Found::Rule(Rule { kind, base, rbp, rbx, offset })
}

/// The frame of stubs as linkers describe it: `rsp + 8 + ((rip & 15) >= BYTE) * 8`.
fn stub_byte(operations: &[Operation<Slice>]) -> Option<u64> {
    let [
        Operation::RegisterOffset { register: Register(RSP), offset: 8, .. },
        Operation::RegisterOffset { register: Register(RETURN), offset: 0, .. },
        Operation::UnsignedConstant { value: 15 },
        Operation::And,
        Operation::UnsignedConstant { value: byte },
        Operation::Ge,
        Operation::UnsignedConstant { value: 3 },
        Operation::Shl,
        Operation::Plus,
    ] = operations
    else {
        return None;
    };
    (*byte < STUB).then_some(*byte)
}

/// The return from a signal's handler: registers are in the `ucontext_t` on top of the stack.
fn signal<S: UnwindSection<Slice>>(
    section: &S,
    entry: &FrameDescriptionEntry<Slice>,
    cfa: &CfaRule<usize>,
) -> Found {
    let CfaRule::Expression(expression) = cfa else { return Found::Rule(Rule::UNKNOWN) };
    match operations(section, entry, *expression).as_slice() {
        [
            Operation::RegisterOffset { register: Register(RSP), offset: SIGNAL_RSP, .. },
            Operation::Deref { size: 8, space: false, .. },
        ] => Found::Rule(Rule::SIGNAL),
        _ => Found::Rule(Rule::UNKNOWN),
    }
}
