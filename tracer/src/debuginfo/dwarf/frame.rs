//! Call frame information: where the caller's frame begins, from `.eh_frame`, else from `.debug_frame`.

use std::sync::OnceLock;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, Register, RegisterRule, UnwindContext, UnwindOffset, UnwindSection,
    UnwindTableRow,
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
        let eh = self.row(&self.eh, &self.eh_entries, at, rule);
        eh.or_else(|| self.row(&self.debug, &self.debug_entries, at, rule))?
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
        let eh = self.row(&self.eh, &self.eh_entries, at, row);
        eh.or_else(|| self.row(&self.debug, &self.debug_entries, at, row))?
    }

    /// Whether the return address is on top of the stack at an address, as it is where a call leads. `None` when nothing
    /// is known of it.
    pub fn is_called(&self, at: u64) -> Option<bool> {
        const WORD: i64 = 8;
        let row = |row: &UnwindTableRow<usize>| {
            let top = CfaRule::RegisterAndOffset { register: gimli::X86_64::RSP, offset: WORD };
            *row.cfa() == top && row.register(gimli::X86_64::RA) == Some(RegisterRule::Offset(-WORD))
        };
        let eh = self.row(&self.eh, &self.eh_entries, at, row);
        eh.or_else(|| self.row(&self.debug, &self.debug_entries, at, row))
    }

    /// What a rule says of the row for an address in a section; `None` when there is no row.
    fn row<S: UnwindSection<Slice>, T>(
        &self,
        section: &S,
        entries: &OnceLock<Vec<(u64, usize)>>,
        at: u64,
        rule: impl Fn(&UnwindTableRow<usize>) -> T,
    ) -> Option<T>
    where
        S::Offset: UnwindOffset<usize>,
    {
        let entries = entries.get_or_init(|| self.entries(section));
        let after = entries.partition_point(|(start, _)| *start <= at);
        // Several entries may begin at one address, some of them empty.
        for (_, offset) in entries[..after].iter().rev().take(NEAR) {
            let offset = S::Offset::from(*offset);
            let Ok(entry) = section.fde_from_offset(&self.bases, offset, S::cie_from_offset) else {
                continue;
            };
            if !entry.contains(at) {
                continue;
            }
            let mut context = UnwindContext::new();
            let row = entry.unwind_info_for_address(section, &self.bases, &mut context, at).ok()?;
            return Some(rule(row));
        }
        None
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

/// Entries that are looked at for an address: they do not overlap.
const NEAR: usize = 4;

/// The registers that a probe sees: the sixteen general ones and the instruction pointer.
pub(super) fn number(register: Register) -> Option<u8> {
    u8::try_from(register.0).ok().filter(|n| *n <= 16)
}
