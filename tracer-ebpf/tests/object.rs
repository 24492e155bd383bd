//! The ELF writer, checked by reading its files with aya-obj, the parser that the run uses.

use tracer_common::ir::{Place, PlaceId};
use tracer_common::layout::{MapKind, MapSpec};
use tracer_common::manifest::ProgramKind;
use tracer_ebpf::asm::{Assembler, FuncRef, Origin};
use tracer_ebpf::isa::{AluOp, Helper, Imm64, Insn, Reg, Size, Src};
use tracer_ebpf::object::{Function, Parts, Program, RODATA, write};

fn map(name: &str, kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapSpec {
    MapSpec { name: name.into(), kind, key_size, value_size, max_entries }
}

fn mov(dst: Reg, imm: i32) -> Insn {
    Insn::Alu { op: AluOp::Mov, wide: true, dst, src: Src::Imm(imm) }
}

fn parts() -> Parts {
    let mut program = Assembler::new();
    program.origin(Origin { place: Some(PlaceId(0)), note: "" });
    program.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::MapValue { fd: 2, offset: 24 } });
    program.push(Insn::Load { size: Size::Dw, signed: false, dst: Reg::R2, base: Reg::R1, off: 0 });
    program.origin(Origin { place: None, note: "key" });
    program.push(Insn::Store { size: Size::Dw, base: Reg::R10, off: -8, src: Src::Reg(Reg::R2) });
    program.push(Insn::Alu { op: AluOp::Mov, wide: true, dst: Reg::R2, src: Src::Reg(Reg::R10) });
    program.push(Insn::Alu { op: AluOp::Add, wide: true, dst: Reg::R2, src: Src::Imm(-8) });
    program.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::Map(0) });
    program.push(Insn::Call { helper: Helper::MapLookupElem });
    program.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::MapValue { fd: 3, offset: 8 } });
    program.call(FuncRef(0));
    program.push(Insn::Exit);
    let mut function = Assembler::new();
    function.push(mov(Reg::R0, 0));
    function.push(Insn::Exit);
    Parts {
        maps: vec![
            map("g1", MapKind::Hash, 8, 8, 2048),
            map("records", MapKind::RingBuf, 0, 0, 1 << 20),
            map("ledger", MapKind::MappedArray, 4, 128, 1),
            map(RODATA, MapKind::Array, 4, 16, 1),
            map("cells", MapKind::PerCpuHash, 24, 1040, 100),
        ],
        rodata: b"0123456789abcdef".to_vec(),
        functions: vec![Function { name: "helper".into(), code: function.finish().unwrap() }],
        programs: vec![Program {
            name: "p0".into(),
            kind: ProgramKind::Uprobe,
            sleepable: false,
            code: program.finish().unwrap(),
        }],
    }
}

fn places() -> Vec<Place> {
    vec![Place { file: 0, start: 3, end: 5, text: "identifier 'ü' at t.stp:1:25".into() }]
}

#[test]
fn aya_reads_maps_programs_and_license() {
    let bytes = write(&parts(), &places()).unwrap().elf;
    let object = aya_obj::Object::parse(&bytes).unwrap();
    assert_eq!(object.license.to_bytes(), b"GPL");
    let find = |name: &str| object.maps.get(name).unwrap_or_else(|| panic!("no map {name}"));
    let shape = |name: &str| {
        let map = find(name);
        (map.map_type(), map.key_size(), map.value_size(), map.max_entries())
    };
    assert_eq!(shape("g1"), (1, 8, 8, 2048));
    assert_eq!(shape("records"), (27, 0, 0, 1 << 20));
    assert_eq!(shape("cells"), (5, 24, 1040, 100));
    assert_eq!(shape(".data.ledger"), (2, 4, 128, 1));
    assert_eq!(find(".rodata").data(), b"0123456789abcdef");
    assert!(matches!(object.programs["p0"].section, aya_obj::ProgramSection::UProbe { sleepable: false }));
    assert_eq!(object.functions.len(), 2);
}

#[test]
fn aya_relocates_maps_data_and_calls() {
    let bytes = write(&parts(), &places()).unwrap().elf;
    let mut object = aya_obj::Object::parse(&bytes).unwrap();
    let maps: Vec<_> = object.maps.iter().map(|(name, map)| (name.clone(), map.clone())).collect();
    let fd = |name: &str| match name {
        "g1" => 11,
        ".data.ledger" => 13,
        ".rodata" => 14,
        _ => 99,
    };
    let text = object.functions.values().filter(|f| f.name == "helper").map(|f| f.section_index.0).collect();
    object.relocate_maps(maps.iter().map(|(n, m)| (n.as_str(), fd(n), m)), &text).unwrap();
    object.relocate_calls(&text).unwrap();
    let program = &object.functions[&object.programs["p0"].function_key()];
    let imm = |slot: usize| (program.instructions[slot].src_reg(), program.instructions[slot].imm);
    assert_eq!((imm(0), imm(1)), ((2, 13), (0, 24)), "a byte of the ledger");
    assert_eq!((imm(6), imm(7)), ((1, 11), (0, 0)), "a map");
    assert_eq!((imm(9), imm(10)), ((2, 14), (0, 8)), "a constant");
    assert_eq!(imm(11), (1, 1), "a call over the exit");
    assert_eq!(program.instructions.len(), 15);
    assert_eq!(program.line_info.line_info.len(), 3, "place, note, subprogram");
}
