//! A session whose hits are made by hand, for tests: the kernel runs each program when it is told to.
//!
//! The same handlers, maps, records and verifier as in a real session, but nothing is attached and nothing is waited
//! for, so that thousands of programs can be tried in a moment. Raw tracepoints only: the kernel runs no other kind
//! of tracing program on demand.
//!
//! **Not here:** a real session (`super::run`).

use tracer_ebpf::target::Target;

use crate::artifact::Artifact;
use crate::run::RunError;
use crate::run::host::RealHost;
use crate::run::kernel::Kernel;
use crate::run::maps::MapGlobals;
use crate::run::output::sink::Sink;
use crate::run::session::Session;

/// A hit: the number of the program, and the words of its context.
pub type Hit = (usize, Vec<u64>);

/// Loads the programs and runs a whole session with these hits, one after the other; records are handled after each.
pub fn trial(
    artifact: &Artifact,
    target: &Target,
    hits: &[Hit],
    sink: Box<dyn Sink>,
) -> Result<(), RunError> {
    let (mut kernel, layout, maps) = Kernel::load(artifact, target)?;
    let locks = kernel.locks()?;
    let mut ring = kernel.quiet_ring()?;
    let mut globals = MapGlobals::new(&artifact.module, layout, maps, locks)
        .map_err(|error| RunError::map("of the globals", error))?;
    let mut session = Session::new(artifact, &mut globals, RealHost::new(sink));
    session.begin();
    kernel.arm();
    for (program, words) in hits {
        if session.is_over() {
            break;
        }
        kernel.hit(*program, words)?;
        ring.drain(|bytes| session.record(bytes));
    }
    kernel.stop();
    ring.drain(|bytes| session.record(bytes));
    session.end();
    Ok(())
}
