//! Developer tasks, and the format of the runtime cases that both the host runner and the guests use.
//!
//! `runtime` decides nothing about where a case runs: `tracer/tests/runtime.rs` runs cases on this kernel, `vm` in guests.
//! Only tests of `tracer` may use this library; no crate that is shipped does.
//!
//! **Not here:** anything that `tracer` needs at run time.
#![expect(clippy::print_stdout, reason = "developer tools talk to a terminal")]

pub mod bench;
pub mod ci;
pub mod command;
pub mod demo;
pub mod differ;
pub mod fuzz;
pub mod gdb;
pub mod listing;
pub mod outside;
pub mod package;
pub mod random;
pub mod runtime;
pub mod tidy;
pub mod vm;
pub mod workspace;
