//! The rules of the house that a machine can check; also run as a test.
//!
//! `DOORS` is the import table of ARCHITECTURE.md: a new edge is a design change, and is made in both places.
//!
//! **Not here:** what rustc, rustfmt and clippy check already.

use std::path::Path;
use std::process::Command;

use crate::{command, workspace};

/// A word that only some places may use.
struct Door {
    /// What code must not contain elsewhere.
    word: &'static str,
    /// Path prefixes where the rule holds.
    inside: &'static [&'static str],
    /// Path prefixes that may.
    allowed: &'static [&'static str],
}

const ALL: &[&str] = &["tracer/src/", "tracer-ebpf/src/", "tracer-common/src/"];
const TRACER: &[&str] = &["tracer/src/"];
const NOBODY: &[&str] = &[];
const RUN: &[&str] = &["tracer/src/run/", "tracer/src/artifact"];

const DOORS: &[Door] = &[
    // One owner for each outside crate.
    Door { word: "aya::", inside: ALL, allowed: RUN },
    Door { word: "aya_log::", inside: ALL, allowed: RUN },
    Door { word: "aya_obj::", inside: ALL, allowed: RUN },
    Door { word: "clap::", inside: ALL, allowed: &["tracer/src/cli/", "tracer/src/main.rs"] },
    Door { word: "cpp_demangle::", inside: ALL, allowed: &["tracer/src/debuginfo/"] },
    Door { word: "crc32fast::", inside: ALL, allowed: &["tracer/src/debuginfo/", "tracer/src/cache.rs"] },
    Door { word: "rustc_demangle::", inside: ALL, allowed: &["tracer/src/debuginfo/"] },
    Door { word: "gimli::", inside: ALL, allowed: &["tracer/src/debuginfo/"] },
    Door { word: "lzma_rust2::", inside: ALL, allowed: &["tracer/src/debuginfo/"] },
    Door { word: "rustls::", inside: ALL, allowed: &["tracer/src/download.rs"] },
    Door { word: "ureq::", inside: ALL, allowed: &["tracer/src/download.rs"] },
    Door { word: "libc::", inside: ALL, allowed: &["tracer/src/sys/"] },
    Door {
        word: "use object::",
        inside: ALL,
        allowed: &[
            "tracer/src/debuginfo/",
            "tracer/src/artifact",
            "tracer/src/dtrace/",
            "tracer-ebpf/src/object",
        ],
    },
    Door { word: "tokio::", inside: ALL, allowed: &["tracer/src/run/"] },
    // Input, output and unsafe code.
    Door {
        word: "std::fs",
        inside: ALL,
        allowed: &[
            "tracer/src/cache.rs",
            "tracer/src/download.rs",
            "tracer/src/dtrace/",
            "tracer/src/world",
            "tracer/src/cli/",
            "tracer/src/run/",
            "tracer/src/sys/",
        ],
    },
    Door {
        word: "println!",
        inside: ALL,
        allowed: &["tracer/src/run/output/", "tracer/src/cli/", "tracer/src/main.rs"],
    },
    Door {
        word: "print!",
        inside: ALL,
        allowed: &["tracer/src/run/output/", "tracer/src/cli/", "tracer/src/main.rs"],
    },
    Door { word: "unsafe", inside: ALL, allowed: &["tracer/src/sys/"] },
    // The halves of tracer meet only in the driver, and imports go down only.
    Door { word: "crate::driver", inside: TRACER, allowed: &["tracer/src/main.rs", "tracer/src/cli/"] },
    Door {
        word: "crate::cli",
        inside: TRACER,
        allowed: &["tracer/src/main.rs", "tracer/src/cli/", "tracer/src/driver"],
    },
    Door {
        word: "crate::lower",
        inside: TRACER,
        allowed: &["tracer/src/lower/", "tracer/src/driver", "tracer/src/cli/"],
    },
    Door {
        word: "crate::sema",
        inside: TRACER,
        allowed: &["tracer/src/sema/", "tracer/src/lower/", "tracer/src/driver", "tracer/src/cli/"],
    },
    Door {
        word: "crate::run",
        inside: TRACER,
        allowed: &["tracer/src/run/", "tracer/src/driver", "tracer/src/cli/"],
    },
    Door {
        word: "crate::artifact",
        inside: TRACER,
        allowed: &["tracer/src/run/", "tracer/src/artifact", "tracer/src/driver", "tracer/src/cli/"],
    },
    Door {
        word: "crate::syntax",
        inside: &["tracer/src/debuginfo/", "tracer/src/run/", "tracer/src/sys/", "tracer/src/artifact"],
        allowed: NOBODY,
    },
    Door {
        word: "crate::debuginfo",
        inside: &["tracer/src/syntax/", "tracer/src/sys/", "tracer/src/artifact"],
        allowed: NOBODY,
    },
    Door {
        word: "crate::sys",
        inside: &["tracer/src/syntax/", "tracer/src/debuginfo/", "tracer/src/sema/", "tracer/src/lower/"],
        allowed: NOBODY,
    },
    Door {
        word: "xtask::",
        inside: &["tracer/src/", "tracer-ebpf/src/", "tracer-common/src/"],
        allowed: NOBODY,
    },
];

