//! Pages that are not in memory: a program that may sleep fetches them, with no lock and no reservation, and only when a
//! read has failed; others raise a fault. Nothing that an earlier hit read is in what a later one sends.

mod alone;

use tracer_common::ir::{ContextKind, parse, verify};
use tracer_common::layout::{Layout, SCALARS};
use tracer_common::ledger::{self, Cell};
use tracer_common::manifest::{AttachPoint, Site};
use tracer_common::record;
use tracer_ebpf::codegen;
use tracer_ebpf::machine::{Context, Machine, Space};
use tracer_ebpf::object::Parts;
use tracer_ebpf::target::Target;

const SLEEPY: [&str; 3] = ["6.1", "6.12", "6.18"];
const PAGE: u64 = 0x7000_0000;

/// The machine with a function as its only program, a text over two pages and a number.
fn machine(function: &str, target: &Target) -> (Machine, Parts) {
    let text = format!(
        "global g0 n: long, shared
         global g1 names[str<200>]: long, max 16, shared
         record r0 (str<200>) -> f1
         record r1 (long, long) -> f2
         place @0 0:0..1 \"here\"
         {function}
         function f1 (s0) {{\n strings 200\nb0:\n return\n}}
         function f2 (v0, v1) {{\nb0:\n return\n}}\n"
    );
    let mut module = parse::module(&text).expect("it parses");
    if let Err(violations) = verify::verify(&module) {
        panic!("{}", verify::explain(&module, &violations));
    }
    module.limits.errors = u32::MAX;
    assert_eq!(module.functions[0].context, ContextKind::Registers);
    let layout = Layout::new(&module);
    let site = Site::new(AttachPoint::Session, "here");
    let manifest = alone::manifest(site);
    let generated = codegen::generate(&module, &manifest, &layout, target).expect("code");
    let parts = generated.parts(&manifest);
    let mut machine = alone::machine(&parts, generated.pool, target);
    machine.locks = layout.globals.iter().filter_map(|global| global.lock).collect();
    let mut bytes = vec![0; 0x2000];
    bytes[0xff8..0x1005].copy_from_slice(b"over the edge");
    bytes[8..16].copy_from_slice(&0x1122_3344i64.to_le_bytes());
    machine.lay_out(Space::User, PAGE, &bytes);
    (machine, parts)
}

/// A hit with an address in rdi; what it sent, if it sent anything.
fn hit(machine: &mut Machine, address: u64) -> Option<Vec<u8>> {
    let mut words = vec![0; 21];
    words[112 / 8] = address;
    machine.run(0, &Context::Registers(words)).expect("legal code");
    let under_way = &machine.value(ledger::MAP)[ledger::UNDER_WAY as usize..][..8];
    assert_eq!(under_way, [0; 8], "nobody is left");
    machine.records.pop()
}

fn text_of(record: &[u8]) -> String {
    let head = record::HEADER as usize;
    let length = u32::from_le_bytes(record[head..head + 4].try_into().expect("four bytes")) as usize;
    String::from_utf8_lossy(&record[head + 8..head + 8 + length]).into_owned()
}

fn is_error(record: &[u8]) -> bool {
    u16::from_le_bytes([record[0], record[1]]) == record::ERROR
}

const STRING: &str = "function f0 text kernel registers {
  strings 200
b0:
  v0 = register 5, u64
  s0 = call user_string(v0) @0
  emit r0 s0
  return
}";

#[test]
fn pages_are_fetched_as_far_as_a_string_goes() {
    for release in SLEEPY {
        let (mut machine, parts) = machine(STRING, &Target::preset(release).expect("a release"));
        assert!(parts.programs[0].sleepable);
        let text = |machine: &mut Machine, at| text_of(&hit(machine, at).expect("a record"));
        assert_eq!(text(&mut machine, PAGE + 0xff8), "over the edge");
        assert_eq!(machine.sleeps, 0, "what is there is read at once");
        machine.page_out(PAGE + 0x1000);
        assert_eq!(text(&mut machine, PAGE + 0xff8), "over the edge");
        assert_eq!(machine.sleeps, 2, "the first byte, and the page behind");
        machine.page_out(PAGE);
        machine.page_out(PAGE + 0x1000);
        assert_eq!(text(&mut machine, PAGE + 0xff8), "over the edge");
        // The string ends before the second page, which nobody asks for.
        machine.page_out(PAGE);
        machine.page_out(PAGE + 0x1000);
        assert_eq!(text(&mut machine, PAGE + 8), "D3\"\u{11}");
        assert_eq!(machine.sleeps, 5);
        // No memory at all.
        assert!(is_error(&hit(&mut machine, 0x10).expect("an error")));
        assert!(is_error(&hit(&mut machine, PAGE + 0x2000).expect("an error")));
        assert!(is_error(&hit(&mut machine, u64::MAX).expect("an error")));
    }
}

