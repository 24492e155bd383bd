//! The walk along user stacks, on the userspace machine: a kernel's structures and a program's stack laid out by hand.
//!
//! Mappings are in a red-black tree but for one test.

mod alone;
mod hand;

use tracer_common::ir::parse;
use tracer_common::layout::Layout;
use tracer_common::ledger::{self, Cell};
use tracer_common::manifest::{AttachPoint, Manifest, Site};
use tracer_common::record;
use tracer_common::unwind::{self, File, Kind, Rule, word};
use tracer_ebpf::codegen;
use tracer_ebpf::machine::{Context, Machine, Space};
use tracer_ebpf::target::{Mappings, Returns, Target};

use hand::{FILE, INODE, MAPLE, MAPPINGS, MM, NODES, RED_BLACK, TASK, layout, words};

const UTASK: u64 = 0xffff_8880_0004_0000;
const AREA: u64 = 0xffff_8880_0005_0000;
const INSTANCES: u64 = 0xffff_8880_0006_0000;

/// Where the program's code is mapped, from its offset 0x1000 on.
const CODE: u64 = 0x55_5555_0000;
/// Code without a file.
const MADE: u64 = 0x7f00_0000_0000;
/// What return probes put in place of return addresses.
const REPLACED: u64 = 0x7fff_ffff_e000;
const STACK: u64 = 0x7ffc_0000_0000;

/// What return probes keep: offsets each as good as any.
const RETURNS: Returns =
    Returns { area: 0x40, vaddr: 0x18, utask: 24, instances: 0x30, stack: 0x10, original: 0x18, next: 0x28 };

struct Place {
    machine: Machine,
    manifest: Manifest,
}

/// The rules of the program's functions, each of 16 bytes; from the second page on there is one more.
fn rules() -> Vec<Rule> {
    let window = |offset: i64| ((64 + offset) / 8) as u8;
    vec![
        Rule::UNKNOWN,
        // 1: pushes rbp and rbx, and has 32 bytes.
        Rule { rbp: window(-16), rbx: window(-24), ..Rule::plain(Kind::Register, 56) },
        // 2: by the frame pointer.
        Rule { base: word::RBP, rbp: window(-16), ..Rule::plain(Kind::Register, 16) },
        // 3: the caller's frame is kept in memory; so is the frame pointer.
        Rule { base: word::RBP, rbp: word::AT_RBP, ..Rule::plain(Kind::Memory, -8) },
        Rule::SIGNAL,
        Rule::OUTERMOST,
        // 6: by rbx.
        Rule { base: word::RBX, ..Rule::plain(Kind::Register, 16) },
        Rule::ENTRY,
    ]
}

impl Place {
    fn new(is_entry: bool, backtrace: u32) -> Place {
        Place::with(is_entry, backtrace, RED_BLACK)
    }

    fn with(is_entry: bool, backtrace: u32, mappings: Mappings) -> Place {
        let mut module = parse::module(
            "record r0 (str<2500>) -> f1
             function f0 walk kernel registers {
               strings 2500
             b0:
               s0 = call user_stack()
               emit r0 s0
               return
             }
             function f1 (s0) {
               strings 2500
             b0:
               return
             }",
        )
        .expect("a module");
        module.limits.backtrace = backtrace;
        let site = Site { is_entry, ..Site::new(AttachPoint::Session, "here") };
        let manifest = alone::manifest(site);
        // The kernel's loop, and the maple tree, came after the red-black tree.
        let of = if mappings == RED_BLACK { Target::LINUX_5_10 } else { Target::LINUX_6_1 };
        let target = Target { unwind: Some(layout(mappings, Some(RETURNS))), ..of };
        let generated = codegen::generate(&module, &manifest, &Layout::new(&module), &target).expect("code");
        let mut machine = alone::machine(&generated.parts(&manifest), generated.pool, &target);
        machine.task.address = TASK;
        let mut kernel = |at, pairs: &[(usize, u64)]| machine.lay_out(Space::Kernel, at, &words(pairs));
        kernel(TASK, &[(8, MM), (24, UTASK)]);
        kernel(MM, &[(8, MAPPINGS + 0x1000 + 0x20), (0x40, AREA)]);
        kernel(AREA, &[(0x18, REPLACED)]);
        kernel(FILE, &[(0x20, INODE)]);
        // The root has the stack; the program is left of it, made code right.
        let mapping = |start: u64, end: u64, right: u64, left: u64, flags: u64, file: u64| {
            [(0, start), (8, end), (0x28, right), (0x30, left), (0x50, flags), (0x60, 1), (0x70, file)]
        };
        let node = |n: u64| MAPPINGS + n * 0x1000 + 0x20;
        kernel(MAPPINGS + 0x1000, &mapping(MADE, MADE + 0x1000, node(3), node(2), 4, 0));
        kernel(MAPPINGS + 0x2000, &mapping(CODE, CODE + 0x1000, 0, 0, 4, FILE));
        kernel(MAPPINGS + 0x3000, &mapping(STACK, STACK + 0x10000, 0, 0, 2, 0));
        Place { machine, manifest }
    }

