//! Pass 2: names to ids, probe points to places, target variables to accesses, types for everything.
//!
//! Rooms, in reading order: `program` (the product), `elaborate` (the steps), `library` and `load` (tapset files),
//! `point` (aliases), `family` and `families/` (base probe points), `resolve` (target expressions), `pointee` (what
//! script values point to), `symbols` (types learned so far), `build/` (typed trees), `guard` (what is tested first), `settle`
//! (until all types are known), `checks` (of the whole), `elide` (what has no effect), `walk` (visits typed trees), `print` (`-p2`).

pub mod arguments;
mod build;
mod checks;
pub mod elaborate;
mod elide;
pub mod families;
pub mod family;
mod guard;
pub mod library;
mod load;
pub mod point;
mod pointee;
pub mod print;
pub mod program;
mod resolve;
mod settle;
mod symbols;
pub mod target_var;
pub(crate) mod walk;

pub use elaborate::{Input, elaborate};
