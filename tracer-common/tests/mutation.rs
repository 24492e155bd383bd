//! Damaged texts: the parser, the verifier and the optimizer answer every one, without a panic and within bounds.
//!
//! Seeded, so that a failure repeats: the message names the round.

use std::fs;
use std::path::Path;
use tracer_common::ir::FuncId;
use tracer_common::ir::opt::optimize;
use tracer_common::ir::parse::module_with_lines;
use tracer_common::ir::verify::{explain, verify};
use tracer_common::manifest;

/// A small generator (xorshift); the test needs no better one.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

fn corpus() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ir");
    let mut texts = Vec::new();
    for sub in ["ok", "ko"] {
        let mut files: Vec<_> =
            fs::read_dir(folder.join(sub)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            texts.extend(text.split(";--- ").map(|case| format!("; {case}")));
        }
    }
    texts
}

/// Replaces, removes or doubles pieces of a text. Whole tokens are the most telling pieces.
fn damage(random: &mut Random, text: &str, words: &[&str]) -> String {
    let mut text = text.to_owned();
    for _ in 0..=random.below(3) {
        if random.below(4) == 0 {
            let mut bytes = text.into_bytes();
            let at = random.below(bytes.len());
            match random.below(3) {
                _ if bytes.is_empty() => bytes.push(b'v'),
                0 => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.pick(b"0v,@;\"\\[]<>-\n9")),
            }
            text = String::from_utf8_lossy(&bytes).into_owned();
            continue;
        }
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.is_empty() {
            continue;
        }
        let at = random.below(lines.len());
        match random.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
            _ => {
                let mut tokens: Vec<&str> = lines[at].split(' ').collect();
                let token = random.below(tokens.len());
                tokens[token] = random.pick(words);
                lines[at] = tokens.join(" ");
            }
        }
        text = lines.join("\n");
    }
    text
}

#[test]
fn damaged_modules_are_answered() {
    let corpus = corpus();
    let mut words: Vec<&str> = corpus.iter().flat_map(|text| text.split_whitespace()).collect();
    words.extend([
        "-9223372036854775808",
        "4294967295",
        "v65535",
        "b4294967295",
        "g99",
        "s0,",
        "str<4096>",
        "0x",
    ]);
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut refused, mut violating, mut fine) = (0, 0, 0);
    for round in 0..20_000 {
        let text = damage(&mut random, &corpus[round % corpus.len()], &words);
        let (module, lines) = match module_with_lines(&text) {
            Ok(read) => read,
            Err(error) => {
                let last = text.lines().count() as u32 + 1;
                assert!(error.line >= 1 && error.line <= last, "round {round}: {error}\n{text}");
                refused += 1;
                continue;
            }
        };
        let printed = module.to_string();
        let again = module_with_lines(&printed).unwrap_or_else(|e| panic!("round {round}: {e}\n{printed}")).0;
        assert_eq!(printed, again.to_string(), "round {round}");
        match verify(&module) {
            Ok(()) => {
                assert_eq!(module, again, "round {round}");
                let roots: Vec<FuncId> = (0..module.functions.len() as u32).map(FuncId).collect();
                let mut after = again;
                if optimize(&mut after, &roots).is_ok()
                    && let Err(violations) = verify(&after)
                {
                    panic!("round {round}: {}\n{module}\nbecame\n{after}", explain(&after, &violations));
                }
                fine += 1;
            }
            Err(violations) => {
                // Bounded by what the text says: a few for each operand.
                assert!(violations.len() <= text.len(), "round {round}");
                assert!(explain(&module, &violations).lines().count() >= violations.len(), "round {round}");
                let placed = violations.iter().filter(|v| lines.contains_key(&v.at)).count();
                assert!(placed + 12 >= violations.len(), "round {round}: violations without a line");
                violating += 1;
            }
        }
    }
    // The damage reaches all three answers.
    assert!(refused > 500 && violating > 500 && fine > 200, "{refused} {violating} {fine}");
}

#[test]
fn damaged_manifests_are_answered() {
    let text = "site 0 user \"/bin/x\" 4660 semaphore 8192, point \"a\\x00\\\"b\", name m, vars (a, b) ()\n\
                site 1 kernel vfs_read 5, alias \"kernel.function\", function vfs_read, provider \"a b\"\n\
                site 2 tracepoint sched_switch\nsite 3 perf 1 0 hz 997\nsite 4 session\n\
                program p0 f3 uprobe, sites 0, 1, 2, patches 17, 40\nprogram p1 f4 kprobe\n";
    let words: Vec<&str> = text.split_whitespace().chain(["18446744073709551616", "site 9", "(("]).collect();
    let mut random = Random(0xfeed_beef_1234_5679);
    let (mut refused, mut fine) = (0, 0);
    for round in 0..4000 {
        let text = damage(&mut random, text, &words);
        match manifest::parse(&text) {
            Ok(manifest) => {
                assert_eq!(manifest::parse(&manifest.to_string()), Ok(manifest), "round {round}");
                fine += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 500 && fine > 200, "{refused} {fine}");
}
