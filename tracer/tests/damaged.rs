//! Damaged files: whatever is in an ELF file, its DWARF, its notes or a BTF blob, the readers give an answer or an error,
//! in bounded time and memory; they never panic and never hang.
//!
//! Bytes of good files are overwritten, cut off and repeated, from a fixed seed: the same files in every run.
//! `TRACER_DAMAGE=N` makes N files of each kind.
#![expect(clippy::print_stdout, reason = "the report of a test")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracer::debuginfo::btf::Btf;
use tracer::debuginfo::model::{TypeId, Types};
use tracer::diagnostics::Sink;
use tracer::sema::library::Library;
use tracer::sema::{self, families};
use tracer::source::SourceMap;
use tracer::syntax::ast::ExprIds;
use tracer::syntax::{self, Facts, Macros};
use tracer::world::MemoryWorld;
use xtask::fuzz::files::{frames, look};
use xtask::fuzz::processor_time;
use xtask::random::Random;
use xtask::runtime::fixture;

/// One damaged copy; changes fall into a range.
fn damage(good: &[u8], range: std::ops::Range<usize>, random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..1 + random.below(8) {
        let at = range.start + random.below(range.len());
        match random.below(8) {
            0 => bytes[at] = 0,
            1 => bytes[at] = 0xff,
            2 => bytes[at] ^= 1 << random.below(8),
            3 => bytes[at] = bytes[at].wrapping_add(1),
            // A word that is big, or near the end of numbers.
            4 => bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = 0xff),
            5 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0),
            6 => {
                let from = range.start + random.below(range.len());
                let count = random.below(32).min(good.len() - at.max(from));
                bytes[at..at + count].copy_from_slice(&good[from..from + count]);
            }
            _ => bytes[at] = random.number() as u8,
        }
    }
    if random.below(10) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

fn count() -> usize {
    std::env::var("TRACER_DAMAGE").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
}

/// Where the sections are whose damage matters; the whole file now and then.
fn ranges(good: &[u8]) -> Vec<std::ops::Range<usize>> {
    use object::{Object, ObjectSection};
    let file = object::File::parse(good).expect("a good file");
    let wanted = |name: &str| {
        name.starts_with(".debug")
            || name.starts_with(".note")
            || name.contains("plt")
            || name.contains("dyn")
            || matches!(name, ".eh_frame" | ".symtab" | ".strtab" | ".gnu_debuglink")
    };
    let mut ranges: Vec<_> = file
        .sections()
        .filter(|section| section.name().is_ok_and(wanted))
        .filter_map(|section| section.file_range())
        .filter(|(_, size)| *size > 0)
        .map(|(start, size)| start as usize..(start + size) as usize)
        .collect();
    // File header, program headers; section headers.
    ranges.push(0..0x400.min(good.len()));
    ranges.push(good.len().saturating_sub(0xa00)..good.len());
    ranges
}

const SLOW: Duration = Duration::from_secs(5);

fn each(name: &str, good: &[u8], ranges: &[std::ops::Range<usize>], read: impl Fn(Vec<u8>)) {
    let mut random = Random(0x5eed_0000 + good.len() as u64 % 7);
    let (mut slowest, start) = (Duration::ZERO, Instant::now());
    for n in 0..count() {
        let range = ranges[n % ranges.len()].clone();
        let bytes = damage(good, range.clone(), &mut random);
        let begin = processor_time();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(bytes)));
        assert!(result.is_ok(), "{name}: file {n}, damaged in {range:x?}, made the reader panic");
        slowest = slowest.max(processor_time().saturating_sub(begin));
        assert!(slowest < SLOW, "{name}: file {n}, damaged in {range:x?}, took {slowest:?}");
    }
    println!("{name}: {} files in {:?}, the slowest {slowest:?}", count(), start.elapsed());
    assert!(memory() < 1 << 20, "{name}: {} KiB at the peak", memory());
}

/// KiB of memory at the peak.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn look_at_type(types: &dyn Types, ty: TypeId) {
    let _ = (types.shape(ty), types.size(ty), types.name(ty), types.member(ty, "no such member"));
    for member in types.members(ty).iter().take(20) {
        let _ = (types.shape(member.ty), types.size(member.ty), types.name(member.ty));
    }
}

