//! `.BTF` and `.BTF.ext`: map types, function types, and which script place each instruction comes from.
//!
//! The kernel demands that every function's first instruction has a line and that offsets ascend; a line is written
//! wherever the origin changes.

use super::btf::{Btf, MAGIC, TypeId};
use super::{MAP_SYMBOL_SIZE, Parts, RODATA};
use crate::asm::{Code, Origin};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use tracer_common::ir::Place;
use tracer_common::layout::{MapKind, MapSpec};

/// A function at its place in a section.
pub(super) struct Placed<'a> {
    pub name: &'a str,
    pub code: &'a Code,
    pub offset: u64,
    pub is_static: bool,
}

/// Returns the bytes of both sections.
pub(super) fn write(
    parts: &Parts,
    sections: &[(String, Vec<Placed<'_>>)],
    places: &[Place],
) -> (Vec<u8>, Vec<u8>) {
    let mut btf = Btf::new();
    let int = btf.int();
    write_maps(&mut btf, int, &parts.maps);
    let context = btf.pointer(TypeId(0));
    let prototype = btf.prototype(int, context);
    let mut funcs = Vec::from(8u32.to_le_bytes());
    let mut lines = Vec::from(16u32.to_le_bytes());
    for (name, functions) in sections {
        let name = btf.string(name);
        let mut func_rows: Vec<[u32; 2]> = Vec::new();
        let mut line_rows: Vec<[u32; 4]> = Vec::new();
        for function in functions {
            let id = btf.function(function.name, prototype, function.is_static);
            func_rows.push([function.offset as u32, id.0]);
            let mut last = None;
            for ((slot, _), origin) in function.code.insns.iter().zip(&function.code.origins) {
                if last != Some(origin) {
                    let at = function.offset as u32 + *slot as u32 * 8;
                    line_rows.push(line(&mut btf, at, origin, places));
                    last = Some(origin);
                }
            }
        }
        append(&mut funcs, name, &func_rows);
        append(&mut lines, name, &line_rows);
    }
    let mut ext = Vec::from(MAGIC);
    let (func_len, line_len) = (funcs.len() as u32, lines.len() as u32);
    for word in [24, 0, func_len, func_len, line_len] {
        ext.extend(word.to_le_bytes());
    }
    ext.extend(funcs);
    ext.extend(lines);
    (btf.finish(), ext)
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

/// File, line and column at the end of `operator '/' at t.stp:1:25`.
fn position(text: &str) -> (&str, u32, u32) {
    let place = text.rsplit(' ').next().unwrap_or("");
    let mut pieces = place.rsplitn(3, ':');
    let (column, line, file) = (pieces.next(), pieces.next(), pieces.next());
    match (file, line.and_then(|n| n.parse().ok()), column.and_then(|n| n.parse().ok())) {
        (Some(file), Some(line), Some(column)) => (file, line, column),
        _ => ("script", 0, 0),
    }
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
        MapKind::Stack => 23,
        MapKind::RingBuf => 27,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        assert_eq!(position("operator '/' at t.stp:1:25"), ("t.stp", 1, 25));
        assert_eq!(position("identifier 'a' at /x/y.stp:12:3"), ("/x/y.stp", 12, 3));
        assert_eq!(position("nowhere"), ("script", 0, 0));
        assert_eq!(position(""), ("script", 0, 0));
    }
}
