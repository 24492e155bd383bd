//! Checks a manifest against its module.
//!
//! - A program's function is a kernel function without parameters and result, with the context of its kind.
//! - Names of programs are words of 1 to 15 characters, each once.
//! - Programs have sites, all of which exist and are attachable in the program's way; fentry and fexit have one.
//! - Only fexit programs look at a traced function's result.
//! - Sites of user handlers exist.

use super::*;
use crate::manifest::{AttachPoint, Manifest, ProgramKind};
use alloc::collections::BTreeSet;

/// Checks everything; `Err` has one line for each violation.
pub fn verify(module: &Module, manifest: &Manifest) -> Result<(), Vec<String>> {
    let mut violations = Vec::new();
    let mut names = BTreeSet::new();
    for program in &manifest.programs {
        let mut check = |holds: bool, message: &str| {
            if !holds {
                violations.push(format!("program {}: {message}", program.name));
            }
        };
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let plain = (1..=15).contains(&program.name.len()) && program.name.bytes().all(word);
        check(plain, "its name is not a word of at most 15 characters");
        check(names.insert(&program.name), "its name is there twice");
        match module.functions.get(program.function.index()) {
            None => check(false, "its function does not exist"),
            Some(function) => {
                check(function.domain == Domain::Kernel, "its function is a user function");
                check(function.params.is_empty(), "its function has parameters");
                check(function.result.is_none(), "its function has a result");
                check(function.context == context_of(program.kind), "its function has another context");
                let result = |inst: &Inst| matches!(inst, Inst::Context { source: Source::Result, .. });
                let looks = function.blocks.iter().flat_map(|b| &b.insts).any(|(inst, _)| result(inst));
                check(
                    !looks || program.kind == ProgramKind::Fexit,
                    "its function asks for a result, which only fexit has",
                );
            }
        }
        let single = matches!(program.kind, ProgramKind::Fentry | ProgramKind::Fexit);
        check(!program.sites.is_empty(), "it has no sites");
        check(!single || program.sites.len() == 1, "it has more than one site");
        for site in &program.sites {
            match manifest.sites.get(*site as usize) {
                None => check(false, &format!("site {site} does not exist")),
                Some(found) if !fits(program.kind, &found.attach) => {
                    check(false, &format!("site {site} is another kind of place"));
                }
                Some(_) => {}
            }
        }
    }
    for (number, handler) in module.handlers.iter().enumerate() {
        if handler.site as usize >= manifest.sites.len() {
            violations.push(format!("handler {number}: site {} does not exist", handler.site));
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

/// What the context argument of a program is.
pub fn context_of(kind: ProgramKind) -> ContextKind {
    match kind {
        ProgramKind::Uprobe | ProgramKind::Uretprobe | ProgramKind::Kprobe | ProgramKind::Kretprobe => {
            ContextKind::Registers
        }
        ProgramKind::Fentry | ProgramKind::Fexit | ProgramKind::RawTracepoint => ContextKind::Words,
        ProgramKind::PerfEvent => ContextKind::Perf,
    }
}

fn fits(kind: ProgramKind, attach: &AttachPoint) -> bool {
    match kind {
        ProgramKind::Uprobe | ProgramKind::Uretprobe => matches!(attach, AttachPoint::User { .. }),
        ProgramKind::Kprobe | ProgramKind::Kretprobe => matches!(attach, AttachPoint::Kernel { .. }),
        ProgramKind::Fentry | ProgramKind::Fexit => {
            matches!(attach, AttachPoint::Kernel { offset: 0, btf: Some(_), .. })
        }
        ProgramKind::RawTracepoint => matches!(attach, AttachPoint::Tracepoint { .. }),
        ProgramKind::PerfEvent => matches!(attach, AttachPoint::Perf { .. }),
    }
}
