//! One file per family of probe points.

mod session;

use std::rc::Rc;

use crate::sema::family::{Family, TargetScope};
use crate::world::World;

pub use session::{NoTargets, Session};

/// All families, in the order in which they are asked, and the scope of script functions.
pub struct Families {
    /// The families.
    pub families: Vec<Box<dyn Family>>,
    /// What target expressions mean in functions.
    pub functions: Rc<dyn TargetScope>,
}

/// The families of a machine.
pub fn all(_world: &dyn World) -> Families {
    Families { families: vec![Box::new(Session)], functions: Rc::new(NoTargets) }
}
