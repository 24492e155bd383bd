//! Call frame information: where the caller's frame begins, from `.eh_frame`, else from `.debug_frame`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, FrameDescriptionEntry, Register, RegisterRule, UnwindContext,
    UnwindOffset, UnwindSection, UnwindTableRow,
};

use super::Slice;
use crate::debuginfo::elf::ElfFile;

/// Call frame information of a file.
pub struct Frames {
    pub(super) eh: gimli::EhFrame<Slice>,
    pub(super) debug: gimli::DebugFrame<Slice>,
    pub(super) bases: BaseAddresses,
    /// Beginnings of code and the entries about it, sorted: the sections are long, and are asked once per variable.
    eh_entries: OnceLock<Vec<(u64, usize)>>,
    debug_entries: OnceLock<Vec<(u64, usize)>>,
}

impl Frames {
    /// What a file that is run says itself.
    pub fn of(code: &ElfFile) -> Frames {
        Frames::load(code, code)
    }

    pub(super) fn load(code: &ElfFile, debug: &ElfFile) -> Frames {
        let slice = |file: &ElfFile, name| Slice::new(file.section(name), gimli::LittleEndian);
        let mut bases = BaseAddresses::default();
        if let Some(address) = code.section_address(".eh_frame") {
            bases = bases.set_eh_frame(address);
        }
        if let Some(address) = code.section_address(".text") {
            bases = bases.set_text(address);
        }
        if let Some(address) = code.section_address(".got") {
            bases = bases.set_got(address);
        }
        let mut frames = gimli::DebugFrame::from(slice(debug, ".debug_frame"));
        frames.set_address_size(8);
        Frames {
            eh: gimli::EhFrame::from(slice(code, ".eh_frame")),
            debug: frames,
            bases,
            eh_entries: OnceLock::new(),
            debug_entries: OnceLock::new(),
        }
    }

    /// Register and offset that give the canonical frame address at an address.
    pub(super) fn cfa(&self, at: u64) -> Option<(u8, i64)> {
        let rule = |row: &UnwindTableRow<usize>| match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Some((number(*register)?, *offset)),
            CfaRule::Expression(_) => None,
        };
        self.row(at, rule)?
    }

    /// How the caller's frame is found from an instruction: by the canonical frame address, and where the frame pointer
    /// was saved. `None` when the call frame information does not say it in a way that can be followed.
    pub(super) fn step(&self, at: u64) -> Option<Step> {
        let row = |row: &UnwindTableRow<usize>| {
            let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { return None };
            let cfa = (number(*register)?, *offset);
            let pointer = match row.register(gimli::X86_64::RBP) {
                Some(RegisterRule::Offset(offset)) => Saved::At(offset),
                None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => Saved::Kept,
                _ => Saved::Unknown,
            };
            Some(Step { cfa, pointer })
        };
        self.row(at, row)?
    }

    /// How far below the canonical frame address the stack pointer is in the body of a function whose frame is counted
    /// from it, and whether that is sure: it is the depth that most of the code has, and from which all epilogues go down.
    /// `None` where the frame is counted from another register, or nothing is known.
    pub(super) fn depth(&self, low: u64) -> Option<(i64, bool)> {
        let rows = self.depths(&self.eh, &self.eh_entries, low);
        let rows = rows.or_else(|| self.depths(&self.debug, &self.debug_entries, low))?;
        body_depth(&rows)
    }

    /// The depths of the stack in a function, and how many bytes of code have each, in order.
    fn depths<S: UnwindSection<Slice>>(
        &self,
        section: &S,
        entries: &OnceLock<Vec<(u64, usize)>>,
        at: u64,
    ) -> Option<Vec<(i64, u64)>>
    where
        S::Offset: UnwindOffset<usize>,
    {
        let entry = self.entry(section, entries, at)?;
        let mut context = UnwindContext::new();
        let mut rows = entry.rows(section, &self.bases, &mut context).ok()?;
        let mut found = Vec::new();
        while let Some(row) = rows.next_row().ok()? {
            let CfaRule::RegisterAndOffset { register: gimli::X86_64::RSP, offset } = row.cfa() else {
                return None;
            };
            found.push((*offset, row.end_address().checked_sub(row.start_address())?));
        }
        Some(found)
    }

    /// Whether the return address is on top of the stack at an address, as it is where a call leads. `None` when nothing
    /// is known of it.
    pub fn is_called(&self, at: u64) -> Option<bool> {
        let row = |row: &UnwindTableRow<usize>| {
            let top = CfaRule::RegisterAndOffset { register: gimli::X86_64::RSP, offset: WORD };
            *row.cfa() == top && row.register(gimli::X86_64::RA) == Some(RegisterRule::Offset(-WORD))
        };
        self.row(at, row)
    }

    /// What a rule says of the row for an address; `None` when there is no row.
    fn row<T>(&self, at: u64, rule: impl Fn(&UnwindTableRow<usize>) -> T) -> Option<T> {
        let eh = self.row_in(&self.eh, &self.eh_entries, at, &rule);
        eh.or_else(|| self.row_in(&self.debug, &self.debug_entries, at, &rule))
    }

    fn row_in<S: UnwindSection<Slice>, T>(
        &self,
        section: &S,
        entries: &OnceLock<Vec<(u64, usize)>>,
        at: u64,
        rule: impl Fn(&UnwindTableRow<usize>) -> T,
    ) -> Option<T>
    where
        S::Offset: UnwindOffset<usize>,
    {
        let entry = self.entry(section, entries, at)?;
        let mut context = UnwindContext::new();
        entry.unwind_info_for_address(section, &self.bases, &mut context, at).ok().map(rule)
    }

    /// The entry about an address.
    fn entry<S: UnwindSection<Slice>>(
        &self,
        section: &S,
        entries: &OnceLock<Vec<(u64, usize)>>,
        at: u64,
    ) -> Option<FrameDescriptionEntry<Slice>>
    where
        S::Offset: UnwindOffset<usize>,
    {
        let entries = entries.get_or_init(|| self.entries(section));
        let after = entries.partition_point(|(start, _)| *start <= at);
        // Several entries may begin at one address, some of them empty.
        let near = entries[..after].iter().rev().take(NEAR);
        let mut near = near.filter_map(|(_, offset)| {
            section.fde_from_offset(&self.bases, S::Offset::from(*offset), S::cie_from_offset).ok()
        });
        near.find(|entry| entry.contains(at))
    }

    fn entries<S: UnwindSection<Slice>>(&self, section: &S) -> Vec<(u64, usize)>
    where
        S::Offset: UnwindOffset<usize>,
    {
        let mut found = Vec::new();
        let mut entries = section.entries(&self.bases);
        while let Ok(Some(entry)) = entries.next() {
            if let CieOrFde::Fde(partial) = entry
                && let Ok(entry) = partial.parse(S::cie_from_offset)
            {
                found.push((entry.initial_address(), entry.offset()));
            }
        }
        found.sort_unstable();
        found
    }
}

