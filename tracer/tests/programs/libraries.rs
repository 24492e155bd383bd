//! Debian's libraries: marks of libstdc++ and of Python, functions of libc by its separate debug information.
//!
//! Debian's libc has no marks: it was built without them, and tracer says so.

use std::process::Command;

use tracer::debuginfo::instruction;
use xtask::package;

use super::{Folder, build, is_root, output, tracer};

const COUNT: usize = 30;

fn exceptions(folder: &Folder) -> (std::path::PathBuf, String) {
    package::install(package::PROGRAMS).unwrap_or_else(|why| panic!("{why}"));
    let program = build(folder, "g++", "exceptions.cc", &["-g", "-O1"]);
    let command = format!("{} {COUNT}", program.display());
    (program, command)
}

#[test]
fn marks_of_libstdcxx_count_exceptions() {
    if !is_root() {
        return;
    }
    let folder = Folder::new("exceptions");
    let (program, command) = exceptions(&folder);
    let script = r#"
        global n
        probe process(@1).library("libstdc++").provider("libstdcxx").mark("*") { n[$$name]++ }
        probe end { foreach (name+ in n) printf("%s %d\n", name, n[name]) }"#;
    let again = COUNT.div_ceil(3);
    let expected = format!("catch {}\nrethrow {again}\nthrow {COUNT}\n", COUNT + again);
    assert_eq!(output(&mut tracer(script, &["-c", &command], &[&program])), expected);
}

#[test]
fn functions_of_libc_have_their_parameters() {
    if !is_root() {
        return;
    }
    let folder = Folder::new("malloc");
    let (_, command) = exceptions(&folder);
    let script = r#"
        global sizes, blocks, freed
        probe process("/lib/x86_64-linux-gnu/libc.so.6").function("malloc").return {
          if ($bytes >= 10000 && $bytes < 10100) { sizes <<< $bytes; blocks[$return]++ }
        }
        probe process("/lib/x86_64-linux-gnu/libc.so.6").function("free") { if (blocks[$mem] > 0) { blocks[$mem]--; freed++ } }
        probe end { printf("%d %d %d %d\n", @count(sizes), @min(sizes), @max(sizes), freed) }"#;
    let expected = format!("{COUNT} 10000 {} {COUNT}\n", 10000 + COUNT - 1);
    assert_eq!(output(&mut tracer(script, &["-c", &command], &[])), expected);
}

#[test]
fn libc_of_debian_has_no_marks_and_that_is_said() {
    let script = r#"probe process("/lib/x86_64-linux-gnu/libc.so.6").mark("*") { println($$name) }"#;
    let output = tracer(script, &["-p2"], &[]).output().expect("tracer");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("it has no marks at all"), "{told}");
}

#[test]
fn marks_of_python_count_its_collections() {
    if !is_root() {
        return;
    }
    package::install(package::PROGRAMS).unwrap_or_else(|why| panic!("{why}"));
    let script = r#"
        global started, done
        probe process("/usr/bin/python3").mark("gc__start") { if ($arg1 == 1) started++ }
        probe process("/usr/bin/python3").mark("gc__done") { done++ }
        probe end { printf("%d %d\n", started, done) }"#;
    let collect = |count: usize| {
        let command = format!(
            "/usr/bin/python3 -S -c 'import gc\ngc.disable()\nfor i in range({count}): gc.collect(1)'"
        );
        let text = output(&mut tracer(script, &["-c", &command], &[]));
        let numbers: Vec<usize> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        assert_eq!(numbers.len(), 2, "{text}");
        (numbers[0], numbers[1])
    };
    // Python collects by itself while it starts and ends, each time the same.
    let (none, many) = (collect(0), collect(COUNT));
    assert_eq!((many.0 - none.0, many.1 - none.1), (COUNT, COUNT));
}

/// Not many instructions are wrong where any is: what follows is then taken from the middle of others.
#[test]
fn lengths_of_instructions_are_those_of_objdump() {
    package::install(package::PROGRAMS).unwrap_or_else(|why| panic!("{why}"));
    let mut objdump = Command::new("objdump");
    objdump.args(["-d", "-w", "-j", ".text", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"]);
    let mut count = 0;
    for line in output(&mut objdump).lines() {
        let mut parts = line.split('\t');
        let (Some(_), Some(bytes), Some(text)) = (parts.next(), parts.next(), parts.next()) else { continue };
        if text.contains("(bad)") {
            continue;
        }
        let code: Vec<u8> =
            bytes.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
        assert_eq!(instruction::length(&code), Some(code.len()), "{line}");
        count += 1;
    }
    assert!(count > 100_000, "{count}");
}
