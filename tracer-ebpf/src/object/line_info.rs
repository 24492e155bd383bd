//! `.BTF` and `.BTF.ext`: map types, function types, and which script place each instruction comes from.
//!
//! The kernel demands that every function's first instruction has a line and that offsets ascend; a line is written
//! wherever the origin changes.

use super::btf::{Btf, MAGIC, TypeId};
use super::{MAP_SYMBOL_SIZE, Parts, RODATA, section_name};
use crate::asm::{Code, Origin, position};
use crate::link::Linked;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use tracer_common::ir::Place;
use tracer_common::layout::{MapKind, MapSpec};

/// What the kernel is told of one function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rows {
    /// Its type.
    id: TypeId,
    /// Rows of slot, file, text, line and column.
    lines: Vec<[u32; 4]>,
}

/// `.BTF`, and rows that refer to it.
pub(super) struct Info {
    pub btf: Vec<u8>,
    /// Where the names of `.text` and of each program's section are among BTF's strings.
    pub text: u32,
    pub sections: Vec<u32>,
    pub functions: Vec<Rows>,
    pub programs: Vec<Rows>,
}

/// Describes maps, functions and lines.
pub(super) fn describe(parts: &Parts, places: &[Place]) -> Info {
    let mut btf = Btf::new();
    let int = btf.int();
    write_maps(&mut btf, int, &parts.maps);
    let context = btf.pointer(TypeId(0));
    let prototype = btf.prototype(int, context);
    let functions = parts
        .functions
        .iter()
        .map(|function| rows(&mut btf, prototype, &function.name, &function.code, true, places))
        .collect();
    let programs = parts
        .programs
        .iter()
        .map(|program| rows(&mut btf, prototype, &program.name, &program.code, false, places))
        .collect();
    let text = btf.string(".text");
    let sections = parts.programs.iter().map(|program| btf.string(&section_name(program))).collect();
    Info { btf: btf.finish(), text, sections, functions, programs }
}

fn rows(
    btf: &mut Btf,
    prototype: TypeId,
    name: &str,
    code: &Code,
    is_static: bool,
    places: &[Place],
) -> Rows {
    let id = btf.function(name, prototype, is_static);
    let mut lines = Vec::new();
    let mut last = None;
    for ((slot, _), origin) in code.insns.iter().zip(&code.origins) {
        if last != Some(origin) {
            lines.push(line(btf, *slot as u32, origin, places));
            last = Some(origin);
        }
    }
    Rows { id, lines }
}

impl Info {
    /// `.BTF.ext`: sections by the offset of their name, with functions and the offsets they start at, in bytes.
    pub(super) fn ext(&self, sections: &[(u32, Vec<(&Rows, u64)>)]) -> Vec<u8> {
        let mut funcs = Vec::from(8u32.to_le_bytes());
        let mut lines = Vec::from(16u32.to_le_bytes());
        for (name, functions) in sections {
            let (func_rows, line_rows) = table(functions.iter().map(|(rows, at)| (*rows, *at as u32)), 8);
            append(&mut funcs, *name, &func_rows);
            append(&mut lines, *name, &line_rows);
        }
        let mut ext = Vec::from(MAGIC);
        let (func_len, line_len) = (funcs.len() as u32, lines.len() as u32);
        for word in [24, 0, func_len, func_len, line_len] {
            ext.extend(word.to_le_bytes());
        }
        ext.extend(funcs);
        ext.extend(lines);
        ext
    }

    /// The tables of a linked program, as the kernel takes them: functions and lines, by slot.
    pub(super) fn tables(&self, program: usize, linked: &Linked) -> (Vec<u8>, Vec<u8>) {
        let functions = linked
            .functions
            .iter()
            .map(|(function, slot)| (&self.functions[function.0 as usize], *slot as u32));
        let (funcs, lines) = table(core::iter::once((&self.programs[program], 0)).chain(functions), 1);
        let bytes =
            |words: &mut dyn Iterator<Item = &u32>| words.flat_map(|word| word.to_le_bytes()).collect();
        (bytes(&mut funcs.iter().flatten()), bytes(&mut lines.iter().flatten()))
    }
}

/// Rows of several functions, each moved to where it starts, with offsets in units of a slot's `scale`-th part.
fn table<'r>(functions: impl Iterator<Item = (&'r Rows, u32)>, scale: u32) -> (Vec<[u32; 2]>, Vec<[u32; 4]>) {
    let (mut funcs, mut lines) = (Vec::new(), Vec::new());
    for (rows, start) in functions {
        funcs.push([start, rows.id.0]);
        lines.extend(
            rows.lines.iter().map(|[slot, file, text, place]| [start + slot * scale, *file, *text, *place]),
        );
    }
    (funcs, lines)
}

fn append<const N: usize>(out: &mut Vec<u8>, section: u32, rows: &[[u32; N]]) {
    for word in [section, rows.len() as u32].iter().chain(rows.iter().flatten()) {
        out.extend(word.to_le_bytes());
    }
}

/// One row: offset, file, text, line and column.
fn line(btf: &mut Btf, at: u32, origin: &Origin, places: &[Place]) -> [u32; 4] {
    let place = origin.place.and_then(|place| places.get(place.index())).map_or("", |place| &place.text);
    let (file, line, column) = position(place);
    let text = match (place.is_empty(), origin.note.is_empty()) {
        (true, true) => "generated".into(),
        (true, false) => origin.note.into(),
        (false, true) => String::from(place),
        (false, false) => format!("{} ({place})", origin.note),
    };
    let (file, text) = (btf.string(file), btf.string(&text));
    [at, file, text, line.min((1 << 22) - 1) << 10 | column.min(1023)]
}

/// The types of the maps in `.maps`, in the order of their symbols.
fn write_maps(btf: &mut Btf, int: TypeId, maps: &[MapSpec]) {
    let mut numbers: BTreeMap<u32, TypeId> = BTreeMap::new();
    let mut variables = Vec::new();
    for map in maps {
        if map.kind == MapKind::MappedArray || map.name == RODATA {
            continue;
        }
        // A number is the size of an array that a pointer points to.
        let mut number = |btf: &mut Btf, value: u32| {
            *numbers.entry(value).or_insert_with(|| {
                let array = btf.array(int, int, value);
                btf.pointer(array)
            })
        };
        let members = [
            ("type", number(btf, kernel_type(map.kind))),
            ("key_size", number(btf, map.key_size)),
            ("value_size", number(btf, map.value_size)),
            ("max_entries", number(btf, map.max_entries)),
            ("map_flags", number(btf, 0)),
        ];
        let ty = btf.pointers(&members);
        let variable = btf.variable(&map.name, ty);
        variables.push((variable, variables.len() as u32 * MAP_SYMBOL_SIZE as u32, MAP_SYMBOL_SIZE as u32));
    }
    if !variables.is_empty() {
        btf.section(".maps", &variables);
    }
}

/// `BPF_MAP_TYPE_…`.
fn kernel_type(kind: MapKind) -> u32 {
    match kind {
        MapKind::Hash => 1,
        MapKind::Array | MapKind::MappedArray => 2,
        MapKind::PerCpuHash => 5,
        MapKind::PerCpuArray => 6,
        MapKind::StackTrace => 7,
        MapKind::LruHash => 9,
        MapKind::Stack => 23,
        MapKind::RingBuf => 27,
    }
}