/// How to get from a frame to its caller's: the return address is right below the canonical frame address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The canonical frame address: a register (DWARF number) and an offset.
    pub cfa: (u8, i64),
    /// The caller's frame pointer.
    pub pointer: Saved,
}

/// Where a register of the caller is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Saved {
    /// Still in the register.
    Kept,
    /// In memory, so far from the canonical frame address.
    At(i64),
    /// Nobody says.
    Unknown,
}

/// What `Frames::depth` tells, from depths and the bytes of code that have them.
fn body_depth(rows: &[(i64, u64)]) -> Option<(i64, bool)> {
    let mut bytes: BTreeMap<i64, u64> = BTreeMap::new();
    rows.iter().for_each(|(depth, size)| *bytes.entry(*depth).or_default() += size);
    if bytes.len() <= 1 {
        return bytes.first_key_value().map(|(depth, _)| (*depth, true));
    }
    // Code before the prologue, of calls that need no frame, does not count.
    let (body, _) = bytes.into_iter().filter(|(depth, _)| *depth > WORD).max_by_key(|(_, size)| *size)?;
    // Each descent to the return address has to begin at it, or pass it when pushed arguments were dropped right before.
    let (mut epilogues, mut all_pass, mut passed) = (0, true, false);
    let mut before = 0;
    for (depth, _) in rows {
        passed = *depth == body || passed && *depth <= before;
        if *depth == WORD && before > WORD {
            epilogues += 1;
            all_pass &= passed;
        }
        before = *depth;
    }
    Some((body, epilogues > 0 && all_pass))
}

/// Bytes of a return address.
const WORD: i64 = 8;

/// Entries that are looked at for an address: they do not overlap.
const NEAR: usize = 4;

/// The registers that a probe sees: the sixteen general ones and the instruction pointer.
pub(super) fn number(register: Register) -> Option<u8> {
    u8::try_from(register.0).ok().filter(|n| *n <= 16)
}

#[cfg(test)]
mod tests {
    use super::body_depth;

    #[test]
    fn the_depth_of_a_body_is_where_epilogues_begin() {
        let depth = |rows: &[(i64, u64)]| body_depth(rows);
        assert_eq!(depth(&[]), None);
        // A leaf, with its variables below the stack pointer.
        assert_eq!(depth(&[(8, 30)]), Some((8, true)));
        assert_eq!(depth(&[(8, 1), (16, 2), (24, 4), (64, 90), (24, 1), (16, 2), (8, 1)]), Some((64, true)));
        // Code before the prologue, two epilogues, arguments that are pushed and dropped, a call that does not return.
        let rows = [
            (8, 99),
            (64, 20),
            (8, 1),
            (64, 20),
            (72, 2),
            (80, 9),
            (64, 1),
            (16, 1),
            (8, 1),
            (64, 5),
            (72, 9),
        ];
        assert_eq!(depth(&rows), Some((64, true)));
        // Parts with frames of different depth.
        assert_eq!(depth(&[(8, 1), (16, 3), (64, 90), (8, 1), (16, 9), (8, 1)]), Some((64, false)));
        // A function that never returns.
        assert_eq!(depth(&[(8, 1), (64, 90), (72, 9)]), Some((64, false)));
    }
}
