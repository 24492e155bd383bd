//! What a program or a kernel is made of: types, functions, variables, marks. Knows nothing about scripts.
//!
//! Invariants: a malformed file is an error, never a panic; what is not there is [`model::Absence`] with a reason.
//! Listing functions reads neither types nor locations.
//!
//! Rooms, in reading order: `model` (the format-neutral words), `btf` (the kernel's own types), `elf` (sections,
//! symbols, offsets), `dynamic` (libraries), `instruction`, `demangle` (names of symbols), `dwarf` (functions, variables, locations), `find` (files that have them),
//! `sdt` (static marks), `operand` (their arguments).

pub mod btf;
pub mod demangle;
pub mod dwarf;
pub mod dynamic;
pub mod elf;
pub mod find;
pub mod instruction;
pub mod model;
pub mod operand;
pub mod sdt;
