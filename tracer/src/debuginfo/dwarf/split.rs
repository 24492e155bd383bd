//! Debug information that is in several files: what dwz moved to a common one, and units that were split off
//! (`-gsplit-dwarf`: `.dwo` files, or all of them in a `.dwp`).
//!
//! A split unit stands behind the units of the file itself, where its skeleton is, and takes the skeleton's lines.
//!
//! **Not here:** where those files are looked for (`find`).

use std::sync::Arc;

use gimli::{LittleEndian, Reader, SectionId};

use super::{Dwarf, Slice, Unit};
use crate::debuginfo::elf::ElfFile;
use crate::world::Part;

type Package = gimli::DwarfPackage<Slice>;

/// Opens the files that debug information refers to.
pub trait Companions {
    /// The file that `.gnu_debugaltlink` names, with its build-id.
    fn common(&self, name: &str, build_id: &[u8]) -> Option<ElfFile>;
    /// The `.dwp` of the file.
    fn package(&self) -> Option<ElfFile>;
    /// A `.dwo`, by the folder that the compiler ran in and its name.
    fn split(&self, folder: &str, name: &str) -> Option<ElfFile>;
    /// A file that is there, but does not fit.
    fn misfit(&self, file: &ElfFile);
}

/// All sections and units, in the order that `DebugInfo` keeps them in.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) dwarfs: Vec<Arc<Dwarf>>,
    pub(super) units: Vec<Unit>,
    pub(super) source_of: Vec<u32>,
    pub(super) common: Option<u32>,
}

fn sections(file: &ElfFile) -> Option<Dwarf> {
    let load = |id: SectionId| Ok::<_, gimli::Error>(section(file, id.name()));
    Dwarf::load(load).ok()
}

fn empty() -> Slice {
    Slice::new(Part::Owned(Arc::new([])), LittleEndian)
}

fn section(file: &ElfFile, name: &str) -> Slice {
    Slice::new(file.section(name), LittleEndian)
}

impl Sources {
    /// The file's own sections, and those of the files that it refers to; `None` when it has no units.
    pub(super) fn load(file: &ElfFile, companions: &dyn Companions) -> Option<Sources> {
        let mut dwarf = sections(file)?;
        let common = common(file, companions).map(Arc::new);
        dwarf.sup.clone_from(&common);
        let mut sources = Sources::default();
        sources.add(dwarf.into());
        if sources.units.is_empty() {
            return None;
        }
        if let Some(common) = common {
            sources.common = Some(sources.dwarfs.len() as u32);
            sources.add(common);
        }
        sources.splits(companions);
        Some(sources)
    }

    fn add(&mut self, dwarf: Arc<Dwarf>) {
        let number = self.dwarfs.len() as u32;
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            if let Ok(unit) = dwarf.unit(header) {
                self.units.push(unit);
                self.source_of.push(number);
            }
        }
        self.dwarfs.push(dwarf);
    }

    /// Adds what the units of the file itself are skeletons of.
    fn splits(&mut self, companions: &dyn Companions) {
        let is_skeleton = |unit: &Unit| unit.dwo_id.is_some();
        let own = self.source_of.partition_point(|source| *source == 0);
        if !self.units[..own].iter().any(is_skeleton) {
            return;
        }
        let package = companions.package().and_then(|file| {
            let load = |id: SectionId| {
                let name = id.dwo_name().unwrap_or_default();
                Ok::<_, gimli::Error>(section(&file, name))
            };
            Package::load(load, empty()).ok()
        });
        for number in 0..own {
            let Some(id) = self.units[number].dwo_id else { continue };
            let packed = package.as_ref().and_then(|package| package.find_cu(id, &self.dwarfs[0]).ok()?);
            let Some(dwarf) = packed.or_else(|| self.split(&self.units[number], companions)) else {
                continue;
            };
            let Some(mut unit) = first_unit(&dwarf) else { continue };
            let skeleton = &mut self.units[number];
            unit.copy_relocated_attributes(skeleton);
            unit.line_program = skeleton.line_program.take();
            unit.comp_dir = unit.comp_dir.or_else(|| skeleton.comp_dir.clone());
            self.source_of.push(self.dwarfs.len() as u32);
            self.units.push(unit);
            self.dwarfs.push(dwarf.into());
        }
    }

    /// The sections of a skeleton's `.dwo`.
    fn split(&self, skeleton: &Unit, companions: &dyn Companions) -> Option<Dwarf> {
        let text = |value: &Slice| value.to_string_lossy().ok().map(std::borrow::Cow::into_owned);
        let name = self.dwarfs[0].attr_string(skeleton, skeleton.dwo_name().ok()??).ok()?;
        let folder = skeleton.comp_dir.as_ref().and_then(text).unwrap_or_default();
        let file = companions.split(&folder, &text(&name)?)?;
        let load = |id: SectionId| {
            let name = id.dwo_name();
            Ok::<_, gimli::Error>(name.map_or_else(empty, |name| section(&file, name)))
        };
        let mut dwarf = Dwarf::load(load).ok()?;
        dwarf.make_dwo(&self.dwarfs[0]);
        match first_unit(&dwarf) {
            Some(unit) if unit.dwo_id == skeleton.dwo_id => Some(dwarf),
            _ => {
                companions.misfit(&file);
                None
            }
        }
    }
}

/// The compilation unit of split sections; type units stand before it.
fn first_unit(dwarf: &Dwarf) -> Option<Unit> {
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        if let Ok(unit) = dwarf.unit(header)
            && unit.dwo_id.is_some()
        {
            return Some(unit);
        }
    }
    None
}

/// The sections of the file that `.gnu_debugaltlink` names.
fn common(file: &ElfFile, companions: &dyn Companions) -> Option<Dwarf> {
    let link = file.section(".gnu_debugaltlink");
    let end = link.iter().position(|byte| *byte == 0)?;
    let name = String::from_utf8_lossy(&link[..end]);
    if name.is_empty() {
        return None;
    }
    sections(&companions.common(&name, &link[end + 1..])?)
}
