//! One file per family of probe points.

mod session;

use crate::sema::family::Family;

pub use session::Session;

/// Families that need nothing from the machine.
pub fn session() -> Vec<Box<dyn Family>> {
    vec![Box::new(Session)]
}
