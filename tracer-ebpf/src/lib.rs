//! Everything that will run in the kernel: IR in, ELF out.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod isa;