    /// The table of the program, as the loader writes it.
    fn known(mut self) -> Place {
        // Offset 0x1000 of the file is page 16; rows are 16 bytes apart, and the last rule holds for two more pages.
        for (n, rule) in rules().into_iter().enumerate() {
            let row = (0x1000 + n as u64 * 16) | (n as u64) << 32;
            self.machine.poke(unwind::ROWS, 8 * (100 + n as u32), &row.to_le_bytes());
            self.machine.poke(unwind::RULES, 8 * n as u32, &rule.to_word().to_le_bytes());
        }
        let last = rules().len() as u32 + 99;
        for (n, row) in [100, last, last, last].into_iter().enumerate() {
            self.machine.poke(unwind::INDEX, 4 * (6 + n as u32), &u32::to_le_bytes(row));
        }
        let file = File { index: 6, first: 16, pages: 3 };
        self.machine.set(unwind::FILES, &INODE.to_le_bytes(), &file.to_bytes());
        self
    }

    fn stack(&mut self, pairs: &[(usize, u64)]) {
        let mut pairs = pairs.to_vec();
        pairs.push((0x8000, 0));
        self.machine.lay_out(Space::User, STACK, &words(&pairs));
    }

    /// Walks; the addresses as text, and how many stacks were cut so far.
    fn walk(&mut self, rip: u64, rsp: u64, rbp: u64, rbx: u64) -> (String, u64) {
        let mut registers = vec![0; 21];
        (registers[16], registers[19], registers[4], registers[5]) = (rip, rsp, rbp, rbx);
        self.machine.run(0, &Context::Registers(registers)).unwrap_or_else(|fault| panic!("{fault}"));
        let sent = self.machine.records.pop().expect("a record");
        let length = u32::from_le_bytes(sent[8..12].try_into().expect("four bytes")) as usize;
        let text = String::from_utf8_lossy(&sent[16..16 + length]).trim_end().to_owned();
        let cut = ledger::offset(0, Cell::CutStacks) as usize;
        let ledger = self.machine.value(ledger::MAP);
        assert_eq!(self.manifest.programs.len(), 1);
        (text, u64::from_le_bytes(ledger[cut..cut + 8].try_into().expect("eight bytes")))
    }
}

/// An address in the function of a rule.
fn within(rule: u64) -> u64 {
    CODE + rule * 16 + 4
}

