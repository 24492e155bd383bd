//! Debug information that is in several files: what dwz moved to a common one, and units that were split off
//! (`-gsplit-dwarf`: `.dwo` files, or all of them in a `.dwp`).
//!
//! A split unit stands behind the units of the file itself, where its skeleton is, and takes the skeleton's lines.
//!
//! **Not here:** where those files are looked for (`find`).

use std::sync::{Arc, OnceLock};

use gimli::{DebugInfoOffset, LittleEndian, Reader, SectionId};

use super::{Dwarf, Slice, Unit};
use crate::cache::Kept;
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
    /// Where indexes of a file are kept.
    fn kept(&self, file: &ElfFile) -> Option<Kept>;
}

/// A unit that is read when it is first asked for.
#[derive(Debug)]
pub(super) struct Lazy {
    pub(super) source: u32,
    /// Where it is in its section.
    pub(super) start: usize,
    unit: OnceLock<Option<Unit>>,
}

impl Lazy {
    fn new(source: u32, start: usize) -> Lazy {
        Lazy { source, start, unit: OnceLock::new() }
    }

    /// The unit; `None` when it is broken.
    pub(super) fn read(&self, dwarf: &Dwarf) -> Option<&Unit> {
        let unit = self.unit.get_or_init(|| {
            let header = dwarf.debug_info.header_from_offset(DebugInfoOffset(self.start)).ok()?;
            // Indexes count entries in 32 bits.
            u32::try_from(header.length_including_self()).ok()?;
            dwarf.unit(header).ok()
        });
        unit.as_ref()
    }
}

/// All sections and units, in the order that `DebugInfo` keeps them in.
pub(super) struct Sources {
    pub(super) dwarfs: Vec<Arc<Dwarf>>,
    pub(super) units: Vec<Lazy>,
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
    /// The file's own sections, and those that it has in common with others.
    pub(super) fn open(file: &ElfFile, companions: &dyn Companions) -> Option<Sources> {
        let mut dwarf = sections(file)?;
        let common = common(file, companions).map(Arc::new);
        dwarf.sup.clone_from(&common);
        let mut sources = Sources { dwarfs: vec![dwarf.into()], units: Vec::new(), common: None };
        if let Some(common) = common {
            sources.common = Some(1);
            sources.dwarfs.push(common);
        }
        Some(sources)
    }

    /// The units that an index knows of: those of the file itself, where it has no other ones.
    pub(super) fn add_known(&mut self, starts: &[usize]) {
        self.units.extend(starts.iter().map(|start| Lazy::new(0, *start)));
    }

    /// The units of all files; `None` when the file itself has none.
    pub(super) fn add_all(&mut self, companions: &dyn Companions) -> Option<()> {
        for (source, dwarf) in self.dwarfs.iter().enumerate() {
            let mut headers = dwarf.units();
            while let Ok(Some(header)) = headers.next() {
                if let Some(start) = header.debug_info_offset() {
                    self.units.push(Lazy::new(source as u32, start.0));
                }
            }
        }
        let skeletons = in_parallel(self.units.len(), |number| {
            let unit = &self.units[number];
            let read = unit.read(&self.dwarfs[unit.source as usize]);
            vec![(read.is_some(), unit.source == 0 && read.is_some_and(|unit| unit.dwo_id.is_some()))]
        });
        if !skeletons.iter().any(|(is_unit, _)| *is_unit) {
            return None;
        }
        let skeletons = skeletons.iter().enumerate().filter(|(_, (_, is_skeleton))| *is_skeleton);
        self.splits(&skeletons.map(|(number, _)| number).collect::<Vec<_>>(), companions);
        Some(())
    }

    /// Adds what units of the file itself are skeletons of.
    fn splits(&mut self, skeletons: &[usize], companions: &dyn Companions) {
        if skeletons.is_empty() {
            return;
        }
        let package = companions.package().and_then(|file| {
            let load = |id: SectionId| {
                let name = id.dwo_name().unwrap_or_default();
                Ok::<_, gimli::Error>(section(&file, name))
            };
            Package::load(load, empty()).ok()
        });
        for number in skeletons {
            let Some(Some(skeleton)) = self.units[*number].unit.get_mut() else { continue };
            let Some(id) = skeleton.dwo_id else { continue };
            let own = &self.dwarfs[0];
            let packed = package.as_ref().and_then(|package| package.find_cu(id, own).ok()?);
            let Some(dwarf) = packed.or_else(|| split(own, skeleton, companions)) else { continue };
            let Some(mut unit) = first_unit(&dwarf) else { continue };
            unit.copy_relocated_attributes(skeleton);
            unit.line_program = skeleton.line_program.take();
            unit.comp_dir = unit.comp_dir.or_else(|| skeleton.comp_dir.clone());
            let start = unit.header.debug_info_offset().map_or(0, |offset| offset.0);
            let source = self.dwarfs.len() as u32;
            self.units.push(Lazy { source, start, unit: OnceLock::from(Some(unit)) });
            self.dwarfs.push(dwarf.into());
        }
    }
}

/// The sections of a skeleton's `.dwo`.
fn split(own: &Dwarf, skeleton: &Unit, companions: &dyn Companions) -> Option<Dwarf> {
    let text = |value: &Slice| value.to_string_lossy().ok().map(std::borrow::Cow::into_owned);
    let name = own.attr_string(skeleton, skeleton.dwo_name().ok()??).ok()?;
    let folder = skeleton.comp_dir.as_ref().and_then(text).unwrap_or_default();
    let file = companions.split(&folder, &text(&name)?)?;
    let load = |id: SectionId| {
        let name = id.dwo_name();
        Ok::<_, gimli::Error>(name.map_or_else(empty, |name| section(&file, name)))
    };
    let mut dwarf = Dwarf::load(load).ok()?;
    dwarf.make_dwo(own);
    match first_unit(&dwarf) {
        Some(unit) if unit.dwo_id == skeleton.dwo_id => Some(dwarf),
        _ => {
            companions.misfit(&file);
            None
        }
    }
}

/// Runs something for every number below one, in parallel; the results in the order of the numbers.
pub(super) fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> Vec<T> + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
    let share = count.div_ceil(threads.max(1));
    let work = &work;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|n| {
                let range = (n * share).min(count)..((n + 1) * share).min(count);
                scope.spawn(move || range.flat_map(work).collect::<Vec<T>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    })
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
