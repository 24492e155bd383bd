//! The command line.

mod accepted;
pub mod args;
