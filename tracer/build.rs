//! Lists the tapset files with what they declare, so that the binary carries them and need not read them to know; and
//! makes a number of the sources that indexes of debug information depend on, so that no other tracer's are read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    index_format(&manifest.join("src"));
    let root = manifest.join("../tapsets");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let mut out = String::from("const EMBEDDED: &[Embedded] = &[\n");
    for file in &files {
        let name = file.strip_prefix(&root).unwrap_or(file);
        let full = file.canonicalize().unwrap_or_else(|_| file.clone());
        // Writing to a string cannot fail.
        let _ = writeln!(out, "    (\"tapset/{}\", include_str!({full:?}), &[", name.display());
        println!("cargo:rerun-if-changed={}", full.display());
        let text = std::fs::read_to_string(&full).unwrap_or_default();
        if full.extension().is_some_and(|e| e == "stp") {
            text.lines().for_each(|line| declared(line, &mut out));
        }
        out.push_str("    ]),\n");
    }
    out.push_str("];\n");
    let target = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("tapsets.rs");
    if let Err(error) = std::fs::write(&target, out) {
        panic!("cannot write {}: {error}", target.display());
    }
}

/// FNV-1a over what makes indexes.
fn index_format(sources: &Path) {
    let mut files = vec![sources.join("cache.rs")];
    let folder = sources.join("debuginfo").join("dwarf");
    files.extend(std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        println!("cargo:rerun-if-changed={}", file.display());
        for byte in std::fs::read(&file).unwrap_or_default() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    println!("cargo:rustc-env=TRACER_INDEX={hash:016x}");
}

/// What a line declares. Our own files have declarations at the beginning of lines, with their names beside them; a
/// unit test compares this with what the language's own lexer finds.
fn declared(line: &str, out: &mut String) {
    let line = line.strip_prefix("private ").unwrap_or(line);
    let mut add = |kind: &str, name: &str| {
        let _ = writeln!(out, "        (Keyword::{kind}, {name:?}),");
    };
    let end_of_name = |c: char| !c.is_alphanumeric() && c != '_';
    if let Some(rest) = line.strip_prefix("function ") {
        add("Function", rest.split(end_of_name).next().unwrap_or(""));
    } else if let Some(rest) = line.strip_prefix("global ") {
        rest.split(',').for_each(|part| add("Global", part.trim().split(end_of_name).next().unwrap_or("")));
    } else if let Some(rest) = line.strip_prefix("probe ")
        && let Some((name, _)) = rest.split_once(" = ").or_else(|| rest.split_once(" += "))
    {
        add("Probe", name);
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    println!("cargo:rerun-if-changed={}", folder.display());
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|n| n != "tests") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|e| e == "stp" || e == "stpm") {
            files.push(path);
        }
    }
}
