//! The texts that a run begins with.

use std::path::Path;

use super::Target;
use crate::{differ, workspace};

/// Random scripts among the texts.
const SCRIPTS: u64 = 300;

/// Texts for a target.
pub(super) fn texts(target: Target) -> Vec<String> {
    let mut texts = Vec::new();
    let root = workspace::root();
    let (folders, names): (&[&str], &[&str]) = match target {
        Target::Ir => (&["tracer-common/tests/ir", "tracer-ebpf/tests/run"], &["ir"]),
        Target::Lexer | Target::Preprocessor | Target::Parser | Target::Types => {
            (&["tracer/tests", "tapsets"], &["stp", "stpm"])
        }
    };
    for folder in folders {
        collect(&root.join(folder), names, &mut texts);
    }
    if target == Target::Types {
        texts.extend((1..=SCRIPTS).map(|seed| differ::of_seed(seed).kernel()));
        for text in &mut texts {
            *text = known_points(text);
        }
    }
    texts.retain(|text| !text.trim().is_empty() && text.len() < super::LONGEST);
    texts
}

/// All files with these endings, each case of them by itself.
fn collect(folder: &Path, names: &[&str], texts: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, names, texts);
        } else if path.extension().is_some_and(|name| names.iter().any(|known| name == *known)) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for case in text.split("//--- ").flat_map(|case| case.split("\n;--- ")) {
                texts.push(case.split_once('\n').map_or(case, |(_, case)| case).to_owned());
            }
        }
    }
}

/// Probe points that mean something to the target: those of programs and of the kernel become `hit`.
fn known_points(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        match (line.split_once("probe "), line.find('{')) {
            (Some((before, after)), Some(_)) if after.starts_with(['h', 'p', 'k', 'v', 's']) => {
                let body = after.find('{').map_or("", |at| &after[at..]);
                out.push_str(&format!("{before}probe hit {body}\n"));
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}
