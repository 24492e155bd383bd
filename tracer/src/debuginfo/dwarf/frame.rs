//! Call frame information: where the caller's frame begins, from `.eh_frame`, else from `.debug_frame`.

use gimli::{BaseAddresses, CfaRule, Register, UnwindContext, UnwindSection};

use super::Slice;
use crate::debuginfo::elf::ElfFile;

/// Call frame information of a file.
pub(crate) struct Frames {
    eh: gimli::EhFrame<Slice>,
    debug: gimli::DebugFrame<Slice>,
    bases: BaseAddresses,
}

impl Frames {
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
        Frames { eh: gimli::EhFrame::from(slice(code, ".eh_frame")), debug: frames, bases }
    }

    /// Register and offset that give the canonical frame address at an address.
    pub(super) fn cfa(&self, at: u64) -> Option<(u8, i64)> {
        let rule = |rule: &CfaRule<usize>| match rule {
            CfaRule::RegisterAndOffset { register, offset } => Some((number(*register)?, *offset)),
            CfaRule::Expression(_) => None,
        };
        let mut context = UnwindContext::new();
        let row =
            self.eh.unwind_info_for_address(&self.bases, &mut context, at, gimli::EhFrame::cie_from_offset);
        if let Ok(row) = row {
            return rule(row.cfa());
        }
        let mut context = UnwindContext::new();
        let row = self
            .debug
            .unwind_info_for_address(&self.bases, &mut context, at, gimli::DebugFrame::cie_from_offset)
            .ok()?;
        rule(row.cfa())
    }
}

/// The registers that a probe sees: the sixteen general ones and the instruction pointer.
pub(super) fn number(register: Register) -> Option<u8> {
    u8::try_from(register.0).ok().filter(|n| *n <= 16)
}
