//! Being built.

pub mod mmap;
