//! The texts that a run begins with.

use std::path::Path;

use super::{Target, files};
use crate::random::Random;
use crate::{differ, workspace};

/// Records of two kinds, an error with a message, and the end.
const RECORDS: [&[u8]; 4] = [
    b"\0\0\x01\0\x07\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x02\0\0\0\x08\0\0\0ab\0\0\0\0\0\0",
    b"\x01\0\0\0\0\0\0\0\x01\0\0\0\x08\0\0\0a\0\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0",
    b"\xff\xff\0\0\0\0\0\0\x01\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x08\0\0\0no\0\0\0\0\0\0",
    b"\xfe\xff\0\0\0\0\0\0",
];

/// Operands as compilers write them.
const ARGUMENTS: [&str; 6] = [
    "-4@%edi\n8@%rsi\n1@%al\n2@%ax\n-1@%ah",
    "8@-24(%rbp)\n8@(%rsp)\n-4@16(%rax,%rbx,4)\n4@(,%rcx,8)\n8@%fs:16",
    "4@$5\n-8@$-1\n8@$0x7f\n4@$1+2-3",
    "8@counter(%rip)\n4@abc+8(%rip)\n8@abc-4\n8@$abc",
    "8f@%xmm0\n16@%xmm1\n4@%st(0)",
    "%rdi\n@\n8@\n-@%rax",
];

/// Lines of `/proc/kallsyms`.
const SYMBOLS: &str = "ffffffff81000000 T _stext\nffffffff81000010 t vfs_read\nffffffff81000010 T vfs_alias\n\
ffffffff81000200 D jiffies\nffffffffc0000000 t init_module\t[loop]\nffffffffc0000100 T x [a]\n0000000000000000 A zero\n";

/// Random scripts among the texts.
const SCRIPTS: u64 = 300;

/// Texts for a target.
pub(super) fn given(target: Target) -> Result<Vec<Vec<u8>>, String> {
    Ok(match target {
        Target::Program => files::programs()?,
        Target::Btf => files::types(&mut Random(7)),
        Target::Record => RECORDS.iter().map(|record| record.to_vec()).collect(),
        Target::MarkArguments => ARGUMENTS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        Target::Names => files::symbol_names()?,
        Target::Kallsyms => vec![SYMBOLS.as_bytes().to_vec()],
        Target::Lexer | Target::Preprocessor | Target::Parser | Target::Types | Target::Ir => {
            texts(target).into_iter().map(String::into_bytes).collect()
        }
    })
}

fn texts(target: Target) -> Vec<String> {
    let mut texts = Vec::new();
    let root = workspace::root();
    let (folders, names): (&[&str], &[&str]) = match target {
        Target::Ir => (&["tracer-common/tests/ir", "tracer-ebpf/tests/run"], &["ir"]),
        Target::Lexer
        | Target::Preprocessor
        | Target::Parser
        | Target::Types
        | Target::Program
        | Target::Btf
        | Target::MarkArguments
        | Target::Names
        | Target::Kallsyms
        | Target::Record => (&["tracer/tests", "tapsets"], &["stp", "stpm"]),
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
