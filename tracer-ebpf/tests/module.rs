//! Where a file is loaded, on the userspace machine: mappings of a process in a kernel's structures that are laid out by
//! hand.

mod alone;
mod hand;

use tracer_common::ir::parse;
use tracer_common::layout::Layout;
use tracer_common::manifest::{AttachPoint, Site};
use tracer_common::unwind;
use tracer_ebpf::codegen;
use tracer_ebpf::machine::{Context, Machine, Space};
use tracer_ebpf::target::{Mappings, Target};

use hand::{FILE, INODE, MAPLE, MAPPINGS, MM, NODES, RED_BLACK, TASK, layout, words};

const OTHER: u64 = 0xffff_8880_0004_0000;

/// A mapping: start, end, page offset, flags, file.
type Mapping = (u64, u64, u64, u64, u64);
/// What is read, and what is run.
const READ: u64 = 1;
const CODE: u64 = 5;

struct Place {
    machine: Machine,
    maple: bool,
}

impl Place {
    fn new(mappings: Mappings) -> Place {
        let module = parse::module(
            "string t0 \"/lib/other.so\"
             string t1 \"/lib/x.so\"
             record r0 (long) -> f1
             function f0 look kernel registers {
             b0:
               v0 = call module_base(t1)
               emit r0 v0
               return
             }
             function f1 (v0) {
             b0:
               return
             }",
        )
        .expect("a module");
        let maple = mappings == MAPLE;
        let site = Site::new(AttachPoint::Session, "here");
        let manifest = alone::manifest(site);
        let of = if maple { Target::LINUX_6_1 } else { Target::LINUX_5_10 };
        let target = Target { unwind: Some(layout(mappings, None)), ..of };
        let generated = codegen::generate(&module, &manifest, &Layout::new(&module), &target).expect("code");
        let mut machine = alone::machine(&generated.parts(&manifest), generated.pool, &target);
        machine.task.address = TASK;
        machine.lay_out(Space::Kernel, TASK, &words(&[(8, MM), (24, 0)]));
        machine.lay_out(Space::Kernel, FILE, &words(&[(0x20, INODE)]));
        machine.lay_out(Space::Kernel, OTHER, &words(&[(0x20, INODE + 0x100)]));
        assert!(machine.set(unwind::MODULES, &1u64.to_le_bytes(), &INODE.to_le_bytes()));
        Place { machine, maple }
    }

    /// The process's mappings, by address: at most eight, and holes between them.
    fn mapped(&mut self, mappings: &[Mapping]) {
        let at = |n: usize| MAPPINGS + n as u64 * 0x1000;
        for (n, (start, end, page, flags, file)) in mappings.iter().enumerate() {
            let next = if n + 1 < mappings.len() { at(n + 1) } else { 0 };
            // In the tree each is right of the one before.
            let right = if next == 0 { 0 } else { next + 0x20 };
            let mapping = [
                (0, *start),
                (8, *end),
                (0x28, right),
                (0x30, 0),
                (0x50, *flags),
                (0x60, *page),
                (0x70, *file),
                (0x80, next),
            ];
            self.machine.lay_out(Space::Kernel, at(n), &words(&mapping));
        }
        if !self.maple {
            let first = if mappings.is_empty() { 0 } else { at(0) };
            let root = if first == 0 { 0 } else { first + 0x20 };
            return self.machine.lay_out(Space::Kernel, MM, &words(&[(8, root), (0x48, first)]));
        }
        // Two leaves, each with up to four mappings and the holes before them; what is behind the last pivot of a leaf ends
        // where the leaf does.
        let node = |n: u64, kind: u64| (NODES + n * 0x200) | kind << 3 | 6;
        self.machine.lay_out(Space::Kernel, MM, &words(&[(0x48, node(0, 3)), (8, 0)]));
        let halves: Vec<&[Mapping]> = mappings.chunks(4).collect();
        let last = halves.first().and_then(|half| half.last()).map_or(u64::MAX, |last| last.1 - 1);
        self.machine.lay_out(
            Space::Kernel,
            NODES,
            &words(&[(8, last), (16, u64::MAX), (80, node(1, 1)), (88, node(2, 1)), (248, 0)]),
        );
        let mut end = 0;
        for half in 0..2 {
            let mut leaf = vec![(248, 0)];
            let mut slot = 0;
            for (n, (start, stop, ..)) in halves.get(half).unwrap_or(&&[][..]).iter().enumerate() {
                if *start > end {
                    leaf.extend([(8 + slot * 8, start - 1), (128 + slot * 8, 0)]);
                    slot += 1;
                }
                leaf.push((128 + slot * 8, at(half * 4 + n)));
                // The last slot of the first leaf has no pivot.
                if half == 1 || n < 3 {
                    leaf.push((8 + slot * 8, stop - 1));
                }
                slot += 1;
                end = *stop;
            }
            self.machine.lay_out(Space::Kernel, NODES + 0x200 * (half as u64 + 1), &words(&leaf));
        }
    }

