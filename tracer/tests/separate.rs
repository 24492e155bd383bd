//! Debug information elsewhere: compressed, in a file of its own, in one that is not the right one.
//!
//! The listing of variables must be that of the plain file; without debug information, every place tried is named.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::workspace;

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A folder of its own with the program `places`.
fn program(name: &str, flags: &[&str]) -> PathBuf {
    let dir = workspace::target().join("separate").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder");
    let source = workspace::root().join("tracer/tests/fixtures/src/places.c");
    let path = dir.join("places");
    run(Command::new("gcc").args(["-g", "-O1"]).args(flags).arg("-o").arg(&path).arg(source));
    path
}

/// The functions and their variables, without the program's path; and what was said on standard error.
fn listing(program: &Path) -> (String, String) {
    let shown = program.display().to_string();
    let point = format!("process(\"{shown}\").function(\"*@places.c\")");
    let output = Command::new(env!("CARGO_BIN_EXE_tracer")).args(["-L", &point]).output().expect("tracer");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&shown, "PROGRAM");
    (text(&output.stdout), text(&output.stderr))
}

fn plain(name: &str) -> String {
    let (listing, _) = listing(&program(name, &[]));
    assert!(listing.contains("$name:const char*"), "{listing}");
    listing
}

/// Moves the debug information into another file.
fn separate(program: &Path, debug: &Path) {
    run(Command::new("objcopy").arg("--only-keep-debug").arg(program).arg(debug));
    run(Command::new("strip").arg("-g").arg(program));
    run(Command::new("objcopy").arg(format!("--add-gnu-debuglink={}", debug.display())).arg(program));
}

#[test]
fn compressed() {
    let wanted = plain("plain_for_compressed");
    for kind in ["zlib", "zlib-gnu", "zstd"] {
        let program = program(kind, &[]);
        let mut objcopy = Command::new("objcopy");
        objcopy.arg(format!("--compress-debug-sections={kind}")).arg(&program);
        // Older binutils know no zstd.
        if objcopy.output().is_ok_and(|output| output.status.success()) {
            assert_eq!(listing(&program).0, wanted, "{kind}");
        }
    }
}

#[test]
fn linked() {
    let wanted = plain("plain_for_linked");
    for (name, flags) in [("with_id", &[][..]), ("without_id", &["-Wl,--build-id=none"][..])] {
        let program = program(name, flags);
        let beside = program.with_file_name("places.debug");
        separate(&program, &beside);
        assert_eq!(listing(&program).0, wanted, "{name}");
        let folder = program.with_file_name(".debug");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::rename(&beside, folder.join("places.debug")).expect("moved");
        assert_eq!(listing(&program).0, wanted, "{name}, in .debug");
    }
}

#[test]
fn of_another_program() {
    let program_without = program("wrong_checksum", &["-Wl,--build-id=none"]);
    let debug = program_without.with_file_name("places.debug");
    separate(&program_without, &debug);
    let mut bytes = std::fs::read(&debug).expect("the debug file");
    bytes.push(0);
    std::fs::write(&debug, bytes).expect("damaged");
    let (_, said) = listing(&program_without);
    assert!(said.contains("its checksum is not that of .gnu_debuglink"), "{said}");
    assert!(said.contains("PROGRAM (it has none)"), "{said}");

    let with_id = program("wrong_id", &[]);
    let debug = with_id.with_file_name("places.debug");
    separate(&with_id, &debug);
    let other = program("wrong_id_other", &["-DOTHER", "-O2"]);
    run(Command::new("objcopy").arg("--only-keep-debug").arg(&other).arg(&debug));
    let (_, said) = listing(&with_id);
    assert!(said.contains("its build-id is"), "{said}");
    assert!(said.contains("/usr/lib/debug/.build-id/"), "{said}");
    assert!(said.contains("(not there)"), "{said}");
}

#[test]
fn deduplicated_by_dwz() {
    if !xtask::command::exists("dwz") {
        return;
    }
    let wanted = plain("plain_for_dwz");
    let program = program("dwz", &[]);
    run(Command::new("dwz").arg(&program));
    assert_eq!(listing(&program).0, wanted);
}
