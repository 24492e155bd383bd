//! The static release build of tracer, which runs in guests and is what the figures are about.
//!
//! **Not here:** packing it (`image`).

use std::path::PathBuf;
use std::process::Command;

use crate::{command, workspace};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds tracer, statically linked, and returns its path.
pub fn tracer() -> Result<PathBuf, String> {
    package("tracer")
}

/// Builds a package of this checkout, statically linked, and returns the path of its program.
pub fn package(name: &str) -> Result<PathBuf, String> {
    println!("building the static release binary of {name}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(workspace::root()).env("RUSTFLAGS", "-C target-feature=+crt-static");
    // With --target, the flags do not reach build scripts and macros, which must stay dynamic.
    build.args(["build", "--quiet", "--release", "--package", name, "--target", TARGET]);
    command::run(&mut build)?;
    Ok(workspace::target().join(TARGET).join("release").join(name))
}
