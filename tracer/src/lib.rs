//! `tracer`: SystemTap's language on eBPF.
//!
//! ```text
//!  script.stp  tapsets/*.stp                     vmlinux BTF, ELF + DWARF, tracefs
//!       |            |                                      |
//!  pass 1  parse     v            syntax::parse             |          -> ast::File      (never fails)
//!  pass 2  elaborate sema::elaborate  <---- debuginfo ------+          -> sema::Program  (typed, resolved)
//!  pass 3  translate lower::lower                                      -> ir::Module     (verified)
//!                                    |                      |
//!  pass 4  compile   tracer_ebpf::compile(kernel handlers)  user handlers stay IR
//!                                    v                      v
//!                                Artifact = BPF ELF object + manifest (attach points, sites, user IR)
//!  pass 5  run       run::run: load, begin handlers, attach, event loop, detach, end handlers
//! ```

// In the order in which a newcomer should read them.
pub mod artifact;
pub mod cache;
pub mod cli;
pub mod debuginfo;
pub mod diagnostics;
pub mod download;
pub mod driver;
pub mod dtrace;
pub mod glob;
pub mod lower;
pub mod run;
pub mod sema;
pub mod session;
pub mod source;
pub mod syntax;
pub mod sys;
pub mod world;
