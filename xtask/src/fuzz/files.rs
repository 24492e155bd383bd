//! Readers of files: everything that they can be asked about a program, whatever is in it.
//!
//! **Not here:** what is done to the files (`damage`).

use std::path::{Path, PathBuf};

use tracer::debuginfo::btf::Btf;
use tracer::debuginfo::dwarf::UnwindTable;
use tracer::debuginfo::elf::ElfFile;
use tracer::debuginfo::find::find;
use tracer::debuginfo::model::{TypeId, Types};
use tracer::debuginfo::{demangle, operand, sdt};
use tracer::run::records;
use tracer::run::symbols::kernel::KernelSymbols;
use tracer::world::{MemoryWorld, SystemWorld};
use tracer_common::ir::parse;
use tracer_common::symbol::Form;
use tracer_common::unwind::Rule;

use crate::{command, runtime::fixture};

/// Programs that are damaged.
const PROGRAMS: [&str; 6] = ["places_o2", "places_o0", "usdt", "calls_dwarf4", "classes", "calls_o2"];

/// The programs, some of them with compressed sections, one with embedded debug information.
pub(super) fn programs() -> Result<Vec<Vec<u8>>, String> {
    let mut files = Vec::new();
    for name in PROGRAMS {
        let path = fixture::build_one(name)?;
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        files.push(read(&path)?);
        if name == "places_o2" {
            let made = |ending: &str| PathBuf::from(format!("{}.fuzz-{ending}", path.display()));
            let objcopy = |flag: &str, to: &Path| {
                command::output(std::process::Command::new("objcopy").arg(flag).arg(&path).arg(to)).map(drop)
            };
            objcopy("--compress-debug-sections=zlib", &made("zlib"))?;
            files.push(read(&made("zlib"))?);
            // MiniDebugInfo: the symbols, compressed, in a section of their own.
            objcopy("--only-keep-debug", &made("debug"))?;
            let mut xz = std::process::Command::new("xz");
            if command::output(xz.args(["-k", "-f"]).arg(made("debug"))).is_ok() {
                let section = format!("--add-section=.gnu_debugdata={}.xz", made("debug").display());
                let mut stripped = std::process::Command::new("objcopy");
                command::output(stripped.args(["-S", &section]).arg(&path).arg(made("mini")))?;
                files.push(read(&made("mini"))?);
            }
        }
    }
    Ok(files)
}

/// Whether a file was understood.
pub(super) fn program(bytes: Vec<u8>) -> bool {
    look(Path::new("/program"), bytes)
}

fn look_at_type(types: &dyn Types, ty: TypeId) {
    let _ = (types.shape(ty), types.size(ty), types.name(ty), types.member(ty, "no such member"));
    for member in types.members(ty).iter().take(20) {
        let _ = (types.shape(member.ty), types.size(member.ty), types.name(member.ty));
    }
}

/// Whatever is damaged, rows are in order, and what is behind the last is unknown.
fn look_at_frames(elf: &ElfFile) {
    let rows = UnwindTable::read(elf).rows;
    assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "rows are in order");
    assert!(rows.last().is_none_or(|(_, rule)| *rule == Rule::UNKNOWN), "the last row is the end");
}

/// Asks for the frames alone.
pub fn frames(path: &Path, bytes: Vec<u8>) {
    let mut world = MemoryWorld::default();
    world.files.insert(path.to_owned(), bytes);
    if let Ok(elf) = ElfFile::open(&world, path) {
        look_at_frames(&elf);
    }
}

/// Asks everything; whether there is debug information.
pub fn look(path: &Path, bytes: Vec<u8>) -> bool {
    let mut world = MemoryWorld::default();
    world.files.insert(path.to_owned(), bytes);
    let Ok(elf) = ElfFile::open(&world, path) else { return false };
    let _ = (elf.functions(), elf.build_id(), elf.debug_link(), elf.entry());
    if let Some(embedded) = elf.embedded() {
        let _ = embedded.functions();
    }
    let _ = (elf.needed(), elf.run_path(), elf.interpreter(), elf.stubs());
    let _ = (elf.code_before(), elf.thread_local().is_some(), elf.thread_slot().is_some());
    for mark in sdt::marks(&elf) {
        let symbol = |name: &str| elf.addresses(name).pop_first().ok_or_else(|| name.to_owned());
        mark.args.iter().for_each(|text| drop(operand::argument(text, &symbol)));
    }
    look_at_frames(&elf);
    let Some(info) = find(&world, &elf).info else { return false };
    let types = info.types();
    for function in info.functions(|_, qualified| !qualified().is_empty()).iter().take(30) {
        let _ = (info.declared(function), info.is_exported(function), function.qualified());
        let _ = (info.labels(function), info.calls(function), info.lines_of(function));
        if let Some(ty) = info.result(function) {
            look_at_type(&types, ty);
        }
        let addresses =
            [function.low, info.probe_address(function, &elf), function.low.midpoint(function.high)];
        for address in addresses {
            let instance = info.instance_at(address).unwrap_or_else(|| info.entry_instance(function));
            for variable in info.variables(&instance, address) {
                look_at_type(&types, variable.ty);
            }
            let _ = info.line_at(address);
        }
    }
    for copy in info.inlined(|_, _| true).iter().take(30) {
        let instance = info.inlined_instance(copy);
        let _ = (info.declared_inlined(copy), info.variables(&instance, copy.low));
    }
    for name in info.global_names().into_iter().take(30) {
        let _ = info.globals(name, None);
    }
    let _ = (info.types_named("point"), info.statements(|_| true));
    true
}

