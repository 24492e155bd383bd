//! Runtime cases: a script, what to trace with it, and what must come out.
//!
//! The rooms, in the order of a case's life:
//! `case` reads the file, `fixture` builds the programs that cases trace, `script` makes a shell script of the case that runs the same
//! on this machine and in a guest, `outcome` reads back what that script printed and compares, with `pattern` for lines that vary.
//! `docs/testing.md` is the reference of the format.
//!
//! **Not here:** where cases run (`tracer/tests/runtime.rs` on this kernel, `vm` in guests).

pub mod case;
pub mod fixture;
pub mod outcome;
pub mod pattern;
pub mod script;

/// Whether this process may trace: probes need root.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}
