//! What a file says of its addresses: functions, and lines of source.
//!
//! **Not here:** where files are looked for (`debuginfo::find`).

use std::cell::OnceCell;
use std::path::Path;

use crate::debuginfo::dwarf::DebugInfo;
use crate::debuginfo::dwarf::Line;
use crate::debuginfo::elf::{ElfFile, Symbol};
use crate::debuginfo::find::find;
use crate::world::World;

/// A program or a library.
pub(super) struct Module {
    elf: ElfFile,
    /// By address; of several names for one, the first.
    symbols: Vec<Symbol>,
    info: OnceCell<Option<DebugInfo>>,
}

impl Module {
    /// Reads the names of a file's functions; where it was stripped, of those that are elsewhere.
    pub(super) fn open(world: &dyn World, path: &Path) -> Option<Module> {
        let elf = ElfFile::open(world, path).ok()?;
        let mut symbols = elf.functions();
        let info = OnceCell::new();
        if elf.section(".symtab").is_empty() {
            let found = find(world, &elf);
            symbols.extend(found.functions());
            info.get_or_init(|| found.info);
        }
        // A name with a size says where it ends.
        symbols.sort_by(|a, b| (a.address, b.size > 0).cmp(&(b.address, a.size > 0)));
        symbols.dedup_by_key(|symbol| symbol.address);
        Some(Module { elf, symbols, info })
    }

    /// The address as linked of an offset in the file.
    pub(super) fn linked(&self, offset: u64) -> Option<u64> {
        self.elf.linked(offset)
    }

    /// The function that an address, as linked, is in.
    pub(super) fn symbol(&self, address: u64) -> Option<&Symbol> {
        let after = self.symbols.partition_point(|symbol| symbol.address <= address);
        let symbol = self.symbols[..after].last()?;
        // What says no size ends where the next begins.
        (symbol.size == 0 || address - symbol.address < symbol.size).then_some(symbol)
    }

    /// The line of source that an address, as linked, is of.
    pub(super) fn line(&self, world: &dyn World, address: u64) -> Option<Line> {
        let info = self.info.get_or_init(|| find(world, &self.elf).info);
        info.as_ref()?.line_at(address)
    }
}
