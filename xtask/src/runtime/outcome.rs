//! What came out of a case, and whether it is what the case expects.
//!
//! **Not here:** how the case ran (`script`).

use super::case::{Case, Expect};
use super::pattern::Pattern;

/// A case's transcript, read back.
#[derive(Default, Debug)]
pub struct Outcome {
    stdout: Vec<String>,
    stderr: Vec<String>,
    report: Vec<String>,
    check: Vec<String>,
    exit: Option<i32>,
    check_status: i32,
    late: bool,
    skipped: Option<String>,
}

/// Whether a case did what it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It did.
    Pass,
    /// It cannot run here; why.
    Skip(String),
    /// It did not; everything that was wrong.
    Fail(String),
}

impl Outcome {
    /// Reads one line of a transcript.
    pub fn line(&mut self, line: &str) {
        let number = |text: &str| text.trim().parse().ok();
        if let Some(why) = line.strip_prefix("@@skip ") {
            self.skipped = Some(why.to_owned());
        } else if let Some(status) = line.strip_prefix("@@exit ") {
            self.exit = number(status);
        } else if let Some(status) = line.strip_prefix("@@check ") {
            self.check_status = number(status).unwrap_or(-1);
        } else if line == "@@late" {
            self.late = true;
        } else if let Some((letter, text)) = line.split_once(':') {
            match letter {
                "o" => self.stdout.push(text.to_owned()),
                "e" => self.stderr.push(text.to_owned()),
                "r" => self.report.push(text.to_owned()),
                "c" => self.check.push(text.to_owned()),
                _ => {}
            }
        }
    }

    /// Reads a whole transcript.
    pub fn read(transcript: &str) -> Self {
        let mut this = Self::default();
        transcript.lines().for_each(|line| this.line(line));
        this
    }

    /// Compares with what `case` expects.
    pub fn judge(&self, case: &Case) -> Verdict {
        if let Some(why) = &self.skipped {
            return Verdict::Skip(why.clone());
        }
        let mut wrong = Vec::new();
        match self.exit {
            _ if self.late => wrong.push(format!("not ended after {} s", case.timeout)),
            None => wrong.push("no exit status: the case did not end".into()),
            Some(status) if status != case.exit => {
                wrong.push(format!("exit status {status}, expected {}", case.exit));
            }
            Some(_) => {}
        }
        if let Some(why) = self.stdout_differs(case) {
            wrong.push(why);
        }
        if let Some(why) = self.stderr_differs(case) {
            wrong.push(why);
        }
        if self.check_status != 0 {
            wrong.push(format!("check failed with {}:\n{}", self.check_status, listing(&self.check)));
        }
        if self.stderr.iter().any(|line| line.contains("panicked at") || line.contains("this is a bug")) {
            wrong.push("tracer panicked".into());
        }
        if wrong.is_empty() {
            return Verdict::Pass;
        }
        let mut why = wrong.join("\n");
        if !self.stderr.is_empty() {
            why = format!("{why}\nstderr:\n{}", listing(&self.stderr));
        }
        Verdict::Fail(why)
    }

    fn stdout_differs(&self, case: &Case) -> Option<String> {
        let mut wanted = Vec::new();
        for expect in &case.expect {
            match expect {
                Expect::Line(pattern) => wanted.push(Some(pattern.clone())),
                Expect::Anything => wanted.push(None),
                Expect::FromTarget if self.report.is_empty() => {
                    return Some("the traced program reported nothing".into());
                }
                Expect::FromTarget => {
                    wanted.extend(self.report.iter().map(|line| Some(Pattern::literal(line))));
                }
            }
        }
        let same =
            if case.unordered { unordered(&wanted, &self.stdout) } else { ordered(&wanted, &self.stdout) };
        if same {
            return None;
        }
        let wanted: Vec<String> =
            wanted.iter().map(|line| line.as_ref().map_or("...", Pattern::source).to_owned()).collect();
        let first = wanted.iter().zip(&self.stdout).position(|(want, got)| want != got);
        let first = first.unwrap_or_else(|| wanted.len().min(self.stdout.len()));
        let from = if case.unordered { 0 } else { first.saturating_sub(2) };
        let part = |lines: &[String]| listing(lines.get(from..).unwrap_or_default());
        Some(format!(
            "stdout differs near line {} ({} lines, expected {})\nexpected:\n{}got:\n{}",
            first + 1,
            self.stdout.len(),
            wanted.len(),
            part(&wanted),
            part(&self.stdout)
        ))
    }