fn text(addresses: &[u64]) -> String {
    addresses.iter().map(|address| format!("{address:#x}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn rules_are_followed() {
    let mut place = Place::new(false, 20).known();
    let at = |offset: u64| STACK + offset;
    // Innermost 1 (frame of 56 bytes), then 2 by its rbp, 3 by memory, 6 by rbx, the thread's start.
    place.stack(&[
        (0x1000 + 32, 0xb0b),
        (0x1000 + 40, at(0x1100)),
        (0x1000 + 48, within(2)),
        // 2's frame: its caller's rbp, the return address.
        (0x1100, at(0x1200)),
        (0x1108, within(3)),
        // 3's frame: its caller's frame is kept below its rbp, the old rbp there.
        (0x1200 - 8, at(0x1300)),
        (0x1200, 0x1234),
        (0x1300 - 8, within(6)),
        (0x1400 - 8, within(5)),
    ]);
    let (found, cut) = place.walk(within(1), at(0x1000), 0, 0);
    assert_eq!(found, text(&[within(1), within(2), within(3), within(6)]));
    assert_eq!(cut, 1, "rbx is not what 6 needs: {:#x}", 0xb0b + 16);
    let (found, cut) = place.walk(within(6), at(0x1000), 0, at(0x13f0));
    assert_eq!(found, text(&[within(6), within(5)]));
    assert_eq!(cut, 1, "a thread's start is an end");
}

#[test]
fn mappings_are_found_in_a_maple_tree() {
    let mut place = Place::with(false, 20, MAPLE).known();
    let mut kernel = |at, pairs: &[(usize, u64)]| place.machine.lay_out(Space::Kernel, at, &words(pairs));
    let node = |n: u64, kind: u64| (NODES + n * 0x100) | kind << 3 | 6;
    kernel(MM, &[(0x48, node(0, 3)), (0x40, 0)]);
    // The root: pivots, then slots; what is not used is 0.
    kernel(NODES, &[(8, CODE + 0xfff), (16, u64::MAX), (80, node(1, 1)), (88, node(2, 1)), (248, 0)]);
    let leaf = [(8, CODE - 1), (16, CODE + 0xfff), (128, 0), (136, MAPPINGS + 0x2000), (248, 0)];
    kernel(NODES + 0x100, &leaf);
    // A full leaf: its last slot has no pivot.
    let mut full = vec![(128 + 15 * 8, MAPPINGS + 0x3000)];
    full.extend((0..15).map(|n| (8 + n * 8, MADE + n as u64 * 0x1000 + 0xfff)));
    full.push((128, MAPPINGS + 0x1000));
    full.extend((1..15).map(|n| (128 + n * 8, 0)));
    kernel(NODES + 0x200, &full);
    place.stack(&[
        (0x1000, within(7)),
        (0x1008, within(1)),
        (0x1008 + 56, MADE + 5),
        (0x1100, 0),
        (0x1108, within(7)),
        (0x1110, within(5)),
    ]);
    let (found, cut) = place.walk(within(7), STACK + 0x1000, 0, 0);
    // The frame pointer that 1 restores is 0: made code is where it ends.
    assert_eq!(found, text(&[within(7), within(7), within(1), MADE + 5]));
    assert_eq!(cut, 0);
    for nowhere in [0x5000, CODE + 0x1001, MADE + 0x1001, MADE + 0xe010, STACK + 5, 0x7fff_ffff_f000] {
        place.stack(&[(0x1000, nowhere)]);
        let (found, _) = place.walk(within(7), STACK + 0x1000, 0, 0);
        assert_eq!(found, text(&[within(7)]), "{nowhere:#x}");
    }
}

#[test]
fn signals_are_looked_through() {
    let mut place = Place::new(false, 20).known();
    let context = 0x2000;
    place.stack(&[
        (context - 8, within(4) - 4),
        (context + 120, 0x77),
        (context + 128, 0x88),
        (context + 160, STACK + 0x100),
        // Interrupted at the very first instruction of 7, whose neighbour below has another rule.
        (context + 168, within(7) - 4),
        (0x100, within(5)),
    ]);
    let (found, cut) = place.walk(within(7), STACK + context as u64 - 8, 0, 0);
    // The return address of the handler is the first byte of the trampoline: what is before it counts.
    assert_eq!(found.split(' ').count(), 2, "{found}");
    assert_eq!(cut, 1, "before the trampoline is 3's code, which needs a frame");
    place.stack(&[
        (context - 8, within(4)),
        (context + 160, STACK + 0x100),
        (context + 168, within(7) - 4),
        (0x100, within(5)),
    ]);
    let (found, cut) = place.walk(within(7), STACK + context as u64 - 8, 0, 0);
    assert_eq!(found, text(&[within(7), within(4), within(7) - 4, within(5)]));
    assert_eq!(cut, 1);
}

#[test]
fn replaced_return_addresses_are_found() {
    let mut place = Place::new(false, 20).known();
    place.stack(&[(0x1000, REPLACED), (0x1008, REPLACED), (0x1010, within(5))]);
    // The newest is of a frame that is gone.
    let mut kernel = |at, pairs: &[(usize, u64)]| place.machine.lay_out(Space::Kernel, at, &words(pairs));
    kernel(UTASK, &[(0x30, INSTANCES)]);
    kernel(INSTANCES, &[(0x10, STACK + 0xff8), (0x18, 0x66), (0x28, INSTANCES + 0x100)]);
    kernel(INSTANCES + 0x100, &[(0x10, STACK + 0x1000), (0x18, within(7)), (0x28, INSTANCES + 0x200)]);
    kernel(INSTANCES + 0x200, &[(0x10, STACK + 0x1008), (0x18, within(7) + 1), (0x28, 0)]);
    let (found, cut) = place.walk(within(7), STACK + 0x1000, 0, 0);
    assert_eq!(found, text(&[within(7), within(7), within(7) + 1, within(5)]));
    assert_eq!(cut, 0);
    // One that the kernel does not know is not shown.
    place.stack(&[(0x1000, within(7)), (0x1008, REPLACED), (0x1010, REPLACED)]);
    let (found, cut) = place.walk(within(7), STACK + 0x1000, 0, 0);
    assert_eq!(found, text(&[within(7), within(7), within(7) + 1]));
    assert_eq!(cut, 1);
}

#[test]
fn made_code_is_crossed_by_frame_pointers() {
    let mut place = Place::new(false, 20).known();
    place.stack(&[
        (0x1000, STACK + 0x1100),
        (0x1008, MADE + 8),
        (0x1100, 0),
        (0x1108, within(7)),
        (0x1110, within(5)),
    ]);
    let (found, cut) = place.walk(MADE + 4, STACK + 0xf00, STACK + 0x1000, 0);
    assert_eq!(found, text(&[MADE + 4, MADE + 8, within(7), within(5)]));
    assert_eq!(cut, 0);
    // What is no code is not shown.
    place.stack(&[(0x1000, STACK + 0x1100), (0x1008, STACK + 0x20)]);
    let (found, cut) = place.walk(MADE + 4, STACK + 0xf00, STACK + 0x1000, 0);
    assert_eq!((found, cut), (text(&[MADE + 4]), 1));
    let (found, cut) = place.walk(0x1234, STACK + 0xf00, STACK + 0x1000, 0);
    assert_eq!((found, cut), (text(&[0x1234]), 2));
}

#[test]
fn unknown_files_are_told_once() {
    let mut place = Place::new(true, 20);
    place.stack(&[(0x1000, within(2)), (0x1100, 0), (0x1108, MADE + 8)]);
    // At a function's first instruction its caller is known without any table.
    let (found, cut) = place.walk(within(1), STACK + 0x1000, STACK + 0x1100, 0);
    assert_eq!(found, text(&[within(1), within(2), MADE + 8]));
    assert_eq!(cut, 0);
    let told = place.machine.records.pop().expect("the file");
    let expected = words(&[
        (0, u64::from(record::FILE) | u64::from(record::NO_SITE) << 32),
        (8, 100),
        (16, within(1)),
        (24, INODE),
    ]);
    assert_eq!(told, expected);
    place.walk(within(1), STACK + 0x1000, STACK + 0x1100, 0);
    assert!(place.machine.records.is_empty());
}

#[test]
fn stacks_end_at_the_limit() {
    for limit in [1, 3, 20, 120] {
        let mut place = Place::new(false, limit).known();
        let frames: Vec<(usize, u64)> = (0..300).map(|n| (0x1000 + n * 8, within(7))).collect();
        place.stack(&frames);
        let (found, cut) = place.walk(within(7), STACK + 0x1000, 0, 0);
        assert_eq!(found, text(&vec![within(7); limit as usize]));
        assert_eq!(cut, 0, "it was not cut, it is long");
    }
}

#[test]
fn what_an_old_verifier_cannot_follow_is_refused() {
    let calls = "  v0 = call user_frame(1)\n".repeat(9);
    let text = format!("function f0 walk kernel registers {{\n  longs 1\nb0:\n{calls}  return\n}}");
    let module = parse::module(&text).expect("a module");
    let manifest = alone::manifest(Site::new(AttachPoint::Session, "here"));
    let compile = |target: Target| {
        let target = Target { unwind: Some(layout(RED_BLACK, Some(RETURNS))), ..target };
        codegen::generate(&module, &manifest, &Layout::new(&module), &target).map(|_| ())
    };
    let refused = compile(Target::LINUX_5_10).expect_err("nine times twenty frames");
    assert_eq!(refused.to_string(), "cannot walk that many frames in a handler: Linux 5.17 and newer do");
    assert_eq!(compile(Target::LINUX_6_1), Ok(()));
}

/// Instructions of a walk with so many frames in one file.
fn cost(frames: u32) -> u64 {
    let mut place = Place::new(false, frames).known();
    let stack: Vec<(usize, u64)> = (0..300).map(|n| (0x1000 + n * 8, within(7))).collect();
    place.stack(&stack);
    let mut registers = vec![0; 21];
    (registers[16], registers[19]) = (within(7), STACK + 0x1000);
    let mut thread = place.machine.start(0, &Context::Registers(registers));
    let mut count = 1;
    while place.machine.step(&mut thread).unwrap_or_else(|fault| panic!("{fault}")).is_none() {
        count += 1;
    }
    count
}

#[test]
fn a_frame_costs_little() {
    let (short, long) = (cost(2), cost(12));
    // Its address in the text is some 75 of them; the first frame finds the mapping and the file.
    let frame = (long - short) / 10;
    assert!((300..400).contains(&frame), "{frame} instructions for a frame");
    assert!((900..1300).contains(&short), "{short} instructions for two frames");
}