#[test]
fn where_programs_may_not_sleep_it_is_a_fault() {
    let (mut machine, parts) = machine(STRING, &Target::LINUX_5_10);
    assert!(!parts.programs[0].sleepable);
    machine.page_out(PAGE);
    let record = hit(&mut machine, PAGE + 8).expect("an error");
    assert!(is_error(&record));
    assert_eq!(record[16..24], (PAGE + 8).to_le_bytes());
}

#[test]
fn numbers_are_fetched_over_the_edge_of_a_page() {
    let function = "function f0 number kernel registers {
b0:
  v0 = register 5, u64
  v1 = load user v0, u64 @0
  v3 = load user v0 + 8, u32, fault v2
  emit r1 v1, v2
  return
}";
    for release in SLEEPY {
        let (mut machine, _) = machine(function, &Target::preset(release).expect("a release"));
        machine.page_out(PAGE);
        machine.page_out(PAGE + 0x1000);
        let record = hit(&mut machine, PAGE + 0xffc).expect("a record");
        assert_eq!(&record[8..16], b" the edg");
        assert_eq!(record[16..24], [0; 8], "no fault");
        assert_eq!(machine.sleeps, 1);
    }
}

/// Reads before the lock sleep (the machine refuses a program that sleeps with one), reads after it do not.
#[test]
fn nobody_sleeps_with_a_lock() {
    let before = "function f0 counted kernel registers {
  strings 200
  locks g0, g1
b0:
  v0 = register 5, u64
  s0 = call user_string(v0) @0
  v1 = contains g1[s0]
  branch v1, b2, b1
b1:
  set g1[s0], 1 @0
  v2 = get g0
  v2 = add v2, 1
  set g0, v2
  emit r0 s0
  jump b2
b2:
  return
}";
    let after = "function f0 late kernel registers {
  strings 200
  locks g0
b0:
  v0 = register 5, u64
  v1 = get g0
  s0 = call user_string(v0) @0
  set g0, v0
  emit r0 s0
  return
}";
    for release in SLEEPY {
        let target = Target::preset(release).expect("a release");
        let (mut machine, parts) = machine(before, &target);
        assert!(parts.programs[0].sleepable);
        let locks = machine.locks.clone();
        let free = |machine: &Machine| {
            let scalars = machine.value(SCALARS);
            locks.iter().all(|at| scalars[*at as usize..*at as usize + 8] == [0; 8])
        };
        machine.page_out(PAGE);
        machine.page_out(PAGE + 0x1000);
        assert_eq!(text_of(&hit(&mut machine, PAGE + 0xff8).expect("a record")), "over the edge");
        assert!(machine.sleeps > 0 && free(&machine));
        // A fault before the lock gives back no lock of somebody else's.
        machine.locks.clear();
        machine.poke(SCALARS, locks[0], &1u64.to_le_bytes());
        assert!(is_error(&hit(&mut machine, 16).expect("an error")));
        assert!(!free(&machine));
        // Who cannot have the lock is counted, and has sent nothing.
        machine.page_out(PAGE);
        assert_eq!(hit(&mut machine, PAGE + 8), None);
        let at = ledger::offset(0, Cell::SkippedLock) as usize;
        assert_eq!(machine.value(ledger::MAP)[at..at + 8], 1u64.to_le_bytes());

        let (mut machine, parts) = self::machine(after, &target);
        assert!(!parts.programs[0].sleepable);
        machine.page_out(PAGE);
        assert!(is_error(&hit(&mut machine, PAGE + 8).expect("an error")));
    }
}

/// Records after a secret was read: none of its bytes is in one, whatever fails, is shorter, or is cut.
#[test]
fn old_bytes_are_never_sent() {
    let function = "function f0 many kernel registers {
  strings 200, 24, 200
b0 catch b1:
  v0 = register 5, u64
  s0 = call user_string(v0) @0
  s1 = call user_string_n(v0, 20) @0
  s2 = concat s0, s1
  emit r0 s2
  emit r0 s1
  jump b2
b1:
  emit r0 s0
  emit r0 s1
  emit r0 s2
  jump b2
b2:
  v1 = register 4, u64
  s1 = call user_string_n(v0, v1) @0
  emit r0 s1
  return
}";
    for release in ["5.10", "6.1", "6.12", "6.18"] {
        let (mut machine, _) = machine(function, &Target::preset(release).expect("a release"));
        let secret = 0x5000_0000;
        machine.lay_out(Space::User, secret, &[vec![b'#'; 198], vec![0]].concat());
        // Ends in the middle of nowhere: a fault after its bytes.
        machine.lay_out(Space::User, 0x6000_0000, &[b'x'; 50]);
        machine.lay_out(Space::User, 0x6100_0000, b"ab\0");
        for address in [0x6000_0000, 0x6100_0000, 16, u64::MAX, 0x6000_0031] {
            hit(&mut machine, secret);
            machine.records.clear();
            let last = hit(&mut machine, address);
            let sent: Vec<u8> =
                machine.records.iter().flatten().copied().chain(last.into_iter().flatten()).collect();
            assert!(!sent.is_empty());
            assert!(!sent.contains(&b'#'), "{release}, {address:#x}: {sent:?}");
        }
    }
}