/// Types of a kernel.
pub(super) fn btf(bytes: Vec<u8>) -> bool {
    let Ok(btf) = Btf::parse(bytes.into()) else { return false };
    let _ = (btf.function("vfs_read"), btf.type_by_name("task_struct"), btf.enumerator("A"));
    let _ =
        (btf.enumeration("pid_type"), btf.functions("*a*"), btf.tracepoints("sched_*"), btf.tracepoint("x"));
    for id in 0..200 {
        look_at_type(&btf, TypeId(id));
    }
    true
}

/// A piece of BTF that begins as the whole does, so that it is small: types that name others beyond its end are broken already.
pub(super) fn types(random: &mut crate::random::Random) -> Vec<Vec<u8>> {
    let word = |value: usize| (value as u32).to_le_bytes();
    let names = b"\0int\0task_struct\0vfs_read\0pid_type\0A\0member\0btf_trace_sched_x\0";
    let mut files = Vec::new();
    for _ in 0..40 {
        // Kinds at random, each with as much behind it as its kind wants.
        let mut types = Vec::new();
        for _ in 0..random.below(60) {
            let kind = 1 + random.below(19);
            let count = random.below(5);
            types.extend(word(random.below(names.len())));
            types.extend(word(count | kind << 24 | random.below(2) << 31));
            types.extend(word(random.below(64)));
            let behind = match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * count,
                6 | 13 => 8 * count,
                _ => 0,
            };
            for _ in 0..behind / 4 {
                types.extend(word(random.below(70)));
            }
        }
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for value in [24, 0, types.len(), types.len(), names.len()] {
            bytes.extend(word(value));
        }
        bytes.extend(types);
        bytes.extend(names);
        files.push(bytes);
    }
    files
}

/// Arguments of marks, one a line.
pub(super) fn arguments(text: &str) -> bool {
    let mut understood = false;
    for line in text.lines() {
        let symbol = |name: &str| if name.len() < 4 { Ok(0x1234) } else { Err("none".to_owned()) };
        understood |= operand::argument(line, &symbol).is_ok();
    }
    understood
}

/// Symbols that compilers made: this program's and those of a program in C++, a few to a text.
pub(super) fn symbol_names() -> Result<Vec<Vec<u8>>, String> {
    const SYMBOLS: usize = 300;
    const TO_A_TEXT: usize = 4;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    for path in [fixture::build_one("classes")?, fixture::build_one("rust_o0")?, own] {
        let elf = ElfFile::open(&SystemWorld::default(), &path).map_err(|error| error.to_string())?;
        let symbols = elf.functions().into_iter().map(|symbol| symbol.name);
        names.extend(symbols.filter(|name| name.starts_with('_')).take(SYMBOLS));
    }
    Ok(names.chunks(TO_A_TEXT).map(|some| some.join("\n").into_bytes()).collect())
}

/// Names of symbols, one a line: what is said of one has parts that make it up again.
pub(super) fn names(text: &str) -> Result<bool, String> {
    let mut understood = false;
    for name in text.lines().filter_map(demangle::qualified) {
        understood = true;
        let parts = demangle::parts(&name);
        if parts.join("::") != name || parts.last() != Some(&demangle::last(&name)) {
            return Err(format!("parts: {name}"));
        }
    }
    Ok(understood)
}

/// `/proc/kallsyms`.
pub(super) fn symbols(text: &str) -> bool {
    let mut world = MemoryWorld::default();
    world.files.insert(PathBuf::from("/proc/kallsyms"), text.as_bytes().to_vec());
    let symbols = KernelSymbols::read(&world);
    let mut understood = false;
    for address in [0, 1, 0xffff_ffff_8100_0000, 0xffff_ffff_8100_0010, 0xffff_ffff_c000_0000, u64::MAX] {
        let told = symbols.text(address, Form::Data);
        understood |= told.contains('+');
        let _ = symbols.module_of(address);
    }
    understood
}

/// A record, of any kind that there is.
pub(super) fn record(bytes: &[u8]) -> Result<bool, String> {
    let text = "record r0 (long, str<16>) -> f0
record r1 (str<512>, str<8>, long) -> f1
function f0 a user none (v0, s0) {
  strings 16
b0:
  return
}
function f1 b user none (s0, s1, v0) {
  strings 512, 8
b0:
  return
}
";
    let module = parse::module(text).map_err(|error| format!("module: {error}"))?;
    Ok(records::decode(&module, bytes).is_some())
}
