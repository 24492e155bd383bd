//! The contract that both sides sign: IR, layouts, wire records, the manifest, statistics arithmetic.
//!
//! Rule of entry: something belongs here only if *both* the kernel side (`tracer-ebpf`) and the user side
//! (`tracer`) read it. Data and total functions; no I/O, no policy, no default that depends on the machine.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
extern crate alloc;

pub mod format;
pub mod intrinsic;
pub mod ir;
pub mod layout;
pub mod ledger;
pub mod limits;
pub mod manifest;
pub mod packed;
pub mod record;
pub mod regex;
pub mod stat;
pub mod symbol;
pub mod text;
pub mod unwind;
