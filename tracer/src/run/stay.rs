//! Whether programs in user code are to keep their CPU while they hold locks, and by which functions of the kernel.
//!
//! On a kernel that preempts programs, a hit that is preempted with a lock makes all hits of the other tasks on that CPU
//! wait in vain, and be skipped, until its task runs again.
//!
//! **Not here:** the calls (`tracer_ebpf`'s `select/entry`).

use tracer_common::ir::Module;
use tracer_common::manifest::{Manifest, ProgramKind};
use tracer_ebpf::target::Stay;

use crate::debuginfo::btf::Btf;
use crate::sys::features;

/// Whether there are programs that are preempted and take locks.
pub fn is_wanted(module: &Module, manifest: &Manifest) -> bool {
    let takes_locks = manifest.programs.iter().any(|program| {
        matches!(program.kind, ProgramKind::Uprobe | ProgramKind::Uretprobe)
            && !module.functions[program.function.index()].locks.is_empty()
    });
    takes_locks && features::preempts()
}

/// The functions; `None` where the kernel has none that such programs may call (before 6.10).
pub fn find(btf: &Btf) -> Option<Stay> {
    let number = |name| i32::try_from(btf.function(name)?.id.0).ok();
    let stay = Stay { begin: number("bpf_preempt_disable")?, end: number("bpf_preempt_enable")? };
    features::calls(&[stay.begin, stay.end]).then_some(stay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::SystemWorld;

    #[test]
    fn what_this_kernel_has_may_be_called() {
        // As root only, and from 6.10 on.
        let Ok(btf) = Btf::load(&SystemWorld::default()) else { return };
        if features::calls(&[]) && btf.function("bpf_preempt_disable").is_some() {
            let found = find(&btf).expect("both may be called");
            assert!(!features::calls(&[found.begin]), "a program that does not end it is refused");
        }
    }
}
