//! Two hits on one CPU at the same moment: one handler is stopped at each of its instructions in turn while another
//! runs from its beginning to its end. Strings of the two must never mix, and every hit must run or be counted.

mod alone;

use tracer_common::ir::{ContextKind, Module, parse, verify};
use tracer_common::layout::{Home, Layout, SCALARS};
use tracer_common::ledger::{self, Cell};
use tracer_common::manifest::{AttachPoint, Site};
use tracer_ebpf::codegen;
use tracer_ebpf::machine::{Context, Machine};
use tracer_ebpf::target::{Stay, Target};

/// A key and a record of strings that are far too large for the frame.
const HANDLER: &str = "
global g0 texts[str<200>]: long, max 16, shared
record r0 (str<200>) -> f1
place @0 0:0..1 \"here\"

function f0 handler kernel registers {
  strings 16, 200, 200
b0:
  s0 = call execname()
  s1 = concat s0, \"/\"
  s2 = concat s1, s0
  s1 = concat s2, \"/\"
  s2 = concat s1, s0
  update add g0[s2], 1 @0
  emit r0 s2
  return
}
function f1 (s0) {
  strings 200
b0:
  return
}
";

/// Numbers that are kept in the frame.
const NUMBERS: &str = "
global g0 seen[long, long, long, long, long, long, long]: long, max 16, shared

function f0 handler kernel registers {
b0:
  v0 = register 5, u64
  update add g0[v0, v0, v0, v0, v0, v0, v0], v0
  return
}
";

/// A handler that inserts into an array that drops its oldest element.
fn wrapping(insert: &str) -> String {
    format!(
        "
global g0 recent[long]: long, max 3, wrap, ordered, shared
place @0 0:0..1 \"here\"

function f0 handler kernel registers {{
b0:
  v0 = register 5, u64
  {insert} @0
  return
}}
"
    )
}

/// What must not be seen half done.
const LOCKING: &str = "
global g0 one: long, shared
global g1 two: long, shared
place @0 0:0..1 \"here\"

function f0 handler kernel registers {
  locks g0, g1
b0:
  v0 = register 5, u64
  v1 = get g0
  v2 = add v1, v0
  set g0, v2
  v3 = get g1
  v4 = add v3, v0
  set g1, v4
  return
}
";

const NAMES: [&str; 10] = [
    "aaaaaaaaaa",
    "bbbb",
    "cccccccccccccc",
    "d",
    "eeeeeee",
    "fffffffffff",
    "gg",
    "hhhhhh",
    "iiiiiiiiiiiii",
    "jjjjj",
];

/// The machine, and how many hits have scratch memory at the same time.
fn machine(module: &Module, target: &Target) -> (Machine, u32) {
    let layout = Layout::new(module);
    let site = Site::new(AttachPoint::Session, "here");
    assert_eq!(module.functions[0].context, ContextKind::Registers);
    let manifest = alone::manifest(site);
    let generated = codegen::generate(module, &manifest, &layout, target).expect("code for every kernel");
    let mut machine = alone::machine(&generated.parts(&manifest), generated.pool, target);
    machine.private_stack = target.features.private_stack;
    machine.stay = target.stay;
    // Without fetching atomics all CPUs take from one pool.
    (machine, if generated.pool > 0 { generated.pool } else { target.scratch_slots })
}

fn module(handler: &str) -> Module {
    let module = parse::module(handler).expect("the handler parses");
    if let Err(violations) = verify::verify(&module) {
        panic!("{}", verify::explain(&module, &violations));
    }
    module
}

/// The text of a record: its length is in front of it.
fn text(record: &[u8]) -> String {
    let head = tracer_common::record::HEADER as usize;
    let length = u32::from_le_bytes(record[head..head + 4].try_into().expect("four bytes")) as usize;
    String::from_utf8_lossy(&record[head + 8..head + 8 + length]).into_owned()
}

fn cell(machine: &Machine, cell: Cell) -> u64 {
    let at = ledger::offset(0, cell) as usize;
    u64::from_le_bytes(machine.value(ledger::MAP)[at..at + 8].try_into().expect("eight bytes"))
}

/// As many hits as names, each stopped after `stop` instructions and then interrupted by the next; the last one to
/// begin ends first. Returns whether any of them ran that far.
fn nest(machine: &mut Machine, names: &[&str], stop: usize) -> bool {
    let context = Context::Registers(vec![0; 21]);
    let mut threads = Vec::new();
    let mut reached = false;
    for name in names {
        machine.task.comm = name.as_bytes().to_vec();
        let mut thread = machine.start(0, &context);
        let ended = (0..stop).any(|_| machine.step(&mut thread).expect("legal code").is_some());
        reached |= !ended;
        threads.push((thread, *name));
    }
    while let Some((mut thread, name)) = threads.pop() {
        machine.task.comm = name.as_bytes().to_vec();
        while machine.step(&mut thread).expect("legal code").is_none() {}
    }
    reached
}

fn check(machine: &Machine, names: &[&str], what: &str) -> u64 {
    let skipped = cell(machine, Cell::SkippedNesting);
    let texts: Vec<String> = machine.records.iter().map(|record| text(record)).collect();
    for text in &texts {
        let whole = names.iter().any(|name| *text == format!("{name}/{name}/{name}"));
        assert!(whole, "{what}: a mixed text: {text}");
    }
    assert_eq!(cell(machine, Cell::Hits), names.len() as u64, "{what}");
    assert_eq!(texts.len() as u64 + skipped, names.len() as u64, "{what}: a hit got lost: {texts:?}");
    skipped
}

