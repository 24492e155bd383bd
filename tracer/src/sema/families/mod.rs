//! One file per family of probe points.

mod kernel;
mod perf;
mod process;
mod session;
mod task;

use std::rc::Rc;

use crate::sema::family::{Family, TargetScope};
use crate::world::World;

pub use kernel::argument_number;
pub use session::{NoTargets, Session};

/// All families, in the order in which they are asked, and the scope of script functions.
pub struct Families<'w> {
    /// The families.
    pub families: Vec<Box<dyn Family + 'w>>,
    /// What target expressions mean in functions.
    pub functions: Box<dyn TargetScope + 'w>,
}

/// The program of `-c` or `-x`.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its path or name.
    pub program: String,
    /// Whether only its process can hit probes in programs: the kernel lets no other through.
    pub alone: bool,
}

/// The families of a machine. Nothing is read before a script asks.
pub fn all(world: &dyn World, subject: Option<Subject>) -> Families<'_> {
    let types = Rc::new(kernel::KernelTypes::new(world));
    Families {
        families: vec![
            Box::new(Session),
            Box::new(perf::Perf {
                world,
                types: types.clone(),
                subject: subject.as_ref().map(|s| s.program.clone()),
            }),
            Box::new(kernel::Kernel { world, types: types.clone() }),
            Box::new(process::Process::new(world, subject, types.clone())),
        ],
        functions: Box::new(kernel::Functions { types }),
    }
}
