//! All `unsafe` and libc: one file per kernel feature, safe functions over `OwnedFd` and `BorrowedFd`.
//!
//! Rooms, in reading order: `uapi` (the kernel's numbers), `syscall` (the one door to the tracing calls, with a fake
//! for tests), `bpf` (programs, BTF, what the kernel tells about them), `bpf_map` (maps as bytes), `map_view` (mapped
//! arrays), `perf_event`, `link` (attaching), `features` (what this kernel can do), `process` (CPUs,
//! waiting), `command` (the held child of `-c`), `limits` (resource limits), `clock`, `mmap`, `folder` (of this user
//! alone).
//!
//! Invariants: no caller sees a raw descriptor or a pointer; every file says which kernel a feature needs, and
//! nothing asks for the kernel's version.
//!
//! To add a kernel feature: its numbers in `uapi`, a file or a function here, a probe in `features` when it is
//! optional.
//!
//! **Not here:** deciding which feature to use (`run`).

mod uapi;

mod syscall;

pub mod bpf;

pub mod bpf_map;

pub mod map_view;

pub mod perf_event;
pub mod perf_ring;

pub mod link;

pub mod features;

pub mod process;

pub mod command;

pub mod limits;

pub mod clock;

pub mod mmap;

pub mod folder;

#[cfg(test)]
mod testing;
