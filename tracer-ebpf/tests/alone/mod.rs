//! Function 0 of a module as the only program, on the userspace machine.

use tracer_common::ir::FuncId;
use tracer_common::manifest::{Manifest, Program, ProgramKind, Site};
use tracer_ebpf::codegen;
use tracer_ebpf::machine::Machine;
use tracer_ebpf::object::Parts;
use tracer_ebpf::target::Target;

/// A uprobe at one site.
pub(crate) fn manifest(site: Site) -> Manifest {
    let program = Program {
        name: "p0".into(),
        function: FuncId(0),
        kind: ProgramKind::Uprobe,
        sites: vec![0],
        site_patches: Vec::new(),
    };
    Manifest { programs: vec![program], sites: vec![site] }
}

/// A machine with so much scratch memory as the session would give.
pub(crate) fn machine(parts: &Parts, pool: u32, target: &Target) -> Machine {
    let mut machine = Machine::new(parts, target.cpus);
    for slot in 0..pool {
        machine.push(codegen::SCRATCH_POOL, &slot.to_le_bytes());
    }
    machine
}