    fn stderr_differs(&self, case: &Case) -> Option<String> {
        if case.expect_stderr.is_empty() && !case.other_stderr {
            return (!self.stderr.is_empty()).then(|| "stderr is not empty".into());
        }
        let mut lines = self.stderr.iter();
        let missing = case.expect_stderr.iter().find(|pattern| !lines.any(|line| pattern.matches(line)))?;
        Some(format!("stderr has no line (or not in this order): {}", missing.source()))
    }
}

/// `None` in `wanted` stands for any number of lines.
fn ordered(wanted: &[Option<Pattern>], got: &[String]) -> bool {
    match wanted.first() {
        None => got.is_empty(),
        Some(None) => (0..=got.len()).any(|skip| ordered(&wanted[1..], &got[skip..])),
        Some(Some(_)) => {
            // Straight runs are compared in a loop: reports can have thousands of lines.
            let run = wanted.iter().take_while(|line| line.is_some()).count();
            let (run, rest) = wanted.split_at(run);
            got.len() >= run.len()
                && run.iter().flatten().zip(got).all(|(pattern, line)| pattern.matches(line))
                && ordered(rest, &got[run.len()..])
        }
    }
}

fn unordered(wanted: &[Option<Pattern>], got: &[String]) -> bool {
    let mut left: Vec<&String> = got.iter().collect();
    for pattern in wanted.iter().flatten() {
        match left.iter().position(|line| pattern.matches(line)) {
            Some(at) => drop(left.swap_remove(at)),
            None => return false,
        }
    }
    left.is_empty() || wanted.iter().any(Option::is_none)
}

fn listing(lines: &[String]) -> String {
    const MOST: usize = 25;
    let mut text: String = lines.iter().take(MOST).map(|line| format!("    {line}\n")).collect();
    if lines.len() > MOST {
        text.push_str(&format!("    ({} more)\n", lines.len() - MOST));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::case;
    use std::path::Path;

    #[track_caller]
    fn judge(directives: &str, transcript: &str) -> Verdict {
        let cases = case::parse("case", directives, Path::new("/f")).expect("a case");
        Outcome::read(transcript).judge(&cases[0])
    }

    #[track_caller]
    fn fails(directives: &str, transcript: &str, because: &str) {
        match judge(directives, transcript) {
            Verdict::Fail(why) => assert!(why.contains(because), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    const DONE: &str = "@@exit 0\n@@check 0\n";

    #[test]
    fn lines_in_order() {
        let expect = "//@ expect: a\n//@ expect: ...\n//@ expect: /z\\d/\n";
        assert_eq!(judge(expect, &format!("{DONE}o:a\no:q\no:q\no:z1\n")), Verdict::Pass);
        assert_eq!(judge(expect, &format!("{DONE}o:a\no:z1\n")), Verdict::Pass);
        fails(expect, &format!("{DONE}o:a\no:z1\no:more\n"), "stdout differs");
        fails("//@ expect: a\n//@ expect: b\n", &format!("{DONE}o:b\no:a\n"), "near line 1");
        assert_eq!(
            judge("//@ unordered\n//@ expect: a\n//@ expect: b\n", &format!("{DONE}o:b\no:a\n")),
            Verdict::Pass
        );
    }

    #[test]
    fn the_report_of_the_target() {
        let expect = "//@ expect: first\n//@ expect-from-target\n";
        assert_eq!(judge(expect, &format!("{DONE}o:first\no:/x/\nr:/x/\n")), Verdict::Pass);
        fails(expect, &format!("{DONE}o:first\n"), "reported nothing");
        fails(expect, &format!("{DONE}o:first\no:x\nr:y\n"), "stdout differs near line 2");
    }

    #[test]
    fn status_stderr_and_time() {
        fails("", "@@exit 1\n@@check 0\n", "exit status 1");
        fails("", "@@late\n@@exit 137\n", "not ended after 10 s");
        fails("", "", "did not end");
        fails("", &format!("{DONE}e:WARNING: x\n"), "stderr is not empty");
        fails("//@ expect-stderr: a\n//@ expect-stderr: b\n", &format!("{DONE}e:b\ne:a\n"), "no line");
        assert_eq!(judge("//@ expect-stderr: ...\n", &format!("{DONE}e:a\n")), Verdict::Pass);
        assert_eq!(judge("//@ expect-stderr: b\n", &format!("{DONE}e:a\ne:b\n")), Verdict::Pass);
        fails(
            "//@ exit: 101\n//@ expect-stderr: /.*/\n",
            "@@exit 101\ne:thread 'main' panicked at x\n",
            "panicked",
        );
        fails("", "@@exit 0\n@@check 3\nc:why\n", "why");
        assert_eq!(judge("", "@@skip needs kprobe\n"), Verdict::Skip("needs kprobe".into()));
    }
}
