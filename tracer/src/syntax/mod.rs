//! Pass 1: text to `ast::File`.
//!
//! **Not here:** meaning (`sema`), reading files (`world`).

// In the order in which a newcomer should read them.
pub mod ast;
pub mod format;
