//! `cargo xtask outside`: SystemTap's own scripts that must and must not pass its passes 1 to 3, from a folder that the
//! user has, against ours. `docs/conformance.md` has the counts, and a reason for each kind of disagreement.
//!
//! A script says itself how it is run: `#! stap -p2`, or it is a shell script that calls `stap`, which then is tracer.
//! What it says of its mistakes is not compared.
//!
//! **Not here:** our own cases (`tracer/tests/suite`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::vm;

/// Folders of the test suite, and whether their scripts must pass.
const FOLDERS: &[(&str, bool)] = &[
    ("buildko", false),
    ("buildok", true),
    ("parseko", false),
    ("parseok", true),
    ("semko", false),
    ("semok", true),
    ("transko", false),
    ("transok", true),
];

/// Seconds that one script may take.
const LIMIT: &str = "60";

/// What to run.
#[derive(Debug)]
pub struct Options {
    /// The folder `testsuite` of SystemTap's sources.
    pub scripts: PathBuf,
    /// Only folders and scripts whose name contains this.
    pub filter: String,
    /// The program; none: it is built.
    pub tracer: Option<PathBuf>,
}

/// Runs them all, prints what disagrees with the first line of the reason, then the counts.
pub fn run(options: &Options) -> Result<(), String> {
    let tracer = options.tracer.clone().map_or_else(vm::build::tracer, Ok)?;
    let tracer = tracer.canonicalize().map_err(|why| format!("{}: {why}", tracer.display()))?;
    let scripts = &options.scripts;
    let scripts = scripts.canonicalize().map_err(|why| format!("{}: {why}", scripts.display()))?;
    let bin = std::env::temp_dir().join(format!("tracer-outside-{}", std::process::id()));
    fs::create_dir(&bin).map_err(|why| format!("{}: {why}", bin.display()))?;
    let linked = std::os::unix::fs::symlink(&tracer, bin.join("stap"));
    let counts = linked.map_err(|why| why.to_string()).and_then(|()| all(&scripts, &bin, &options.filter));
    let _ = fs::remove_dir_all(&bin);
    for (folder, (agree, of)) in counts? {
        println!("{folder}: {agree} of {of} agree");
    }
    Ok(())
}

type Counts = BTreeMap<&'static str, (usize, usize)>;

fn all(scripts: &Path, bin: &Path, filter: &str) -> Result<Counts, String> {
    let mut counts = Counts::new();
    for (folder, must_pass) in FOLDERS {
        let Ok(entries) = fs::read_dir(scripts.join(folder)) else { continue };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "stp"));
        files.sort();
        for file in files {
            let name = format!("{folder}/{}", file.file_stem().unwrap_or_default().display());
            if !name.contains(filter) {
                continue;
            }
            let (passed, said) = one(scripts, bin, &file)?;
            let count = counts.entry(folder).or_default();
            count.1 += 1;
            match (passed == *must_pass, passed) {
                (true, _) => count.0 += 1,
                (false, true) => println!("{name}: taken"),
                (false, false) => println!("{name}: refused: {said}"),
            }
        }
    }
    match counts.is_empty() {
        true => Err(format!("{} has none of the folders parseok, parseko, semok …", scripts.display())),
        false => Ok(counts),
    }
}

/// Whether a script passes, and the first mistake that is told.
fn one(scripts: &Path, bin: &Path, file: &Path) -> Result<(bool, String), String> {
    let text = fs::read(file).map_err(|why| format!("{}: {why}", file.display()))?;
    let text = String::from_utf8_lossy(&text);
    let first = text.lines().next().unwrap_or_default();
    let mut command = Command::new("timeout");
    command.arg(LIMIT);
    match first.strip_prefix("#!").and_then(|line| line.split_once("stap")) {
        Some((_, words)) => command.arg("stap").args(words.split_whitespace()).arg(file),
        None => command.arg("bash").arg(file),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).map_err(|why| why.to_string())?;
    // The scripts name the suite as `$SRCDIR/testsuite`.
    let output = command
        .env("PATH", path)
        .env("SRCDIR", scripts.parent().unwrap_or(scripts))
        .current_dir(scripts)
        .stdin(Stdio::null())
        .output()
        .map_err(|why| format!("timeout: {why}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mistake = said.lines().find(|line| line.contains("error")).unwrap_or_default().to_owned();
    Ok((output.status.success(), mistake))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_say_how_they_are_run() {
        let scripts = std::env::temp_dir().join(format!("tracer-outside-test-{}", std::process::id()));
        let (bin, folder) = (scripts.join("bin"), scripts.join("parseok"));
        fs::create_dir_all(&bin).and_then(|()| fs::create_dir_all(&folder)).expect("folders of our own");
        std::os::unix::fs::symlink("/bin/false", bin.join("stap")).expect("a link");
        fs::write(folder.join("a.stp"), "#! stap -p1\nprobe begin {}\n").expect("a script");
        fs::write(folder.join("b.stp"), "#!/bin/sh\n! stap -e ''\n").expect("a script");
        let counts = all(&scripts, &bin, "");
        fs::remove_dir_all(&scripts).expect("our own folder");
        assert_eq!(counts.expect("two scripts"), Counts::from([("parseok", (1, 2))]));
    }
}