    fn base(&mut self) -> u64 {
        self.machine.run(0, &Context::Registers(vec![0; 21])).unwrap_or_else(|fault| panic!("{fault}"));
        let sent = self.machine.records.pop().expect("a record");
        u64::from_le_bytes(sent[8..16].try_into().expect("eight bytes"))
    }
}

/// A program, a heap, a library's parts, a stack: as Linux has them.
fn ordinary(library: u64) -> Vec<Mapping> {
    vec![
        (0x40_0000, 0x40_1000, 0, CODE, OTHER),
        (0x40_1000, 0x40_3000, 1, READ, OTHER),
        // The file is mapped to be read, too.
        (0x1000_0000, 0x1000_1000, 0, READ, FILE),
        (library, library + 0x1000, 0, READ, FILE),
        (library + 0x1000, library + 0x3000, 1, CODE, FILE),
        (library + 0x3000, library + 0x4000, 3, READ, FILE),
        (0x7ffc_0000_0000, 0x7ffc_0001_0000, 0, READ, 0),
        (0x7fff_f000_0000, 0x7fff_f000_1000, 0, CODE, 0),
    ]
}

#[test]
fn code_is_found_wherever_it_is() {
    for mappings in [RED_BLACK, MAPLE] {
        let mut place = Place::new(mappings);
        for library in [0x7f00_0000_0000, 0x7f00_0010_0000, 0x2000_0000] {
            place.mapped(&ordinary(library));
            // Once by looking at all, once where it was.
            for _ in 0..2 {
                assert_eq!(place.base(), library);
            }
        }
    }
}

#[test]
fn what_is_not_there_is_nowhere() {
    for mappings in [RED_BLACK, MAPLE] {
        let mut place = Place::new(mappings);
        place.mapped(&ordinary(0x7f00_0000_0000));
        assert_eq!(place.base(), 0x7f00_0000_0000);
        // Something else is where it was; it is still there to be read.
        let mut others = ordinary(0x7f00_0000_0000);
        others[4].4 = OTHER;
        place.mapped(&others);
        assert_eq!(place.base(), 0);
        others[4].4 = 0;
        place.mapped(&others);
        assert_eq!(place.base(), 0);
        // A thread of the kernel has no memory.
        place.machine.lay_out(Space::Kernel, TASK, &words(&[(8, 0), (24, 0)]));
        assert_eq!(place.base(), 0);
    }
}

#[test]
fn a_file_that_nobody_knows_is_nowhere() {
    let mut place = Place::new(MAPLE);
    place.mapped(&ordinary(0x7f00_0000_0000));
    assert!(place.machine.set(unwind::MODULES, &1u64.to_le_bytes(), &(INODE + 8).to_le_bytes()));
    assert_eq!(place.base(), 0);
}
