//! What ends a handler early, and its words.
//!
//! **Not here:** the words for each kind of error (`tracer_common::record`).

use tracer_common::ir::{Module, PlaceId};
use tracer_common::record::near;

/// Calls that are named in a message; a recursion can have hundreds.
const CALLS: usize = 8;

/// An error that ended a handler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuntimeError {
    /// What went wrong: `division by 0`. The script's own bytes, for `error("…")`.
    pub message: Vec<u8>,
    /// Where.
    pub place: Option<PlaceId>,
    /// The calls that led there, innermost first.
    pub calls: Vec<PlaceId>,
    /// Whether `try` helps. It does not when MAXACTION is exceeded: what is left of the handler would be too much.
    pub can_be_caught: bool,
}

impl RuntimeError {
    /// An error at a place.
    pub fn new(message: impl Into<Vec<u8>>, place: PlaceId) -> RuntimeError {
        RuntimeError { message: message.into(), place: Some(place), calls: Vec::new(), can_be_caught: true }
    }

    pub(super) fn out_of_actions(place: PlaceId) -> RuntimeError {
        RuntimeError { can_be_caught: false, ..RuntimeError::new("MAXACTION exceeded", place) }
    }

    /// As SystemTap prints it: `division by 0 near operator '/' at t.stp:1:25 (called from identifier 'f' at t.stp:2:9)`.
    pub fn text(&self, module: &Module) -> Vec<u8> {
        let place = |place: &PlaceId| module.places.get(place.index());
        let mut text = self.message.clone();
        text.extend(near("", self.place.as_ref().and_then(place)).into_bytes());
        for call in self.calls.iter().take(CALLS).filter_map(place) {
            text.extend(format!(" (called from {})", call.text).into_bytes());
        }
        if self.calls.len() > CALLS {
            text.extend(format!(" (and {} more calls)", self.calls.len() - CALLS).into_bytes());
        }
        text
    }
}
