//! Everything that will run in the kernel: IR in, ELF out.
//!
//! A pure function of the module, the layout, the manifest and the [`target::Target`]: no I/O, no clock, no unsafe
//! code, so that code for any kernel can be generated and tested on any machine.
//!
//! Rooms, in reading order: `target` (what we generate for), `isa` (the instruction set), `asm` (labels, references
//! and origins), `codegen` (IR to instructions), `link` (programs with their functions), `object` (the ELF file), `machine` (an interpreter that is stricter
//! than the kernel's verifier, for tests).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod asm;
pub mod codegen;
pub mod compile;
pub mod isa;
pub mod link;
pub mod machine;
pub mod object;
pub mod target;
