//! The ELF file: what a loader needs to create the maps and load the programs, and nothing else.
//!
//! | section | what |
//! | --- | --- |
//! | `license` | `GPL`: helpers that read memory are for GPL programs |
//! | `.maps` | one symbol for each map, described by its type in `.BTF` |
//! | `.data.NAME`, or `.bss.NAME` for a large one | a [`MapKind::MappedArray`] called NAME, all zeros; the loader adds `BPF_F_MMAPABLE` |
//! | `.rodata` | constants; the loader freezes it |
//! | `.text` | all subprograms (in one section: aya-obj 0.3 tells callees apart by address alone) |
//! | `uprobe/p0`, … | one program each; the part before `/` is its type |
//! | `.BTF`, `.BTF.ext` | map types, functions, and script lines, so that a verifier log shows them |
//!
//! The conventions are libbpf's, so aya-obj, libbpf and bpftool all load the file. A reference to a map is a
//! two-slot load with a relocation to the map's symbol, or to the data section's symbol with the offset as addend in
//! the first slot's `imm`.
//!
//! Rooms: `btf` (types), `line_info` (`.BTF.ext`), this file (sections, symbols, relocations).
//!
//! **Not here:** reading objects (aya-obj), the manifest (`tracer::artifact` adds its section).

mod btf;
mod line_info;

use crate::asm::{Code, Reference};
use crate::link::link;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use object::elf::{R_BPF_64_32, R_BPF_64_64};
use object::write::{
    Object, Relocation, SectionId, StandardSection, Symbol, SymbolFlags, SymbolId, SymbolKind, SymbolScope,
    SymbolSection,
};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind};
use tracer_common::ir::Place;
use tracer_common::layout::{MapKind, MapSpec};
use tracer_common::manifest::ProgramKind;

/// What goes into the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parts {
    /// Maps; code refers to them by index. [`RODATA`] as a name stands for the `.rodata` section.
    pub maps: Vec<MapSpec>,
    /// Constants.
    pub rodata: Vec<u8>,
    /// Subprograms; code refers to them by index.
    pub functions: Vec<Function>,
    /// Programs.
    pub programs: Vec<Program>,
}

/// The map name that stands for the constants.
pub const RODATA: &str = ".rodata";

/// A subprogram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its symbol.
    pub name: String,
    /// Its instructions.
    pub code: Code,
}

/// A program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its symbol.
    pub name: String,
    /// Its type.
    pub kind: ProgramKind,
    /// Whether it may sleep.
    pub sleepable: bool,
    /// Its instructions.
    pub code: Code,
}

/// The file could not be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteError(String);

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write the BPF object: {}", self.0)
    }
}

impl From<object::write::Error> for WriteError {
    fn from(error: object::write::Error) -> WriteError {
        WriteError(format!("{error}"))
    }
}

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// The ELF file.
    pub elf: Vec<u8>,
    /// `.BTF`: what the tables of the images refer to.
    pub btf: Vec<u8>,
    /// The same programs, linked: for who loads them without reading the file.
    pub images: Vec<Image>,
}

/// A program as the kernel takes it, but for the descriptors of its maps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    /// Whether it may sleep.
    pub sleepable: bool,
    /// The program and behind it the functions it uses; the references are to maps.
    pub code: Code,
    /// Rows of `struct bpf_func_info`: slot, type.
    pub functions: Vec<u8>,
    /// Rows of `struct bpf_line_info`: slot, file, text, line and column.
    pub lines: Vec<u8>,
}

/// Writes the file. `places` are what origins refer to.
pub fn write(parts: &Parts, places: &[Place]) -> Result<Written, WriteError> {
    let mut file = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let license = file.add_section(vec![], b"license".to_vec(), SectionKind::Data);
    file.append_section_data(license, b"GPL\0", 1);
    let maps = Maps::write(&mut file, parts);
    let info = line_info::describe(parts, places);
    let mut functions = Vec::with_capacity(parts.functions.len());
    let mut sections = Vec::new();
    if !parts.functions.is_empty() {
        let text = file.section_id(StandardSection::Text);
        for function in &parts.functions {
            functions.push(add_code(
                &mut file,
                text,
                &function.name,
                &function.code,
                SymbolScope::Compilation,
            ));
        }
        for (function, (_, offset)) in parts.functions.iter().zip(&functions) {
            relocate(&mut file, text, *offset, &function.code, &maps, &functions)?;
        }
        let placed = info.functions.iter().zip(&functions).map(|(rows, (_, offset))| (rows, *offset));
        sections.push((info.text, placed.collect::<Vec<_>>()));
    }
    for (n, program) in parts.programs.iter().enumerate() {
        let name = section_name(program);
        let section = file.add_section(vec![], name.into_bytes(), SectionKind::Text);
        add_code(&mut file, section, &program.name, &program.code, SymbolScope::Dynamic);
        relocate(&mut file, section, 0, &program.code, &maps, &functions)?;
        sections.push((info.sections[n], vec![(&info.programs[n], 0)]));
    }
    let section = file.add_section(vec![], b".BTF".to_vec(), SectionKind::Other);
    file.append_section_data(section, &info.btf, 4);
    let section = file.add_section(vec![], b".BTF.ext".to_vec(), SectionKind::Other);
    file.append_section_data(section, &info.ext(&sections), 4);
    let codes: Vec<&Code> = parts.functions.iter().map(|function| &function.code).collect();
    let images = parts.programs.iter().enumerate().map(|(n, program)| {
        let linked = link(&program.code, &codes);
        let (functions, lines) = info.tables(n, &linked);
        Image { sleepable: program.sleepable, code: linked.code, functions, lines }
    });
    Ok(Written { elf: file.write()?, images: images.collect(), btf: info.btf.clone() })
}

