//! The format of a case: a stap script whose `//@` comments say how to run it and what to expect.
//!
//! A file is one case, or several, each after a line `//--- name`; directives before the first name hold for all of them.
//! Unknown directives are errors, so that a misspelt expectation cannot pass silently.
//!
//! **Not here:** what the directives do (`script`, `outcome`).

use std::path::{Path, PathBuf};

use super::pattern::Pattern;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Path below the case folder without extension, then the section's name.
    pub name: String,
    /// The script, as the user would have it in a file.
    pub text: String,
    /// Where it may run.
    pub place: Place,
    /// Features that must be there, or with `no-` in front must not.
    pub requires: Vec<String>,
    /// Options before the script, as shell words.
    pub args: String,
    /// Arguments after the script, as shell words.
    pub script_args: String,
    /// Shell words before tracer: what runs it.
    pub under: String,
    /// Everything after `tracer`, instead of options, script and arguments.
    pub command: Option<String>,
    /// A fixture and its arguments: the command of `-c`.
    pub target: Option<String>,
    /// Shell lines before tracer starts.
    pub before: String,
    /// Shell lines beside tracer, once it has started.
    pub workload: String,
    /// Shell lines after tracer ended; status 0 is success.
    pub check: String,
    /// Seconds until tracer counts as hung.
    pub timeout: u64,
    /// The exit status.
    pub exit: i32,
    /// Standard output.
    pub expect: Vec<Expect>,
    /// Lines that standard error must have, in this order.
    pub expect_stderr: Vec<Pattern>,
    /// Standard error may have other lines. Without any expectation it must be empty.
    pub other_stderr: bool,
    /// Standard output may come in any order.
    pub unordered: bool,
}

/// One `expect` directive.
#[derive(Clone, Debug)]
pub enum Expect {
    /// One line.
    Line(Pattern),
    /// Any number of lines.
    Anything,
    /// Every line that the traced program itself reported.
    FromTarget,
}

/// Where a case may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Only on this machine's kernel: traces nothing but its own children.
    Host,
    /// Only in guests.
    Guest,
    /// Anywhere.
    Both,
}

impl Place {
    /// Whether a case for `self` runs on this machine.
    pub fn host(self) -> bool {
        self != Self::Guest
    }

    /// Whether a case for `self` runs in guests.
    pub fn guest(self) -> bool {
        self != Self::Host
    }
}

impl Case {
    fn new(name: String) -> Self {
        Self {
            name,
            text: String::new(),
            place: Place::Both,
            requires: Vec::new(),
            args: String::new(),
            script_args: String::new(),
            under: String::new(),
            command: None,
            target: None,
            before: String::new(),
            workload: String::new(),
            check: String::new(),
            timeout: 10,
            exit: 0,
            expect: Vec::new(),
            expect_stderr: Vec::new(),
            other_stderr: false,
            unordered: false,
        }
    }

    fn directive(&mut self, text: &str) -> Result<(), String> {
        let (key, value) = text.split_once(':').unwrap_or((text, ""));
        // One blank after the colon belongs to the format, further ones to the value.
        let value = value.strip_prefix(' ').unwrap_or(value);
        let add = |lines: &mut String| {
            lines.push_str(value);
            lines.push('\n');
        };
        match key.trim() {
            "where" => {
                self.place = match value {
                    "host" => Place::Host,
                    "guest" => Place::Guest,
                    "both" => Place::Both,
                    _ => return Err(format!("where: {value}: expected host, guest or both")),
                }
            }
            "requires" => self.requires.extend(value.split_whitespace().map(str::to_owned)),
            "args" => value.clone_into(&mut self.args),
            "script-args" => value.clone_into(&mut self.script_args),
            "under" => value.clone_into(&mut self.under),
            "command" => self.command = Some(value.to_owned()),
            "target" => self.target = Some(value.to_owned()),
            "before" => add(&mut self.before),
            "workload" => add(&mut self.workload),
            "check" => add(&mut self.check),
            "timeout" => self.timeout = number(key, value)?,
            "exit" => self.exit = number(key, value)?,
            "expect" if value == "..." => self.expect.push(Expect::Anything),
            "expect" => self.expect.push(Expect::Line(Pattern::parse(value)?)),
            "expect-from-target" => self.expect.push(Expect::FromTarget),
            "expect-stderr" if value == "..." => self.other_stderr = true,
            "expect-stderr" => self.expect_stderr.push(Pattern::parse(value)?),
            "unordered" => self.unordered = true,
            other => return Err(format!("unknown directive {other}")),
        }
        Ok(())
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.trim().parse().map_err(|_| format!("{key}: {value} is not a number"))
}

/// The cases of one file. `FIXTURES` in its text stands for the folder `fixtures`.
pub fn parse(name: &str, text: &str, fixtures: &Path) -> Result<Vec<Case>, String> {
    let text = text.replace("FIXTURES/", &format!("{}/", fixtures.display()));
    let mut common = Case::new(name.to_owned());
    let mut cases: Vec<Case> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(section) = line.strip_prefix("//---") {
            let mut case = common.clone();
            case.name = format!("{name}/{}", section.trim());
            case.text.clear();
            cases.push(case);
            continue;
        }
        let case = cases.last_mut().unwrap_or(&mut common);
        if let Some(directive) = line.trim_start().strip_prefix("//@") {
            case.directive(directive.trim_start()).map_err(|why| format!("{name}.stp:{}: {why}", at + 1))?;
        }
        case.text.push_str(line);
        case.text.push('\n');
    }
    if cases.is_empty() {
        cases.push(common);
    }
    Ok(cases)
}

/// Every case below `dir`, sorted by name.
pub fn load(dir: &Path, fixtures: &Path) -> Result<Vec<Case>, String> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let name = file.strip_prefix(dir).unwrap_or(&file).with_extension("");
        cases.extend(parse(&name.to_string_lossy(), &text, fixtures)?);
    }
    let mut names: Vec<_> = cases.iter().map(|case| &case.name).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two cases are called {}", twice[0]));
    }
    Ok(cases)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "stp") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_case() {
        let text = "//@ where: guest\n//@ expect: two  blanks\n//@ expect:\nprobe begin { exit() }\n";
        let cases = parse("a/b", text, Path::new("/f")).expect("one case");
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].name, "a/b");
        assert_eq!(cases[0].place, Place::Guest);
        assert_eq!(cases[0].expect.len(), 2);
        assert_eq!(cases[0].text, text);
    }

    #[test]
    fn sections_share_what_comes_before_them() {
        let text = "//@ exit: 1\n//--- one\nx\n//@ target: calls_o2 3\n//--- two\n//@ exit: 0\nFIXTURES/y\n";
        let cases = parse("bad", text, Path::new("/f")).expect("two cases");
        assert_eq!(cases.len(), 2);
        assert_eq!((cases[0].name.as_str(), cases[0].exit), ("bad/one", 1));
        assert_eq!(cases[0].target.as_deref(), Some("calls_o2 3"));
        assert_eq!((cases[1].name.as_str(), cases[1].exit), ("bad/two", 0));
        assert_eq!(cases[1].target, None);
        assert!(cases[1].text.ends_with("/f/y\n"));
    }

    #[test]
    fn a_misspelt_directive_is_an_error() {
        assert!(parse("x", "\n//@ expct: a\n", Path::new("/")).expect_err("unknown").contains("x.stp:2"));
        assert!(parse("x", "//@ where: there\n", Path::new("/")).is_err());
        assert!(parse("x", "//@ timeout: soon\n", Path::new("/")).is_err());
    }
}