fn good(name: &str) -> (PathBuf, Vec<u8>) {
    let path = fixture::build_one(name).unwrap_or_else(|why| panic!("{why}"));
    let bytes = std::fs::read(&path).expect("the fixture");
    (path, bytes)
}

#[test]
fn programs() {
    for name in ["places_o2", "places_o0", "usdt", "calls_dwarf4"] {
        let (path, bytes) = good(name);
        each(name, &bytes, &ranges(&bytes), |damaged| {
            look(&path, damaged);
        });
    }
}

/// Call frame information of both kinds, and of linkage tables and signals.
#[test]
fn call_frames() {
    use object::{Object, ObjectSection};
    for name in ["deep_static", "deep_dynamic", "deep_debug_frame"] {
        let (path, bytes) = good(name);
        let file = object::File::parse(&*bytes).expect("a good file");
        let ranges: Vec<_> = [".eh_frame", ".debug_frame"]
            .into_iter()
            .filter_map(|name| file.section_by_name(name)?.file_range())
            .map(|(start, size)| start as usize..(start + size) as usize)
            .collect();
        each(&format!("frames of {name}"), &bytes, &ranges, |damaged| frames(&path, damaged));
    }
}

/// The way through pass 2: probe points and variables of a damaged program.
#[test]
fn scripts_on_programs() {
    let (path, bytes) = good("places_o2");
    let script = format!(
        "probe process(\"{0}\").function(\"*\") {{ println($$vars) }}
         probe process(\"{0}\").function(\"*\").return {{ println($return$$, @entry($$parms)) }}
         probe process(\"{0}\").statement(\"*@*:*\") {{ println($p->in->q, $p$$, $table[1][2], $$locals, &$counter) }}
         probe process(\"{0}\").function(\"*\").inline {{ println($value) }}
         probe process(\"{0}\").function(\"*\").callees {{ println($$parms) }}
         probe process(\"{0}\").plt, process(\"{0}\").mark(\"*\"), process(\"{0}\").begin {{ println($$vars) }}",
        path.display()
    );
    each("script", &bytes, &ranges(&bytes), |damaged| {
        let mut world = MemoryWorld::default();
        world.files.insert(path.clone(), damaged);
        elaborate(&world, &script);
    });
}

fn elaborate(world: &MemoryWorld, script: &str) {
    let (facts, macros) = (Facts::example(), Macros::default());
    let (mut sources, mut ids, mut sink) = (SourceMap::default(), ExprIds::default(), Sink::default());
    let file = sources.add("damaged.stp".to_owned(), script.to_owned(), None);
    let parsed = syntax::parse(&mut sources, file, &mut ids, &facts, &macros, &mut sink);
    assert!(!sink.has_errors(), "the script is good");
    let families = families::all(world, None);
    let mut library = Library::embedded();
    let input = sema::Input {
        library: &mut library,
        families: &families.families,
        globals_scope: &*families.functions,
        facts: &facts,
        macros: &macros,
        settings: &[],
        guru: false,
        skip_badvars: false,
        suppress_errors: false,
        listing: true,
    };
    sema::elaborate(vec![parsed], input, &mut sources, &mut ids, &mut sink);
}

#[test]
fn kernel_types() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        println!("skipped: this kernel has no BTF");
        return;
    };
    // A piece of it is as good as all, and quicker to copy: types first, then names.
    let ranges = [0..64, 24..200_000.min(bytes.len()), bytes.len() - 200_000.min(bytes.len())..bytes.len()];
    let every = count() / 15;
    let mut random = Random(0xb7f);
    for n in 0..every {
        let damaged = damage(&bytes, ranges[n % ranges.len()].clone(), &mut random);
        let begin = processor_time();
        if let Ok(btf) = Btf::parse(damaged.into()) {
            let _ = btf.function("vfs_read");
            if let Some(ty) = btf.type_by_name("task_struct") {
                look_at_type(&btf, ty);
            }
            for id in 0..200 {
                look_at_type(&btf, TypeId(id));
            }
            let _ = btf.tracepoints("sched_*");
        }
        let took = processor_time().saturating_sub(begin);
        assert!(took < SLOW, "file {n} took {took:?}");
    }
    println!("BTF: {every} blobs");
}