/// The section of a program: libbpf's and aya's word for its type, and its name.
fn section_name(program: &Program) -> String {
    let kind = match program.kind {
        ProgramKind::Uprobe if program.sleepable => "uprobe.s",
        ProgramKind::Uprobe => "uprobe",
        ProgramKind::Uretprobe if program.sleepable => "uretprobe.s",
        ProgramKind::Uretprobe => "uretprobe",
        ProgramKind::Kprobe => "kprobe",
        ProgramKind::Kretprobe => "kretprobe",
        ProgramKind::Fentry => "fentry",
        ProgramKind::Fexit => "fexit",
        ProgramKind::RawTracepoint => "raw_tp",
        // aya takes anything after the slash; libbpf itself wants the bare word here.
        ProgramKind::PerfEvent => "perf_event",
    };
    format!("{kind}/{}", program.name)
}

/// Bytes that a map takes in `.maps`: five pointers, as its BTF type says.
const MAP_SYMBOL_SIZE: u64 = 40;

/// Bytes of a mapped array that are written out, at most.
const LARGE: u32 = 1 << 16;

/// What a relocation for each map refers to.
struct Maps(Vec<SymbolId>);

impl Maps {
    fn write(file: &mut Object<'_>, parts: &Parts) -> Maps {
        let mut plain = None;
        let mut symbols = Vec::with_capacity(parts.maps.len());
        for map in &parts.maps {
            if map.name == RODATA {
                let section = file.add_section(vec![], b".rodata".to_vec(), SectionKind::ReadOnlyData);
                file.append_section_data(section, &parts.rodata, 8);
                symbols.push(file.section_symbol(section));
                continue;
            }
            if map.kind == MapKind::MappedArray {
                // Zeros of which there are many are not written out.
                let section = if map.value_size > LARGE {
                    let name = format!(".bss.{}", map.name).into_bytes();
                    let section = file.add_section(vec![], name, SectionKind::UninitializedData);
                    file.append_section_bss(section, map.value_size.into(), 8);
                    section
                } else {
                    let name = format!(".data.{}", map.name).into_bytes();
                    let section = file.add_section(vec![], name, SectionKind::Data);
                    file.append_section_data(section, &vec![0; map.value_size as usize], 8);
                    section
                };
                symbols.push(file.section_symbol(section));
                continue;
            }
            let section =
                *plain.get_or_insert_with(|| file.add_section(vec![], b".maps".to_vec(), SectionKind::Data));
            let value = file.append_section_data(section, &[0; MAP_SYMBOL_SIZE as usize], 8);
            symbols.push(file.add_symbol(Symbol {
                name: map.name.clone().into_bytes(),
                value,
                size: MAP_SYMBOL_SIZE,
                kind: SymbolKind::Data,
                scope: SymbolScope::Dynamic,
                weak: false,
                section: SymbolSection::Section(section),
                flags: SymbolFlags::None,
            }));
        }
        Maps(symbols)
    }
}

/// Appends a function with its symbol; returns the symbol and the offset.
fn add_code(
    file: &mut Object<'_>,
    section: SectionId,
    name: &str,
    code: &Code,
    scope: SymbolScope,
) -> (SymbolId, u64) {
    let mut bytes = code.bytes();
    for (slot, reference) in &code.references {
        // The relocation's addend: nothing for maps and functions, the offset for data. `imm` of a call stays -1.
        let at = slot * 8;
        match reference {
            Reference::MapValue(_) => {
                let (low, high) = bytes[at..].split_at_mut(12);
                low[4..8].copy_from_slice(&high[..4]);
                high[..4].fill(0);
                low[1] &= 0xf;
            }
            Reference::Map(_) | Reference::Address(_) => {
                bytes[at + 4..at + 8].fill(0);
                bytes[at + 1] &= 0xf;
            }
            Reference::Call(_) => {}
        }
    }
    let offset = file.append_section_data(section, &bytes, 8);
    let symbol = file.add_symbol(Symbol {
        name: name.as_bytes().to_vec(),
        value: offset,
        size: bytes.len() as u64,
        kind: SymbolKind::Text,
        scope,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    (symbol, offset)
}

/// Adds the relocations of a function. Addends stay 0: BPF relocations are REL, the addend is in the instruction.
fn relocate(
    file: &mut Object<'_>,
    section: SectionId,
    offset: u64,
    code: &Code,
    maps: &Maps,
    functions: &[(SymbolId, u64)],
) -> Result<(), WriteError> {
    for (slot, reference) in &code.references {
        let missing = || WriteError(format!("this is a bug: {reference:?} does not exist"));
        let (symbol, r_type) = match reference {
            Reference::Map(map) | Reference::MapValue(map) => {
                (*maps.0.get(*map as usize).ok_or_else(missing)?, R_BPF_64_64)
            }
            Reference::Address(function) => {
                (functions.get(function.0 as usize).ok_or_else(missing)?.0, R_BPF_64_64)
            }
            Reference::Call(function) => {
                (functions.get(function.0 as usize).ok_or_else(missing)?.0, R_BPF_64_32)
            }
        };
        let flags = RelocationFlags::Elf { r_type };
        file.add_relocation(
            section,
            Relocation { offset: offset + *slot as u64 * 8, symbol, addend: 0, flags },
        )?;
    }
    Ok(())
}
