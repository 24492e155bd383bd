//! The calls below one function of a real library, in several threads: indented by `thread_indent` as the program itself,
//! built with `-finstrument-functions`, reports them.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;

use xtask::package;

use super::{Folder, build, is_root, output, tracer};

/// Decodes a picture.
const ROOT: &str = "stbi__do_png";

const SCRIPT: &str = r#"
global inside
probe process(@1).function("stbi*").call {
  if (ppfunc() == @2) inside[tid()] = 1
  if (inside[tid()]) printf("%s> %s\n", thread_indent(1), ppfunc())
}
probe process(@1).function("stbi*").return {
  if (inside[tid()]) printf("%s< %s\n", thread_indent(-1), ppfunc())
  if (ppfunc() == @2) delete inside[tid()]
}
"#;

/// Depth, enter or leave, and the function's name.
type Step = (usize, char, String);

/// What the program reports: by thread, the steps inside of the root.
fn reported(text: &str, names: &HashMap<u64, String>) -> BTreeMap<u64, Vec<Step>> {
    let mut depths: BTreeMap<u64, Option<usize>> = BTreeMap::new();
    let mut steps: BTreeMap<u64, Vec<Step>> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [thread, what, address] = words[..] else { panic!("a line of the report: {line}") };
        let thread: u64 = thread.parse().expect("a thread");
        let name = &names[&u64::from_str_radix(address, 16).expect("an address")];
        let depth = depths.entry(thread).or_default();
        if what == ">" {
            if name == ROOT {
                *depth = Some(0);
            }
            if let Some(depth) = depth {
                steps.entry(thread).or_default().push((*depth, '>', name.clone()));
                *depth += 1;
            }
        } else if let Some(inside) = depth {
            *inside -= 1;
            steps.entry(thread).or_default().push((*inside, '<', name.clone()));
            if *inside == 0 {
                *depth = None;
            }
        }
    }
    steps
}

/// What tracer printed: `   123 name(TID):  > function`; times never go back within a thread.
fn traced(text: &str) -> BTreeMap<u64, Vec<Step>> {
    let mut steps: BTreeMap<u64, Vec<Step>> = BTreeMap::new();
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for line in text.lines() {
        let (head, rest) = line.split_once("):").unwrap_or_else(|| panic!("a line: {line}"));
        let (time, thread) = head.split_once(' ').map_or_else(
            || panic!("a line: {line}"),
            |_| {
                let (time, name) = head.trim_start().split_once(' ').expect("a time");
                (time, name.rsplit_once('(').expect("a thread").1)
            },
        );
        let thread: u64 = thread.parse().expect("a thread");
        let time: u64 = time.parse().expect("a time");
        let last = times.insert(thread, time).unwrap_or(0);
        assert!(last <= time, "{line} comes after {last}");
        let step = rest.trim_start_matches(' ');
        let depth = rest.len() - step.len();
        let (what, name) = step.split_once(' ').expect("a step");
        steps.entry(thread).or_default().push((depth, what.chars().next().expect("a step"), name.to_owned()));
    }
    steps
}

#[test]
fn calls_below_a_function_are_those_of_instrumented_code() {
    if !is_root() {
        return;
    }
    package::install(package::PROGRAMS).unwrap_or_else(|why| panic!("{why}"));
    let folder = Folder::new("callgraph");
    let flags = ["-g", "-O0", "-w", "-finstrument-functions", "-pthread", "-lm"];
    let program = build(&folder, "gcc", "callgraph.c", &flags);
    let symbols = output(Command::new("nm").arg(&program));
    let names: HashMap<u64, String> = symbols
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            (words.next()?.eq_ignore_ascii_case("t")).then(|| Some((address, words.next()?.to_owned())))?
        })
        .collect();
    let report = folder.join("report");
    let command = format!("{} {}", program.display(), report.display());
    let root = std::path::Path::new(ROOT);
    let text = output(&mut tracer(SCRIPT, &["-c", &command], &[&program, root]));
    let told = std::fs::read_to_string(&report).expect("a report");
    let (reported, traced) = (reported(&told, &names), traced(&text));
    assert_eq!(reported.len(), 3, "each thread decodes a picture");
    assert!(reported.values().all(|steps| steps.len() > 500 && steps.iter().any(|step| step.0 > 4)));
    for (thread, steps) in &reported {
        let other = traced.get(thread).map_or(&[][..], Vec::as_slice);
        let at = steps.iter().zip(other).position(|(a, b)| a != b).unwrap_or(steps.len().min(other.len()));
        assert!(
            steps == other,
            "thread {thread} differs at step {at} of {}: {:?}, traced {:?}",
            steps.len(),
            steps.get(at),
            other.get(at)
        );
    }
    assert_eq!(reported.len(), traced.len());
}
