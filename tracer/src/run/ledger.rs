//! The summary of the ledger: what was skipped, lost, cut or refused, per probe.

use tracer_common::ledger::{Cell, NAMES};
use tracer_common::manifest::Manifest;

use crate::run::kernel::Kernel;

/// Why stacks end early, and what helps.
const CUT: &str = "  hint: a stack is incomplete where it leads through a file that the process loaded after the probes were \
    armed (only until the first stack that leads there), or through code without unwind information (made at run time, \
    hand-written, the vDSO) that keeps no frame pointer; its innermost frames are right. A probe in that library, or -x \
    with the process that has it loaded, reads it before the first hit";

/// Lines for standard error; empty when every hit ran and every record arrived.
pub fn summary(kernel: &Kernel, manifest: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    let mut cut = false;
    for (n, program) in manifest.programs.iter().enumerate() {
        let hits = kernel.counter(n as u32, Cell::Hits);
        let mut told: Vec<String> = NAMES
            .iter()
            .filter(|(cell, _)| *cell != Cell::Hits)
            .filter_map(|(cell, name)| {
                let count = kernel.counter(n as u32, *cell);
                cut |= *cell == Cell::CutStacks && count > 0;
                (count > 0).then(|| format!("{count} {name}"))
            })
            .collect();
        // These are beside the hits: the program did not run, and counted nothing.
        let missed = kernel.missed(n as u32);
        if missed > 0 {
            told.push(format!("{missed} missed by the kernel"));
        }
        if told.is_empty() {
            continue;
        }
        let probe = match program.sites.as_slice() {
            [site] => manifest.sites[*site as usize].probe_point.clone(),
            sites => format!(
                "{} and {} more",
                sites.first().map_or("", |site| &manifest.sites[*site as usize].probe_point),
                sites.len().saturating_sub(1)
            ),
        };
        lines.push(format!("WARNING: {probe}: {hits} hits, {}", told.join(", ")));
    }
    if cut {
        lines.push(CUT.to_owned());
    }
    match kernel.under_way() {
        0 => {}
        waiting => lines.push(format!(
            "WARNING: handlers that still wait for memory of their program, and will report nothing: {waiting}"
        )),
    }
    lines
}

/// Hits that were skipped, of all programs.
pub fn skipped(kernel: &Kernel, manifest: &Manifest) -> u64 {
    [Cell::SkippedNesting, Cell::SkippedLock, Cell::SkippedEntry]
        .into_iter()
        .map(|cell| sum(kernel, manifest, cell))
        .sum()
}

/// What programs were attached by, for `-v`.
pub fn attached(kernel: &Kernel) -> Option<String> {
    let rungs = kernel.rungs();
    let text: Vec<String> = rungs.iter().map(|(name, places)| format!("{places} by {name}")).collect();
    (!text.is_empty()).then(|| format!("attached: {}", text.join(", ")))
}

/// Handler errors whose reports found the ring full, of all programs.
pub fn unreported_errors(kernel: &Kernel, manifest: &Manifest) -> u64 {
    sum(kernel, manifest, Cell::Errors)
}

/// Hits of all programs, for `-v`.
pub fn hits(kernel: &Kernel, manifest: &Manifest) -> u64 {
    sum(kernel, manifest, Cell::Hits)
}

fn sum(kernel: &Kernel, manifest: &Manifest, cell: Cell) -> u64 {
    (0..manifest.programs.len() as u32).map(|n| kernel.counter(n, cell)).sum()
}
