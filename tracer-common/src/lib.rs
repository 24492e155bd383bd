//! The contract that both sides sign: IR, layouts, wire records, statistics arithmetic.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