/// Lines from which a file is worth an argument, and above which it is split.
const LONG: usize = 600;
const TOO_LONG: usize = 1000;

/// Licences that dependencies may have; an `OR` needs one of them.
const LICENCES: &[&str] =
    &["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unlicense", "0BSD", "Unicode-3.0"];

/// Checks the checkout; warnings are printed, errors are returned together.
pub fn run() -> Result<(), String> {
    let mut wrong = Vec::new();
    for path in files()? {
        let Ok(bytes) = std::fs::read(workspace::root().join(&path)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        wrong.extend(check(&path, &text));
        if path.ends_with(".rs") && text.lines().count() > LONG {
            println!("tidy: {path} has {} lines: does it hold one subject?", text.lines().count());
        }
    }
    wrong.extend(inner_crates());
    wrong.extend(licences()?);
    if wrong.is_empty() { Ok(()) } else { Err(format!("tidy:\n  {}", wrong.join("\n  "))) }
}

/// The files of the checkout, sorted. No version control is asked: a source archive is as tidy.
fn files() -> Result<Vec<String>, String> {
    let root = workspace::root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_symlink() || name == ".git" || name == "target" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(inside) = path.strip_prefix(&root) {
                files.push(inside.to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Everything that is wrong with one file.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut add = |line: usize, what: &str| wrong.push(format!("{path}:{}: {what}", line + 1));
    for (at, line) in text.lines().enumerate() {
        // Cases of the language's own blanks and goldens are as they must be.
        if line.ends_with([' ', '\t']) && !path.contains("/suite/") {
            add(at, "blank at the end of the line");
        }
        // Written in two halves: this file must pass as well.
        if line.contains(concat!("TO", "DO")) && !line.contains(concat!("TO", "DO(")) {
            add(at, "something left to do has no owner in parentheses");
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        add(text.lines().count(), "no newline at the end of the file");
    }
    if !path.ends_with(".rs") {
        return wrong;
    }
    if !text.starts_with("//!") {
        add(0, "a file begins with //! and one sentence on what lives here");
    }
    if text.lines().count() > TOO_LONG {
        add(TOO_LONG, "more than 1000 lines: split it by subject");
    }
    let tests = path.contains("/tests/") || path.ends_with("tests.rs");
    let mut codes: Option<Vec<String>> = None;
    let mut below = false;
    for (at, line) in text.lines().enumerate() {
        // Unit tests come last in a file and may open more doors than the code.
        below |= line.starts_with("#[cfg(test)]");
        let code = code_of(line);
        if code.contains(concat!("#[ig", "nore")) {
            add(at, "tests are not ignored: assert what happens today");
        }
        if tests || below {
            continue;
        }
        for door in DOORS.iter().filter(|door| starts(door.inside, path) && !starts(door.allowed, path)) {
            if contains_word(&without_text(code), door.word) {
                add(at, &format!("{} belongs to {}", door.word, owners(door)));
            }
        }
        if path == "tracer/src/diagnostics/codes.rs" {
            if line.starts_with("codes! {") {
                codes = Some(Vec::new());
            }
            if let (Some(codes), Some((_, word))) = (&mut codes, code.split_once(" = \"")) {
                codes.push(word.trim_end_matches("\";").to_owned());
            }
        }
    }
    if let Some(codes) = codes
        && let Some(pair) = codes.windows(2).find(|pair| pair[0] >= pair[1])
    {
        add(0, &format!("codes are sorted: {} comes after {}", pair[0], pair[1]));
    }
    wrong
}

fn owners(door: &Door) -> String {
    if door.allowed.is_empty() { "other rooms".into() } else { door.allowed.join(", ") }
}

fn starts(prefixes: &[&str], path: &str) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

/// The line without its comment.
fn code_of(line: &str) -> &str {
    line.find("//").map_or(line, |at| &line[..at]).trim()
}

/// The code without what stands in quotes.
fn without_text(code: &str) -> String {
    code.split('"').step_by(2).collect()
}

/// Whether `word` is in `code` and not only the end or beginning of a longer one.
fn contains_word(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let opens = word.ends_with(|c: char| !part(c)) || !after.is_some_and(part);
        // `tracer_ebpf::object::` is not the crate `object`.
        opens && !before.is_some_and(|c| part(c) || c == ':')
    })
}

/// The inner crates promise no_std and no unsafe code; the compiler keeps these promises once they are written.
fn inner_crates() -> Vec<String> {
    let mut wrong = Vec::new();
    for name in ["tracer-common", "tracer-ebpf"] {
        let path = format!("{name}/src/lib.rs");
        let text = std::fs::read_to_string(workspace::root().join(&path)).unwrap_or_default();
        for promise in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            if !text.contains(promise) {
                wrong.push(format!("{path}: {promise} is missing"));
            }
        }
        if text.contains("extern crate std") && !text.contains("#[cfg(test)]\nextern crate std") {
            wrong.push(format!("{path}: std is linked outside tests"));
        }
    }
    wrong
}

/// Our licence texts are there, and every dependency's licence is one of `LICENCES`.
fn licences() -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        if !Path::new(&workspace::root().join(file)).exists() {
            wrong.push(format!("{file} is missing"));
        }
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.current_dir(workspace::root());
    tree.args(["tree", "--offline", "--workspace", "--prefix", "none", "--format", "{p}|{l}"]);
    for line in command::output(&mut tree)?.lines() {
        let Some((package, licence)) = line.split_once('|') else { continue };
        let licence = licence.trim_end_matches("(*)").trim();
        // Every AND needs one of its alternatives to be on the list.
        let fine = licence
            .split(" AND ")
            .all(|part| part.split([' ', '/', '(', ')']).any(|word| LICENCES.contains(&word)));
        if !fine {
            wrong.push(format!("licence of {package}: {licence:?}"));
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_tidy() {
        if let Err(why) = run() {
            panic!("{why}");
        }
    }

    #[track_caller]
    fn finds(path: &str, text: &str, what: &str) {
        let wrong = check(path, text);
        assert!(wrong.iter().any(|line| line.contains(what)), "{wrong:?}");
    }

    #[test]
    fn doors() {
        finds(
            "tracer/src/sema/x.rs",
            "//! x\nuse gimli::Reader;\n",
            "x.rs:2: gimli:: belongs to tracer/src/debuginfo/",
        );
        finds("tracer/src/run/x.rs", "//! x\nuse crate::sema::Program;\n", "crate::sema belongs");
        finds("tracer/src/lower/x.rs", "//! x\nfn f() { unsafe { g() } }\n", "unsafe belongs");
        let fine = "//! x\nuse tracer_ebpf::object::write; // libc::free\n#[cfg(test)]\nuse std::fs;\n";
        assert_eq!(check("tracer/src/lower/x.rs", fine), Vec::<String>::new());
        assert_eq!(check("tracer/src/debuginfo/x.rs", "//! x\nuse gimli::Reader;\n"), Vec::<String>::new());
        assert_eq!(check("tracer/src/run/x.rs", "//! x\nlet unsafe_code = 1;\n"), Vec::<String>::new());
    }

    #[test]
    fn files_have_manners() {
        finds("a.md", "x \n", "blank at the end");
        finds("a.md", "x", "no newline");
        finds("a.md", concat!("TO", "DO: x\n"), "no owner");
        finds("tracer/src/x.rs", "fn f() {}\n", "begins with //!");
        finds("tracer/src/x.rs", &format!("//! x\n{}", "\n".repeat(1001)), "split it");
        finds("tracer/tests/x.rs", concat!("//! x\n#[ig", "nore]\n"), "not ignored");
        let codes = "//! x\ncodes! {\n    B = \"b\";\n    A = \"a\";\n}\n";
        finds("tracer/src/diagnostics/codes.rs", codes, "b comes after a");
    }
}
