//! Values that probes read, against those that gdb shows at the same instructions, for a few rows of the compiler matrix.
//!
//! Needs root and gdb; without them it says so and passes. The whole matrix: `cargo xtask gdb`.
#![expect(clippy::print_stdout, reason = "the report of a test")]

use std::process::Command;

use xtask::gdb::{compare, some};

#[test]
fn values_are_those_that_gdb_shows() {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let has_gdb = Command::new("gdb").arg("--version").output().is_ok_and(|gdb| gdb.status.success());
    if !(is_root && has_gdb) {
        println!("skipped: needs root and gdb");
        return;
    }
    let (mut equal, mut wrong) = (0, Vec::new());
    for variant in some() {
        let outcome = compare(env!("CARGO_BIN_EXE_tracer").as_ref(), &variant)
            .unwrap_or_else(|why| panic!("{}: {why}", variant.name()));
        println!("{}: {} equal, {} missing", variant.name(), outcome.equal, outcome.missing.len());
        equal += outcome.equal;
        wrong.extend(outcome.wrong);
    }
    assert!(wrong.is_empty(), "{} wrong values\n{}", wrong.len(), wrong.join("\n"));
    assert!(equal > 2000, "only {equal} values were compared");
}