#[test]
fn strings_of_two_hits_never_mix() {
    let module = module(HANDLER);
    for release in ["5.10", "6.1", "6.12", "6.18"] {
        let target = Target::preset(release).expect("a release");
        let mut stop = 0;
        loop {
            let (mut machine, _) = machine(&module, &target);
            let reached = nest(&mut machine, &NAMES[..2], stop);
            let skipped = check(&machine, &NAMES[..2], &format!("{release}, stopped after {stop}"));
            assert_eq!(skipped, 0, "{release}: there are slots enough for two");
            if !reached {
                break;
            }
            stop += 1;
        }
        assert!(stop > 50, "{release}: the handler has only {stop} instructions");
    }
}

#[test]
fn deeper_than_there_are_slots_is_counted() {
    let module = module(HANDLER);
    for release in ["5.10", "6.1", "6.12", "6.18"] {
        let target = Target::preset(release).expect("a release");
        let (mut most, mut slots) = (0, 0);
        for stop in 0..100 {
            let (mut machine, limit) = machine(&module, &target);
            slots = u64::from(limit);
            nest(&mut machine, &NAMES, stop);
            most = most.max(check(&machine, &NAMES, &format!("{release}, stopped after {stop}")));
        }
        assert_eq!(most, NAMES.len() as u64 - slots, "{release}");
    }
}

/// Two hits with a number each, of which one is stopped after `stop` instructions until the other has ended.
fn numbers(machine: &mut Machine, numbers: [u64; 2], stop: usize) -> bool {
    let start = |machine: &mut Machine, number: u64| {
        let mut words = vec![0; 21];
        words[14] = number;
        machine.start(0, &Context::Registers(words))
    };
    let mut first = start(machine, numbers[0]);
    let mut reached = (0..stop).all(|_| machine.step(&mut first).expect("legal code").is_none());
    while reached && !first.may_be_preempted() {
        reached = machine.step(&mut first).expect("legal code").is_none();
    }
    let mut second = start(machine, numbers[1]);
    while machine.step(&mut second).expect("legal code").is_none() {}
    while machine.step(&mut first).expect("legal code").is_none() {}
    reached
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

#[test]
fn frames_of_two_hits_never_mix() {
    let module = module(NUMBERS);
    for release in ["5.10", "6.1", "6.12", "6.18"] {
        let target = Target::preset(release).expect("a release");
        for stop in 0.. {
            let (mut machine, _) = machine(&module, &target);
            let reached = numbers(&mut machine, [3, 4], stop);
            let mut seen: Vec<Vec<u64>> = machine
                .elements("g0")
                .iter()
                .map(|(key, value)| key.chunks(8).chain([&value[0][..8]]).map(word).collect())
                .collect();
            seen.sort();
            assert_eq!(seen, [[3; 8], [4; 8]], "{release}, stopped after {stop}");
            if !reached {
                assert!(stop > 15, "{release}: the handler has only {stop} instructions");
                break;
            }
        }
    }
}

#[test]
fn two_that_drop_the_oldest_at_once_both_find_room() {
    for insert in ["set g0[v0], v0", "update add g0[v0], v0"] {
        let module = module(&wrapping(insert));
        for release in ["6.1", "6.12", "6.18"] {
            let target = Target::preset(release).expect("a release");
            for stop in 0.. {
                let what = format!("{release}, stopped after {stop}");
                let (mut machine, _) = machine(&module, &target);
                for pair in [[1, 2], [3, 4]] {
                    numbers(&mut machine, pair, 0);
                }
                let reached = numbers(&mut machine, [5, 6], stop);
                assert_eq!(machine.records.len(), 0, "{what}: an error");
                let mut keys: Vec<u64> = machine.elements("g0").iter().map(|(key, _)| word(key)).collect();
                keys.sort_unstable();
                assert_eq!(keys, [3, 5, 6], "{what}");
                if !reached {
                    assert!(stop > 30, "{what}: the handler has only {stop} instructions");
                    break;
                }
            }
        }
    }
}

#[test]
fn who_keeps_its_cpu_keeps_nobody_waiting() {
    let module = module(LOCKING);
    let layout = Layout::new(&module);
    let homes = layout.globals.iter().map(|global| match global.home {
        Home::Scalar { offset } => offset as usize,
        _ => panic!("no scalar"),
    });
    for (stay, some) in [(Some(Stay { begin: 7, end: 8 }), false), (None, true)] {
        let target = Target { stay, ..Target::LINUX_6_12 };
        let mut skipped = 0;
        for stop in 0.. {
            let (mut machine, _) = machine(&module, &target);
            let reached = numbers(&mut machine, [3, 4], stop);
            let left_out = cell(&machine, Cell::SkippedLock);
            let scalars = machine.value(SCALARS);
            let sum = if left_out == 0 { 7 } else { 3 };
            let values = homes.clone().map(|at| word(&scalars[at..]));
            assert_eq!(values.collect::<Vec<_>>(), [sum; 2], "stopped after {stop}");
            skipped += left_out;
            if !reached {
                assert!(stop > 15, "the handler has only {stop} instructions");
                break;
            }
        }
        assert_eq!(skipped > 0, some, "{stay:?}: {skipped} skipped");
    }
}
